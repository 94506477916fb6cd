/* SPDX-License-Identifier: Apache-2.0 */
/* A model checker over ring, allocator and sweep on plain memory. Random interleavings of changes, readers that stay in a
 * generation, connections, grace periods, sweeps and trims; and agents that die at any page they store to, after which the next one
 * takes over. The model knows every record that was ever committed and by which generations it is named, and holds the memory to it:
 *   - whatever a reader may read is as it was committed, for as long as it may read it;
 *   - nothing named, or part of the change at hand, is handed out or cleared;
 *   - after a sweep that nothing interrupted, what is used is exactly what is named;
 *   - names keep their ids; incarnations hold while a connection is open; no count is lost. */
#include <errno.h>

#include "base/cleanup.h"
#include "maps/generation.h"
#include "tests/lib/memory.h"
#include "tests/lib/mortal.h"
#include "tests/lib/test.h"

enum { SERVICES = 9, TARGETS = 8, NODES = 5, OBJECTS = SERVICES + TARGETS + NODES };
enum { PLACES = 4, ROWS = 3, CHANGES = 4, READERS = 24, CONNECTIONS = 48, VERSIONS = 4096 };

/* One place of a record's range, and what it names: an id; a slot, or `count` rows. */
struct element {
	uint32_t id;
	uint32_t index;
	uint32_t count;
	uint32_t incarnations[ROWS];
};

/* One record, as written. */
struct version {
	uint64_t first, last; /* generations that name it */
	unsigned object;
	uint32_t ref;
	uint32_t tag; /* in the record and in each place of its ranges */
	uint32_t range[LIST_COUNT], range_count[LIST_COUNT];
	struct element elements[LIST_COUNT][PLACES];
};

/* In the kernel since `born`, with the generation that was current then. */
struct reader {
	uint64_t generation;
	uint64_t born;
};

struct world {
	struct test_memory memory;
	struct generations *g;
	unsigned seed;
	uint64_t random, step;

	uint32_t ids[OBJECTS];
	struct version versions[VERSIONS];
	unsigned version_count;
	struct version pending[CHANGES];
	unsigned pending_count;
	bool removed[CHANGES];
	bool prepared;

	struct reader readers[READERS];
	unsigned reader_count;
	struct account connections[CONNECTIONS];
	unsigned connection_count;
	uint64_t closes, folded; /* connections closed; those of them in rows that were retired */
	uint32_t folding; /* row told last, and what it had */
	uint64_t folding_count;

	bool in_grace;
	uint64_t ticket, grace_born, passed;
	bool swept; /* by this agent */
	bool sweeping, seen, exact;

	unsigned crashes, sweeps, commits, retired, refused;
};

#define CHECK(w, condition)                                                                                                   \
	do {                                                                                                                   \
		if (!(condition))                                                                                              \
			fail_msg("seed %u, step %llu: expected %s", (w)->seed, (unsigned long long)(w)->step, #condition);    \
	} while (0)

static uint32_t draw(struct world *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)(w->random >> 32) % below;
}

static bool chance(struct world *w, unsigned pct)
{
	return draw(w, 100) < pct;
}

/* --- the model ------------------------------------------------------------------------------------------------------------ */

static enum object_kind object_kind(unsigned object)
{
	return object < SERVICES ? OBJECT_SERVICE : object < SERVICES + TARGETS ? OBJECT_TARGET : OBJECT_NODE;
}

static const char *object_name(unsigned object)
{
	static char name[16];

	snprintf(name, sizeof(name), "object %u", object);
	return name;
}

static bool kept(const struct world *w, uint64_t from, uint64_t to)
{
	return from <= w->memory.arrays.root->generation && to >= w->memory.arrays.root->oldest;
}

/* Some generation that names it can be read. */
static bool readable(const struct world *w, const struct version *v)
{
	if (kept(w, v->first, v->last))
		return true;
	for (unsigned i = 0; i < w->reader_count; i++)
		if (w->readers[i].generation >= v->first && w->readers[i].generation <= v->last)
			return true;
	return false;
}

static const struct version *version_at(const struct world *w, unsigned object, uint64_t generation)
{
	for (unsigned i = w->version_count; i-- > 0;)
		if (w->versions[i].object == object && w->versions[i].first <= generation && w->versions[i].last >= generation)
			return &w->versions[i];
	return NULL;
}

