/* SPDX-License-Identifier: Apache-2.0 */
/* Open connections after a change: those that a connect() of now would deny are closed at once, those whose endpoint left, or whose
 * way there, when their time for draining is over; one that comes back keeps its connections. The kernel itself says which
 * (bpf/lib/standing.h, bpf/lib/passed.h), about connections that it has decided alone: those that it routed, which have an account, and
 * those that the egress filter has let out of their mesh. In audit mode what would be denied is counted and goes on.
 *
 * The deadline of a connection is in its account, in the kernel: an agent that is killed while one runs leaves it to the next.
 * Thread: the loop's; the work is done on the offload thread. */
#pragma once

#include "agent/identity/workloads.h"
#include "agent/loop/loop.h"
#include "maps/kernel.h"

struct drain;

/* The time for draining is in the kernel's configuration (maps/abi/config.h). Borrows everything. 0 or -errno. */
int drain_new(struct loop *loop, struct offload *offload, struct kernel *kernel, const struct workloads *workloads,
	      struct drain **ret_drain);
/* Before workloads are freed and the offload thread ends: a job under way goes on without it, and finds the kernel part open. */
struct drain *drain_free(struct drain *drain);

/* A generation came into force. Changes that follow each other closely are looked at together, ten times a second at most. */
void drain_changed(struct drain *drain);
