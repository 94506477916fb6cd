/* SPDX-License-Identifier: Apache-2.0 */
/* State in one SQLite file: one connection, which nobody else may open meanwhile (locking_mode EXCLUSIVE).
 *
 * WAL with synchronous=NORMAL: a transaction is in the log file when state_txn() returns, so kill -9 loses nothing that was
 * acknowledged. A power loss may lose the last transactions, never half of one. That is enough for what is kept here in this
 * version: it is rebuilt at the next start, or belongs to the running kernel, whose maps a power loss takes as well. It also
 * means that no transaction waits for the disk (11 us at the median), but the one that finds 1,000 pages (4 MB) in the log:
 * that one copies them into the database and calls fsync twice, on the loop (up to 60 ms on a virtual disk). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sqlite/file.h"
#include "agent/state/backend.h"
#include "base/cleanup.h"

static const struct sqlite_kind kind = {
	.what = "state file",
	.application_id = 0x77656674, /* "weft" */
	.version = 1,
	/* TEXT compares bytes. The value lies with its key: most are a few hundred bytes. */
	.schema =
		"CREATE TABLE entry (key TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID, STRICT;"
		"CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL) STRICT;"
		"INSERT INTO state VALUES (1, 0);",
	/* Pages, in KiB: most are written once and not read again before the next start, and the kernel has them as well. */
	.pragmas = "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256",
};

enum statement { GET, LIST, GET_REVISION, PUT, DELETE, SET_REVISION, BEGIN, COMMIT, ROLLBACK, STATEMENT_COUNT };

