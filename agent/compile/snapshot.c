/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/compile/snapshot.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/json.h"

/* --- text ------------------------------------------------------------------------------------------------------------------ */

static void add_string(struct buffer *text, const char *string)
{
	_cleanup_json_ json_t *json = json_string(string);

	text->failed |= !json;
	json_print(json, text);
}

static void add_number(struct buffer *text, const char *before, uint64_t number)
{
	buffer_add(text, before);
	buffer_add_i64(text, (int64_t)number);
}

static void add_bool(struct buffer *text, bool value)
{
	buffer_add(text, value ? "true" : "false");
}

static void add_separator(struct buffer *text, bool first)
{
	if (!first)
		buffer_add(text, ",");
}

/* The end of a full name. */
static const char *short_name(const char *full_name)
{
	return strrchr(full_name, '/') + 1; /* names of resources have none */
}

/* --- services -------------------------------------------------------------------------------------------------------------- */

static bool tells_port(const struct plan_port *port)
{
	return port->l7 || port->by_weights;
}

static void add_target_id(const struct snapshot_sides *sides, const struct plan_weighted *weighted, struct buffer *text)
{
	if (weighted->target == PLAN_NONE)
		buffer_add(text, "null");
	else
		buffer_printf(text, "%" PRIu32, sides->now->ids[OBJECT_TARGET][weighted->target]);
}

static void write_routes(const struct snapshot_sides *sides, const struct plan_l7 *l7, struct buffer *text)
{
	const struct plan_weighted *target = l7->targets;

	for (size_t i = 0; i < l7->route_count; i++) {
		const struct plan_route *route = &l7->routes[i];

		buffer_add(text, i ? ",{\"name\":" : "{\"name\":");
		add_string(text, route->resource->name);
		buffer_add(text, ",\"spec\":");
		buffer_add(text, route->resource->spec_text);
		buffer_add(text, ",\"targets\":[");
		for (size_t t = 0; t < route->target_count; t++) {
			add_separator(text, t == 0);
			add_target_id(sides, target++, text);
		}
		buffer_add(text, "]}");
	}
}

static void write_weighted(const struct snapshot_sides *sides, const struct plan_weighted *weighted, struct buffer *text)
{
	buffer_add(text, "\"node\":");
	add_target_id(sides, weighted, text);
	buffer_add(text, ",\"virtualNode\":");
	add_string(text, weighted->target == PLAN_NONE ? "" : short_name(sides->now->plan->targets[weighted->target]->node));
}

static void write_weights(const struct snapshot_sides *sides, const struct plan_port *port, struct buffer *text)
{
	buffer_add(text, ",\"route\":");
	if (port->route)
		add_string(text, short_name(port->route));
	else
		buffer_add(text, "null");
	buffer_add(text, ",\"weighted\":[");
	for (size_t i = 0; i < port->target_count; i++) {
		buffer_add(text, i ? ",{" : "{");
		write_weighted(sides, &port->targets[i], text);
		buffer_printf(text, ",\"weight\":%u}", port->targets[i].weight);
	}
	buffer_add(text, "]");
}

static void write_service(const struct snapshot_sides *sides, uint32_t place, struct buffer *text)
{
	const struct plan_service *service = sides->now->plan->services[place];
	bool first = true;

	buffer_add(text, "{\"name\":");
	add_string(text, service->name);
	buffer_add(text, ",\"ports\":[");
	for (size_t p = 0; p < service->port_count; p++) {
		const struct plan_port *port = &service->ports[p];

		if (!tells_port(port))
			continue;
		buffer_printf(text, "%s{\"port\":%u", first ? "" : ",", port->port);
		first = false;
		if (port->by_weights) {
			write_weights(sides, port, text);
		} else if (port->l7->by_node) {
			buffer_add(text, ",");
			write_weighted(sides, &port->l7->targets[0], text);
		} else {
			buffer_add(text, ",\"routes\":[");
			write_routes(sides, port->l7, text);
			buffer_add(text, "]");
		}
		buffer_add(text, "}");
	}
	buffer_add(text, "]}");
}

