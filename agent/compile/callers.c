/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls, in which meshes, and what they may do. Meshes and services that are wanted are known by name, whether or not they exist. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "base/cleanup.h"
#include "base/sorted.h"

/* --- meshes -------------------------------------------------------------------------------------------------------------- */

/* "mesh/M", with its scope: what the full name of anything in it begins with. 0: it is no name of that form. */
static size_t mesh_bytes(const char *full_name)
{
	const char *arn = strstr(full_name, ":mesh/");
	const char *mesh = strncmp(full_name, "mesh/", strlen("mesh/")) == 0 ? full_name : arn ? arn + 1 : NULL;
	const char *end = mesh ? strchr(mesh + strlen("mesh/"), '/') : NULL;

	return end ? (size_t)(end - full_name) : 0;
}

static int mesh_make(struct compiler *c, const char *in, struct local_mesh **ret_mesh)
{
	const size_t bytes = mesh_bytes(in);
	_cleanup_free_ char *name = strndup(in, bytes);
	struct table_node *known = name ? table_get(&c->meshes, name) : NULL;
	struct local_mesh *mesh;

	if (!name)
		return no_memory(c);
	if (known) {
		*ret_mesh = container_of(known, struct local_mesh, node);
		return 0;
	}
	mesh = calloc(1, sizeof(*mesh) + bytes + 1);
	if (!mesh)
		return no_memory(c);
	memcpy(mesh->name, name, bytes);
	mesh->outside = mesh->scope = PLAN_NONE;
	if (table_add(&c->meshes, &mesh->node, mesh->name) < 0) {
		free(mesh);
		return no_memory(c);
	}
	*ret_mesh = mesh;
	return 0;
}

struct local_mesh *mesh_free(struct compiler *c, struct local_mesh *mesh)
{
	if (!mesh)
		return NULL;
	table_remove(&c->meshes, &mesh->node);
	resource_unref(mesh->resource);
	free(mesh->services);
	free(mesh);
	return NULL;
}

bool mesh_has_names(const struct local_mesh *mesh)
{
	return mesh->resource && mesh->called && (mesh->drop_all || mesh->audit);
}

int service_make(struct compiler *c, struct local_mesh *mesh, const char *name, struct local_service **ret_service)
{
	struct table_node *known = table_get(&c->services, name);
	const size_t size = strlen(name) + 1;
	struct local_service *service;

	if (known) {
		*ret_service = container_of(known, struct local_service, node);
		return 0;
	}
	service = calloc(1, sizeof(*service) + size);
	if (!service)
		return no_memory(c);
	memcpy(service->name, name, size);
	service->mesh = mesh;
	service->place = PLAN_NONE;
	list_init(&service->wants);
	list_init(&service->marked);
	list_init(&service->unfinished);
	if (table_add(&c->services, &service->node, service->name) < 0) {
		free(service);
		return no_memory(c);
	}
	*ret_service = service;
	return 0;
}

struct marking {
	struct compiler *c;
	struct local_mesh *mesh;
	int r;
};

static void mark_service_of_mesh(const struct resource *from, void *arg)
{
	struct marking *m = arg;
	struct local_service *service;

	if (m->r < 0 || from->kind != RESOURCE_VIRTUAL_SERVICE)
		return;
	m->r = service_make(m->c, m->mesh, from->full_name, &service);
	if (m->r == 0)
		mark(&m->c->services_marked, &service->marked);
}

static bool is_in_mesh(const char *full_name, const struct local_mesh *mesh)
{
	const size_t bytes = strlen(mesh->name);

	return strncmp(full_name, mesh->name, bytes) == 0 && full_name[bytes] == '/';
}

