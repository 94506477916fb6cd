/* SPDX-License-Identifier: Apache-2.0 */
/* Names of resources: "mesh/M/virtualRouter/R/route/T", and ARNs that end in them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/spec/resource.h"
#include "base/bytes.h"
#include "base/cleanup.h"

const struct resource_kind_info resource_kinds[RESOURCE_KIND_COUNT] = {
	[RESOURCE_MESH] = { "mesh", "meshName", "CreateMeshInput", "MeshSpec", RESOURCE_KIND_COUNT },
	[RESOURCE_VIRTUAL_SERVICE] = { "virtualService", "virtualServiceName", "CreateVirtualServiceInput", "VirtualServiceSpec",
				       RESOURCE_MESH },
	[RESOURCE_VIRTUAL_NODE] = { "virtualNode", "virtualNodeName", "CreateVirtualNodeInput", "VirtualNodeSpec", RESOURCE_MESH },
	[RESOURCE_VIRTUAL_ROUTER] = { "virtualRouter", "virtualRouterName", "CreateVirtualRouterInput", "VirtualRouterSpec",
				      RESOURCE_MESH },
	[RESOURCE_ROUTE] = { "route", "routeName", "CreateRouteInput", "RouteSpec", RESOURCE_VIRTUAL_ROUTER },
	[RESOURCE_VIRTUAL_GATEWAY] = { "virtualGateway", "virtualGatewayName", "CreateVirtualGatewayInput", "VirtualGatewaySpec",
				       RESOURCE_MESH },
	[RESOURCE_GATEWAY_ROUTE] = { "gatewayRoute", "gatewayRouteName", "CreateGatewayRouteInput", "GatewayRouteSpec",
				     RESOURCE_VIRTUAL_GATEWAY },
};

/* "/WORD/NAME" */
static char *put_pair(char *at, const char *end, const char *word, const char *name)
{
	return text_put(text_put(text_put(text_put(at, end, "/"), end, word), end, "/"), end, name);
}

int resource_full_name(char *buffer, size_t size, const char *mesh, enum resource_kind kind, const char *parent, const char *name)
{
	const struct resource_kind_info *info = &resource_kinds[kind];
	const char *end = buffer + size;
	char *at = text_put(text_put(buffer, end, "mesh/"), end, mesh);

	if (kind != RESOURCE_MESH && info->parent != RESOURCE_MESH)
		at = put_pair(at, end, resource_kinds[info->parent].path_word, parent);
	if (kind != RESOURCE_MESH)
		at = put_pair(at, end, info->path_word, name);
	return at ? 0 : -ENAMETOOLONG;
}

/* The part behind "arn:PARTITION:appmesh:REGION:ACCOUNT:"; what is no ARN is that part already. NULL: an ARN of something else. */
static const char *resource_part(const char *text)
{
	static const char arn[] = "arn:", service[] = "appmesh:";
	const char *at = text;

	if (strncmp(text, arn, strlen(arn)) != 0)
		return text;
	for (size_t colons = 0; colons < 5; colons++) {
		at = strchr(at, ':');
		if (!at)
			return NULL;
		at++;
		if (colons == 1 && strncmp(at, service, strlen(service)) != 0)
			return NULL;
	}
	return at;
}

/* Length of the name in "NAME@123456789012"; of all of it where that is not its form. */
static size_t mesh_name_length(const char *segment, size_t length)
{
	static const size_t account_digits = 12;
	const size_t owner = account_digits + 1;

	if (length <= owner || segment[length - owner] != '@' ||
	    strspn(segment + length - account_digits, "0123456789") < account_digits)
		return length;
	return length - owner;
}

/* Takes "WORD/NAME" and a following "/" off the text. */
static bool take_pair(const char **text, const char *word, const char **ret_name, size_t *ret_length)
{
	const size_t word_length = strlen(word);
	const char *name = *text + word_length + 1;
	size_t length;

	if (strncmp(*text, word, word_length) != 0 || (*text)[word_length] != '/')
		return false;
	length = strcspn(name, "/");
	if (length == 0)
		return false;
	*text = name + length + (name[length] == '/' && name[length + 1]);
	*ret_name = name;
	*ret_length = length;
	return true;
}

bool resource_name_split(const char *full_name, struct resource_name_parts *ret_parts)
{
	const char *rest = resource_part(full_name);
	struct resource_name_parts parts = {};

	if (!rest || !take_pair(&rest, "mesh", &parts.mesh.data, &parts.mesh.length))
		return false;
	parts.kind = (struct span){ rest, strcspn(rest, "/") };
	if (!parts.kind.length || !rest[parts.kind.length] || !rest[parts.kind.length + 1])
		return false;
	parts.name = span_of(rest + parts.kind.length + 1);
	*ret_parts = parts;
	return true;
}

