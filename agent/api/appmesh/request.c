/* SPDX-License-Identifier: Apache-2.0 */
/* From a request as it came to the input of an operation: path, query and body by the table of operations, then its shape. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "agent/aws/canonical.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"

/* --- path --------------------------------------------------------------------------------------------------------------------- */

/* A segment of the template, "meshes" or "{meshName}", against one of the path. */
static bool is_member(struct span segment)
{
	return segment.length > 2 && segment.data[0] == '{';
}

static bool path_matches(const char *uri, struct span path)
{
	struct span template = span_of(uri), expected, segment;

	while (text_split(&template, '/', &expected)) {
		if (!text_split(&path, '/', &segment) || (!is_member(expected) && !span_equal(expected, segment)))
			return false;
	}
	return !path.data;
}

static int find_operation(struct span method, struct span path, const struct model_operation **ret_operation, struct error *err)
{
	_cleanup_(buffer_done) struct buffer methods = {};

	for (const struct model_operation *o = model_operations; o->name; o++) {
		if (!path_matches(o->uri, path))
			continue;
		if (text_is(method, o->method)) {
			*ret_operation = o;
			return 0;
		}
		buffer_printf(&methods, "%s%s (%s)", methods.length ? ", " : "", o->method, o->name);
	}
	if (methods.length)
		return error_set(err, -ENOSYS, "%s is not possible on %s, %s is", TEXT_SHOWN(method), TEXT_SHOWN(path), buffer_string(&methods));
	return error_set(err, -ENOSYS, "there is no operation at %s", TEXT_SHOWN(path));
}

/* A JSON string of what is percent-encoded, well formed. */
static json_t *decode(struct span encoded)
{
	_cleanup_(buffer_done) struct buffer text = {};

	canonical_decode(encoded, &text);
	return buffer_failed(&text) ? NULL : json_stringn(buffer_string(&text), text.length);
}

