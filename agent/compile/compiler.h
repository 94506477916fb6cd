/* SPDX-License-Identifier: Apache-2.0 */
/* What a compiler remembers: which part of the plan comes of what. Shared by its files: callers.c says who calls, in which meshes,
 * and hence which services are planned, gateways.c so for those that are virtual gateways; services.c what each of them does; targets.c which endpoints serve it; plan_names.c who asks for it by
 * which name. Each is told by marks what to look at. */
#pragma once

#include "agent/compile/compile.h"
#include "agent/compile/line.h"
#include "base/hash.h"
#include "base/list.h"

struct local_mesh { /* a mesh of some local node, or of an exposed service, or that was one */
	struct table_node node;
	struct resource *resource; /* NULL: there is none */
	bool drop_all, audit;
	bool called; /* from here, not by clients from outside alone */
	bool exposed; /* has services that are */
	bool now_called, now_exposed; /* what these are about to be */
	uint32_t *services; /* places of those that are planned, in order */
	size_t service_count, service_capacity;
	bool services_changed; /* since its node and scope were compiled */
	uint32_t outside, scope; /* places of the node for clients from outside and of the scope; PLAN_NONE: none */
	char name[]; /* full name */
};

struct local_service {
	struct table_node node;
	struct local_mesh *mesh;
	struct resource *resource; /* it was planned by; NULL: it is not planned */
	uint32_t place; /* in the plan, when planned */
	struct plan_service *draft; /* what it is about to be; NULL: what it is */
	struct use *uses; /* targets that its routes name, each once */
	struct list wants; /* callers that have it as a backend */
	size_t wanted, wanted_by_gateways; /* the latter are some of the former */
	bool exposed, now_exposed;
	struct list marked; /* in compiler.services_marked, or alone */
	struct list unfinished; /* in compiler.services_unfinished, or alone */
	char name[];
};

struct local_target { /* a listener of a virtual node */
	struct table_node node;
	struct local_unit *unit;
	struct local_target *next; /* of the unit */
	uint32_t place;
	uint16_t port;
	struct list uses;
	size_t l7_uses; /* of them */
	bool v4, v6; /* families of its endpoints */
	char name[];
};

struct use {
	struct local_service *service;
	struct local_target *target;
	bool l7; /* by a port whose requests weft-proxy routes, be it for gateways alone, too */
	struct list link; /* of target->uses */
	struct use *next; /* of the service */
};

enum source_kind { SOURCE_SERVICE, SOURCE_HOST, SOURCES };

struct local_unit { /* a virtual node with targets, which are compiled together */
	struct table_node node;
	struct local_target *targets; /* in order of name */
	struct list marked;
	struct source *sources[SOURCES]; /* where its endpoints come from; NULL: from nowhere */
	struct list source_links[SOURCES];
	char name[];
};

struct source { /* a service of the registry, or a host name */
	struct table_node node;
	struct list units; /* source_links */
	bool is_host;
	char key[];
};

struct local_caller { /* a virtual node that local workloads act for */
	struct table_node node;
	struct local_mesh *mesh; /* NULL: it is not in the plan */
	struct want *wants;
	bool now; /* it is about to stay */
	struct list marked;
	uint32_t place, scope; /* PLAN_NONE: not in the plan; no scope of its own */
	char name[];
};

struct want { /* a backend of a caller */
	struct local_caller *caller;
	struct local_service *service;
	bool by_gateway;
	struct list link; /* of service->wants */
	struct want *next; /* of the caller */
};

struct compiler {
	struct plan_line line;
	struct table meshes, services, targets, units, sources, callers;
	struct list services_marked, services_unfinished, units_marked, callers_marked;
	bool begun; /* some compile() succeeded */
	bool callers_changed, meshes_changed;
	bool scopes_changed; /* names may have become twins, or ceased to be */
	size_t folded_names; /* planned services whose name is another one to a resolver */
	bool had_folded_names; /* when scopes were compiled last */
	bool hosts_changed; /* a host name came or went */
	bool no_memory; /* a mark was lost */
	uint64_t serial; /* of the last target */
	struct local_target **target_by_place;
	size_t target_capacity;
	struct plan_serving *servings;
	size_t serving_count;
	bool servings_changed;

