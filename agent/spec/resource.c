/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/resource.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/graph.h"
#include "agent/spec/kind.h"
#include "agent/spec/model.h"
#include "base/bytes.h"
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

/* --- specs ------------------------------------------------------------------------------------------------------------- */

/* What is parsed now. Who changes or compiles something asks for the same few specs again and again. */
struct recent_spec {
	struct list link; /* of `recent_specs`, the last one asked for at the end */
	struct resource *resource;
	json_t *spec;
	size_t bytes; /* of its text */
};

/* In texts, whose trees take some ten times as much. A few are kept in any case: a node with a thousand backends is asked about with each
 * instance that comes or goes while its workloads are here. */
#define RECENT_BYTES (16 * 1024)
#define RECENT_SPECS 32

static struct list recent_specs = LIST_INIT(recent_specs);
static size_t recent_count, recent_bytes;

static void recent_free(struct recent_spec *recent)
{
	if (!recent)
		return;
	recent->resource->recent = NULL;
	recent_count--;
	recent_bytes -= recent->bytes;
	list_remove(&recent->link);
	json_decref(recent->spec);
	free(recent);
}

/* Without memory for it, it is parsed once more. */
static void recent_keep(struct resource *resource, json_t *spec)
{
	struct recent_spec *recent = malloc(sizeof(*recent));

	if (!recent)
		return;
	*recent = (struct recent_spec){ .resource = resource, .spec = json_incref(spec), .bytes = strlen(resource->spec_text) };
	resource->recent = recent;
	recent_count++;
	recent_bytes += recent->bytes;
	list_append(&recent_specs, &recent->link);
	while (recent_bytes > RECENT_BYTES && recent_count > RECENT_SPECS)
		recent_free(container_of(recent_specs.next, struct recent_spec, link));
}

static json_t *parse(const char *text)
{
	json_t *value;

	if (json_parse(text, strlen(text), &value, NULL) < 0)
		abort(); /* it is what we wrote, so it is memory that is missing */
	return value;
}

json_t *resource_spec(const struct resource *resource)
{
	struct recent_spec *recent = resource->recent;
	json_t *spec;

	if (recent) {
		list_remove(&recent->link);
		list_append(&recent_specs, &recent->link);
		return json_incref(recent->spec);
	}
	spec = parse(resource->spec_text);
	recent_keep((struct resource *)resource, spec);
	return spec;
}

void resource_specs_forget(void)
{
	while (!list_empty(&recent_specs))
		recent_free(container_of(recent_specs.next, struct recent_spec, link));
}

json_t *resource_tags(const struct resource *resource)
{
	return resource->tags_text ? parse(resource->tags_text) : NULL;
}

bool resource_has_tag(const struct resource *resource, const char *key, const char *value)
{
	_cleanup_json_ json_t *tags = resource_tags(resource);
	json_t *tag;
	size_t i;

	json_array_foreach(tags, i, tag)
		if (strcmp(json_path_string(tag, "key"), key) == 0)
			return strcmp(json_path_string(tag, "value"), value) == 0;
	return false;
}

bool resource_same_spec(const struct resource *a, const struct resource *b)
{
	_cleanup_json_ json_t *x = NULL, *y = NULL;

	if (a->spec_hash != b->spec_hash)
		return false;
	if (strcmp(a->spec_text, b->spec_text) == 0)
		return true;
	x = resource_spec(a);
	y = resource_spec(b);
	return json_equal(x, y);
}

static bool same_tags(const struct resource *a, const struct resource *b)
{
	_cleanup_json_ json_t *x = NULL, *y = NULL;

	if (!a->tags_text || !b->tags_text)
		return a->tags_text == b->tags_text;
	x = resource_tags(a);
	y = resource_tags(b);
	return json_equal(x, y);
}

/* --- sharing ----------------------------------------------------------------------------------------------------------- */

static void resource_free(struct resource *resource)
{
	if (!resource)
		return;
	recent_free(resource->recent);
	free(resource);
}

static void cleanup_resource(struct resource **resource)
{
	resource_free(*resource);
}

struct resource *resource_ref(const struct resource *resource)
{
	struct resource *shared = (struct resource *)resource;

	shared->holders++;
	return shared;
}

struct resource *resource_unref(const struct resource *resource)
{
	struct resource *shared = (struct resource *)resource;

	if (shared && --shared->holders == 0)
		resource_free(shared);
	return NULL;
}

bool resource_same_mesh(const struct resource *a, const struct resource *b)
{
	return strcmp(a->mesh, b->mesh) == 0 && strcmp(a->scope, b->scope) == 0;
}

bool resource_equal(const struct resource *a, const struct resource *b)
{
	return strcmp(a->full_name, b->full_name) == 0 && resource_same_spec(a, b) && same_tags(a, b);
}

