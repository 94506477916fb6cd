/* SPDX-License-Identifier: Apache-2.0 */
/* Resources, endpoints and workloads -> plan. A compiler knows what each part of the plan depends on: it is told what changed, and
 * compiles that and no more. Pure but for the VIPs it gives out and the host names it asks for: the same input gives the same objects,
 * byte for byte, however it came about. Thread: the loop's. */
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
	const char *mesh_owner; /* account id of meshes at home: VIPs are a hash of it */
	const char *const *nodes; /* full names of the virtual nodes that local workloads act for; looked at after compiler_callers_changed() */
	size_t node_count;
	const struct compile_place *places; /* where their processes are; likewise */
	size_t place_count;
	bool (*owns)(uint64_t netns_cookie, const struct ip *address, void *arg); /* whether it is an address of that namespace */
	void *owns_arg;
	const char *const *exposed; /* full names of virtual services that clients from outside may call, at addresses of this node; likewise */
	size_t exposed_count;
	const char *const *audit_meshes; /* names of meshes in audit mode; the same each time, as are those that follow */
	size_t audit_count;
	const json_t *default_pool; /* the "connectionPool" of HTTP listeners that have none: {"http": {…}}; NULL: they have no limit */
	bool proxy; /* there is a weft-proxy, which serves listeners in the place of applications where that is needed */
	const char *zone; /* of this node; NULL: none */
	uint16_t panic_pct;
	uint32_t time_scale; /* for tests: times of outlier detection are divided by it; 0 or 1: not at all */
	uint64_t now_wall_ns; /* dates the use of VIPs */
};

/* The "connectionPool" that is in force for a listener, of a node or a gateway: its own, or the default one. Borrowed; NULL: none. */
const json_t *listener_pool(const json_t *listener, const json_t *default_pool);

struct compiler;
int compiler_new(struct compiler **ret_compiler); /* 0 or -ENOMEM */
/* After its plans. NULL is fine. */
struct compiler *compiler_free(struct compiler *compiler);

/* What is to be looked at by the next compile(). Before the first one nothing has to be told. */
void compiler_resource_changed(struct compiler *compiler, const struct resources *resources, const struct resource *before,
			       const struct resource *now); /* as resources_commit() tells */
void compiler_instances_changed(struct compiler *compiler, const char *namespace_name, const char *service_name);
void compiler_host_changed(struct compiler *compiler, const char *hostname);
void compiler_callers_changed(struct compiler *compiler);
bool compiler_wants_callers(const struct compiler *compiler); /* the next compile() looks at `nodes`, `places` and `exposed` */
/* The last plan was not put in force: the next compile() makes one also where nothing changed. */
void compiler_refused(struct compiler *compiler);

/* 0, -ENOMEM, -E2BIG naming the limit and the resource (ports of a service, targets of a service), or what vips_get() and
 * vips_commit() return; after a failure what was to be looked at still is. `ret_plan` is NULL where it would be the same as the one
 * before. Nodes that are not in the resources, or whose mesh is not, are left out of the plan: their workloads are
 * refused with no-node. Services that are exposed are the backends of one node for each mesh, which is no resource: "mesh/M/exposed". */
int compile(struct compiler *compiler, const struct compile_input *input, struct plan **ret_plan, struct error *err);
