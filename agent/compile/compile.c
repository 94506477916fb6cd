/* SPDX-License-Identifier: Apache-2.0 */
#include "compile.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/plan_names.h"
#include "agent/compile/routes.h"
#include "agent/compile/servings.h"
#include "agent/compile/targets.h"
#include "base/cleanup.h"
#include "base/list.h"

struct local_mesh { /* of some local node, or of an exposed service */
	const struct resource *mesh;
	bool drop_all, audit;
	bool called; /* from here, not by clients from outside alone */
	bool exposed; /* has services that are */
};

struct local_service { /* a virtual service of a local mesh */
	struct table_node node; /* by full name */
	const struct resource *resource;
	bool planned;
	bool exposed;
	uint32_t index; /* in the plan, when planned */
};

struct compiler {
	const struct compile_input *input;
	struct plan *plan;
	struct error *err;
	const struct resource **callers; /* local nodes, in order of name */
	size_t caller_count;
	struct local_mesh *meshes;
	size_t mesh_count;
	struct local_service *services; /* in order of name */
	size_t service_count;
	struct table services_by_name;
	struct targets targets;
};

static void compiler_done(struct compiler *c)
{
	targets_done(&c->targets);
	table_done(&c->services_by_name);
	free(c->services);
	free(c->meshes);
	free(c->callers);
	plan_free(c->plan);
}

static int no_memory(const struct compiler *c)
{
	return error_set(c->err, -ENOMEM, "out of memory");
}

/* --- who calls, and in which meshes -------------------------------------------------------------------------------------- */

static struct local_mesh *find_mesh(const struct compiler *c, const struct resource *of)
{
	for (size_t i = 0; i < c->mesh_count; i++)
		if (resource_same_mesh(c->meshes[i].mesh, of))
			return &c->meshes[i];
	return NULL;
}

static bool is_audited(const struct compile_input *input, const char *mesh)
{
	for (size_t i = 0; i < input->audit_count; i++)
		if (strcmp(input->audit_meshes[i], mesh) == 0)
			return true;
	return false;
}

/* NULL when the mesh is no resource. */
static struct local_mesh *take_mesh(struct compiler *c, const struct resource *of)
{
	struct local_mesh *known = find_mesh(c, of);
	const struct resource *mesh;
	const char *egress;

	if (known)
		return known;
	mesh = resources_sibling(c->input->resources, of, RESOURCE_MESH, NULL, of->mesh);
	if (!mesh)
		return NULL;
	egress = json_path_string(mesh->spec, "egressFilter.type");
	c->meshes[c->mesh_count] = (struct local_mesh){
		.mesh = mesh,
		.drop_all = !egress || strcmp(egress, "ALLOW_ALL") != 0,
		.audit = is_audited(c->input, mesh->name),
	};
	return &c->meshes[c->mesh_count++];
}

static int resource_order(const void *a, const void *b)
{
	return strcmp((*(const struct resource *const *)a)->full_name, (*(const struct resource *const *)b)->full_name);
}

static int take_callers(struct compiler *c)
{
	const struct compile_input *input = c->input;
	size_t kept = 0;

	c->callers = calloc(input->node_count + 1, sizeof(*c->callers));
	c->meshes = calloc(input->node_count + input->exposed_count + 1, sizeof(*c->meshes));
	if (!c->callers || !c->meshes)
		return no_memory(c);
	for (size_t i = 0; i < input->node_count; i++) {
		const struct resource *node = resources_get(input->resources, input->nodes[i]);
		struct local_mesh *mesh = node && node->kind == RESOURCE_VIRTUAL_NODE ? take_mesh(c, node) : NULL;

		if (!mesh)
			continue;
		mesh->called = true;
		c->callers[c->caller_count++] = node;
	}
	for (size_t i = 0; i < input->exposed_count; i++) {
		const struct resource *service = resources_get(input->resources, input->exposed[i]);

		if (service && service->kind == RESOURCE_VIRTUAL_SERVICE)
			take_mesh(c, service);
	}
	qsort(c->callers, c->caller_count, sizeof(*c->callers), resource_order);
	for (size_t i = 0; i < c->caller_count; i++)
		if (kept == 0 || c->callers[kept - 1] != c->callers[i])
			c->callers[kept++] = c->callers[i];
	c->caller_count = kept;
	return 0;
}

/* --- which services ------------------------------------------------------------------------------------------------------ */

/* The service of the caller's mesh that a backend names, by its name or ARN; NULL: there is none. */
static struct local_service *find_backend(const struct compiler *c, const struct resource *caller, const json_t *backend)
{
	const char *text = json_path_string(backend, "virtualService.virtualServiceName");
	char full_name[RESOURCE_FULL_NAME_BYTES];
	struct local_service *service;
	struct table_node *node;
	int r;