void resource_parent_name(const struct resource *resource, char buffer[RESOURCE_FULL_NAME_BYTES])
{
	size_t length = strlen(resource->full_name);

	for (int names = 0; names < 2; length--) /* names have no "/" */
		names += resource->full_name[length - 1] == '/';
	snprintf(buffer, RESOURCE_FULL_NAME_BYTES, "%.*s", (int)length, resource->full_name);
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

/* The document's own name, checked. */
static int read_name(const json_t *document, enum resource_kind kind, const char **ret_name, struct error *err)
{
	const char *member = resource_kinds[kind].name_member;
	const char *name = json_path_string(document, member);
	int r = resource_name_check(member, name, err);

	if (r == 0)
		*ret_name = name;
	return r;
}

/* A null member is an absent one (App Mesh reads it so); readers of specs need not know. */
static bool has_null(const json_t *value)
{
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, child)
			if (json_is_null(child) || has_null(child))
				return true;
	} else if (json_is_array(value)) {
		json_array_foreach((json_t *)value, i, child)
			if (has_null(child))
				return true;
	}
	return false;
}

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

/* Of a document, mostly shared with it. NULL: no memory. */
static json_t *member_without_nulls(const json_t *document, const char *member)
{
	json_t *value = json_object_get(document, member);

	return has_null(value) ? copy_without_nulls(value) : json_incref(value);
}

/* Names as the document has them, and the scope as text. */
struct texts {
	const char *mesh, *parent, *name, *account, *region, *source;
	char scope[128], full_name[RESOURCE_FULL_NAME_BYTES];
};

int resource_realm_text(char *buffer, size_t size, const struct resource_realm *realm)
{
	const int length = snprintf(buffer, size, "arn:aws:appmesh:%s:%s:", realm->region, realm->account);

	return length < (int)size ? length : -ENAMETOOLONG;
}

static int read_texts(const json_t *document, enum resource_kind kind, const struct resource_realm *realm, struct texts *t,
		      struct error *err)
{
	const struct resource_kind_info *info = &resource_kinds[kind];
	size_t scope_length = 0;
	int r;

	r = read_name(document, RESOURCE_MESH, &t->mesh, err);
	if (r >= 0)
		r = read_name(document, kind, &t->name, err);
	if (r >= 0 && info->parent != RESOURCE_MESH && info->parent != RESOURCE_KIND_COUNT)
		r = read_name(document, info->parent, &t->parent, err);
	if (r < 0)
		return r;
	if (realm) {
		t->account = realm->account;
		t->region = realm->region;
		r = resource_realm_text(t->scope, sizeof(t->scope), realm);
		if (r < 0)
			return error_set_field(err, -EINVAL, info->name_member, "is in a region or account whose name is too long");
		scope_length = (size_t)r;
	}
	strcpy(t->full_name, t->scope);
	r = resource_full_name(t->full_name + scope_length, sizeof(t->full_name) - scope_length, t->mesh, kind, t->parent, t->name);
	return r < 0 ? error_set_field(err, r, info->name_member, "is too long") : 0;
}

/* Copies a text to where `at` is, and moves that on. */
static const char *place_text(char **at, const char *text)
{
	const char *copy = *at;

	if (!text)
		return NULL;
	*at = stpcpy(*at, text) + 1;
	return copy;
}

/* In one piece of memory. `spec` and `tags` (NULL: none) are what the texts are made of. */
static int make(enum resource_kind kind, const struct texts *t, const json_t *spec, const json_t *tags, struct resource **ret_resource,
		struct error *err)
{
	_cleanup_(buffer_done) struct buffer spec_text = {}, tags_text = {};
	_cleanup_(cleanup_resource) struct resource *resource = NULL;
	size_t size = sizeof(*resource);
	char *at;

	json_print(spec, &spec_text);
	if (tags)
		json_print(tags, &tags_text);
	if (buffer_failed(&spec_text) || buffer_failed(&tags_text))
		return error_set(err, -ENOMEM, "no memory for a resource");
	const char *const texts[] = { t->full_name, t->scope, t->mesh, t->parent, t->account, t->region, t->source, spec_text.data, tags_text.data };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		size += texts[i] ? strlen(texts[i]) + 1 : 0;
	resource = malloc(size);
	if (!resource)
		return error_set(err, -ENOMEM, "no memory for a resource");
	at = (char *)(resource + 1);
	*resource = (struct resource){
		.kind = kind,
		.holders = 1,
		.full_name = place_text(&at, t->full_name),
		.scope = place_text(&at, t->scope),
		.account = place_text(&at, t->account),
		.region = place_text(&at, t->region),
		.mesh = place_text(&at, t->mesh),
		.parent = place_text(&at, t->parent),
		.source = place_text(&at, t->source),
		.spec_text = place_text(&at, spec_text.data),
		.tags_text = place_text(&at, tags_text.data),
		.spec_hash = json_hash(spec),
	};
	resource->name = resource->full_name + strlen(t->full_name) - strlen(t->name); /* which ends with it */
	*ret_resource = TAKE_PTR(resource);
	return 0;
}

