/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"

#define KEY_PREFIX "objects/"
#define KEY_BYTES 20
#define STORED_VERSION 1

/* The value of "objects/ID". The name follows, without NUL. */
struct stored_name {
	uint32_t version;
	uint32_t kind;
	struct object_name hash;
};

struct named {
	struct table_node node; /* by name, in the table of its kind */
	struct object_name hash; /* w_object's, when the name was learnt: tells whether the id is still its own */
	uint32_t id;
	uint32_t kind;
	char name[];
};

struct names {
	struct generations *generations;
	const struct kernel_memory *memory;
	struct state *state;
	struct table by_name[OBJECT_NODE + 1]; /* by kind */
	uint32_t count; /* of ids that there are */
	struct named **by_id;
	size_t misnamed;
	bool put_back;
	size_t unsaved_count;
	uint32_t *unsaved; /* ids; each once */
	bool *queued; /* the id is among them */
};

static struct named *named_of(struct table_node *node)
{
	return node ? container_of(node, struct named, node) : NULL;
}

static bool is_current(const struct names *names, const struct named *named)
{
	return memcmp(&names->memory->objects[named->id], &named->hash, sizeof(named->hash)) == 0;
}

static void forget(struct names *names, struct named *named)
{
	table_remove(&names->by_name[named->kind], &named->node);
	names->by_id[named->id] = NULL;
	free(named);
}

/* Whatever had the id, or the name, before is forgotten. */
static int learn(struct names *names, enum object_kind kind, const char *name, size_t length, uint32_t id)
{
	struct named *named = malloc(sizeof(*named) + length + 1), *before;
	int r;

	if (!named)
		return -ENOMEM;
	*named = (struct named){ .hash = names->memory->objects[id], .id = id, .kind = kind };
	memcpy(named->name, name, length);
	named->name[length] = '\0';
	if (names->by_id[id])
		forget(names, names->by_id[id]);
	before = named_of(table_get(&names->by_name[kind], named->name));
	if (before)
		forget(names, before);
	r = table_add(&names->by_name[kind], &named->node, named->name);
	if (r < 0) {
		free(named);
		return r;
	}
	names->by_id[id] = named;
	return 0;
}

/* 0: it is none of this build's. */
static uint32_t read_stored(const struct state_entry *entry, uint32_t count, struct stored_name *ret_stored)
{
	char *end;
	const unsigned long id = strtoul(entry->key + strlen(KEY_PREFIX), &end, 10);

	if (*end || id >= count || entry->value_bytes <= sizeof(*ret_stored))
		return 0;
	memcpy(ret_stored, entry->value, sizeof(*ret_stored));
	return ret_stored->version == STORED_VERSION && ret_stored->kind > OBJECT_NONE && ret_stored->kind <= OBJECT_NODE ? (uint32_t)id : 0;
}

static bool is_in_force(const struct names *names, uint32_t id)
{
	return generations_ref(names->generations, generations_current(names->generations), id);
}

static int load_name(const struct state_entry *entry, void *arg)
{
	struct names *names = arg;
	struct stored_name stored;
	const uint32_t id = read_stored(entry, names->count, &stored);

	if (!id)
		return 0;
	if (memcmp(&stored.hash, &names->memory->objects[id], sizeof(stored.hash)) != 0) {
		names->misnamed += !names->put_back && is_in_force(names, id);
		return 0;
	}
	return learn(names, stored.kind, (const char *)entry->value + sizeof(stored), entry->value_bytes - sizeof(stored), id);
}

/* --- names that somebody else wrote ---------------------------------------------------------------------------------------------- */

struct saved { /* by id */
	struct object_name hash;
	uint64_t revision; /* 0: the state has no name of it */
};

struct saved_list {
	struct saved *ids;
	uint32_t count;
};

static int take_saved(const struct state_entry *entry, void *arg)
{
	const struct saved_list *list = arg;
	struct stored_name stored;
	const uint32_t id = read_stored(entry, list->count, &stored);

	if (id)
		list->ids[id] = (struct saved){ stored.hash, entry->revision };
	return 0;
}

/* The newest of a name first. */
static int by_hash(const void *a, const void *b)
{
	const struct saved *x = *(struct saved *const *)a, *y = *(struct saved *const *)b;
	const int order = memcmp(&x->hash, &y->hash, sizeof(x->hash));

	return order ? order : (x->revision < y->revision) - (x->revision > y->revision);
}

/* A name that had several ids is the last one's. */
static int drop_earlier(struct saved_list *saved)
{
	_cleanup_free_ struct saved **sorted = calloc(saved->count, sizeof(*sorted));
	size_t count = 0;

	if (!sorted)
		return -ENOMEM;
	for (uint32_t id = 1; id < saved->count; id++)
		if (saved->ids[id].revision)
			sorted[count++] = &saved->ids[id];
	qsort(sorted, count, sizeof(*sorted), by_hash);
	for (size_t i = 1, newest = 0; i < count; i++) {
		if (memcmp(&sorted[i]->hash, &sorted[newest]->hash, sizeof(sorted[i]->hash)) == 0)
			*sorted[i] = (struct saved){};
		else
			newest = i;
	}
	return 0;
}

static int put_back(struct names *names)
{
	_cleanup_free_ struct saved *ids = calloc(names->count, sizeof(*ids));
	_cleanup_free_ struct object_name *all = calloc(names->count, sizeof(*all));
	struct saved_list saved = { ids, names->count };
	int r = ids && all ? state_list(names->state, KEY_PREFIX, NULL, 0, take_saved, &saved, NULL) : -ENOMEM;

	if (r == 0)
		r = drop_earlier(&saved);
	if (r < 0)
		return r;
	for (uint32_t id = 1; id < names->count; id++)
		all[id] = ids[id].hash;
	generations_put_names(names->generations, all);
	names->put_back = true;
	log_error("names of objects in the kernel's maps are not those that were given to them: put back from the state",
		  LOG_F("objects", LOG_U64(names->misnamed)));
	return 0;
}

