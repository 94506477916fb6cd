/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a plan: which services can be asked for by DNS, by whom, and with addresses of which family. All of it follows from
 * what the plan has already. */
#pragma once

#include "agent/compile/plan.h"

/* Fills in `names`, and of services `v4`, `v6` and `twin`. 0 or -ENOMEM. */
int plan_names(struct plan *plan);
