/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"

_Static_assert(FORMAT_BYTES >= TIME_TEXT_BYTES, "spans go through time_format_span()");

const char *style(FILE *to, enum style style)
{
	static const char *const sequences[] = {
		[STYLE_PLAIN] = "\033[0m",  [STYLE_BOLD] = "\033[1m", [STYLE_GOOD] = "\033[32m",
		[STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m",
	};
	const char *terminal = getenv("TERM"), *no_color = getenv("NO_COLOR");
	const int fd = fileno(to);

	if (fd < 0 || !isatty(fd) || (no_color && *no_color) || !terminal || !strcmp(terminal, "dumb"))
		return "";
	return sequences[style];
}

/* C0, DEL, and C1 (U+0080 to U+009F), which some terminals obey as well. The new text, or NULL: nothing to change. */
static char *cleaned(const char *text)
{
	char *copy = NULL;

	for (size_t i = 0; text[i]; i++) {
		const unsigned char byte = (unsigned char)text[i], next = (unsigned char)text[i + 1];
		const bool c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0;

		if (byte >= ' ' && byte != 0x7f && !c1)
			continue;
		if (!copy && !(copy = strdup(text)))
			return NULL;
		copy[i] = '?';
		if (c1)
			copy[++i] = '?';
	}
	return copy;
}

static int members_clean(json_t *object)
{
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe(object, next, name, value) {
		_cleanup_free_ char *clean = cleaned(name);
		int r = format_clean(value);

		if (r < 0)
			return r;
		if (clean && (json_object_set(object, clean, value) || json_object_del(object, name)))
			return -ENOMEM;
	}
	return 0;
}

int format_clean(json_t *value)
{
	_cleanup_free_ char *clean = json_is_string(value) ? cleaned(json_string_value(value)) : NULL;
	json_t *element;
	size_t i;
	int r;

	if (clean)
		return json_string_set(value, clean) ? -ENOMEM : 0;
	if (json_is_object(value))
		return members_clean(value);
	json_array_foreach(value, i, element) {
		r = format_clean(element);
		if (r < 0)
			return r;
	}
	return 0;
}

const char *format_bytes(uint64_t bytes, char buffer[FORMAT_BYTES])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 999.5 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1024;
	/* Three digits at most; whole bytes are whole. */
	snprintf(buffer, FORMAT_BYTES, unit && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buffer;
}

const char *format_share(double share, char buffer[FORMAT_BYTES])
{
	snprintf(buffer, FORMAT_BYTES, "%.1f %%", share * 100);
	return buffer;
}

const char *format_name(const char *full_name, char buffer[NAME_TEXT_BYTES])
{
	size_t length = 0;
	bool word = true, first = true; /* kinds and names take turns */

	if (!full_name)
		return strcpy(buffer, "-");
	if (strncmp(full_name, "mesh/", strlen("mesh/"))) {
		length = (size_t)snprintf(buffer, NAME_TEXT_BYTES, "%s", full_name);
	} else {
		buffer[0] = '\0';
		for (const char *at = full_name; at; word = !word) {
			const char *end = strchr(at, '/');
			int part = end ? (int)(end - at) : (int)strlen(at);

			if (!word && length < NAME_TEXT_BYTES)
				length += snprintf(buffer + length, NAME_TEXT_BYTES - length, "%s%.*s", first ? "" : "/",
						   part, at);
			first &= word;
			at = end ? end + 1 : NULL;
		}
	}
	if (length >= NAME_TEXT_BYTES)
		strcpy(buffer + NAME_TEXT_BYTES - sizeof("..."), "...");
	return buffer;
}

static const json_t *integer(const json_t *object, const char *member)
{
	const json_t *value = json_path(object, member);

	return json_is_integer(value) && json_integer_value(value) >= 0 ? value : NULL;
}

const char *format_member_span(const json_t *object, const char *member, char buffer[FORMAT_BYTES])
{
	const json_t *value = integer(object, member);

	return value ? time_format_span((uint64_t)json_integer_value(value), buffer) : strcpy(buffer, "-");
}

const char *format_member_name(const json_t *object, const char *member, char buffer[NAME_TEXT_BYTES])
{
	return format_name(json_path_string(object, member), buffer);
}

const char *format_member_bytes(const json_t *object, const char *member, char buffer[FORMAT_BYTES])
{
	const json_t *value = integer(object, member);

	return value ? format_bytes((uint64_t)json_integer_value(value), buffer) : strcpy(buffer, "-");
}

const char *format_member_count(const json_t *object, const char *member, char buffer[FORMAT_BYTES])
{
	const json_t *value = integer(object, member);

	if (!value)
		return strcpy(buffer, "-");
	snprintf(buffer, FORMAT_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return buffer;
}

const char *format_pool(const json_t *pool, char buffer[POOL_TEXT_BYTES])
{
	const bool waits = json_is_integer(json_object_get(pool, "maxPendingRequests"));
	char connections[FORMAT_BYTES], pending[FORMAT_BYTES];

	snprintf(buffer, POOL_TEXT_BYTES, "%s connections, %s waiting requests%s", format_member_count(pool, "maxConnections", connections),
		 waits ? format_member_count(pool, "maxPendingRequests", pending) : "any number of",
		 json_path_bool(pool, "default", false) ? " (the default pool)" : "");
	return buffer;
}

void print_configuration_error(FILE *to, const json_t *error)
{
	static const char *const where[] = { "file", "field" };

	if (!json_is_object(error))
		return;
	fprintf(to, "%sthe files are not in force since %s, what was good before still is: ", style(to, STYLE_WARN),
		json_path_string(error, "since") ?: "?");
	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		if (json_path_string(error, where[i]) && *json_path_string(error, where[i]))
			fprintf(to, "%s: ", json_path_string(error, where[i]));
	fprintf(to, "%s%s\n", json_path_string(error, "error") ?: "?", style(to, STYLE_PLAIN));
}
