/* SPDX-License-Identifier: Apache-2.0 */
/* What a namespace shows: by the configuration, those listeners, clusters and hosts that its nodes and gateways have; by what was counted,
 * their numbers (view_numbers.c). All of it is made for one call, and holds the snapshot that its names are from. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/l7/view_internal.h"
#include "agent/spec/resource.h"

#define NO_LIMIT 2147483647 /* as App Mesh's proxies show it */

void *view_room(struct drawing *d, size_t count, size_t size)
{
	struct view_block *block = calloc(1, sizeof(*block) + (count + 1) * size);

	if (!block)
		return NULL;
	block->next = d->blocks;
	d->blocks = block;
	return block->data;
}

static const char *text_in(struct drawing *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NULL: no memory. */
static const char *text_in(struct drawing *d, const char *format, ...)
{
	va_list args, again;
	char *text;
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	text = length < 0 ? NULL : view_room(d, (size_t)length, 1);
	if (text)
		vsnprintf(text, (size_t)length + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}

/* --- what the configuration says ------------------------------------------------------------------------------------------ */

static int add_service(struct drawing *d, uint32_t id)
{
	const struct service *service = snapshot_service(d->snapshot, id), **place;

	if (!service)
		return 0;
	place = view_add(d->services, d->service_count);
	if (!place)
		return -ENOMEM;
	*place = service;
	return 0;
}

static int add_caller(struct drawing *d, const struct caller *caller)
{
	const struct caller **place = view_add(d->callers, d->caller_count);
	int r = place ? 0 : -ENOMEM;

	if (r == 0)
		*place = caller;
	for (size_t i = 0; r == 0 && i < caller->backend_count; i++)
		r = add_service(d, caller->backends[i]);
	return r;
}

static int add_gateway(struct drawing *d, const struct gateway *gateway)
{
	const struct gateway **place = view_add(d->gateways, d->gateway_count);
	int r = place ? 0 : -ENOMEM;

	if (r == 0)
		*place = gateway;
	for (size_t i = 0; r == 0 && i < gateway->table.routes.count; i++)
		r = add_service(d, ((const struct gateway_route *)gateway->table.routes.items[i])->id);
	return r;
}

static int add_acts(struct drawing *d)
{
	int r = 0;

	list_for_each(it, &d->l7->acts) {
		const struct act *act = container_of(it, struct act, node);
		const struct snapshot_object *caller, *gateway;

		if (act->netns_cookie != d->netns_cookie)
			continue;
		caller = snapshot_named(d->snapshot, SNAPSHOT_NODE, act->name);
		gateway = snapshot_named(d->snapshot, SNAPSHOT_GATEWAY, act->name);
		if (r == 0 && caller)
			r = add_caller(d, (const struct caller *)caller);
		if (r == 0 && gateway)
			r = add_gateway(d, (const struct gateway *)gateway);
	}
	return r;
}

static int service_order(const void *a, const void *b)
{
	const struct service *x = *(const struct service *const *)a, *y = *(const struct service *const *)b;

	return (x->object.lineage > y->object.lineage) - (x->object.lineage < y->object.lineage);
}

static int pair_order(const void *a, const void *b)
{
	const struct drawn_pair *x = a, *y = b;

	if (x->target != y->target)
		return x->target->object.lineage < y->target->object.lineage ? -1 : 1;
	return service_order(&x->service, &y->service);
}

/* In order, each once. */
static size_t sort_once(void *list, size_t count, size_t size, int (*order)(const void *, const void *))
{
	char *bytes = list;
	size_t kept = 0;

	if (count == 0)
		return 0;
	qsort(list, count, size, order);
	for (size_t i = 1; i < count; i++)
		if (order(bytes + kept * size, bytes + i * size) != 0)
			memmove(bytes + ++kept * size, bytes + i * size, size);
	return kept + 1;
}

static int add_targets_of(struct drawing *d, const struct service *service, const struct route *route)
{
	for (size_t i = 0; i < route->target_count; i++) {
		const struct target *target = snapshot_target(d->snapshot, route->targets[i].id);
		struct drawn_pair *pair = target ? view_add(d->pairs, d->pair_count) : NULL;

		if (!target)
			continue;
		if (!pair)
			return -ENOMEM;
		pair->service = service;
		pair->target = target;
	}
	return 0;
}

static int add_pairs(struct drawing *d)
{
	int r = 0;

	d->service_count = sort_once(d->services, d->service_count, sizeof(*d->services), service_order);
	for (size_t i = 0; i < d->service_count; i++)
		for (size_t p = 0; p < d->services[i]->port_count; p++) {
			const struct ordered *routes = &d->services[i]->ports[p].table.routes;

			for (size_t n = 0; r == 0 && n < routes->count; n++)
				r = add_targets_of(d, d->services[i], routes->items[n]);
		}
	d->pair_count = sort_once(d->pairs, d->pair_count, sizeof(*d->pairs), pair_order);
	return r;
}

/* --- clusters and their hosts --------------------------------------------------------------------------------------------- */

static int add_hosts(struct drawing *d, const struct target *target)
{
	for (int l = 0; l < LIST_COUNT; l++)
		for (size_t i = 0; i < target->lists[l].count; i++) {
			const struct target_endpoint *endpoint = &target->lists[l].endpoints[i];
			struct drawn_host *host;

			if (endpoint->netns_cookie && endpoint->netns_cookie != d->netns_cookie)
				continue;
			host = view_add(d->hosts, d->host_count);
			if (!host)
				return -ENOMEM;
			host->endpoint = endpoint;
			host->sum.target = target->object.lineage;
			host->sum.address = endpoint->address;
			host->sum.port = ntohs(endpoint->port);
		}
	return 0;
}

static int add_target_cluster(struct drawing *d, const struct target *target)
{
	struct drawn_cluster *cluster = view_add(d->clusters, d->cluster_count);

	if (!cluster)
		return -ENOMEM;
	cluster->target = target;
	cluster->sum.target = target->object.lineage;
	return add_hosts(d, target);
}

static int cluster_order(const void *a, const void *b)
{
	const struct sidecar_cluster *x = &((const struct drawn_cluster *)a)->sum, *y = &((const struct drawn_cluster *)b)->sum;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return (x->port > y->port) - (x->port < y->port);
}

static int add_caller_cluster(struct drawing *d, const struct caller *caller, const struct listener *listener)
{
	struct drawn_cluster *cluster = view_add(d->clusters, d->cluster_count);

	if (!cluster)
		return -ENOMEM;
	cluster->caller = caller;
	cluster->listener = listener;
	cluster->sum.target = listener ? caller->object.lineage : 0;
	cluster->sum.port = listener ? listener->port : 0;
	return 0;
}

static int add_caller_clusters(struct drawing *d, const struct caller *caller)
{
	int r = 0;

	if (!caller->drop_all || caller->audit)
		r = add_caller_cluster(d, caller, NULL);
	for (size_t i = 0; r == 0 && i < caller->listener_count; i++)
		r = add_caller_cluster(d, caller, &caller->listeners[i]);
	return r;
}

static int add_clusters(struct drawing *d)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->pair_count; i++)
		if (i == 0 || d->pairs[i].target != d->pairs[i - 1].target)
			r = add_target_cluster(d, d->pairs[i].target);
	for (size_t i = 0; r == 0 && i < d->caller_count; i++)
		r = add_caller_clusters(d, d->callers[i]);
	d->cluster_count = sort_once(d->clusters, d->cluster_count, sizeof(*d->clusters), cluster_order);
	return r;
}

