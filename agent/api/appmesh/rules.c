/* SPDX-License-Identifier: Apache-2.0 */
/* What a write must hold to beside the shape of its input: parents, neighbours, references, quotas, what is in use. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "agent/api/appmesh/references.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"

#define ROW(quota, name, usual) [quota] = { name, usual },
const struct appmesh_quota appmesh_quotas[APPMESH_QUOTA_COUNT] = { APPMESH_QUOTAS(ROW) };
#undef ROW

/* --- what must be there ------------------------------------------------------------------------------------------------------- */

static int not_found(const struct appmesh_call *call, const char *field, enum resource_kind kind, const char *name, struct error *err)
{
	if (kind == RESOURCE_MESH)
		return error_set_field(err, -ENOENT, field, "there is no mesh %s for account %s in %s", name, call->scope.account,
				       call->scope.region);
	return error_set_field(err, -ENOENT, field, "%s with name %s is not present under mesh %s for account %s", NOUN(kind), name,
			       call->names.mesh, call->scope.account);
}

int appmesh_check_parents(const struct appmesh_call *call, struct error *err)
{
	const struct appmesh_names *names = &call->names;
	const enum resource_kind parent = resource_kinds[names->kind].parent;

	if (names->kind == RESOURCE_MESH)
		return 0;
	if (!appmesh_find(call->state, call->scope, RESOURCE_MESH, names->mesh, NULL, names->mesh))
		return not_found(call, "meshName", RESOURCE_MESH, names->mesh, err);
	if (parent != RESOURCE_MESH && !appmesh_find(call->state, call->scope, parent, names->mesh, NULL, names->parent))
		return not_found(call, resource_kinds[parent].name_member, parent, names->parent, err);
	return 0;
}

int appmesh_get(const struct appmesh_call *call, const struct appmesh_resource **ret_resource, struct error *err)
{
	const struct appmesh_names *names = &call->names;
	const struct appmesh_resource *resource;
	int r = appmesh_check_parents(call, err);

	if (r < 0)
		return r;
	resource = appmesh_find(call->state, call->scope, names->kind, names->mesh, names->parent, names->name);
	if (!resource)
		return not_found(call, resource_kinds[names->kind].name_member, names->kind, names->name, err);
	*ret_resource = resource;
	return 0;
}

/* --- beside its neighbours ---------------------------------------------------------------------------------------------------- */

struct neighbours {
	const struct appmesh_call *call;
	struct resources set;
	int r;
};

static void cleanup_resource(struct resource **resource)
{
	resource_unref(*resource);
}

static void cleanup_neighbours(struct neighbours *neighbours)
{
	resources_done(&neighbours->set);
}

/* One that is stored. What does not hold to the rules of this version is left out: it is not what is being written. */
static void add_stored(struct neighbours *neighbours, const struct appmesh_resource *stored)
{
	int r;

	if (!stored || !stored->resource || neighbours->r < 0)
		return;
	r = resources_add(&neighbours->set, stored->resource, NULL);
	if (r < 0 && r != -EEXIST) /* it may be a neighbour in two ways */
		neighbours->r = r;
}

static const struct appmesh_resource *stored(const struct appmesh_call *call, enum resource_kind kind, const char *parent, const char *name)
{
	return appmesh_find(call->state, call->scope, kind, call->names.mesh, parent, name);
}

static void add_named(enum resource_kind kind, const char *name, const char *field, void *arg)
{
	struct neighbours *neighbours = arg;

	(void)field;
	add_stored(neighbours, stored(neighbours->call, kind, NULL, name));
}

static void add_gateway_route(const struct appmesh_resource *from, const char *field, void *arg)
{
	(void)field;
	add_stored(arg, from);
}

static void add_referrer(const struct appmesh_resource *from, const char *field, void *arg)
{
	struct neighbours *neighbours = arg;

	(void)field;
	add_stored(neighbours, from);
	if (from->collection->kind == RESOURCE_VIRTUAL_SERVICE) /* what it provides is what a gateway route's port means */
		appmesh_referrers(neighbours->call->state, neighbours->call->scope, from->collection->mesh, from->collection->kind, from->name, add_gateway_route,
				  neighbours);
}

