/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* ---- requests ---- */

struct store_request *store_request_new(enum store_request_kind kind, size_t extra_bytes)
{
	struct store_request *request = malloc(sizeof(*request) + extra_bytes);

	if (!request)
		return NULL;
	*request = (struct store_request){ .kind = kind };
	list_init(&request->node);
	return request;
}

void store_request_free(struct store_request *request)
{
	if (!request)
		return;
	free(request->compares);
	store_records_done(&request->ops);
	store_records_done(&request->found);
	free(request);
}

static void cleanup_request(struct store_request **request)
{
	store_request_free(*request);
}

/* ---- checks ---- */

static int check_key(const char *what, const char *key, struct error *err)
{
	size_t length = strlen(key);

	if (length > STORE_KEY_LIMIT_BYTES)
		return error_set(err, -EINVAL, "%s '%.64s...' is longer than %d bytes", what, key, STORE_KEY_LIMIT_BYTES);
	if (!utf8_valid(key, length))
		return error_set(err, -EINVAL, "%s of %zu bytes is not UTF-8", what, length);
	return 0;
}

static int check_whole_key(const char *key, struct error *err)
{
	return key[0] ? check_key("store key", key, err) : error_set(err, -EINVAL, "a store key is empty");
}

static int check_room(const struct store *store, size_t bytes, struct error *err)
{
	if (store->closing)
		return error_set(err, -ESHUTDOWN, "the store is being closed");
	if (store->waiting >= STORE_WAITING_LIMIT || store->waiting_bytes + bytes > STORE_WAITING_LIMIT_BYTES)
		return error_set(err, -EAGAIN, "too much waits for the store: %zu calls of %zu bytes", store->waiting,
				 store->waiting_bytes);
	return 0;
}

static int check_txn(const struct store_compare *compares, size_t compare_count, const struct store_op *ops, size_t op_count,
		     size_t *ret_bytes, struct error *err)
{
	size_t bytes = 0;
	int r;

	if (compare_count > STORE_TXN_LIMIT || op_count > STORE_TXN_LIMIT)
		return error_set(err, -E2BIG, "a transaction of %zu compares and %zu operations, more than %d", compare_count, op_count,
				 STORE_TXN_LIMIT);
	for (size_t i = 0; i < compare_count; i++) {
		r = check_whole_key(compares[i].key, err);
		if (r < 0)
			return r;
		bytes += strlen(compares[i].key) + 1;
	}
	for (size_t i = 0; i < op_count; i++) {
		size_t value_bytes = ops[i].value ? ops[i].value_bytes : 0;

		r = check_whole_key(ops[i].key, err);
		if (r < 0)
			return r;
		if (value_bytes > STORE_VALUE_LIMIT_BYTES)
			return error_set(err, -E2BIG, "the value of store key '%s' has %zu bytes, more than %d", ops[i].key, value_bytes,
					 STORE_VALUE_LIMIT_BYTES);
		bytes += strlen(ops[i].key) + 1 + value_bytes;
	}
	if (bytes > STORE_TXN_LIMIT_BYTES)
		return error_set(err, -E2BIG, "a transaction of %zu bytes, more than %d", bytes, STORE_TXN_LIMIT_BYTES);
	*ret_bytes = bytes;
	return 0;
}

/* ---- building ---- */

static char *copy_string(char **at, const char *string)
{
	size_t bytes = strlen(string) + 1;
	char *copy = memcpy(*at, string, bytes);

	*at += bytes;
	return copy;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp((*(const struct store_entry *const *)a)->key, (*(const struct store_entry *const *)b)->key);
}

