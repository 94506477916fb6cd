/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/generation.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "maps/generation_state.h"

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define STORE(word, value) __atomic_store_n(&(word), value, __ATOMIC_RELEASE)

static const struct {
	enum area_id id;
	const char *name;
	size_t limit;
} areas[] = { /* in the order that people see */
#define X(symbol, name, member) { AREA_##symbol, name, offsetof(struct kernel_limits, member) },
	AREAS(X)
#undef X
};

static void cleanup_generations(struct generations **g)
{
	generations_free(*g);
}

/* An id gets its name before anything names the id, and loses it after nothing does: without a name it is free, before any sweep.
 * Workloads need ids from the start. */
static void free_nameless_ids(struct generations *g)
{
	struct area *objects = &g->areas[AREA_OBJECT];

	area_sweep_begin(objects);
	area_mark(objects, 0);
	for (uint32_t id = 1; id < object_count(g); id++)
		if (!generation_name_empty(&g->memory->objects[id]))
			area_mark(objects, id);
	area_sweep_end(objects);
}

int generations_new(struct kernel_memory *memory, struct generations **ret_generations, struct error *err)
{
	const uint64_t current = LOAD(memory->root->generation), oldest = LOAD(memory->root->oldest);
	_cleanup_(cleanup_generations) struct generations *g = NULL;

	if (oldest > current || oldest < generation_floor(current) || current >= INT64_MAX)
		return error_set(err, -EPROTO, "the root of the pinned maps names generations %llu to %llu, which cannot be",
				 (unsigned long long)oldest, (unsigned long long)current);
	g = calloc(1, sizeof(*g));
	if (!g)
		return error_set(err, -ENOMEM, "no memory for the state of the pinned maps");
	g->memory = memory;
	g->current = current;
	g->name_buckets = 2 * object_count(g);
	g->holds = calloc(object_count(g), sizeof(*g->holds));
	g->names = calloc(g->name_buckets, sizeof(*g->names));
	if (!g->holds || !g->names)
		return error_set(err, -ENOMEM, "no memory for the state of the pinned maps");
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		const uint32_t size = *(const uint32_t *)((const char *)&memory->limits + areas[i].limit);

		if (area_init(&g->areas[areas[i].id], areas[i].name, size) < 0 || kernel_memory_reach(memory, areas[i].id, size) < 0)
			return error_set(err, -ENOMEM, "no memory for the state of the pinned maps");
	}
	generation_index_names(g);
	free_nameless_ids(g);
	*ret_generations = TAKE_PTR(g);
	return 0;
}

struct generations *generations_free(struct generations *g)
{
	if (!g)
		return NULL;
	for (size_t i = 0; i < AREA_COUNT; i++)
		area_done(&g->areas[i]);
	free(g->holds);
	free(g->names);
	free(g);
	return NULL;
}

uint64_t generations_current(const struct generations *g)
{
	return g->current;
}

uint64_t generations_oldest(const struct generations *g)
{
	return LOAD(g->memory->root->oldest);
}

uint32_t generations_ref(const struct generations *g, uint64_t generation, uint32_t id)
{
	if (generation < generations_oldest(g) || generation > g->current || id >= object_count(g))
		return 0;
	return *kernel_memory_ref(g->memory, generation, id);
}

/* --- ids ------------------------------------------------------------------------------------------------------------------ */

void generations_put_names(struct generations *g, const struct object_name *names)
{
	memcpy(g->memory->objects, names, object_count(g) * sizeof(*names));
	generation_index_names(g);
	free_nameless_ids(g);
}

bool generation_name_empty(const struct object_name *name)
{
	return !name->hash[0] && !name->hash[1];
}

/* The bucket that holds `name`, or the empty one where it would go. */
static size_t name_bucket(const struct generations *g, const struct object_name *name)
{
	size_t bucket = name->hash[0] % g->name_buckets;

	while (g->names[bucket] && memcmp(&g->memory->objects[g->names[bucket]], name, sizeof(*name)) != 0)
		bucket = (bucket + 1) % g->name_buckets;
	return bucket;
}