static void write_host(const struct drawing *d, const struct drawn_host *from, struct l7_host_view *to)
{
	const struct endpoint *slot = from->endpoint ? l7_slot(d->l7, from->endpoint) : NULL;
	const enum health health = slot ? __atomic_load_n(&slot->health, __ATOMIC_RELAXED) : HEALTH_UNCHECKED;

	to->address = (struct l7_address){ from->sum.address, (uint16_t)from->sum.port };
	to->hostname = to->zone = "";
	to->weight = 1;
	to->failed_active_check = health >= HEALTH_DOWN;
	to->ejected = slot && outlier_is_out(slot, d->now_ns);
}

static int write_cluster(struct drawing *d, const struct drawn_cluster *from, struct l7_cluster_view *to)
{
	struct resource_name_parts name = {};

	to->hosts = &d->host_views[from->first_host];
	to->host_count = from->host_count;
	to->max_connections = to->max_pending_requests = to->max_requests = to->max_retries = NO_LIMIT;
	if (from->target) {
		to->name = from->target->cluster;
		return 0;
	}
	resource_name_split(from->caller->object.name, &name);
	if (!from->listener) {
		to->name = text_in(d, "cds_egress_%.*s_mesh-allow-all", (int)name.mesh.length, name.mesh.data);
		return to->name ? 0 : -ENOMEM;
	}
	to->name = text_in(d, "cds_ingress_%.*s_%s_http_%u", (int)name.mesh.length, name.mesh.data, name.name.data ?: "",
			   from->listener->port);
	if (from->listener->max_connections != LISTENER_UNLIMITED)
		to->max_connections = from->listener->max_connections;
	if (from->listener->max_pending != LISTENER_UNLIMITED)
		to->max_pending_requests = from->listener->max_pending;
	return to->name ? 0 : -ENOMEM;
}

