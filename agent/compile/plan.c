/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/line.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/sorted.h"
#include "maps/abi/directory.h"

_Static_assert((int)PLAN_SERVICE == OBJECT_SERVICE && (int)PLAN_TARGET == OBJECT_TARGET && (int)PLAN_NODE == OBJECT_NODE,
	       "kinds have the kernel's numbers");
#define BEGINS_AS_OBJECT(type)                                                                                                \
	_Static_assert(offsetof(type, name) == offsetof(struct plan_object, name) &&                                           \
			       offsetof(type, next) == offsetof(struct plan_object, next),                                     \
		       "see struct plan_object")
BEGINS_AS_OBJECT(struct plan_scope);
BEGINS_AS_OBJECT(struct plan_service);
BEGINS_AS_OBJECT(struct plan_target);
BEGINS_AS_OBJECT(struct plan_node);

struct plan_l7 *plan_l7_unref(struct plan_l7 *l7)
{
	if (!l7 || --l7->holders)
		return NULL;
	for (size_t i = 0; i < l7->route_count; i++)
		resource_unref(l7->routes[i].resource);
	free(l7->routes);
	free(l7);
	return NULL;
}

static void scope_done(struct plan_object *object)
{
	free(((struct plan_scope *)object)->services);
}

static void service_done(struct plan_object *object)
{
	struct plan_service *service = (struct plan_service *)object;

	for (size_t i = 0; i < service->port_count; i++) {
		free(service->ports[i].route);
		free(service->ports[i].note);
		plan_l7_unref(service->ports[i].l7);
	}
	free(service->ports);
	free(service->twin);
}

static void target_done(struct plan_object *object)
{
	struct plan_target *target = (struct plan_target *)object;

	free(target->node);
	free(target->check.path);
	json_decref(target->timeout);
	json_decref(target->pool);
	free(target->zones);
	free(target->endpoints);
}

static void node_done(struct plan_object *object)
{
	struct plan_node *node = (struct plan_node *)object;

	json_decref(node->logging);
	for (size_t i = 0; i < node->listener_count; i++) {
		json_decref(node->listeners[i].timeout);
		json_decref(node->listeners[i].pool);
	}
	for (size_t i = 0; i < node->route_count; i++)
		resource_unref(node->routes[i].resource);
	free(node->listeners);
	free(node->routes);
	free(node->backends);
}

void plan_object_free(enum plan_kind kind, struct plan_object *object)
{
	static void (*const done[PLAN_KINDS])(struct plan_object *) = {
		[PLAN_SCOPE] = scope_done,
		[PLAN_SERVICE] = service_done,
		[PLAN_TARGET] = target_done,
		[PLAN_NODE] = node_done,
	};

	if (!object)
		return;
	done[kind](object);
	free(object->name);
	free(object);
}

static char *copy_text(const char *text, bool *whole)
{
	char *copy = text ? strdup(text) : NULL;

	*whole &= !text || copy;
	return copy;
}

struct plan_service *plan_service_copy(const struct plan_service *service)
{
	struct plan_service *copy = malloc(sizeof(*copy));
	bool whole = true;

	if (!copy)
		return NULL;
	*copy = *service;
	copy->next = NULL;
	copy->name = copy_text(service->name, &whole);
	copy->twin = copy_text(service->twin, &whole);
	copy->ports = service->ports ? calloc(MAX(service->port_count, 1u), sizeof(*copy->ports)) : NULL;
	copy->port_count = copy->ports ? service->port_count : 0;
	for (size_t i = 0; i < copy->port_count; i++) {
		copy->ports[i] = service->ports[i];
		copy->ports[i].route = copy_text(service->ports[i].route, &whole);
		copy->ports[i].note = copy_text(service->ports[i].note, &whole);
		if (copy->ports[i].l7)
			copy->ports[i].l7->holders++;
	}
	if (whole && copy->port_count == service->port_count)
		return copy;
	plan_object_free(PLAN_SERVICE, (struct plan_object *)copy);
	return NULL;
}

/* --- what weft-proxy is told --------------------------------------------------------------------------------------------- */

