/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind store.h. store.c checks and copies input, bounds what waits, counts and calls back; a back end runs requests. Those
 * of one process (memory.c, sqlite.c) are engines under local.c, which keeps the queue, the thread, and watches. */
#pragma once

#include <pthread.h>

#include "agent/store/store.h"
#include "base/list.h"

/* ---- records: entries that are shared and never change once they are in force. One thread at a time ---- */

struct store_record {
	struct store_entry entry; /* first */
	unsigned int refs;
	char data[];
};

/* `value` NULL: a deletion. NULL: out of memory. */
struct store_record *store_record_new(const char *key, const void *value, size_t value_bytes, uint64_t revision);
static inline struct store_record *store_record_of(const struct store_entry *entry)
{
	return (struct store_record *)entry;
}
const struct store_entry *store_entry_ref(const struct store_entry *entry);
void store_entry_unref(const struct store_entry *entry); /* NULL is fine */

struct store_records {
	const struct store_entry **items; /* each a reference */
	size_t count, capacity;
};
int store_records_reserve(struct store_records *records, size_t extra); /* 0 or -ENOMEM */
/* Takes the reference over, also when it fails. -ENOMEM for NULL. */
int store_records_add(struct store_records *records, const struct store_entry *entry);
void store_records_insert(struct store_records *records, size_t at, const struct store_entry *entry); /* room is reserved */
void store_records_remove(struct store_records *records, size_t at);
void store_records_done(struct store_records *records);
/* Of records in the order of keys, then revisions: the first that is not before (key, revision). */
size_t store_records_find(const struct store_records *records, const char *key, uint64_t revision);
/* Of the same: those that the range's prefix and bounds leave, [low, high). */
void store_records_range(const struct store_records *records, const struct store_range *range, size_t *ret_low, size_t *ret_high);

/* The first string that is after all with that prefix. False: there is none. */
bool store_prefix_end(const char *prefix, char ret_end[STORE_KEY_LIMIT_BYTES + 1]);

/* ---- requests ---- */

enum store_request_kind { STORE_TXN, STORE_GET, STORE_LIST, STORE_CHANGES };

struct store_request {
	struct list node;
	enum store_request_kind kind;
	size_t bytes; /* that count as waiting */
	void *arg;
	union {
		store_done_fn *txn_done;
		store_get_fn *get_done;
		store_list_fn *list_done;
	};

	/* STORE_TXN */
	struct store_compare *compares;
	size_t compare_count;
	struct store_records ops; /* sorted, one for a key; an engine gives each that changed something its revision */
	/* STORE_GET: range.prefix is the key. STORE_CHANGES: range.prefix, range.revision: what came after it. */
	struct store_range range;

	bool leads; /* the first of its group */

	/* The outcome. Of a list or get: what was found; of changes: those of whole revisions, in their order. */
	int result;
	uint64_t revision; /* as the callbacks have it; of changes: up to which nothing is left out */
	bool more;
	struct store_records found;
	struct error err;

	char data[]; /* strings of compares and range */
};

struct store_watch {
	struct list node;
	struct store *store;
	uint64_t revision; /* told up to here */
	store_watch_fn *fn; /* NULL: ended */
	void *arg;
	bool busy; /* a request of the back end holds it */
	bool live; /* local.c: told of each transaction; else it reads what came before */
	size_t prefix_length;
	char prefix[];
};

struct store_backend {
	/* Takes the request over and ends it with store_complete(), not from inside this call. */
	void (*submit)(struct store *store, struct store_request *request);
	/* Begins to tell it, not from inside this call. 0 or -ENOMEM. */
	int (*watch)(struct store *store, struct store_watch *watch);
	/* Completes what waits, frees what embeds the store. */
	void (*close)(struct store *store);
};

struct store { /* first in the back end's own struct */
	struct loop *loop;
	const struct store_backend *backend;
	struct list watches;
	size_t waiting, waiting_bytes;
	unsigned int calling; /* callbacks on the stack: watches that ended stay allocated */
	bool closing;
	uint64_t counts[STORE_COUNTS];
};

void store_init(struct store *store, struct loop *loop, const struct store_backend *backend);
struct store_request *store_request_new(enum store_request_kind kind, size_t extra_bytes);
void store_request_free(struct store_request *request);
/* Hands the outcome to the caller, and frees the request. */
void store_complete(struct store *store, struct store_request *request);
/* Tells the watch of one revision: those of `entries` that have its prefix. */
void store_watch_tell(struct store_watch *watch, const struct store_entry *const *entries, size_t count, uint64_t revision);
void store_watch_fail(struct store_watch *watch, int result, const struct error *err);
/* After callbacks, or once a watch is not busy any more. */
void store_watches_sweep(struct store *store);

/* ---- local.c ---- */

struct engine {
	/* Sets the outcome of a STORE_GET, STORE_LIST or STORE_CHANGES by what is committed. */
	void (*read)(struct store *store, struct store_request *request);
	/* Sets the outcome of each; all in one commit. */
	void (*write)(struct store *store, struct store_request *const *txns, size_t count);
	void (*rest)(struct store *store); /* after a batch, whose outcomes are on their way; may be NULL */
	void (*close)(struct store *store); /* frees it */
};

struct local { /* first in the engine's own struct */
	struct store store;
	const struct engine *engine;
	struct loop_io *io;
	int wake_fd; /* eventfd: readable when there is something for the loop to do */
	bool threaded;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct list queue, finished;
	bool stopping;
};

/* `thread_name` NULL: the engine runs on the loop's thread. 0 or -errno, then nothing is left to undo. */
int local_start(struct local *local, struct loop *loop, const struct engine *engine, const char *thread_name);

/* For engines: 0, or the request's outcome is -ESTALE. `oldest` and `newest` are revisions whose state can be shown. */
int local_check_revision(struct store_request *request, uint64_t revision, uint64_t oldest, uint64_t newest);
/* Adds what a read found, of which it takes the reference, to the page. False: the page is full (and `more` set), or out of memory. */
bool local_add(struct store_request *request, const struct store_entry *entry, size_t *bytes);
/* The outcome of a transaction whose compare did not hold. */
void local_lost(struct store_request *txn, const char *key, uint64_t revision);
