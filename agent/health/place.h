/* SPDX-License-Identifier: Apache-2.0 */
/* From where a target's endpoints are checked where that is not the agent's own namespace. */
#pragma once

#include <stdint.h>

#include "agent/compile/plan.h"
#include "agent/identity/workloads.h"

/* For each target of the plan the netns cookie of a workload that may call it; failing that, of any workload of its mesh; 0
 * where there is none. 0 or -ENOMEM; the caller frees the array. */
int places_choose(const struct plan *plan, const struct workloads *workloads, uint64_t **ret_cookies);
