/* SPDX-License-Identifier: Apache-2.0 */
/* The store in one SQLite file, on a thread of its own. WAL with synchronous=FULL: a COMMIT is one fsync of the log, after which the
 * transaction outlives kill -9 and power loss; all transactions that wait share it. What the log holds goes into the database file
 * between batches, when nobody waits for an answer that it delays: only the next batch may.
 *
 * Every version of a key is a row, and each revision may be shown, until it is compacted: then the versions that a later one hides
 * go, and deletions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sqlite/file.h"
#include "agent/store/backend.h"
#include "base/cleanup.h"

#define COMPACT_REVISIONS 512 /* at a time */
#define LOG_PAGES 1000 /* 4 MB; then the log is copied into the database */

static const struct sqlite_kind kind = {
	.what = "store file",
	.application_id = 0x77656673, /* "wefs" */
	.version = 1,
	/* TEXT compares bytes. A NULL value is a deletion. */
	.schema = "CREATE TABLE entry (key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB, PRIMARY KEY (key, revision))"
		  " WITHOUT ROWID, STRICT;"
		  "CREATE INDEX entry_by_revision ON entry (revision);"
		  "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;"
		  "INSERT INTO state VALUES (1, 0, 0);",
	.pragmas = "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 16777216",
};

enum statement {
	GET, CURRENT, LIST, LIST_DOWN, CHANGES, PUT, COMPACT_HIDDEN, COMPACT_DELETED, SET_STATE, BEGIN, COMMIT, ROLLBACK,
	STATEMENT_COUNT
};

