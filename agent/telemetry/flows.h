/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's flow records, kept: the last 100,000, oldest dropped first, which is not counted as a loss. */
#pragma once

#include <stdint.h>

#include "agent/loop/loop.h"
#include "agent/telemetry/flow_log.h"
#include "maps/kernel.h"

#define FLOWS_KEPT 100000

struct flows;

/* Reads the ring from where the last consumer stopped: four times a second, when it is a quarter full, and when asked. Memory
 * grows with what is kept. */
int flows_new(struct loop *loop, struct kernel *kernel, struct flows **ret_flows, struct error *err);
struct flows *flows_free(struct flows *flows);

/* Oldest first. Takes up what is in the ring before. `fn` returns negative to stop. */
int flows_each(struct flows *flows, const struct flows_filter *filter, flows_fn *fn, void *arg);
uint64_t flows_read(const struct flows *flows); /* records taken from the ring by this process */
