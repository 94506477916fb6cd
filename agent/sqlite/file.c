/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sqlite/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/cleanup.h"

/* ---- errors ---- */

static const struct {
	int result, code;
} codes[] = {
	{ SQLITE_FULL, -ENOSPC },      { SQLITE_NOMEM, -ENOMEM }, { SQLITE_TOOBIG, -E2BIG },	{ SQLITE_BUSY, -EBUSY },
	{ SQLITE_PERM, -EACCES },      { SQLITE_READONLY, -EROFS }, { SQLITE_NOTADB, -EPROTO }, { SQLITE_CORRUPT, -EUCLEAN },
};

int sqlite_errno(sqlite3 *db, int result)
{
	int system = sqlite3_system_errno(db);

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].result == (result & 0xff))
			return codes[i].code;
	return (result & 0xff) == SQLITE_CANTOPEN && system > 0 ? -system : -EIO;
}

int sqlite_error(sqlite3 *db, const struct sqlite_kind *kind, int result, const char *what, struct error *err)
{
	const int code = sqlite_errno(db, result);

	return error_set(err, code, "cannot %s the %s: %s", what, kind->what,
			 code == -EBUSY ? "another process has it open" : sqlite3_errmsg(db));
}

/* ---- statements ---- */

void sqlite_statement_reset(sqlite3_stmt **statement)
{
	sqlite3_reset(*statement);
	sqlite3_clear_bindings(*statement);
}

int sqlite_execute(sqlite3 *db, const struct sqlite_kind *kind, const char *sql, const char *what, struct error *err)
{
	int result = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return result == SQLITE_OK ? 0 : sqlite_error(db, kind, result, what, err);
}

int sqlite_query_integer(sqlite3 *db, const struct sqlite_kind *kind, const char *sql, int64_t *ret_value, struct error *err)
{
	sqlite3_stmt *statement;
	int result = sqlite3_prepare_v2(db, sql, -1, &statement, NULL), r = 0;

	if (result == SQLITE_OK)
		result = sqlite3_step(statement);
	if (result == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(statement, 0);
	else
		r = result == SQLITE_DONE ? error_set(err, -EUCLEAN, "the %s lacks what every one has", kind->what) :
					    sqlite_error(db, kind, result, "read", err);
	sqlite3_finalize(statement);
	return r;
}

int sqlite_prepare_all(sqlite3 *db, const struct sqlite_kind *kind, const char *const *texts, size_t count, sqlite3_stmt **ret_statements,
		       struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		int result = sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &ret_statements[i], NULL);

		if (result != SQLITE_OK)
			return sqlite_error(db, kind, result, "open", err);
	}
	return 0;
}

/* ---- opening ---- */

/* SQLite would create it with the mode that the umask leaves; its log files take the mode of this one. */
static int create_file(const char *path, const struct sqlite_kind *kind, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && errno != EEXIST)
		return error_set(err, -errno, "cannot create the %s: %m", kind->what);
	return 0;
}

/* Whose file it is, and of what version; an empty one becomes ours. */
static int check_file(sqlite3 *db, const struct sqlite_kind *kind, struct error *err)
{
	char set_up[1024];
	int64_t application, version, tables;
	int r;

	r = sqlite_query_integer(db, kind, "PRAGMA application_id", &application, err);
	if (r >= 0)
		r = sqlite_query_integer(db, kind, "PRAGMA user_version", &version, err);
	if (r >= 0)
		r = sqlite_query_integer(db, kind, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (r < 0)
		return r;
	if (application == kind->application_id && version == kind->version)
		return 0;
	if (application == kind->application_id)
		return error_set(err, -EPROTO, "the %s has version %lld, this program reads %d", kind->what, (long long)version,
				 kind->version);
	if (application != 0 || version != 0 || tables != 0)
		return error_set(err, -EPROTO, "the file is a database, but no %s of weft", kind->what);
	snprintf(set_up, sizeof(set_up), "BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
		 kind->schema, kind->application_id, kind->version);
	return sqlite_execute(db, kind, set_up, "set up", err);
}

static int open_file(const char *path, const struct sqlite_kind *kind, sqlite3 **db, struct error *err)
{
	int r = create_file(path, kind, err), result;

	if (r < 0)
		return r;
	result = sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (result != SQLITE_OK)
		return sqlite_error(*db, kind, result, "open", err);
	if (sqlite3_db_readonly(*db, "main"))
		return error_set(err, -EROFS, "the %s is read-only, or its file system is", kind->what);
	/* Before anything else, so that the index of the log is in our memory and not in a file that others may map. */
	r = sqlite_execute(*db, kind, "PRAGMA locking_mode = EXCLUSIVE", "open", err);
	if (r >= 0)
		r = check_file(*db, kind, err);
	if (r >= 0)
		r = sqlite_execute(*db, kind, "PRAGMA journal_mode = WAL", "open", err);
	if (r >= 0)
		r = sqlite_execute(*db, kind, kind->pragmas, "open", err);
	if (r >= 0) /* the empty write takes the lock */
		r = sqlite_execute(*db, kind, "BEGIN IMMEDIATE; COMMIT", "open", err);
	return r;
}

int sqlite_file_open(const char *path, const struct sqlite_kind *kind, sqlite3 **ret_db, struct error *err)
{
	sqlite3 *db = NULL;
	int r = open_file(path, kind, &db, err);

	if (r < 0) {
		sqlite3_close(db);
		error_prefix(err, "'%s'", path);
		return r;
	}
	*ret_db = db;
	return 0;
}