static void forget_unreadable(struct world *w)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w->version_count; i++)
		if (readable(w, &w->versions[i]))
			w->versions[count++] = w->versions[i];
	w->version_count = count;
}

static unsigned lists_of(enum object_kind kind)
{
	return kind == OBJECT_TARGET ? LIST_COUNT : 1;
}

static void version_write(struct world *w, const struct version *v)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const enum object_kind kind = object_kind(v->object);
	const uint32_t index = v->ref & REF_INDEX_MASK;

	if (kind == OBJECT_SERVICE)
		m->services[index] = (struct service_record){
			.first_route = v->range[0],
			.port_count = (uint16_t)v->range_count[0],
			.ports = { (__be16)v->tag, (__be16)(v->tag >> 16) },
		};
	if (kind == OBJECT_TARGET)
		m->targets[index] = (struct target_record){
			.first = { v->range[0], v->range[1] },
			.count = { v->range_count[0], v->range_count[1] },
			.flags = v->tag,
		};
	if (kind == OBJECT_NODE)
		m->nodes[index] = (struct node_record){
			.first_backend = v->range[0],
			.backend_count = v->range_count[0],
			.flags = v->tag,
		};
	for (unsigned list = 0; list < lists_of(kind); list++)
		for (uint32_t i = 0; i < v->range_count[list]; i++) {
			const struct element *e = &v->elements[list][i];
			const uint32_t place = v->range[list] + i;

			if (kind == OBJECT_SERVICE)
				m->routes[place] =
					(struct route_record){ .target_count = 1, .target = { e->id }, .pad3 = v->tag };
			if (kind == OBJECT_TARGET)
				m->refs[place] = (struct endpoint_ref){
					.slot = e->index,
					.incarnation = e->incarnations[0],
					.netns_cookie = v->tag,
				};
			if (kind == OBJECT_NODE)
				m->backends[place] = (struct backend){
					.service = e->id,
					.row = e->index,
					.row_count = (uint16_t)e->count,
					.tls_ports = v->tag,
				};
		}
}

/* The memory is what version_write() made of it, and the rows and slots it names have not changed hands. */
static bool version_intact(const struct world *w, const struct version *v)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const enum object_kind kind = object_kind(v->object);
	const uint32_t index = v->ref & REF_INDEX_MASK;
	bool intact = true;

	if (kind == OBJECT_SERVICE)
		intact &= m->services[index].first_route == v->range[0] && m->services[index].port_count == v->range_count[0] &&
			  m->services[index].ports[0] == (__be16)v->tag && m->services[index].ports[1] == (__be16)(v->tag >> 16);
	if (kind == OBJECT_TARGET)
		intact &= m->targets[index].flags == v->tag && m->targets[index].first[1] == v->range[1] &&
			  m->targets[index].count[1] == v->range_count[1];
	if (kind == OBJECT_NODE)
		intact &= m->nodes[index].flags == v->tag && m->nodes[index].first_backend == v->range[0];
	for (unsigned list = 0; list < lists_of(kind); list++)
		for (uint32_t i = 0; i < v->range_count[list]; i++) {
			const struct element *e = &v->elements[list][i];
			const uint32_t place = v->range[list] + i;

			if (kind == OBJECT_SERVICE)
				intact &= m->routes[place].pad3 == v->tag && m->routes[place].target[0] == e->id;
			if (kind == OBJECT_TARGET)
				intact &= m->refs[place].netns_cookie == v->tag && m->refs[place].slot == e->index &&
					  m->endpoints[e->index].incarnation == e->incarnations[0];
			if (kind == OBJECT_NODE)
				intact &= m->backends[place].tls_ports == v->tag && m->backends[place].row == e->index;
			for (uint32_t row = 0; kind == OBJECT_NODE && row < e->count; row++)
				intact &= m->rows[e->index + row].incarnation == e->incarnations[row];
		}
	return intact;
}

static void check_object(struct world *w, uint64_t generation, unsigned object)
{
	const struct version *v = version_at(w, object, generation);
	const uint32_t ref = *kernel_memory_ref(&w->memory.arrays, generation, w->ids[object]);

	CHECK(w, w->ids[object] || !v);
	CHECK(w, ref == (v ? v->ref : 0));
	CHECK(w, !v || version_intact(w, v));
}

