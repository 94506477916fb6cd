/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual gateways as callers: what their routes name are their backends, without being listed anywhere else. Of HTTP/2, gRPC and TLS
 * nothing is planned, for weft-proxy does not speak them yet. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "base/cleanup.h"

struct gather {
	struct gateway_routes routes;
	size_t capacity;
	int r;
};

static void gather_route(const struct resource *from, void *arg)
{
	struct gather *g = arg;
	_cleanup_json_ json_t *spec = g->r == 0 && from->kind == RESOURCE_GATEWAY_ROUTE ? resource_spec(from) : NULL;

	if (!json_object_get(spec, "httpRoute"))
		return;
	if (g->routes.count == g->capacity) {
		const size_t capacity = g->capacity ? 2 * g->capacity : 8;
		struct parsed_route *list = reallocarray(g->routes.list, capacity, sizeof(*list));

		if (!list) {
			g->r = -ENOMEM;
			return;
		}
		g->routes.list = list;
		g->capacity = capacity;
	}
	g->routes.list[g->routes.count++] = (struct parsed_route){ from, TAKE_PTR(spec) };
}

static int name_order(const void *a, const void *b)
{
	return strcmp(((const struct parsed_route *)a)->resource->name, ((const struct parsed_route *)b)->resource->name);
}

int gateway_routes_of(const struct resources *resources, const struct resource *gateway, struct gateway_routes *ret_routes)
{
	struct gather g = {};

	resources_referrers(resources, gateway->full_name, gather_route, &g);
	if (g.r < 0) {
		gateway_routes_done(&g.routes);
		return g.r;
	}
	if (g.routes.count > 1)
		qsort(g.routes.list, g.routes.count, sizeof(*g.routes.list), name_order);
	*ret_routes = g.routes;
	return 0;
}

void gateway_routes_done(struct gateway_routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		json_decref(routes->list[i].spec);
	free(routes->list);
	*routes = (struct gateway_routes){};
}

const char *gateway_route_service(const json_t *spec)
{
	return json_path_string(spec, "httpRoute.action.target.virtualService.virtualServiceName");
}

static int plan_listeners(const struct compiler *c, const struct resource *gateway, struct plan_node *node)
{
	_cleanup_json_ json_t *spec = resource_spec(gateway);
	const json_t *listeners = json_object_get(spec, "listeners");
	json_t *listener;
	size_t i;

	node->listeners = calloc(json_array_size(listeners) + 1, sizeof(*node->listeners));
	if (!node->listeners)
		return -ENOMEM;
	json_array_foreach(listeners, i, listener) {
		struct port_mapping mapping;

		port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
		if (strcmp(mapping.protocol, "http") == 0 && !listener_needs_tls(listener, &mapping))
			node->listeners[node->listener_count++] = (struct plan_listener){
				.port = mapping.port,
				.pool = json_incref((json_t *)listener_pool(listener, c->input->default_pool)),
			};
	}
	return 0;
}

int gateway_plan(struct compiler *c, const struct resource *gateway, const struct gateway_routes *routes, struct local_mesh *mesh,
		 struct plan_node *node)
{
	if (plan_listeners(c, gateway, node) < 0)
		return no_memory(c);
	node->gateway = true;
	node->routes = calloc(routes->count + 1, sizeof(*node->routes));
	if (!node->routes)
		return no_memory(c);
	for (size_t i = 0; i < routes->count; i++) {
		const struct parsed_route *route = &routes->list[i];
		struct local_service *service = NULL;
		int r = backend_service(c, route->resource, mesh, gateway_route_service(route->spec), &service);

		if (r < 0 && r != -ENOENT)
			return r;
		node->routes[node->route_count++] = (struct plan_gateway_route){
			.resource = resource_ref(route->resource),
			.service = service ? service->place : PLAN_NONE,
			.port = (uint16_t)json_path_int(route->spec, "httpRoute.action.target.port", 0),
		};
	}
	return 0;
}
