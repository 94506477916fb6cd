/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/convert/reshape.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/spec/field.h"
#include "base/cleanup.h"

struct walk {
	const struct spelling *spelling;
	struct buffer path;
	reshape_remark_fn *remark;
	void *arg;
	bool failed;
};

/* --- spellings -------------------------------------------------------------------------------------------------------------- */

/* "port_mapping" is "portMapping"; lists are blocks in the singular, "listener", or attributes in the plural, "ports". */
static bool same_in_terraform(const char *theirs, const struct shape_member *ours)
{
	const char *at = ours->name;

	for (; *at; at++, theirs++) {
		if (isupper((unsigned char)*at) && *theirs++ != '_')
			return false;
		if (tolower((unsigned char)*at) != *theirs)
			return ours->shape->type == SHAPE_LIST && *at == 's' && !at[1] && !*theirs;
	}
	return !*theirs;
}

/* "PortMapping", "TLS", "AWSCloudMap": no two members of one shape differ by case alone. */
static bool same_in_cloudformation(const char *theirs, const struct shape_member *ours)
{
	return strcasecmp(theirs, ours->name) == 0;
}

const struct spelling terraform_spelling = { .same = same_in_terraform, .blocks = true };
const struct spelling cloudformation_spelling = { .same = same_in_cloudformation, .loose = true };

static const struct shape_member *member_of(const struct spelling *spelling, const struct shape *shape, const char *theirs)
{
	for (const struct shape_member *m = shape->members; m && m->name; m++)
		if (spelling->same(theirs, m))
			return m;
	return NULL;
}

/* --- values ----------------------------------------------------------------------------------------------------------------- */

static json_t *walk_value(struct walk *w, const struct shape *shape, const json_t *value);