static bool tells_service(const struct plan_object *object)
{
	const struct plan_service *service = (const struct plan_service *)object;

	for (size_t p = 0; p < service->port_count; p++)
		if (tells_port(&service->ports[p]))
			return true;
	return false;
}

/* --- targets --------------------------------------------------------------------------------------------------------------- */

static void write_endpoint(const struct endpoint_ref *ref, struct buffer *text)
{
	char address[IP_TEXT_BYTES];

	buffer_add(text, "{\"address\":\"");
	buffer_add(text, ip_format(&ref->address, address));
	add_number(text, "\",\"port\":", ntohs(ref->port));
	if (ref->netns_cookie)
		add_number(text, ",\"netns\":", ref->netns_cookie);
	add_number(text, ",\"slot\":", ref->slot);
	add_number(text, ",\"incarnation\":", ref->incarnation);
	if (ref->run)
		add_number(text, ",\"run\":", ref->run);
	buffer_add(text, "}");
}

static void write_endpoints(const struct snapshot_sides *sides, uint32_t id, struct buffer *text)
{
	const struct target_record *record = sides->target(id, sides->arg);
	bool first = true;

	for (int list = 0; record && list < LIST_COUNT; list++)
		for (uint32_t i = 0; i < record->count[list]; i++, first = false) {
			add_separator(text, first);
			write_endpoint(&sides->refs[record->first[list] + i], text);
		}
}

static void write_zones(const struct plan_target *target, struct buffer *text)
{
	if (!target->zone_count[LIST_V4] && !target->zone_count[LIST_V6])
		return;
	for (int list = 0; list < LIST_COUNT; list++) {
		buffer_add(text, list ? ",[" : ",\"zones\":[[");
		for (size_t z = 0; z < target->zone_count[list]; z++) {
			add_number(text, z ? ",{\"count\":" : "{\"count\":", target->zones[list][z].count);
			add_number(text, ",\"below\":", target->zones[list][z].below);
			buffer_add(text, "}");
		}
		buffer_add(text, "]");
	}
	buffer_add(text, "]");
}

static void write_outlier(const struct plan_outlier *outlier, struct buffer *text)
{
	if (outlier->max_errors)
		buffer_printf(text,
			      ",\"outlier\":{\"maxErrors\":%" PRIu32 ",\"intervalNs\":%" PRIu64 ",\"baseEjectionNs\":%" PRIu64
			      ",\"maxEjectionPct\":%u}",
			      outlier->max_errors, outlier->interval_ns, outlier->base_ejection_ns, outlier->max_ejection_pct);
}

/* What most targets have not is left out: a node may have 10,000, and each byte is read. */
static void write_target(const struct snapshot_sides *sides, uint32_t place, struct buffer *text)
{
	const struct plan_target *target = sides->now->plan->targets[place];

	buffer_add(text, "{\"name\":");
	add_string(text, target->name);
	buffer_add(text, ",\"virtualNode\":");
	add_string(text, short_name(target->node));
	add_number(text, ",\"port\":", target->port);
	buffer_add(text, ",\"protocol\":");
	add_string(text, target->protocol);
	if (target->flags & TARGET_NEEDS_TLS)
		buffer_add(text, ",\"needsTls\":true");
	if (target->timeout) {
		buffer_add(text, ",\"timeout\":");
		json_print(target->timeout, text);
	}
	if (target->pool) {
		buffer_add(text, ",\"connectionPool\":");
		json_print(target->pool, text);
	}
	write_outlier(&target->outlier, text);
	add_number(text, ",\"panicPct\":", target->panic_pct);
	buffer_add(text, ",\"endpoints\":[");
	write_endpoints(sides, sides->now->ids[OBJECT_TARGET][place], text);
	buffer_add(text, "]");
	write_zones(target, text);
	buffer_add(text, "}");
}

static bool tells_target(const struct plan_object *object)
{
	return ((const struct plan_target *)object)->l7;
}