static int write_clusters(struct drawing *d)
{
	int r = 0;

	d->host_views = view_room(d, d->host_count, sizeof(*d->host_views));
	d->cluster_views = view_room(d, d->cluster_count, sizeof(*d->cluster_views));
	if (!d->host_views || !d->cluster_views)
		return -ENOMEM;
	for (size_t i = 0; i < d->host_count; i++)
		write_host(d, &d->hosts[i], &d->host_views[i]);
	for (size_t i = 0; r == 0 && i < d->cluster_count; i++)
		r = write_cluster(d, &d->clusters[i], &d->cluster_views[i]);
	d->view.clusters = d->cluster_views;
	d->view.cluster_count = d->cluster_count;
	return r;
}

/* --- listeners ------------------------------------------------------------------------------------------------------------ */

static bool serves_any(const struct drawing *d)
{
	for (size_t i = 0; i < d->caller_count; i++)
		if (d->callers[i]->listener_count)
			return true;
	return false;
}

static int add_listener(struct drawing *d, enum l7_role role, uint16_t port)
{
	struct drawn_listener *listener;

	for (size_t i = 0; i < d->listener_count; i++)
		if (d->listeners[i].role == role && d->listeners[i].port == port)
			return 0;
	listener = view_add(d->listeners, d->listener_count);
	if (!listener)
		return -ENOMEM;
	*listener = (struct drawn_listener){ role, port };
	return 0;
}

/* What comes in for a node is shown only where weft-proxy serves it: else it goes past, and nothing is counted here. */
static int add_listeners(struct drawing *d)
{
	int r = 0;

	if (d->caller_count)
		r = add_listener(d, L7_OUTBOUND, 0);
	if (r == 0 && serves_any(d))
		r = add_listener(d, L7_INBOUND, 0);
	for (size_t i = 0; i < d->gateway_count; i++)
		for (size_t n = 0; r == 0 && n < d->gateways[i]->listener_count; n++)
			r = add_listener(d, L7_GATEWAY, d->gateways[i]->listeners[n].port);
	return r;
}

/* By the ports that Envoy has in App Mesh, and is known by. */
static int write_listener(struct drawing *d, const struct drawn_listener *from, struct l7_listener_view *to)
{
	static const uint16_t ports[] = { [L7_OUTBOUND] = 15001, [L7_INBOUND] = 15000, [L7_GATEWAY] = 0 };

	to->address.port = from->port ?: ports[from->role];
	ip_parse("0.0.0.0", &to->address.ip);
	to->name = text_in(d, "lds_%s_0.0.0.0_%u", from->role == L7_OUTBOUND ? "egress" : "ingress", to->address.port);
	return to->name ? 0 : -ENOMEM;
}

static int write_listeners(struct drawing *d)
{
	int r = add_listeners(d);

	if (r < 0)
		return r;
	d->listener_views = view_room(d, d->listener_count, sizeof(*d->listener_views));
	d->http_views = view_room(d, SIDECAR_SIDES, sizeof(*d->http_views));
	if (!d->listener_views || !d->http_views)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < d->listener_count; i++)
		r = write_listener(d, &d->listeners[i], &d->listener_views[i]);
	if (d->caller_count)
		d->http_views[d->view.http_count++].prefix = "egress";
	if (serves_any(d) || d->gateway_count)
		d->http_views[d->view.http_count++].prefix = "ingress";
	d->view.listeners = d->listener_views;
	d->view.listener_count = d->listener_count;
	d->view.https = d->http_views;
	return r;
}

/* --- routes, as weft has them ---------------------------------------------------------------------------------------------- */

