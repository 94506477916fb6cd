/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of a snapshot from the JSON that weftd sends. It comes from our own agent, but perhaps one of another build: whatever is not as
 * it should be is refused by name, and the snapshot that was there stays. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/snapshot_internal.h"
#include "agent/spec/kind.h"
#include "agent/spec/model.h"
#include "agent/spec/resource.h"
#include "base/cleanup.h"

static int bad(struct error *err, const char *field, const char *what)
{
	return error_set_field(err, -EBADMSG, field, "%s", what);
}

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

static int name_read(const json_t *json, char **ret_name, struct error *err)
{
	const char *name = json_path_string(json, "name");

	if (!name)
		return bad(err, "name", "is no text");
	*ret_name = strdup(name);
	return *ret_name ? 0 : no_memory(err);
}

static int port_read(const json_t *json, uint16_t *ret_port, struct error *err)
{
	const int64_t port = json_path_int(json, "port", 0);

	if (port < 1 || port > UINT16_MAX)
		return bad(err, "port", "is no port");
	*ret_port = (uint16_t)port;
	return 0;
}

/* An id, or null for nothing. */
static int id_read(const json_t *json, const char *field, uint32_t *ret_id, struct error *err)
{
	if (!json_is_null(json) && (!json_is_integer(json) || json_integer_value(json) < 1 || json_integer_value(json) > UINT32_MAX))
		return bad(err, field, "is no id");
	*ret_id = (uint32_t)json_integer_value(json);
	return 0;
}

/* A member that is not there is 0. */
static int number_read(const json_t *json, const char *field, int64_t max, uint64_t *ret_number, struct error *err)
{
	const json_t *number = json_object_get(json, field);

	if (number && (!json_is_integer(number) || json_integer_value(number) < 0 || json_integer_value(number) > max))
		return bad(err, field, "is no number, or out of range");
	*ret_number = (uint64_t)json_integer_value(number);
	return 0;
}

static bool has_null(const json_t *json)
{
	const char *key;
	json_t *one;
	size_t i;

	json_object_foreach((json_t *)json, key, one)
		if (has_null(one))
			return true;
	json_array_foreach(json, i, one)
		if (has_null(one))
			return true;
	return json_is_null(json);
}

/* As weftd has checked it, and without nulls: what is made of it relies on that. */
static int spec_check(const json_t *spec, const char *shape, const struct kind_rules *rules, struct error *err)
{
	int r = spec ? shape_validate(shape_find(shape), spec, err) : bad(err, "spec", "is missing");

	if (r == 0 && has_null(spec)) /* no deeper than its shape */
		r = bad(err, "spec", "has a null");
	if (r == 0)
		r = rules->check(spec, err);
	return r == -EINVAL ? err->code = -EBADMSG : r;
}

/* --- services ------------------------------------------------------------------------------------------------------------ */

static void service_free(struct snapshot_object *object)
{
	struct service *service = (struct service *)object;

	if (!service)
		return;
	for (size_t i = 0; i < service->port_count; i++)
		route_table_done(&service->ports[i].table);
	free(service->ports);
	free(service->object.name);
	free(service);
}

static int route_read(const json_t *json, struct service_port *port, struct error *err)
{
	const json_t *targets = json_object_get(json, "targets");
	const char *name = json_path_string(json, "name");
	struct route *route;
	int r = 0;

	if (!name)
		return bad(err, "routes", "one has no name");
	r = spec_check(json_object_get(json, "spec"), "RouteSpec", &route_rules, err);
	if (r < 0)
		return r;
	r = route_new(name, json_object_get(json, "spec"), &route, err);
	if (r < 0)
		return r == -EINVAL ? err->code = -EBADMSG : no_memory(err);
	if (json_array_size(targets) != route->target_count)
		r = bad(err, "targets", "are not as many as weightedTargets");
	for (size_t i = 0; r == 0 && i < route->target_count; i++)
		r = id_read(json_array_get(targets, i), "targets", &route->targets[i].id, err);
	if (r == 0 && route_table_add(&port->table, route) < 0)
		r = no_memory(err);
	if (r < 0)
		route_free(route);
	return r;
}