	if (!text)
		return NULL;
	r = resource_reference_name(full_name, sizeof(full_name), caller, RESOURCE_VIRTUAL_SERVICE, text);
	node = r < 0 ? NULL : table_get(&c->services_by_name, full_name);
	if (!node)
		return NULL;
	service = container_of(node, struct local_service, node);
	return resource_same_mesh(service->resource, caller) ? service : NULL;
}

static int index_service(const struct resource *resource, void *arg)
{
	struct compiler *c = arg;
	struct local_service *service = &c->services[c->service_count];
	const struct local_mesh *mesh = resource->kind == RESOURCE_VIRTUAL_SERVICE ? find_mesh(c, resource) : NULL;

	if (!mesh)
		return 0;
	/* Where what is no backend is refused, or counted, a name of the mesh must have its VIP to be told apart. */
	*service = (struct local_service){ .resource = resource, .planned = mesh->called && (mesh->drop_all || mesh->audit) };
	c->service_count++;
	return table_add(&c->services_by_name, &service->node, resource->full_name);
}

static int index_services(struct compiler *c)
{
	const struct resources *resources = c->input->resources;

	c->services = calloc(resources->count + 1, sizeof(*c->services));
	if (!c->services || resources_each(resources, index_service, c) < 0)
		return no_memory(c);
	return 0;
}

static void choose_exposed(struct compiler *c)
{
	for (size_t i = 0; i < c->input->exposed_count; i++) {
		struct table_node *node = table_get(&c->services_by_name, c->input->exposed[i]);
		struct local_service *service = node ? container_of(node, struct local_service, node) : NULL;

		if (!service)
			continue;
		service->planned = service->exposed = true;
		find_mesh(c, service->resource)->exposed = true;
	}
}

static int choose_services(struct compiler *c)
{
	int r = index_services(c);

	if (r < 0)
		return r;
	choose_exposed(c);
	for (size_t i = 0; i < c->caller_count; i++) {
		const json_t *backends = json_object_get(c->callers[i]->spec, "backends");
		json_t *backend;
		size_t n;

		json_array_foreach(backends, n, backend) {
			struct local_service *service = find_backend(c, c->callers[i], backend);

			if (service)
				service->planned = true;
		}
	}
	for (size_t i = 0; i < c->service_count; i++)
		if (c->services[i].planned)
			c->services[i].index = (uint32_t)c->plan->service_count++;
	c->plan->services = calloc(c->plan->service_count + 1, sizeof(*c->plan->services));
	if (!c->plan->services) {
		c->plan->service_count = 0;
		return no_memory(c);
	}
	return 0;
}

/* --- what a service does ------------------------------------------------------------------------------------------------- */

/* Makes room for the ports that a provider's listeners give the service. */
static int service_reserve_ports(const struct compiler *c, const struct resource *provider, struct plan_service *service)
{
	size_t count = json_path_count(provider->spec, "listeners");

	if (count > MAX_SERVICE_PORTS)
		return error_set(c->err, -E2BIG, "'%s' has %zu listeners, as provider of '%s' it may have %d",
				 provider->full_name, count, service->name, MAX_SERVICE_PORTS);
	service->ports = calloc(count + 1, sizeof(*service->ports));
	return service->ports ? 0 : no_memory(c);
}

static int add_target(struct compiler *c, struct plan_port *port, const struct resource *node, uint16_t node_port,
		      uint16_t weight)
{
	uint32_t target = PLAN_NONE;
	int r = node ? targets_get(&c->targets, node, node_port, &target) : -ENOENT;

	if (r < 0 && r != -ENOENT)
		return no_memory(c);
	assert(port->target_count < MAX_ROUTE_TARGETS); /* as many as a valid route has */
	port->targets[port->target_count++] = (struct plan_weighted){ target, weight };
	return 0;
}

static int serve_by_node(struct compiler *c, const struct resource *node, struct plan_service *service)
{
	const json_t *listeners = json_object_get(node->spec, "listeners");
	json_t *listener;
	size_t i;
	int r = service_reserve_ports(c, node, service);

	if (r < 0)
		return r;
	json_array_foreach(listeners, i, listener) {
		struct plan_port *port = &service->ports[service->port_count];
		struct port_mapping mapping;

		port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
		*port = (struct plan_port){
			.port = mapping.port,
			.flags = strcmp(mapping.protocol, "tcp") == 0 ? 0 : ROUTE_L7_AS_L4,
		};
		service->port_count++;
		r = add_target(c, port, node, mapping.port, 100);
		if (r < 0)
			return r;
	}
	return 0;
}

