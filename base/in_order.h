/* SPDX-License-Identifier: Apache-2.0 */
/* A long list worked at by several threads, whose results are taken one after the other: as if by a loop over it, in less time. Its threads
 * end with the call. */
#pragma once

#include <stddef.h>

/* Items of which `work` may be done and the result not taken yet: what results take of memory is bounded by it. */
#define IN_ORDER_AHEAD 128

struct in_order {
	/* For each index below the count once: in no order, on any thread, several at a time. What it finds it leaves where `take` looks. */
	void (*work)(size_t index, void *arg);
	/* After the work of this index, on the caller's thread, in order. A negative return ends it all: nothing more is taken, and of those behind
	 * IN_ORDER_AHEAD or fewer have been worked at. */
	int (*take)(size_t index, void *arg);
	void *arg;
};

/* As many threads as the caller may use CPUs, up to four, itself included; it alone where there is little to do, or no other thread to be had.
 * They have all signals blocked. Returns 0, or what `take` ended it with. */
int in_order_run(const struct in_order *job, size_t count);