static const char *const statements[] = {
	[GET] = "SELECT key, revision, value FROM entry WHERE key = ?1",
	[LIST] = "SELECT key, revision, value FROM entry WHERE key >= ?1 ORDER BY key",
	[GET_REVISION] = "SELECT revision FROM entry WHERE key = ?1",
	[PUT] = "INSERT OR REPLACE INTO entry (key, revision, value) VALUES (?1, ?2, ?3)",
	[DELETE] = "DELETE FROM entry WHERE key = ?1",
	[SET_REVISION] = "UPDATE state SET revision = ?1",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

struct sqlite {
	struct state state;
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
};

static int failed(const struct sqlite *s, int result, const char *what, struct error *err)
{
	return sqlite_error(s->db, &kind, result, what, err);
}

#define STATEMENT(name, s, which) _cleanup_(sqlite_statement_reset) sqlite3_stmt *name = (s)->statements[which]

/* Borrows the key until the statement is reset. */
static void bind_key(sqlite3_stmt *statement, int position, const char *key)
{
	sqlite3_bind_text(statement, position, key, -1, SQLITE_STATIC);
}

static int run(struct sqlite *s, enum statement which)
{
	STATEMENT(statement, s, which);

	return sqlite3_step(statement);
}

/* A record from a row of key, revision, value. NULL: out of memory, or a file that somebody else wrote to. */
static struct record *record_of_row(sqlite3_stmt *row)
{
	const char *key = (const char *)sqlite3_column_text(row, 0);
	const void *value = sqlite3_column_blob(row, 2);
	int bytes = sqlite3_column_bytes(row, 2);

	if (!key || (!value && bytes > 0))
		return NULL;
	return record_new(key, value ? value : "", (size_t)bytes, (uint64_t)sqlite3_column_int64(row, 1));
}

/* ---- the back end ---- */

static int sqlite_get(struct state *state, const char *key, struct record **ret_record)
{
	struct sqlite *s = (struct sqlite *)state;
	STATEMENT(get, s, GET);
	int result;

	bind_key(get, 1, key);
	result = sqlite3_step(get);
	if (result == SQLITE_DONE)
		return -ENOENT;
	if (result != SQLITE_ROW)
		return sqlite_errno(s->db, result);
	*ret_record = record_of_row(get);
	return *ret_record ? 0 : -ENOMEM;
}

static int sqlite_list(struct state *state, const char *prefix, const char *after, size_t limit, struct records *records)
{
	struct sqlite *s = (struct sqlite *)state;
	const bool past = after && strcmp(after, prefix) >= 0;
	const size_t length = strlen(prefix);
	STATEMENT(list, s, LIST);
	int result;

	bind_key(list, 1, past ? after : prefix);
	while ((result = sqlite3_step(list)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(list, 0);

		if (!key || records_reserve(records, 1) < 0)
			return -ENOMEM;
		if (strncmp(key, prefix, length) != 0 || (limit > 0 && records->count == limit))
			return 0;
		if (past && strcmp(key, after) == 0)
			continue;
		records->items[records->count] = record_of_row(list);
		if (!records->items[records->count])
			return -ENOMEM;
		records->count++;
	}
	return result == SQLITE_DONE ? 0 : sqlite_errno(s->db, result);
}

static int check_compare(struct sqlite *s, const struct state_compare *compare, struct error *err)
{
	uint64_t revision = 0;
	STATEMENT(get, s, GET_REVISION);
	int result;

	bind_key(get, 1, compare->key);
	result = sqlite3_step(get);
	if (result == SQLITE_ROW)
		revision = (uint64_t)sqlite3_column_int64(get, 0);
	else if (result != SQLITE_DONE)
		return failed(s, result, "read", err);
	if (revision != compare->revision)
		return error_set(err, -ECANCELED, "state key '%s' was changed by another", compare->key);
	return 0;
}

static int apply(struct sqlite *s, struct record *op, uint64_t revision, struct error *err)
{
	STATEMENT(write, s, op->value ? PUT : DELETE);
	int result;

	bind_key(write, 1, op->key);
	if (op->value) {
		sqlite3_bind_int64(write, 2, (sqlite3_int64)revision);
		sqlite3_bind_blob(write, 3, op->value, (int)op->value_bytes, SQLITE_STATIC);
	}
	result = sqlite3_step(write);
	if (result != SQLITE_DONE)
		return failed(s, result, "write", err);
	if (sqlite3_changes(s->db) > 0)
		op->revision = revision;
	return 0;
}

static int set_revision(struct sqlite *s, uint64_t revision, struct error *err)
{
	STATEMENT(set, s, SET_REVISION);
	int result;

	sqlite3_bind_int64(set, 1, (sqlite3_int64)revision);
	result = sqlite3_step(set);
	return result == SQLITE_DONE ? 0 : failed(s, result, "write", err);
}

/* Between BEGIN and COMMIT. */
static int write_all(struct sqlite *s, const struct state_compare *compares, size_t compare_count, struct record *const *ops,
		     size_t op_count, uint64_t *ret_revision, struct error *err)
{
	uint64_t revision = s->state.revision;
	int r = 0;

	for (size_t i = 0; i < compare_count && r >= 0; i++)
		r = check_compare(s, &compares[i], err);
	for (size_t i = 0; i < op_count && r >= 0; i++) {
		r = apply(s, ops[i], s->state.revision + 1, err);
		revision = MAX(revision, ops[i]->revision);
	}
	if (r >= 0 && revision != s->state.revision)
		r = set_revision(s, revision, err);
	if (r >= 0)
		*ret_revision = revision;
	return r;
}

static int sqlite_txn(struct state *state, const struct state_compare *compares, size_t compare_count,
		      struct record *const *ops, size_t op_count, struct error *err)
{
	struct sqlite *s = (struct sqlite *)state;
	int result = run(s, BEGIN), r;
	uint64_t revision;

	if (result != SQLITE_DONE)
		return failed(s, result, "write", err);
	r = write_all(s, compares, compare_count, ops, op_count, &revision, err);
	if (r >= 0) {
		result = run(s, COMMIT);
		if (result != SQLITE_DONE)
			r = failed(s, result, "write", err);
	}
	if (r < 0) {
		if (!sqlite3_get_autocommit(s->db)) /* some errors have rolled back already */
			run(s, ROLLBACK);
		return r;
	}
	state->revision = revision;
	return 0;
}

static void sqlite_close(struct state *state)
{
	struct sqlite *s = (struct sqlite *)state;

	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	free(s);
}

static const struct state_backend sqlite_backend = {
	.get = sqlite_get,
	.list = sqlite_list,
	.txn = sqlite_txn,
	.close = sqlite_close,
};

int state_open_sqlite(const char *path, struct state **ret_state, struct error *err)
{
	struct sqlite *s = calloc(1, sizeof(*s));
	int64_t revision;
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "out of memory");
	state_init(&s->state, &sqlite_backend, 0);
	r = sqlite_file_open(path, &kind, &s->db, err);
	if (r >= 0)
		r = sqlite_query_integer(s->db, &kind, "SELECT revision FROM state", &revision, err);
	if (r >= 0)
		r = sqlite_prepare_all(s->db, &kind, statements, STATEMENT_COUNT, s->statements, err);
	if (r < 0) {
		state_close(&s->state);
		return r;
	}
	s->state.revision = (uint64_t)revision;
	*ret_state = &s->state;
	return 0;
}
