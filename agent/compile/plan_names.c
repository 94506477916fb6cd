/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_names.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"

/* --- families ---------------------------------------------------------------------------------------------------------- */

/* Endpoints are in order of address, which keeps those of IPv4, with one prefix all, together, or in order of family. So where one is
 * of IPv6, an end is. */
static void add_families(const struct plan_target *target, struct plan_service *service)
{
	const size_t count = target->endpoint_count;

	if (!count)
		return;
	service->v6 = service->v6 || !ip_is_v4(&target->endpoints[0].address) || !ip_is_v4(&target->endpoints[count - 1].address);
	for (size_t i = 0; i < count && !service->v4; i++)
		service->v4 = ip_is_v4(&target->endpoints[i].address);
}

static void find_families(struct plan *plan)
{
	for (size_t s = 0; s < plan->service_count; s++) {
		struct plan_service *service = &plan->services[s];

		for (size_t p = 0; p < service->port_count; p++) {
			const struct plan_port *port = &service->ports[p];

			for (size_t t = 0; !port->closed && t < port->target_count; t++)
				if (port->targets[t].weight && port->targets[t].target != PLAN_NONE)
					add_families(&plan->targets[port->targets[t].target], service);
		}
		if (!service->v4 && !service->v6)
			service->v4 = service->v6 = true;
	}
}

/* --- scopes ------------------------------------------------------------------------------------------------------------ */

/* Length of "mesh/M", which names of nodes and services begin with: no name has a '/' in it. */
static size_t mesh_bytes(const char *full_name)
{
	const char *name = strchr(full_name, '/') + 1;

	return (size_t)(strchr(name, '/') - full_name);
}

static bool in_mesh(const char *full_name, const char *mesh)
{
	return strncmp(full_name, mesh, mesh_bytes(full_name)) == 0 && !mesh[mesh_bytes(full_name)];
}

static bool has_names_of_mesh(const struct plan_node *node)
{
	return node->flags & (NODE_DROP_ALL | NODE_AUDIT);
}

static int scope_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order, each once. */
static int make_scopes(struct plan *plan)
{
	size_t kept = 0;

	plan->scopes = calloc(plan->node_count + 1, sizeof(*plan->scopes));
	if (!plan->scopes)
		return -ENOMEM;
	for (size_t i = 0; i < plan->node_count; i++) {
		const struct plan_node *node = &plan->nodes[i];
		char *scope;

		if (node->outside)
			continue;
		scope = strndup(node->name, has_names_of_mesh(node) ? mesh_bytes(node->name) : strlen(node->name));
		if (!scope)
			return -ENOMEM;
		plan->scopes[plan->scope_count++] = scope;
	}
	qsort(plan->scopes, plan->scope_count, sizeof(*plan->scopes), scope_order);
	for (size_t i = 0; i < plan->scope_count; i++)
		if (kept && strcmp(plan->scopes[kept - 1], plan->scopes[i]) == 0)
			free(plan->scopes[i]);
		else
			plan->scopes[kept++] = plan->scopes[i];
	plan->scope_count = kept;
	return 0;
}

/* --- names of a scope -------------------------------------------------------------------------------------------------- */

static const struct plan_node *find_node(const struct plan *plan, const char *name)
{
	size_t low = 0, high = plan->node_count;

	while (low < high) {
		const size_t middle = (low + high) / 2;
		const int order = strcmp(plan->nodes[middle].name, name);

		if (order == 0)
			return &plan->nodes[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL; /* the scope is a mesh */
}

static void add_name(struct plan *plan, const char *scope, uint32_t service)
{
	plan->names[plan->name_count++] = (struct plan_name){ scope, service };
}

static int add_names(struct plan *plan, const char *scope)
{
	const struct plan_node *node = find_node(plan, scope);
	const size_t most = plan->name_count + (node ? node->backend_count : plan->service_count);
	struct plan_name *names = reallocarray(plan->names, most + 1, sizeof(*names));

	if (!names)
		return -ENOMEM;
	plan->names = names;
	for (size_t i = 0; node && i < node->backend_count; i++)
		add_name(plan, scope, node->backends[i].service);
	for (uint32_t i = 0; !node && i < plan->service_count; i++)
		if (in_mesh(plan->services[i].name, scope))
			add_name(plan, scope, i);
	return 0;
}

/* --- twins: names that are the same one to a resolver -------------------------------------------------------------------- */

struct asked { /* a name as resolvers see it */
	struct table_node node;
	char *name;
	uint32_t service;
};

struct asked_names {
	struct asked *asked;
	size_t count;
	struct table by_name;
};

static void asked_names_done(struct asked_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->asked[i].name);
	free(names->asked);
	table_done(&names->by_name);
}

static bool is_plain(const char *name)
{
	for (; *name; name++)
		if (isupper((unsigned char)*name) || (*name == '.' && !name[1]))
			return false;
	return true;
}

static char *as_asked(const char *name)
{
	char *copy = strdup(name);
	const size_t length = strlen(name);

	for (char *c = copy; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (copy && length && copy[length - 1] == '.')
		copy[length - 1] = '\0';
	return copy;
}

/* Whose name it is: that of the first service which asks. 0 or -ENOMEM. */
static int take_name(const struct plan *plan, struct asked_names *names, uint32_t service, uint32_t *ret_owner)
{
	struct asked *asked = &names->asked[names->count];
	int r;

	asked->name = as_asked(plan_service_name(&plan->services[service]));
	if (!asked->name)
		return -ENOMEM;
	names->count++;
	asked->service = service;
	r = table_add(&names->by_name, &asked->node, asked->name);
	if (r < 0 && r != -EEXIST)
		return r;
	*ret_owner = container_of(table_get(&names->by_name, asked->name), struct asked, node)->service;
	return 0;
}

/* The first in order has the name; the others of the scope, whose names begin at `first`, are taken out. */
static int remove_twins(struct plan *plan, size_t first)
{
	_cleanup_(asked_names_done) struct asked_names names = {
		.asked = calloc(plan->name_count - first + 1, sizeof(*names.asked)),
	};
	size_t kept = first;

	if (!names.asked)
		return -ENOMEM;
	for (size_t i = first; i < plan->name_count; i++) {
		struct plan_service *service = &plan->services[plan->names[i].service];
		uint32_t owner = PLAN_NONE;
		int r = take_name(plan, &names, plan->names[i].service, &owner);

		if (r < 0)
			return r;
		if (owner == plan->names[i].service)
			plan->names[kept++] = plan->names[i];
		else if (!service->twin && !(service->twin = strdup(plan->services[owner].name)))
			return -ENOMEM;
	}
	plan->name_count = kept;
	return 0;
}

static bool all_plain(const struct plan *plan, size_t first)
{
	for (size_t i = first; i < plan->name_count; i++)
		if (!is_plain(plan_service_name(&plan->services[plan->names[i].service])))
			return false;
	return true;
}

int plan_names(struct plan *plan)
{
	int r = make_scopes(plan);

	find_families(plan);
	for (size_t i = 0; r == 0 && i < plan->scope_count; i++) {
		const size_t first = plan->name_count;

		r = add_names(plan, plan->scopes[i]);
		if (r == 0 && !all_plain(plan, first)) /* seldom: plain names differ from each other */
			r = remove_twins(plan, first);
	}
	return r;
}