static size_t __attribute__((format(printf, 2, 3))) enter(struct walk *w, const char *format, ...)
{
	const size_t length = w->path.length;
	char step[ERROR_FIELD_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(step, sizeof(step), format, args);
	va_end(args);
	buffer_add(&w->path, length || step[0] != '.' ? step : step + 1);
	return length;
}

static void leave(struct walk *w, size_t length)
{
	if (buffer_failed(&w->path))
		w->failed = true;
	else if (w->path.data)
		w->path.data[w->path.length = length] = '\0';
}

static void tell(struct walk *w, const char *what)
{
	w->remark(buffer_string(&w->path), what, w->arg);
}

static json_t *keep(struct walk *w, const json_t *value)
{
	json_t *copy = json_deep_copy(value);

	w->failed |= !copy;
	return copy;
}

static bool is_nothing(const struct spelling *spelling, const json_t *value)
{
	if (json_is_null(value))
		return true;
	if (!spelling->blocks)
		return false;
	return (json_is_string(value) && !json_string_length(value)) || (json_is_integer(value) && json_integer_value(value) == 0) ||
	       (json_is_array(value) && !json_array_size(value)) || (json_is_object(value) && !json_object_size(value));
}

static bool is_tally(json_type type) /* 0 and "" of these are values where the member has to be there */
{
	return type == JSON_INTEGER || type == JSON_STRING;
}

static void walk_member(struct walk *w, const struct shape *shape, const char *key, const json_t *theirs, json_t *into)
{
	const struct shape_member *member = member_of(w->spelling, shape, key);
	const bool nothing = is_nothing(w->spelling, theirs);
	const size_t length = enter(w, ".%s", key);
	json_t *ours = NULL;

	if (!member && !nothing && !json_is_false(theirs))
		tell(w, "App Mesh has no such member");
	if (member && (!nothing || (member->required && is_tally(json_typeof(theirs)))))
		ours = walk_value(w, member->shape, theirs);
	if (ours && json_object_get(into, member->name))
		tell(w, "is there twice, in two spellings");
	if (ours && json_object_set_new(into, member->name, ours) < 0)
		w->failed = true;
	leave(w, length);
}

static json_t *walk_object(struct walk *w, const struct shape *shape, const json_t *value)
{
	json_t *into = json_object(), *theirs;
	const char *key;

	w->failed |= !into;
	if (into)
		json_object_foreach((json_t *)value, key, theirs)
			walk_member(w, shape, key, theirs, into);
	return into;
}

static json_t *walk_structure(struct walk *w, const struct shape *shape, const json_t *value)
{
	json_t *ours;
	size_t length;

	if (json_is_object(value))
		return walk_object(w, shape, value);
	if (!w->spelling->blocks || !json_is_array(value))
		return keep(w, value);
	if (json_array_size(value) > 1)
		tell(w, "is there several times; App Mesh has one, and the first was taken");
	length = enter(w, "[0]");
	value = json_array_get(value, 0);
	ours = json_is_object(value) ? walk_object(w, shape, value) : json_object(); /* an empty block is null */
	leave(w, length);
	return ours;
}

static bool is_pair(const struct shape *shape)
{
	return shape->type == SHAPE_STRUCTURE && shape->members[0].name && strcmp(shape->members[0].name, "key") == 0 &&
	       shape->members[1].name && strcmp(shape->members[1].name, "value") == 0 && !shape->members[2].name;
}

static json_t *walk_list(struct walk *w, const struct shape *shape, const json_t *value)
{
	const char *key;
	json_t *into, *theirs;
	size_t i, length;

	if (!json_is_array(value) && !(w->spelling->blocks && json_is_object(value) && is_pair(shape->element)))
		return keep(w, value);
	into = json_array();
	json_object_foreach((json_t *)value, key, theirs)
		if (json_array_append_new(into, json_pack("{s:s, s:O}", "key", key, "value", theirs)) < 0)
			w->failed = true;
	json_array_foreach((json_t *)value, i, theirs) {
		const bool block = w->spelling->blocks && shape->element->type == SHAPE_STRUCTURE;
		json_t *ours;

		length = enter(w, "[%zu]", i);
		ours = block && json_is_null(theirs) ? json_object() : walk_value(w, shape->element, theirs);
		leave(w, length);
		if (json_array_append_new(into, ours) < 0)
			w->failed = true;
	}
	return into;
}

static json_t *walk_loose(struct walk *w, const struct shape *shape, const json_t *value)
{
	const char *text = json_string_value(value);
	char number[32], *end = NULL;
	long long integer;

	if (shape->type == SHAPE_BOOLEAN && text && (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0))
		return json_boolean(strcasecmp(text, "true") == 0);
	errno = 0;
	integer = shape->type == SHAPE_NUMBER && text ? strtoll(text, &end, 10) : 0;
	if (end && end != text && !*end && !errno && !isspace((unsigned char)*text))
		return json_integer(integer);
	if (shape->type == SHAPE_STRING && json_is_boolean(value))
		return json_string(json_is_true(value) ? "true" : "false");
	if (shape->type == SHAPE_STRING && json_is_integer(value)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return json_string(number);
	}
	return keep(w, value);
}

static json_t *walk_value(struct walk *w, const struct shape *shape, const json_t *value)
{
	switch (shape->type) {
	case SHAPE_STRUCTURE:
		return walk_structure(w, shape, value);
	case SHAPE_LIST:
		return walk_list(w, shape, value);
	default:
		return w->spelling->loose ? walk_loose(w, shape, value) : keep(w, value);
	}
}

json_t *reshape(const struct spelling *spelling, const struct shape *shape, const json_t *value, const char *path,
		reshape_remark_fn *remark, void *arg, bool *failed)
{
	struct walk w = { .spelling = spelling, .remark = remark, .arg = arg };
	json_t *ours = NULL;

	buffer_add(&w.path, path);
	if (value && !is_nothing(spelling, value))
		ours = walk_value(&w, shape, value);
	*failed |= w.failed || buffer_failed(&w.path);
	buffer_done(&w.path);
	return ours;
}

/* --- the way back ------------------------------------------------------------------------------------------------------------ */

/* The key of `value` that is the member called `ours`, which is `length` long. */
static const char *their_key(const struct spelling *spelling, const struct shape *shape, const json_t *value, const char *ours,
			     size_t length, const struct shape_member **ret_member)
{
	const char *key;
	json_t *child;

	for (const struct shape_member *m = shape->members; m && m->name; m++) {
		if (strlen(m->name) != length || strncmp(m->name, ours, length) != 0)
			continue;
		*ret_member = m;
		json_object_foreach((json_t *)value, key, child)
			if (spelling->same(key, m))
				return key;
	}
	return NULL;
}

void reshape_path(const struct spelling *spelling, const struct shape *shape, const json_t *value, const char *ours,
		  struct buffer *theirs)
{
	while (*ours && value) {
		const struct shape_member *member = NULL;
		size_t length;
		const char *key;

		if (shape->type == SHAPE_STRUCTURE && spelling->blocks && json_is_array(value)) {
			buffer_add(theirs, "[0]");
			value = json_array_get(value, 0);
		}
		if (shape->type == SHAPE_LIST && *ours == '[' && json_is_array(value)) {
			const size_t index = strtoul(ours + 1, NULL, 10);

			buffer_printf(theirs, "[%zu]", index);
			ours += strcspn(ours, "]");
			ours += *ours == ']';
			ours += *ours == '.';
			value = json_array_get(value, index);
			shape = shape->element;
			continue;
		}
		length = strcspn(ours, ".[");
		key = shape->type == SHAPE_STRUCTURE ? their_key(spelling, shape, value, ours, length, &member) : NULL;
		if (!key)
			return;
		buffer_printf(theirs, "%s%s", theirs->length ? "." : "", key);
		ours += length;
		ours += *ours == '.';
		value = json_object_get(value, key);
		shape = member->shape;
	}
}