static int serve_by_route(struct compiler *c, const struct resource *router, const struct routes *routes, struct plan_port *port)
{
	struct route_choice choice;
	json_t *weighted;
	size_t i;
	int r = routes_choose(routes, port->port, &choice);

	if (r < 0)
		return no_memory(c);
	port->closed = choice.closed;
	port->flags = choice.flags;
	port->note = choice.note;
	if (choice.route) {
		port->route = strdup(choice.route->full_name);
		if (!port->route)
			return no_memory(c);
	}
	json_array_foreach(choice.targets, i, weighted) {
		uint16_t given = (uint16_t)json_path_int(weighted, "port", 0), weight = (uint16_t)json_path_int(weighted, "weight", 0);
		const struct resource *node = resources_sibling(c->input->resources, router, RESOURCE_VIRTUAL_NODE, NULL,
							     json_path_string(weighted, "virtualNode"));

		r = add_target(c, port, node, node ? targets_meant_port(node, given) : 0, weight);
		if (r < 0)
			return r;
	}
	return 0;
}

static int serve_by_router(struct compiler *c, const struct resource *router, struct plan_service *service)
{
	_cleanup_(routes_done) struct routes routes = {};
	const json_t *listeners = json_object_get(router->spec, "listeners");
	json_t *listener;
	size_t i;
	int r = service_reserve_ports(c, router, service);

	if (r < 0)
		return r;
	r = routes_of(c->input->resources, router, &routes);
	if (r < 0)
		return no_memory(c);
	json_array_foreach(listeners, i, listener) {
		struct plan_port *port = &service->ports[service->port_count++];
		struct port_mapping mapping;

		port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
		port->port = mapping.port;
		r = serve_by_route(c, router, &routes, port);
		if (r < 0)
			return r;
	}
	return 0;
}

static int port_order(const void *a, const void *b)
{
	return (int)((const struct plan_port *)a)->port - (int)((const struct plan_port *)b)->port;
}

static int index_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Each caller has a counter row for each different target of the service, in one stretch of MAX_SERVICE_ROWS at most. */
static int check_rows(const struct compiler *c, const struct plan_service *service)
{
	uint32_t targets[MAX_SERVICE_PORTS * MAX_ROUTE_TARGETS];
	size_t count = 0, different = 0;

	for (size_t p = 0; p < service->port_count; p++)
		for (size_t t = 0; t < service->ports[p].target_count; t++)
			targets[count++] = service->ports[p].targets[t].target;
	if (count <= MAX_SERVICE_ROWS)
		return 0;
	qsort(targets, count, sizeof(*targets), index_order);
	for (size_t i = 0; i < count; i++)
		different += i == 0 || targets[i] != targets[i - 1];
	if (different > MAX_SERVICE_ROWS)
		return error_set(c->err, -E2BIG, "'%s' has %zu different targets over all its ports, it may have %d",
				 service->name, different, MAX_SERVICE_ROWS);
	return 0;
}

/* Whose a VIP is: the account, and beyond home the region as well, where the same names are other services. */
#define OWNER_BYTES 128
static const char *owner_of(const struct compile_input *input, const struct resource *resource, char buffer[OWNER_BYTES])
{
	if (!resource->region)
		return input->mesh_owner;
	snprintf(buffer, OWNER_BYTES, "%s@%s", resource->account, resource->region); /* a region has at most 63 characters */
	return buffer;
}

static int compile_service(struct compiler *c, const struct resource *resource, struct plan_service *service)
{
	const char *node_name = json_path_string(resource->spec, "provider.virtualNode.virtualNodeName");
	const char *router_name = json_path_string(resource->spec, "provider.virtualRouter.virtualRouterName");
	const struct compile_input *input = c->input;
	const struct resource *provider = NULL;
	char owner[OWNER_BYTES];
	int r;

	service->name = strdup(resource->full_name);
	if (!service->name)
		return no_memory(c);
	r = vips_get(input->vips, owner_of(input, resource, owner), resource->mesh, resource->name, input->now_wall_ns, &service->vip4,
		     &service->vip6, c->err);
	if (r < 0)
		return r;
	if (node_name)
		provider = resources_sibling(input->resources, resource, RESOURCE_VIRTUAL_NODE, NULL, node_name);
	else if (router_name)
		provider = resources_sibling(input->resources, resource, RESOURCE_VIRTUAL_ROUTER, NULL, router_name);
	if (!provider) {
		service->no_port = REASON_NO_PROVIDER;
		return 0;
	}
	r = node_name ? serve_by_node(c, provider, service) : serve_by_router(c, provider, service);
	if (r < 0)
		return r;
	qsort(service->ports, service->port_count, sizeof(*service->ports), port_order);
	return check_rows(c, service);
}