static int mark_mesh(struct compiler *c, struct local_mesh *mesh, bool all)
{
	struct marking m = { c, mesh, 0 };

	resources_referrers(c->input->resources, mesh->name, mark_service_of_mesh, &m);
	for (struct table_node *node = table_first(&c->services); node; node = table_next(&c->services, node)) {
		struct local_service *service = container_of(node, struct local_service, node);

		if (service->mesh == mesh)
			mark(&c->services_marked, &service->marked);
	}
	for (struct table_node *node = table_first(&c->units); all && node; node = table_next(&c->units, node)) {
		struct local_unit *unit = container_of(node, struct local_unit, node);

		if (is_in_mesh(unit->name, mesh))
			mark(&c->units_marked, &unit->marked);
	}
	for (struct table_node *node = table_first(&c->callers); node; node = table_next(&c->callers, node)) {
		struct local_caller *caller = container_of(node, struct local_caller, node);

		if (is_in_mesh(caller->name, mesh))
			mark(&c->callers_marked, &caller->marked);
	}
	mesh->services_changed = true;
	return m.r;
}

static bool is_audited(const struct compile_input *input, const char *mesh)
{
	for (size_t i = 0; i < input->audit_count; i++)
		if (strcmp(input->audit_meshes[i], mesh) == 0)
			return true;
	return false;
}

static int update_mesh(struct compiler *c, struct local_mesh *mesh)
{
	const struct resource *resource = resources_get(c->input->resources, mesh->name);
	_cleanup_json_ json_t *spec = resource ? resource_spec(resource) : NULL;
	const char *egress = json_path_string(spec, "egressFilter.type");
	const bool drop_all = !egress || strcmp(egress, "ALLOW_ALL") != 0, other = resource != mesh->resource;

	if (!other && mesh->called == mesh->now_called && mesh->exposed == mesh->now_exposed)
		return 0;
	resource_unref(mesh->resource);
	mesh->resource = resource ? resource_ref(resource) : NULL;
	mesh->drop_all = drop_all;
	mesh->audit = resource && is_audited(c->input, resource->name);
	mesh->called = mesh->now_called;
	mesh->exposed = mesh->now_exposed;
	return mark_mesh(c, mesh, other);
}

static void mark_all_callers(struct compiler *c, const struct local_mesh *mesh)
{
	for (struct table_node *node = table_first(&c->callers); node; node = table_next(&c->callers, node)) {
		struct local_caller *caller = container_of(node, struct local_caller, node);

		if (caller->mesh == mesh)
			mark(&c->callers_marked, &caller->marked);
	}
}

void mark_callers_of(struct compiler *c, const struct local_service *service)
{
	list_for_each(it, &service->wants)
		mark(&c->callers_marked, &container_of(it, struct want, link)->caller->marked);
	if (service->mesh->audit)
		mark_all_callers(c, service->mesh);
	service->mesh->services_changed |= service->exposed;
}

static size_t place_of(const struct local_mesh *mesh, uint32_t service)
{
	return SORTED_PLACE(mesh->service_count, i, mesh->services[i] < service);
}

int mesh_add_service(struct compiler *c, struct local_service *service)
{
	struct local_mesh *mesh = service->mesh;
	size_t at = place_of(mesh, service->place);

	if (mesh->service_count == mesh->service_capacity) {
		const size_t capacity = mesh->service_capacity ? 2 * mesh->service_capacity : 16;
		uint32_t *services = reallocarray(mesh->services, capacity, sizeof(*services));

		if (!services)
			return no_memory(c);
		mesh->services = services;
		mesh->service_capacity = capacity;
	}
	memmove(&mesh->services[at + 1], &mesh->services[at], (mesh->service_count - at) * sizeof(*mesh->services));
	mesh->services[at] = service->place;
	mesh->service_count++;
	mesh->services_changed = true;
	mark_callers_of(c, service);
	return 0;
}

void mesh_remove_service(struct compiler *c, struct local_service *service)
{
	struct local_mesh *mesh = service->mesh;
	const size_t at = place_of(mesh, service->place);

	if (at < mesh->service_count && mesh->services[at] == service->place) {
		mesh->service_count--;
		memmove(&mesh->services[at], &mesh->services[at + 1], (mesh->service_count - at) * sizeof(*mesh->services));
	}
	mesh->services_changed = true;
	mark_callers_of(c, service);
}

