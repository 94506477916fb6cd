/* SPDX-License-Identifier: Apache-2.0 */
/* terraform.tfstate, version 4 (Terraform 0.12 and later, OpenTofu): the resources of type aws_appmesh_*. Their attributes are those of
 * the provider hashicorp/aws: blocks are lists, what is not set is null, "" or 0, which the provider does not send either. */
#include <errno.h>
#include <string.h>

#include "agent/convert/convert.h"
#include "agent/convert/reshape.h"
#include "agent/spec/field.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"

#define STATE_VERSION 4

static const struct {
	const char *type;
	enum resource_kind kind;
} types[] = {
	{ "aws_appmesh_mesh", RESOURCE_MESH },
	{ "aws_appmesh_virtual_service", RESOURCE_VIRTUAL_SERVICE },
	{ "aws_appmesh_virtual_node", RESOURCE_VIRTUAL_NODE },
	{ "aws_appmesh_virtual_router", RESOURCE_VIRTUAL_ROUTER },
	{ "aws_appmesh_route", RESOURCE_ROUTE },
	{ "aws_appmesh_virtual_gateway", RESOURCE_VIRTUAL_GATEWAY },
	{ "aws_appmesh_gateway_route", RESOURCE_GATEWAY_ROUTE },
};

struct instance {
	struct conversion_context *context;
	enum resource_kind kind;
	const json_t *attributes;
	const char *origin; /* "module.mesh.aws_appmesh_route.backend[0]" */
	const char *path; /* "resources[3].instances[0].attributes" */
};

static void on_remark(const char *path, const char *what, void *arg)
{
	const struct instance *i = arg;

	if (conversion_remark(i->context, i->origin, path, "%s", what) < 0)
		i->context->failed = true;
}

/* Member `ours` from attribute `theirs`, where it has one. */
static int take_text(const struct instance *i, const char *theirs, const char *ours, json_t *into)
{
	const json_t *value = json_object_get(i->attributes, theirs);

	if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value)))
		return 0;
	return json_object_set(into, ours, (json_t *)value) < 0 ? -ENOMEM : 0;
}

static int take_names(const struct instance *i, json_t *document)
{
	const struct resource_kind_info *info = &resource_kinds[i->kind];
	int r = take_text(i, "name", info->name_member, document);

	if (r == 0 && i->kind != RESOURCE_MESH)
		r = take_text(i, "mesh_name", "meshName", document);
	if (r == 0 && info->parent == RESOURCE_VIRTUAL_ROUTER)
		r = take_text(i, "virtual_router_name", "virtualRouterName", document);
	if (r == 0 && info->parent == RESOURCE_VIRTUAL_GATEWAY)
		r = take_text(i, "virtual_gateway_name", "virtualGatewayName", document);
	return r;
}

/* A mesh of another account, shared with this one. */
static int take_mesh_owner(const struct instance *i, const char *account, json_t *document)
{
	const char *owner = json_path_string(i->attributes, "mesh_owner");

	if (i->kind == RESOURCE_MESH || !owner || !*owner || !*account || strcmp(owner, account) == 0)
		return 0;
	return take_text(i, "mesh_owner", "meshOwner", document);
}

static int take_tags(const struct instance *i, json_t *document)
{
	const bool all = json_object_size(json_object_get(i->attributes, "tags_all")) > 0; /* those of the provider's default_tags as well */
	const char *member = all ? "tags_all" : "tags";
	const json_t *tags = json_object_get(i->attributes, member);
	json_t *list;

	if (json_object_size(tags) == 0)
		return 0;
	list = convert_tags(i->context, tags, i->origin, FIELD("%s.%s", i->path, member));
	return json_object_set_new(document, "tags", list) < 0 ? -ENOMEM : 0;
}

static int take_time(const struct instance *i, const char *theirs, const char *ours, json_t *metadata)
{
	const json_t *value = json_object_get(i->attributes, theirs);
	uint64_t ns;

	if (!json_is_string(value) || !json_string_length(value))
		return conversion_remark(i->context, i->origin, FIELD("%s.%s", i->path, theirs), "is not in the state: it will be now");
	if (time_parse_wall(json_string_value(value), &ns) < 0)
		return conversion_problem(i->context, FIELD("%s.%s", i->path, theirs), "is %s, which is no time", VALUE(value));
	return json_object_set_new(metadata, ours, json_integer((json_int_t)(ns / NSEC_PER_MSEC))) < 0 ? -ENOMEM : 0;
}

static int take_metadata(const struct instance *i, json_t *metadata)
{
	const char *version = FIELD("%s.version", i->path);
	int r = take_text(i, "arn", "arn", metadata);

	/* the id of a mesh is its name */
	if (r == 0 && i->kind != RESOURCE_MESH)
		r = take_text(i, "id", "uid", metadata);
	if (r == 0 && !json_object_get(metadata, "uid"))
		r = conversion_remark(i->context, i->origin, FIELD("%s.uid", i->path), "Terraform does not keep it: it will be a new one");
	if (r == 0)
		r = conversion_remark(i->context, i->origin, version, "Terraform does not keep it: it begins at 1");
	if (r == 0)
		r = take_time(i, "created_date", "createdAt", metadata);
	return r == 0 ? take_time(i, "last_updated_date", "lastUpdatedAt", metadata) : r;
}

