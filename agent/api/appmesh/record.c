/* SPDX-License-Identifier: Apache-2.0 */
/* Resources as the API shows them, and their ARNs. */
#include <errno.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"
#include "base/hash.h"

#define ARN_BYTES (RESOURCE_FULL_NAME_BYTES + 160)

const char *appmesh_noun(enum resource_kind kind, char buffer[32])
{
	const char *shape = resource_kinds[kind].spec_shape;

	snprintf(buffer, 32, "%.*s", (int)(strlen(shape) - strlen("Spec")), shape);
	return buffer;
}

/* By the region's name, as the SDKs tell partitions. */
static const char *partition_of(const char *region)
{
	if (strncmp(region, "cn-", 3) == 0)
		return "aws-cn";
	return strncmp(region, "us-gov-", 7) == 0 ? "aws-us-gov" : "aws";
}

static void print_arn(char arn[ARN_BYTES], struct appmesh_scope scope, const struct appmesh_names *names)
{
	const int length =
		snprintf(arn, ARN_BYTES, "arn:%s:appmesh:%s:%s:", partition_of(scope.region), scope.region, scope.account);

	resource_full_name(arn + length, ARN_BYTES - (size_t)length, names->mesh, names->kind, names->parent, names->name);
}

struct appmesh_names appmesh_names_of(const struct appmesh_resource *resource)
{
	return (struct appmesh_names){ resource->collection->kind, appmesh_mesh_of(resource), resource->collection->parent, resource->name };
}

/* JSON numbers of seconds, to the millisecond. */
static json_t *time_of(const json_t *record, const char *member)
{
	return json_real((double)json_path_int(record, member, 0) / 1000);
}

static int set_names(json_t *object, const struct appmesh_names *names)
{
	const struct resource_kind_info *info = &resource_kinds[names->kind];
	int r = json_object_set_new(object, resource_kinds[RESOURCE_MESH].name_member, json_string(names->mesh));

	if (names->parent)
		r |= json_object_set_new(object, resource_kinds[info->parent].name_member, json_string(names->parent));
	return r | json_object_set_new(object, info->name_member, json_string(names->name));
}

/* What data and references have in common. */
static int set_metadata(json_t *object, struct appmesh_scope scope, const struct appmesh_names *names, const json_t *record)
{
	char arn[ARN_BYTES];
	int r;

	print_arn(arn, scope, names);
	r = json_object_set_new(object, "arn", json_string(arn));
	r |= json_object_set_new(object, "createdAt", time_of(record, "createdAt"));
	r |= json_object_set_new(object, "lastUpdatedAt", time_of(record, "lastUpdatedAt"));
	r |= json_object_set_new(object, "meshOwner", json_string(scope.account));
	r |= json_object_set_new(object, "resourceOwner", json_string(scope.account));
	return r | json_object_set(object, "version", json_object_get(record, "version"));
}

json_t *appmesh_data(struct appmesh_scope scope, const struct appmesh_names *names, const json_t *record, const char *status)
{
	_cleanup_json_ json_t *data = json_object(), *metadata = json_object();

	if (set_names(data, names) || set_metadata(metadata, scope, names, record) ||
	    json_object_set(metadata, "uid", json_object_get(record, "uid")) || json_object_set(data, "metadata", metadata) ||
	    json_object_set(data, "spec", json_object_get(record, "spec")) ||
	    json_object_set_new(data, "status", json_pack("{s:s}", "status", status)))
		return NULL;
	return TAKE_PTR(data);
}

/* The same for the same name, and no random one: it is the same after a restart. */
static void uid_of(const struct resource *resource, char ret_uid[APPMESH_UID_BYTES])
{
	uint64_t hash[2];
	uint8_t bytes[16];

	hash_name(resource->full_name, strlen(resource->full_name), hash);
	memcpy(bytes, hash, sizeof(bytes));
	appmesh_uid(bytes, ret_uid);
}

static json_t *tags_of(const struct resource *resource)
{
	_cleanup_json_ json_t *list = resource_tags(resource);
	json_t *tags = json_object(), *tag;
	size_t i;

	json_array_foreach(list, i, tag)
		json_object_set(tags, json_path_string(tag, "key"), json_object_get(tag, "value"));
	return tags;
}