/* In a list ?2 is a text, or a blob, which is after every text. Where an aggregate is max(), the other columns are of its row. */
static const char *const statements[] = {
	[GET] = "SELECT key, revision, value FROM entry WHERE key = ?1 ORDER BY revision DESC LIMIT 1",
	[CURRENT] = "SELECT revision, value IS NULL FROM entry WHERE key = ?1 ORDER BY revision DESC LIMIT 1",
	[LIST] = "SELECT key, max(revision), value FROM entry WHERE key >= ?1 AND key < ?2 AND revision <= ?3 GROUP BY key ORDER BY key",
	[LIST_DOWN] = "SELECT key, max(revision), value FROM entry WHERE key >= ?1 AND key < ?2 AND revision <= ?3 GROUP BY key"
		      " ORDER BY key DESC",
	[CHANGES] = "SELECT key, revision, value FROM entry INDEXED BY entry_by_revision WHERE revision > ?1 ORDER BY revision, key",
	[PUT] = "INSERT INTO entry (key, revision, value) VALUES (?1, ?2, ?3)",
	/* Of each key written in ]?1, ?2] the version before: what is older went when that one was compacted. */
	[COMPACT_HIDDEN] = "DELETE FROM entry WHERE (key, revision) IN (SELECT key, (SELECT max(revision) FROM entry AS older"
			   " WHERE older.key = newer.key AND older.revision < newer.revision) FROM entry AS newer"
			   " INDEXED BY entry_by_revision WHERE revision > ?1 AND revision <= ?2)",
	[COMPACT_DELETED] = "DELETE FROM entry INDEXED BY entry_by_revision WHERE revision > ?1 AND revision <= ?2 AND value IS NULL",
	[SET_STATE] = "UPDATE state SET revision = ?1, compacted = ?2",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

struct sqlite { /* below `local` only the thread's, once it runs */
	struct local local;
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	uint64_t revision, compacted;
	int log_pages;
	bool broken; /* an fsync failed: what the log holds is not known any more */
};

#define STATEMENT(name, s, which) _cleanup_(sqlite_statement_reset) sqlite3_stmt *name = (s)->statements[which]

static int failed(const struct sqlite *s, int result, const char *what, struct error *err)
{
	return sqlite_error(s->db, &kind, result, what, err);
}

/* Borrows the text until the statement is reset. */
static void bind_text(sqlite3_stmt *statement, int position, const char *text)
{
	sqlite3_bind_text(statement, position, text, -1, SQLITE_STATIC);
}

static void bind_revision(sqlite3_stmt *statement, int position, uint64_t revision)
{
	sqlite3_bind_int64(statement, position, (sqlite3_int64)revision);
}

/* ---- reading ---- */

/* From a row of key, revision, value. NULL: out of memory, or a file that somebody else wrote to. */
static const struct store_entry *entry_of_row(sqlite3_stmt *row, bool key_only)
{
	const char *key = (const char *)sqlite3_column_text(row, 0);
	const bool deleted = sqlite3_column_type(row, 2) == SQLITE_NULL;
	const void *value = deleted || key_only ? NULL : sqlite3_column_blob(row, 2);
	const int bytes = value ? sqlite3_column_bytes(row, 2) : 0;
	struct store_record *record;

	if (!key)
		return NULL;
	record = store_record_new(key, deleted ? NULL : value ? value : "", (size_t)bytes, (uint64_t)sqlite3_column_int64(row, 1));
	return record ? &record->entry : NULL;
}

static void get(struct sqlite *s, struct store_request *request)
{
	STATEMENT(row, s, GET);
	size_t bytes = 0;
	int result;

	request->revision = s->revision;
	bind_text(row, 1, request->range.prefix);
	result = sqlite3_step(row);
	if (result == SQLITE_ROW && sqlite3_column_type(row, 2) != SQLITE_NULL)
		local_add(request, entry_of_row(row, false), &bytes);
	else if (result == SQLITE_ROW || result == SQLITE_DONE)
		request->result = error_set(&request->err, -ENOENT, "there is no store key '%s'", request->range.prefix);
	else
		request->result = failed(s, result, "read", &request->err);
}

/* Binds what the range leaves of all keys. False: nothing. */
static bool bind_range(sqlite3_stmt *list, const struct store_range *range, char end[STORE_KEY_LIMIT_BYTES + 1])
{
	const char *low = range->after && strcmp(range->after, range->prefix) > 0 ? range->after : range->prefix, *high = NULL;

	if (store_prefix_end(range->prefix, end))
		high = end;
	if (range->before && (!high || strcmp(range->before, high) < 0))
		high = range->before;
	bind_text(list, 1, low);
	if (high)
		bind_text(list, 2, high);
	else
		sqlite3_bind_zeroblob(list, 2, 0);
	return !high || strcmp(low, high) < 0;
}

static void list(struct sqlite *s, struct store_request *request)
{
	const struct store_range *range = &request->range;
	char end[STORE_KEY_LIMIT_BYTES + 1];
	STATEMENT(row, s, range->descending ? LIST_DOWN : LIST);
	size_t bytes = 0;
	int result = SQLITE_DONE;

	request->revision = range->revision ? range->revision : s->revision;
	if (local_check_revision(request, request->revision, s->compacted, s->revision) < 0 || !bind_range(row, range, end))
		return;
	bind_revision(row, 3, request->revision);
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(row, 0);

		if (sqlite3_column_type(row, 2) == SQLITE_NULL || (key && range->after && !strcmp(key, range->after)))
			continue;
		if (!local_add(request, entry_of_row(row, range->keys_only), &bytes))
			return;
	}
	if (result != SQLITE_DONE)
		request->result = failed(s, result, "read", &request->err);
}

static void changes(struct sqlite *s, struct store_request *request)
{
	const size_t length = strlen(request->range.prefix);
	STATEMENT(row, s, CHANGES);
	int result;

	request->revision = request->range.revision;
	if (local_check_revision(request, request->revision, s->compacted, s->revision) < 0)
		return;
	bind_revision(row, 1, request->revision);
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const uint64_t revision = (uint64_t)sqlite3_column_int64(row, 1);
		const char *key = (const char *)sqlite3_column_text(row, 0);

		if (revision != request->revision && request->found.count >= STORE_PAGE_LIMIT) {
			request->more = true;
			return;
		}
		request->revision = revision;
		if (key && strncmp(key, request->range.prefix, length) != 0)
			continue;
		if (store_records_add(&request->found, entry_of_row(row, false)) < 0) {
			request->result = error_set(&request->err, -ENOMEM, "out of memory");
			return;
		}
	}
	if (result != SQLITE_DONE)
		request->result = failed(s, result, "read", &request->err);
	else
		request->revision = s->revision;
}

