/* SPDX-License-Identifier: Apache-2.0 */
/* From resources to the kernel: what is configured is read, compiled soon after anything that goes into a plan has changed, and
 * applied. What cannot be is logged and shown, and the last good state stays in force, whole. Which resources are in force:
 * rollback.h. Thread: the loop's. */
#pragma once

#include "agent/agent.h"

/* Callbacks of agent_start(), whose last argument is the agent: of the directory, of agent->compile_timer, of agent->rest_timer, of
 * apply_new(). */
void configuration_read(void *arg);
void configuration_compile(struct loop_timer *timer, void *arg);
void configuration_rest(struct loop_timer *timer, void *arg); /* gives back what a large change took for a while */
void configuration_applied(uint64_t generation, const struct error *err, void *arg);

/* The resources changed: what did is logged where it matters, shown, and compiled, soon. */
void agent_commit(struct agent *agent);
/* Compiles again, soon: workloads, or what they are, have changed, or what is exposed. */
void agent_changed(struct agent *agent);
/* The same: a resource that is in force (agent_in_force()) is to be another one. */
void agent_resource_changed(struct agent *agent, const struct resource *before, const struct resource *now);
/* The same: instances of a Cloud Map service, or addresses of a host; callbacks whose `arg` is the agent. */
void agent_instances_changed(const char *namespace_name, const char *service_name, void *arg);
void agent_host_changed(const char *hostname, void *arg);
