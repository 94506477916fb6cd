/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"

static void service_done(struct plan_service *service)
{
	for (size_t i = 0; i < service->port_count; i++) {
		free(service->ports[i].route);
		free(service->ports[i].note);
	}
	free(service->ports);
	free(service->twin);
	free(service->name);
}

static void target_done(struct plan_target *target)
{
	free(target->name);
	free(target->node);
	free(target->check.path);
	free(target->endpoints);
}

static void node_done(struct plan_node *node)
{
	free(node->name);
	free(node->backends);
}

void plan_serving_done(struct plan_serving *serving)
{
	free(serving->target);
	free(serving->node);
}

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	for (size_t i = 0; i < plan->service_count; i++)
		service_done(&plan->services[i]);
	for (size_t i = 0; i < plan->target_count; i++)
		target_done(&plan->targets[i]);
	for (size_t i = 0; i < plan->node_count; i++)
		node_done(&plan->nodes[i]);
	for (size_t i = 0; i < plan->scope_count; i++)
		free(plan->scopes[i]);
	for (size_t i = 0; i < plan->zone_count; i++)
		free(plan->zones[i]);
	for (size_t i = 0; i < plan->serving_count; i++)
		plan_serving_done(&plan->servings[i]);
	free(plan->servings);
	free(plan->services);
	free(plan->targets);
	free(plan->nodes);
	free(plan->names);
	free(plan->scopes);
	free(plan->zones);
	free(plan);
	return NULL;
}

uint32_t plan_services(const struct plan *plan)
{
	size_t endpoints = 0, backends = 0;

	for (size_t i = 0; i < plan->target_count; i++)
		endpoints += plan->targets[i].endpoint_count;
	for (size_t i = 0; i < plan->node_count; i++)
		backends += plan->nodes[i].backend_count;
	return (uint32_t)MAX(MAX(MAX(plan->service_count, plan->target_count), endpoints / 10), MAX(plan->node_count, backends / 2));
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