/* Whatever else the attributes have. */
static int tell_others(const struct instance *i)
{
	static const char *const known[] = { "name", "mesh_name", "mesh_owner", "virtual_router_name", "virtual_gateway_name", "spec", "tags",
					     "tags_all", "arn", "id", "created_date", "last_updated_date", "resource_owner", "region" };
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)i->attributes, name, value) {
		bool found = json_is_null(value);

		for (size_t n = 0; n < ARRAY_SIZE(known); n++)
			found |= strcmp(known[n], name) == 0;
		if (!found && r == 0)
			r = conversion_remark(i->context, i->origin, FIELD("%s.%s", i->path, name), "App Mesh has no such member");
	}
	return r;
}

static int convert_instance(struct instance *i)
{
	const char *arn = json_path_string(i->attributes, "arn");
	_cleanup_json_ json_t *document = json_object(), *metadata = json_object();
	char account[ACCOUNT_BYTES] = "", region[REGION_BYTES] = "";
	struct converted *item;
	bool failed = false;
	json_t *spec;
	int r;

	if (!document || !metadata)
		return -ENOMEM;
	if (arn && *arn && !arn_scope(arn, account, region))
		return conversion_problem(i->context, FIELD("%s.arn", i->path), "is %s, which is no ARN of App Mesh",
					  VALUE(json_object_get(i->attributes, "arn")));
	spec = reshape(&terraform_spelling, shape_find(resource_kinds[i->kind].spec_shape), json_object_get(i->attributes, "spec"),
		       FIELD("%s.spec", i->path), on_remark, i, &failed);
	if (failed || json_object_set_new(document, "spec", spec ?: json_object()) < 0)
		return -ENOMEM;
	r = take_names(i, document);
	if (r == 0)
		r = take_mesh_owner(i, account, document);
	if (r == 0)
		r = take_tags(i, document);
	if (r == 0)
		r = take_metadata(i, metadata);
	if (r == 0)
		r = tell_others(i);
	if (r < 0)
		return r;
	r = conversion_add(i->context, FORM_STATE, i->kind, i->origin, i->path, i->attributes, TAKE_PTR(document), TAKE_PTR(metadata), &item);
	if (r < 0)
		return r;
	memcpy(item->account, account, sizeof(account));
	memcpy(item->region, region, sizeof(region));
	return 0;
}

/* "module.mesh.aws_appmesh_route.backend[\"eu\"]", as `terraform state list` has it. */
static void print_address(const json_t *resource, const json_t *instance, struct buffer *out)
{
	const char *module = json_path_string(resource, "module");
	const json_t *key = json_object_get(instance, "index_key");

	buffer_printf(out, "%s%s%s.%s", module ?: "", module ? "." : "", json_path_string(resource, "type"),
		      json_path_string(resource, "name") ?: "?");
	if (key && !json_is_null(key))
		buffer_printf(out, "[%s]", VALUE(key));
}

static int convert_resource(struct conversion_context *c, size_t number, const json_t *resource, enum resource_kind kind)
{
	const json_t *instances = json_object_get(resource, "instances"), *instance;
	size_t n;
	int r = 0;

	json_array_foreach((json_t *)instances, n, instance) {
		const json_t *attributes = json_object_get(instance, "attributes");
		const char *path = FIELD("resources[%zu].instances[%zu]", number, n);
		_cleanup_(buffer_done) struct buffer origin = {};

		print_address(resource, instance, &origin);
		if (json_object_get(instance, "deposed"))
			r = conversion_remark(c, buffer_string(&origin), path, "is deposed: Terraform has replaced it, and would destroy it");
		else if (!json_is_object(attributes))
			r = conversion_problem(c, path, "has no attributes");
		else
			r = convert_instance(&(struct instance){ c, kind, attributes, buffer_string(&origin), FIELD("%s.attributes", path) });
		if (r < 0)
			return r;
	}
	return r;
}

int convert_state(struct conversion_context *c)
{
	const json_t *resources = json_object_get(c->from->value, "resources"), *resource;
	size_t i, count = 0;
	int r = 0;

	if (json_object_get(c->from->value, "format_version"))
		return conversion_problem(c, "format_version", "what `terraform show -json` prints is not read: what `terraform state pull` "
							       "prints is");
	if (json_path_int(c->from->value, "version", 0) != STATE_VERSION || !json_is_array(resources))
		return conversion_problem(c, "version", "is %s; states of version %d are read, which Terraform 0.12 and later write",
					  VALUE(json_object_get(c->from->value, "version") ?: json_null()), STATE_VERSION);
	json_array_foreach((json_t *)resources, i, resource) {
		const char *type = json_path_string(resource, "type"), *mode = json_path_string(resource, "mode");

		if (!type || !mode || strcmp(mode, "managed") != 0)
			continue; /* data sources are somebody else's resources */
		for (size_t n = 0; n < ARRAY_SIZE(types) && r == 0; n++) {
			if (strcmp(types[n].type, type) != 0)
				continue;
			r = convert_resource(c, i, resource, types[n].kind);
			count++;
		}
		if (r < 0)
			return r;
	}
	return count ? 0 : conversion_problem(c, "resources", "has no aws_appmesh_* resource");
}
