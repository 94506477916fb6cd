/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be looked at, and in which order: callers say which services are planned, services which targets there are, targets which
 * families services have, and services what callers may do. A mark goes when what it is of has been compiled, so that after a failure the
 * next compile() goes on where this one ended. */
#include "compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "base/cleanup.h"

int no_memory(struct compiler *c)
{
	return error_set(c->err, -ENOMEM, "out of memory");
}

int compiler_new(struct compiler **ret_compiler)
{
	struct compiler *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	line_init(&c->line);
	list_init(&c->services_marked);
	list_init(&c->services_unfinished);
	list_init(&c->units_marked);
	list_init(&c->callers_marked);
	c->callers_changed = c->servings_changed = true;
	*ret_compiler = c;
	return 0;
}

#define FREE_ALL(c, table, type, free_fn)                                                                                     \
	for (struct table_node *_n = table_first(&(c)->table), *_next; _n && ((_next = table_next(&(c)->table, _n)), true); _n = _next) \
	free_fn(c, container_of(_n, struct type, node))

struct compiler *compiler_free(struct compiler *c)
{
	if (!c)
		return NULL;
	FREE_ALL(c, callers, local_caller, caller_free);
	FREE_ALL(c, services, local_service, service_free);
	FREE_ALL(c, units, local_unit, unit_free);
	FREE_ALL(c, meshes, local_mesh, mesh_free);
	table_done(&c->callers);
	table_done(&c->services);
	table_done(&c->units);
	table_done(&c->targets);
	table_done(&c->sources);
	table_done(&c->meshes);
	line_done(&c->line);
	servings_free(c->servings, c->serving_count);
	free(c->target_by_place);
	free(c);
	return NULL;
}

/* --- what changed -------------------------------------------------------------------------------------------------------- */

static struct local_mesh *mesh_of(const struct compiler *c, const struct resource *resource)
{
	char name[RESOURCE_FULL_NAME_BYTES];
	struct table_node *node;

	snprintf(name, sizeof(name), "%smesh/%s", resource->scope, resource->mesh);
	node = table_get(&c->meshes, name);
	return node ? container_of(node, struct local_mesh, node) : NULL;
}

/* Services of meshes that nobody calls in are all marked when somebody begins to. */
static void mark_service(const struct resource *service, void *arg)
{
	struct compiler *c = arg;
	struct local_mesh *mesh = mesh_of(c, service);
	struct local_service *local;

	if (service->kind != RESOURCE_VIRTUAL_SERVICE || !mesh)
		return;
	if (service_make(c, mesh, service->full_name, &local) < 0)
		c->no_memory = true;
	else
		mark(&c->services_marked, &local->marked);
}

struct route_marking {
	struct compiler *c;
	const struct resources *resources;
};

/* Services by the router of a route. */
static void mark_services_of_route(const struct resource *route, void *arg)
{
	const struct route_marking *m = arg;
	char router[RESOURCE_FULL_NAME_BYTES];

	if (route->kind != RESOURCE_ROUTE)
		return;
	resource_parent_name(route, router);
	resources_referrers(m->resources, router, mark_service, m->c);
}

static void caller_changed(struct compiler *c, const char *full_name)
{
	struct table_node *known = table_get(&c->callers, full_name);

	if (!known)
		return;
	mark(&c->callers_marked, &container_of(known, struct local_caller, node)->marked);
	c->meshes_changed = c->servings_changed = true;
}

static void node_changed(struct compiler *c, const struct resources *resources, const struct resource *node)
{
	struct route_marking m = { c, resources };
	struct table_node *known = table_get(&c->units, node->full_name);

	if (known)
		mark(&c->units_marked, &container_of(known, struct local_unit, node)->marked);
	resources_referrers(resources, node->full_name, mark_service, c);
	resources_referrers(resources, node->full_name, mark_services_of_route, &m);
	caller_changed(c, node->full_name);
}

