/* SPDX-License-Identifier: Apache-2.0 */
/* Flow records in memory, numbered as they come: the last so many, oldest dropped first. Memory grows with what is kept. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "maps/abi/event.h"

struct flow_log;

int flow_log_new(size_t kept, struct flow_log **ret_log); /* 0 or -ENOMEM */
struct flow_log *flow_log_free(struct flow_log *log); /* NULL is fine */
/* 0, or -ENOMEM when it was not kept. */
int flow_log_add(struct flow_log *log, const struct flow_record *record);
uint64_t flow_log_added(const struct flow_log *log); /* ever, successfully */

struct flows_filter {
	uint64_t since_ns; /* monotonic; 0: all */
	uint32_t source, service, target; /* object ids; 0: any */
	int reason; /* -1: any */
	uint32_t limit; /* the newest so many; 0: all */
};
/* Oldest first. `fn` returns negative to stop, which is then returned; it may not add. */
typedef int flows_fn(const struct flow_record *record, void *arg);
int flow_log_each(const struct flow_log *log, const struct flows_filter *filter, flows_fn *fn, void *arg);
