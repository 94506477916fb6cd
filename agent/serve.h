/* SPDX-License-Identifier: Apache-2.0 */
/* The control API as the agent has it: its options, its store, and the way of what is written there into the resources in force. */
#pragma once

#include "agent/agent.h"

/* After the account is known and before the directory is read. -EINVAL names an option. */
int agent_control_start(struct agent *agent, struct error *err);
/* What waits is answered; afterwards the store is closed. */
void agent_control_stop(struct agent *agent);
/* The root key is in the environment again, if it was there, for a weftd that takes this one's place. */
void agent_control_restore(const struct agent *agent);

/* resource_name_parse(), and an ARN means its own region where that is served here; its account must be this one. Where resources are
 * those of a directory, which has no regions, what an ARN says of either is left alone. */
int agent_resource_name(const struct agent *agent, const char *text, enum resource_kind kind, char *ret_full_name, size_t size,
			struct error *err);

/* The same for what workloads act for: a virtual node or a virtual gateway, whichever the text names. */
int agent_actor_name(const struct agent *agent, const char *text, char *ret_full_name, size_t size, struct error *err);
/* The same of an object with "virtualNode" or "virtualGateway". */
int agent_member_actor(const struct agent *agent, const json_t *object, char *ret_full_name, size_t size, struct error *err);

/* A resource of the directory came, went or was replaced: the API shows it. */
void agent_control_show(struct agent *agent, const struct resource *before, const struct resource *now);
