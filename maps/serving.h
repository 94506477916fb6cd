/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of listeners with a limit (maps/abi/serving.h), for the agent. */
#pragma once

#include "maps/kernel.h"

/* 0 or -errno; -ENOENT on removal is no error; -E2BIG when the table is full. */
int serving_set(struct kernel *kernel, const struct serving_key *key, uint32_t place);
int serving_remove(struct kernel *kernel, const struct serving_key *key);
/* Whether hooks look for such listeners at all (SERVING_LIMITED). */
void serving_look(struct kernel *kernel, bool look);

/* Walks, as in maps/kernel.h. */
typedef int serving_fn(const struct serving_key *key, uint32_t place, void *arg);
int serving_each(struct kernel *kernel, serving_fn *fn, void *arg);
typedef int served_fn(const struct served *served, void *arg);
int served_each(struct kernel *kernel, served_fn *fn, void *arg);

/* Counts connections of this thread's network namespace that were accepted before their listener had its limit; `fn` gets each that is
 * counted now, or cannot be. Blocks; -EOPNOTSUPP. Before Linux 6.17 it may pass some over where others end at the same time. */
typedef int earlier_fn(const struct earlier_connection *earlier, void *arg);
int serving_earlier_count(struct kernel *kernel, earlier_fn *fn, void *arg);
