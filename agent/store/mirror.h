/* SPDX-License-Identifier: Apache-2.0 */
/* A copy in memory of everything under a prefix, in the order of keys, kept by a list and a watch from its revision: what decides
 * synchronously reads this. Nobody writes here; a write goes to the store, and is in the mirror before its `done` runs.
 *
 * Where the watch ends (-ESTALE, say: the history does not go back far enough) the mirror lists again, and tells the difference.
 * Where the store fails it tries again, after 100 ms at first and 5 s at most, and keeps what it has. Thread: the loop's. Callbacks
 * may call anything but mirror_free() and store_close(). */
#pragma once

#include "agent/store/store.h"

struct mirror;

struct mirror_callbacks { /* any may be NULL */
	/* A key was written (before NULL: it was not there) or deleted (after NULL). The mirror has `after` already, and, while a
	 * revision is told, all else that it wrote. */
	void (*changed)(const struct store_entry *before, const struct store_entry *after, void *arg);
	/* All up to this revision was told; called for the first list as well, also when that is empty. */
	void (*settled)(uint64_t revision, void *arg);
	/* The store failed: the mirror may be behind, and tries again. */
	void (*failed)(int result, const struct error *err, void *arg);
	void *arg;
};

/* 0, -EINVAL or -ENOMEM. Empty at first: mirror_revision() is 0, or mirror_ready() false, until the first list is there. */
int mirror_new(struct store *store, const char *prefix, const struct mirror_callbacks *callbacks, struct mirror **ret_mirror,
	       struct error *err);
struct mirror *mirror_free(struct mirror *mirror); /* before store_close(); NULL is fine */

bool mirror_ready(const struct mirror *mirror); /* the first list is there */
uint64_t mirror_revision(const struct mirror *mirror);
size_t mirror_count(const struct mirror *mirror);
/* Times that it had to list again, since the watch ended or the store failed. */
uint64_t mirror_relists(const struct mirror *mirror);

/* NULL: not there. Borrowed until the mirror changes, which it does between turns of the loop's callbacks only. */
const struct store_entry *mirror_get(const struct mirror *mirror, const char *key);
/* The revision to compare with: of the key, 0 where it is absent. */
uint64_t mirror_revision_of(const struct mirror *mirror, const char *key);

/* The entries with the prefix (itself within the mirror's), after `after` (NULL: from the first), at most `limit` (0: all). The
 * array is borrowed like an entry. */
struct mirror_view {
	const struct store_entry *const *entries;
	size_t count;
	bool more; /* `limit` left some out */
};
struct mirror_view mirror_list(const struct mirror *mirror, const char *prefix, const char *after, size_t limit);