static json_t *domains_of(const struct service *service, uint16_t port)
{
	char with_port[16];
	_cleanup_json_ json_t *name = json_stringn(service->host.data, service->host.length);

	snprintf(with_port, sizeof(with_port), ":%u", port);
	return json_pack("[O, s+]", name, service->host.data, with_port);
}

static json_t *routes_of(const json_t *port)
{
	const json_t *routes = json_object_get(port, "routes"), *one;
	json_t *list = json_array();

	if (!routes) { /* the provider is a virtual node */
		json_array_append_new(list, json_pack("{s:O}", "virtualNode", json_object_get(port, "virtualNode")));
		return list;
	}
	for (size_t i = 0; (one = json_array_get(routes, i)); i++)
		json_array_append_new(list, json_pack("{s:O, s:O}", "name", json_object_get(one, "name"), "spec",
						      json_object_get(one, "spec")));
	return list;
}

/* The list of virtual hosts of the table with that name, made where there is none. NULL: no memory. */
static json_t *table_of(struct drawing *d, struct l7_route_config_view *tables, const char *side, uint16_t port)
{
	const char *name = text_in(d, "rds_%s_http_%u", side, port);
	struct l7_route_config_view *to = &tables[d->view.route_count];

	for (size_t i = 0; name && i < d->view.route_count; i++)
		if (!strcmp(tables[i].name, name))
			return (json_t *)tables[i].virtual_hosts;
	to->name = name;
	to->virtual_hosts = name ? json_array() : NULL;
	d->view.route_count += to->virtual_hosts != NULL;
	return (json_t *)to->virtual_hosts;
}

static int write_service_routes(struct drawing *d, struct l7_route_config_view *tables, const struct service *service)
{
	_cleanup_json_ json_t *text = json_loads(service->object.text, 0, NULL);
	const json_t *ports = json_object_get(text, "ports"), *port;

	for (size_t i = 0; (port = json_array_get(ports, i)); i++) {
		const uint16_t number = (uint16_t)json_path_int(port, "port", 0);
		json_t *hosts = table_of(d, tables, "egress", number);

		if (!hosts || json_array_append_new(hosts, json_pack("{s:s, s:o, s:o}", "name", service->host.data, "domains",
								    domains_of(service, number), "routes", routes_of(port))) < 0)
			return -ENOMEM;
	}
	return text ? 0 : -ENOMEM;
}

static int write_gateway_routes(struct drawing *d, struct l7_route_config_view *tables, const struct gateway *gateway)
{
	_cleanup_json_ json_t *text = json_loads(gateway->object.text, 0, NULL);
	json_t *routes = json_object_get(text, "routes");

	for (size_t i = 0; i < gateway->listener_count; i++) {
		json_t *hosts = table_of(d, tables, "ingress", gateway->listeners[i].port);

		if (!hosts || json_array_append_new(hosts, json_pack("{s:s, s:[s], s:O*}", "name", gateway->object.name, "domains", "*",
								    "routes", routes)) < 0)
			return -ENOMEM;
	}
	return text ? 0 : -ENOMEM;
}

static int write_routes(struct drawing *d)
{
	struct l7_route_config_view *tables;
	size_t most = 0;
	int r = 0;

	for (size_t i = 0; i < d->service_count; i++)
		most += d->services[i]->port_count;
	for (size_t i = 0; i < d->gateway_count; i++)
		most += d->gateways[i]->listener_count;
	tables = view_room(d, most, sizeof(*tables));
	if (!tables)
		return -ENOMEM;
	d->view.routes = tables;
	for (size_t i = 0; r == 0 && i < d->service_count; i++)
		r = write_service_routes(d, tables, d->services[i]);
	for (size_t i = 0; r == 0 && i < d->gateway_count; i++)
		r = write_gateway_routes(d, tables, d->gateways[i]);
	return r;
}

/* --- the whole ------------------------------------------------------------------------------------------------------------ */

