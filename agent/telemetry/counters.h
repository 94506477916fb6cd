/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of (source, service, target): the live rows of the kernel and the totals of rows that were retired, by name. */
#pragma once

#include <stdint.h>

#include "agent/compile/apply.h"
#include "maps/abi/row.h"

struct counters; /* a snapshot */

struct counter {
	const char *source, *service, *target; /* full names */
	struct row sums; /* ids and incarnation mean nothing here */
};

/* Reads everything now. Loop's thread. 0 or -ENOMEM. */
int counters_read(struct apply *apply, const struct kernel_memory *memory, struct counters **ret_counters);
struct counters *counters_free(struct counters *counters);
/* In order of source, service, target. */
size_t counters_count(const struct counters *counters);
const struct counter *counters_at(const struct counters *counters, size_t index);

/* Adds what `row` has counted, which may be counting. */
void counter_add(struct row *sums, const struct row *row);

/* The value below which `pct` percent of a histogram lie, in ns, within the bucket by its place: at most a factor of 2 off. 0: empty. */
uint64_t histogram_percentile_ns(const __u64 buckets[HISTOGRAM_BUCKETS], unsigned pct);
