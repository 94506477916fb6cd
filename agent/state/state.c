/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/state/state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/state/backend.h"
#include "base/cleanup.h"
#include "base/utf8.h"

struct state_watch {
	struct list node;
	struct state *state;
	uint64_t after; /* knows the state of this revision; is told of later ones */
	state_watch_fn *fn; /* NULL once removed, until nobody walks the list */
	void *arg;
	size_t prefix_length;
	char prefix[];
};

struct batch { /* the operations of one transaction */
	struct list node;
	size_t count;
	struct record *records[];
};

/* ---- records ---- */

struct record *record_new(const char *key, const void *value, size_t value_bytes, uint64_t revision)
{
	size_t key_bytes = strlen(key) + 1;
	struct record *record = malloc(sizeof(*record) + key_bytes + value_bytes + 1);
	char *data;

	if (!record)
		return NULL;
	data = record->data;
	*record = (struct record){ .refs = 1, .revision = revision, .value_bytes = value_bytes, .key = data };
	memcpy(data, key, key_bytes);
	if (value) {
		record->value = data + key_bytes;
		memcpy(data + key_bytes, value, value_bytes);
		data[key_bytes + value_bytes] = '\0';
	}
	return record;
}

struct record *record_ref(struct record *record)
{
	record->refs++;
	return record;
}

struct record *record_unref(struct record *record)
{
	if (record && --record->refs == 0)
		free(record);
	return NULL;
}

int records_reserve(struct records *records, size_t extra)
{
	size_t capacity = records->capacity ? records->capacity : 16;
	struct record **items;

	while (capacity < records->count + extra)
		capacity *= 2;
	if (capacity == records->capacity)
		return 0;
	items = reallocarray(records->items, capacity, sizeof(*items));
	if (!items)
		return -ENOMEM;
	records->items = items;
	records->capacity = capacity;
	return 0;
}

void records_done(struct records *records)
{
	for (size_t i = 0; i < records->count; i++)
		record_unref(records->items[i]);
	free(records->items);
	*records = (struct records){};
}

static struct state_entry entry_of(const struct record *record)
{
	return (struct state_entry){ record->key, record->value, record->value_bytes, record->revision };
}

/* ---- open, close ---- */

void state_init(struct state *state, const struct state_backend *backend, uint64_t revision)
{
	*state = (struct state){ .backend = backend, .revision = revision };
	list_init(&state->watches);
	list_init(&state->batches);
}

static void free_watches(struct state *state, bool all)
{
	list_for_each_safe(it, &state->watches) {
		struct state_watch *watch = container_of(it, struct state_watch, node);

		if (all || !watch->fn) {
			list_remove(&watch->node);
			free(watch);
		}
	}
}

struct state *state_close(struct state *state)
{
	if (!state)
		return NULL;
	assert(!state->telling);
	free_watches(state, /* all= */ true);
	state->backend->close(state);
	return NULL;
}

/* ---- reading ---- */

int state_get(struct state *state, const char *key, void **ret_value, size_t *ret_bytes, uint64_t *ret_revision)
{
	struct record *record;
	int r = state->backend->get(state, key, &record);
	char *value;

	if (r < 0)
		return r;
	value = malloc(record->value_bytes + 1);
	if (!value) {
		record_unref(record);
		return -ENOMEM;
	}
	memcpy(value, record->value, record->value_bytes + 1);
	*ret_value = value;
	*ret_bytes = record->value_bytes;
	if (ret_revision)
		*ret_revision = record->revision;
	record_unref(record);
	return 0;
}

int state_list(struct state *state, const char *prefix, const char *after, size_t limit, state_list_fn *fn, void *arg,
	       uint64_t *ret_revision)
{
	_cleanup_(records_done) struct records records = {};
	const uint64_t revision = state->revision;
	int r = state->backend->list(state, prefix, after, limit, &records);

	/* All of it before the first callback, which may write. */
	for (size_t i = 0; i < records.count && r >= 0; i++) {
		const struct state_entry entry = entry_of(records.items[i]);

		r = fn(&entry, arg);
	}
	if (r < 0)
		return r;
	if (ret_revision)
		*ret_revision = revision;
	return 0;
}

/* ---- watching ---- */

int state_watch_add(struct state *state, const char *prefix, state_watch_fn *fn, void *arg, struct state_watch **ret_watch)
{
	size_t length = strlen(prefix);
	struct state_watch *watch = malloc(sizeof(*watch) + length + 1);

	if (!watch)
		return -ENOMEM;
	*watch = (struct state_watch){
		.state = state, .after = state->revision, .fn = fn, .arg = arg, .prefix_length = length
	};
	memcpy(watch->prefix, prefix, length + 1);
	list_append(&state->watches, &watch->node);
	*ret_watch = watch;
	return 0;
}

