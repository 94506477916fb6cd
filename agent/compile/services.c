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
	_cleanup_json_ json_t *spec = resource_spec(provider);
	const size_t count = json_path_count(spec, "listeners");

	if (count > MAX_SERVICE_PORTS)
		return error_set(c->err, -E2BIG, "'%s' has %zu listeners, as provider of '%s' it may have %d",
				 provider->full_name, count, service->name, MAX_SERVICE_PORTS);
	service->ports = calloc(MAX(count, 1u), sizeof(*service->ports));
	return service->ports ? 0 : no_memory(c);
}

static int weigh(struct compiler *c, const struct resource *node, uint16_t node_port, uint16_t weight, struct plan_weighted *ret_weighted)
{
	struct local_target *target = NULL;
	int r = node ? target_get(c, node, node_port, &target) : -ENOENT;

	if (r < 0 && r != -ENOENT)
		return no_memory(c);
	*ret_weighted = (struct plan_weighted){ target ? target->place : PLAN_NONE, weight };
	return 0;
}

/* Of a route's weightedTargets. */
static int weigh_target(struct compiler *c, const struct resource *router, const json_t *json, struct plan_weighted *ret_weighted)
{
	const uint16_t given = (uint16_t)json_path_int(json, "port", 0), weight = (uint16_t)json_path_int(json, "weight", 0);
	const struct resource *node = resources_sibling(c->input->resources, router, RESOURCE_VIRTUAL_NODE, NULL,
							json_path_string(json, "virtualNode"));

	return weigh(c, node, node ? target_meant_port(node, given) : 0, weight, ret_weighted);
}

/* Whose the HTTP ports of a service are. */
enum http_by {
	BY_REQUESTS, /* weft-proxy's, unless the service says otherwise */
	BY_CONNECTIONS, /* the kernel's */
	BY_CONNECTIONS_AND_GATEWAYS, /* likewise; and gateways, where nothing but weft-proxy decides, go by the same weights */
};

static bool is_http(const struct port_mapping *mapping)
{
	return strcmp(mapping->protocol, "http") == 0;
}

static struct plan_l7 *l7_new(size_t route_count, size_t target_count)
{
	struct plan_l7 *l7 = calloc(1, sizeof(*l7) + target_count * sizeof(*l7->targets));

	if (!l7)
		return NULL;
	l7->holders = 1;
	l7->routes = calloc(route_count + 1, sizeof(*l7->routes));
	return l7->routes ? l7 : plan_l7_unref(l7);
}