static bool same_json(const json_t *a, const json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

/* But for tags. */
static bool same_resource(const struct resource *a, const struct resource *b)
{
	return a == b || (strcmp(a->full_name, b->full_name) == 0 && resource_same_spec(a, b));
}

static bool same_requests(const struct plan_l7 *a, const struct plan_l7 *b)
{
	if (a == b || !a || !b)
		return a == b;
	if (a->by_node != b->by_node || a->route_count != b->route_count || a->target_count != b->target_count)
		return false;
	for (size_t i = 0; i < a->route_count; i++)
		if (!same_resource(a->routes[i].resource, b->routes[i].resource))
			return false;
	for (size_t i = 0; i < a->target_count; i++)
		if (a->targets[i].target != b->targets[i].target)
			return false;
	return true;
}

/* The weights themselves are in the kernel's records. */
static bool same_weights(const struct plan_port *a, const struct plan_port *b)
{
	return a->by_weights == b->by_weights && (!a->by_weights || strcmp(a->route ?: "", b->route ?: "") == 0);
}

static bool same_service(const struct plan_object *x, const struct plan_object *y)
{
	const struct plan_service *a = (const struct plan_service *)x, *b = (const struct plan_service *)y;

	if (a->port_count != b->port_count)
		return false;
	for (size_t i = 0; i < a->port_count; i++)
		if (!same_weights(&a->ports[i], &b->ports[i]) || !same_requests(a->ports[i].l7, b->ports[i].l7))
			return false;
	return true;
}

static bool same_target(const struct plan_object *x, const struct plan_object *y)
{
	const struct plan_target *a = (const struct plan_target *)x, *b = (const struct plan_target *)y;

	if (!a->l7 || !b->l7)
		return a->l7 == b->l7;
	return strcmp(a->protocol, b->protocol) == 0 && same_json(a->timeout, b->timeout) && same_json(a->pool, b->pool);
}

static bool same_listener(const struct plan_listener *a, const struct plan_listener *b)
{
	return a->port == b->port && same_json(a->timeout, b->timeout) && same_json(a->pool, b->pool);
}

static bool same_node(const struct plan_object *x, const struct plan_object *y)
{
	const struct plan_node *a = (const struct plan_node *)x, *b = (const struct plan_node *)y;

	if (a->listener_count != b->listener_count || a->route_count != b->route_count || !same_json(a->logging, b->logging))
		return false;
	for (size_t i = 0; i < a->listener_count; i++)
		if (!same_listener(&a->listeners[i], &b->listeners[i]))
			return false;
	for (size_t i = 0; i < a->route_count; i++)
		if (!same_resource(a->routes[i].resource, b->routes[i].resource) || a->routes[i].service != b->routes[i].service)
			return false;
	return true;
}

bool plan_same_l7(enum plan_kind kind, const struct plan_object *a, const struct plan_object *b)
{
	static bool (*const same[PLAN_KINDS])(const struct plan_object *a, const struct plan_object *b) = {
		[PLAN_SERVICE] = same_service,
		[PLAN_TARGET] = same_target,
		[PLAN_NODE] = same_node,
	};

	return !same[kind] || same[kind](a, b);
}

/* --- places -------------------------------------------------------------------------------------------------------------- */

void plan_serving_done(struct plan_serving *serving)
{
	free(serving->target);
	free(serving->node);
}

int plan_servings_copy(const struct plan_serving *servings, size_t count, struct plan *plan)
{
	bool whole = true;

	plan->servings = calloc(count + 1, sizeof(*plan->servings));
	if (!plan->servings)
		return -ENOMEM;
	for (; plan->serving_count < count && whole; plan->serving_count++) {
		struct plan_serving *copy = &plan->servings[plan->serving_count];

		*copy = servings[plan->serving_count];
		copy->target = copy_text(copy->target, &whole);
		copy->node = copy_text(copy->node, &whole);
	}
	return whole ? 0 : -ENOMEM;
}

struct plan_side plan_side(const struct plan *plan, enum plan_kind kind)
{
	if (!plan)
		return (struct plan_side){};
	switch (kind) {
	case PLAN_SERVICE:
		return (struct plan_side){ (struct plan_object *const *)plan->services, plan->service_count };
	case PLAN_TARGET:
		return (struct plan_side){ (struct plan_object *const *)plan->targets, plan->target_count };
	case PLAN_NODE:
		return (struct plan_side){ (struct plan_object *const *)plan->nodes, plan->node_count };
	default:
		return (struct plan_side){ (struct plan_object *const *)plan->scopes, plan->scope_count };
	}
}

static void free_all(const struct plan *plan)
{
	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++) {
		const struct plan_side side = plan_side(plan, kind);

		for (size_t i = 0; i < side.count; i++)
			plan_object_free(kind, side.objects[i]);
	}
	for (size_t i = 0; i < plan->zone_count; i++)
		free(plan->zones[i]);
}

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	if (plan->line)
		line_forget(plan->line, plan);
	else
		free_all(plan);
	for (size_t i = 0; i < plan->serving_count; i++)
		plan_serving_done(&plan->servings[i]);
	free(plan->servings);
	free(plan->services);
	free(plan->targets);
	free(plan->nodes);
	free(plan->scopes);
	free(plan->zones);
	free(plan);
	return NULL;
}