static void check_everything(struct world *w)
{
	const struct root *root = w->memory.arrays.root;

	for (unsigned object = 0; object < OBJECTS; object++) {
		for (uint64_t generation = root->oldest; generation <= root->generation; generation++)
			check_object(w, generation, object);
		for (unsigned i = 0; i < w->reader_count; i++)
			check_object(w, w->readers[i].generation, object);
	}
	for (unsigned i = 0; i < w->pending_count; i++)
		CHECK(w, w->removed[i] || version_intact(w, &w->pending[i]));
}

/* --- what is named -------------------------------------------------------------------------------------------------------- */

enum array { RECORD, RANGE, SLOT, ROW };

struct span {
	uint32_t first, count;
};

/* What a version names in one array of its own kind; slots are those of targets, rows those of nodes. */
static unsigned version_spans(const struct version *v, enum object_kind kind, enum array array, struct span *ret_spans)
{
	unsigned count = 0;

	if (object_kind(v->object) != kind)
		return 0;
	if (array == RECORD)
		ret_spans[count++] = (struct span){ v->ref & REF_INDEX_MASK, 1 };
	for (unsigned list = 0; list < lists_of(kind); list++) {
		if (array == RANGE)
			ret_spans[count++] = (struct span){ v->range[list], v->range_count[list] };
		for (uint32_t i = 0; array >= SLOT && i < v->range_count[list]; i++)
			ret_spans[count++] = (struct span){ v->elements[list][i].index, v->elements[list][i].count };
	}
	return count;
}

/* One byte an entry: is it named by a generation that can be read, the change at hand, or a connection? Returns how many are. */
static uint32_t named_entries(const struct world *w, enum object_kind kind, enum array array, uint8_t *named)
{
	struct span spans[LIST_COUNT * PLACES];
	uint32_t total = 0;

	memset(named, 0, MAX_ENDPOINT_REFS);
	for (unsigned i = 0; i < w->version_count + w->pending_count; i++) {
		const bool committed = i < w->version_count;
		const struct version *v = committed ? &w->versions[i] : &w->pending[i - w->version_count];
		unsigned count = 0;

		if (committed ? readable(w, v) : !w->removed[i - w->version_count])
			count = version_spans(v, kind, array, spans);
		for (unsigned k = 0; k < count; k++)
			memset(named + spans[k].first, 1, spans[k].count);
	}
	for (unsigned i = 0; i < w->connection_count; i++) {
		if (array == SLOT)
			named[w->connections[i].slot] = 1;
		if (array == ROW)
			named[w->connections[i].row] = 1;
	}
	for (uint32_t i = 0; i < MAX_ENDPOINT_REFS; i++)
		total += named[i];
	return total;
}

static bool overlaps(const struct version *v, enum object_kind kind, enum array array, uint32_t first, uint32_t count)
{
	struct span spans[LIST_COUNT * PLACES];
	const unsigned span_count = version_spans(v, kind, array, spans);

	for (unsigned i = 0; i < span_count; i++)
		if (spans[i].first < first + count && first < spans[i].first + spans[i].count)
			return true;
	return false;
}

static bool is_named(const struct world *w, enum object_kind kind, enum array array, uint32_t first, uint32_t count)
{
	for (unsigned i = 0; i < w->version_count; i++)
		if (overlaps(&w->versions[i], kind, array, first, count) && readable(w, &w->versions[i]))
			return true;
	for (unsigned i = 0; i < w->pending_count; i++)
		if (!w->removed[i] && overlaps(&w->pending[i], kind, array, first, count))
			return true;
	for (unsigned i = 0; i < w->connection_count; i++) {
		const struct account *a = &w->connections[i];

		if ((array == SLOT && a->slot - first < count) || (array == ROW && a->row - first < count))
			return true;
	}
	return false;
}

/* --- the agent ------------------------------------------------------------------------------------------------------------ */

