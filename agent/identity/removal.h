/* SPDX-License-Identifier: Apache-2.0 */
/* Removes cgroups that are empty, or are about to be: a process that ended may still be on its way out. */
#pragma once

#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/list.h"

struct removals {
	struct loop *loop;
	struct offload *offload;
	struct list list;
};

void removals_init(struct removals *removals, struct loop *loop, struct offload *offload);
/* What is left stays as it is. */
void removals_done(struct removals *removals);
/* The cgroup at this path, while it has this id, with the empty ones below it; tries for a second. A failure is logged. */
void removals_add(struct removals *removals, const char *path, uint64_t id);
