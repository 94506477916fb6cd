/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of an earlier generation put in force, and held. While nothing is held, what is in force is what is configured; while something
 * is, the configuration is read and checked as ever, and waits. Endpoints, workloads and health go on by themselves: a list of endpoints
 * that is as old as the routes would lead to those that are gone. Thread: the loop's. */
#pragma once

#include "agent/agent.h"

/* Called once, not from within the call that hands it in: with the generation in force, or with why it is not. */
typedef void agent_applied_fn(uint64_t generation, const struct error *err, void *arg);

/* Before the first change of resources, with the state open: a hold of an earlier agent goes on. -EPROTO where it does not read. */
int rollback_start(struct agent *agent, struct error *err);
void rollback_stop(struct agent *agent); /* whoever waits gets -ECANCELED */

/* What compile() is given, and what people are shown. */
const struct resources *agent_in_force(const struct agent *agent);
/* How many resources are configured otherwise than what is held has them. */
size_t agent_waiting(const struct agent *agent);

/* A resource that is configured changed (resources_commit()). */
void rollback_configured(struct agent *agent, const struct resource *before, const struct resource *now);
/* The plan at hand, if there was one, has every change so far, and is compiled. */
void rollback_compiled(struct agent *agent);
/* Instead: no plan could be made of the changes. Who waits for one with them is told; who waits for the one before it, which may be on its
 * way into the kernel, is not. */
void rollback_refused(struct agent *agent, const struct error *err);
/* It is in force, with that generation; or was refused. */
void rollback_applied(struct agent *agent, uint64_t generation, const struct error *err);

/* `generation` 0: the one before the last change to what is in force. -ENOENT: there is none; -ERANGE: it is not known; or that of the
 * state; then nothing has changed. */
int agent_rollback(struct agent *agent, uint64_t generation, agent_applied_fn *done, void *arg, struct error *err);
/* -ENOENT: nothing is held. */
int agent_resume(struct agent *agent, agent_applied_fn *done, void *arg, struct error *err);
