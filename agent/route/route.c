/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"
#include "base/cleanup.h"

struct route *route_free(struct route *route)
{
	if (!route)
		return NULL;
	for (size_t i = 0; i < route->target_count; i++)
		free(route->targets[i].virtual_node);
	free(route->targets);
	route_match_done(&route->match);
	free(route->name);
	free(route);
	return NULL;
}

static void cleanup_route(struct route **route)
{
	route_free(*route);
}

static int targets_make(struct route *route, size_t count)
{
	route->targets = calloc(count ? count : 1, sizeof(*route->targets));
	if (!route->targets)
		return -ENOMEM;
	route->target_count = count;
	return 0;
}

int route_target_set(struct route *route, size_t i, const char *virtual_node, uint16_t port, uint32_t weight)
{
	struct route_target_node *target = &route->targets[i];

	target->virtual_node = strdup(virtual_node);
	if (!target->virtual_node)
		return -ENOMEM;
	target->port = port;
	target->weight = weight;
	route->total_weight += weight;
	return 0;
}

static int targets_read(struct route *route, const json_t *action)
{
	const size_t count = json_path_count(action, "weightedTargets");
	int r = targets_make(route, count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		const json_t *target = json_path_at(action, "weightedTargets", i);

		r = route_target_set(route, i, json_path_string(target, "virtualNode"), json_path_int(target, "port", 0),
				     json_path_int(target, "weight", 0));
	}
	return r;
}

int route_new(const char *name, const json_t *spec, struct route **ret_route, struct error *err)
{
	_cleanup_(cleanup_route) struct route *route = calloc(1, sizeof(*route));
	const struct route_protocol *protocol;
	const json_t *json;
	int r;

	if (!route)
		return error_set(err, -ENOMEM, "out of memory");
	r = route_protocol_find(spec, &protocol, err);
	if (r < 0)
		return r;
	if (!strcmp(protocol->protocol, "tcp"))
		return error_set_field(err, -EINVAL, "spec.tcpRoute", "is decided for connections, not for requests");
	json = json_object_get(spec, protocol->member);
	r = route_match_init(&route->match, json_object_get(json, "match"), protocol->protocol, FIELD("spec.%s.match", protocol->member), err);
	if (r < 0)
		return r;
	route->priority = json_path_int(spec, "priority", ROUTE_PRIORITY_NONE);
	route->retry = retry_policy_read(json_object_get(json, "retryPolicy"));
	route->timeouts = route_timeouts_read(json_object_get(json, "timeout"));
	route->name = strdup(name);
	if (!route->name || targets_read(route, json_object_get(json, "action")) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	*ret_route = TAKE_PTR(route);
	return 0;
}

/* It takes every request. */
static int route_of_all(const char *name, size_t count, struct route **ret_route)
{
	_cleanup_(cleanup_route) struct route *route = calloc(1, sizeof(*route));
	_cleanup_json_ json_t *match = json_pack("{s:s}", "prefix", "/");
	int r;

	if (!route || !match)
		return -ENOMEM;
	r = route_match_init(&route->match, match, "http", "", NULL);
	if (r < 0)
		return r;
	route->priority = ROUTE_PRIORITY_NONE;
	route->name = strdup(name);
	if (!route->name || targets_make(route, count) < 0)
		return -ENOMEM;
	*ret_route = TAKE_PTR(route);
	return 0;
}

int route_new_to_node(const char *virtual_node, uint16_t port, struct route **ret_route)
{
	_cleanup_(cleanup_route) struct route *route = NULL;
	int r = route_of_all("", 1, &route);

	if (r == 0)
		r = route_target_set(route, 0, virtual_node, port, 1);
	if (r < 0)
		return r;
	route->retry = retry_default_policy;
	route->timeouts = route_timeouts_read(NULL);
	*ret_route = TAKE_PTR(route);
	return 0;
}

int route_new_by_weights(const char *name, size_t count, struct route **ret_route)
{
	int r = route_of_all(name, count, ret_route);

	if (r == 0)
		(*ret_route)->by_weights = true;
	return r;
}

int route_pick(const struct route *route, uint32_t random)
{
	uint64_t at = route->total_weight * random >> 32;

	for (size_t i = 0; i < route->target_count; i++) {
		if (at < route->targets[i].weight)
			return i;
		at -= route->targets[i].weight;
	}
	return -ENOENT;
}

/* --- timeouts ----------------------------------------------------------------------------------------------------------------- */

struct route_timeouts route_timeouts_read(const json_t *timeout)
{
	return (struct route_timeouts){
		.request_ns = duration_ns(json_path(timeout, "perRequest"), ROUTE_REQUEST_TIMEOUT_NS),
		.idle_ns = duration_ns(json_path(timeout, "idle"), ROUTE_IDLE_TIMEOUT_NS),
	};
}

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a && b ? MIN(a, b) : MAX(a, b);
}

struct route_timeouts route_timeouts_to(const struct route *route, struct route_timeouts listener)
{
	if (route->by_weights)
		return (struct route_timeouts){};
	return (struct route_timeouts){ lower(route->timeouts.request_ns, listener.request_ns), lower(route->timeouts.idle_ns, listener.idle_ns) };
}

/* --- tables ------------------------------------------------------------------------------------------------------------------- */

void route_table_done(struct route_table *table)
{
	for (size_t i = 0; i < table->routes.count; i++)
		route_free(table->routes.items[i]);
	ordered_done(&table->routes);
}

static int order(const void *left, const void *right)
{
	const struct route *a = left, *b = right;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return route_match_order(&a->match, &b->match) ?: strcmp(a->name, b->name);
}

int route_table_add(struct route_table *table, struct route *route)
{
	return ordered_insert(&table->routes, route, order);
}

const struct route *route_table_find(const struct route_table *table, const struct route_request *request)
{
	for (size_t i = 0; i < table->routes.count; i++) {
		const struct route *route = table->routes.items[i];

		if (route_match_test(&route->match, request).criterion == ROUTE_MATCHES)
			return route;
	}
	return NULL;
}
