/* SPDX-License-Identifier: Apache-2.0 */
/* What each service does: its ports, and where they lead. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "agent/compile/plan_names.h"
#include "agent/compile/routes.h"
#include "base/cleanup.h"

static void cleanup_service(struct plan_service **service)
{
	plan_object_free(PLAN_SERVICE, (struct plan_object *)*service);
}

/* --- what a service does ------------------------------------------------------------------------------------------------- */

/* Makes room for the ports that a provider's listeners give the service. */
static int service_reserve_ports(struct compiler *c, const struct resource *provider, struct plan_service *service)
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
	struct local_target *target = NULL;
	int r = node ? target_get(c, node, node_port, &target) : -ENOENT;

	if (r < 0 && r != -ENOENT)
		return no_memory(c);
	assert(port->target_count < MAX_ROUTE_TARGETS); /* as many as a valid route has */
	port->targets[port->target_count++] = (struct plan_weighted){ target ? target->place : PLAN_NONE, weight };
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

		r = add_target(c, port, node, node ? target_meant_port(node, given) : 0, weight);
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
static int check_rows(struct compiler *c, const struct plan_service *service)
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

/* Whose the VIPs of a mesh are: of an account, and of a region as well where it is not home. */
static const char *vip_owner(const struct compiler *c, const struct resource *resource, char *buffer, size_t size)
{
	if (!resource->account)
		return c->input->mesh_owner;
	snprintf(buffer, size, "%s@%s", resource->account, resource->region);
	return buffer;
}
#define VIP_OWNER(c, resource) vip_owner(c, resource, (char[128]){ 0 }, 128)

