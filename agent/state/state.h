/* SPDX-License-Identifier: Apache-2.0 */
/* What this node knows for itself: workloads, registrations, VIPs, totals, names. Keys with values and revisions; the only way to
 * them: get, list, watch, and transactions of compares and operations. Behind it: memory (tests), SQLite (STATE_DIR/state.db).
 *
 * Keys are UTF-8 paths ("registry/production.local/checkout-v1/i-1"), 1 to 1024 bytes. Values are bytes, at most 1 MiB. A
 * revision counts transactions that changed something, from 1, for all keys; each key remembers the one that wrote it last.
 * Thread: the loop's. SQLite runs here: its calls are short and local (see sqlite.c about fsync). Callbacks may call anything
 * here but state_close(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct state;

#define STATE_KEY_LIMIT_BYTES 1024
#define STATE_VALUE_LIMIT_BYTES (1024 * 1024)

struct state_entry { /* borrowed by callbacks; copied out where a function returns one */
	const char *key;
	const void *value;
	size_t value_bytes;
	uint64_t revision;
};

int state_open_memory(struct state **ret_store);
/* Creates the file (mode 0600) where it is missing. -EPROTO for a file of another kind or version, -EBUSY while another
 * process has it open. */
int state_open_sqlite(const char *path, struct state **ret_store, struct error *err);
struct state *state_close(struct state *state); /* drops watches that are left; NULL is fine */

/* 0 with a copy of the value (NUL-terminated beyond value_bytes; free it) or -ENOENT, -EIO. Revision: NULL allowed. */
int state_get(struct state *state, const char *key, void **ret_value, size_t *ret_bytes, uint64_t *ret_revision);

/* Calls `fn` for each key that starts with `prefix`, in byte order, beginning after `after` (NULL: the first), at most
 * `limit` (0: all). A negative return of `fn` ends the walk and is returned. It is one state that is seen, also when `fn`
 * writes; its revision in *ret_revision (NULL allowed). */
typedef int state_list_fn(const struct state_entry *entry, void *arg);
int state_list(struct state *state, const char *prefix, const char *after, size_t limit, state_list_fn *fn, void *arg,
	       uint64_t *ret_revision);

struct state_compare {
	const char *key;
	uint64_t revision; /* the key was last written by this one; 0: the key is absent */
};
struct state_op {
	const char *key;
	const void *value; /* NULL: delete */
	size_t value_bytes;
};
/* All or nothing. 0; -ECANCELED when a compare is lost; -EINVAL for a bad key or one with two operations, -EIO, -ENOSPC,
 * -E2BIG, each with nothing changed. Deleting what is absent changes nothing. */
int state_txn(struct state *state, const struct state_compare *compares, size_t compare_count, const struct state_op *ops,
	      size_t op_count, uint64_t *ret_revision, struct error *err);

/* Short-hands for one key without compare. */
int state_put(struct state *state, const char *key, const void *value, size_t value_bytes, struct error *err);
int state_delete(struct state *state, const char *key, struct error *err);

/* Calls `fn` after each transaction of this process, for each key with the prefix that it wrote (value NULL: deleted), in byte
 * order, before the outermost state_txn() returns: what a callback writes is told to all after what came before it. */
struct state_watch;
typedef void state_watch_fn(const struct state_entry *entry, void *arg);
int state_watch_add(struct state *state, const char *prefix, state_watch_fn *fn, void *arg, struct state_watch **ret_watch);
struct state_watch *state_watch_remove(struct state_watch *watch);
