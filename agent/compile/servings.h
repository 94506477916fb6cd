/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of this node's own workloads that have a limit on connections, by where connections to them come in. */
#pragma once

#include "agent/compile/compile.h"
#include "agent/compile/plan.h"

/* Fills plan->servings. A namespace that acts as one node as a whole serves its listener's port, and the ports of registered instances
 * that are at one of its addresses, at every address but loopback ones, together under one limit, as all that comes to a pod does in
 * App Mesh. In a namespace that several share it is the registered address alone. A loopback address has a limit of its own. 0,
 * -ENOMEM, -E2BIG naming the table (MAX_SERVINGS), or what discovery says. */
int servings_plan(const struct compile_input *input, struct plan *plan, struct error *err);
