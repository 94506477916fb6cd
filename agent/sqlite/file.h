/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite files of ours: one connection, in WAL mode, which no other process may open meanwhile (locking_mode EXCLUSIVE). A file that
 * is there says by its application id and version whose it is; another's is refused and left as it is. Thread: a connection is used
 * by one at a time, it has no mutex. */
#pragma once

#include <sqlite3.h>
#include <stdint.h>

#include "base/error.h"

struct sqlite_kind {
	const char *what; /* "state file", in messages */
	int application_id; /* file(1) shows it */
	int version;
	const char *schema; /* statements that set up an empty file */
	const char *pragmas; /* after the file was found to be ours */
};

/* Creates the file (mode 0600) where it is missing. Messages begin with the path. -EPROTO for a file of another kind or version,
 * -EBUSY while another process has it open, -EROFS, -EUCLEAN for a damaged one, -errno. */
int sqlite_file_open(const char *path, const struct sqlite_kind *kind, sqlite3 **ret_db, struct error *err);

/* The errno for a result code of the connection's last call. */
int sqlite_errno(sqlite3 *db, int result);
/* "cannot WHAT the state file: ..." Returns the errno. */
int sqlite_error(sqlite3 *db, const struct sqlite_kind *kind, int result, const char *what, struct error *err);
int sqlite_execute(sqlite3 *db, const struct sqlite_kind *kind, const char *sql, const char *what, struct error *err);
/* The first column of the first row. */
int sqlite_query_integer(sqlite3 *db, const struct sqlite_kind *kind, const char *sql, int64_t *ret_value, struct error *err);
/* All of `texts` into `ret_statements`, which the caller finalizes, also those made before a failure (others are NULL). */
int sqlite_prepare_all(sqlite3 *db, const struct sqlite_kind *kind, const char *const *texts, size_t count, sqlite3_stmt **ret_statements,
		       struct error *err);

/* For a scope: the statement is ready for the next one whatever happens. */
void sqlite_statement_reset(sqlite3_stmt **statement);