/* --- nodes ----------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void write_backends(const struct snapshot_sides *sides, const struct plan_node *node, struct buffer *text)
{
	_cleanup_free_ uint32_t *ids = calloc(node->backend_count + 1, sizeof(*ids));
	size_t count = 0;

	if (!ids) {
		text->failed = true;
		return;
	}
	for (size_t i = 0; i < node->backend_count; i++)
		if (!(node->backends[i].flags & BACKEND_AUDIT_ONLY))
			ids[count++] = sides->now->ids[OBJECT_SERVICE][node->backends[i].service];
	if (count > 1)
		qsort(ids, count, sizeof(*ids), by_value);
	for (size_t i = 0; i < count; i++)
		buffer_printf(text, "%s%" PRIu32, i ? "," : "", ids[i]);
}

static void write_listeners(const struct plan_node *node, struct buffer *text)
{
	for (size_t i = 0; i < node->listener_count; i++) {
		const struct plan_listener *listener = &node->listeners[i];

		buffer_printf(text, "%s{\"port\":%u,\"timeout\":", i ? "," : "", listener->port);
		json_print(listener->timeout, text);
		buffer_add(text, ",\"connectionPool\":");
		json_print(listener->pool, text);
		buffer_add(text, "}");
	}
}

static void write_node(const struct snapshot_sides *sides, uint32_t place, struct buffer *text)
{
	const struct plan_node *node = sides->now->plan->nodes[place];

	buffer_add(text, "{\"name\":");
	add_string(text, node->name);
	buffer_add(text, ",\"backends\":[");
	write_backends(sides, node, text);
	buffer_add(text, "],\"audit\":");
	add_bool(text, node->flags & NODE_AUDIT);
	buffer_add(text, ",\"dropAll\":");
	add_bool(text, node->flags & NODE_DROP_ALL);
	buffer_add(text, ",\"logging\":");
	json_print(node->logging, text);
	buffer_add(text, ",\"listeners\":[");
	write_listeners(node, text);
	buffer_add(text, "]}");
}

static bool tells_node(const struct plan_object *object)
{
	const struct plan_node *node = (const struct plan_node *)object;

	return !node->outside && !node->gateway;
}

/* --- gateways -------------------------------------------------------------------------------------------------------------- */

static int service_order(const void *a, const void *b)
{
	const struct plan_backend *x = a, *y = b;

	return (x->service > y->service) - (x->service < y->service);
}

/* Whether the gateway's client policy covers the port that the route leads to. */
static bool needs_tls(const struct snapshot_sides *sides, const struct plan_node *gateway, const struct plan_gateway_route *route)
{
	const struct plan_backend *backend = bsearch(&(struct plan_backend){ .service = route->service }, gateway->backends, gateway->backend_count,
						     sizeof(*gateway->backends), service_order);
	const struct plan_service *service = sides->now->plan->services[route->service];

	for (size_t p = 0; backend && p < service->port_count; p++)
		if ((!route->port || service->ports[p].port == route->port) && backend->tls_ports >> p & 1)
			return true;
	return false;
}

static void write_gateway_routes(const struct snapshot_sides *sides, const struct plan_node *gateway, struct buffer *text)
{
	for (size_t i = 0; i < gateway->route_count; i++) {
		const struct plan_gateway_route *route = &gateway->routes[i];

		buffer_add(text, i ? ",{\"name\":" : "{\"name\":");
		add_string(text, route->resource->name);
		buffer_add(text, ",\"spec\":");
		buffer_add(text, route->resource->spec_text);
		if (route->service == PLAN_NONE) {
			buffer_add(text, ",\"service\":null,\"needsTls\":false}");
			continue;
		}
		buffer_printf(text, ",\"service\":%" PRIu32 ",\"needsTls\":", sides->now->ids[OBJECT_SERVICE][route->service]);
		add_bool(text, needs_tls(sides, gateway, route));
		buffer_add(text, "}");
	}
}

