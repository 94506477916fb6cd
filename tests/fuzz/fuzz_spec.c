/* SPDX-License-Identifier: Apache-2.0 */
/* A set of resources from bytes: a document, or a list of documents. What is accepted must be accepted again, and be the same,
 * when it is printed and parsed; every message must be text that JSON can carry. */
#include <stdlib.h>
#include <string.h>

#include "agent/spec/resource.h"

#define REQUIRE(condition)                                                                                                    \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

static void require_text(const char *text)
{
	json_t *string = json_string(text); /* refuses what is not UTF-8 */

	REQUIRE(string);
	json_decref(string);
}

static void require_error(const struct error *err, int r)
{
	REQUIRE(err->code == r && r < 0 && err->message[0]);
	require_text(err->message);
	require_text(err->field);
}

/* What the resource was made from. */
static json_t *document_of(const struct resource *resource)
{
	const struct resource_kind_info *info = &resource_kinds[resource->kind];
	json_t *document = json_pack("{s:s, s:o, s:o*}", "meshName", resource->mesh, "spec", resource_spec(resource), "tags",
				     resource_tags(resource));

	if (resource->parent)
		json_object_set_new(document, resource_kinds[info->parent].name_member, json_string(resource->parent));
	json_object_set_new(document, info->name_member, json_string(resource->name));
	return document;
}

static void require_same_again(const struct resource *resource)
{
	json_t *document = document_of(resource), *again;
	char *text = json_dumps(document, JSON_COMPACT);
	struct resource *copy;
	struct error err = {};

	REQUIRE(document && text);
	REQUIRE(json_parse(text, strlen(text), &again, &err) == 0);
	REQUIRE(resource_new(again, NULL, "again", &copy, &err) == 0);
	REQUIRE(copy->kind == resource->kind && resource_equal(copy, resource));
	resource_unref(copy);
	json_decref(again);
	json_decref(document);
	free(text);
}

static void require_names(const struct resources *set, const struct resource *resource)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];
	struct error err = {};

	REQUIRE(resources_get(set, resource->full_name) == resource);
	REQUIRE(resources_sibling(set, resource, resource->kind, resource->parent, resource->name) == resource);
	if (strchr(resource->mesh, '@')) /* may be read as a mesh and its owner */
		return;
	REQUIRE(resource_name_parse(resource->full_name, resource->kind, full_name, sizeof(full_name), &err) == 0);
	REQUIRE(strcmp(full_name, resource->full_name) == 0);
}

static void on_dormant(const char *field, const char *meaning, void *arg)
{
	(void)arg;
	require_text(field);
	REQUIRE(*meaning);
}

static void on_unresolved(const struct resource *from, const char *field, const char *missing, void *arg)
{
	REQUIRE(from->full_name);
	require_text(field);
	require_text(missing);
	REQUIRE(!resources_get(arg, missing));
}

static void add(struct resources *set, const json_t *document)
{
	const size_t count = set->count;
	struct resource *resource;
	struct error err = {};
	int r = resource_new(document, NULL, "fuzz", &resource, &err);

	if (r == 0) {
		r = resources_add(set, resource, &err);
		resource_unref(resource);
	}
	REQUIRE(set->count == count + (r == 0));
	if (r < 0)
		require_error(&err, r);
}

static int require_resource(const struct resource *resource, void *arg)
{
	resources_unresolved(arg, resource, on_unresolved, arg);
	require_names(arg, resource);
	require_same_again(resource);
	resource_not_in_force(arg, resource, on_dormant, NULL);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resources set;
	struct error err = {};
	json_t *value, *document;
	size_t i;
	int r;

	r = json_parse((const char *)data, size, &value, &err);
	if (r < 0) {
		require_error(&err, r);
		return 0;
	}
	resources_init(&set);
	if (json_is_array(value))
		json_array_foreach(value, i, document)
			add(&set, document);
	else
		add(&set, value);
	json_decref(value);

	r = resources_check(&set, &err);
	if (r < 0)
		require_error(&err, r);
	REQUIRE(resources_each(&set, require_resource, &set) == 0);
	if (r < 0)
		resources_rollback(&set);
	else
		resources_commit(&set, NULL, NULL);
	REQUIRE(r == 0 || set.count == 0);
	resources_done(&set);
	return 0;
}