/* Of the process, which is the node's. */
static void write_memory(struct l7_server_stats *server)
{
	const struct mallinfo2 info = mallinfo2();
	_cleanup_fclose_ FILE *file = fopen("/proc/self/statm", "re");
	unsigned long long pages;

	server->memory_allocated = info.uordblks + info.hblkhd;
	server->memory_heap_size = info.arena + info.hblkhd;
	if (file && fscanf(file, "%*u %llu", &pages) == 1)
		server->memory_physical_size = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int draw_numbers(struct drawing *d)
{
	int r = add_acts(d);

	if (r == 0)
		r = add_pairs(d);
	if (r == 0)
		r = add_clusters(d);
	if (r == 0)
		r = view_sum(d);
	if (r == 0)
		r = write_clusters(d);
	if (r == 0)
		r = write_listeners(d);
	if (r == 0)
		r = view_write_numbers(d);
	write_memory(&d->view.server);
	return r;
}

static enum l7_server_state state_of(const struct drawing *d, const char *name)
{
	if (d->l7->state == L7_DRAINS)
		return L7_SERVER_DRAINING;
	if (snapshot_named(d->snapshot, SNAPSHOT_NODE, name) || snapshot_named(d->snapshot, SNAPSHOT_GATEWAY, name))
		return L7_SERVER_LIVE;
	return snapshot_generation(d->snapshot) ? L7_SERVER_INITIALIZING : L7_SERVER_PRE_INITIALIZING;
}

static int draw_server(struct drawing *d, const char *name)
{
	struct l7_stats_view *view = &d->view;
	struct l7_server_stats *server = &view->server;
	struct resource_name_parts parts = {};

	resource_name_split(name, &parts);
	view->version = WEFT_VERSION;
	view->node_id = text_in(d, "%s", name);
	view->mesh = text_in(d, "%.*s", (int)parts.mesh.length, parts.mesh.data);
	view->node_kind = span_equal(parts.kind, SPAN("virtualGateway")) ? "VirtualGateway" : "VirtualNode";
	view->node = text_in(d, "%s", parts.name.data ?: "");
	view->state = state_of(d, name);
	view->uptime_s = (d->now_ns - MIN(d->sidecar->since_ns, d->now_ns)) / NSEC_PER_SEC;
	view->concurrency = d->l7->worker_count;
	l7_stats_none(server);
	l7_stats_none(&view->mesh_stats);
	server->live = view->state == L7_SERVER_LIVE;
	server->state = view->state;
	server->uptime_s = view->uptime_s;
	server->concurrency = view->concurrency;
	return view->node_id && view->mesh && view->node ? 0 : -ENOMEM;
}

static const struct sidecar *sidecar_at(const struct l7 *l7, uint64_t netns_cookie)
{
	list_for_each(it, &l7->places) {
		const struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie == netns_cookie)
			return place->sidecar;
	}
	return NULL;
}

static const char *first_name(const struct l7 *l7, uint64_t netns_cookie)
{
	list_for_each(it, &l7->acts) {
		const struct act *act = container_of(it, struct act, node);

		if (act->netns_cookie == netns_cookie)
			return act->name;
	}
	return NULL;
}

struct l7_stats_view *l7_view(const struct l7 *l7, uint64_t netns_cookie, unsigned int parts)
{
	const struct sidecar *sidecar = sidecar_at(l7, netns_cookie);
	const char *name = first_name(l7, netns_cookie);
	struct drawing *d = sidecar && name ? calloc(1, sizeof(*d)) : NULL;
	int r;

	if (!d)
		return NULL;
	d->l7 = l7;
	d->sidecar = sidecar;
	d->netns_cookie = netns_cookie;
	d->now_ns = time_now_ns();
	d->snapshot = snapshot_ref(l7->snapshot);
	r = draw_server(d, name);
	if (r == 0 && parts)
		r = draw_numbers(d);
	if (r == 0 && parts & L7_VIEW_ROUTES)
		r = write_routes(d);
	return r < 0 ? l7_view_free(&d->view) : &d->view;
}

struct l7_stats_view *l7_view_free(const struct l7_stats_view *view)
{
	struct drawing *d = container_of(view, struct drawing, view);

	if (!view)
		return NULL;
	for (size_t i = 0; i < d->view.route_count; i++)
		json_decref((json_t *)d->view.routes[i].virtual_hosts);
	while (d->blocks) {
		struct view_block *next = d->blocks->next;

		free(d->blocks);
		d->blocks = next;
	}
	free(d->callers);
	free(d->gateways);
	free(d->services);
	free(d->pairs);
	free(d->clusters);
	free(d->hosts);
	free(d->listeners);
	snapshot_unref(d->snapshot);
	free(d);
	return NULL;
}