static int build_ops(struct store_request *request, const struct store_op *ops, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct store_record *record = store_record_new(ops[i].key, ops[i].value, ops[i].value_bytes, 0);

		if (store_records_add(&request->ops, record ? &record->entry : NULL) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	if (count)
		qsort(request->ops.items, count, sizeof(*request->ops.items), compare_keys);
	for (size_t i = 1; i < count; i++)
		if (!strcmp(request->ops.items[i - 1]->key, request->ops.items[i]->key))
			return error_set(err, -EINVAL, "store key '%s' has two operations in one transaction",
					 request->ops.items[i]->key);
	return 0;
}

static int build_txn(const struct store_compare *compares, size_t compare_count, const struct store_op *ops, size_t op_count,
		     struct store_request **ret_request, struct error *err)
{
	_cleanup_(cleanup_request) struct store_request *request = NULL;
	size_t bytes = 0, key_bytes = 0;
	char *at;
	int r = check_txn(compares, compare_count, ops, op_count, &bytes, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < compare_count; i++)
		key_bytes += strlen(compares[i].key) + 1;
	request = store_request_new(STORE_TXN, key_bytes); /* operations have memory of their own */
	if (!request)
		return error_set(err, -ENOMEM, "out of memory");
	request->bytes = sizeof(*request) + bytes;
	request->compares = calloc(MAX(compare_count, 1), sizeof(*compares));
	if (!request->compares)
		return error_set(err, -ENOMEM, "out of memory");
	at = request->data;
	for (size_t i = 0; i < compare_count; i++)
		request->compares[i] = (struct store_compare){ copy_string(&at, compares[i].key), compares[i].revision };
	request->compare_count = compare_count;
	r = build_ops(request, ops, op_count, err);
	if (r < 0)
		return r;
	*ret_request = TAKE_PTR(request);
	return 0;
}

static int build_read(enum store_request_kind kind, const struct store_range *range, struct store_request **ret_request,
		      struct error *err)
{
	const char *after = range->after ? range->after : "", *before = range->before ? range->before : "";
	size_t bytes = strlen(range->prefix) + strlen(after) + strlen(before) + 3;
	struct store_request *request;
	char *at;
	int r = check_key("store prefix", range->prefix, err);

	if (r >= 0)
		r = check_key("store key", after, err);
	if (r >= 0)
		r = check_key("store key", before, err);
	if (r < 0)
		return r;
	request = store_request_new(kind, bytes);
	if (!request)
		return error_set(err, -ENOMEM, "out of memory");
	request->bytes = sizeof(*request) + bytes;
	request->range = *range;
	request->range.limit = range->limit ? MIN(range->limit, (size_t)STORE_PAGE_LIMIT) : STORE_PAGE_LIMIT;
	at = request->data;
	request->range.prefix = copy_string(&at, range->prefix);
	if (range->after)
		request->range.after = copy_string(&at, after);
	if (range->before)
		request->range.before = copy_string(&at, before);
	*ret_request = request;
	return 0;
}

/* ---- calls ---- */

/* Counts what is refused. */
static int submit(struct store *store, int r, struct store_request *request, struct error *err)
{
	if (r >= 0) {
		r = check_room(store, request->bytes, err);
		if (r < 0)
			store_request_free(request);
	}
	if (r == -EINVAL || r == -E2BIG)
		store->counts[STORE_COUNT_INVALID]++;
	if (r == -EAGAIN)
		store->counts[STORE_COUNT_BUSY]++;
	if (r < 0)
		return r;
	store->waiting++;
	store->waiting_bytes += request->bytes;
	store->backend->submit(store, request);
	return 0;
}

int store_txn(struct store *store, const struct store_compare *compares, size_t compare_count, const struct store_op *ops,
	      size_t op_count, store_done_fn *done, void *arg, struct error *err)
{
	struct store_request *request = NULL;
	int r = build_txn(compares, compare_count, ops, op_count, &request, err);

	if (r >= 0) {
		request->txn_done = done;
		request->arg = arg;
	}
	return submit(store, r, request, err);
}

int store_get(struct store *store, const char *key, store_get_fn *done, void *arg, struct error *err)
{
	struct store_request *request = NULL;
	int r = check_whole_key(key, err);

	if (r >= 0)
		r = build_read(STORE_GET, &(struct store_range){ .prefix = key }, &request, err);
	if (r >= 0) {
		request->get_done = done;
		request->arg = arg;
	}
	return submit(store, r, request, err);
}

int store_list(struct store *store, const struct store_range *range, store_list_fn *done, void *arg, struct error *err)
{
	struct store_request *request = NULL;
	int r = build_read(STORE_LIST, range, &request, err);

	if (r >= 0) {
		request->list_done = done;
		request->arg = arg;
	}
	return submit(store, r, request, err);
}

/* ---- outcomes ---- */

static enum store_count count_of(const struct store_request *request)
{
	switch (request->result) {
	case 0:
	case -ENOENT:
		return request->kind == STORE_TXN ? STORE_COUNT_TXNS : STORE_COUNT_READS;
	case -ECANCELED:
		return STORE_COUNT_LOST;
	case -ESTALE:
		return STORE_COUNT_STALE;
	case -EROFS:
		return STORE_COUNT_READ_ONLY;
	default:
		return STORE_COUNT_FAILED;
	}
}

static void call_back(struct store_request *request)
{
	const struct error *err = request->result < 0 ? &request->err : NULL;
	const struct store_page page = { request->found.items, request->found.count, request->revision, request->more };

	switch (request->kind) {
	case STORE_TXN:
		request->txn_done(request->result, request->revision, err, request->arg);
		break;
	case STORE_GET:
		request->get_done(request->result, request->found.count ? request->found.items[0] : NULL, request->revision, err,
				  request->arg);
		break;
	case STORE_LIST:
		request->list_done(request->result, request->result < 0 ? NULL : &page, err, request->arg);
		break;
	case STORE_CHANGES: /* the back end's own */
		break;
	}
}

void store_complete(struct store *store, struct store_request *request)
{
	store->waiting--;
	store->waiting_bytes -= request->bytes;
	store->counts[count_of(request)]++;
	store->calling++;
	call_back(request);
	store->calling--;
	store_request_free(request);
	store_watches_sweep(store);
}

/* ---- watches ---- */

int store_watch(struct store *store, const char *prefix, uint64_t from_revision, store_watch_fn *fn, void *arg,
		struct store_watch **ret_watch, struct error *err)
{
	size_t length = strlen(prefix);
	struct store_watch *watch;
	int r = check_key("store prefix", prefix, err);

	if (r < 0) {
		store->counts[STORE_COUNT_INVALID]++;
		return r;
	}
	if (store->closing)
		return error_set(err, -ESHUTDOWN, "the store is being closed");
	watch = malloc(sizeof(*watch) + length + 1);
	if (!watch)
		return error_set(err, -ENOMEM, "out of memory");
	*watch = (struct store_watch){
		.store = store, .revision = from_revision, .fn = fn, .arg = arg, .prefix_length = length
	};
	memcpy(watch->prefix, prefix, length + 1);
	list_append(&store->watches, &watch->node);
	r = store->backend->watch(store, watch);
	if (r < 0) {
		store_unwatch(watch);
		return error_set(err, r, "out of memory");
	}
	*ret_watch = watch;
	return 0;
}

struct store_watch *store_unwatch(struct store_watch *watch)
{
	if (!watch)
		return NULL;
	watch->fn = NULL;
	store_watches_sweep(watch->store);
	return NULL;
}

void store_watches_sweep(struct store *store)
{
	if (store->calling)
		return;
	list_for_each_safe(it, &store->watches) {
		struct store_watch *watch = container_of(it, struct store_watch, node);

		if (watch->fn || watch->busy)
			continue;
		list_remove(&watch->node);
		free(watch);
	}
}

void store_watch_tell(struct store_watch *watch, const struct store_entry *const *entries, size_t count, uint64_t revision)
{
	const struct store_entry *own[STORE_TXN_LIMIT];
	size_t n = 0;

	if (!watch->fn || revision <= watch->revision)
		return;
	watch->revision = revision;
	assert(count <= STORE_TXN_LIMIT);
	for (size_t i = 0; i < count; i++)
		if (!strncmp(entries[i]->key, watch->prefix, watch->prefix_length))
			own[n++] = entries[i];
	watch->store->calling++;
	watch->fn(0, own, n, revision, NULL, watch->arg);
	watch->store->calling--;
}

void store_watch_fail(struct store_watch *watch, int result, const struct error *err)
{
	store_watch_fn *fn = watch->fn;

	if (!fn)
		return;
	if (result == -ESTALE)
		watch->store->counts[STORE_COUNT_STALE]++;
	watch->store->calling++;
	fn(result, NULL, 0, watch->revision, err, watch->arg);
	watch->store->calling--;
	watch->live = false;
}

/* ---- open, close, counting ---- */

void store_init(struct store *store, struct loop *loop, const struct store_backend *backend)
{
	*store = (struct store){ .loop = loop, .backend = backend };
	list_init(&store->watches);
}

struct store *store_close(struct store *store)
{
	if (!store)
		return NULL;
	assert(!store->calling);
	store->closing = true;
	store->backend->close(store);
	return NULL;
}

uint64_t store_count(const struct store *store, enum store_count which)
{
	return store->counts[which];
}

const char *store_count_name(enum store_count which)
{
	static const char *const names[STORE_COUNTS] = {
		[STORE_COUNT_TXNS] = "txns",
		[STORE_COUNT_READS] = "reads",
		[STORE_COUNT_GROUPS] = "groups",
		[STORE_COUNT_LOST] = "lost",
		[STORE_COUNT_FAILED] = "failed",
		[STORE_COUNT_STALE] = "stale",
		[STORE_COUNT_READ_ONLY] = "read-only",
		[STORE_COUNT_INVALID] = "invalid",
		[STORE_COUNT_BUSY] = "busy",
	};

	return names[which];
}
