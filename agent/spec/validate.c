/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/model.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "agent/spec/field.h"
#include "base/bytes.h"
#include "base/cleanup.h"

/* Where a value is: each step lives in the frame that took it. */
struct place {
	const struct place *up;
	const char *name; /* NULL: an element of a list */
	size_t index;
};

static void place_print(const struct place *at, struct buffer *out)
{
	if (!at->up)
		return;
	place_print(at->up, out);
	if (at->name)
		buffer_printf(out, "%s%s", out->length ? "." : "", at->name);
	else
		buffer_printf(out, "[%zu]", at->index);
}

static int __attribute__((format(printf, 3, 4))) fail(const struct place *at, struct error *err, const char *format, ...)
{
	_cleanup_(buffer_done) struct buffer path = {};
	char message[ERROR_MESSAGE_BYTES];
	va_list args;

	place_print(at, &path);
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return error_set_field(err, -EINVAL, buffer_string(&path), "%s", message);
}

static const char *bounds_text(const struct shape *shape, char *buffer, size_t size)
{
	if (shape->max == INT64_MAX)
		snprintf(buffer, size, "at least %lld", (long long)shape->min);
	else
		snprintf(buffer, size, "%lld to %lld", (long long)shape->min, (long long)shape->max);
	return buffer;
}
#define BOUNDS(shape) bounds_text(shape, (char[64]){ 0 }, 64)

static bool in_bounds(const struct shape *shape, int64_t value)
{
	return value >= shape->min && value <= shape->max;
}

static const json_t *member_get(const json_t *object, const char *name)
{
	const json_t *member = json_object_get(object, name);

	return json_is_null(member) ? NULL : member;
}

static const struct shape_member *member_find(const struct shape *shape, const char *name)
{
	for (const struct shape_member *m = shape->members; m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

/* "a, b, c": all members, or only those that `object` has. */
static void list_members(const struct shape *shape, const json_t *object, struct buffer *out)
{
	for (const struct shape_member *m = shape->members; m->name; m++)
		if (!object || member_get(object, m->name))
			buffer_printf(out, "%s%s", out->length ? ", " : "", m->name);
}

static int check_value(const struct shape *shape, const json_t *value, const struct place *at, struct error *err);

static int check_structure(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	_cleanup_(buffer_done) struct buffer names = {}, given = {};
	size_t count = 0;
	const char *key;
	json_t *any;
	int r;

	if (!json_is_object(value))
		return fail(at, err, "must be an object, not %s", VALUE(value));
	json_object_foreach((json_t *)value, key, any) {
		if (member_find(shape, key))
			continue;
		list_members(shape, NULL, &names);
		return fail(&(struct place){ .up = at, .name = key }, err, "is not known here; known are %s", buffer_string(&names));
	}
	for (const struct shape_member *m = shape->members; m->name; m++) {
		const struct place below = { .up = at, .name = m->name };
		const json_t *member = member_get(value, m->name);

		if (!member) {
			if (m->required)
				return fail(&below, err, "is required");
			continue;
		}
		count++;
		r = check_value(m->shape, member, &below, err);
		if (r < 0)
			return r;
	}
	if (!shape->exactly_one || count == 1)
		return 0;
	list_members(shape, NULL, &names);
	list_members(shape, value, &given);
	return fail(at, err, "must have exactly one of %s, not %s", buffer_string(&names), count ? buffer_string(&given) : "none");
}

static int check_list(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	json_t *element;
	size_t i;
	int r;

	if (!json_is_array(value))
		return fail(at, err, "must be a list, not %s", VALUE(value));
	if (!in_bounds(shape, (int64_t)json_array_size(value)))
		return fail(at, err, "has %zu elements, allowed are %s", json_array_size(value), BOUNDS(shape));
	json_array_foreach((json_t *)value, i, element) {
		r = check_value(shape->element, element, &(struct place){ .up = at, .index = i }, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_enum(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	_cleanup_(buffer_done) struct buffer names = {};

	for (const char *const *v = shape->values; *v; v++) {
		if (strcmp(*v, json_string_value(value)) == 0)
			return 0;
		buffer_printf(&names, "%s%s", names.length ? ", " : "", *v);
	}
	return fail(at, err, "is %s, allowed are %s", VALUE(value), buffer_string(&names));
}

static int check_string(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	size_t length;

	if (!json_is_string(value))
		return fail(at, err, "must be a string, not %s", VALUE(value));
	if (shape->values)
		return check_enum(shape, value, at, err);
	length = text_characters(json_string_value(value));
	if (!in_bounds(shape, (int64_t)length))
		return fail(at, err, "has %zu characters, allowed are %s", length, BOUNDS(shape));
	if (shape->matches && !shape->matches(json_string_value(value)))
		return fail(at, err, "is %s, allowed is %s", VALUE(value), shape->pattern);
	return 0;
}

static int check_number(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	if (!json_is_integer(value))
		return fail(at, err, "must be an integer, not %s", VALUE(value));
	if (!in_bounds(shape, json_integer_value(value)))
		return fail(at, err, "is %s, allowed are %s", VALUE(value), BOUNDS(shape));
	return 0;
}

static int check_boolean(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	(void)shape;
	return json_is_boolean(value) ? 0 : fail(at, err, "must be true or false, not %s", VALUE(value));
}

static int check_value(const struct shape *shape, const json_t *value, const struct place *at, struct error *err)
{
	static int (*const checks[])(const struct shape *, const json_t *, const struct place *, struct error *) = {
		[SHAPE_STRUCTURE] = check_structure, [SHAPE_LIST] = check_list,	      [SHAPE_STRING] = check_string,
		[SHAPE_NUMBER] = check_number,	     [SHAPE_BOOLEAN] = check_boolean,
	};

	return checks[shape->type](shape, value, at, err);
}

const struct shape *shape_find(const char *name)
{
	for (const struct shape *s = model_shapes; s->name; s++)
		if (strcmp(s->name, name) == 0)
			return s;
	assert(!"the model lacks a shape that the program names");
	return NULL;
}

int shape_validate(const struct shape *shape, const json_t *value, struct error *err)
{
	return check_value(shape, value, &(struct place){}, err);
}

static bool is_graphic(char c)
{
	return c >= '!' && c <= '~';
}

bool pattern_graphic(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!is_graphic(*text))
			return false;
	return true;
}

bool pattern_graphic_first(const char *text)
{
	if (*text == ' ')
		return false;
	for (; *text; text++)
		if (!is_graphic(*text) && *text != ' ')
			return false;
	return true;
}
