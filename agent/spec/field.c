/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/field.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/time.h"

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void text_cut(char *buffer, size_t size, const char *text)
{
	static const char mark[] = "...";
	size_t length = strlen(text);

	if (length < size) {
		memcpy(buffer, text, length + 1);
		return;
	}
	length = size - sizeof(mark);
	while (length > 0 && is_continuation(text[length]))
		length--;
	memcpy(buffer, text, length);
	memcpy(buffer + length, mark, sizeof(mark));
}

size_t text_characters(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += !is_continuation(*text);
	return count;
}

const char *field_format(char buffer[ERROR_FIELD_BYTES], const char *format, ...)
{
	static const char mark[] = "...";
	size_t end = ERROR_FIELD_BYTES - sizeof(mark);
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(buffer, ERROR_FIELD_BYTES, format, args);
	va_end(args);
	if (length < ERROR_FIELD_BYTES)
		return buffer;
	while (end > 0 && is_continuation(buffer[end]))
		end--;
	memcpy(buffer + end, mark, sizeof(mark));
	return buffer;
}

const char *value_text(const json_t *value, char buffer[VALUE_TEXT_BYTES])
{
	char text[VALUE_TEXT_BYTES - sizeof("\"\"") + 1];

	switch (json_typeof(value)) {
	case JSON_STRING:
		text_cut(text, sizeof(text), json_string_value(value));
		snprintf(buffer, VALUE_TEXT_BYTES, "\"%s\"", text);
		break;
	case JSON_INTEGER:
		snprintf(buffer, VALUE_TEXT_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		snprintf(buffer, VALUE_TEXT_BYTES, "%#.17g", json_real_value(value));
		break;
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	case JSON_ARRAY:
		return "a list";
	case JSON_OBJECT:
		return "an object";
	}
	return buffer;
}

/* `field` holds the path of `value`; what is appended behind `length` is this call's own. */
static void each(const json_t *value, const char *pattern, char *field, size_t length, field_each_fn *fn, void *arg)
{
	const size_t room = ERROR_FIELD_BYTES - length;
	const size_t name_length = strcspn(pattern, ".[");
	const char *rest = pattern + name_length;
	const char *key;
	json_t *member;

	if (!*pattern) {
		fn(field, value, arg);
		return;
	}
	if (*pattern == '[') { /* "[]" */
		size_t i;

		json_array_foreach((json_t *)value, i, member)
			each(member, pattern + 2, field, length + (size_t)snprintf(field + length, room, "[%zu]", i), fn, arg);
		return;
	}
	if (*pattern == '.') {
		each(value, pattern + 1, field, length, fn, arg);
		return;
	}
	if (*pattern != '*') {
		member = json_object_getn(value, pattern, name_length);
		if (member)
			each(member, rest, field, length + (size_t)snprintf(field + length, room, ".%.*s", (int)name_length, pattern), fn, arg);
		return;
	}
	json_object_foreach((json_t *)value, key, member)
		each(member, rest, field, length + (size_t)snprintf(field + length, room, ".%s", key), fn, arg);
}

void field_each(const json_t *spec, const char *pattern, field_each_fn *fn, void *arg)
{
	char field[ERROR_FIELD_BYTES] = "spec"; /* the model's names and list lengths fit many times */

	each(spec, pattern, field, strlen(field), fn, arg);
}

uint64_t duration_ns(const json_t *duration, uint64_t otherwise_ns)
{
	const char *unit = json_path_string(duration, "unit");
	uint64_t unit_ns;

	if (!duration)
		return otherwise_ns;
	unit_ns = unit && !strcmp(unit, "s") ? NSEC_PER_SEC : NSEC_PER_MSEC;
	return MIN((uint64_t)json_path_int(duration, "value", 0), DURATION_LONGEST_NS / unit_ns) * unit_ns;
}