	const struct compile_input *input; /* during compile() */
	struct error *err;
};

#define PLANNED(c, kind, place) ((c)->line.places[kind].objects[place])
static inline struct local_target *target_at(const struct compiler *c, uint32_t place)
{
	return c->target_by_place[place];
}

int no_memory(struct compiler *c);
/* Appends once. */
static inline void mark(struct list *head, struct list *link)
{
	if (list_empty(link))
		list_append(head, link);
}

/* callers.c */
int service_make(struct compiler *c, struct local_mesh *mesh, const char *name, struct local_service **ret_service);
void mark_callers_of(struct compiler *c, const struct local_service *service);
/* It is planned now, or not any more: all that lists it is to be compiled. */
int mesh_add_service(struct compiler *c, struct local_service *service);
void mesh_remove_service(struct compiler *c, struct local_service *service);
int compile_callers(struct compiler *c); /* who calls, and what they want */
int compile_nodes(struct compiler *c);
/* The service of the mesh that `from` names, by its name or ARN. 0, -ENOENT: it names none; -ENOMEM. */
int backend_service(struct compiler *c, const struct resource *from, struct local_mesh *mesh, const char *text,
		    struct local_service **ret_service);
struct local_mesh *mesh_free(struct compiler *c, struct local_mesh *mesh);
struct local_caller *caller_free(struct compiler *c, struct local_caller *caller);
bool mesh_has_names(const struct local_mesh *mesh);
bool caller_is_planned(const struct compiler *c, const char *node);

/* services.c */
int compile_services(struct compiler *c); /* drafts */
int finish_services(struct compiler *c); /* once their targets are known */
struct local_service *service_free(struct compiler *c, struct local_service *service);

/* gateways.c */
/* Those of a gateway, by name. 0 or -ENOMEM. */
struct gateway_routes {
	struct parsed_route {
		const struct resource *resource; /* borrowed */
		json_t *spec;
	} *list;
	size_t count;
};
int gateway_routes_of(const struct resources *resources, const struct resource *gateway, struct gateway_routes *ret_routes);
void gateway_routes_done(struct gateway_routes *routes);
const char *gateway_route_service(const json_t *spec); /* of a gateway route: name or ARN of the virtual service */
/* Listeners and routes. */
int gateway_plan(struct compiler *c, const struct resource *gateway, const struct gateway_routes *routes, struct local_mesh *mesh,
		 struct plan_node *node);

/* targets.c */
/* The listener of a node on `port`, planned now if it was not. -ENOENT: the node has no such listener; -ENOMEM. */
int target_get(struct compiler *c, const struct resource *node, uint16_t port, struct local_target **ret_target);
/* The port of a node that a weighted target means: `given`, or where that is 0 its only listener's. 0: it has none. Where there
 * are several, resources_check() demands that it is given. */
uint16_t target_meant_port(const struct resource *node, uint16_t given);
int compile_targets(struct compiler *c);
int keep_hosts(struct compiler *c);
struct local_unit *unit_free(struct compiler *c, struct local_unit *unit);
bool listener_needs_tls(const json_t *listener, const struct port_mapping *mapping);
/* A listener's draft, without what other listeners of the node have to do with it. As target_get(). */
int target_draft(struct compiler *c, const struct resource *node, uint16_t port, struct plan_target **ret_target);
char *source_service_key(const char *namespace_name, const char *service_name); /* NULL: no memory */
char *source_host_key(const char *hostname);
void source_changed(struct compiler *c, const char *key); /* NULL: no memory for it */

/* plan_names.c */
int compile_scopes(struct compiler *c);

/* servings.c */
/* Whether weft-proxy is to serve a node's listener in the place of applications: it speaks what the listener does, and what is asked for (a
 * pool, an access log, times) is not to be had otherwise. */
bool listener_is_proxied(const struct compile_input *input, const json_t *node_spec, const json_t *listener);
int compile_servings(struct compiler *c);
void servings_free(struct plan_serving *servings, size_t count);
