/* SPDX-License-Identifier: Apache-2.0 */
/* The front of a pinned array, in memory. mmap() of a BPF array makes all that it maps resident, used or not, in each process that does: so
 * no more of one is mapped than somebody uses. All of the array has its addresses from the beginning; what is not mapped reads as zero,
 * and what is written there is lost. Thread: one changes a front; others may read and write the entries meanwhile, and read `count`. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct front {
	char *memory;
	uint32_t value_bytes;
	uint32_t room; /* entries that there are addresses for */
	uint32_t size; /* entries of the array */
	uint32_t count; /* of them that are mapped */
	int fd;
};

/* Addresses for `room` entries, without an array behind them. 0 or -errno. */
int front_init(struct front *front, uint32_t value_bytes, uint32_t room);
void front_done(struct front *front); /* all zero is fine */
/* The array, which can be mapped (or a file of as many bytes): what was mapped of another one is mapped of this one from now on. Takes `fd`
 * over where it succeeds. -EINVAL: there are no addresses for so many entries, or fewer of them than are mapped; -errno. */
int front_take(struct front *front, int fd, uint32_t size);
/* Maps entries below `count`, as far as there are so many, and some more. 0 or -errno. */
int front_reach(struct front *front, uint32_t count);
/* Entries from `count` on are not needed: those that begin a page are mapped no more. */
void front_trim(struct front *front, uint32_t count);