/* Fills `e` with what the element at the same place of the current version has, or with something new. */
static bool element_make(struct world *w, enum object_kind kind, const struct element *old, struct element *e)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const unsigned other = kind == OBJECT_SERVICE ? SERVICES + draw(w, TARGETS) : draw(w, SERVICES);
	int64_t index = 0;

	if (old && chance(w, 70)) {
		*e = *old;
		return true;
	}
	*e = (struct element){};
	if (kind != OBJECT_TARGET) {
		e->id = generations_id_make(w->g, object_kind(other), object_name(other));
		CHECK(w, e->id && (!w->ids[other] || w->ids[other] == e->id));
		w->ids[other] = e->id;
	}
	if (kind == OBJECT_TARGET) {
		e->count = 1;
		index = generations_alloc_slot(w->g);
		CHECK(w, index < 0 || !is_named(w, kind, SLOT, (uint32_t)index, 1));
	}
	if (kind == OBJECT_NODE) {
		e->count = 1 + draw(w, ROWS);
		index = generations_alloc_rows(w->g, e->count);
		CHECK(w, index < 0 || !is_named(w, kind, ROW, (uint32_t)index, e->count));
	}
	if (index < 0)
		return false;
	e->index = (uint32_t)index;
	for (uint32_t i = 0; i < e->count; i++) {
		e->incarnations[i] = kind == OBJECT_TARGET ? m->endpoints[index].incarnation : m->rows[index + i].incarnation;
		CHECK(w, e->incarnations[i] & 1);
		CHECK(w, kind == OBJECT_TARGET ? !m->endpoints[index].open : !m->rows[index + i].closed);
	}
	return true;
}

static const struct {
	int64_t (*record)(struct generations *g);
	int64_t (*range)(struct generations *g, uint32_t count);
} allocators[] = {
	[OBJECT_SERVICE] = { generations_alloc_service, generations_alloc_routes },
	[OBJECT_TARGET] = { generations_alloc_target, generations_alloc_refs },
	[OBJECT_NODE] = { generations_alloc_node, generations_alloc_backends },
};

static bool version_make(struct world *w, unsigned object, struct version *v)
{
	const enum object_kind kind = object_kind(object);
	const struct version *old = version_at(w, object, w->memory.arrays.root->generation);
	int64_t index = allocators[kind].record(w->g);

	if (index < 0)
		return false;
	CHECK(w, !is_named(w, kind, RECORD, (uint32_t)index, 1));
	*v = (struct version){ .object = object, .tag = draw(w, UINT32_MAX), .ref = REF(kind, index) };
	for (unsigned list = 0; list < lists_of(kind); list++) {
		v->range_count[list] = draw(w, PLACES + 1);
		index = allocators[kind].range(w->g, v->range_count[list]);
		if (index < 0)
			return false;
		v->range[list] = (uint32_t)index;
		CHECK(w, !is_named(w, kind, RANGE, v->range[list], v->range_count[list]));
		for (uint32_t i = 0; i < v->range_count[list]; i++)
			if (!element_make(w, kind, old && i < old->range_count[list] ? &old->elements[list][i] : NULL,
					  &v->elements[list][i]))
				return false;
	}
	version_write(w, v);
	return true;
}

static int prepare(void *arg)
{
	struct world *w = arg;
	const unsigned count = 1 + draw(w, CHANGES);

	for (unsigned i = 0; i < count; i++) {
		const unsigned object = draw(w, OBJECTS);
		struct version v;
		bool twice = false;
		uint32_t id;

		for (unsigned k = 0; k < w->pending_count; k++)
			twice |= w->pending[k].object == object;
		if (twice)
			continue;
		id = generations_id_make(w->g, object_kind(object), object_name(object));
		if (!id)
			return -ENOSPC;
		CHECK(w, !w->ids[object] || w->ids[object] == id);
		w->ids[object] = id;
		v = (struct version){ .object = object };
		w->removed[w->pending_count] = chance(w, 20);
		if (!w->removed[w->pending_count] && !version_make(w, object, &v))
			return -ENOSPC;
		w->pending[w->pending_count++] = v;
	}
	w->prepared = true;
	return 0;
}

static int commit(void *arg)
{
	struct world *w = arg;
	struct change changes[CHANGES];
	uint64_t generation;
	int r;

	for (unsigned i = 0; i < w->pending_count; i++)
		changes[i] = (struct change){ w->ids[w->pending[i].object], w->removed[i] ? 0 : w->pending[i].ref };
	r = generations_commit(w->g, changes, w->pending_count, &generation);
	CHECK(w, r < 0 || generation == w->memory.arrays.root->generation);
	return r;
}

static void drop_pending(struct world *w)
{
	w->pending_count = 0;
	w->prepared = false;
}

