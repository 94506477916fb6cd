/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's flow records, kept: the last 100,000, oldest dropped first (counted as `aged out`, which is not a loss). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "maps/kernel.h"

#define FLOWS_KEPT 100000

struct flows;

/* Reads the ring from where the last consumer stopped. Memory grows with what is kept. */
int flows_new(struct loop *loop, struct kernel *kernel, struct flows **ret_flows, struct error *err);
struct flows *flows_free(struct flows *flows);

struct flows_filter {
	uint64_t since_ns; /* monotonic; 0: all */
	uint32_t source, service, target; /* object ids; 0: any */
	int reason; /* -1: any */
	uint32_t limit; /* the newest so many; 0: all */
};
/* Oldest first. Takes up what is in the ring before. `fn` returns negative to stop. */
typedef int flows_fn(const struct flow_record *record, void *arg);
int flows_each(struct flows *flows, const struct flows_filter *filter, flows_fn *fn, void *arg);
uint64_t flows_read(const struct flows *flows); /* records taken from the ring by this process */
