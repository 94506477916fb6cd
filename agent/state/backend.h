/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind state.h. state.c checks the input, tells the watches and copies for callers; a back end keeps keys, values
 * and revisions, and makes a transaction one. */
#pragma once

#include "agent/state/state.h"
#include "base/list.h"

/* One key as one transaction wrote it. Shared, never changed once it is in force. */
struct record {
	unsigned int refs;
	uint64_t revision; /* 0 until a transaction gave it one */
	const void *value; /* NULL: the key is deleted; else NUL-terminated beyond value_bytes */
	size_t value_bytes;
	const char *key;
	char data[];
};

/* NULL: out of memory. */
struct record *record_new(const char *key, const void *value, size_t value_bytes, uint64_t revision);
struct record *record_ref(struct record *record);
struct record *record_unref(struct record *record); /* NULL is fine */

struct records {
	struct record **items;
	size_t count, capacity;
};
int records_reserve(struct records *records, size_t extra); /* 0 or -ENOMEM */
void records_done(struct records *records); /* drops the references */

struct state_backend {
	/* A reference, or -ENOENT, -errno. */
	int (*get)(struct state *state, const char *key, struct record **ret_record);
	/* Adds references to `records`, in byte order. */
	int (*list)(struct state *state, const char *prefix, const char *after, size_t limit, struct records *records);
	/* `ops` are sorted, one for a key. On success each that changed something has state->revision + 1, and so has the
	 * state; when none did, all keep 0 and the state its revision. Keeps references as it likes. */
	int (*txn)(struct state *state, const struct state_compare *compares, size_t compare_count, struct record *const *ops,
		   size_t op_count, struct error *err);
	void (*close)(struct state *state); /* frees what embeds the state */
};

struct state { /* first in the back end's own struct */
	const struct state_backend *backend;
	uint64_t revision;
	struct list watches;
	struct list batches; /* transactions that watches were not told of yet */
	bool telling;
};

/* For the back end's open; `revision` is that of what it found. */
void state_init(struct state *state, const struct state_backend *backend, uint64_t revision);
