/* SPDX-License-Identifier: Apache-2.0 */
/* Places of members in any bytes. In text that is JSON every member is found, at its own name. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"

#define REQUIRE(condition)                                                                                                    \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

struct text {
	const char *bytes;
	size_t length;
	struct json_place_memory *memory;
};

static size_t offset_of(const struct text *text, const struct json_place *place)
{
	unsigned int line = 1, column = 1;

	for (size_t i = 0; i < text->length; i++) {
		if (line == place->line && column == place->column && ((unsigned char)text->bytes[i] & 0xc0) != 0x80)
			return i;
		if (text->bytes[i] == '\n') {
			line++;
			column = 1;
		} else {
			column += i + 1 < text->length && ((unsigned char)text->bytes[i + 1] & 0xc0) != 0x80;
		}
	}
	return text->length;
}

/* The bytes at the place are the name, quoted. */
static void require_name(const struct text *text, const char *path, const char *name)
{
	struct json_place place;
	json_t *found;
	size_t at;

	json_place_find(text->bytes, text->length, 0, path, text->memory, &place);
	at = offset_of(text, &place);
	REQUIRE(at < text->length && text->bytes[at] == '"');
	found = json_loadb(text->bytes + at, text->length - at, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, NULL);
	REQUIRE(found && strcmp(json_string_value(found), name) == 0);
	json_decref(found);
}

/* A path cannot tell a member "a.b" from a member "b" of "a": objects with such names are left out, with all that is in them. */
static bool names_are_plain(const json_t *object)
{
	const char *name;
	json_t *child;

	json_object_foreach((json_t *)object, name, child)
		if (!*name || strpbrk(name, ".[]"))
			return false;
	return true;
}

static void walk(const struct text *text, const json_t *value, struct buffer *path, size_t depth)
{
	const size_t length = path->length;
	const char *name;
	json_t *child;
	size_t i;

	if (depth > 8 || !names_are_plain(value))
		return;
	json_object_foreach((json_t *)value, name, child) {
		buffer_printf(path, "%s%s", length ? "." : "", name);
		require_name(text, buffer_string(path), name);
		walk(text, child, path, depth + 1);
		path->length = length;
		path->data[length] = '\0';
	}
	json_array_foreach((json_t *)value, i, child) {
		if (i > 20)
			break;
		buffer_printf(path, "[%zu]", i);
		walk(text, child, path, depth + 1);
		path->length = length;
		path->data[length] = '\0';
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = { "a", "[0]", "[1][0].b", "spec.listeners[3].x", "a[", "[99999999999999999999]", "." };
	struct json_place_memory memory = {};
	const struct text text = { (const char *)data, size, &memory };
	struct buffer path = {};
	struct json_place place;
	json_t *value;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		json_place_find(text.bytes, size, 0, paths[i], i % 2 ? &memory : NULL, &place);
		REQUIRE(place.line >= 1 && place.column >= 1 && place.line <= size + 1 && place.column <= size + 1);
	}
	value = size > 4096 ? NULL : json_loadb(text.bytes, size, JSON_REJECT_DUPLICATES, NULL);
	if (value)
		walk(&text, value, &path, 0);
	json_decref(value);
	buffer_done(&path);
	return 0;
}
