/* SPDX-License-Identifier: Apache-2.0 */
/* CloudFormation templates: the resources of type AWS::AppMesh::*, their functions worked out. A template has no identity: account and
 * region are those that are given as AWS::AccountId and AWS::Region, or those of whom they are imported into. */
#include <errno.h>
#include <string.h>

#include "agent/convert/convert.h"
#include "agent/convert/function.h"
#include "agent/convert/reshape.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"

struct entry {
	struct conversion_context *context;
	struct template *template;
	const char *id; /* logical */
	enum resource_kind kind;
	const json_t *properties; /* worked out */
	const char *path; /* "Resources.Node.Properties" */
};
#define MEMBER(ours) template_member(ours, (char[64]){ 0 })

static void on_remark(const char *path, const char *what, void *arg)
{
	const struct entry *e = arg;

	if (conversion_remark(e->context, e->id, path, "%s", what) < 0)
		e->context->failed = true;
}

/* A parameter that is missing is asked for by many, and told once. */
static bool is_told(const struct inputs *inputs, const struct error *err)
{
	const json_t *problem;
	size_t i;

	json_array_foreach(inputs->problems, i, problem)
		if (strcmp(json_path_string(problem, "field") ?: "", err->field) == 0 &&
		    strcmp(json_path_string(problem, "error"), err->message) == 0)
			return true;
	return false;
}

/* What the problem is told as comes from `err`, but for -ENOMEM. */
static int as_problem(const struct entry *e, int r, const struct error *err)
{
	if (r == -EINVAL && is_told(e->context->inputs, err))
		return 0;
	return r == -EINVAL ? inputs_problem(e->context->inputs, e->context->from, NULL, err) : r;
}

static int take_name(const struct entry *e, const char *ours, json_t *document)
{
	const char *member = MEMBER(ours), *full = FIELD("%s.%s", e->id, member), *given = template_value(e->template, full);
	const json_t *value = json_object_get(e->properties, member);

	if (given)
		return json_object_set_new(document, ours, json_string(given)) < 0 ? -ENOMEM : 0;
	if (value)
		return json_object_set(document, ours, (json_t *)value) < 0 ? -ENOMEM : 0;
	return conversion_problem(e->context, FIELD("%s.%s", e->path, member),
				  "CloudFormation made up a name, which the template does not have; `--parameter %s=NAME` gives it", full);
}

static int take_names(const struct entry *e, json_t *document)
{
	const struct resource_kind_info *info = &resource_kinds[e->kind];
	int r = take_name(e, "meshName", document);

	if (r == 0 && e->kind != RESOURCE_MESH)
		r = take_name(e, info->name_member, document);
	if (r == 0 && info->parent != RESOURCE_MESH && info->parent != RESOURCE_KIND_COUNT)
		r = take_name(e, resource_kinds[info->parent].name_member, document);
	return r;
}

/* [{"Key": K, "Value": V}] */
static int take_tags(const struct entry *e, json_t *document)
{
	const json_t *tags = json_object_get(e->properties, "Tags"), *tag;
	_cleanup_json_ json_t *object = json_object();
	json_t *list;
	size_t i;

	if (!tags)
		return 0;
	json_array_foreach((json_t *)tags, i, tag) {
		const char *key = json_path_string(tag, "Key");

		if (!key || !json_object_get(tag, "Value"))
			return conversion_problem(e->context, FIELD("%s.Tags[%zu]", e->path, i), "must have Key and Value");
		if (json_object_set(object, key, json_object_get(tag, "Value")) < 0)
			return -ENOMEM;
	}
	list = convert_tags(e->context, object, e->id, FIELD("%s.Tags", e->path));
	return json_object_set_new(document, "tags", list) < 0 ? -ENOMEM : 0;
}

static int take_mesh_owner(const struct entry *e, json_t *document)
{
	const char *owner = json_path_string(e->properties, "MeshOwner"), *account = template_value(e->template, "AWS::AccountId");

	if (!owner || (account && strcmp(owner, account) == 0))
		return 0;
	return json_object_set_new(document, "meshOwner", json_string(owner)) < 0 ? -ENOMEM : 0;
}

