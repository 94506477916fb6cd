/* SPDX-License-Identifier: Apache-2.0 */
/* What `aws appmesh describe-*` prints, {"virtualNode": {...}}, or the API answers, without the wrapper. A "tags" member beside the
 * resource is what `aws appmesh list-tags-for-resource` prints, merged into it; `weft export` writes it so. */
#include <errno.h>
#include <string.h>

#include "agent/convert/convert.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"
#include "base/time.h"

struct description {
	const json_t *body;
	const char *path; /* of the body in the document: "virtualNode", or "" */
};

static const char *below(const struct description *d, const char *member, char buffer[ERROR_FIELD_BYTES])
{
	return field_format(buffer, "%s%s%s", d->path, d->path[0] ? "." : "", member);
}
#define BELOW(d, member) below(d, member, (char[ERROR_FIELD_BYTES]){ 0 })

static struct description find_body(const json_t *document)
{
	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++) {
		const json_t *body = json_object_get(document, resource_kinds[i].path_word);

		if (json_is_object(body))
			return (struct description){ body, resource_kinds[i].path_word };
	}
	return (struct description){ document, "" };
}

/* The names and the spec; true of members that make the document. */
static bool is_of_document(const char *member)
{
	if (strcmp(member, "spec") == 0)
		return true;
	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++)
		if (strcmp(member, resource_kinds[i].name_member) == 0)
			return true;
	return false;
}

/* A number of seconds, as the API has it, or text, as version 2 of the command line prints it. */
static int take_time(const json_t *value, json_t **ret_ms)
{
	uint64_t ns;

	if (json_is_number(value) && json_number_value(value) >= 0 && json_number_value(value) < 1e11)
		*ret_ms = json_integer((json_int_t)(json_number_value(value) * 1000 + 0.5));
	else if (json_is_string(value) && time_parse_wall(json_string_value(value), &ns) == 0)
		*ret_ms = json_integer((json_int_t)(ns / NSEC_PER_MSEC));
	else
		return -EINVAL;
	return *ret_ms ? 0 : -ENOMEM;
}

static int take_metadata(struct conversion_context *c, const struct description *d, json_t *metadata)
{
	const char *member;
	json_t *value;
	int r = 0;

	json_object_foreach(json_object_get(d->body, "metadata"), member, value) {
		json_t *ours = NULL;

		if (r < 0)
			return r;
		if (strcmp(member, "createdAt") == 0 || strcmp(member, "lastUpdatedAt") == 0)
			r = take_time(value, &ours);
		else if (strcmp(member, "arn") == 0 || strcmp(member, "uid") == 0)
			r = json_is_string(value) ? 0 : -EINVAL;
		else if (strcmp(member, "version") == 0)
			r = json_is_integer(value) && json_integer_value(value) > 0 ? 0 : -EINVAL;
		else if (strcmp(member, "meshOwner") == 0 || strcmp(member, "resourceOwner") == 0)
			continue; /* the ARN's account, and what the mesh says */
		else
			r = conversion_remark(c, "", BELOW(d, FIELD("metadata.%s", member)), "App Mesh has no such member") ?: 1;
		if (r == -EINVAL)
			r = conversion_problem(c, BELOW(d, FIELD("metadata.%s", member)), "is %s, which it cannot be", VALUE(value));
		else if (r == 0 && json_object_set_new(metadata, member, ours ?: json_incref(value)) < 0)
			r = -ENOMEM;
	}
	return MIN(r, 0);
}

static int take_members(struct conversion_context *c, const struct description *d, json_t *document)
{
	const char *member;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)d->body, member, value) {
		if (r < 0)
			return r;
		if (is_of_document(member))
			r = json_object_set(document, member, value) < 0 ? -ENOMEM : 0;
		else if (strcmp(member, "metadata") != 0 && strcmp(member, "status") != 0 && strcmp(member, "tags") != 0)
			r = conversion_remark(c, "", BELOW(d, member), "App Mesh has no such member");
	}
	return r;
}

static int take_tags(struct conversion_context *c, const struct description *d, json_t *document)
{
	const json_t *tags = json_object_get(d->body, "tags") ?: json_object_get(c->from->value, "tags");

	if (!tags)
		return conversion_remark(c, "", BELOW(d, "tags"),
					 "describe has no tags: `aws appmesh list-tags-for-resource` does, and its \"tags\" may be put beside "
					 "the resource");
	return json_object_set(document, "tags", (json_t *)tags) < 0 ? -ENOMEM : 0;
}

int convert_describe(struct conversion_context *c)
{
	const struct description d = find_body(c->from->value);
	const char *status = json_path_string(d.body, "status.status"), *arn = json_path_string(d.body, "metadata.arn");
	_cleanup_json_ json_t *document = json_object(), *metadata = json_object();
	struct converted *item;
	int r;

	if (status && strcmp(status, "DELETED") == 0)
		return conversion_remark(c, "", BELOW(&d, "status.status"), "is DELETED: the resource is not there any more");
	if (!document || !metadata)
		return -ENOMEM;
	r = take_members(c, &d, document);
	if (r == 0)
		r = take_tags(c, &d, document);
	if (r == 0)
		r = take_metadata(c, &d, metadata);
	if (r == 0)
		r = conversion_add(c, FORM_DESCRIBE, RESOURCE_MESH, "", d.path, d.body, TAKE_PTR(document), TAKE_PTR(metadata), &item);
	if (r == 0 && arn && !arn_scope(arn, item->account, item->region))
		r = conversion_problem(c, BELOW(&d, "metadata.arn"), "is %s, which is no ARN of App Mesh",
				       VALUE(json_path(d.body, "metadata.arn")));
	return r;
}