json_t *appmesh_record(const struct appmesh_resource *resource)
{
	char uid[APPMESH_UID_BYTES];

	if (resource->record) {
		_cleanup_json_ json_t *record = json_copy(resource->record);

		return json_object_set_new(record, "spec", appmesh_spec(resource)) < 0 ? NULL : TAKE_PTR(record);
	}
	uid_of(resource->resource, uid);
	return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "uid", uid, "version", (json_int_t)resource->shown_version, "createdAt",
			 (json_int_t)resource->shown_created_ms, "lastUpdatedAt", (json_int_t)resource->shown_updated_ms, "spec",
			 appmesh_spec(resource), "tags", tags_of(resource->resource));
}

json_t *appmesh_ref(const struct appmesh_resource *resource)
{
	const struct appmesh_names names = appmesh_names_of(resource);
	_cleanup_json_ json_t *ref = json_object(), *record = appmesh_record(resource);

	if (!record || set_names(ref, &names) ||
	    set_metadata(ref, (struct appmesh_scope){ resource->collection->account, resource->collection->region }, &names, record))
		return NULL;
	return TAKE_PTR(ref);
}

/* "mesh/M/virtualRouter/R/route/T": cuts `text` into names. */
static int parse_names(char *text, struct appmesh_names *ret_names)
{
	struct appmesh_names names = { .kind = RESOURCE_MESH };
	char *words[6], *rest = text;
	size_t count = 0;

	while (rest && count < ARRAY_SIZE(words))
		words[count++] = strsep(&rest, "/");
	if (rest || count < 2 || count % 2 || strcmp(words[0], resource_kinds[RESOURCE_MESH].path_word) != 0)
		return -EINVAL;
	for (size_t i = 1; i < count; i += 2)
		if (resource_name_check("resourceArn", words[i], NULL) < 0)
			return -EINVAL;
	names.mesh = words[1];
	names.name = words[count - 1];
	names.parent = count == 6 ? words[3] : NULL;
	if (count > 2) {
		for (names.kind = 0; names.kind < RESOURCE_KIND_COUNT; names.kind++)
			if (names.kind != RESOURCE_MESH && strcmp(resource_kinds[names.kind].path_word, words[count - 2]) == 0)
				break;
		if (names.kind == RESOURCE_KIND_COUNT || (resource_kinds[names.kind].parent != RESOURCE_MESH) != (count == 6))
			return -EINVAL;
		if (count == 6 && strcmp(resource_kinds[resource_kinds[names.kind].parent].path_word, words[2]) != 0)
			return -EINVAL;
	}
	*ret_names = names;
	return 0;
}

int appmesh_arn_parse(struct appmesh_scope scope, char *arn, struct appmesh_names *ret_names, struct error *err)
{
	static const char member[] = "resourceArn";
	_cleanup_json_ json_t *shown = json_string(arn);
	char *rest = arn;
	const char *begin = strsep(&rest, ":"), *partition = rest ? strsep(&rest, ":") : NULL, *service = rest ? strsep(&rest, ":") : NULL,
		   *region = rest ? strsep(&rest, ":") : NULL, *account = rest ? strsep(&rest, ":") : NULL;

	if (!rest || strcmp(begin, "arn") != 0 || !*partition || strcmp(service, "appmesh") != 0)
		return error_set_field(err, -EINVAL, member,
				       "is %s, must be the ARN of a resource, arn:%s:appmesh:REGION:ACCOUNT:mesh/NAME...", VALUE(shown),
				       partition_of(scope.region));
	if (parse_names(rest, ret_names) < 0)
		return error_set_field(err, -EINVAL, member, "is %s, which names no resource of App Mesh", VALUE(shown));
	if (strcmp(account, scope.account) != 0)
		return error_set_field(err, -EPERM, member, "is of account %s, the caller is of account %s", account, scope.account);
	if (strcmp(region, scope.region) != 0 || strcmp(partition, partition_of(scope.region)) != 0)
		return error_set_field(err, -ENOENT, member, "is of region %s in partition %s, the request is for region %s", region, partition,
				       scope.region);
	return 0;
}
