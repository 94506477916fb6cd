/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries of one array are used, and the search for free ones. No file and no free list: a sweep marks what is named, and all
 * else is free. Next-fit over a bitmap, a word at a time; after a sweep the search begins at the front again, so that what is
 * used stays close together. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct area {
	const char *name;
	uint32_t size; /* a multiple of 64 */
	uint32_t used_count;
	uint32_t swept_count; /* of those, as the last sweep left them */
	uint32_t next; /* where the search goes on */
	uint64_t *used;
	uint64_t *fresh; /* allocated for the change at hand: named by nothing yet, and kept by sweeps all the same */
	uint64_t *marked; /* by the sweep under way */
};

/* Everything is used until the first sweep. 0 or -ENOMEM. */
int area_init(struct area *area, const char *name, uint32_t size);
void area_done(struct area *area);

/* `count` neighbours: the index of the first, or -ENOSPC. No entries at all are found at 0. */
int64_t area_alloc(struct area *area, uint32_t count);
/* Whether most of what the last sweep found free is used. */
bool area_is_crowded(const struct area *area);
/* As if allocated now. */
void area_keep(struct area *area, uint32_t index);
/* What was allocated is named now, or given up: the next sweep decides. */
void area_settle(struct area *area);

/* A sweep is begin, marks, end: what is marked then is used, no more and no less. What is allocated in between stays. */
void area_sweep_begin(struct area *area);
bool area_mark(struct area *area, uint32_t index); /* true the first time */
bool area_contains(const struct area *area, uint32_t first, uint32_t count);
/* The first entry from `from` on that is used and not marked: `size` when there is none. */
uint32_t area_garbage(const struct area *area, uint32_t from);
void area_sweep_end(struct area *area);
/* What is used is below that. */
uint32_t area_end(const struct area *area);