static void write_gateway(const struct snapshot_sides *sides, uint32_t place, struct buffer *text)
{
	const struct plan_node *gateway = sides->now->plan->nodes[place];

	buffer_add(text, "{\"name\":");
	add_string(text, gateway->name);
	buffer_add(text, ",\"listeners\":[");
	write_listeners(gateway, text);
	buffer_add(text, "],\"routes\":[");
	write_gateway_routes(sides, gateway, text);
	buffer_add(text, "],\"logging\":");
	json_print(gateway->logging, text);
	buffer_add(text, "}");
}

static bool tells_gateway(const struct plan_object *object)
{
	return ((const struct plan_node *)object)->gateway;
}

/* --- what differs ---------------------------------------------------------------------------------------------------------- */

static const struct kind_row {
	enum plan_kind kind;
	const char *member;
	bool (*tells)(const struct plan_object *object); /* whether weft-proxy is to know of it */
	void (*write)(const struct snapshot_sides *sides, uint32_t place, struct buffer *text);
} rows[] = {
	{ PLAN_SERVICE, "services", tells_service, write_service },
	{ PLAN_TARGET, "targets", tells_target, write_target },
	{ PLAN_NODE, "nodes", tells_node, write_node },
	{ PLAN_NODE, "gateways", tells_gateway, write_gateway },
};

struct difference {
	uint32_t id;
	uint32_t place; /* PLAN_NONE: it is no more, unless it is elsewhere now */
};

struct differences {
	struct difference *list;
	size_t count, capacity;
};

static void differences_done(struct differences *d)
{
	free(d->list);
}

static int add_difference(struct differences *d, uint32_t id, uint32_t place)
{
	if (d->count == d->capacity) {
		const size_t capacity = d->capacity ? 2 * d->capacity : 16;
		struct difference *list = reallocarray(d->list, capacity, sizeof(*list));

		if (!list)
			return -ENOMEM;
		d->list = list;
		d->capacity = capacity;
	}
	d->list[d->count++] = (struct difference){ id, place };
	return 0;
}

static int difference_order(const void *a, const void *b)
{
	const struct difference *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place); /* where it is, before that it was elsewhere */
}

/* In order of id, each once. */
static int find_differences(const struct snapshot_sides *sides, const struct kind_row *row, struct differences *d)
{
	const struct plan_side now = plan_side(sides->now->plan, row->kind),
			       before = plan_side(sides->before ? sides->before->plan : NULL, row->kind);
	size_t kept = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < MAX(now.count, before.count); i++) {
		const struct plan_object *a = i < before.count ? before.objects[i] : NULL, *b = i < now.count ? now.objects[i] : NULL;

		if (a == b)
			continue;
		if (b && row->tells(b))
			r = add_difference(d, sides->now->ids[row->kind][i], i);
		if (r == 0 && a && row->tells(a))
			r = add_difference(d, sides->before->ids[row->kind][i], PLAN_NONE);
	}
	if (d->count > 1)
		qsort(d->list, d->count, sizeof(*d->list), difference_order);
	for (size_t i = 0; i < d->count; i++)
		if (kept == 0 || d->list[i].id != d->list[kept - 1].id)
			d->list[kept++] = d->list[i];
	d->count = kept;
	return r;
}

static int write_kind(const struct snapshot_sides *sides, const struct kind_row *row, struct buffer *text)
{
	_cleanup_(differences_done) struct differences d = {};
	int r = find_differences(sides, row, &d);

	if (r < 0)
		return r;
	buffer_printf(text, "\"%s\":{", row->member);
	for (size_t i = 0; i < d.count; i++) {
		buffer_printf(text, "%s\"%" PRIu32 "\":", i ? "," : "", d.list[i].id);
		if (d.list[i].place == PLAN_NONE)
			buffer_add(text, "null");
		else
			row->write(sides, d.list[i].place, text);
	}
	buffer_add(text, "}");
	return 0;
}

int snapshot_write(const struct snapshot_sides *sides, struct buffer *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r;

		buffer_add(text, i ? "," : "{");
		r = write_kind(sides, &rows[i], text);
		if (r < 0)
			return r;
	}
	buffer_add(text, "}");
	return buffer_failed(text) ? -ENOMEM : 0;
}