static int node_route_read(const json_t *json, struct service_port *port, struct error *err)
{
	const char *node = json_path_string(json, "virtualNode");
	struct route *route;
	int r;

	if (!node)
		return bad(err, "virtualNode", "is no text");
	if (route_new_to_node(node, 0, &route) < 0)
		return no_memory(err);
	r = id_read(json_object_get(json, "node"), "node", &route->targets[0].id, err);
	if (r == 0 && route_table_add(&port->table, route) < 0)
		r = no_memory(err);
	if (r < 0)
		route_free(route);
	return r;
}

/* By the kernel's weights, for gateways. */
static int weights_read(const json_t *json, const json_t *weighted, struct service_port *port, struct error *err)
{
	struct route *route;
	int r = 0;

	if (route_new_by_weights(json_path_string(json, "route") ?: "", json_array_size(weighted), &route) < 0)
		return no_memory(err);
	for (size_t i = 0; r == 0 && i < route->target_count; i++) {
		const json_t *one = json_array_get(weighted, i);
		const char *node = json_path_string(one, "virtualNode");
		uint64_t weight;

		r = node ? number_read(one, "weight", UINT16_MAX, &weight, err) : bad(err, "virtualNode", "is no text");
		r = r ?: id_read(json_object_get(one, "node"), "node", &route->targets[i].id, err);
		if (r == 0 && route_target_set(route, i, node, 0, (uint32_t)weight) < 0)
			r = no_memory(err);
	}
	if (r == 0 && route_table_add(&port->table, route) < 0)
		r = no_memory(err);
	if (r < 0)
		route_free(route);
	port->for_gateways = true;
	return r;
}

