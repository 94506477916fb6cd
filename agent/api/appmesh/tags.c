/* SPDX-License-Identifier: Apache-2.0 */
/* Tags: on creation, and by the ARN of what has them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/api/appmesh/call.h"
#include "agent/api/appmesh/page.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"

#define TAGS_MAX 50

static bool is_reserved(const char *key)
{
	return strncasecmp(key, "aws:", 4) == 0;
}

int appmesh_tags_add(json_t *tags, const json_t *list, struct error *err)
{
	_cleanup_json_ json_t *seen = json_object();
	json_t *tag;
	size_t i;

	json_array_foreach((json_t *)list, i, tag) {
		const char *key = json_path_string(tag, "key");

		if (is_reserved(key))
			return error_set_field(err, -EINVAL, FIELD("tags[%zu].key", i), "is %s: keys that begin with \"aws:\" are reserved",
					       VALUE(json_object_get(tag, "key")));
		if (json_object_get(seen, key))
			return error_set_field(err, -EINVAL, FIELD("tags[%zu].key", i), "is %s, which is there twice",
					       VALUE(json_object_get(tag, "key")));
		if (json_object_set_new(seen, key, json_true()) || json_object_set(tags, key, json_object_get(tag, "value")))
			return error_set(err, -ENOMEM, "out of memory");
	}
	if (json_object_size(tags) > TAGS_MAX)
		return error_set_field(err, -EOVERFLOW, "tags", "would be %zu on this resource, allowed are %d", json_object_size(tags),
				       TAGS_MAX);
	return 0;
}

/* The resource of the ARN, whose names are the call's from then on; `ret_arn` keeps them. */
static int get_by_arn(struct appmesh_call *call, char **ret_arn, const struct appmesh_resource **ret_resource, struct error *err)
{
	_cleanup_free_ char *arn = strdup(json_path_string(call->input, "resourceArn"));
	int r = arn ? appmesh_arn_parse(call->scope, arn, &call->names, err) : error_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = appmesh_get(call, ret_resource, err);
	if (r == 0)
		*ret_arn = TAKE_PTR(arn);
	return r;
}

/* The resource with these tags; otherwise it stays as it was, its version too. */
static int write_tags(struct appmesh_call *call, const struct appmesh_resource *resource, json_t *tags, struct error *err)
{
	_cleanup_json_ json_t *before = appmesh_record(resource), *record = json_copy(before);

	call->answer->body = json_object();
	if (!record || !call->answer->body || json_object_set(record, "tags", tags) ||
	    appmesh_change_guard(call, call->names.mesh) < 0 || appmesh_change_resource(call, record) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* NULL: no memory. */
static json_t *tags_copy(const struct appmesh_resource *resource)
{
	_cleanup_json_ json_t *record = appmesh_record(resource);

	return json_copy(json_object_get(record, "tags"));
}

int appmesh_tag(struct appmesh_call *call, struct error *err)
{
	_cleanup_json_ json_t *tags = NULL;
	_cleanup_free_ char *arn = NULL;
	const struct appmesh_resource *resource = NULL;
	int r = get_by_arn(call, &arn, &resource, err);

	if (r < 0)
		return r;
	tags = tags_copy(resource);
	r = tags ? appmesh_tags_add(tags, json_object_get(call->input, "tags"), err) : error_set(err, -ENOMEM, "out of memory");
	return r < 0 ? r : write_tags(call, resource, tags, err);
}

int appmesh_untag(struct appmesh_call *call, struct error *err)
{
	_cleanup_json_ json_t *tags = NULL;
	_cleanup_free_ char *arn = NULL;
	const struct appmesh_resource *resource = NULL;
	json_t *key;
	size_t i;
	int r = get_by_arn(call, &arn, &resource, err);

	if (r < 0)
		return r;
	tags = tags_copy(resource);
	if (!tags)
		return error_set(err, -ENOMEM, "out of memory");
	json_array_foreach(json_object_get(call->input, "tagKeys"), i, key)
		json_object_del(tags, json_string_value(key)); /* one that is not there is no error */
	return write_tags(call, resource, tags, err);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *key_at(const void *list, size_t index)
{
	const char *const *keys = list;

	return keys[index];
}

int appmesh_list_tags(struct appmesh_call *call, struct error *err)
{
	const char *keys[TAGS_MAX + 1], *key;
	const struct appmesh_resource *resource = NULL;
	_cleanup_json_ json_t *list = json_array(), *record = NULL;
	_cleanup_free_ char *arn = NULL;
	struct page page;
	size_t count = 0;
	json_t *tags, *value;
	int r = get_by_arn(call, &arn, &resource, err);

	if (r < 0)
		return r;
	record = appmesh_record(resource);
	if (!record)
		return error_set(err, -ENOMEM, "out of memory");
	tags = json_object_get(record, "tags");
	json_object_foreach(tags, key, value)
		if (count < ARRAY_SIZE(keys))
			keys[count++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	r = page_begin(call, keys, count, key_at, &page, err);
	if (r < 0)
		return r;
	for (size_t i = page.first; i < page.end; i++)
		if (json_array_append_new(list, json_pack("{s:s, s:O}", "key", keys[i], "value", json_object_get(tags, keys[i]))))
			return error_set(err, -ENOMEM, "out of memory");
	return page_answer(call, &page, list, err);
}
