/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel should hold, by names: the immutable outcome of compiling the resource graph, restricted to what this node's
 * workloads can reach. compile() makes a plan; apply turns the difference between it and the maps into the fewest writes.
 *
 * Objects of a plan are immutable, have places by which they name each other, and are shared by plans: an object that is in two plans at
 * the same place is the same one, so that to find what differs costs a comparison of pointers. A name may have another place in
 * another plan. Plans of one line (line.h) are freed in any order; a plan of no line owns what it has. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/spec/resource.h"
#include "base/json.h"
#include "maps/abi/limits.h"
#include "maps/abi/reason.h"
#include "maps/abi/record.h"
#include "maps/abi/types.h"

struct plan_endpoint {
	struct ip address;
	__be16 port;
	uint16_t zone; /* from plan_zone(): 0 none */
	uint16_t run; /* its zone's place in the target's `zones`; 0 where that has none */
	uint64_t netns_cookie; /* 0: offered everywhere */
	/* HEALTH_PENDING where a listener of the node has a check that covers it, else HEALTH_UNCHECKED: what a new slot begins with. A slot
	 * that is there keeps its own, but where a check came or went. */
	uint32_t health;
};

/* How a listener's endpoints are to be checked (HealthCheckPolicy). */
struct plan_check {
	uint8_t protocol; /* enum check_protocol */
	uint8_t healthy_threshold, unhealthy_threshold;
	uint64_t interval_ns, timeout_ns;
	char *path; /* of http and http2, "/ping"; NULL: none given */
};
enum check_protocol {
	CHECK_NONE, /* the listener has no health check */
	CHECK_TCP,
	CHECK_HTTP,
	CHECK_HTTP2,
	CHECK_GRPC,
};

/* When an endpoint is ejected (OutlierDetection). Durations are cut to PLAN_LONGEST_NS, the interval is no shorter than 1 ms. */
struct plan_outlier {
	uint32_t max_errors; /* 0: never */
	uint64_t interval_ns, base_ejection_ns;
	uint8_t max_ejection_pct;
};
#define PLAN_LONGEST_NS (UINT64_MAX / 16)

/* What all objects of a plan begin with. */
struct plan_object {
	char *name;
	struct plan_object *next; /* of those that wait to be freed */
};
enum plan_kind { /* the kernel's objects by their numbers there (enum object_kind) */
	PLAN_SCOPE,
	PLAN_SERVICE,
	PLAN_TARGET,
	PLAN_NODE,
	PLAN_KINDS,
};

/* A listener of a virtual node. */
struct plan_target {
	char *name; /* "mesh/M/virtualNode/N:8080" */
	struct plan_object *next;
	uint64_t serial; /* another one for each that a line was given; tells those apart that had one address after each other */
	char *node; /* "mesh/M/virtualNode/N" */
	uint16_t port;
	uint32_t flags; /* TARGET_* */
	uint16_t panic_pct;
	struct plan_check check;
	uint32_t max_connections; /* connectionPool; 0: no limit */
	struct plan_outlier outlier;
	/* Some service leads to it by a port whose requests weft-proxy routes, be it for gateways alone. Else what follows is not given. */
	bool l7;
	char protocol[8]; /* the listener's: "http" */
	json_t *timeout, *pool; /* the listener's "timeout" and "connectionPool" for that protocol; NULL: none */
	uint16_t zone; /* the callers' */
	uint8_t zone_count[LIST_COUNT]; /* as in struct target_record */
	struct zone_run (*zones)[MAX_TARGET_ZONES]; /* by list; NULL: in none they make a difference */
	size_t endpoint_count;
	/* Sorted by address, port, namespace; where zones make a difference, by family and zone before that. No duplicates. */
	struct plan_endpoint *endpoints;
};

struct plan_weighted {
	uint32_t target; /* place in plan.targets, or PLAN_NONE: the node does not exist */
	uint16_t weight;
};
#define PLAN_NONE UINT32_MAX