static int serve_by_node(struct compiler *c, const struct resource *node, enum http_by by, struct plan_service *service)
{
	_cleanup_json_ json_t *spec = resource_spec(node);
	const json_t *listeners = json_object_get(spec, "listeners");
	json_t *listener;
	size_t i;
	int r = service_reserve_ports(c, node, service);

	if (r < 0)
		return r;
	json_array_foreach(listeners, i, listener) {
		struct plan_port *port = &service->ports[service->port_count++];
		struct port_mapping mapping;

		port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
		port->port = mapping.port;
		port->flags = strcmp(mapping.protocol, "tcp") == 0 ? 0 : ROUTE_L7_AS_L4;
		r = weigh(c, node, mapping.port, 100, &port->targets[port->target_count++]);
		if (r < 0)
			return r;
		port->by_weights = by == BY_CONNECTIONS_AND_GATEWAYS && is_http(&mapping);
		if (by != BY_REQUESTS || !is_http(&mapping))
			continue;
		port->flags |= ROUTE_L7;
		port->l7 = l7_new(0, 1);
		if (!port->l7)
			return no_memory(c);
		port->l7->by_node = true;
		port->l7->targets[port->l7->target_count++] = port->targets[0];
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
		assert(port->target_count < MAX_ROUTE_TARGETS); /* as many as a valid route has */
		r = weigh_target(c, router, weighted, &port->targets[port->target_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_route(struct compiler *c, const struct resource *router, const struct bound_route *bound, struct plan_l7 *l7)
{
	struct plan_route *route = &l7->routes[l7->route_count++];
	json_t *weighted;
	size_t i;
	int r;

	route->resource = resource_ref(bound->route);
	json_array_foreach(bound->targets, i, weighted) {
		r = weigh_target(c, router, weighted, &l7->targets[l7->target_count++]);
		if (r < 0)
			return r;
		route->target_count++;
	}
	return 0;
}

/* A port that is closed in the kernel is so for who cannot be handed to weft-proxy. */
static int close_outside(struct compiler *c, struct plan_port *port, const char *why)
{
	_cleanup_free_ char *before = port->note;

	port->note = NULL;
	port->closed = REASON_NEEDS_PROXY;
	port->flags &= (uint8_t)~ROUTE_L7_AS_L4;
	port->target_count = 0;
	if (asprintf(&port->note, "for clients from outside: %s", why) >= 0)
		return 0;
	port->note = NULL;
	return no_memory(c);
}

/* Requests by all of the routes. */
static int serve_requests(struct compiler *c, const struct resource *router, const struct routes *routes, struct plan_port *port)
{
	size_t at = 0, route_count = 0, target_count = 0;
	struct bound_route bound;
	int r = 0;

	for (; routes_next(routes, port->port, &at, &bound); route_count++)
		target_count += json_array_size(bound.targets);
	port->flags |= ROUTE_L7;
	port->l7 = l7_new(route_count, target_count);
	if (!port->l7)
		return no_memory(c);
	for (at = 0; r == 0 && routes_next(routes, port->port, &at, &bound);)
		r = add_route(c, router, &bound, port->l7);
	return r == 0 && port->closed == REASON_NEEDS_PROXY ? close_outside(c, port, port->note) : r;
}

static int serve_by_router(struct compiler *c, const struct resource *router, enum http_by by, struct plan_service *service)
{
	_cleanup_(routes_done) struct routes routes = {};
	_cleanup_json_ json_t *spec = resource_spec(router);
	const json_t *listeners = json_object_get(spec, "listeners");
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
		if (r == 0 && by == BY_REQUESTS && is_http(&mapping))
			r = serve_requests(c, router, &routes, port);
		port->by_weights = by == BY_CONNECTIONS_AND_GATEWAYS && is_http(&mapping) && !port->closed;
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

/* Targets of the ports in the kernel, each once. */
static size_t count_rows(const struct plan_service *service, bool l4_only)
{
	uint32_t targets[MAX_SERVICE_PORTS * MAX_ROUTE_TARGETS];
	size_t count = 0, different = 0;

	for (size_t p = 0; p < service->port_count; p++)
		for (size_t t = 0; t < service->ports[p].target_count && !(l4_only && service->ports[p].l7); t++)
			targets[count++] = service->ports[p].targets[t].target;
	if (count <= MAX_SERVICE_ROWS)
		return count;
	qsort(targets, count, sizeof(*targets), index_order);
	for (size_t i = 0; i < count; i++)
		different += i == 0 || targets[i] != targets[i - 1];
	return different;
}

/* Each caller has a counter row for each different target of the service, in one stretch of MAX_SERVICE_ROWS at most. weft-proxy needs
 * none: what is too much for the kernel is closed there. */
static int check_rows(struct compiler *c, struct plan_service *service)
{
	const size_t needed = count_rows(service, true);

	if (needed > MAX_SERVICE_ROWS)
		return error_set(c->err, -E2BIG, "'%s' has %zu different targets over all its ports, it may have %d", service->name, needed,
				 MAX_SERVICE_ROWS);
	for (size_t p = service->port_count; p-- > 0 && count_rows(service, false) > MAX_SERVICE_ROWS;)
		if (service->ports[p].l7 && service->ports[p].target_count) {
			int r = close_outside(c, &service->ports[p], "too many different targets over all ports");

			if (r < 0)
				return r;
		}
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

static int draft_service(struct compiler *c, const struct resource *resource, bool for_gateways, struct plan_service *service)
{
	_cleanup_json_ json_t *spec = resource_spec(resource);
	const char *node_name = json_path_string(spec, "provider.virtualNode.virtualNodeName");
	const char *router_name = json_path_string(spec, "provider.virtualRouter.virtualRouterName");
	const struct compile_input *input = c->input;
	const enum http_by by = !virtual_service_is_l4_http(resource) ? BY_REQUESTS : for_gateways ? BY_CONNECTIONS_AND_GATEWAYS : BY_CONNECTIONS;
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
	r = node_name ? serve_by_node(c, provider, by, service) : serve_by_router(c, provider, by, service);
	if (r < 0)
		return r;
	if (service->port_count > 1)
		qsort(service->ports, service->port_count, sizeof(*service->ports), port_order);
	return check_rows(c, service);
}

/* --- which targets it names ---------------------------------------------------------------------------------------------- */

/* Whether weft-proxy reads of the target is about to be another matter. */
static void count_l7(struct compiler *c, struct local_target *target, int more)
{
	const size_t before = target->l7_uses;

	target->l7_uses += (size_t)more;
	if (!before != !target->l7_uses)
		mark(&c->units_marked, &target->unit->marked);
}

static void release_uses(struct compiler *c, struct use **uses)
{
	for (struct use *use; (use = *uses);) {
		*uses = use->next;
		list_remove(&use->link);
		if (use->l7)
			count_l7(c, use->target, -1);
		if (list_empty(&use->target->uses))
			mark(&c->units_marked, &use->target->unit->marked);
		free(use);
	}
}

static struct use *find_use(struct use *uses, uint32_t place)
{
	while (uses && uses->target->place != place)
		uses = uses->next;
	return uses;
}

static int take_use(struct compiler *c, struct local_service *service, uint32_t place, bool l7, struct use **uses)
{
	struct use *use = find_use(*uses, place);

	if (!use) {
		use = calloc(1, sizeof(*use));
		if (!use)
			return no_memory(c);
		*use = (struct use){ .service = service, .target = target_at(c, place), .next = *uses };
		list_append(&use->target->uses, &use->link);
		*uses = use;
	}
	if (l7 && !use->l7)
		count_l7(c, use->target, 1);
	use->l7 |= l7;
	return 0;
}

static int take_uses(struct compiler *c, struct local_service *service, const struct plan_service *draft)
{
	struct use *uses = NULL;
	int r = 0;

	for (size_t p = 0; p < draft->port_count; p++) {
		const struct plan_port *port = &draft->ports[p];

		for (size_t t = 0; r == 0 && t < plan_port_target_count(port); t++)
			if (plan_port_target(port, t)->target != PLAN_NONE)
				r = take_use(c, service, plan_port_target(port, t)->target, port->by_weights || t >= port->target_count, &uses);
	}
	if (r < 0) {
		release_uses(c, &uses);
		return r;
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
	int r = draft ? draft_service(c, resource, service->wanted_by_gateways, draft) : no_memory(c);

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

/* Of the endpoints that its routes can reach; both where there is none. */
static void find_families(const struct local_service *service, const struct plan_service *planned, bool *ret_v4, bool *ret_v6)
{
	bool v4 = false, v6 = false;

	for (size_t p = 0; p < planned->port_count; p++) {
		const struct plan_port *port = &planned->ports[p];

		for (size_t t = port->closed ? port->target_count : 0; t < plan_port_target_count(port); t++) {
			const struct plan_weighted *weighted = plan_port_target(port, t);
			const struct use *use = weighted->weight && weighted->target != PLAN_NONE ? find_use(service->uses, weighted->target) : NULL;

			v4 |= use && use->target->v4;
			v6 |= use && use->target->v6;
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
	return plan_same_l7(PLAN_SERVICE, (const struct plan_object *)a, (const struct plan_object *)b);
}

/* What a client policy looks at: ports, and those of targets. */
static bool same_for_callers(const struct plan_service *a, const struct plan_service *b)
{
	if (a->port_count != b->port_count)
		return false;
	for (size_t p = 0; p < a->port_count; p++) {
		const struct plan_port *x = &a->ports[p], *y = &b->ports[p];

		if (x->port != y->port || !x->l7 != !y->l7 || plan_port_target_count(x) != plan_port_target_count(y))
			return false;
		for (size_t t = 0; t < plan_port_target_count(x); t++)
			if (plan_port_target(x, t)->target != plan_port_target(y, t)->target)
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