/* A gateway route's service has a provider. */
static void add_with_provider(enum resource_kind kind, const char *name, const char *field, void *arg)
{
	struct neighbours *neighbours = arg;
	const struct appmesh_resource *service = stored(neighbours->call, kind, NULL, name);
	_cleanup_json_ json_t *spec = service ? appmesh_spec(service) : NULL;

	(void)field;
	add_stored(neighbours, service);
	if (service)
		appmesh_references(kind, spec, add_named, neighbours);
}

static void add_children(struct neighbours *neighbours, enum resource_kind kind)
{
	const struct appmesh_call *call = neighbours->call;
	const struct appmesh_resource *const *list;
	const size_t count = appmesh_children(call->state, call->scope, kind, call->names.mesh, call->names.name, &list);

	for (size_t i = 0; i < count; i++)
		add_stored(neighbours, list[i]);
}

/* Those that rules between resources look at together with the one at hand. */
static void add_neighbours(struct neighbours *neighbours, const json_t *spec)
{
	const struct appmesh_call *call = neighbours->call;
	const struct appmesh_names *names = &call->names;

	switch (names->kind) {
	case RESOURCE_ROUTE:
		add_stored(neighbours, stored(call, RESOURCE_VIRTUAL_ROUTER, NULL, names->parent));
		appmesh_references(names->kind, spec, add_named, neighbours);
		break;
	case RESOURCE_GATEWAY_ROUTE:
		add_stored(neighbours, stored(call, RESOURCE_VIRTUAL_GATEWAY, NULL, names->parent));
		appmesh_references(names->kind, spec, add_with_provider, neighbours);
		break;
	case RESOURCE_VIRTUAL_GATEWAY:
		add_children(neighbours, RESOURCE_GATEWAY_ROUTE);
		break;
	case RESOURCE_VIRTUAL_ROUTER:
		add_children(neighbours, RESOURCE_ROUTE);
		appmesh_referrers(call->state, call->scope, names->mesh, names->kind, names->name, add_referrer, neighbours);
		break;
	case RESOURCE_VIRTUAL_NODE:
		appmesh_referrers(call->state, call->scope, names->mesh, names->kind, names->name, add_referrer, neighbours);
		break;
	case RESOURCE_VIRTUAL_SERVICE:
		appmesh_references(names->kind, spec, add_named, neighbours);
		appmesh_referrers(call->state, call->scope, names->mesh, names->kind, names->name, add_referrer, neighbours);
		break;
	default:
		break;
	}
}

struct strict_visit {
	const struct appmesh_call *call;
	struct error *err;
	int r;
};

static void check_there(enum resource_kind kind, const char *name, const char *field, void *arg)
{
	struct strict_visit *visit = arg;

	if (visit->r == 0 && !stored(visit->call, kind, NULL, name))
		visit->r = not_found(visit->call, field, kind, name, visit->err);
}

/* Backends may name what is not there: nodes that call each other could not be made otherwise. */
int appmesh_check_references(const struct appmesh_call *call, const json_t *spec, struct error *err)
{
	struct strict_visit visit = { .call = call, .err = err };

	if (call->settings->strict_references && call->names.kind != RESOURCE_VIRTUAL_NODE)
		appmesh_references(call->names.kind, spec, check_there, &visit);
	return visit.r;
}

/* A fault of the resource itself is told without its name. */
static void cut_own_name(const char *full_name, struct error *err)
{
	const size_t length = strlen(full_name);

	if (err && strncmp(err->message, full_name, length) == 0 && strncmp(err->message + length, ": ", 2) == 0)
		memmove(err->message, err->message + length + 2, strlen(err->message + length + 2) + 1);
}

int appmesh_check_document(const struct appmesh_call *call, const json_t *document, json_t **ret_spec, struct error *err)
{
	_cleanup_(cleanup_neighbours) struct neighbours neighbours = { .call = call };
	_cleanup_(cleanup_resource) struct resource *resource = NULL;
	_cleanup_json_ json_t *spec = NULL;
	struct resource_realm buffer;
	int r = resource_new(document, appmesh_realm(call->state, call->scope, &buffer), NULL, &resource, err);

	if (r < 0)
		return r;
	spec = resource_spec(resource);
	resources_init(&neighbours.set);
	neighbours.r = resources_put(&neighbours.set, resource);
	add_neighbours(&neighbours, spec);
	if (neighbours.r < 0)
		return error_set(err, neighbours.r, "out of memory");
	r = resources_check(&neighbours.set, err);
	if (r < 0) {
		cut_own_name(resource->full_name, err);
		return r;
	}
	*ret_spec = TAKE_PTR(spec);
	return 0;
}

