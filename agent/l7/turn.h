/* SPDX-License-Identifier: Apache-2.0 */
/* How long a thread's turns of the CPU are, for sched_setattr(2) and sched_getattr(2). */
#pragma once

#include <stdint.h>

/* Their struct sched_attr: glibc 2.36 has none, and <linux/sched/types.h> cannot stand beside its <sched.h>. */
struct turn_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};