static int tell_others(const struct entry *e)
{
	const struct resource_kind_info *info = &resource_kinds[e->kind];
	const char *const known[] = { "Spec", "Tags", "MeshOwner", "MeshName", MEMBER(info->name_member),
				      MEMBER(info->parent < RESOURCE_KIND_COUNT ? resource_kinds[info->parent].name_member : "meshName") };
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)e->properties, name, value) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found |= strcmp(known[i], name) == 0;
		if (!found && r == 0)
			r = conversion_remark(e->context, e->id, FIELD("%s.%s", e->path, name), "App Mesh has no such member");
	}
	if (r == 0)
		r = conversion_remark(e->context, e->id, FIELD("%s.Uid", e->path),
				      "a template has neither uid, version nor times: they will be new");
	return r;
}

static int convert_entry(struct entry *e)
{
	const char *account = template_value(e->template, "AWS::AccountId"), *region = template_value(e->template, "AWS::Region");
	_cleanup_json_ json_t *document = json_object();
	const size_t before = json_array_size(e->context->inputs->problems);
	struct converted *item;
	bool failed = false;
	json_t *spec;
	int r;

	if (!document)
		return -ENOMEM;
	spec = reshape(&cloudformation_spelling, shape_find(resource_kinds[e->kind].spec_shape), json_object_get(e->properties, "Spec"),
		       FIELD("%s.Spec", e->path), on_remark, e, &failed);
	if (failed || (spec && json_object_set_new(document, "spec", spec) < 0))
		return -ENOMEM;
	r = take_names(e, document);
	if (r == 0)
		r = take_tags(e, document);
	if (r == 0)
		r = take_mesh_owner(e, document);
	if (r == 0)
		r = tell_others(e);
	if (r < 0 || json_array_size(e->context->inputs->problems) > before)
		return r;
	r = conversion_add(e->context, FORM_TEMPLATE, e->kind, e->id, e->path, e->properties, TAKE_PTR(document), json_object(), &item);
	if (r == 0) {
		snprintf(item->account, sizeof(item->account), "%s", account ?: "");
		snprintf(item->region, sizeof(item->region), "%s", region ?: "");
	}
	return r;
}

static int convert_resource(struct conversion_context *c, struct template *t, const char *id, const json_t *resource)
{
	const json_t *condition = json_object_get(resource, "Condition"), *properties = json_object_get(resource, "Properties");
	const char *type = json_path_string(resource, "Type");
	struct entry e = { .context = c, .template = t, .id = id, .path = FIELD("Resources.%s.Properties", id) };
	json_t *worked_out = NULL;
	struct error err = {};
	bool exists = true;
	int r;

	if (strncmp(id, "Fn::", 4) == 0)
		return conversion_problem(c, FIELD("Resources.%s", id), "is not worked out here");
	if (!type || strncmp(type, "AWS::AppMesh::", 14) != 0)
		return 0;
	if (template_kind(type, &e.kind) < 0)
		return conversion_problem(c, FIELD("Resources.%s.Type", id), "is '%.80s', which is no kind of App Mesh", type);
	if (json_is_string(condition)) {
		r = template_condition(t, json_string_value(condition), FIELD("Resources.%s.Condition", id), &exists, &err);
		if (r < 0)
			return as_problem(&e, r, &err);
	}
	if (!exists)
		return conversion_remark(c, id, FIELD("Resources.%s.Condition", id), "its condition does not hold: left out");
	r = properties ? template_evaluate(t, properties, e.path, &worked_out, &err) :
			 error_set_field(&err, -EINVAL, FIELD("Resources.%s", id), "has no Properties");
	if (r < 0)
		return as_problem(&e, r, &err);
	if (json_array_append_new(c->conversion->owned, worked_out ?: json_object()) < 0)
		return -ENOMEM;
	e.properties = worked_out;
	return convert_entry(&e);
}

int convert_template(struct conversion_context *c)
{
	struct template t = { .body = c->from->value, .values = c->conversion->values, .used = c->conversion->used };
	const json_t *resources = json_object_get(t.body, "Resources");
	const char *id;
	json_t *resource;
	int r = 0;

	json_object_foreach((json_t *)resources, id, resource)
		if (r == 0)
			r = convert_resource(c, &t, id, resource);
	return r;
}
