/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for redirections of other proxies in all namespaces that workloads act in, round after round: those that came after a workload, and
 * those that somebody has taken away. Internal to agent/identity. */
#pragma once

#include "agent/identity/entry.h"

#define REDIRECT_ROUND_NS (5 * NSEC_PER_SEC) /* between two rounds: 37 us of CPU for a namespace without rules, 58 with tables of both legacy iptables */

struct redirect_rounds;
int redirect_rounds_new(struct workloads *all, struct redirect_rounds **ret_rounds);
/* A look that is under way ends by itself. NULL is fine. Returns NULL. */
struct redirect_rounds *redirect_rounds_free(struct redirect_rounds *rounds);