static const struct shape *shape_of(enum resource_kind kind)
{
	static const struct shape *shapes[RESOURCE_KIND_COUNT]; /* as they were found, by whichever thread */
	const struct shape *shape = __atomic_load_n(&shapes[kind], __ATOMIC_RELAXED);

	if (!shape) {
		shape = shape_find(resource_kinds[kind].create_shape);
		__atomic_store_n(&shapes[kind], shape, __ATOMIC_RELAXED);
	}
	return shape;
}

/* The caller owns the spec as well. On any thread. */
static int parse_document(const json_t *document, const struct resource_realm *realm, const char *source, struct resource **ret_resource,
			  json_t **ret_spec, struct error *err)
{
	_cleanup_json_ json_t *spec = NULL, *tags = NULL;
	struct texts texts = { .source = source };
	enum resource_kind kind = RESOURCE_KIND_COUNT;
	int r;

	r = kind_of(document, &kind, err);
	if (r >= 0)
		r = shape_validate(shape_of(kind), document, err);
	if (r >= 0)
		r = read_texts(document, kind, realm, &texts, err);
	if (r < 0)
		return r;
	spec = has(document, "spec") ? member_without_nulls(document, "spec") : json_object();
	tags = has(document, "tags") ? member_without_nulls(document, "tags") : NULL;
	if (!spec || (has(document, "tags") && !tags))
		return error_set(err, -ENOMEM, "no memory for a resource");
	r = kind_rules[kind]->check ? kind_rules[kind]->check(spec, err) : 0;
	if (r >= 0)
		r = make(kind, &texts, spec, tags, ret_resource, err);
	if (r < 0)
		return r;
	*ret_spec = TAKE_PTR(spec);
	return 0;
}

int resource_new(const json_t *document, const struct resource_realm *realm, const char *source, struct resource **ret_resource,
		 struct error *err)
{
	_cleanup_json_ json_t *spec = NULL;
	int r = parse_document(document, realm, source, ret_resource, &spec, err);

	if (r < 0)
		return r;
	recent_keep(*ret_resource, spec);
	return 0;
}

static void add_reference(const char *field, const char *full_name, void *arg)
{
	(void)field;
	buffer_append(arg, full_name, strlen(full_name) + 1);
}

int resource_parse(const json_t *document, const struct resource_realm *realm, const char *source, struct resource **ret_resource,
		   char **ret_references, struct error *err)
{
	_cleanup_(cleanup_resource) struct resource *resource = NULL;
	_cleanup_(buffer_done) struct buffer references = {};
	_cleanup_json_ json_t *spec = NULL;
	int r = parse_document(document, realm, source, &resource, &spec, err);

	if (r < 0)
		return r;
	graph_references_in(resource, spec, add_reference, &references);
	buffer_append(&references, "", 1);
	if (buffer_failed(&references))
		return error_set(err, -ENOMEM, "no memory for a resource");
	*ret_resource = TAKE_PTR(resource);
	*ret_references = TAKE_PTR(references.data);
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

void resource_not_in_force(const struct resources *set, const struct resource *resource, resource_not_in_force_fn *fn, void *arg)
{
	const struct dormant_rule *rule = kind_rules[resource->kind]->dormant;
	_cleanup_json_ json_t *spec = resource_spec(resource);
	bool has_l4 = false;

	for (const struct dormant_rule *r = rule; r && r->pattern && !has_l4; r++)
		has_l4 = r->l4 && graph_has_l4_http(set, resource);
	for (; rule && rule->pattern; rule++)
		if (has_l4 || !rule->l4)
			field_each(spec, rule->pattern, visit_dormant,
				   &(struct dormant_visit){ .rule = rule, .fn = fn, .arg = arg });
}

json_t *resource_document(const struct resource *resource)
{
	const struct resource_kind_info *info = &resource_kinds[resource->kind];
	json_t *document = json_pack("{s:s}", resource_kinds[RESOURCE_MESH].name_member, resource->mesh);

	if (!document)
		return NULL;
	if (resource->parent)
		json_object_set_new(document, resource_kinds[info->parent].name_member, json_string(resource->parent));
	json_object_set_new(document, info->name_member, json_string(resource->name));
	json_object_set_new(document, "spec", resource_spec(resource));
	if (resource->tags_text)
		json_object_set_new(document, "tags", resource_tags(resource));
	return document;
}