struct plan_route {
	const struct resource *resource; /* held */
	size_t target_count;
};
/* Where weft-proxy sends the requests that come to a port. Immutable, and shared by copies of a service. */
struct plan_l7 {
	unsigned holders;
	bool by_node; /* the provider is a virtual node: all go to the one target, without a route */
	size_t route_count;
	struct plan_route *routes; /* all that bind to the port, in the order in which they are tried; the last one is empty */
	size_t target_count;
	struct plan_weighted targets[]; /* of all routes, one after the other */
};
struct plan_l7 *plan_l7_unref(struct plan_l7 *l7); /* NULL is fine. Returns NULL */

struct plan_port {
	uint16_t port;
	uint8_t closed; /* enum reason, or 0 */
	uint8_t flags; /* ROUTE_* */
	uint8_t target_count;
	struct plan_weighted targets[MAX_ROUTE_TARGETS];
	char *route; /* full name of the route that decides, for explain; NULL: implicit or none */
	char *note; /* why `closed`, or which routes never match, in words that name the route and field; NULL: none */
	/* With ROUTE_L7, else NULL. What `closed`, weights and targets say is then for clients from outside alone. */
	struct plan_l7 *l7;
	/* The kernel's, as the service is tagged, and HTTP: a gateway leads there, whose requests weft-proxy sends to the targets by their weights. */
	bool by_weights;
};

/* The targets that a port leads to: the kernel's, then weft-proxy's. Some may be there twice. */
static inline size_t plan_port_target_count(const struct plan_port *port)
{
	return port->target_count + (port->l7 ? port->l7->target_count : 0);
}
static inline const struct plan_weighted *plan_port_target(const struct plan_port *port, size_t i)
{
	return i < port->target_count ? &port->targets[i] : &port->l7->targets[i - port->target_count];
}

struct plan_service {
	char *name; /* "mesh/M/virtualService/S" */
	struct plan_object *next;
	struct ip vip4, vip6; /* all zero: none */
	size_t port_count;
	struct plan_port *ports; /* in order of port; at most MAX_SERVICE_PORTS, allocated as many as there are: some 100 bytes each */
	/* Families of the endpoints that its routes can reach; both where there is none: its name then leads to a refusal with a reason. */
	bool v4, v6;
	char *twin; /* full name of the service that its name leads to, as it is the same name to a resolver; NULL: to itself */
	uint8_t no_port; /* REASON_NO_PROVIDER where the service has no ports for want of a provider: every port is refused so; else 0 */
};

struct plan_backend {
	uint32_t service; /* place in plan.services */
	uint32_t tls_ports; /* bit i: ports[i] of the service */
	uint32_t flags; /* BACKEND_* */
};

/* A listener that weft-proxy serves in the place of the applications here. */
struct plan_listener {
	uint16_t port;
	json_t *timeout, *pool; /* the listener's "timeout.http", and the "connectionPool" in force (listener_pool()); NULL: none */
};

struct plan_gateway_route {
	const struct resource *resource; /* held */
	uint32_t service; /* place in plan.services; PLAN_NONE: there is none of that name */
	uint16_t port; /* of the service; 0: its only one */
};

struct plan_node {
	char *name; /* "mesh/M/virtualNode/N", where `gateway` "mesh/M/virtualGateway/G", where `outside` "mesh/M/exposed" */
	struct plan_object *next;
	bool outside; /* clients from outside, who ask nobody for names here */
	bool gateway; /* a virtual gateway: its listeners are weft-proxy's */
	size_t route_count;
	struct plan_gateway_route *routes; /* of a gateway, by name */
	uint32_t flags; /* NODE_* */
	json_t *logging; /* the node's; NULL: none */
	size_t listener_count;
	struct plan_listener *listeners; /* in the resource's order */
	size_t l7_port_count; /* ports of its HTTP backends, in order; those beyond MAX_NODE_L7_PORTS are left out */
	uint16_t l7_ports[MAX_NODE_L7_PORTS];
	size_t backend_count;
	struct plan_backend *backends; /* in order of service */
};