/* --- all of them ------------------------------------------------------------------------------------------------------------------ */

/* Those that are known already are learnt anew. */
static int load(struct names *names)
{
	return state_list(names->state, KEY_PREFIX, NULL, 0, load_name, names, NULL);
}

size_t names_misnamed(const struct names *names)
{
	return names->misnamed;
}

static void cleanup_names(struct names **names)
{
	names_free(*names);
}

int names_new(struct generations *generations, const struct kernel_memory *memory, struct state *state,
	      struct names **ret_names, struct error *err)
{
	_cleanup_(cleanup_names) struct names *names = calloc(1, sizeof(*names));
	int r;

	if (!names)
		return error_set(err, -ENOMEM, "no memory for the names of objects");
	names->generations = generations;
	names->memory = memory;
	names->state = state;
	names->count = memory->limits.objects;
	names->by_id = calloc(names->count, sizeof(*names->by_id));
	names->unsaved = calloc(names->count, sizeof(*names->unsaved));
	names->queued = calloc(names->count, sizeof(*names->queued));
	if (!names->by_id || !names->unsaved || !names->queued)
		return error_set(err, -ENOMEM, "no memory for the names of objects");
	r = load(names);
	if (r == 0 && names->misnamed && (r = put_back(names)) == 0)
		r = load(names);
	if (r < 0)
		return error_set(err, r, "cannot read the names of objects from the state");
	*ret_names = TAKE_PTR(names);
	return 0;
}

struct names *names_free(struct names *names)
{
	if (!names)
		return NULL;
	for (uint32_t id = 0; names->by_id && id < names->count; id++)
		free(names->by_id[id]);
	for (size_t kind = 0; kind < ARRAY_SIZE(names->by_name); kind++)
		table_done(&names->by_name[kind]);
	free(names->by_id);
	free(names->unsaved);
	free(names->queued);
	free(names);
	return NULL;
}

uint32_t names_id(struct names *names, enum object_kind kind, const char *name)
{
	const struct named *named = named_of(table_get(&names->by_name[kind], name));

	return named && is_current(names, named) ? named->id : generations_id_get(names->generations, kind, name);
}

int names_make(struct names *names, enum object_kind kind, const char *name, uint32_t *ret_id)
{
	const struct named *named = named_of(table_get(&names->by_name[kind], name));
	const size_t length = strlen(name);
	uint32_t id;
	int r;

	if (length >= GENERATIONS_NAME_BYTES)
		return -ENAMETOOLONG;
	id = generations_id_make(names->generations, kind, name); /* also where it is known: so a sweep leaves it to this change */
	if (!id)
		return -ENOSPC;
	if (named && named->id == id && is_current(names, named)) {
		*ret_id = id;
		return 0;
	}
	r = learn(names, kind, name, length, id);
	if (r < 0)
		return r;
	if (!names->queued[id])
		names->unsaved[names->unsaved_count++] = id;
	names->queued[id] = true;
	*ret_id = id;
	return 0;
}

const char *names_get(const struct names *names, uint32_t id)
{
	return id < names->count && names->by_id[id] ? names->by_id[id]->name : NULL;
}

/* Keys and values of the operations, which point into them. */
struct saving {
	struct state_op *ops;
	size_t op_count;
	char (*keys)[KEY_BYTES];
	struct buffer values;
};

static void cleanup_saving(struct saving *saving)
{
	free(saving->ops);
	free(saving->keys);
	buffer_done(&saving->values);
}

static int saving_fill(struct saving *saving, const struct names *names)
{
	const char *value;

	saving->ops = calloc(names->unsaved_count, sizeof(*saving->ops));
	saving->keys = calloc(names->unsaved_count, sizeof(*saving->keys));
	if (!saving->ops || !saving->keys)
		return -ENOMEM;
	for (size_t i = 0; i < names->unsaved_count; i++) {
		const struct named *named = names->by_id[names->unsaved[i]];
		const size_t n = saving->op_count;
		struct stored_name stored;

		if (!named) /* its name has another id by now */
			continue;
		stored = (struct stored_name){ STORED_VERSION, named->kind, named->hash };
		snprintf(saving->keys[n], KEY_BYTES, KEY_PREFIX "%" PRIu32, named->id);
		saving->ops[n].key = saving->keys[n];
		saving->ops[n].value_bytes = sizeof(stored) + strlen(named->name);
		buffer_append(&saving->values, &stored, sizeof(stored));
		buffer_add(&saving->values, named->name);
		saving->op_count++;
	}
	if (buffer_failed(&saving->values))
		return -ENOMEM;
	value = buffer_string(&saving->values);
	for (size_t i = 0; i < saving->op_count; i++) {
		saving->ops[i].value = value;
		value += saving->ops[i].value_bytes;
	}
	return 0;
}

int names_save(struct names *names, struct error *err)
{
	_cleanup_(cleanup_saving) struct saving saving = {};
	int r;

	if (!names->unsaved_count)
		return 0;
	r = saving_fill(&saving, names);
	if (r < 0)
		return error_set(err, r, "no memory to save the names of %zu objects", names->unsaved_count);
	r = state_txn(names->state, NULL, 0, saving.ops, saving.op_count, NULL, err);
	if (r < 0) {
		error_prefix(err, "cannot save the names of objects");
		return r;
	}
	for (size_t i = 0; i < names->unsaved_count; i++)
		names->queued[names->unsaved[i]] = false;
	names->unsaved_count = 0;
	return 0;
}