static void sqlite_read(struct store *store, struct store_request *request)
{
	struct sqlite *s = (struct sqlite *)store;

	if (request->kind == STORE_GET)
		get(s, request);
	else if (request->kind == STORE_LIST)
		list(s, request);
	else
		changes(s, request);
}

/* ---- writing: between BEGIN and COMMIT; a negative return means that the group has failed ---- */

/* The revision that wrote the key last, 0: it is absent. */
static int current(struct sqlite *s, const char *key, uint64_t *ret_revision, struct error *err)
{
	STATEMENT(row, s, CURRENT);
	int result;

	bind_text(row, 1, key);
	result = sqlite3_step(row);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		return failed(s, result, "read", err);
	*ret_revision = result == SQLITE_ROW && !sqlite3_column_int(row, 1) ? (uint64_t)sqlite3_column_int64(row, 0) : 0;
	return 0;
}

static int put(struct sqlite *s, struct store_record *op, uint64_t revision, struct error *err)
{
	STATEMENT(row, s, PUT);
	int result;

	bind_text(row, 1, op->entry.key);
	bind_revision(row, 2, revision);
	if (op->entry.value)
		sqlite3_bind_blob(row, 3, op->entry.value, (int)op->entry.value_bytes, SQLITE_STATIC);
	result = sqlite3_step(row);
	if (result != SQLITE_DONE)
		return failed(s, result, "write", err);
	op->entry.revision = revision;
	return 0;
}

static int write_one(struct sqlite *s, struct store_request *txn, uint64_t *revision, struct error *err)
{
	const uint64_t next = *revision + 1;
	uint64_t found;
	int r;

	for (size_t i = 0; i < txn->compare_count; i++) {
		r = current(s, txn->compares[i].key, &found, err);
		if (r < 0)
			return r;
		if (found != txn->compares[i].revision) {
			local_lost(txn, txn->compares[i].key, *revision);
			return 0;
		}
	}
	for (size_t i = 0; i < txn->ops.count; i++) {
		struct store_record *op = store_record_of(txn->ops.items[i]);

		found = 1;
		r = op->entry.value ? 0 : current(s, op->entry.key, &found, err);
		if (r >= 0 && found)
			r = put(s, op, *revision = next, err);
		if (r < 0)
			return r;
	}
	txn->revision = *revision;
	return 0;
}

static int run_between(struct sqlite *s, enum statement which, uint64_t a, uint64_t b, struct error *err)
{
	STATEMENT(statement, s, which);
	int result;

	bind_revision(statement, 1, a);
	bind_revision(statement, 2, b);
	result = sqlite3_step(statement);
	return result == SQLITE_DONE ? 0 : failed(s, result, "write", err);
}

static int compact(struct sqlite *s, uint64_t from, uint64_t to, struct error *err)
{
	int r = run_between(s, COMPACT_HIDDEN, from, to, err);

	return r < 0 ? r : run_between(s, COMPACT_DELETED, from, to, err);
}

static int run(struct sqlite *s, enum statement which, struct error *err)
{
	STATEMENT(statement, s, which);
	int result = sqlite3_step(statement);

	if (result == SQLITE_DONE)
		return 0;
	if (result == SQLITE_IOERR_FSYNC)
		s->broken = true;
	return failed(s, result, "write", err);
}

