/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/utf8.h"

struct store_watch {
	struct list node;
	struct store *store;
	uint64_t after; /* knows the state of this revision; is told of later ones */
	store_watch_fn *fn; /* NULL once removed, until nobody walks the list */
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

static struct store_entry entry_of(const struct record *record)
{
	return (struct store_entry){ record->key, record->value, record->value_bytes, record->revision };
}

/* ---- open, close ---- */

void store_init(struct store *store, const struct store_backend *backend, uint64_t revision)
{
	*store = (struct store){ .backend = backend, .revision = revision };
	list_init(&store->watches);
	list_init(&store->batches);
}

static void free_watches(struct store *store, bool all)
{
	list_for_each_safe(it, &store->watches) {
		struct store_watch *watch = container_of(it, struct store_watch, node);

		if (all || !watch->fn) {
			list_remove(&watch->node);
			free(watch);
		}
	}
}

struct store *store_close(struct store *store)
{
	if (!store)
		return NULL;
	assert(!store->telling);
	free_watches(store, /* all= */ true);
	store->backend->close(store);
	return NULL;
}

/* ---- reading ---- */

int store_get(struct store *store, const char *key, void **ret_value, size_t *ret_bytes, uint64_t *ret_revision)
{
	struct record *record;
	int r = store->backend->get(store, key, &record);
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

int store_list(struct store *store, const char *prefix, const char *after, size_t limit, store_list_fn *fn, void *arg,
	       uint64_t *ret_revision)
{
	_cleanup_(records_done) struct records records = {};
	const uint64_t revision = store->revision;
	int r = store->backend->list(store, prefix, after, limit, &records);

	/* All of it before the first callback, which may write. */
	for (size_t i = 0; i < records.count && r >= 0; i++) {
		const struct store_entry entry = entry_of(records.items[i]);

		r = fn(&entry, arg);
	}
	if (r < 0)
		return r;
	if (ret_revision)
		*ret_revision = revision;
	return 0;
}

/* ---- watching ---- */

int store_watch_add(struct store *store, const char *prefix, store_watch_fn *fn, void *arg, struct store_watch **ret_watch)
{
	size_t length = strlen(prefix);
	struct store_watch *watch = malloc(sizeof(*watch) + length + 1);

	if (!watch)
		return -ENOMEM;
	*watch = (struct store_watch){
		.store = store, .after = store->revision, .fn = fn, .arg = arg, .prefix_length = length
	};
	memcpy(watch->prefix, prefix, length + 1);
	list_append(&store->watches, &watch->node);
	*ret_watch = watch;
	return 0;
}

struct store_watch *store_watch_remove(struct store_watch *watch)
{
	if (!watch)
		return NULL;
	watch->fn = NULL;
	if (!watch->store->telling)
		free_watches(watch->store, /* all= */ false);
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

static void tell_watches(struct store *store, const struct record *record)
{
	const struct store_entry entry = entry_of(record);

	list_for_each(it, &store->watches) {
		struct store_watch *watch = container_of(it, struct store_watch, node);

		if (watch->fn && watch->after < record->revision &&
		    strncmp(record->key, watch->prefix, watch->prefix_length) == 0)
			watch->fn(&entry, watch->arg);
	}
}

/* What a callback writes gets in line here, and is told by the call that is telling already. */
static void tell_batch(struct store *store, struct batch *batch)
{
	list_append(&store->batches, &batch->node);
	if (store->telling)
		return;
	store->telling = true;
	while (!list_empty(&store->batches)) {
		batch = container_of(store->batches.next, struct batch, node);
		list_remove(&batch->node);
		for (size_t i = 0; i < batch->count; i++)
			if (batch->records[i]->revision != 0)
				tell_watches(store, batch->records[i]);
		batch_free(batch);
	}
	store->telling = false;
	free_watches(store, /* all= */ false);
}

/* ---- writing ---- */

static int check_key(const char *key, struct error *err)
{
	size_t length = strlen(key);

	if (length == 0)
		return error_set(err, -EINVAL, "a store key is empty");
	if (length > STORE_KEY_LIMIT_BYTES)
		return error_set(err, -EINVAL, "store key '%.64s...' is longer than %d bytes", key, STORE_KEY_LIMIT_BYTES);
	if (!utf8_valid(key, length))
		return error_set(err, -EINVAL, "a store key of %zu bytes is not UTF-8", length);
	return 0;
}

static int compare_records(const void *a, const void *b)
{
	return strcmp((*(struct record *const *)a)->key, (*(struct record *const *)b)->key);
}

static int batch_new(const struct store_op *ops, size_t count, struct batch **ret_batch, struct error *err)
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
		if (ops[i].value && ops[i].value_bytes > STORE_VALUE_LIMIT_BYTES)
			return error_set(err, -E2BIG, "the value of store key '%s' has %zu bytes, more than %d", ops[i].key,
					 ops[i].value_bytes, STORE_VALUE_LIMIT_BYTES);
		batch->records[i] = record_new(ops[i].key, ops[i].value, ops[i].value ? ops[i].value_bytes : 0, 0);
		if (!batch->records[i])
			return error_set(err, -ENOMEM, "out of memory");
		batch->count++;
	}
	qsort(batch->records, count, sizeof(batch->records[0]), compare_records);
	for (size_t i = 1; i < count; i++)
		if (strcmp(batch->records[i - 1]->key, batch->records[i]->key) == 0)
			return error_set(err, -EINVAL, "store key '%s' has two operations in one transaction",
					 batch->records[i]->key);
	*ret_batch = TAKE_PTR(batch);
	return 0;
}

int store_txn(struct store *store, const struct store_compare *compares, size_t compare_count, const struct store_op *ops,
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
	r = store->backend->txn(store, compares, compare_count, batch->records, batch->count, err);
	if (r < 0)
		return r;
	if (ret_revision)
		*ret_revision = store->revision; /* before a callback writes more */
	tell_batch(store, TAKE_PTR(batch));
	return 0;
}

int store_put(struct store *store, const char *key, const void *value, size_t value_bytes, struct error *err)
{
	/* Not NULL, which would delete. */
	const struct store_op op = { key, value ? value : "", value_bytes };

	assert(value || value_bytes == 0);
	return store_txn(store, NULL, 0, &op, 1, NULL, err);
}

int store_delete(struct store *store, const char *key, struct error *err)
{
	const struct store_op op = { .key = key };

	return store_txn(store, NULL, 0, &op, 1, NULL, err);
}
