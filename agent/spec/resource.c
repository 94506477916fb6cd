/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/resource.h"

#include <errno.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"
#include "agent/spec/model.h"
#include "base/cleanup.h"

const struct kind_rules *const kind_rules[RESOURCE_KIND_COUNT] = {
	[RESOURCE_MESH] = &mesh_rules,
	[RESOURCE_VIRTUAL_SERVICE] = &virtual_service_rules,
	[RESOURCE_VIRTUAL_NODE] = &virtual_node_rules,
	[RESOURCE_VIRTUAL_ROUTER] = &virtual_router_rules,
	[RESOURCE_ROUTE] = &route_rules,
	[RESOURCE_VIRTUAL_GATEWAY] = &virtual_gateway_rules,
	[RESOURCE_GATEWAY_ROUTE] = &gateway_route_rules,
};

/* --- sets -------------------------------------------------------------------------------------------------------------- */

static struct resource *resource_free(struct resource *resource)
{
	if (!resource)
		return NULL;
	free(resource->full_name);
	free(resource->mesh);
	free(resource->parent);
	free(resource->name);
	free(resource->source);
	json_decref(resource->spec);
	json_decref(resource->tags);
	free(resource);
	return NULL;
}

static void cleanup_resource(struct resource **resource)
{
	resource_free(*resource);
}

void resources_init(struct resources *set)
{
	*set = (struct resources){};
	list_init(&set->list);
}

void resources_done(struct resources *set)
{
	list_for_each_safe(it, &set->list)
		resource_free(container_of(it, struct resource, link));
	table_done(&set->by_name);
	resources_init(set);
}

void resources_move(struct resources *to, struct resources *from)
{
	resources_done(to);
	*to = *from;
	list_init(&to->list);
	list_for_each_safe(it, &from->list) {
		list_remove(it);
		list_append(&to->list, it);
	}
	resources_init(from);
}

const struct resource *resources_get(const struct resources *set, const char *full_name)
{
	const struct table_node *node = table_get(&set->by_name, full_name);

	return node ? container_of(node, struct resource, node) : NULL;
}

const struct resource *resources_find(const struct resources *set, const char *mesh, enum resource_kind kind, const char *parent,
				      const char *name)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];

	if (resource_full_name(full_name, sizeof(full_name), mesh, kind, parent, name) < 0)
		return NULL; /* longer than any name in a set */
	return resources_get(set, full_name);
}

/* --- one document ------------------------------------------------------------------------------------------------------ */

static bool has(const json_t *object, const char *member)
{
	const json_t *value = json_object_get(object, member);

	return value && !json_is_null(value);
}

/* A route names its router as well, and all but a mesh name their mesh: the most specific name tells the kind. */
static int kind_of(const json_t *document, enum resource_kind *ret_kind, struct error *err)
{
	static const enum resource_kind order[] = { RESOURCE_ROUTE,	     RESOURCE_GATEWAY_ROUTE,   RESOURCE_VIRTUAL_SERVICE,
						    RESOURCE_VIRTUAL_NODE, RESOURCE_VIRTUAL_ROUTER, RESOURCE_VIRTUAL_GATEWAY,
						    RESOURCE_MESH };

	if (!json_is_object(document))
		return error_set(err, -EINVAL, "must be an object, not %s", VALUE(document));
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (!has(document, resource_kinds[order[i]].name_member))
			continue;
		*ret_kind = order[i];
		return 0;
	}
	return error_set(err, -EINVAL,
			 "no name tells what this is: meshName (alone for a mesh) with virtualServiceName, virtualNodeName, "
			 "virtualRouterName (and routeName), or virtualGatewayName (and gatewayRouteName)");
}

int resource_name_check(const char *member, const char *name, struct error *err)
{
	const size_t length = text_characters(name);

	if (length < 1 || length > RESOURCE_NAME_CHARACTERS)
		return error_set_field(err, -EINVAL, member, "has %zu characters, allowed are 1 to %d", length,
				       RESOURCE_NAME_CHARACTERS);
	if (strchr(name, '/'))
		return error_set_field(err, -EINVAL, member, "must be a plain name, without \"/\"");
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) /* no path of a URL could name it */
		return error_set_field(err, -EINVAL, member, "must not be \".\" or \"..\"");
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return error_set_field(err, -EINVAL, member, "must not have control characters");
	return 0;
}

