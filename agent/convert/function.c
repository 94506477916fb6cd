/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/convert/function.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spec/field.h"
#include "base/bytes.h"
#include "base/cleanup.h"

/* `argument` is that of the function, at `path`. */
typedef int function_fn(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err);

/* --- what the functions share --------------------------------------------------------------------------------------------- */

static const char *element(const char *path, size_t index, char buffer[ERROR_FIELD_BYTES])
{
	return field_format(buffer, "%s[%zu]", path, index);
}
#define ELEMENT(path, index) element(path, index, (char[ERROR_FIELD_BYTES]){ 0 })

/* Text as CloudFormation sees every scalar. free() it; NULL: no scalar. */
static char *scalar_text(const json_t *value)
{
	char *text = NULL;

	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_boolean(value))
		return strdup(json_is_true(value) ? "true" : "false");
	if (json_is_integer(value) && asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0)
		return NULL;
	if (json_is_real(value) && asprintf(&text, "%.17g", json_real_value(value)) < 0)
		return NULL;
	return text;
}

static int evaluate_text(struct template *t, const json_t *value, const char *path, char **ret_text, struct error *err)
{
	_cleanup_json_ json_t *ours = NULL;
	int r = template_evaluate(t, value, path, &ours, err);

	if (r < 0)
		return r;
	*ret_text = ours ? scalar_text(ours) : NULL;
	return *ret_text ? 0 : error_set_field(err, -EINVAL, path, "must be text, not %s", ours ? VALUE(ours) : "nothing");
}