/* The pending versions are what `generation` names from now on. */
static void model_commit(struct world *w, uint64_t generation)
{
	for (unsigned i = 0; i < w->pending_count; i++) {
		struct version *old = (struct version *)version_at(w, w->pending[i].object, generation - 1);

		if (old)
			old->last = generation - 1;
		if (w->removed[i])
			continue;
		if (w->version_count == VERSIONS)
			forget_unreadable(w);
		CHECK(w, w->version_count < VERSIONS);
		w->versions[w->version_count] = w->pending[i];
		w->versions[w->version_count].first = generation;
		w->versions[w->version_count++].last = UINT64_MAX;
	}
	drop_pending(w);
	w->commits++;
}

static int on_retired(uint32_t index, const struct row *row, void *arg)
{
	struct world *w = arg;

	CHECK(w, row == &w->memory.arrays.rows[index] && row->incarnation & 1);
	CHECK(w, !is_named(w, OBJECT_NODE, ROW, index, 1));
	if (!w->exact && chance(w, 5))
		return -EIO;
	w->folding = index;
	w->folding_count = row->closed;
	w->folded += row->closed;
	w->retired++;
	return 0;
}

static int sweep_end(void *arg)
{
	struct world *w = arg;

	generations_sweep_end(w->g, on_retired, w);
	return 0;
}

static void see_connections(struct world *w)
{
	for (unsigned i = 0; i < w->connection_count; i++)
		generations_sweep_account(w->g, &w->connections[i]);
	w->seen = true;
}

/* A new agent: what the one before had in mind is gone; programs in the kernel and connections are not. */
static void restart(struct world *w)
{
	w->g = generations_free(w->g);
	drop_pending(w);
	w->in_grace = w->sweeping = w->swept = false;
	w->passed = 0;
	EXPECT_OK(generations_new(&w->memory.arrays, &w->g, NULL));
	for (unsigned object = 0; object < OBJECTS; object++)
		if (w->ids[object])
			CHECK(w, generations_id_get(w->g, object_kind(object), object_name(object)) == w->ids[object]);
	check_everything(w);
}

/* Died while it wrote the slice after the current one: any word of it may be anything. Not while that slice is still kept. */
static void scribble(struct world *w)
{
	const struct root *root = w->memory.arrays.root;
	const uint64_t next = root->generation + 1;

	if (next >= RING_DIRECTORIES && next - RING_DIRECTORIES >= root->oldest)
		return;
	for (unsigned i = 0; i < 100; i++)
		*kernel_memory_ref(&w->memory.arrays, next, draw(w, MAX_OBJECTS)) = draw(w, UINT32_MAX);
}

static void died(struct world *w)
{
	w->crashes++;
	if (w->sweeping && w->folding_count && w->memory.arrays.rows[w->folding].incarnation & 1)
		w->folded -= w->folding_count; /* told, and will be told again */
	scribble(w);
	restart(w);
}

/* --- what happens --------------------------------------------------------------------------------------------------------- */

static unsigned lifespan(struct world *w, unsigned usual)
{
	return chance(w, 5) ? draw(w, usual) : IMMORTAL;
}

static void do_change(struct world *w)
{
	const uint64_t next = w->memory.arrays.root->generation + 1;
	int r;

	if (!w->prepared) {
		r = run_mortal(w->memory.start, w->memory.length_bytes, lifespan(w, 12), prepare, w);
		if (r == -EINTR)
			died(w);
		else if (r < 0) { /* only before the first sweep: there is room for everything */
			CHECK(w, !w->swept);
			generations_abandon(w->g);
			drop_pending(w);
		}
	} else if (chance(w, 10)) {
		generations_abandon(w->g);
		drop_pending(w);
	} else {
		r = run_mortal(w->memory.start, w->memory.length_bytes, lifespan(w, 22), commit, w);
		CHECK(w, (r == -EAGAIN) == (next >= RING_DIRECTORIES && next - RING_DIRECTORIES >= w->passed) || r == -EINTR);
		if (w->memory.arrays.root->generation == next)
			model_commit(w, next);
		else
			CHECK(w, r < 0);
		w->refused += r == -EAGAIN;
		if (r == -EINTR)
			died(w);
	}
}

static void do_enter(struct world *w)
{
	if (w->reader_count < READERS)
		w->readers[w->reader_count++] = (struct reader){ w->memory.arrays.root->generation, w->step };
}