/* The document's own name, checked and copied. */
static int take_name(const json_t *document, enum resource_kind kind, char **ret_name, struct error *err)
{
	const char *member = resource_kinds[kind].name_member;
	const char *name = json_path_string(document, member);
	int r = resource_name_check(member, name, err);

	if (r < 0)
		return r;
	*ret_name = strdup(name);
	return *ret_name ? 0 : error_set(err, -ENOMEM, "no memory for a resource");
}

/* A null member is an absent one (App Mesh reads it so); readers of specs need not know. */
static json_t *copy_without_nulls(const json_t *value)
{
	_cleanup_json_ json_t *copy = NULL;
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach((json_t *)value, key, child)
			if (!json_is_null(child) && json_object_set_new(copy, key, copy_without_nulls(child)) < 0)
				return NULL;
	} else if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach((json_t *)value, i, child)
			if (json_array_append_new(copy, copy_without_nulls(child)) < 0)
				return NULL;
	} else {
		copy = json_copy((json_t *)value);
	}
	return TAKE_PTR(copy);
}

static int resource_new(const json_t *document, enum resource_kind kind, const char *source, struct resource **ret_resource,
			struct error *err)
{
	const struct resource_kind_info *info = &resource_kinds[kind];
	_cleanup_(cleanup_resource) struct resource *resource = calloc(1, sizeof(*resource));
	char full_name[RESOURCE_FULL_NAME_BYTES];
	int r;

	if (!resource)
		return error_set(err, -ENOMEM, "no memory for a resource");
	resource->kind = kind;
	r = take_name(document, RESOURCE_MESH, &resource->mesh, err);
	if (r >= 0)
		r = take_name(document, kind, &resource->name, err);
	if (r >= 0 && info->parent != RESOURCE_MESH && info->parent != RESOURCE_KIND_COUNT)
		r = take_name(document, info->parent, &resource->parent, err);
	if (r < 0)
		return r;
	r = resource_full_name(full_name, sizeof(full_name), resource->mesh, kind, resource->parent, resource->name);
	if (r < 0)
		return error_set_field(err, r, info->name_member, "is too long");

	resource->full_name = strdup(full_name);
	resource->source = source ? strdup(source) : NULL;
	resource->spec = has(document, "spec") ? copy_without_nulls(json_object_get(document, "spec")) : json_object();
	resource->tags = has(document, "tags") ? copy_without_nulls(json_object_get(document, "tags")) : NULL;
	if (!resource->full_name || !resource->spec || (source && !resource->source) || (has(document, "tags") && !resource->tags))
		return error_set(err, -ENOMEM, "no memory for a resource");
	*ret_resource = TAKE_PTR(resource);
	return 0;
}

int resources_add_json(struct resources *set, const json_t *document, const char *source, struct error *err)
{
	_cleanup_(cleanup_resource) struct resource *resource = NULL;
	const struct resource *other;
	enum resource_kind kind = RESOURCE_KIND_COUNT;
	int r;

	r = kind_of(document, &kind, err);
	if (r < 0)
		return r;
	r = shape_validate(shape_find(resource_kinds[kind].create_shape), document, err);
	if (r < 0)
		return r;
	r = resource_new(document, kind, source, &resource, err);
	if (r < 0)
		return r;
	if (kind_rules[kind]->check) {
		r = kind_rules[kind]->check(resource->spec, err);
		if (r < 0)
			return r;
	}

	r = table_add(&set->by_name, &resource->node, resource->full_name);
	if (r == -EEXIST) {
		other = resources_get(set, resource->full_name);
		return error_set_field(err, r, resource_kinds[kind].name_member, "%s is defined twice: in '%s' and in '%s'",
				       resource->full_name, other->source ?: "(no file)", source ?: "(no file)");
	}
	if (r < 0)
		return error_set(err, r, "no memory for a resource");
	list_append(&set->list, &resource->link);
	set->count++;
	TAKE_PTR(resource);
	return 0;
}

/* --- what is not in force ---------------------------------------------------------------------------------------------- */

struct dormant_visit {
	const struct dormant_rule *rule;
	resource_not_in_force_fn *fn;
	void *arg;
};

static void visit_dormant(const char *field, const json_t *value, void *arg)
{
	const struct dormant_visit *visit = arg;

	if (!visit->rule->when || visit->rule->when(value))
		visit->fn(field, visit->rule->meaning, visit->arg);
}

void resource_not_in_force(const struct resource *resource, resource_not_in_force_fn *fn, void *arg)
{
	const struct dormant_rule *rule = kind_rules[resource->kind]->dormant;

	for (; rule && rule->pattern; rule++)
		field_each(resource->spec, rule->pattern, visit_dormant,
			   &(struct dormant_visit){ .rule = rule, .fn = fn, .arg = arg });
}