/* Should a name stand twice, which no build of ours writes, the first id has it. */
void generation_index_names(struct generations *g)
{
	memset(g->names, 0, g->name_buckets * sizeof(*g->names));
	for (uint32_t id = 1; id < object_count(g); id++) {
		const struct object_name *name = &g->memory->objects[id];
		size_t bucket;

		if (generation_name_empty(name))
			continue;
		bucket = name_bucket(g, name);
		if (!g->names[bucket])
			g->names[bucket] = id;
	}
}

static bool name_hash(enum object_kind kind, const char *name, struct object_name *ret_name)
{
	char key[1 + GENERATIONS_NAME_BYTES];
	const size_t length = strlen(name);
	uint64_t hash[2];

	if (length >= GENERATIONS_NAME_BYTES)
		return false;
	key[0] = (char)kind;
	memcpy(key + 1, name, length);
	hash_name(key, 1 + length, hash);
	*ret_name = (struct object_name){ { hash[0], hash[1] } };
	return true;
}

uint32_t generations_id_get(const struct generations *g, enum object_kind kind, const char *name)
{
	struct object_name hash;

	return name_hash(kind, name, &hash) ? g->names[name_bucket(g, &hash)] : 0;
}

/* What is found is in memory, or there is none. */
static int64_t alloc(struct generations *g, enum area_id id, uint32_t count)
{
	const int64_t first = area_alloc(&g->areas[id], count);

	if (first < 0)
		return first;
	return kernel_memory_reach(g->memory, id, (uint32_t)first + count) < 0 ? -ENOSPC : first;
}

uint32_t generations_id_make(struct generations *g, enum object_kind kind, const char *name)
{
	struct object_name hash;
	size_t bucket;
	int64_t id;

	if (!name_hash(kind, name, &hash))
		return 0;
	bucket = name_bucket(g, &hash);
	if (g->names[bucket]) {
		area_keep(&g->areas[AREA_OBJECT], g->names[bucket]);
		return g->names[bucket];
	}
	id = alloc(g, AREA_OBJECT, 1);
	if (id < 0)
		return 0;
	g->memory->objects[id] = hash;
	g->names[bucket] = (uint32_t)id;
	return (uint32_t)id;
}

void generations_id_hold(struct generations *g, uint32_t id)
{
	assert(id < object_count(g));
	g->holds[id]++;
}

void generations_id_release(struct generations *g, uint32_t id)
{
	assert(id < object_count(g) && g->holds[id]);
	g->holds[id]--;
}

/* --- allocation ----------------------------------------------------------------------------------------------------------- */

int64_t generations_alloc_service(struct generations *g)
{
	return alloc(g, AREA_SERVICE, 1);
}

int64_t generations_alloc_routes(struct generations *g, uint32_t count)
{
	return alloc(g, AREA_ROUTE, count);
}

int64_t generations_alloc_target(struct generations *g)
{
	return alloc(g, AREA_TARGET, 1);
}

int64_t generations_alloc_refs(struct generations *g, uint32_t count)
{
	return alloc(g, AREA_REF, count);
}

int64_t generations_alloc_node(struct generations *g)
{
	return alloc(g, AREA_NODE, 1);
}

int64_t generations_alloc_backends(struct generations *g, uint32_t count)
{
	return alloc(g, AREA_BACKEND, count);
}

/* What follows the incarnation, which comes first in both structs. */
#define CLEAR_COUNTS(object)                                                                                                  \
	memset((char *)(object) + sizeof((object)->incarnation), 0, sizeof(*(object)) - sizeof((object)->incarnation))
_Static_assert(offsetof(struct row, incarnation) == 0 && offsetof(struct endpoint, incarnation) == 0, "see CLEAR_COUNTS");

int64_t generations_alloc_rows(struct generations *g, uint32_t count)
{
	const int64_t first = alloc(g, AREA_ROW, count);

	for (uint32_t i = 0; first >= 0 && i < count; i++) {
		struct row *row = &g->memory->rows[first + i];

		CLEAR_COUNTS(row);
		STORE(row->incarnation, (row->incarnation + 1) | 1);
	}
	return first;
}