/* --- who calls ----------------------------------------------------------------------------------------------------------- */

static struct local_caller *caller_of(const struct compiler *c, const char *name)
{
	struct table_node *node = table_get(&c->callers, name);

	return node ? container_of(node, struct local_caller, node) : NULL;
}

bool caller_is_planned(const struct compiler *c, const char *node)
{
	const struct local_caller *caller = caller_of(c, node);

	return caller && caller->place != PLAN_NONE;
}

static int caller_make(struct compiler *c, const char *name, struct local_caller **ret_caller)
{
	struct local_caller *caller = caller_of(c, name);
	const size_t size = strlen(name) + 1;

	if (!caller) {
		caller = calloc(1, sizeof(*caller) + size);
		if (!caller)
			return no_memory(c);
		memcpy(caller->name, name, size);
		caller->place = caller->scope = PLAN_NONE;
		list_init(&caller->marked);
		if (table_add(&c->callers, &caller->node, caller->name) < 0) {
			free(caller);
			return no_memory(c);
		}
		list_append(&c->callers_marked, &caller->marked);
	}
	*ret_caller = caller;
	return 0;
}

/* Whether it is planned at all, and for whom, is about to be another matter. */
static void count_want(struct compiler *c, const struct want *want, int more)
{
	struct local_service *service = want->service;
	const bool wanted = service->wanted, by_gateways = service->wanted_by_gateways;

	service->wanted += (size_t)more;
	service->wanted_by_gateways += want->by_gateway ? (size_t)more : 0;
	if (wanted != (service->wanted != 0) || by_gateways != (service->wanted_by_gateways != 0))
		mark(&c->services_marked, &service->marked);
}

static void release_wants(struct compiler *c, struct want **wants)
{
	for (struct want *want; (want = *wants);) {
		*wants = want->next;
		list_remove(&want->link);
		count_want(c, want, -1);
		free(want);
	}
}

static void unplan_caller(struct compiler *c, struct local_caller *caller)
{
	if (caller->place != PLAN_NONE)
		line_leave(&c->line, PLAN_NODE, caller->place);
	if (caller->scope != PLAN_NONE)
		line_leave(&c->line, PLAN_SCOPE, caller->scope);
	c->scopes_changed |= caller->scope != PLAN_NONE;
	caller->place = caller->scope = PLAN_NONE;
	caller->mesh = NULL;
}

struct local_caller *caller_free(struct compiler *c, struct local_caller *caller)
{
	if (!caller)
		return NULL;
	release_wants(c, &caller->wants);
	list_remove(&caller->marked);
	table_remove(&c->callers, &caller->node);
	free(caller);
	return NULL;
}

int backend_service(struct compiler *c, const struct resource *from, struct local_mesh *mesh, const char *text,
		    struct local_service **ret_service)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];

	if (!text || resource_reference_name(full_name, sizeof(full_name), from, RESOURCE_VIRTUAL_SERVICE, text) < 0)
		return -ENOENT;
	if (!is_in_mesh(full_name, mesh))
		return -ENOENT;
	return service_make(c, mesh, full_name, ret_service);
}

struct named_backend {
	const struct resource *from; /* which names it */
	const char *service; /* name or ARN */
	const json_t *tls; /* client policy; NULL: none */
};

struct named_backends {
	struct named_backend *list;
	size_t count;
	json_t *spec; /* of the caller: what the list borrows from, as it does */
	struct gateway_routes routes; /* from these, of a gateway */
};

static void named_backends_done(struct named_backends *backends)
{
	json_decref(backends->spec);
	gateway_routes_done(&backends->routes);
	free(backends->list);
}

