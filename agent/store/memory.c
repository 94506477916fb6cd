/* SPDX-License-Identifier: Apache-2.0 */
/* The store in memory: every version that is kept, sorted by key and revision, and once more by revision. Writing one among n
 * moves n pointers, which tests do not mind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/sorted.h"

#define COMPACT_REVISIONS 512 /* at a time */

struct memory {
	struct local local;
	uint64_t revision, compacted;
	struct store_records versions, log;
};

/* The version of that key which is in force, at the position before `end`; NULL: deleted or never there. */
static const struct store_entry *current(const struct memory *m, const char *key, size_t *ret_end)
{
	size_t end = store_records_find(&m->versions, key, UINT64_MAX);
	const struct store_entry *last = end > 0 ? m->versions.items[end - 1] : NULL;

	*ret_end = end;
	return last && last->value && !strcmp(last->key, key) ? last : NULL;
}

/* ---- reading ---- */

static void get(const struct memory *m, struct store_request *request)
{
	size_t end, bytes = 0;
	const struct store_entry *entry = current(m, request->range.prefix, &end);

	request->revision = m->revision;
	if (entry)
		local_add(request, store_entry_ref(entry), &bytes);
	else
		request->result = error_set(&request->err, -ENOENT, "there is no store key '%s'", request->range.prefix);
}

/* What a list at the revision shows of the versions [first, end) of one key. */
static const struct store_entry *version_at(const struct memory *m, size_t first, size_t end, uint64_t revision)
{
	while (end > first && m->versions.items[end - 1]->revision > revision)
		end--;
	return end > first && m->versions.items[end - 1]->value ? m->versions.items[end - 1] : NULL;
}

static bool same_key(const struct memory *m, size_t a, size_t b)
{
	return !strcmp(m->versions.items[a]->key, m->versions.items[b]->key);
}

static bool list_key(const struct memory *m, struct store_request *request, size_t first, size_t end, size_t *bytes)
{
	const struct store_entry *entry = version_at(m, first, end, request->revision);
	struct store_record *bare;

	if (!entry)
		return true;
	if (!request->range.keys_only)
		return local_add(request, store_entry_ref(entry), bytes);
	bare = store_record_new(entry->key, "", 0, entry->revision);
	return local_add(request, bare ? &bare->entry : NULL, bytes);
}

static void list(const struct memory *m, struct store_request *request)
{
	const struct store_range *range = &request->range;
	size_t low, high, bytes = 0, at;

	request->revision = range->revision ? range->revision : m->revision;
	if (local_check_revision(request, request->revision, m->compacted, m->revision) < 0)
		return;
	store_records_range(&m->versions, range, &low, &high);
	while (low < high) {
		if (range->descending) {
			for (at = high - 1; at > low && same_key(m, at - 1, high - 1);)
				at--;
			if (!list_key(m, request, at, high, &bytes))
				return;
			high = at;
		} else {
			for (at = low + 1; at < high && same_key(m, at, low);)
				at++;
			if (!list_key(m, request, low, at, &bytes))
				return;
			low = at;
		}
	}
}

static size_t log_after(const struct memory *m, uint64_t revision)
{
	return SORTED_PLACE(m->log.count, i, m->log.items[i]->revision <= revision);
}

static void changes(const struct memory *m, struct store_request *request)
{
	const size_t length = strlen(request->range.prefix);
	const uint64_t from = request->range.revision;

	request->revision = from;
	if (local_check_revision(request, from, m->compacted, m->revision) < 0)
		return;
	for (size_t i = log_after(m, from); i < m->log.count; i++) {
		const struct store_entry *entry = m->log.items[i];

		if (entry->revision != request->revision && request->found.count >= STORE_PAGE_LIMIT) {
			request->more = true;
			return;
		}
		request->revision = entry->revision;
		if (!strncmp(entry->key, request->range.prefix, length) &&
		    store_records_add(&request->found, store_entry_ref(entry)) < 0) {
			request->result = error_set(&request->err, -ENOMEM, "out of memory");
			return;
		}
	}
	request->revision = m->revision;
}

static void memory_read(struct store *store, struct store_request *request)
{
	const struct memory *m = (struct memory *)store;

	if (request->kind == STORE_GET)
		get(m, request);
	else if (request->kind == STORE_LIST)
		list(m, request);
	else
		changes(m, request);
}

/* ---- writing ---- */

static bool compares_hold(const struct memory *m, struct store_request *txn)
{
	size_t end;

	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct store_entry *entry = current(m, txn->compares[i].key, &end);

		if (txn->compares[i].revision != (entry ? entry->revision : 0)) {
			local_lost(txn, txn->compares[i].key, m->revision);
			return false;
		}
	}
	return true;
}

static void write_one(struct memory *m, struct store_request *txn)
{
	const uint64_t next = m->revision + 1;

	if (!compares_hold(m, txn))
		return;
	if (store_records_reserve(&m->versions, txn->ops.count) < 0 || store_records_reserve(&m->log, txn->ops.count) < 0) {
		txn->result = error_set(&txn->err, -ENOMEM, "out of memory");
		return;
	}
	for (size_t i = 0; i < txn->ops.count; i++) { /* cannot fail */
		const struct store_entry *op = txn->ops.items[i];
		size_t end;

		if (!current(m, op->key, &end) && !op->value)
			continue;
		store_record_of(op)->entry.revision = m->revision = next;
		store_records_insert(&m->versions, end, store_entry_ref(op));
		store_records_insert(&m->log, m->log.count, store_entry_ref(op));
	}
	txn->revision = m->revision;
}

/* Drops the versions that a later one up to `revision` hides, and deletions up to it. */
static void compact(struct memory *m, uint64_t revision)
{
	const size_t end = log_after(m, revision);

	for (size_t i = 0; i < end; i++) {
		const struct store_entry *entry = m->log.items[i];
		size_t first = store_records_find(&m->versions, entry->key, 0);

		while (m->versions.items[first]->revision < entry->revision)
			store_records_remove(&m->versions, first);
		if (!entry->value)
			store_records_remove(&m->versions, first);
	}
	for (size_t i = 0; i < end; i++)
		store_entry_unref(m->log.items[i]);
	m->log.count -= end;
	memmove(m->log.items, m->log.items + end, m->log.count * sizeof(*m->log.items));
	m->compacted = revision;
}

static void memory_write(struct store *store, struct store_request *const *txns, size_t count)
{
	struct memory *m = (struct memory *)store;

	for (size_t i = 0; i < count; i++)
		write_one(m, txns[i]);
	if (m->revision >= m->compacted + STORE_HISTORY_REVISIONS + COMPACT_REVISIONS)
		compact(m, m->revision - STORE_HISTORY_REVISIONS);
}

/* ---- open, close ---- */

static void memory_close(struct store *store)
{
	struct memory *m = (struct memory *)store;

	store_records_done(&m->versions);
	store_records_done(&m->log);
	free(m);
}

static const struct engine memory_engine = {
	.read = memory_read,
	.write = memory_write,
	.close = memory_close,
};

int store_open_memory(struct loop *loop, struct store **ret_store, struct error *err)
{
	struct memory *m = calloc(1, sizeof(*m));
	int r = m ? local_start(&m->local, loop, &memory_engine, NULL) : -ENOMEM;

	if (r < 0) {
		free(m);
		return error_set(err, r, "cannot open a store in memory");
	}
	*ret_store = &m->local.store;
	return 0;
}
