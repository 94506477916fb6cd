/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/convert/convert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agent/convert/reshape.h"
#include "base/bytes.h"
#include "base/cleanup.h"

int conversion_init(struct conversion *c)
{
	*c = (struct conversion){ .remarks = json_array(), .owned = json_array(), .values = json_object(),
				  .used = json_object() };
	return c->remarks && c->owned && c->values && c->used ? 0 : -ENOMEM;
}

void conversion_done(struct conversion *c)
{
	for (size_t i = 0; i < c->count; i++) {
		json_decref(c->list[i].document);
		json_decref(c->list[i].metadata);
		free(c->list[i].origin);
		free(c->list[i].path);
	}
	free(c->list);
	json_decref(c->remarks);
	json_decref(c->owned);
	json_decref(c->values);
	json_decref(c->used);
	*c = (struct conversion){};
}

int conversion_set(struct conversion *c, const char *assignment, struct error *err)
{
	const char *equals = strchr(assignment, '=');
	_cleanup_free_ char *name = equals ? strndup(assignment, (size_t)(equals - assignment)) : NULL;

	if (!equals || equals == assignment)
		return error_set(err, -EINVAL, "'%s' is not NAME=VALUE", assignment);
	if (name && json_object_get(c->values, name))
		return error_set(err, -EINVAL, "'%s' is given twice", name);
	if (!name || json_object_set_new(c->values, name, json_string(equals + 1)) < 0)
		return error_set(err, -EINVAL, "'%s' is no text", assignment);
	return 0;
}

/* --- what the forms share ------------------------------------------------------------------------------------------------- */

int conversion_add(struct conversion_context *c, enum document_form form, enum resource_kind kind, const char *origin, const char *path,
		   const json_t *source, json_t *document, json_t *metadata, struct converted **ret_item)
{
	struct conversion *conversion = c->conversion;
	struct converted item = { .document = document, .metadata = metadata, .origin = strdup(origin), .path = strdup(path),
				  .from = c->from, .form = form, .kind = kind, .source = source };
	struct converted *grown = NULL;

	if (document && metadata && item.origin && item.path)
		grown = reallocarray(conversion->list, conversion->count + 1, sizeof(*grown));
	if (!grown) {
		json_decref(document);
		json_decref(metadata);
		free(item.origin);
		free(item.path);
		return -ENOMEM;
	}
	conversion->list = grown;
	grown[conversion->count] = item;
	if (ret_item)
		*ret_item = &grown[conversion->count];
	conversion->count++;
	return 0;
}

int conversion_remark(struct conversion_context *c, const char *origin, const char *path, const char *format, ...)
{
	struct json_place place;
	struct error err = {};
	char what[ERROR_MESSAGE_BYTES + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	error_set(&err, -EINVAL, "%s", what); /* one byte more than fits: cut between characters */
	document_place(c->from, path, &place);
	return json_array_append_new(c->conversion->remarks,
				     json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "file", document_file(c->from), "line", (int)place.line,
					       "column", (int)place.column, "origin", origin, "field", path, "what", err.message)) < 0 ?
		       -ENOMEM :
		       0;
}