static int name_backends(const struct compiler *c, const struct resource *resource, struct named_backends *ret_backends)
{
	_cleanup_(named_backends_done) struct named_backends named = { .spec = resource_spec(resource) };
	const json_t *default_tls = json_path(named.spec, "backendDefaults.clientPolicy.tls");
	const json_t *backends = json_object_get(named.spec, "backends");
	json_t *backend;
	size_t i;

	if (resource->kind == RESOURCE_VIRTUAL_GATEWAY && gateway_routes_of(c->input->resources, resource, &named.routes) < 0)
		return -ENOMEM;
	named.list = calloc(json_array_size(backends) + named.routes.count + 1, sizeof(*named.list));
	if (!named.list)
		return -ENOMEM;
	json_array_foreach(backends, i, backend) {
		const json_t *tls = json_path(backend, "virtualService.clientPolicy.tls");

		named.list[named.count++] = (struct named_backend){
			resource, json_path_string(backend, "virtualService.virtualServiceName"), tls ?: default_tls
		};
	}
	for (i = 0; i < named.routes.count; i++) {
		const struct parsed_route *route = &named.routes.list[i];

		named.list[named.count++] = (struct named_backend){ route->resource, gateway_route_service(route->spec), default_tls };
	}
	*ret_backends = named;
	named = (struct named_backends){};
	return 0;
}

static int take_wants(struct compiler *c, struct local_caller *caller, const struct resource *node, struct local_mesh *mesh)
{
	_cleanup_(named_backends_done) struct named_backends backends = {};
	struct want *wants = NULL;

	if (name_backends(c, node, &backends) < 0)
		return no_memory(c);
	for (size_t i = 0; i < backends.count; i++) {
		struct local_service *service = NULL;
		struct want *want;
		int r = backend_service(c, backends.list[i].from, mesh, backends.list[i].service, &service);

		if (r == -ENOENT)
			continue;
		want = r == 0 ? calloc(1, sizeof(*want)) : NULL;
		if (!want) {
			release_wants(c, &wants);
			return no_memory(c);
		}
		*want = (struct want){ .caller = caller, .service = service, .by_gateway = node->kind == RESOURCE_VIRTUAL_GATEWAY, .next = wants };
		list_append(&service->wants, &want->link);
		count_want(c, want, 1);
		wants = want;
	}
	release_wants(c, &caller->wants);
	caller->wants = wants;
	return 0;
}

static bool is_caller(enum resource_kind kind)
{
	return kind == RESOURCE_VIRTUAL_NODE || kind == RESOURCE_VIRTUAL_GATEWAY;
}

static int look_at_caller(struct compiler *c, struct local_caller *caller)
{
	const struct resource *node = resources_get(c->input->resources, caller->name);
	struct local_mesh *mesh = NULL;
	int r;

	if (node && is_caller(node->kind)) {
		r = mesh_make(c, caller->name, &mesh);
		if (r < 0)
			return r;
	}
	if (!caller->now || !mesh || !mesh->resource) {
		release_wants(c, &caller->wants);
		unplan_caller(c, caller);
		if (!caller->now)
			caller_free(c, caller);
		return 0;
	}
	caller->mesh = mesh;
	return take_wants(c, caller, node, mesh);
}

/* Whether services are exposed, and whose nodes call, as told. */
static int take_input(struct compiler *c)
{
	const struct compile_input *input = c->input;
	int r = 0;

	for (struct table_node *n = table_first(&c->callers); n; n = table_next(&c->callers, n))
		container_of(n, struct local_caller, node)->now = false;
	for (struct table_node *n = table_first(&c->services); n; n = table_next(&c->services, n))
		container_of(n, struct local_service, node)->now_exposed = false;
	for (size_t i = 0; i < input->node_count; i++) {
		struct local_caller *caller = NULL;

		if (!mesh_bytes(input->nodes[i]))
			continue;
		r = caller_make(c, input->nodes[i], &caller);
		if (r < 0)
			return r;
		caller->now = true;
	}
	for (size_t i = 0; i < input->exposed_count; i++) {
		struct local_service *service = NULL;
		struct local_mesh *mesh = NULL;

		if (!mesh_bytes(input->exposed[i]))
			continue;
		r = mesh_make(c, input->exposed[i], &mesh);
		if (r == 0)
			r = service_make(c, mesh, input->exposed[i], &service);
		if (r < 0)
			return r;
		service->now_exposed = true;
	}
	for (struct table_node *n = table_first(&c->callers); n; n = table_next(&c->callers, n)) {
		struct local_caller *caller = container_of(n, struct local_caller, node);

		if (!caller->now)
			mark(&c->callers_marked, &caller->marked);
	}
	return 0;
}