static int draft_service(struct compiler *c, const struct resource *resource, struct plan_service *service)
{
	const char *node_name = json_path_string(resource->spec, "provider.virtualNode.virtualNodeName");
	const char *router_name = json_path_string(resource->spec, "provider.virtualRouter.virtualRouterName");
	const struct compile_input *input = c->input;
	const struct resource *provider = NULL;
	int r;

	service->name = strdup(resource->full_name);
	if (!service->name)
		return no_memory(c);
	r = vips_get(input->vips, VIP_OWNER(c, resource), resource->mesh, resource->name, input->now_wall_ns, &service->vip4,
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
	if (service->port_count > 1)
		qsort(service->ports, service->port_count, sizeof(*service->ports), port_order);
	return check_rows(c, service);
}

/* --- which targets it names ---------------------------------------------------------------------------------------------- */

static void release_uses(struct compiler *c, struct use **uses)
{
	for (struct use *use; (use = *uses);) {
		*uses = use->next;
		list_remove(&use->link);
		if (list_empty(&use->target->uses))
			mark(&c->units_marked, &use->target->unit->marked);
		free(use);
	}
}

static bool uses_target(const struct use *uses, uint32_t place)
{
	for (; uses; uses = uses->next)
		if (uses->target->place == place)
			return true;
	return false;
}

static int take_uses(struct compiler *c, struct local_service *service, const struct plan_service *draft)
{
	struct use *uses = NULL;

	for (size_t p = 0; p < draft->port_count; p++)
		for (size_t t = 0; t < draft->ports[p].target_count; t++) {
			const uint32_t place = draft->ports[p].targets[t].target;
			struct use *use;

			if (place == PLAN_NONE || uses_target(uses, place))
				continue;
			use = calloc(1, sizeof(*use));
			if (!use) {
				release_uses(c, &uses);
				return no_memory(c);
			}
			*use = (struct use){ .service = service, .target = target_at(c, place), .next = uses };
			list_append(&use->target->uses, &use->link);
			uses = use;
		}
	release_uses(c, &service->uses);
	service->uses = uses;
	return 0;
}

/* --- planned or not ------------------------------------------------------------------------------------------------------ */

/* Where what is no backend is refused, or counted, a name of the mesh must have its VIP to be told apart. */
static bool is_planned(const struct local_service *service, const struct resource *resource)
{
	const struct local_mesh *mesh = service->mesh;

	if (!resource || !mesh->resource)
		return false;
	return service->exposed || service->wanted || (mesh->called && (mesh->drop_all || mesh->audit));
}

static void discard_draft(struct local_service *service)
{
	plan_object_free(PLAN_SERVICE, (struct plan_object *)TAKE_PTR(service->draft));
}

static void unplan(struct compiler *c, struct local_service *service)
{
	discard_draft(service);
	release_uses(c, &service->uses);
	list_remove(&service->unfinished);
	if (service->place == PLAN_NONE)
		return;
	c->folded_names -= !name_is_plain(service->resource->name);
	mesh_remove_service(c, service);
	vips_let_go(c->input->vips, VIP_OWNER(c, service->resource), service->resource->mesh, service->resource->name,
		    c->input->now_wall_ns);
	service->resource = resource_unref(service->resource);
	line_leave(&c->line, PLAN_SERVICE, service->place);
	service->place = PLAN_NONE;
}

static int plan_it(struct compiler *c, struct local_service *service, const struct resource *resource)
{
	_cleanup_(cleanup_service) struct plan_service *draft = calloc(1, sizeof(*draft));
	int r = draft ? draft_service(c, resource, draft) : no_memory(c);

	if (r >= 0)
		r = take_uses(c, service, draft);
	if (r < 0)
		return r;
	if (service->place == PLAN_NONE) {
		if (line_take(&c->line, PLAN_SERVICE, &service->place) < 0)
			return no_memory(c);
		service->resource = resource_ref(resource);
		c->folded_names += !name_is_plain(resource->name);
		r = mesh_add_service(c, service);
		if (r < 0)
			return r;
	}
	discard_draft(service);
	service->draft = TAKE_PTR(draft);
	mark(&c->services_unfinished, &service->unfinished);
	return 0;
}

struct local_service *service_free(struct compiler *c, struct local_service *service)
{
	if (!service)
		return NULL;
	discard_draft(service);
	release_uses(c, &service->uses);
	list_remove(&service->marked);
	list_remove(&service->unfinished);
	resource_unref(service->resource);
	table_remove(&c->services, &service->node);
	free(service);
	return NULL;
}

static int compile_service(struct compiler *c, struct local_service *service)
{
	const struct resource *named = resources_get(c->input->resources, service->name);
	const struct resource *resource = named && named->kind == RESOURCE_VIRTUAL_SERVICE ? named : NULL;
	int r;

	if (is_planned(service, resource)) {
		r = plan_it(c, service, resource);
		if (r < 0)
			return r;
	} else {
		unplan(c, service);
	}
	list_remove(&service->marked);
	if (!resource && !service->wanted && !service->exposed)
		service_free(c, service);
	return 0;
}

static int service_order(const void *a, const void *b)
{
	return strcmp((*(struct local_service *const *)a)->name, (*(struct local_service *const *)b)->name);
}

/* In order of name, so that places are those of another compiler that was told the same; as errors are. */
int compile_services(struct compiler *c)
{
	_cleanup_free_ struct local_service **services = NULL;
	size_t count = 0;
	int r = 0;

	list_for_each(it, &c->services_marked)
		count++;
	services = calloc(count + 1, sizeof(struct local_service *));
	if (!services)
		return no_memory(c);
	count = 0;
	list_for_each(it, &c->services_marked)
		services[count++] = container_of(it, struct local_service, marked);
	if (count > 1)
		qsort(services, count, sizeof(struct local_service *), service_order);
	for (size_t i = 0; r >= 0 && i < count; i++)
		r = compile_service(c, services[i]);
	return r;
}

/* --- families, and what became of drafts --------------------------------------------------------------------------------- */

static struct local_target *use_of(const struct local_service *service, uint32_t place)
{
	for (const struct use *use = service->uses; use; use = use->next)
		if (use->target->place == place)
			return use->target;
	return NULL;
}

/* Of the endpoints that its routes can reach; both where there is none. */
static void find_families(const struct local_service *service, const struct plan_service *planned, bool *ret_v4, bool *ret_v6)
{
	bool v4 = false, v6 = false;

	for (size_t p = 0; p < planned->port_count; p++) {
		const struct plan_port *port = &planned->ports[p];

		for (size_t t = 0; !port->closed && t < port->target_count; t++) {
			const struct local_target *target =
				port->targets[t].weight && port->targets[t].target != PLAN_NONE ? use_of(service, port->targets[t].target) : NULL;

			v4 |= target && target->v4;
			v6 |= target && target->v6;
		}
	}
	*ret_v4 = v4 || !v6;
	*ret_v6 = v6 || !v4;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_port(const struct plan_port *a, const struct plan_port *b)
{
	if (a->port != b->port || a->closed != b->closed || a->flags != b->flags || a->target_count != b->target_count ||
	    !same_text(a->route, b->route) || !same_text(a->note, b->note))
		return false;
	for (size_t t = 0; t < a->target_count; t++)
		if (a->targets[t].target != b->targets[t].target || a->targets[t].weight != b->targets[t].weight)
			return false;
	return true;
}

static bool same_service(const struct plan_service *a, const struct plan_service *b)
{
	if (a->port_count != b->port_count || a->no_port != b->no_port || a->v4 != b->v4 || a->v6 != b->v6 ||
	    !same_text(a->twin, b->twin) || memcmp(&a->vip4, &b->vip4, sizeof(a->vip4)) != 0 ||
	    memcmp(&a->vip6, &b->vip6, sizeof(a->vip6)) != 0)
		return false;
	for (size_t p = 0; p < a->port_count; p++)
		if (!same_port(&a->ports[p], &b->ports[p]))
			return false;
	return true;
}

/* What a client policy looks at: ports, and those of targets. */
static bool same_for_callers(const struct plan_service *a, const struct plan_service *b)
{
	if (a->port_count != b->port_count)
		return false;
	for (size_t p = 0; p < a->port_count; p++) {
		const struct plan_port *x = &a->ports[p], *y = &b->ports[p];

		if (x->port != y->port || x->target_count != y->target_count)
			return false;
		for (size_t t = 0; t < x->target_count; t++)
			if (x->targets[t].target != y->targets[t].target)
				return false;
	}
	return true;
}

static int finish_service(struct compiler *c, struct local_service *service)
{
	struct plan_service *before = (struct plan_service *)PLANNED(c, PLAN_SERVICE, service->place);
	bool v4, v6;

	find_families(service, service->draft ?: before, &v4, &v6);
	if (!service->draft && (before->v4 != v4 || before->v6 != v6)) {
		service->draft = plan_service_copy(before);
		if (!service->draft)
			return no_memory(c);
	}
	if (!service->draft)
		return 0;
	service->draft->v4 = v4;
	service->draft->v6 = v6;
	if (before && before->twin && !service->draft->twin) { /* plan_names.c finds out whether it still is */
		service->draft->twin = strdup(before->twin);
		if (!service->draft->twin)
			return no_memory(c);
	}
	if (before && same_service(before, service->draft)) {
		discard_draft(service);
		return 0;
	}
	if (!before || !same_for_callers(before, service->draft))
		mark_callers_of(c, service);
	line_set(&c->line, PLAN_SERVICE, service->place, TAKE_PTR(service->draft));
	return 0;
}

int finish_services(struct compiler *c)
{
	list_for_each_safe(it, &c->services_unfinished) {
		int r = finish_service(c, container_of(it, struct local_service, unfinished));

		if (r < 0)
			return r;
		list_remove(it);
	}
	return 0;
}