/* A connection by what the reader's generation names: some row of some node, some slot of some target. */
static void connect_somewhere(struct world *w, uint64_t generation)
{
	const struct version *node = version_at(w, SERVICES + TARGETS + draw(w, NODES), generation);
	const struct version *target = version_at(w, SERVICES + draw(w, TARGETS), generation);
	const unsigned list = draw(w, LIST_COUNT);
	const struct element *backend, *ref;
	uint32_t row;

	if (!node || !target || !node->range_count[0] || !target->range_count[list] || w->connection_count == CONNECTIONS)
		return;
	backend = &node->elements[0][draw(w, node->range_count[0])];
	ref = &target->elements[list][draw(w, target->range_count[list])];
	row = draw(w, backend->count);
	w->connections[w->connection_count++] = (struct account){
		.source = w->ids[node->object],
		.service = backend->id,
		.target = w->ids[target->object],
		.row = backend->index + row,
		.row_incarnation = backend->incarnations[row],
		.slot = ref->index,
		.slot_incarnation = ref->incarnations[0],
	};
	w->memory.arrays.endpoints[ref->index].open++;
}

static void leave(struct world *w, unsigned i)
{
	const uint64_t generation = w->readers[i].generation;

	for (unsigned object = 0; object < OBJECTS; object++)
		check_object(w, generation, object);
	connect_somewhere(w, generation);
	w->readers[i] = w->readers[--w->reader_count];
}

static void do_read(struct world *w)
{
	const struct root *root = w->memory.arrays.root;

	if (w->reader_count)
		check_object(w, w->readers[draw(w, w->reader_count)].generation, draw(w, OBJECTS));
	check_object(w, root->oldest + draw(w, (uint32_t)(root->generation - root->oldest + 1)), draw(w, OBJECTS));
}

static void do_leave(struct world *w)
{
	if (w->reader_count)
		leave(w, draw(w, w->reader_count));
}

static void do_close(struct world *w)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const unsigned i = w->connection_count ? draw(w, w->connection_count) : 0;
	const struct account *a = &w->connections[i];

	if (!w->connection_count)
		return;
	CHECK(w, m->rows[a->row].incarnation == a->row_incarnation);
	CHECK(w, m->endpoints[a->slot].incarnation == a->slot_incarnation);
	CHECK(w, m->endpoints[a->slot].open > 0);
	m->endpoints[a->slot].open--;
	m->rows[a->row].closed++;
	w->closes++;
	w->connections[i] = w->connections[--w->connection_count];
}

static void do_grace(struct world *w)
{
	if (!w->in_grace) {
		w->ticket = generations_grace_begin(w->g);
		w->grace_born = w->step;
		w->in_grace = true;
		return;
	}
	for (unsigned i = w->reader_count; i-- > 0;)
		if (w->readers[i].born <= w->grace_born)
			leave(w, i);
	generations_grace_end(w->g, w->ticket);
	w->passed = MAX(w->passed, w->ticket);
	w->in_grace = false;
}

static bool do_sweep_begin(struct world *w)
{
	const int r = generations_sweep_begin(w->g);

	CHECK(w, r == (w->passed < w->memory.arrays.root->oldest ? -EAGAIN : 0));
	w->sweeping = r == 0;
	w->seen = false;
	return w->sweeping;
}

static void do_sweep_end(struct world *w, unsigned pages)
{
	w->folding_count = 0;
	if (run_mortal(w->memory.start, w->memory.length_bytes, pages, sweep_end, w) == -EINTR) {
		died(w);
		return;
	}
	w->sweeping = false;
	w->folding_count = 0;
	w->swept = true;
	w->sweeps++;
	check_everything(w);
}

static void do_sweep(struct world *w)
{
	if (!w->sweeping)
		do_sweep_begin(w);
	else if (!w->seen)
		see_connections(w);
	else
		do_sweep_end(w, lifespan(w, 6));
}