static bool caller_exists(const struct compiler *c, const char *name)
{
	const struct resource *resource = resources_get(c->input->resources, name);

	return resource && is_caller(resource->kind);
}

static bool service_exists(const struct compiler *c, const char *name)
{
	const struct resource *resource = resources_get(c->input->resources, name);

	return resource && resource->kind == RESOURCE_VIRTUAL_SERVICE;
}

static int update_meshes(struct compiler *c)
{
	int r = 0;

	for (struct table_node *n = table_first(&c->meshes); n; n = table_next(&c->meshes, n)) {
		struct local_mesh *mesh = container_of(n, struct local_mesh, node);

		mesh->now_called = mesh->now_exposed = false;
	}
	for (struct table_node *n = table_first(&c->callers); n; n = table_next(&c->callers, n)) {
		const struct local_caller *caller = container_of(n, struct local_caller, node);
		struct local_mesh *mesh = NULL;

		if (!caller->now || !caller_exists(c, caller->name))
			continue;
		r = mesh_make(c, caller->name, &mesh);
		if (r < 0)
			return r;
		mesh->now_called = true;
	}
	for (struct table_node *n = table_first(&c->services); n; n = table_next(&c->services, n)) {
		struct local_service *service = container_of(n, struct local_service, node);

		service->mesh->now_exposed |= service->now_exposed && service_exists(c, service->name);
		if (service->exposed == service->now_exposed)
			continue;
		service->exposed = service->now_exposed;
		service->mesh->services_changed = true;
		mark(&c->services_marked, &service->marked);
	}
	for (struct table_node *n = table_first(&c->meshes); r == 0 && n; n = table_next(&c->meshes, n))
		r = update_mesh(c, container_of(n, struct local_mesh, node));
	return r;
}

int compile_callers(struct compiler *c)
{
	struct list *next;
	int r = 0;

	if (c->callers_changed)
		r = take_input(c);
	if (r == 0 && (c->callers_changed || c->meshes_changed))
		r = update_meshes(c);
	if (r < 0)
		return r;
	/* Marks stay until their nodes are compiled; who is gone is freed here. */
	for (struct list *it = c->callers_marked.next; r == 0 && it != &c->callers_marked; it = next) {
		next = it->next;
		r = look_at_caller(c, container_of(it, struct local_caller, marked));
	}
	return r;
}

/* --- what a caller may do ------------------------------------------------------------------------------------------------ */

static bool policy_covers(const json_t *ports, uint16_t port)
{
	json_t *listed;
	size_t i;

	json_array_foreach(ports, i, listed)
		if (json_integer_value(listed) == port)
			return true;
	return false;
}

/* The ports of a service on which a client policy demands TLS. Its `ports` are servers' ports; where the target's differs from
 * the service's either counts, since a policy that is missed would send plaintext. */
static uint32_t tls_ports(const struct compiler *c, const json_t *tls, const struct plan_service *service)
{
	const json_t *ports = json_object_get(tls, "ports");
	uint32_t bits = 0;

	if (!tls || !json_path_bool(tls, "enforce", true))
		return 0;
	for (size_t p = 0; p < service->port_count; p++) {
		const struct plan_port *port = &service->ports[p];
		bool covered = json_array_size(ports) == 0 || policy_covers(ports, port->port);

		for (size_t t = 0; t < plan_port_target_count(port) && !covered; t++)
			covered = plan_port_target(port, t)->target != PLAN_NONE &&
				  policy_covers(ports, target_at(c, plan_port_target(port, t)->target)->port);
		bits |= (uint32_t)covered << p;
	}
	return bits;
}