static int compile_services(struct compiler *c)
{
	for (size_t i = 0; i < c->service_count; i++) {
		const struct local_service *service = &c->services[i];
		int r = service->planned ? compile_service(c, service->resource, &c->plan->services[service->index]) : 0;

		if (r < 0)
			return r;
	}
	return 0;
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

		for (size_t t = 0; t < port->target_count && !covered; t++)
			covered = port->targets[t].target != PLAN_NONE &&
				  policy_covers(ports, targets_port(&c->targets, port->targets[t].target));
		bits |= (uint32_t)covered << p;
	}
	return bits;
}

static void add_backend(const struct compiler *c, struct plan_node *node, const struct local_service *service, const json_t *tls,
			uint32_t flags)
{
	node->backends[node->backend_count++] = (struct plan_backend){
		.service = service->index,
		.tls_ports = tls_ports(c, tls, &c->plan->services[service->index]),
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

static int compile_caller(struct compiler *c, const struct resource *caller, struct plan_node *node)
{
	const json_t *default_tls = json_path(caller->spec, "backendDefaults.clientPolicy.tls");
	const json_t *backends = json_object_get(caller->spec, "backends");
	const struct local_mesh *mesh = find_mesh(c, caller);
	json_t *backend;
	size_t i;

	node->flags = (mesh->drop_all ? NODE_DROP_ALL : 0) | (mesh->audit ? NODE_AUDIT : 0);
	node->name = strdup(caller->full_name);
	node->backends = calloc(json_array_size(backends) + (mesh->audit ? c->service_count : 0) + 1, sizeof(*node->backends));
	if (!node->name || !node->backends)
		return no_memory(c);
	json_array_foreach(backends, i, backend) {
		const struct local_service *service = find_backend(c, caller, backend);
		const json_t *tls = json_path(backend, "virtualService.clientPolicy.tls");

		if (service)
			add_backend(c, node, service, tls ? tls : default_tls, 0);
	}
	for (i = 0; mesh->audit && i < c->service_count; i++)
		if (resource_same_mesh(c->services[i].resource, caller))
			add_backend(c, node, &c->services[i], default_tls, BACKEND_AUDIT_ONLY);
	sort_backends(node);
	return 0;
}

/* Clients from outside have no policy of their own: what is exposed to them is theirs to call. */
static int compile_outside(struct compiler *c, const struct local_mesh *mesh, struct plan_node *node)
{
	node->outside = true;
	node->backends = calloc(c->service_count + 1, sizeof(*node->backends));
	if (!node->backends || asprintf(&node->name, "%s/" PLAN_OUTSIDE, mesh->mesh->full_name) < 0) {
		node->name = NULL;
		return no_memory(c);
	}
	for (size_t i = 0; i < c->service_count; i++)
		if (c->services[i].exposed && resource_same_mesh(c->services[i].resource, mesh->mesh))
			add_backend(c, node, &c->services[i], NULL, 0);
	sort_backends(node);
	return 0;
}

static int node_order(const void *a, const void *b)
{
	return strcmp(((const struct plan_node *)a)->name, ((const struct plan_node *)b)->name);
}

static int compile_callers(struct compiler *c)
{
	int r = 0;

	c->plan->nodes = calloc(c->caller_count + c->mesh_count + 1, sizeof(*c->plan->nodes));
	if (!c->plan->nodes)
		return no_memory(c);
	for (size_t i = 0; r == 0 && i < c->caller_count; i++)
		r = compile_caller(c, c->callers[i], &c->plan->nodes[c->plan->node_count++]);
	for (size_t i = 0; r == 0 && i < c->mesh_count; i++)
		if (c->meshes[i].exposed)
			r = compile_outside(c, &c->meshes[i], &c->plan->nodes[c->plan->node_count++]);
	if (r == 0)
		qsort(c->plan->nodes, c->plan->node_count, sizeof(*c->plan->nodes), node_order);
	return r;
}

int compile(const struct compile_input *input, struct plan **ret_plan, struct error *err)
{
	_cleanup_(compiler_done) struct compiler c = { .input = input, .err = err };
	int r;

	targets_init(&c.targets, input);
	c.plan = calloc(1, sizeof(*c.plan));
	if (!c.plan)
		return no_memory(&c);
	r = take_callers(&c);
	if (r == 0)
		r = choose_services(&c);
	if (r == 0)
		r = compile_services(&c);
	if (r == 0)
		r = compile_callers(&c);
	if (r == 0 && (targets_finish(&c.targets, c.plan) < 0 || plan_names(c.plan) < 0))
		r = no_memory(&c);
	if (r == 0 && (r = servings_plan(input, c.plan, err)) == -ENOMEM)
		r = no_memory(&c);
	if (r == 0)
		r = vips_commit(input->vips, input->now_wall_ns, err);
	if (r == 0 && input->dns)
		dns_discovery_commit(input->dns);
	if (r == 0)
		*ret_plan = TAKE_PTR(c.plan);
	return r;
}
