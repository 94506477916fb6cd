/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of this node's own workloads that have a limit on connections, or that weft-proxy serves, by where connections to them come in.
 *
 * A namespace that acts as one node as a whole serves its listener's port, and the ports of registered instances
 * that are at one of its addresses, at every address but loopback ones, together under one limit, as all that comes to a pod does in
 * App Mesh. In a namespace that several share it is the registered address alone. A loopback address has a limit of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "base/address.h"
#include "base/cleanup.h"

const json_t *listener_pool(const json_t *listener, const json_t *default_pool)
{
	const json_t *own = json_object_get(listener, "connectionPool");
	struct port_mapping mapping;

	if (own || !default_pool)
		return own;
	port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
	return strcmp(mapping.protocol, "http") == 0 ? default_pool : NULL;
}

bool listener_is_proxied(const struct compile_input *input, const json_t *node_spec, const json_t *listener)
{
	struct port_mapping mapping;

	port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
	if (!input->proxy || strcmp(mapping.protocol, "http") != 0 || listener_needs_tls(listener, &mapping))
		return false;
	return json_path(listener_pool(listener, input->default_pool), "http") || json_path(listener, "timeout.http") || json_path(node_spec, "logging.accessLog");
}

struct gather {
	struct compiler *c;
	const struct compile_input *input;
	struct plan plan; /* but for its servings nothing */
	size_t capacity;
};

static int serving_order(const void *a, const void *b)
{
	const struct plan_serving *x = a, *y = b;
	int order;

	if (x->netns_cookie != y->netns_cookie)
		return x->netns_cookie < y->netns_cookie ? -1 : 1;
	order = memcmp(&x->address, &y->address, sizeof(x->address));
	if (order)
		return order;
	return x->port != y->port ? (int)ntohs(x->port) - (int)ntohs(y->port) : strcmp(x->target, y->target);
}

static bool same_place(const struct plan_serving *a, const struct plan_serving *b)
{
	return a->netns_cookie == b->netns_cookie && a->port == b->port && ip_equal(&a->address, &b->address);
}

/* One that weft-proxy serves has no limit here (read_limits()). */
static int add(struct gather *g, const struct plan_target *target, uint64_t netns_cookie, const struct ip *address, __be16 port)
{
	struct plan *plan = &g->plan;
	struct plan_serving *serving;

	if (plan->serving_count == g->capacity) {
		const size_t capacity = g->capacity ? 2 * g->capacity : 16;
		struct plan_serving *grown = reallocarray(plan->servings, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		plan->servings = grown;
		g->capacity = capacity;
	}
	serving = &plan->servings[plan->serving_count];
	*serving = (struct plan_serving){
		.netns_cookie = netns_cookie,
		.address = *address,
		.port = port,
		.proxied = !target->max_connections,
		.listener = target->port,
		.max_connections = target->max_connections,
		.target = strdup(target->name),
		.node = strdup(target->node),
	};
	plan->serving_count++;
	return serving->target && serving->node ? 0 : -ENOMEM;
}

static int add_endpoint(struct gather *g, const struct compile_place *place, const struct plan_target *target,
			const struct plan_endpoint *endpoint)
{
	static const struct ip any;

	if (ip_is_loopback(&endpoint->address))
		return endpoint->netns_cookie == place->netns_cookie ?
			       add(g, target, place->netns_cookie, &endpoint->address, endpoint->port) : 0;
	if (!g->input->owns(place->netns_cookie, &endpoint->address, g->input->owns_arg))
		return 0;
	return add(g, target, place->netns_cookie, place->whole ? &any : &endpoint->address, endpoint->port);
}

static void cleanup_target(struct plan_target **target)
{
	plan_object_free(PLAN_TARGET, (struct plan_object *)*target);
}

static int add_listener(struct gather *g, const struct compile_place *place, const struct resource *node, uint16_t port, bool proxied)
{
	static const struct ip any;
	_cleanup_(cleanup_target) struct plan_target *target = NULL;
	int r = target_draft(g->c, node, port, &target);

	if (r < 0)
		return r;
	if (!target->max_connections && !proxied)
		return 0;
	r = place->whole ? add(g, target, place->netns_cookie, &any, htons(port)) : 0;
	for (size_t i = 0; r == 0 && i < target->endpoint_count; i++)
		r = add_endpoint(g, place, target, &target->endpoints[i]);
	return r;
}

static int add_place(struct gather *g, const struct compile_place *place)
{
	const struct resource *node = resources_get(g->input->resources, place->node);
	_cleanup_json_ json_t *spec = node && node->kind == RESOURCE_VIRTUAL_NODE ? resource_spec(node) : NULL;
	const json_t *listeners = json_object_get(spec, "listeners");
	const bool planned = caller_is_planned(g->c, place->node); /* else weft-proxy is not told of it */
	json_t *listener;
	size_t i;

	json_array_foreach(listeners, i, listener) {
		const bool proxied = planned && listener_is_proxied(g->input, spec, listener);
		struct port_mapping mapping;
		int r;

		if (!proxied && !listener_pool(listener, g->input->default_pool))
			continue;
		port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
		r = add_listener(g, place, node, mapping.port, proxied);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Several workloads of one node in a namespace come to the same; of two listeners at one place the first by name counts. */
static void drop_duplicates(struct plan *plan)
{
	size_t kept = 0;

	if (plan->serving_count)
		qsort(plan->servings, plan->serving_count, sizeof(*plan->servings), serving_order);
	for (size_t i = 0; i < plan->serving_count; i++) {
		if (kept && same_place(&plan->servings[kept - 1], &plan->servings[i]))
			plan_serving_done(&plan->servings[i]);
		else
			plan->servings[kept++] = plan->servings[i];
	}
	plan->serving_count = kept;
}

void servings_free(struct plan_serving *servings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		plan_serving_done(&servings[i]);
	free(servings);
}

static void gather_done(struct gather *g)
{
	servings_free(g->plan.servings, g->plan.serving_count);
}

static bool same_servings(const struct plan_serving *a, const struct plan_serving *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!same_place(&a[i], &b[i]) || a[i].proxied != b[i].proxied || a[i].max_connections != b[i].max_connections ||
		    strcmp(a[i].target, b[i].target) != 0)
			return false;
	return true;
}

int compile_servings(struct compiler *c)
{
	_cleanup_(gather_done) struct gather g = { .c = c, .input = c->input };
	int r = 0;

	if (!c->servings_changed)
		return 0;
	for (size_t i = 0; r == 0 && i < c->input->place_count; i++)
		r = add_place(&g, &c->input->places[i]);
	if (r == -ENOMEM)
		return no_memory(c);
	if (r < 0)
		return r;
	drop_duplicates(&g.plan);
	if (g.plan.serving_count > MAX_SERVINGS)
		return error_set(c->err, -E2BIG,
				 "workloads of this node have %zu listeners with maxConnections or that weft-proxy serves, %d are possible",
				 g.plan.serving_count, MAX_SERVINGS);
	c->servings_changed = false;
	if (g.plan.serving_count == c->serving_count && same_servings(g.plan.servings, c->servings, c->serving_count))
		return 0;
	servings_free(c->servings, c->serving_count);
	c->servings = TAKE_PTR(g.plan.servings);
	c->serving_count = g.plan.serving_count;
	g.plan.serving_count = 0;
	c->line.changed = true;
	return 0;
}