static int service_port_read(const json_t *json, struct service_port *port, struct error *err)
{
	const json_t *routes = json_object_get(json, "routes"), *weighted = json_object_get(json, "weighted");
	json_t *one;
	size_t i;
	int r = port_read(json, &port->port, err);

	if (r < 0)
		return r;
	if (weighted)
		return weights_read(json, weighted, port, err);
	if (!routes)
		return node_route_read(json, port, err);
	json_array_foreach(routes, i, one) {
		r = route_read(one, port, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int service_fill(const json_t *json, struct service *service, struct error *err)
{
	const json_t *ports = json_object_get(json, "ports");
	struct resource_name_parts parts;
	json_t *one;
	size_t i;
	int r = name_read(json, &service->object.name, err);

	if (r < 0)
		return r;
	if (!resource_name_split(service->object.name, &parts) || !span_equal(parts.kind, SPAN("virtualService")))
		return bad(err, "name", "is not that of a virtual service");
	service->host = parts.name;
	service->ports = calloc(MAX(json_array_size(ports), 1u), sizeof(*service->ports));
	if (!service->ports)
		return no_memory(err);
	json_array_foreach(ports, i, one) {
		service->port_count++;
		r = service_port_read(one, &service->ports[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int service_read(const json_t *json, struct snapshot_object **ret_object, struct error *err)
{
	struct service *service = calloc(1, sizeof(*service));
	int r = service ? service_fill(json, service, err) : no_memory(err);

	if (r < 0)
		service_free(&service->object);
	else
		*ret_object = &service->object;
	return r;
}

/* --- targets ------------------------------------------------------------------------------------------------------------- */

static void target_free(struct snapshot_object *object)
{
	struct target *target = (struct target *)object;

	if (!target)
		return;
	for (size_t i = 0; i < LIST_COUNT; i++) {
		free(target->lists[i].endpoints);
		free(target->lists[i].zones);
	}
	free(target->virtual_node);
	free(target->cluster);
	free(target->object.name);
	free(target);
}

static int endpoint_read(const json_t *json, struct target_endpoint *endpoint, struct error *err)
{
	const char *address = json_path_string(json, "address");
	uint64_t slot, incarnation, run;
	uint16_t port;
	int r;

	if (!address || ip_parse(address, &endpoint->address) < 0)
		return bad(err, "address", "is no address");
	r = port_read(json, &port, err);
	if (r < 0)
		return r;
	r = number_read(json, "slot", INT32_MAX, &slot, err);
	r = r ?: number_read(json, "incarnation", UINT32_MAX, &incarnation, err);
	r = r ?: number_read(json, "run", MAX_TARGET_ZONES - 1, &run, err);
	r = r ?: number_read(json, "netns", INT64_MAX, &endpoint->netns_cookie, err);
	if (r < 0)
		return r;
	endpoint->port = htons(port);
	endpoint->slot = (uint32_t)slot;
	endpoint->incarnation = (uint32_t)incarnation;
	endpoint->run = (uint16_t)run;
	ip_port_format(&endpoint->address, endpoint->port, endpoint->text);
	return 0;
}

/* Those of one family, in their order, in as much memory as they need: a node may know many thousand targets, most with one endpoint. */
static int list_fill(const struct target_endpoint *all, size_t count, bool v4, struct target_list *list, struct error *err)
{
	size_t of_family = 0;

	for (size_t i = 0; i < count; i++)
		of_family += ip_is_v4(&all[i].address) == v4;
	if (of_family == 0)
		return 0;
	list->endpoints = calloc(of_family, sizeof(*list->endpoints));
	if (!list->endpoints)
		return no_memory(err);
	for (size_t i = 0; i < count; i++)
		if (ip_is_v4(&all[i].address) == v4)
			list->endpoints[list->count++] = all[i];
	return 0;
}

static int endpoints_read(const json_t *json, struct target *target, struct error *err)
{
	const size_t count = json_array_size(json);
	_cleanup_free_ struct target_endpoint *all = calloc(count + 1, sizeof(*all));
	json_t *one;
	size_t i;
	int r = all ? 0 : no_memory(err);

	json_array_foreach(json, i, one) {
		if (r < 0)
			return r;
		r = endpoint_read(one, &all[i], err);
	}
	r = r ?: list_fill(all, count, true, &target->lists[LIST_V4], err);
	return r ?: list_fill(all, count, false, &target->lists[LIST_V6], err);
}

/* The runs are the list's endpoints one after the other, and every draw leads to one of them: a list that they do not cover exactly would
 * be read beyond its end. */
static int zones_read(const json_t *json, struct target_list *list, struct error *err)
{
	const size_t zones = json_array_size(json);
	uint64_t covered = 0;
	int64_t last = 0;

	if (zones > MAX_TARGET_ZONES)
		return bad(err, "zones", "are too many");
	list->zones = zones ? calloc(zones, sizeof(*list->zones)) : NULL;
	if (zones && !list->zones)
		return no_memory(err);
	for (size_t i = 0; i < zones; i++) {
		const json_t *one = json_array_get(json, i);
		const int64_t count = json_path_int(one, "count", -1), below = json_path_int(one, "below", -1);

		if (count < 0 || count > UINT32_MAX || below < last || below > SHARE_ALL)
			return bad(err, "zones", "count or below is out of range");
		list->zones[i] = (struct zone_run){ (uint32_t)count, (uint32_t)below };
		last = below;
		for (const uint64_t end = covered + (uint64_t)count; covered < end; covered++)
			if (covered == list->count || list->endpoints[covered].run != i)
				return bad(err, "zones", "are not those of the endpoints");
	}
	if (zones && (covered != list->count || last != SHARE_ALL))
		return bad(err, "zones", "do not cover all endpoints and draws");
	for (size_t i = 0; zones == 0 && i < list->count; i++)
		if (list->endpoints[i].run)
			return bad(err, "run", "is none of the zones");
	list->zone_count = (uint8_t)zones;
	return 0;
}

static int cluster_name(struct target *target, struct error *err)
{
	struct resource_name_parts parts;

	if (!resource_name_split(target->object.name, &parts))
		return bad(err, "name", "is not that of a listener");
	if (asprintf(&target->cluster, "cds_egress_%.*s_%s_http_%u", (int)parts.mesh.length, parts.mesh.data, target->virtual_node,
		     target->port) < 0) {
		target->cluster = NULL;
		return no_memory(err);
	}
	return 0;
}

static int target_fill(const json_t *json, struct target *target, struct error *err)
{
	const json_t *outlier = json_object_get(json, "outlier"), *zones = json_object_get(json, "zones");
	const char *node = json_path_string(json, "virtualNode");
	uint64_t panic_pct, max_errors, max_ejection_pct;
	int r = name_read(json, &target->object.name, err);

	r = r ?: port_read(json, &target->port, err);
	r = r ?: number_read(json, "panicPct", 100, &panic_pct, err);
	r = r ?: number_read(outlier, "maxErrors", UINT32_MAX, &max_errors, err);
	r = r ?: number_read(outlier, "intervalNs", INT64_MAX, &target->interval_ns, err);
	r = r ?: number_read(outlier, "baseEjectionNs", INT64_MAX / 2, &target->base_ejection_ns, err);
	r = r ?: number_read(outlier, "maxEjectionPct", 100, &max_ejection_pct, err);
	if (r < 0)
		return r;
	if (!node)
		return bad(err, "virtualNode", "is no text");
	target->virtual_node = strdup(node);
	if (!target->virtual_node)
		return no_memory(err);
	r = cluster_name(target, err);
	if (r < 0)
		return r;
	target->needs_tls = json_path_bool(json, "needsTls", false);
	target->panic_pct = (uint16_t)panic_pct;
	target->timeouts = route_timeouts_read(json_object_get(json, "timeout"));
	target->max_errors = (uint32_t)max_errors;
	target->max_ejection_pct = (uint8_t)max_ejection_pct;
	r = endpoints_read(json_object_get(json, "endpoints"), target, err);
	for (size_t l = 0; r == 0 && l < LIST_COUNT; l++)
		r = zones_read(json_array_get(zones, l), &target->lists[l], err);
	return r;
}

static int target_read(const json_t *json, struct snapshot_object **ret_object, struct error *err)
{
	struct target *target = calloc(1, sizeof(*target));
	int r = target ? target_fill(json, target, err) : no_memory(err);

	if (r < 0)
		target_free(&target->object);
	else
		*ret_object = &target->object;
	return r;
}

/* --- callers ------------------------------------------------------------------------------------------------------------- */

static void caller_free(struct snapshot_object *object)
{
	struct caller *caller = (struct caller *)object;

	if (!caller)
		return;
	json_decref(caller->logging);
	free(caller->listeners);
	free(caller->backends);
	free(caller->object.name);
	free(caller);
}

/* A copy: the message's own is the main thread's. */
static int logging_read(const json_t *json, json_t **ret_logging)
{
	const json_t *logging = json_object_get(json, "logging");

	if (!json_is_object(logging))
		return 0;
	*ret_logging = json_deep_copy(logging);
	return *ret_logging ? 0 : -ENOMEM;
}

static int limit_read(const json_t *pool, const char *member, uint32_t *ret_limit, struct error *err)
{
	const int64_t limit = json_path_int(pool, member, LISTENER_UNLIMITED);

	if (limit < 1 || limit > UINT32_MAX)
		return bad(err, member, "is out of range");
	*ret_limit = (uint32_t)limit;
	return 0;
}

static int listeners_read(const json_t *json, struct listener **ret_listeners, size_t *ret_count, struct error *err)
{
	struct listener *listeners = calloc(json_array_size(json) + 1, sizeof(*listeners));
	json_t *one;
	size_t i;

	if (!listeners)
		return no_memory(err);
	*ret_listeners = listeners;
	json_array_foreach(json, i, one) {
		struct listener *listener = &listeners[i];
		const json_t *pool = json_path(one, "connectionPool.http");
		int r = port_read(one, &listener->port, err);

		listener->timeouts = route_timeouts_read(json_object_get(one, "timeout"));
		r = r ?: limit_read(pool, "maxConnections", &listener->max_connections, err);
		r = r ?: limit_read(pool, "maxPendingRequests", &listener->max_pending, err);
		if (r < 0)
			return r;
	}
	*ret_count = json_array_size(json);
	return 0;
}

static int caller_fill(const json_t *json, struct caller *caller, struct error *err)
{
	const json_t *backends = json_object_get(json, "backends");
	json_t *one;
	size_t i;
	int r = name_read(json, &caller->object.name, err);

	if (r < 0)
		return r;
	caller->audit = json_path_bool(json, "audit", false);
	caller->drop_all = json_path_bool(json, "dropAll", false);
	caller->backends = calloc(json_array_size(backends) + 1, sizeof(*caller->backends));
	if (!caller->backends || logging_read(json, &caller->logging) < 0)
		return no_memory(err);
	json_array_foreach(backends, i, one) {
		r = id_read(one, "backends", &caller->backends[i], err);
		if (r < 0)
			return r;
	}
	caller->backend_count = json_array_size(backends);
	return listeners_read(json_object_get(json, "listeners"), &caller->listeners, &caller->listener_count, err);
}

static int caller_read(const json_t *json, struct snapshot_object **ret_object, struct error *err)
{
	struct caller *caller = calloc(1, sizeof(*caller));
	int r = caller ? caller_fill(json, caller, err) : no_memory(err);

	if (r < 0)
		caller_free(&caller->object);
	else
		*ret_object = &caller->object;
	return r;
}

/* --- gateways ------------------------------------------------------------------------------------------------------------ */

static void gateway_free(struct snapshot_object *object)
{
	struct gateway *gateway = (struct gateway *)object;

	if (!gateway)
		return;
	gateway_table_done(&gateway->table);
	json_decref(gateway->logging);
	free(gateway->listeners);
	free(gateway->object.name);
	free(gateway);
}

static int gateway_route_read(const json_t *json, struct gateway *gateway, struct error *err)
{
	const char *name = json_path_string(json, "name");
	struct gateway_route *route;
	int r;

	if (!name)
		return bad(err, "routes", "one has no name");
	r = spec_check(json_object_get(json, "spec"), "GatewayRouteSpec", &gateway_route_rules, err);
	if (r < 0)
		return r;
	r = gateway_route_new(name, json_object_get(json, "spec"), &route, err);
	if (r < 0)
		return r == -EINVAL ? err->code = -EBADMSG : no_memory(err);
	r = id_read(json_object_get(json, "service"), "service", &route->id, err);
	route->needs_tls = json_path_bool(json, "needsTls", false);
	if (r == 0 && gateway_table_add(&gateway->table, route) < 0)
		r = no_memory(err);
	if (r < 0)
		gateway_route_free(route);
	return r;
}

static int gateway_fill(const json_t *json, struct gateway *gateway, struct error *err)
{
	const json_t *routes = json_object_get(json, "routes");
	json_t *one;
	size_t i;
	int r = name_read(json, &gateway->object.name, err);

	if (r == 0)
		r = listeners_read(json_object_get(json, "listeners"), &gateway->listeners, &gateway->listener_count, err);
	if (r == 0 && logging_read(json, &gateway->logging) < 0)
		r = no_memory(err);
	json_array_foreach(routes, i, one) {
		if (r == 0)
			r = gateway_route_read(one, gateway, err);
	}
	return r;
}

static int gateway_read(const json_t *json, struct snapshot_object **ret_object, struct error *err)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	int r = gateway ? gateway_fill(json, gateway, err) : no_memory(err);

	if (r < 0)
		gateway_free(&gateway->object);
	else
		*ret_object = &gateway->object;
	return r;
}

const struct snapshot_kind_row snapshot_kinds[SNAPSHOT_KINDS] = {
	[SNAPSHOT_SERVICE] = { "services", service_read, service_free },
	[SNAPSHOT_TARGET] = { "targets", target_read, target_free },
	[SNAPSHOT_NODE] = { "nodes", caller_read, caller_free },
	[SNAPSHOT_GATEWAY] = { "gateways", gateway_read, gateway_free },
};
