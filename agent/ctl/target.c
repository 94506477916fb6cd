/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A virtual service names a router or a node, a route names nodes, a gateway route a service. A node's backends name services, which
 * nobody asks to be there. */
static const enum resource_kind order[RESOURCE_KIND_COUNT] = {
	RESOURCE_MESH,	RESOURCE_VIRTUAL_NODE,	  RESOURCE_VIRTUAL_ROUTER, RESOURCE_ROUTE, RESOURCE_VIRTUAL_SERVICE,
	RESOURCE_VIRTUAL_GATEWAY, RESOURCE_GATEWAY_ROUTE,
};

int target_rank(enum resource_kind kind)
{
	int rank = 0;

	while (order[rank] != kind)
		rank++;
	return rank;
}

void target_done(struct target *target)
{
	json_decref(target->input);
	free(target->full_name);
	*target = (struct target){};
}

static bool has_parent(enum resource_kind kind)
{
	return kind != RESOURCE_MESH && resource_kinds[kind].parent != RESOURCE_MESH;
}

int target_init(struct target *target, enum resource_kind kind, const char *mesh, const char *parent, const char *name)
{
	const struct resource_kind_info *info = &resource_kinds[kind];
	char full_name[RESOURCE_FULL_NAME_BYTES];
	json_t *input = json_pack("{s:s}", resource_kinds[RESOURCE_MESH].name_member, mesh);

	if (input && has_parent(kind))
		json_object_set_new(input, resource_kinds[info->parent].name_member, json_string(parent));
	if (input)
		json_object_set_new(input, info->name_member, json_string(name));
	*target = (struct target){ .kind = kind, .input = input };
	if (resource_full_name(full_name, sizeof(full_name), mesh, kind, parent, name) == 0)
		target->full_name = strdup(full_name);
	if (input && target->full_name)
		return 0;
	target_done(target);
	return -ENOMEM;
}

int target_of(struct target *target, enum resource_kind kind, const json_t *object, struct error *err)
{
	const char *mesh = json_path_string(object, resource_kinds[RESOURCE_MESH].name_member);
	const char *name = json_path_string(object, resource_kinds[kind].name_member), *parent = NULL;

	if (has_parent(kind))
		parent = json_path_string(object, resource_kinds[resource_kinds[kind].parent].name_member);
	if (!mesh || !name || (has_parent(kind) && !parent))
		return error_set(err, -EPROTO, "the API answered with a %s without its names", resource_kinds[kind].path_word);
	return target_init(target, kind, mesh, parent, name) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;
}

static int bad_name(const char *text, struct error *err)
{
	return error_set(err, -EINVAL,
			 "'%s' is no resource: mesh/M, mesh/M/virtualNode/N, mesh/M/virtualRouter/R/route/T and so on, or an ARN", text);
}

int target_parse(struct target *target, const char *text, struct error *err)
{
	const char *path = text, *mesh, *parent = NULL;
	_cleanup_free_ char *copy = NULL;
	char *words[6], *rest;
	size_t count = 0;
	enum resource_kind kind;

	for (int colon = 0; strncmp(text, "arn:", 4) == 0 && colon < 5; colon++) {
		path = strchr(path, ':');
		if (!path++)
			return bad_name(text, err);
	}
	copy = strdup(path);
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	for (rest = copy; rest && count < ARRAY_SIZE(words); count++) {
		words[count] = strsep(&rest, "/");
		if (!*words[count])
			return bad_name(text, err);
	}
	if (rest || count < 2 || count % 2 || strcmp(words[0], resource_kinds[RESOURCE_MESH].path_word) != 0)
		return bad_name(text, err);
	mesh = words[1];
	for (kind = 0; kind < RESOURCE_KIND_COUNT; kind++)
		if (strcmp(resource_kinds[kind].path_word, words[count - 2]) == 0)
			break;
	if (kind == RESOURCE_KIND_COUNT || (kind == RESOURCE_MESH) != (count == 2) || has_parent(kind) != (count == 6))
		return bad_name(text, err);
	if (has_parent(kind)) {
		if (strcmp(words[2], resource_kinds[resource_kinds[kind].parent].path_word) != 0)
			return bad_name(text, err);
		parent = words[3];
	}
	return target_init(target, kind, mesh, parent, words[count - 1]) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;
}