const struct plan_service *plan_find_service(const struct plan *plan, const char *name)
{
	for (size_t i = 0; plan && i < plan->service_count; i++)
		if (plan->services[i] && strcmp(plan->services[i]->name, name) == 0)
			return plan->services[i];
	return NULL;
}

const struct plan_node *plan_find_gateway(const struct plan *plan, const char *name)
{
	for (size_t i = 0; plan && i < plan->node_count; i++)
		if (plan->nodes[i] && plan->nodes[i]->gateway && strcmp(plan->nodes[i]->name, name) == 0)
			return plan->nodes[i];
	return NULL;
}

bool plan_scope_owns(const uint32_t *services, size_t count, uint32_t service)
{
	const size_t at = SORTED_PLACE(count, i, services[i] < service);

	return at < count && services[at] == service;
}

bool plan_scope_has(const struct plan_scope *scope, uint32_t service)
{
	return plan_scope_owns(scope->services, scope->service_count, service);
}

uint32_t plan_services(const struct plan *plan)
{
	size_t count[PLAN_KINDS] = {}, endpoints = 0, backends = 0;

	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++)
		for (size_t i = 0; i < plan_side(plan, kind).count; i++)
			count[kind] += plan_side(plan, kind).objects[i] != NULL;
	for (size_t i = 0; i < plan->target_count; i++)
		endpoints += plan->targets[i] ? plan->targets[i]->endpoint_count : 0;
	for (size_t i = 0; i < plan->node_count; i++)
		backends += plan->nodes[i] ? plan->nodes[i]->backend_count : 0;
	return (uint32_t)MAX(MAX(MAX(count[PLAN_SERVICE], count[PLAN_TARGET]), endpoints / 10), MAX(count[PLAN_NODE], backends * 2 / 3));
}

const char *plan_service_name(const struct plan_service *service)
{
	return strrchr(service->name, '/') + 1; /* names of resources have none */
}

uint16_t plan_zone(const char *zone)
{
	return zone && *zone ? (uint16_t)(hash_string(zone) % UINT16_MAX + 1) : 0;
}

const char *plan_zone_name(const struct plan *plan, uint16_t zone)
{
	for (size_t i = 0; zone && i < plan->zone_count; i++)
		if (plan_zone(plan->zones[i]) == zone)
			return plan->zones[i];
	return NULL;
}

int plan_endpoint_order(const struct plan_endpoint *a, const struct plan_endpoint *b)
{
	int order = memcmp(&a->address, &b->address, sizeof(a->address));

	if (order == 0)
		order = (int)ntohs(a->port) - (int)ntohs(b->port);
	if (order == 0)
		order = (a->netns_cookie > b->netns_cookie) - (a->netns_cookie < b->netns_cookie);
	return order;
}