static void add_backend(const struct compiler *c, struct plan_node *node, uint32_t service, const json_t *tls, uint32_t flags)
{
	node->backends[node->backend_count++] = (struct plan_backend){
		.service = service,
		.tls_ports = tls_ports(c, tls, (const struct plan_service *)PLANNED(c, PLAN_SERVICE, service)),
		.flags = flags,
	};
}

static int backend_order(const void *a, const void *b)
{
	const struct plan_backend *x = a, *y = b;

	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	return (int)x->flags - (int)y->flags;
}

/* In order, one of each service: a listed backend before the same as audited. */
static void sort_backends(struct plan_node *node)
{
	size_t kept = 0;

	if (node->backend_count > 1)
		qsort(node->backends, node->backend_count, sizeof(*node->backends), backend_order);
	for (size_t i = 0; i < node->backend_count; i++) {
		struct plan_backend *last = kept ? &node->backends[kept - 1] : NULL;

		if (!last || last->service != node->backends[i].service)
			node->backends[kept++] = node->backends[i];
		else if (last->flags == node->backends[i].flags)
			last->tls_ports |= node->backends[i].tls_ports;
	}
	node->backend_count = kept;
}

static void add_l7_port(struct plan_node *node, uint16_t port)
{
	size_t at = 0;

	while (at < node->l7_port_count && node->l7_ports[at] < port)
		at++;
	if (node->l7_port_count == MAX_NODE_L7_PORTS || (at < node->l7_port_count && node->l7_ports[at] == port))
		return;
	memmove(&node->l7_ports[at + 1], &node->l7_ports[at], (node->l7_port_count - at) * sizeof(*node->l7_ports));
	node->l7_ports[at] = port;
	node->l7_port_count++;
}

static void find_l7_ports(const struct compiler *c, struct plan_node *node)
{
	for (size_t i = 0; i < node->backend_count; i++) {
		const struct plan_service *service = (const struct plan_service *)PLANNED(c, PLAN_SERVICE, node->backends[i].service);

		for (size_t p = 0; !(node->backends[i].flags & BACKEND_AUDIT_ONLY) && p < service->port_count; p++)
			if (service->ports[p].l7)
				add_l7_port(node, service->ports[p].port);
	}
}

static void cleanup_node(struct plan_node **node)
{
	plan_object_free(PLAN_NODE, (struct plan_object *)*node);
}

/* Takes the place of what was there, unless it is the same. */
static int set_node(struct compiler *c, uint32_t *place, struct plan_node **node)
{
	const struct plan_node *before;

	sort_backends(*node);
	find_l7_ports(c, *node);
	if (*place == PLAN_NONE && line_take(&c->line, PLAN_NODE, place) < 0)
		return no_memory(c);
	before = (const struct plan_node *)PLANNED(c, PLAN_NODE, *place);
	if (before && before->flags == (*node)->flags && before->backend_count == (*node)->backend_count &&
	    plan_same_l7(PLAN_NODE, (const struct plan_object *)before, (const struct plan_object *)*node) &&
	    before->l7_port_count == (*node)->l7_port_count &&
	    memcmp(before->l7_ports, (*node)->l7_ports, sizeof(before->l7_ports)) == 0 &&
	    (!before->backend_count || memcmp(before->backends, (*node)->backends, before->backend_count * sizeof(*before->backends)) == 0))
		return 0;
	line_set(&c->line, PLAN_NODE, *place, TAKE_PTR(*node));
	return 0;
}

static int take_listeners(struct compiler *c, const struct resource *resource, struct plan_node *node)
{
	_cleanup_json_ json_t *spec = resource_spec(resource);
	const json_t *listeners = json_object_get(spec, "listeners");
	json_t *listener;
	size_t i;

	node->listeners = calloc(json_array_size(listeners) + 1, sizeof(*node->listeners));
	if (!node->listeners)
		return no_memory(c);
	json_array_foreach(listeners, i, listener) {
		struct port_mapping mapping;

		if (!listener_is_proxied(c->input, spec, listener))
			continue;
		port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
		node->listeners[node->listener_count++] = (struct plan_listener){
			.port = mapping.port,
			.timeout = json_incref((json_t *)json_path(listener, "timeout.http")),
			.pool = json_incref((json_t *)listener_pool(listener, c->input->default_pool)),
		};
	}
	return 0;
}