int conversion_problem(struct conversion_context *c, const char *path, const char *format, ...)
{
	struct error err = {};
	char what[ERROR_MESSAGE_BYTES + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	error_set_field(&err, -EINVAL, path, "%s", what);
	return inputs_problem(c->inputs, c->from, NULL, &err);
}

bool arn_scope(const char *arn, char account[ACCOUNT_BYTES], char region[REGION_BYTES])
{
	static const char service[] = "appmesh:";
	const char *at = strncmp(arn, "arn:", 4) == 0 ? strchr(arn + 4, ':') : NULL;
	size_t region_length;

	if (!at || strncmp(at + 1, service, strlen(service)) != 0)
		return false;
	at += 1 + strlen(service);
	region_length = strcspn(at, ":");
	if (region_length == 0 || region_length >= REGION_BYTES || at[region_length] != ':' ||
	    strspn(at + region_length + 1, "0123456789") != ACCOUNT_BYTES - 1 || at[region_length + ACCOUNT_BYTES] != ':')
		return false;
	memcpy(region, at, region_length);
	region[region_length] = '\0';
	memcpy(account, at + region_length + 1, ACCOUNT_BYTES - 1);
	account[ACCOUNT_BYTES - 1] = '\0';
	return true;
}

json_t *convert_tags(struct conversion_context *c, const json_t *tags, const char *origin, const char *path)
{
	_cleanup_json_ json_t *list = json_array();
	const char *key;
	json_t *value;
	int r = list ? 0 : -ENOMEM;

	json_object_foreach((json_t *)tags, key, value) {
		if (r < 0)
			return NULL;
		if (strncmp(key, "aws:", 4) == 0)
			r = conversion_remark(c, origin, path, "tag %s: AWS keeps such keys for itself, and nobody else may set them", key);
		else if (!json_is_string(value))
			r = conversion_remark(c, origin, path, "tag %s: has no value that is text", key);
		else if (json_array_append_new(list, json_pack("{s:s, s:O}", "key", key, "value", value)) < 0)
			r = -ENOMEM;
	}
	return r < 0 ? NULL : TAKE_PTR(list);
}

/* --- where it came from ------------------------------------------------------------------------------------------------------ */

/* What a state and a template call the create document's members beside spec and tags. */
static const char *member_name(const struct converted *item, const char *ours)
{
	static const char *const terraform[][2] = {
		{ "meshName", "mesh_name" }, { "virtualRouterName", "virtual_router_name" }, { "virtualGatewayName", "virtual_gateway_name" },
		{ "meshOwner", "mesh_owner" },
	};

	if (item->form == FORM_STATE && strcmp(ours, resource_kinds[item->kind].name_member) == 0)
		return "name";
	for (size_t i = 0; item->form == FORM_STATE && i < ARRAY_SIZE(terraform); i++)
		if (strcmp(terraform[i][0], ours) == 0)
			return terraform[i][1];
	return ours;
}

/* The path in the document of a member of the create document. */
static void source_path(const struct converted *item, const char *field, struct buffer *path)
{
	const struct spelling *spelling = item->form == FORM_STATE ? &terraform_spelling : &cloudformation_spelling;
	const bool in_spec = strncmp(field, "spec", 4) == 0 && (!field[4] || field[4] == '.');
	const char *key;
	json_t *value;

	buffer_add(path, item->path);
	if (item->form == FORM_CREATE || item->form == FORM_DESCRIBE) {
		buffer_printf(path, "%s%s", path->length && field[0] ? "." : "", field);
		return;
	}
	if (in_spec) {
		const char *spec = item->form == FORM_STATE ? "spec" : "Spec";

		buffer_printf(path, "%s%s", path->length ? "." : "", spec);
		reshape_path(spelling, shape_find(resource_kinds[item->kind].spec_shape), json_object_get(item->source, spec),
			     field[4] ? field + 5 : "", path);
		return;
	}
	field = member_name(item, field);
	json_object_foreach((json_t *)item->source, key, value)
		if (strcasecmp(key, field) == 0)
			buffer_printf(path, "%s%s", path->length ? "." : "", key);
}

void converted_place(const struct converted *item, const char *field, struct json_place *ret_place)
{
	_cleanup_(buffer_done) struct buffer path = {};

	source_path(item, field, &path);
	document_place(item->from, buffer_string(&path), ret_place);
}

int converted_problem(const struct converted *item, struct inputs *inputs, const char *resource, const struct error *err)
{
	struct json_place place;

	converted_place(item, err->field, &place);
	return inputs_problem_at(inputs, document_file(item->from), &place, resource, err);
}

/* --- all of it --------------------------------------------------------------------------------------------------------------- */

static int convert_create(struct conversion_context *c)
{
	return conversion_add(c, FORM_CREATE, RESOURCE_MESH, "", "", c->from->value, json_incref(c->from->value), json_object(), NULL);
}

static int tell_unused(const struct conversion *conversion, struct inputs *inputs)
{
	const bool all_read = json_array_size(inputs->problems) == 0; /* else something may not have come to ask */
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach(conversion->values, name, value) {
		struct error err = {};

		if (r < 0 || !all_read || json_object_get(conversion->used, name))
			continue;
		error_set_field(&err, -EINVAL, "--parameter", "%s: no template asks for it", name);
		r = inputs_problem_at(inputs, NULL, NULL, NULL, &err);
	}
	return r;
}

int conversion_run(struct conversion *conversion, struct inputs *inputs)
{
	static int (*const forms[])(struct conversion_context *) = {
		[FORM_CREATE] = convert_create,
		[FORM_DESCRIBE] = convert_describe,
		[FORM_STATE] = convert_state,
		[FORM_TEMPLATE] = convert_template,
	};

	for (size_t i = 0; i < inputs->document_count; i++) {
		struct conversion_context c = { conversion, inputs, &inputs->documents[i] };
		enum document_form form;
		struct error err = {};
		int r = form_of_document(c.from->value, &form, &err);

		r = r < 0 ? inputs_problem(inputs, c.from, NULL, &err) : forms[form](&c);
		if (r < 0 || c.failed)
			return -ENOMEM;
	}
	return tell_unused(conversion, inputs);
}

static bool same_remark(const json_t *a, const json_t *b)
{
	const char *fields[] = { json_path_string(a, "field"), json_path_string(b, "field") };

	if (strcmp(json_path_string(a, "what"), json_path_string(b, "what")) != 0)
		return false;
	/* the last member of the path: those before it are the resource's own */
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = strrchr(fields[i], '.') ?: fields[i];
	return strcmp(fields[0], fields[1]) == 0;
}

void remarks_print(const json_t *remarks, const char *label, FILE *to)
{
	const size_t count = json_array_size(remarks);
	_cleanup_free_ bool *told = calloc(count + 1, sizeof(*told));

	for (size_t i = 0; told && i < count; i++) {
		const json_t *one = json_array_get(remarks, i);
		size_t same = 1;

		if (told[i])
			continue;
		for (size_t n = i + 1; n < count; n++)
			if (!told[n] && same_remark(one, json_array_get(remarks, n)))
				told[n] = ++same;
		fprintf(to, "%s:%d:%d: %s: %s: %s", json_path_string(one, "file"), (int)json_path_int(one, "line", 0),
			(int)json_path_int(one, "column", 0), label, json_path_string(one, "field"), json_path_string(one, "what"));
		fprintf(to, same > 1 ? " (so in %zu places)\n" : "\n", same);
	}
}
