/* SPDX-License-Identifier: Apache-2.0 */
/* State: keys with values and revisions. The only way to it: get, list, watch, and transactions of compares and operations.
 * Behind it: memory (tests), SQLite (STATE_DIR/state.db); etcd and Kubernetes come later and shape the interface.
 *
 * Keys are UTF-8 paths ("registry/production.local/checkout-v1/i-1"), 1 to 1024 bytes. Values are bytes, at most 1 MiB. A
 * revision counts transactions that changed something, from 1, for the whole store; each key remembers the one that wrote it
 * last. Thread: the loop's. SQLite runs here for now: its calls are short and local (see sqlite.c about fsync). Callbacks may
 * call anything here but store_close(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct store;

#define STORE_KEY_LIMIT_BYTES 1024
#define STORE_VALUE_LIMIT_BYTES (1024 * 1024)

struct store_entry { /* borrowed by callbacks; copied out where a function returns one */
	const char *key;
	const void *value;
	size_t value_bytes;
	uint64_t revision;
};

int store_open_memory(struct store **ret_store);
/* Creates the file (mode 0600) where it is missing. -EPROTO for a file of another kind or version, -EBUSY while another
 * process has it open. */
int store_open_sqlite(const char *path, struct store **ret_store, struct error *err);
struct store *store_close(struct store *store); /* drops watches that are left; NULL is fine */

/* 0 with a copy of the value (NUL-terminated beyond value_bytes; free it) or -ENOENT, -EIO. Revision: NULL allowed. */
int store_get(struct store *store, const char *key, void **ret_value, size_t *ret_bytes, uint64_t *ret_revision);

/* Calls `fn` for each key that starts with `prefix`, in byte order, beginning after `after` (NULL: the first), at most
 * `limit` (0: all). A negative return of `fn` ends the walk and is returned. It is one state that is seen, also when `fn`
 * writes; its revision in *ret_revision (NULL allowed). */
typedef int store_list_fn(const struct store_entry *entry, void *arg);
int store_list(struct store *store, const char *prefix, const char *after, size_t limit, store_list_fn *fn, void *arg,
	       uint64_t *ret_revision);

struct store_compare {
	const char *key;
	uint64_t revision; /* the key was last written by this one; 0: the key is absent */
};
struct store_op {
	const char *key;
	const void *value; /* NULL: delete */
	size_t value_bytes;
};
/* All or nothing. 0; -ECANCELED when a compare is lost; -EINVAL for a bad key or one with two operations, -EIO, -ENOSPC,
 * -E2BIG, each with nothing changed. Deleting what is absent changes nothing. */
int store_txn(struct store *store, const struct store_compare *compares, size_t compare_count, const struct store_op *ops,
	      size_t op_count, uint64_t *ret_revision, struct error *err);

/* Short-hands for one key without compare. */
int store_put(struct store *store, const char *key, const void *value, size_t value_bytes, struct error *err);
int store_delete(struct store *store, const char *key, struct error *err);

/* Calls `fn` after each transaction of this process, for each key with the prefix that it wrote (value NULL: deleted), in byte
 * order, before the outermost store_txn() returns: what a callback writes is told to all after what came before it. */
struct store_watch;
typedef void store_watch_fn(const struct store_entry *entry, void *arg);
int store_watch_add(struct store *store, const char *prefix, store_watch_fn *fn, void *arg, struct store_watch **ret_watch);
struct store_watch *store_watch_remove(struct store_watch *watch);
