/* SPDX-License-Identifier: Apache-2.0 */
/* Zones of a target's endpoints: in which order the kernel's lists have them, and which share of connections each gets while all of
 * them can be used (zone_share() in maps/abi/record.h). What cannot be used is found out at connect(). */
#pragma once

#include "agent/compile/plan.h"

/* Fills zone_count, zones and the runs of the endpoints, by the zone of the callers (target->zone, 0: they have none), and puts
 * endpoints in order: by family, run, and then as they were. Where a family's endpoints are all of one zone, or the callers have
 * none, zones make no difference to it. 0 or -ENOMEM. */
int zones_arrange(struct plan_target *target);