static void check_fill(struct world *w)
{
	static const struct {
		const char *name;
		enum object_kind kind;
		enum array array;
	} arrays[] = {
		{ "services", OBJECT_SERVICE, RECORD }, { "routes", OBJECT_SERVICE, RANGE },
		{ "targets", OBJECT_TARGET, RECORD },	{ "endpoint-refs", OBJECT_TARGET, RANGE },
		{ "nodes", OBJECT_NODE, RECORD },	{ "backends", OBJECT_NODE, RANGE },
		{ "endpoints", OBJECT_TARGET, SLOT },	{ "rows", OBJECT_NODE, ROW },
	};
	static uint8_t named[MAX_ENDPOINT_REFS];
	struct generations_fill fill[ARRAY_SIZE(arrays) + 1];
	uint32_t ids = 1;

	CHECK(w, generations_fill(w->g, fill, ARRAY_SIZE(fill)) == ARRAY_SIZE(fill));
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		const uint32_t count = named_entries(w, arrays[i].kind, arrays[i].array, named);

		CHECK(w, !strcmp(fill[i].name, arrays[i].name));
		if (fill[i].used != count)
			fail_msg("seed %u, step %llu: %u %s are used, %u named", w->seed, (unsigned long long)w->step, fill[i].used,
				 fill[i].name, count);
	}
	for (unsigned object = 0; object < OBJECTS; object++)
		ids += w->ids[object] != 0;
	CHECK(w, fill[ARRAY_SIZE(arrays)].used == ids);
}

/* Nobody reads, and every row may go: then what is used and what is named are the same. */
static void do_exact_sweep(struct world *w)
{
	if (w->sweeping)
		return;
	do_grace(w);
	if (w->in_grace)
		do_grace(w);
	while (w->reader_count)
		leave(w, 0);
	if (!do_sweep_begin(w))
		return;
	see_connections(w);
	w->exact = true;
	do_sweep_end(w, IMMORTAL);
	w->exact = false;
	check_fill(w);
}

static void do_trim(struct world *w)
{
	generations_trim(w->g, 1 + draw(w, RING_DIRECTORIES));
}

static void (*const deeds[])(struct world *w) = {
	do_change, do_enter, do_read, do_leave, do_close, do_grace, do_sweep, do_trim, do_exact_sweep, restart,
};
/* How often each: on the whole, with hardly a grace period, with hardly a connection closed, busy, dying all the time. */
static const unsigned moods[][ARRAY_SIZE(deeds)] = {
	{ 40, 16, 12, 8, 12, 10, 9, 1, 1, 1 }, { 80, 10, 8, 4, 6, 1, 6, 0, 0, 0 }, { 40, 16, 6, 8, 1, 10, 15, 2, 1, 0 },
	{ 80, 8, 8, 8, 8, 20, 0, 0, 0, 0 },    { 40, 8, 8, 8, 8, 20, 20, 2, 1, 4 },
};

static void check_counts(struct world *w)
{
	uint64_t counted = w->folded;

	for (uint32_t i = 0; i < MAX_ROWS; i++)
		if (w->memory.arrays.rows[i].incarnation & 1)
			counted += w->memory.arrays.rows[i].closed;
	CHECK(w, counted == w->closes);
}

static void live(unsigned seed, unsigned steps)
{
	_cleanup_free_ struct world *w = calloc(1, sizeof(*w));
	const unsigned *shares = moods[0];

	w->seed = seed;
	w->random = 0x9e3779b97f4a7c15ull * (seed + 1);
	test_memory_init(&w->memory);
	restart(w);
	for (w->step = 1; w->step <= steps; w->step++) {
		uint32_t choice, total = 0;
		size_t deed = 0;

		if (w->step % 500 == 0)
			shares = moods[draw(w, ARRAY_SIZE(moods))];
		for (size_t i = 0; i < ARRAY_SIZE(deeds); i++)
			total += shares[i];
		choice = draw(w, total);
		while (choice >= shares[deed])
			choice -= shares[deed++];
		deeds[deed](w);
	}
	check_everything(w);
	check_counts(w);
	print_message("seed %u: %u commits, %u refused, %u deaths, %u sweeps, %u rows retired, %llu connections\n", seed, w->commits,
		      w->refused, w->crashes, w->sweeps, w->retired, (unsigned long long)w->closes);
	/* A run in which nothing happened proves nothing. */
	CHECK(w, w->commits > 2 * RING_DIRECTORIES && w->refused && w->crashes && w->sweeps && w->retired && w->closes);
	generations_free(w->g);
	test_memory_done(&w->memory);
}

TEST(whatever_happens_readers_see_what_was_committed_and_nothing_named_is_reused)
{
	for (unsigned seed = 1; seed <= 12; seed++)
		live(seed, 8000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_happens_readers_see_what_was_committed_and_nothing_named_is_reused),
	};

	if (argc == 3) { /* SEED STEPS, to look for longer */
		live((unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]));
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