void compiler_resource_changed(struct compiler *c, const struct resources *resources, const struct resource *before,
			       const struct resource *now)
{
	struct route_marking m = { c, resources };
	const struct resource *any = now ?: before;
	char gateway[RESOURCE_FULL_NAME_BYTES];

	c->err = NULL;
	switch (any->kind) {
	case RESOURCE_MESH:
		c->meshes_changed = c->servings_changed = true;
		return;
	case RESOURCE_VIRTUAL_SERVICE:
		mark_service(any, c);
		c->meshes_changed |= !before || !now; /* whether it is exposed makes a difference */
		return;
	case RESOURCE_VIRTUAL_NODE:
		node_changed(c, resources, any);
		return;
	case RESOURCE_VIRTUAL_ROUTER:
		resources_referrers(resources, any->full_name, mark_service, c);
		return;
	case RESOURCE_ROUTE:
		mark_services_of_route(any, &m);
		return;
	case RESOURCE_VIRTUAL_GATEWAY:
		caller_changed(c, any->full_name);
		return;
	case RESOURCE_GATEWAY_ROUTE:
		resource_parent_name(any, gateway);
		caller_changed(c, gateway);
		return;
	default:
		return;
	}
}

void compiler_instances_changed(struct compiler *c, const char *namespace_name, const char *service_name)
{
	_cleanup_free_ char *key = source_service_key(namespace_name, service_name);

	source_changed(c, key);
	c->servings_changed = true;
}

void compiler_host_changed(struct compiler *c, const char *hostname)
{
	_cleanup_free_ char *key = source_host_key(hostname);

	source_changed(c, key);
	c->servings_changed = true;
}

void compiler_callers_changed(struct compiler *c)
{
	c->callers_changed = c->servings_changed = true;
}

bool compiler_wants_callers(const struct compiler *c)
{
	return c->callers_changed || c->servings_changed;
}

void compiler_refused(struct compiler *c)
{
	c->line.changed = true;
}

/* --- all of it ----------------------------------------------------------------------------------------------------------- */

static int make_plan(struct compiler *c, struct plan **ret_plan)
{
	struct plan *plan;

	if (!c->line.changed) {
		*ret_plan = NULL;
		return 0;
	}
	if (line_plan(&c->line, &plan) < 0)
		return no_memory(c);
	if (plan_servings_copy(c->servings, c->serving_count, plan) < 0) {
		plan_free(plan);
		c->line.changed = true;
		return no_memory(c);
	}
	*ret_plan = plan;
	return 0;
}

static int keep_vips(struct compiler *c)
{
	if (!c->begun)
		vips_let_go_unasked(c->input->vips, c->input->now_wall_ns);
	return vips_commit(c->input->vips, c->err);
}

/* As if every mesh were another one. */
static void mark_everything(struct compiler *c)
{
	for (struct table_node *n = table_first(&c->meshes); n; n = table_next(&c->meshes, n)) {
		struct local_mesh *mesh = container_of(n, struct local_mesh, node);

		mesh->resource = resource_unref(mesh->resource);
	}
	c->callers_changed = c->meshes_changed = c->servings_changed = true;
	c->no_memory = false;
}

static int look(struct compiler *c, struct plan **ret_plan)
{
	static int (*const steps[])(struct compiler *c) = {
		compile_callers, compile_services, compile_targets, finish_services, compile_nodes,
		compile_scopes,	 compile_servings, keep_vips,	    keep_hosts,
	};

	if (c->no_memory)
		mark_everything(c);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i](c);

		if (r < 0)
			return r;
		if (i == 0)
			c->callers_changed = c->meshes_changed = false;
	}
	c->begun = true;
	return make_plan(c, ret_plan);
}

int compile(struct compiler *c, const struct compile_input *input, struct plan **ret_plan, struct error *err)
{
	int r;

	c->input = input;
	c->err = err;
	r = look(c, ret_plan);
	c->input = NULL;
	c->err = NULL;
	return r;
}