int resource_name_parse(const char *text, enum resource_kind kind, char *ret_full_name, size_t size, struct error *err)
{
	enum { MESH, PARENT, OWN, PARTS };
	const enum resource_kind parent = resource_kinds[kind].parent;
	const char *rest = resource_part(text);
	char form[128], full_name[RESOURCE_FULL_NAME_BYTES];
	struct {
		const char *name;
		size_t length;
	} parts[PARTS] = {};
	_cleanup_free_ char *mesh = NULL, *parent_name = NULL, *name = NULL;
	bool good;
	int r;

	resource_full_name(form, sizeof(form), "MESH", kind, "PARENT", "NAME");
	if (!rest)
		return error_set(err, -EINVAL, "'%s' is no App Mesh name: must be %s, or arn:aws:appmesh:REGION:ACCOUNT:%s", text, form,
				 form);
	good = take_pair(&rest, "mesh", &parts[MESH].name, &parts[MESH].length);
	if (good && parent != RESOURCE_KIND_COUNT && parent != RESOURCE_MESH)
		good = take_pair(&rest, resource_kinds[parent].path_word, &parts[PARENT].name, &parts[PARENT].length);
	if (good && kind != RESOURCE_MESH)
		good = take_pair(&rest, resource_kinds[kind].path_word, &parts[OWN].name, &parts[OWN].length);
	if (!good || *rest)
		return error_set(err, -EINVAL, "'%s' is no %s: must be %s, or an ARN that ends so", text,
				 resource_kinds[kind].path_word, form);

	parts[MESH].length = mesh_name_length(parts[MESH].name, parts[MESH].length);
	mesh = strndup(parts[MESH].name, parts[MESH].length);
	parent_name = strndup(parts[PARENT].name ?: "", parts[PARENT].length);
	name = strndup(parts[OWN].name ?: "", parts[OWN].length);
	if (!mesh || !parent_name || !name)
		return error_set(err, -ENOMEM, "no memory for a name");
	r = resource_full_name(full_name, sizeof(full_name), mesh, kind, parent_name, name);
	if (r < 0 || strlen(full_name) >= size)
		return error_set(err, -EINVAL, "a name of %zu bytes is too long", strlen(text));
	strcpy(ret_full_name, full_name);
	return 0;
}

static void copy_part(char *to, size_t size, const char *from, size_t length)
{
	snprintf(to, size, "%.*s", (int)MIN(length, size), from);
}

void resource_name_scope(const char *text, struct resource_scope *ret_scope)
{
	static const char mesh[] = "mesh/";
	const char *rest = resource_part(text);
	size_t length, name_length;

	*ret_scope = (struct resource_scope){};
	if (!rest)
		return;
	if (rest != text) { /* arn:PARTITION:appmesh:REGION:ACCOUNT: */
		const char *region = strstr(text, ":appmesh:") + strlen(":appmesh:");
		const char *account = strchr(region, ':') + 1;

		copy_part(ret_scope->region, sizeof(ret_scope->region), region, (size_t)(account - 1 - region));
		copy_part(ret_scope->account, sizeof(ret_scope->account), account, (size_t)(rest - 1 - account));
	}
	if (strncmp(rest, mesh, strlen(mesh)) != 0)
		return;
	rest += strlen(mesh);
	length = strcspn(rest, "/");
	name_length = mesh_name_length(rest, length);
	if (name_length < length)
		copy_part(ret_scope->mesh_owner, sizeof(ret_scope->mesh_owner), rest + name_length + 1, length - name_length - 1);
}

int resource_reference_name(char *buffer, size_t size, const struct resource *from, enum resource_kind kind, const char *text)
{
	const size_t scope_length = strlen(from->scope);

	if (scope_length >= size)
		return -ENAMETOOLONG;
	memcpy(buffer, from->scope, scope_length + 1);
	if (kind == RESOURCE_VIRTUAL_SERVICE && strncmp(text, "arn:", 4) == 0)
		return resource_name_parse(text, kind, buffer + scope_length, size - scope_length, NULL);
	return resource_full_name(buffer + scope_length, size - scope_length, from->mesh, kind, NULL, text);
}

enum resource_kind resource_actor_kind(const char *text)
{
	static const enum resource_kind kinds[] = { RESOURCE_VIRTUAL_NODE, RESOURCE_VIRTUAL_GATEWAY };
	char name[RESOURCE_FULL_NAME_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (resource_name_parse(text, kinds[i], name, sizeof(name), NULL) == 0)
			return kinds[i];
	return RESOURCE_KIND_COUNT;
}