int64_t generations_alloc_slot(struct generations *g)
{
	const int64_t index = alloc(g, AREA_ENDPOINT, 1);

	if (index >= 0) {
		struct endpoint *slot = &g->memory->endpoints[index];

		CLEAR_COUNTS(slot);
		STORE(slot->incarnation, (slot->incarnation + 1) | 1);
	}
	return index;
}

/* The incarnation goes first, so that no late count can be taken for the next owner's. */
void generation_row_retire(struct row *row)
{
	STORE(row->incarnation, (row->incarnation + 1) & ~1u);
	CLEAR_COUNTS(row);
}

void generation_slot_retire(struct endpoint *slot)
{
	STORE(slot->incarnation, (slot->incarnation + 1) & ~1u);
	CLEAR_COUNTS(slot);
}

/* --- the ring ------------------------------------------------------------------------------------------------------------- */

struct area *generation_ref_area(struct generations *g, uint32_t ref)
{
	static const enum area_id areas[] = {
		[OBJECT_SERVICE] = AREA_SERVICE,
		[OBJECT_TARGET] = AREA_TARGET,
		[OBJECT_NODE] = AREA_NODE,
	};
	const uint32_t kind = ref >> REF_KIND_SHIFT;
	struct area *area;

	if (kind == OBJECT_NONE || kind >= ARRAY_SIZE(areas))
		return NULL;
	area = &g->areas[areas[kind]];
	return (ref & REF_INDEX_MASK) < area->size ? area : NULL;
}

static void settle(struct generations *g)
{
	for (size_t i = 0; i < AREA_COUNT; i++)
		area_settle(&g->areas[i]);
}

int generations_commit(struct generations *g, const struct change *changes, size_t count, uint64_t *ret_generation)
{
	const uint64_t next = g->current + 1, floor = generation_floor(next);
	struct root *root = g->memory->root;

	if (floor > g->passed) /* somebody may still read generation floor - 1, whose slice this is */
		return -EAGAIN;
	if (generations_oldest(g) < floor)
		STORE(root->oldest, floor);
	__atomic_thread_fence(__ATOMIC_RELEASE); /* whoever sees the slice change also sees that it is no longer kept */
	for (uint32_t id = 0; id < kernel_memory_ids(g->memory); id += DIRECTORY_PAGE_IDS) /* the rest is zero in all of them */
		memcpy(kernel_memory_ref(g->memory, next, id), kernel_memory_ref(g->memory, g->current, id), sizeof(struct directory_page));
	for (size_t i = 0; i < count; i++) {
		assert(changes[i].id && changes[i].id < kernel_memory_ids(g->memory));
		assert(!changes[i].ref || generation_ref_area(g, changes[i].ref));
		*kernel_memory_ref(g->memory, next, changes[i].id) = changes[i].ref;
	}
	STORE(root->generation, next);
	g->current = next;
	settle(g);
	*ret_generation = next;
	return 0;
}

void generations_abandon(struct generations *g)
{
	settle(g);
}

bool generations_needs_grace(const struct generations *g)
{
	return g->current - g->begun >= RING_DIRECTORIES / 2;
}

uint64_t generations_grace_begin(struct generations *g)
{
	g->begun = g->current;
	return g->current;
}

void generations_grace_end(struct generations *g, uint64_t ticket)
{
	assert(ticket <= g->begun);
	g->passed = MAX(g->passed, ticket);
}

void generations_trim(struct generations *g, unsigned keep)
{
	const uint64_t oldest = g->current < keep ? 0 : g->current - keep + 1;

	assert(keep >= 1 && keep <= RING_DIRECTORIES);
	if (generations_oldest(g) < oldest)
		STORE(g->memory->root->oldest, oldest);
}

size_t generations_fill(const struct generations *g, struct generations_fill *ret_fill, size_t max)
{
	const size_t count = MIN(max, (size_t)AREA_COUNT);

	for (size_t i = 0; i < count; i++)
		ret_fill[i] = (struct generations_fill){ areas[i].name, g->areas[areas[i].id].used_count, g->areas[areas[i].id].size };
	return count;
}

bool generations_are_crowded(const struct generations *g)
{
	for (size_t i = 0; i < AREA_COUNT; i++)
		if (area_is_crowded(&g->areas[i]))
			return true;
	return false;
}