static int write_between(struct sqlite *s, struct store_request *const *txns, size_t count, struct error *err)
{
	uint64_t revision = s->revision, compacted = s->compacted;
	int r = 0;

	for (size_t i = 0; i < count && r >= 0; i++)
		r = write_one(s, txns[i], &revision, err);
	if (r >= 0 && revision >= compacted + STORE_HISTORY_REVISIONS + COMPACT_REVISIONS) {
		compacted = revision - STORE_HISTORY_REVISIONS;
		r = compact(s, s->compacted, compacted, err);
	}
	if (r >= 0 && revision != s->revision)
		r = run_between(s, SET_STATE, revision, compacted, err);
	if (r >= 0)
		r = run(s, COMMIT, err);
	if (r < 0)
		return r;
	s->revision = revision;
	s->compacted = compacted;
	return 0;
}

/* ---- groups ---- */

static int write_group(struct sqlite *s, struct store_request *const *txns, size_t count, struct error *err)
{
	int r = run(s, BEGIN, err);

	if (r < 0)
		return r;
	r = write_between(s, txns, count, err);
	if (r < 0 && !sqlite3_get_autocommit(s->db)) /* some errors have rolled back already */
		run(s, ROLLBACK, NULL);
	return r;
}

static void undo(struct store_request *txn)
{
	txn->result = 0;
	txn->revision = 0;
	for (size_t i = 0; i < txn->ops.count; i++)
		store_record_of(txn->ops.items[i])->entry.revision = 0;
}

static void fail_all(struct store_request *const *txns, size_t count, const struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		undo(txns[i]);
		txns[i]->result = err->code;
		txns[i]->err = *err;
	}
}

/* Where a group fails each is tried alone, so that one that is too large for the disk takes no other with it. */
static void sqlite_write(struct store *store, struct store_request *const *txns, size_t count)
{
	struct sqlite *s = (struct sqlite *)store;
	struct error err = {};

	if (!s->broken && write_group(s, txns, count, &err) >= 0)
		return;
	if (s->broken) {
		error_set(&err, -EIO, "the disk did not keep what was written to it: start again to see what is there");
		fail_all(txns, count, &err);
		return;
	}
	fail_all(txns, count, &err);
	for (size_t i = 0; count > 1 && i < count; i++) {
		undo(txns[i]);
		sqlite_write(store, &txns[i], 1);
	}
}

static int count_log(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct sqlite *s = arg;

	(void)db;
	(void)name;
	s->log_pages = pages;
	return SQLITE_OK;
}

/* What fails here fails again, with a message, where the log finds no more room. */
static void sqlite_rest(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	if (s->log_pages < LOG_PAGES || s->broken)
		return;
	sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	s->log_pages = 0;
}

/* ---- open, close ---- */

static void sqlite_engine_close(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	free(s);
}

static const struct engine sqlite_engine = {
	.read = sqlite_read,
	.write = sqlite_write,
	.rest = sqlite_rest,
	.close = sqlite_engine_close,
};

static int open_store(struct sqlite *s, struct loop *loop, const char *path, struct error *err)
{
	int64_t revision, compacted;
	int r = sqlite_file_open(path, &kind, &s->db, err);

	if (r < 0)
		return r;
	r = sqlite_query_integer(s->db, &kind, "SELECT revision FROM state", &revision, err);
	if (r >= 0)
		r = sqlite_query_integer(s->db, &kind, "SELECT compacted FROM state", &compacted, err);
	if (r >= 0)
		r = sqlite_prepare_all(s->db, &kind, statements, STATEMENT_COUNT, s->statements, err);
	if (r < 0)
		return error_prefix(err, "'%s'", path);
	s->revision = (uint64_t)revision;
	s->compacted = (uint64_t)compacted;
	sqlite3_wal_hook(s->db, count_log, s);
	r = local_start(&s->local, loop, &sqlite_engine, "weft-store");
	return r < 0 ? error_set(err, r, "cannot start the thread of the store") : 0;
}

int store_open_sqlite(struct loop *loop, const char *path, struct store **ret_store, struct error *err)
{
	struct sqlite *s = calloc(1, sizeof(*s));
	int r = s ? open_store(s, loop, path, err) : error_set(err, -ENOMEM, "out of memory");

	if (r < 0) {
		if (s)
			sqlite_engine_close(&s->local.store);
		return r;
	}
	*ret_store = &s->local.store;
	return 0;
}
