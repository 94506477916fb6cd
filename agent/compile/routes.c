/* SPDX-License-Identifier: Apache-2.0 */
#include "routes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/abi/reason.h"
#include "maps/abi/record.h"

static const struct route_kind {
	const char *member; /* of RouteSpec: a route has one of them */
	bool l7;
} route_kinds[] = {
	{ "tcpRoute", false },
	{ "httpRoute", true },
	{ "http2Route", true },
	{ "grpcRoute", true },
};

struct ranked_route {
	const struct resource *route;
	json_t *spec; /* what follows is of */
	const struct route_kind *kind;
	const json_t *match, *targets; /* NULL: absent */
	int64_t priority;
	size_t length;
	uint16_t port; /* 0: any */
};

/* How much of a path the match pins down. A gRPC call is the path /SERVICE/METHOD. */
static size_t match_length(const json_t *match)
{
	static const char *const parts[] = { "prefix", "path.exact", "path.regex", "serviceName", "methodName" };
	size_t length = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *text = json_path_string(match, parts[i]);

		length += text ? strlen(text) : 0;
	}
	return length;
}

static void rank_route(const struct resource *route, struct ranked_route *ret_ranked)
{
	struct ranked_route ranked = { .route = route, .spec = resource_spec(route) };

	ranked.priority = json_path_int(ranked.spec, "priority", INT64_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(route_kinds); i++) {
		const json_t *body = json_object_get(ranked.spec, route_kinds[i].member);

		if (!json_is_object(body))
			continue;
		ranked.kind = &route_kinds[i];
		ranked.match = json_object_get(body, "match");
		ranked.targets = json_path(body, "action.weightedTargets");
		ranked.length = match_length(ranked.match);
		ranked.port = (uint16_t)json_path_int(ranked.match, "port", 0);
	}
	*ret_ranked = ranked;
}

static int rank_order(const void *a, const void *b)
{
	const struct ranked_route *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x->length != y->length)
		return x->length > y->length ? -1 : 1;
	return strcmp(x->route->name, y->route->name);
}

struct gather {
	struct routes routes;
	size_t capacity;
	int r;
};

static void gather_route(const struct resource *from, void *arg)
{
	struct gather *g = arg;

	if (g->r < 0 || from->kind != RESOURCE_ROUTE)
		return;
	if (g->routes.count == g->capacity) {
		const size_t capacity = g->capacity ? 2 * g->capacity : 4;
		struct ranked_route *ranked = reallocarray(g->routes.ranked, capacity, sizeof(*ranked));

		if (!ranked) {
			g->r = -ENOMEM;
			return;
		}
		g->routes.ranked = ranked;
		g->capacity = capacity;
	}
	rank_route(from, &g->routes.ranked[g->routes.count++]);
}

int routes_of(const struct resources *resources, const struct resource *router, struct routes *ret_routes)
{
	struct gather g = {};

	resources_referrers(resources, router->full_name, gather_route, &g);
	if (g.r < 0) {
		routes_done(&g.routes);
		return g.r;
	}
	if (g.routes.count > 1)
		qsort(g.routes.ranked, g.routes.count, sizeof(*g.routes.ranked), rank_order);
	*ret_routes = g.routes;
	return 0;
}

void routes_done(struct routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		json_decref(routes->ranked[i].spec);
	free(routes->ranked);
	*routes = (struct routes){};
}

static const struct ranked_route *next_bound(const struct routes *routes, uint16_t port, size_t *at)
{
	while (*at < routes->count) {
		const struct ranked_route *r = &routes->ranked[(*at)++];

		if (r->port == 0 || r->port == port)
			return r;
	}
	return NULL;
}

bool routes_next(const struct routes *routes, uint16_t port, size_t *at, struct bound_route *ret_route)
{
	const struct ranked_route *r = next_bound(routes, port, at);

	if (r)
		*ret_route = (struct bound_route){ r->route, r->targets };
	return r != NULL;
}

/* The first member of `match` that some request may fail, or NULL: the route matches everything on its port. */
static const char *narrowing_member(const json_t *match)
{
	const char *member;
	json_t *value;

	json_object_foreach((json_t *)match, member, value) {
		bool is_root = strcmp(member, "prefix") == 0 && strcmp(json_string_value(value), "/") == 0;

		if (strcmp(member, "port") != 0 && !is_root)
			return member;
	}
	return NULL;
}

static void write_shadow_note(struct buffer *note, const struct ranked_route *first, const struct ranked_route *shadowed,
			      size_t count)
{
	buffer_printf(note, "route %s", shadowed->route->name);
	if (count > 1)
		buffer_printf(note, " and %zu more", count - 1);
	buffer_printf(note, " never match%s: route %s comes first and matches everything", count > 1 ? "" : "es",
		      first->route->name);
}

int routes_choose(const struct routes *routes, uint16_t port, struct route_choice *ret_choice)
{
	const struct ranked_route *first, *second;
	_cleanup_(buffer_done) struct buffer note = {};
	struct route_choice choice = {};
	const char *narrowing;
	size_t at = 0, bound = 0;

	first = next_bound(routes, port, &at);
	second = next_bound(routes, port, &at);
	for (at = 0; next_bound(routes, port, &at);)
		bound++;
	narrowing = first ? narrowing_member(first->match) : NULL;
	choice.route = first ? first->route : NULL;
	if (!first) {
		choice.closed = REASON_NO_ROUTE;
		buffer_printf(&note, "no route binds to port %u", port);
	} else if (narrowing) {
		choice.closed = REASON_NEEDS_PROXY;
		buffer_printf(&note, "route %s: match.%s", first->route->name, narrowing);
	} else {
		choice.targets = first->targets;
		choice.flags = first->kind->l7 ? ROUTE_L7_AS_L4 : 0;
		if (second)
			write_shadow_note(&note, first, second, bound - 1);
	}
	if (buffer_failed(&note))
		return -ENOMEM;
	if (note.length > 0)
		choice.note = buffer_take(&note);
	*ret_choice = choice;
	return 0;
}