static int new_text(const struct buffer *text, const char *path, json_t **ret_value, struct error *err)
{
	if (text->length > FUNCTION_TEXT_BYTES)
		return error_set_field(err, -EINVAL, path, "becomes longer than %d bytes", FUNCTION_TEXT_BYTES);
	*ret_value = buffer_failed(text) ? NULL : json_string(buffer_string(text));
	return *ret_value ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int check_count(const json_t *argument, const char *path, size_t count, const char *form, struct error *err)
{
	if (json_is_array(argument) && json_array_size(argument) == count)
		return 0;
	return error_set_field(err, -EINVAL, path, "must be %s", form);
}

const char *template_value(struct template *t, const char *name)
{
	const char *value = json_string_value(json_object_get(t->values, name));

	if (value)
		json_object_set_new(t->used, name, json_true());
	return value;
}

static int not_known(const char *path, const char *name, const char *what, struct error *err)
{
	return error_set_field(err, -EINVAL, path, "%s: %s; `--parameter %s=VALUE` gives it", name, what, name);
}

/* --- names ---------------------------------------------------------------------------------------------------------------- */

/* The value of a parameter, given or its default. 1: there is no such parameter. */
static int parameter(struct template *t, const char *name, const char *path, json_t **ret_value, struct error *err)
{
	const json_t *declared = json_object_get(json_object_get(t->body, "Parameters"), name);
	const char *type = json_path_string(declared, "Type"), *given = template_value(t, name);
	_cleanup_free_ char *text = NULL;

	if (!declared)
		return 1;
	if (!given && json_object_get(declared, "Default")) {
		if (type && strncmp(type, "AWS::SSM::", 10) == 0)
			return not_known(path, name, "its value is in AWS's parameter store", err);
		text = scalar_text(json_object_get(declared, "Default"));
		given = text;
	}
	if (!given)
		return not_known(path, name, "a parameter without default", err);
	if (type && (strcmp(type, "CommaDelimitedList") == 0 || strncmp(type, "List<", 5) == 0)) {
		_cleanup_json_ json_t *list = json_array();
		size_t length;

		for (const char *at = given; list; at += length + 1) {
			length = strcspn(at, ",");
			if (json_array_append_new(list, json_stringn(at, length)) < 0)
				return error_set(err, -ENOMEM, "out of memory");
			if (!at[length])
				break;
		}
		*ret_value = TAKE_PTR(list);
	} else {
		*ret_value = json_string(given);
	}
	return *ret_value ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* 1: it is none. */
static int pseudo_parameter(struct template *t, const char *name, const char *path, json_t **ret_value, struct error *err)
{
	const char *value, *region = template_value(t, "AWS::Region") ?: "";

	if (strncmp(name, "AWS::", 5) != 0)
		return 1;
	value = template_value(t, name);
	if (!value && strcmp(name, "AWS::Partition") == 0)
		value = strncmp(region, "cn-", 3) == 0 ? "aws-cn" : strncmp(region, "us-gov-", 7) == 0 ? "aws-us-gov" : "aws";
	if (!value && strcmp(name, "AWS::URLSuffix") == 0)
		value = strncmp(region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
	if (!value)
		return not_known(path, name, "a template does not say", err);
	*ret_value = json_string(value);
	return *ret_value ? 0 : error_set(err, -ENOMEM, "out of memory");
}

int template_kind(const char *type, enum resource_kind *ret_kind)
{
	static const char prefix[] = "AWS::AppMesh::", suffix[] = "Spec";

	if (strncmp(type, prefix, strlen(prefix)) != 0)
		return -ENOENT;
	type += strlen(prefix);
	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++) {
		const char *shape = resource_kinds[i].spec_shape;
		const size_t length = strlen(shape) - strlen(suffix);

		if (strlen(type) == length && strncmp(type, shape, length) == 0) {
			*ret_kind = i;
			return 0;
		}
	}
	return -ENOENT;
}

const char *template_member(const char *ours, char buffer[64])
{
	snprintf(buffer, 64, "%s", ours);
	buffer[0] = (char)toupper((unsigned char)buffer[0]);
	return buffer;
}
#define MEMBER(ours) template_member(ours, (char[64]){ 0 })

/* A name member of a resource of App Mesh, "MeshName". */
static int name_of(struct template *t, const char *id, const char *member, const char *path, char **ret_text, struct error *err)
{
	const json_t *resource = json_object_get(json_object_get(t->body, "Resources"), id);
	const char *full = FIELD("%s.%s", id, member), *given = template_value(t, full);
	const json_t *property = json_object_get(json_object_get(resource, "Properties"), member);

	if (given) {
		*ret_text = strdup(given);
		return *ret_text ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	if (!property)
		return not_known(path, full, "CloudFormation made up a name, which the template does not have", err);
	return evaluate_text(t, property, FIELD("Resources.%s.Properties.%s", id, member), ret_text, err);
}

static int arn_of(struct template *t, const char *id, enum resource_kind kind, const char *path, json_t **ret_value, struct error *err)
{
	const struct resource_kind_info *info = &resource_kinds[kind];
	const bool is_child = info->parent != RESOURCE_MESH && info->parent != RESOURCE_KIND_COUNT;
	_cleanup_json_ json_t *partition = NULL, *region = NULL, *account = NULL;
	_cleanup_free_ char *mesh = NULL, *parent = NULL, *name = NULL;
	char full_name[RESOURCE_FULL_NAME_BYTES];
	int r = name_of(t, id, MEMBER("meshName"), path, &mesh, err);

	if (r == 0)
		r = name_of(t, id, MEMBER(info->name_member), path, &name, err);
	if (r == 0 && is_child)
		r = name_of(t, id, MEMBER(resource_kinds[info->parent].name_member), path, &parent, err);
	if (r == 0)
		r = pseudo_parameter(t, "AWS::Partition", path, &partition, err);
	if (r == 0)
		r = pseudo_parameter(t, "AWS::Region", path, &region, err);
	if (r == 0)
		r = pseudo_parameter(t, "AWS::AccountId", path, &account, err);
	if (r < 0)
		return r;
	if (resource_full_name(full_name, sizeof(full_name), mesh, kind, parent, name) < 0)
		return error_set_field(err, -EINVAL, path, "names a resource whose name is too long");
	*ret_value = json_sprintf("arn:%s:appmesh:%s:%s:%s", json_string_value(partition), json_string_value(region),
				  json_string_value(account), full_name);
	return *ret_value ? 0 : error_set_field(err, -EINVAL, path, "is no text");
}

static int resource_kind_of(const struct template *t, const char *id, enum resource_kind *ret_kind)
{
	return template_kind(json_path_string(json_object_get(json_object_get(t->body, "Resources"), id), "Type") ?: "", ret_kind);
}

static int reference(struct template *t, const char *name, const char *path, json_t **ret_value, struct error *err)
{
	const char *given;
	enum resource_kind kind;
	int r;

	if (strcmp(name, "AWS::NoValue") == 0) {
		*ret_value = NULL;
		return 0;
	}
	r = parameter(t, name, path, ret_value, err);
	if (r > 0)
		r = pseudo_parameter(t, name, path, ret_value, err);
	if (r <= 0)
		return r;
	given = template_value(t, name);
	if (!given && resource_kind_of(t, name, &kind) == 0)
		return arn_of(t, name, kind, path, ret_value, err);
	if (!given)
		return not_known(path, name,
				 json_object_get(json_object_get(t->body, "Resources"), name) ? "a resource that is not App Mesh's" :
												"nothing in the template is called so",
				 err);
	*ret_value = json_string(given);
	return *ret_value ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int attribute(struct template *t, const char *id, const char *name, const char *path, json_t **ret_value, struct error *err)
{
	const char *full = FIELD("%s.%s", id, name), *given = template_value(t, full);
	_cleanup_free_ char *text = NULL;
	enum resource_kind kind;
	int r;

	if (!given && resource_kind_of(t, id, &kind) == 0) {
		const enum resource_kind parent = resource_kinds[kind].parent;

		if (strcmp(name, "Arn") == 0)
			return arn_of(t, id, kind, path, ret_value, err);
		if (strcmp(name, "MeshOwner") == 0 || strcmp(name, "ResourceOwner") == 0)
			return pseudo_parameter(t, "AWS::AccountId", path, ret_value, err);
		if (strcmp(name, MEMBER("meshName")) == 0 || strcmp(name, MEMBER(resource_kinds[kind].name_member)) == 0 ||
		    (parent < RESOURCE_KIND_COUNT && strcmp(name, MEMBER(resource_kinds[parent].name_member)) == 0)) {
			r = name_of(t, id, name, path, &text, err);
			if (r < 0)
				return r;
			given = text;
		}
	}
	if (!given)
		return not_known(path, full, "AWS alone knows it", err);
	*ret_value = json_string(given);
	return *ret_value ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* --- conditions ----------------------------------------------------------------------------------------------------------- */

static int holds(struct template *t, const json_t *value, const char *path, bool *ret_holds, struct error *err);

static int equals(struct template *t, const json_t *pair, const char *path, bool *ret_holds, struct error *err)
{
	_cleanup_free_ char *left = NULL, *right = NULL;
	int r = check_count(pair, path, 2, "[VALUE, VALUE]", err);

	if (r == 0)
		r = evaluate_text(t, json_array_get(pair, 0), ELEMENT(path, 0), &left, err);
	if (r == 0)
		r = evaluate_text(t, json_array_get(pair, 1), ELEMENT(path, 1), &right, err);
	if (r == 0)
		*ret_holds = strcmp(left, right) == 0;
	return r;
}

/* `until`: the value that settles it. */
static int all_or_any(struct template *t, const json_t *list, const char *path, bool until, bool *ret_holds, struct error *err)
{
	const json_t *one;
	size_t i;
	int r;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return error_set_field(err, -EINVAL, path, "must be a list of conditions");
	*ret_holds = !until;
	json_array_foreach((json_t *)list, i, one) {
		bool holds_now;

		r = holds(t, one, ELEMENT(path, i), &holds_now, err);
		if (r < 0)
			return r;
		if (holds_now == until)
			*ret_holds = until;
	}
	return 0;
}

static int negation(struct template *t, const json_t *one, const char *path, bool *ret_holds, struct error *err)
{
	int r = check_count(one, path, 1, "[CONDITION]", err);

	if (r == 0)
		r = holds(t, json_array_get(one, 0), ELEMENT(path, 0), ret_holds, err);
	*ret_holds = r == 0 && !*ret_holds;
	return r;
}

static int holds_inside(struct template *t, const json_t *value, const char *path, bool *ret_holds, struct error *err)
{
	const char *function = json_object_iter_key(json_object_iter((json_t *)value)) ?: "";
	const json_t *argument = json_object_get(value, function);
	const char *below = FIELD("%s.%s", path, function);

	if (json_object_size(value) == 1) {
		if (strcmp(function, "Condition") == 0 && json_is_string(argument))
			return template_condition(t, json_string_value(argument), path, ret_holds, err);
		if (strcmp(function, "Fn::Equals") == 0)
			return equals(t, argument, below, ret_holds, err);
		if (strcmp(function, "Fn::And") == 0 || strcmp(function, "Fn::Or") == 0)
			return all_or_any(t, argument, below, strcmp(function, "Fn::Or") == 0, ret_holds, err);
		if (strcmp(function, "Fn::Not") == 0)
			return negation(t, argument, below, ret_holds, err);
	}
	return error_set_field(err, -EINVAL, path, "must be Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition");
}

static int deeper(struct template *t, const char *path, struct error *err)
{
	if (++t->steps > FUNCTION_STEPS)
		return error_set_field(err, -EINVAL, path, "the template takes more than %d steps to work out", FUNCTION_STEPS);
	if (++t->depth > FUNCTION_DEPTH)
		return error_set_field(err, -EINVAL, path, "goes round in a circle, or is more than %d deep", FUNCTION_DEPTH);
	return 0;
}

static int holds(struct template *t, const json_t *value, const char *path, bool *ret_holds, struct error *err)
{
	const size_t depth = t->depth;
	int r = deeper(t, path, err);

	*ret_holds = false;
	if (r == 0)
		r = holds_inside(t, value, path, ret_holds, err);
	t->depth = depth;
	return r;
}

int template_condition(struct template *t, const char *name, const char *path, bool *ret_holds, struct error *err)
{
	const json_t *condition = json_object_get(json_object_get(t->body, "Conditions"), name);

	if (!condition)
		return error_set_field(err, -EINVAL, path, "there is no condition called '%s'", name);
	return holds(t, condition, FIELD("Conditions.%s", name), ret_holds, err);
}

/* --- functions ------------------------------------------------------------------------------------------------------------ */

static int fn_ref(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	if (!json_is_string(argument))
		return error_set_field(err, -EINVAL, path, "must be a name, not %s", VALUE(argument));
	return reference(t, json_string_value(argument), path, ret_value, err);
}

static int fn_get_att(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	const char *text = json_string_value(argument), *dot = text ? strchr(text, '.') : NULL;
	_cleanup_free_ char *id = dot ? strndup(text, (size_t)(dot - text)) : NULL, *name = NULL;
	int r;

	if (dot)
		return id ? attribute(t, id, dot + 1, path, ret_value, err) : error_set(err, -ENOMEM, "out of memory");
	r = check_count(argument, path, 2, "[RESOURCE, ATTRIBUTE]", err);
	if (r == 0)
		r = evaluate_text(t, json_array_get(argument, 0), ELEMENT(path, 0), &id, err);
	if (r == 0)
		r = evaluate_text(t, json_array_get(argument, 1), ELEMENT(path, 1), &name, err);
	return r == 0 ? attribute(t, id, name, path, ret_value, err) : r;
}

/* What stands in "${...}". */
static int substitute(struct template *t, const char *name, const json_t *own, const char *path, struct buffer *out, struct error *err)
{
	const json_t *value = json_object_get(own, name);
	const char *dot = strchr(name, '.');
	_cleanup_json_ json_t *ours = NULL;
	_cleanup_free_ char *id = dot ? strndup(name, (size_t)(dot - name)) : NULL, *text = NULL;
	int r;

	if (value)
		r = evaluate_text(t, value, FIELD("%s[1].%s", path, name), &text, err);
	else if (id)
		r = attribute(t, id, dot + 1, path, &ours, err);
	else
		r = reference(t, name, path, &ours, err);
	if (r == 0 && !text)
		text = ours ? scalar_text(ours) : NULL;
	if (r == 0 && !text)
		return error_set_field(err, -EINVAL, path, "${%s} is no text", name);
	if (r == 0)
		buffer_add(out, text);
	return r;
}

static int fn_sub(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	const char *text = json_string_value(json_is_array(argument) ? json_array_get(argument, 0) : argument), *at, *end;
	const json_t *own = json_is_array(argument) ? json_array_get(argument, 1) : NULL;
	_cleanup_(buffer_done) struct buffer out = {};
	int r;

	if (!text || (json_is_array(argument) && (json_array_size(argument) != 2 || !json_is_object(own))))
		return error_set_field(err, -EINVAL, path, "must be text, or [TEXT, {NAME: VALUE}]");
	while ((at = strstr(text, "${"))) {
		_cleanup_free_ char *name = NULL;

		buffer_append(&out, text, (size_t)(at - text));
		end = strchr(at, '}');
		if (!end)
			return error_set_field(err, -EINVAL, path, "has ${ without }");
		if (at[2] == '!') { /* "${!X}" stands for "${X}" */
			buffer_add(&out, "${");
			buffer_append(&out, at + 3, (size_t)(end - at - 2));
			text = end + 1;
			continue;
		}
		name = strndup(at + 2, (size_t)(end - at - 2));
		r = name ? substitute(t, name, own, path, &out, err) : error_set(err, -ENOMEM, "out of memory");
		if (r < 0)
			return r;
		if (out.length > FUNCTION_TEXT_BYTES)
			break;
		text = end + 1;
	}
	buffer_add(&out, text);
	return new_text(&out, path, ret_value, err);
}

static int fn_join(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	_cleanup_(buffer_done) struct buffer out = {};
	const char *separator = json_string_value(json_array_get(argument, 0));
	_cleanup_json_ json_t *list = NULL;
	const json_t *one;
	size_t i;
	int r = check_count(argument, path, 2, "[SEPARATOR, LIST]", err);

	if (r == 0)
		r = template_evaluate(t, json_array_get(argument, 1), ELEMENT(path, 1), &list, err);
	if (r < 0)
		return r;
	if (!separator || !json_is_array(list))
		return error_set_field(err, -EINVAL, path, "must be [SEPARATOR, LIST]");
	json_array_foreach(list, i, one) {
		_cleanup_free_ char *text = scalar_text(one);

		if (!text)
			return error_set_field(err, -EINVAL, ELEMENT(path, 1), "has %s in it, which is no text", VALUE(one));
		buffer_printf(&out, "%s%s", i ? separator : "", text);
	}
	return new_text(&out, path, ret_value, err);
}

static int fn_split(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	const char *separator = json_string_value(json_array_get(argument, 0)), *at, *next;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *list = json_array();
	int r = check_count(argument, path, 2, "[SEPARATOR, TEXT]", err);

	if (r == 0)
		r = evaluate_text(t, json_array_get(argument, 1), ELEMENT(path, 1), &text, err);
	if (r < 0)
		return r;
	if (!separator || !*separator)
		return error_set_field(err, -EINVAL, path, "must be [SEPARATOR, TEXT]");
	for (at = text; at; at = next ? next + strlen(separator) : NULL) {
		next = strstr(at, separator);
		if (json_array_append_new(list, json_stringn(at, next ? (size_t)(next - at) : strlen(at))) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	*ret_value = TAKE_PTR(list);
	return 0;
}

static int fn_select(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *list = NULL;
	char *end;
	unsigned long index;
	int r = check_count(argument, path, 2, "[INDEX, LIST]", err);

	if (r == 0)
		r = evaluate_text(t, json_array_get(argument, 0), ELEMENT(path, 0), &text, err);
	if (r == 0)
		r = template_evaluate(t, json_array_get(argument, 1), ELEMENT(path, 1), &list, err);
	if (r < 0)
		return r;
	index = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || !json_is_array(list) || index >= json_array_size(list))
		return error_set_field(err, -EINVAL, path, "there is no element %s in a list of %zu", text, json_array_size(list));
	*ret_value = json_incref(json_array_get(list, index));
	return 0;
}

static int fn_find_in_map(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	const json_t *at = json_object_get(t->body, "Mappings");
	int r = check_count(argument, path, 3, "[MAP, KEY, KEY]", err);

	for (size_t i = 0; i < 3 && r == 0; i++) {
		_cleanup_free_ char *key = NULL;

		r = evaluate_text(t, json_array_get(argument, i), ELEMENT(path, i), &key, err);
		if (r == 0 && !(at = json_object_get(at, key)))
			r = error_set_field(err, -EINVAL, ELEMENT(path, i), "there is no '%s' in the mapping", key);
	}
	if (r == 0)
		*ret_value = json_incref((json_t *)at);
	return r;
}

static int fn_if(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	const char *condition = json_string_value(json_array_get(argument, 0));
	bool is_true = false;
	int r = check_count(argument, path, 3, "[CONDITION, VALUE, VALUE]", err);

	if (r == 0)
		r = condition ? template_condition(t, condition, path, &is_true, err) :
				error_set_field(err, -EINVAL, ELEMENT(path, 0), "must be the name of a condition");
	return r < 0 ? r : template_evaluate(t, json_array_get(argument, is_true ? 1 : 2), ELEMENT(path, is_true ? 1 : 2), ret_value, err);
}

static int fn_import_value(struct template *t, const json_t *argument, const char *path, json_t **ret_value, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	const char *given;
	int r = evaluate_text(t, argument, path, &name, err);

	if (r < 0)
		return r;
	given = template_value(t, name);
	if (!given)
		return not_known(path, name, "another stack exports it", err);
	*ret_value = json_string(given);
	return *ret_value ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static const struct {
	const char *name;
	function_fn *fn;
} functions[] = {
	{ "Ref", fn_ref },	     { "Fn::GetAtt", fn_get_att },	 { "Fn::Sub", fn_sub }, { "Fn::Join", fn_join },
	{ "Fn::Split", fn_split }, { "Fn::Select", fn_select },	 { "Fn::FindInMap", fn_find_in_map }, { "Fn::If", fn_if },
	{ "Fn::ImportValue", fn_import_value },
};

/* --- values --------------------------------------------------------------------------------------------------------------- */

static int evaluate_object(struct template *t, const json_t *value, const char *path, json_t **ret_value, struct error *err)
{
	_cleanup_json_ json_t *into = json_object();
	const char *key;
	json_t *child;

	json_object_foreach((json_t *)value, key, child) {
		json_t *ours = NULL;
		int r = template_evaluate(t, child, FIELD("%s.%s", path, key), &ours, err);

		if (r < 0)
			return r;
		if (ours && json_object_set_new(into, key, ours) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	*ret_value = TAKE_PTR(into);
	return 0;
}

static int evaluate_array(struct template *t, const json_t *value, const char *path, json_t **ret_value, struct error *err)
{
	_cleanup_json_ json_t *into = json_array();
	json_t *child;
	size_t i;

	json_array_foreach((json_t *)value, i, child) {
		json_t *ours = NULL;
		int r = template_evaluate(t, child, ELEMENT(path, i), &ours, err);

		if (r < 0)
			return r;
		if (ours && json_array_append_new(into, ours) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	*ret_value = TAKE_PTR(into);
	return 0;
}

static int evaluate_inside(struct template *t, const json_t *value, const char *path, json_t **ret_value, struct error *err)
{
	const char *key = json_object_iter_key(json_object_iter((json_t *)value));

	if (json_object_size(value) == 1) {
		for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
			if (strcmp(functions[i].name, key) == 0)
				return functions[i].fn(t, json_object_get(value, key), FIELD("%s.%s", path, key), ret_value, err);
		if (strncmp(key, "Fn::", 4) == 0)
			return error_set_field(err, -EINVAL, FIELD("%s.%s", path, key), "is not worked out here");
	}
	if (json_is_object(value))
		return evaluate_object(t, value, path, ret_value, err);
	if (json_is_array(value))
		return evaluate_array(t, value, path, ret_value, err);
	*ret_value = json_incref((json_t *)value);
	return 0;
}

int template_evaluate(struct template *t, const json_t *value, const char *path, json_t **ret_value, struct error *err)
{
	const size_t depth = t->depth;
	int r = deeper(t, path, err);

	if (r == 0)
		r = evaluate_inside(t, value, path, ret_value, err);
	t->depth = depth;
	return r;
}