/* Names that the DNS responder answers (maps/abi/name.h), but for those that are no DNS names, to whoever is of the scope. Written by
 * apply with the generation: before it what is new, after it what is gone. */
struct plan_scope {
	char *name; /* "mesh/M" or "mesh/M/virtualNode/N" */
	struct plan_object *next;
	size_t service_count;
	uint32_t *services; /* places in plan.services, in order: whose names and VIPs these are */
};

/* A listener of a workload on this node that has a limit (maps/abi/serving.h), or that weft-proxy serves (maps/abi/inbound.h), at one place where
 * connections to it come in. */
struct plan_serving {
	uint64_t netns_cookie;
	struct ip address; /* all zero: every address of the namespace but loopback ones */
	__be16 port;
	bool proxied; /* weft-proxy serves it, and limits are its own */
	uint16_t listener; /* the listener's port */
	uint32_t max_connections; /* 0: the kernel has no limit for it */
	char *target; /* "mesh/M/virtualNode/N:8080" */
	char *node; /* "mesh/M/virtualNode/N" */
};

struct plan_line;

struct plan {
	size_t service_count, target_count, node_count, scope_count; /* how many places; where nothing is, NULL */
	struct plan_service **services;
	struct plan_target **targets;
	struct plan_node **nodes;
	struct plan_scope **scopes;
	size_t zone_count;
	char **zones; /* names of zones that numbers in the plan stand for, in no order; the names are the line's, where there is one */

	struct plan_line *line; /* NULL: none */
	struct plan *older, *newer; /* of the line */
	struct plan_object *dead[PLAN_KINDS]; /* what no plan after this one has */

	size_t serving_count;
	struct plan_serving *servings; /* in order of namespace, address, port; no duplicates; the plan's own */
};

struct plan *plan_free(struct plan *plan); /* NULL is fine */
void plan_object_free(enum plan_kind kind, struct plan_object *object);
struct plan_service *plan_service_copy(const struct plan_service *service); /* NULL: no memory */
/* Whether weft-proxy is told the same of both, but for what records in the kernel say as well. */
bool plan_same_l7(enum plan_kind kind, const struct plan_object *a, const struct plan_object *b);
/* The places of one kind. */
struct plan_side {
	struct plan_object *const *objects;
	size_t count;
};
struct plan_side plan_side(const struct plan *plan, enum plan_kind kind); /* of no plan: nothing */
/* By full name, one look at each. NULL: not there. */
const struct plan_service *plan_find_service(const struct plan *plan, const char *name);
const struct plan_node *plan_find_gateway(const struct plan *plan, const char *name); /* likewise */
bool plan_scope_owns(const uint32_t *services, size_t count, uint32_t service); /* of services in order */
bool plan_scope_has(const struct plan_scope *scope, uint32_t service);

void plan_serving_done(struct plan_serving *serving);
int plan_servings_copy(const struct plan_serving *servings, size_t count, struct plan *plan); /* 0 or -ENOMEM */

#define PLAN_OUTSIDE "exposed" /* a mesh's node for those */
/* How many services tables should be made for that this fits into, with the room that maps/abi/limits.h means to leave. */
uint32_t plan_services(const struct plan *plan);

/* The name that a service is asked for by: the end of its full name. */
const char *plan_service_name(const struct plan_service *service);

/* A zone's name as the number that records hold, 1..65535, the same in every build. NULL and "": 0, no zone. */
uint16_t plan_zone(const char *zone);
/* The name that a zone's number in the plan stands for; NULL: none. */
const char *plan_zone_name(const struct plan *plan, uint16_t zone);
/* Address, port, namespace: <, = or > 0. */
int plan_endpoint_order(const struct plan_endpoint *a, const struct plan_endpoint *b);
