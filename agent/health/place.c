/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health/place.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct choice {
	const struct plan *plan;
	uint64_t *cookies; /* by target */
	bool *seen; /* nodes whose backends have been gone through */
};

static uint32_t node_find(const struct plan *plan, const char *name)
{
	for (uint32_t i = 0; i < plan->node_count; i++)
		if (plan->nodes[i] && strcmp(plan->nodes[i]->name, name) == 0)
			return i;
	return PLAN_NONE;
}

static void offer_service(const struct choice *c, const struct plan_service *service, uint64_t cookie)
{
	for (size_t p = 0; p < service->port_count; p++)
		for (size_t t = 0; t < service->ports[p].target_count; t++) {
			const uint32_t target = service->ports[p].targets[t].target;

			if (target != PLAN_NONE && !c->cookies[target])
				c->cookies[target] = cookie;
		}
}

static int offer_to_callees(const struct workload *workload, uint64_t cookie, void *arg)
{
	const struct choice *c = arg;
	const uint32_t place = node_find(c->plan, workload->node);
	const struct plan_node *node = place == PLAN_NONE ? NULL : c->plan->nodes[place];

	if (!node || c->seen[place])
		return 0;
	c->seen[place] = true;
	for (size_t i = 0; i < node->backend_count; i++)
		offer_service(c, c->plan->services[node->backends[i].service], cookie);
	return 0;
}

/* "mesh/M/", its length. */
static size_t mesh_length(const char *name)
{
	const char *slash = strchr(name, '/');

	slash = slash ? strchr(slash + 1, '/') : NULL;
	return slash ? (size_t)(slash - name) + 1 : 0;
}

static int offer_to_mesh(const struct workload *workload, uint64_t cookie, void *arg)
{
	const struct choice *c = arg;
	const size_t length = mesh_length(workload->node);

	for (size_t t = 0; t < c->plan->target_count; t++)
		if (!c->cookies[t] && c->plan->targets[t] && !strncmp(c->plan->targets[t]->name, workload->node, length))
			c->cookies[t] = cookie;
	return 0;
}

int places_choose(const struct plan *plan, const struct workloads *workloads, uint64_t **ret_cookies)
{
	_cleanup_free_ uint64_t *cookies = calloc(plan->target_count + 1, sizeof(*cookies));
	_cleanup_free_ bool *seen = calloc(plan->node_count + 1, sizeof(*seen));
	struct choice choice = { plan, cookies, seen };

	if (!cookies || !seen)
		return -ENOMEM;
	workloads_each_place(workloads, offer_to_callees, &choice);
	workloads_each_place(workloads, offer_to_mesh, &choice);
	*ret_cookies = TAKE_PTR(cookies);
	return 0;
}