struct state_watch *state_watch_remove(struct state_watch *watch)
{
	if (!watch)
		return NULL;
	watch->fn = NULL;
	if (!watch->state->telling)
		free_watches(watch->state, /* all= */ false);
	return NULL;
}

static struct batch *batch_free(struct batch *batch)
{
	if (!batch)
		return NULL;
	for (size_t i = 0; i < batch->count; i++)
		record_unref(batch->records[i]);
	free(batch);
	return NULL;
}

static void cleanup_batch(struct batch **batch)
{
	batch_free(*batch);
}

static void tell_watches(struct state *state, const struct record *record)
{
	const struct state_entry entry = entry_of(record);

	list_for_each(it, &state->watches) {
		struct state_watch *watch = container_of(it, struct state_watch, node);

		if (watch->fn && watch->after < record->revision &&
		    strncmp(record->key, watch->prefix, watch->prefix_length) == 0)
			watch->fn(&entry, watch->arg);
	}
}

/* What a callback writes gets in line here, and is told by the call that is telling already. */
static void tell_batch(struct state *state, struct batch *batch)
{
	list_append(&state->batches, &batch->node);
	if (state->telling)
		return;
	state->telling = true;
	while (!list_empty(&state->batches)) {
		batch = container_of(state->batches.next, struct batch, node);
		list_remove(&batch->node);
		for (size_t i = 0; i < batch->count; i++)
			if (batch->records[i]->revision != 0)
				tell_watches(state, batch->records[i]);
		batch_free(batch);
	}
	state->telling = false;
	free_watches(state, /* all= */ false);
}

/* ---- writing ---- */

static int check_key(const char *key, struct error *err)
{
	size_t length = strlen(key);

	if (length == 0)
		return error_set(err, -EINVAL, "a state key is empty");
	if (length > STATE_KEY_LIMIT_BYTES)
		return error_set(err, -EINVAL, "state key '%.64s...' is longer than %d bytes", key, STATE_KEY_LIMIT_BYTES);
	if (!utf8_valid(key, length))
		return error_set(err, -EINVAL, "a state key of %zu bytes is not UTF-8", length);
	return 0;
}

static int compare_records(const void *a, const void *b)
{
	return strcmp((*(struct record *const *)a)->key, (*(struct record *const *)b)->key);
}

static int batch_new(const struct state_op *ops, size_t count, struct batch **ret_batch, struct error *err)
{
	_cleanup_(cleanup_batch) struct batch *batch = malloc(sizeof(*batch) + count * sizeof(batch->records[0]));
	int r;

	if (!batch)
		return error_set(err, -ENOMEM, "out of memory");
	batch->count = 0;
	for (size_t i = 0; i < count; i++) {
		r = check_key(ops[i].key, err);
		if (r < 0)
			return r;
		if (ops[i].value && ops[i].value_bytes > STATE_VALUE_LIMIT_BYTES)
			return error_set(err, -E2BIG, "the value of state key '%s' has %zu bytes, more than %d", ops[i].key,
					 ops[i].value_bytes, STATE_VALUE_LIMIT_BYTES);
		batch->records[i] = record_new(ops[i].key, ops[i].value, ops[i].value ? ops[i].value_bytes : 0, 0);
		if (!batch->records[i])
			return error_set(err, -ENOMEM, "out of memory");
		batch->count++;
	}
	qsort(batch->records, count, sizeof(batch->records[0]), compare_records);
	for (size_t i = 1; i < count; i++)
		if (strcmp(batch->records[i - 1]->key, batch->records[i]->key) == 0)
			return error_set(err, -EINVAL, "state key '%s' has two operations in one transaction",
					 batch->records[i]->key);
	*ret_batch = TAKE_PTR(batch);
	return 0;
}

int state_txn(struct state *state, const struct state_compare *compares, size_t compare_count, const struct state_op *ops,
	      size_t op_count, uint64_t *ret_revision, struct error *err)
{
	_cleanup_(cleanup_batch) struct batch *batch = NULL;
	int r;

	for (size_t i = 0; i < compare_count; i++) {
		r = check_key(compares[i].key, err);
		if (r < 0)
			return r;
	}
	r = batch_new(ops, op_count, &batch, err);
	if (r < 0)
		return r;
	r = state->backend->txn(state, compares, compare_count, batch->records, batch->count, err);
	if (r < 0)
		return r;
	if (ret_revision)
		*ret_revision = state->revision; /* before a callback writes more */
	tell_batch(state, TAKE_PTR(batch));
	return 0;
}

int state_put(struct state *state, const char *key, const void *value, size_t value_bytes, struct error *err)
{
	/* Not NULL, which would delete. */
	const struct state_op op = { key, value ? value : "", value_bytes };

	assert(value || value_bytes == 0);
	return state_txn(state, NULL, 0, &op, 1, NULL, err);
}

int state_delete(struct state *state, const char *key, struct error *err)
{
	const struct state_op op = { .key = key };

	return state_txn(state, NULL, 0, &op, 1, NULL, err);
}