/* --- what is in use ----------------------------------------------------------------------------------------------------------- */

static void keep_first(const struct appmesh_resource *from, const char *field, void *arg)
{
	const struct appmesh_resource **first = arg;

	(void)field;
	*first = *first ? *first : from;
}

/* The words that App Mesh has for it, which tools match on, and who it is. */
static int refuse_referred(const struct appmesh_call *call, const struct appmesh_resource *from, struct error *err)
{
	_cleanup_json_ json_t *record = from->collection->kind == RESOURCE_GATEWAY_ROUTE ? appmesh_record(from) : NULL;
	const struct appmesh_names *names = &call->names;

	switch (from->collection->kind) {
	case RESOURCE_ROUTE:
		return error_set(err, -EBUSY, "%s with name %s cannot be deleted because it is the target of one or more routes. One is %s of %s",
				 NOUN(names->kind), names->name, from->name, from->collection->parent);
	case RESOURCE_VIRTUAL_SERVICE:
		return error_set(err, -EBUSY, "%s with name %s cannot be deleted because it is a VirtualService provider: of %s",
				 NOUN(names->kind), names->name, from->name);
	default:
		return error_set(err, -EBUSY, "%s %s is being referenced in the following: GATEWAY_ROUTE: [%s]", NOUN(names->kind), names->name,
				 json_path_string(record, "uid") ?: "?");
	}
}

static int check_children(const struct appmesh_call *call, struct error *err)
{
	const struct appmesh_names *names = &call->names;

	for (enum resource_kind kind = RESOURCE_VIRTUAL_SERVICE; kind < RESOURCE_KIND_COUNT; kind++) {
		if (resource_kinds[kind].parent != names->kind || !appmesh_children(call->state, call->scope, kind, names->mesh, names->name, NULL))
			continue;
		if (names->kind == RESOURCE_MESH)
			return error_set(err, -EBUSY, "Mesh %s for account %s has active %ss, please delete %ss before deleting the Mesh",
					 names->mesh, call->scope.account, NOUN(kind), NOUN(kind));
		return error_set(err, -EBUSY, "%s with name %s cannot be deleted because it has active %ss", NOUN(names->kind), names->name,
				 NOUN(kind));
	}
	return 0;
}

int appmesh_check_unused(const struct appmesh_call *call, struct error *err)
{
	const struct appmesh_names *names = &call->names;
	const struct appmesh_resource *first = NULL;
	int r = check_children(call, err);

	if (r < 0)
		return r;
	if (names->kind != RESOURCE_MESH)
		appmesh_referrers(call->state, call->scope, names->mesh, names->kind, names->name, keep_first, &first);
	return first ? refuse_referred(call, first, err) : 0;
}

/* --- quotas ------------------------------------------------------------------------------------------------------------------- */

int appmesh_check_count(const struct appmesh_call *call, struct error *err)
{
	const struct appmesh_names *names = &call->names;
	const uint32_t quota = call->settings->quotas[names->kind];
	const size_t count = appmesh_children(call->state, call->scope, names->kind, names->mesh, names->parent, NULL);

	if (count < quota)
		return 0;
	return error_set(err, -ENOSPC, "there are %zu already, and the quota %s is %u", count, appmesh_quotas[names->kind].name, quota);
}

static void count_reference(enum resource_kind kind, const char *name, const char *field, void *arg)
{
	size_t *count = arg;

	(void)kind, (void)name, (void)field;
	(*count)++;
}

int appmesh_check_quotas(const struct appmesh_call *call, const json_t *spec, struct error *err)
{
	size_t count = 0;
	int quota;

	if (call->names.kind == RESOURCE_VIRTUAL_NODE)
		quota = APPMESH_QUOTA_BACKENDS;
	else if (call->names.kind == RESOURCE_ROUTE)
		quota = APPMESH_QUOTA_TARGETS;
	else
		return 0;
	appmesh_references(call->names.kind, spec, count_reference, &count);
	if (count <= call->settings->quotas[quota])
		return 0;
	return error_set_field(err, -ENOSPC, "spec", "has %zu, and the quota %s is %u", count, appmesh_quotas[quota].name,
			       call->settings->quotas[quota]);
}
