/* SPDX-License-Identifier: Apache-2.0 */
/* The administration ports of workloads (admin.h): which namespaces have one, where, and what it shows. As Envoy was told by the
 * environment of its container (App Mesh user guide, "Envoy configuration variables"), the port is by that of the workload's processes:
 *
 *	ENVOY_ADMIN_ACCESS_PORT			the port, instead of ADMIN_PORT
 *	APPMESH_METRIC_EXTENSION_VERSION=1	App Mesh's metrics, and Mesh and VirtualNode as labels of all of Prometheus'
 *	ENABLE_ENVOY_STATS_TAGS=1		appmesh.mesh and appmesh.virtual_node as labels of all
 *
 * Of each variable the first process that has it counts. They are looked at on the offload thread, at first and every ADMIN_LOOK_NS, for
 * the programs of a pod come one by one; what was said stays until another process says otherwise. A value that is none is warned of, and
 * is as if it were not there. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "base/time.h"

#define ADMIN_LOOK_NS (30 * NSEC_PER_SEC)

struct admin_ports;
struct l7;

struct admin_ports_parts { /* borrowed */
	struct loop *loop;
	struct offload *offload;
	struct l7 *l7;
	bool (*connected)(void *arg); /* to who configures */
	void *arg;
};
int admin_ports_new(const struct admin_ports_parts *parts, struct admin_ports **ret_ports); /* 0 or -errno */
struct admin_ports *admin_ports_free(struct admin_ports *ports); /* before the offload thread ends. NULL is fine */

/* There is one in that namespace from the first look on, as the workload with that cgroup (its absolute path) says. The same again
 * changes nothing; another one is looked at anew. Dups `netns_fd`. 0 or -errno. */
int admin_ports_follow(struct admin_ports *ports, uint64_t netns_cookie, int netns_fd, const char *cgroup);
void admin_ports_remove(struct admin_ports *ports, uint64_t netns_cookie); /* fine where there is none */
void admin_ports_retry(struct admin_ports *ports); /* where it could not listen */
void admin_ports_close(struct admin_ports *ports); /* all of them, for good: a successor has them */
json_t *admin_ports_json(const struct admin_ports *ports); /* as admins_json() */