static int set_member(json_t *input, struct span name, json_t *value, struct error *err)
{
	char member[64];

	if (text_copy(name, member, sizeof(member)) < 0 || !value || json_object_set(input, member, value))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int read_path(const struct model_operation *operation, struct span path, json_t *input, struct error *err)
{
	struct span template = span_of(operation->uri), expected, segment;
	int r = 0;

	while (r == 0 && text_split(&template, '/', &expected) && text_split(&path, '/', &segment)) {
		_cleanup_json_ json_t *value = NULL;
		char member[64];

		if (!is_member(expected))
			continue;
		expected = (struct span){ expected.data + 1, expected.length - 2 };
		value = decode(segment);
		r = set_member(input, expected, value, err);
		if (r < 0 || text_copy(expected, member, sizeof(member)) < 0)
			return r;
		r = resource_name_check(member, json_string_value(value), err);
	}
	return r;
}

/* --- query -------------------------------------------------------------------------------------------------------------------- */

static bool in_list(const char *const *list, struct span name)
{
	for (; *list; list++)
		if (text_is(name, *list))
			return true;
	return false;
}

static void print_list(const char *const *list, struct buffer *out)
{
	for (const char *separator = ""; *list; list++, separator = ", ")
		buffer_printf(out, "%s%s", separator, *list);
}

static const struct shape *member_shape(const struct model_operation *operation, const char *name)
{
	for (const struct shape_member *m = operation->input->members; m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m->shape;
	return NULL;
}

/* Texts of numbers become numbers. */
static json_t *typed(const struct shape *shape, json_t *text)
{
	const char *string = json_string_value(text);
	const size_t length = strlen(string);

	if (!shape || shape->type != SHAPE_NUMBER || !length || length > 9 || strspn(string, "0123456789") != length)
		return json_incref(text); /* its shape has more to say about it */
	return json_integer(strtol(string, NULL, 10));
}

static int read_parameter(const struct model_operation *operation, const struct canonical *canonical,
			  const struct canonical_parameter *parameter, json_t *input, struct error *err)
{
	_cleanup_(buffer_done) struct buffer names = {};
	_cleanup_json_ json_t *text = decode(parameter->value), *value = NULL;
	char name[64];
	size_t count;

	if (text_has_prefix(parameter->name, "X-Amz-")) /* of a presigned URL */
		return 0;
	if (!in_list(operation->query_members, parameter->name) || text_copy(parameter->name, name, sizeof(name)) < 0) {
		print_list(operation->query_members, &names);
		return error_set_field(err, -EINVAL, TEXT_SHOWN(parameter->name), "is no parameter of %s; %s%s", operation->name,
				       names.length ? "known are " : "there are none", buffer_string(&names));
	}
	canonical_parameter(canonical, name, &count);
	if (count > 1)
		return error_set_field(err, -EINVAL, name, "is there %zu times", count);
	value = text ? typed(member_shape(operation, name), text) : NULL;
	return set_member(input, parameter->name, value, err);
}

static int read_query(const struct model_operation *operation, struct span query, json_t *input, struct error *err)
{
	_cleanup_(canonical_done) struct canonical canonical = {};
	int r = canonical_query(&canonical, query, err);

	for (size_t i = 0; r == 0 && i < canonical.parameter_count; i++)
		r = read_parameter(operation, &canonical, &canonical.parameters[i], input, err);
	return r;
}

/* --- body --------------------------------------------------------------------------------------------------------------------- */

static int read_body(const struct model_operation *operation, struct span body, json_t *input, struct error *err)
{
	_cleanup_(buffer_done) struct buffer names = {};
	_cleanup_json_ json_t *object = NULL;
	const char *key;
	json_t *value;
	int r;

	if (!body.length)
		return 0;
	if (!operation->body_members[0])
		return error_set(err, -EINVAL, "%s has no body", operation->name);
	r = json_parse(body.data, body.length, &object, err);
	if (r < 0) {
		error_prefix(err, "the body is no JSON");
		return r == -ENOMEM ? r : -EINVAL;
	}
	if (!json_is_object(object))
		return error_set(err, -EINVAL, "the body must be an object, not %s", VALUE(object));
	json_object_foreach(object, key, value) {
		if (json_is_null(value))
			continue;
		if (!in_list(operation->body_members, span_of(key))) {
			print_list(operation->body_members, &names);
			return error_set_field(err, -EINVAL, key, "is not known here; known are %s", buffer_string(&names));
		}
		if (json_object_set(input, key, value))
			return error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

static void take_names(struct appmesh_call *call)
{
	const enum resource_kind kind = call->operation->kind;
	struct appmesh_names *names = &call->names;

	names->kind = kind;
	if (kind == RESOURCE_KIND_COUNT)
		return;
	names->mesh = json_path_string(call->input, resource_kinds[RESOURCE_MESH].name_member);
	names->name = json_path_string(call->input, resource_kinds[kind].name_member);
	if (kind != RESOURCE_MESH && resource_kinds[kind].parent != RESOURCE_MESH)
		names->parent = json_path_string(call->input, resource_kinds[resource_kinds[kind].parent].name_member);
}

/* Meshes are not shared yet: every one is the caller's own. */
static int check_owner(const struct appmesh_call *call, struct error *err)
{
	const char *owner = json_path_string(call->input, "meshOwner");

	if (!owner || strcmp(owner, call->scope.account) == 0)
		return 0;
	return error_set_field(err, -EPERM, "meshOwner", "is %s, the caller is of account %s, and meshes are not shared",
			       VALUE(json_object_get(call->input, "meshOwner")), call->scope.account);
}

int appmesh_read_request(struct appmesh_call *call, struct error *err)
{
	struct span path, query;
	int r;

	canonical_split(call->request->target, &path, &query);
	r = canonical_check_path(path, err);
	if (r == 0)
		r = find_operation(call->request->method, path, &call->operation, err);
	if (r < 0)
		return r;
	call->answer->operation = call->operation;
	call->input = call->answer->input = json_object();
	if (!call->input)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_path(call->operation, path, call->input, err);
	if (r == 0)
		r = read_query(call->operation, query, call->input, err);
	if (r == 0)
		r = read_body(call->operation, call->request->body, call->input, err);
	if (r == 0)
		r = shape_validate(call->operation->input, call->input, err);
	if (r < 0)
		return r;
	take_names(call);
	return check_owner(call, err);
}
