/* SPDX-License-Identifier: Apache-2.0 */
/* The store: configuration, which one node keeps for itself or several share. Keys with values and revisions; the only way to
 * them: get, list, watch, and transactions of compares and operations. Behind it: memory (tests), SQLite (one file). The calls are
 * those of etcd's key-value API (transactions by mod_revision, ranges at a revision, watches from a revision), which comes next.
 *
 * Keys are UTF-8 paths, 1 to 1024 bytes, in byte order. Values are bytes, at most 1 MiB. A revision counts the transactions that
 * changed something, from 1, for all keys; each key remembers the one that wrote it last. What was overwritten or deleted is kept
 * for STORE_HISTORY_REVISIONS revisions, for pages at a fixed revision and for watches from an earlier one; beyond that, -ESTALE.
 *
 * Thread: the loop's. Nothing blocks: results come by callback, on the loop, never from inside the call, once for each call that
 * returned 0. Input is copied. What a callback is given is borrowed until it returns. Callbacks may call anything here but
 * store_close(). `err` of a callback says what a person reads where the result is negative, and is NULL otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct loop;
struct store;

#define STORE_KEY_LIMIT_BYTES 1024
#define STORE_VALUE_LIMIT_BYTES (1024 * 1024)
#define STORE_TXN_LIMIT 128 /* compares, and operations, of a transaction: etcd's --max-txn-ops */
#define STORE_TXN_LIMIT_BYTES (1280 * 1024) /* keys and values of a transaction: etcd takes requests of 1.5 MiB */
#define STORE_PAGE_LIMIT 1000 /* entries of a page */
#define STORE_PAGE_LIMIT_BYTES (4 * 1024 * 1024) /* and bytes, beyond the first entry */
#define STORE_HISTORY_REVISIONS 4096
/* What may wait for its turn, in calls and in bytes; beyond either a call returns -EAGAIN. */
#define STORE_WAITING_LIMIT 4096
#define STORE_WAITING_LIMIT_BYTES (64 * 1024 * 1024)

int store_open_memory(struct loop *loop, struct store **ret_store, struct error *err);
/* Blocks while it opens the file, which it creates (mode 0600) where it is missing. -EPROTO for a file of another kind or version,
 * -EBUSY while another process has it open, -EUCLEAN for a damaged one, -EROFS, -errno. */
int store_open_sqlite(struct loop *loop, const char *path, struct store **ret_store, struct error *err);
/* What waits is finished and calls back, new calls return -ESHUTDOWN, watches that are left end. Frees. NULL is fine. */
struct store *store_close(struct store *store);

/* All calls return 0; or, with nothing to come, -EINVAL and -E2BIG for input out of bounds, -EAGAIN when too much waits already,
 * -ESHUTDOWN, -ENOMEM. */

struct store_entry {
	const char *key;
	const void *value; /* NULL: deleted (only watches see that); else NUL-terminated beyond value_bytes */
	size_t value_bytes;
	uint64_t revision; /* that wrote it */
};

/* ---- writing ---- */

struct store_compare {
	const char *key;
	uint64_t revision; /* the key was last written by this one; 0: the key is absent */
};
struct store_op {
	const char *key;
	const void *value; /* NULL: delete, which changes nothing where the key is absent */
	size_t value_bytes;
};
/* All or nothing. 0: it outlives kill -9 and power loss, as far as the back end does at all, and watches were told; `revision` is
 * its own, or the store's where it changed nothing. -ECANCELED: a compare was lost; watches were told of everything up to
 * `revision`, so what is read from a mirror now is not older than what the transaction met. -EROFS: this store takes no writes;
 * -ENOSPC, -EIO, ...: it failed, nothing changed. `revision` is 0 then. */
typedef void store_done_fn(int result, uint64_t revision, const struct error *err, void *arg);
/* One operation for a key. */
int store_txn(struct store *store, const struct store_compare *compares, size_t compare_count, const struct store_op *ops,
	      size_t op_count, store_done_fn *done, void *arg, struct error *err);

/* ---- reading ---- */

/* 0, -ENOENT, -EIO, ... `revision` is the store's when it was read. */
typedef void store_get_fn(int result, const struct store_entry *entry, uint64_t revision, const struct error *err, void *arg);
int store_get(struct store *store, const char *key, store_get_fn *done, void *arg, struct error *err);

struct store_range {
	const char *prefix;
	const char *after, *before; /* both exclusive; NULL: no bound beyond the prefix */
	size_t limit; /* of the page; 0: STORE_PAGE_LIMIT, which is also the most */
	uint64_t revision; /* the state to show; 0: the latest. For the next page: that of the last */
	bool descending; /* from the end: the next page has its last key as `before` */
	bool keys_only; /* values are empty */
};
struct store_page {
	const struct store_entry *const *entries;
	size_t count;
	uint64_t revision; /* the state that it shows */
	bool more;
};
/* `page` is NULL when the result is negative. -ESTALE: the revision is no longer, or not yet, there. */
typedef void store_list_fn(int result, const struct store_page *page, const struct error *err, void *arg);
int store_list(struct store *store, const struct store_range *range, store_list_fn *done, void *arg, struct error *err);

/* ---- watching ---- */

/* Calls `fn` for each revision after `from_revision`, in their order and none left out, with the keys of the prefix that it wrote,
 * in byte order; possibly with none (count 0), to tell that the revision has passed. A negative result is the last call: -ESTALE
 * when the history does not go back that far, or another as of store_list(). */
struct store_watch;
typedef void store_watch_fn(int result, const struct store_entry *const *entries, size_t count, uint64_t revision,
			    const struct error *err, void *arg);
int store_watch(struct store *store, const char *prefix, uint64_t from_revision, store_watch_fn *fn, void *arg,
		struct store_watch **ret_watch, struct error *err);
/* No call after this. NULL is fine. Returns NULL. */
struct store_watch *store_unwatch(struct store_watch *watch);

/* ---- counting ---- */

enum store_count {
	STORE_COUNT_TXNS, /* done */
	STORE_COUNT_READS,
	STORE_COUNT_GROUPS, /* of transactions that shared one fsync */
	STORE_COUNT_LOST, /* transactions with a lost compare */
	STORE_COUNT_FAILED, /* transactions and reads that failed: disk, memory */
	STORE_COUNT_STALE, /* reads and watches of a revision that is not there */
	STORE_COUNT_READ_ONLY,
	STORE_COUNT_INVALID, /* calls refused for their input */
	STORE_COUNT_BUSY, /* calls refused since too much waits */
	STORE_COUNTS
};
uint64_t store_count(const struct store *store, enum store_count which);
const char *store_count_name(enum store_count which); /* "txns", "lost", ... */