static int compile_caller(struct compiler *c, struct local_caller *caller)
{
	const struct resource *resource = resources_get(c->input->resources, caller->name);
	_cleanup_(cleanup_node) struct plan_node *node = calloc(1, sizeof(*node));
	_cleanup_(named_backends_done) struct named_backends backends = {};
	struct local_mesh *mesh = caller->mesh;
	const json_t *default_tls;
	int r;

	if (!node || name_backends(c, resource, &backends) < 0)
		return no_memory(c);
	node->flags = (mesh->drop_all ? NODE_DROP_ALL : 0) | (mesh->audit ? NODE_AUDIT : 0);
	node->name = strdup(caller->name);
	node->logging = json_incref(json_object_get(backends.spec, "logging"));
	node->backends = calloc(backends.count + (mesh->audit ? mesh->service_count : 0) + 1, sizeof(*node->backends));
	if (!node->name || !node->backends)
		return no_memory(c);
	r = resource->kind == RESOURCE_VIRTUAL_GATEWAY ? gateway_plan(c, resource, &backends.routes, mesh, node)
						       : take_listeners(c, resource, node);
	if (r < 0)
		return r;
	for (size_t i = 0; i < backends.count; i++) {
		struct local_service *service = NULL;

		r = backend_service(c, backends.list[i].from, mesh, backends.list[i].service, &service);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == 0 && service->place != PLAN_NONE)
			add_backend(c, node, service->place, backends.list[i].tls, 0);
	}
	default_tls = json_path(backends.spec, "backendDefaults.clientPolicy.tls");
	for (size_t i = 0; mesh->audit && i < mesh->service_count; i++)
		add_backend(c, node, mesh->services[i], default_tls, BACKEND_AUDIT_ONLY);
	return set_node(c, &caller->place, &node);
}

/* Clients from outside have no policy of their own: what is exposed to them is theirs to call. */
static int compile_outside(struct compiler *c, struct local_mesh *mesh)
{
	_cleanup_(cleanup_node) struct plan_node *node = NULL;

	if (!mesh->resource || !mesh->exposed) {
		if (mesh->outside != PLAN_NONE)
			line_leave(&c->line, PLAN_NODE, mesh->outside);
		mesh->outside = PLAN_NONE;
		return 0;
	}
	node = calloc(1, sizeof(*node));
	if (!node)
		return no_memory(c);
	node->outside = true;
	node->backends = calloc(mesh->service_count + 1, sizeof(*node->backends));
	if (!node->backends || asprintf(&node->name, "%s/" PLAN_OUTSIDE, mesh->name) < 0) {
		node->name = NULL;
		return no_memory(c);
	}
	for (size_t i = 0; i < mesh->service_count; i++) {
		const char *name = PLANNED(c, PLAN_SERVICE, mesh->services[i])->name;

		if (container_of(table_get(&c->services, name), struct local_service, node)->exposed)
			add_backend(c, node, mesh->services[i], NULL, 0);
	}
	return set_node(c, &mesh->outside, &node);
}

int compile_nodes(struct compiler *c)
{
	int r = 0;

	while (r == 0 && !list_empty(&c->callers_marked)) {
		struct local_caller *caller = container_of(c->callers_marked.next, struct local_caller, marked);

		r = caller->mesh ? compile_caller(c, caller) : 0;
		if (r == 0)
			list_remove(&caller->marked);
		c->scopes_changed = true;
	}
	for (struct table_node *n = table_first(&c->meshes); r == 0 && n; n = table_next(&c->meshes, n)) {
		struct local_mesh *mesh = container_of(n, struct local_mesh, node);

		if (mesh->services_changed)
			r = compile_outside(c, mesh);
	}
	return r;
}
