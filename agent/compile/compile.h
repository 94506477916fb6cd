/* SPDX-License-Identifier: Apache-2.0 */
/* Resources, endpoints and workloads -> plan. Pure but for the VIPs it gives out and the host names it asks for: the same input
 * gives the same plan, byte for byte. */
#pragma once

#include "agent/compile/plan.h"
#include "agent/compile/vip.h"
#include "agent/discovery/dns.h"
#include "agent/discovery/registry.h"
#include "agent/spec/resource.h"

/* A namespace that a local workload acts in. */
struct compile_place {
	const char *node; /* full name */
	uint64_t netns_cookie;
	bool whole; /* the namespace acts as this node alone */
};

struct compile_input {
	const struct resources *resources; /* checked: compile relies on what resources_check() found in order */
	const struct registry *registry;
	struct dns_discovery *dns; /* asked for the host names of nodes with `dns` discovery; NULL: none is known */
	struct vips *vips; /* gives each service its addresses, and takes back those of services that left the plan */
	const char *mesh_owner; /* account id, one for all meshes until resources come with owners: VIPs are a hash of it */
	const char *const *nodes; /* full names of the virtual nodes that local workloads act for */
	size_t node_count;
	const struct compile_place *places; /* where their processes are */
	size_t place_count;
	bool (*owns)(uint64_t netns_cookie, const struct ip *address, void *arg); /* whether it is an address of that namespace */
	void *owns_arg;
	const char *const *exposed; /* full names of virtual services that clients from outside may call, at addresses of this node */
	size_t exposed_count;
	const char *const *audit_meshes; /* names of meshes in audit mode */
	size_t audit_count;
	const char *zone; /* of this node; NULL: none */
	uint16_t panic_pct;
	uint32_t time_scale; /* for tests: times of outlier detection are divided by it; 0 or 1: not at all */
	uint64_t now_wall_ns; /* dates the use of VIPs */
};

/* 0, -ENOMEM, -E2BIG naming the limit and the resource (ports of a service, targets of a service), or what vips_get() and
 * vips_commit() return. Nodes that are not in the resources, or whose mesh is not, are left out of the plan: their workloads are
 * refused with no-node. Services that are exposed are the backends of one node for each mesh, which is no resource: "mesh/M/exposed". */
int compile(const struct compile_input *input, struct plan **ret_plan, struct error *err);
