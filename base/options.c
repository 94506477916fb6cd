/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/time.h"

#define TABLE_MAX 64

/* Texts that options point to and argv does not own. Options live as long as the program. */
static struct kept {
	struct kept *next;
	char text[];
} *kept;

static const char *keep(const char *text, size_t length)
{
	struct kept *k = malloc(sizeof(*k) + length + 1);

	if (!k)
		return NULL;
	memcpy(k->text, text, length);
	k->text[length] = '\0';
	k->next = kept;
	kept = k;
	return k->text;
}

static void *member(const struct option *option, void *target)
{
	return (char *)target + option->offset;
}

static int add_string(struct option_strings *strings, const char *text, size_t length, const char *field, struct error *err)
{
	const char *copy;

	if (length == 0)
		return error_set_field(err, -EINVAL, field, "must not be empty");
	if (strings->count == OPTION_STRINGS_MAX)
		return error_set_field(err, -EINVAL, field, "has more than %d values", OPTION_STRINGS_MAX);
	copy = keep(text, length);
	if (!copy)
		return error_set_field(err, -ENOMEM, field, "no memory");
	strings->values[strings->count++] = copy;
	return 0;
}

static int add_list(struct option_strings *strings, const char *text, const char *field, struct error *err)
{
	for (;;) {
		size_t length = strcspn(text, ",");
		int r = add_string(strings, text, length, field, err);

		if (r < 0)
			return r;
		if (!text[length])
			return 0;
		text += length + 1;
	}
}

static int set_u32(const struct option *option, uint32_t *value, const char *text, const char *field, struct error *err)
{
	uint64_t max = option->max ? option->max : UINT32_MAX, parsed;
	char *end;

	errno = 0;
	parsed = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || parsed < option->min || parsed > max)
		return error_set_field(err, -EINVAL, field, "'%s' is not a number from %" PRIu64 " to %" PRIu64, text, option->min,
				       max);
	*value = (uint32_t)parsed;
	return 0;
}

/* Whatever the type, given as text. `text` outlives the options. */
static int set_text(const struct option *option, void *target, const char *text, const char *field, struct error *err)
{
	void *to = member(option, target);

	switch (option->type) {
	case OPTION_STRING:
		*(const char **)to = text;
		return 0;
	case OPTION_STRINGS:
		return option->whole ? add_string(to, text, strlen(text), field, err) : add_list(to, text, field, err);
	case OPTION_U32:
		return set_u32(option, to, text, field, err);
	case OPTION_SPAN:
		if (time_parse_span(text, to) < 0)
			return error_set_field(err, -EINVAL, field, "'%s' is not a time like 500ms, 10s, 5m, 2h or 1d", text);
		return 0;
	case OPTION_FLAG:
		break;
	}
	return error_set_field(err, -EINVAL, field, "takes no value");
}

static const struct option *find(const struct option *table, const char *name, size_t length)
{
	for (; table->name; table++)
		if (strlen(table->name) == length && !memcmp(table->name, name, length))
			return table;
	return NULL;
}

static const struct option *find_letter(const struct option *table, const char *word)
{
	for (; table->name; table++)
		if (table->letter && word[1] == table->letter && !word[2])
			return table;
	return NULL;
}

int options_parse(const struct option *table, void *target, int argc, char *const argv[], int *ret_rest, struct error *err)
{
	bool seen[TABLE_MAX] = {};
	int at = 1, r;

	while (at < argc && argv[at][0] == '-' && argv[at][1]) {
		const char *word = argv[at++], *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
		size_t length = equals ? (size_t)(equals - word) : strlen(word);
		char field[ERROR_FIELD_BYTES];
		const struct option *option;

		if (!strcmp(word, "--"))
			break;
		snprintf(field, sizeof(field), "%.*s", (int)MIN(length, sizeof(field) - 1), word);
		option = !strncmp(word, "--", 2) ? find(table, word + 2, length - 2) : find_letter(table, word);
		if (!option)
			return error_set_field(err, -EINVAL, field, "unknown option");
		if (option->type == OPTION_FLAG && !value) {
			*(bool *)member(option, target) = true;
			continue;
		}
		if (option->type != OPTION_FLAG && !value) {
			if (at == argc)
				return error_set_field(err, -EINVAL, field, "needs a value: %s", option->argument);
			value = argv[at++];
		}
		assert(option - table < TABLE_MAX);
		if (option->type == OPTION_STRINGS && !seen[option - table])
			((struct option_strings *)member(option, target))->count = 0; /* defaults, and what the file says */
		seen[option - table] = true;
		r = set_text(option, target, value, field, err);
		if (r < 0)
			return r;
	}
	*ret_rest = at;
	return 0;
}

static int set_array(const struct option *option, void *target, const json_t *array, struct error *err)
{
	struct option_strings strings = {};
	char field[ERROR_FIELD_BYTES];
	size_t i;
	json_t *value;

	json_array_foreach((json_t *)array, i, value) {
		int r;

		snprintf(field, sizeof(field), "%s[%zu]", option->name, i);
		if (!json_is_string(value))
			return error_set_field(err, -EINVAL, field, "must be a string");
		r = add_string(&strings, json_string_value(value), json_string_length(value), field, err);
		if (r < 0)
			return r;
	}
	*(struct option_strings *)member(option, target) = strings;
	return 0;
}

static const struct {
	const char *expected;
	bool boolean, integer, array;
} json_forms[] = {
	[OPTION_FLAG] = { "true or false", .boolean = true },
	[OPTION_STRING] = { "a string" },
	[OPTION_STRINGS] = { "a string or an array of strings", .array = true },
	[OPTION_U32] = { "a number", .integer = true },
	[OPTION_SPAN] = { "a string with a time, like \"10s\"" },
};

static int set_json(const struct option *option, void *target, const json_t *value, struct error *err)
{
	char number[24];
	const char *text;

	if (option->command_line_only)
		return error_set_field(err, -EINVAL, option->name, "is for the command line only");
	if (json_forms[option->type].boolean && json_is_boolean(value)) {
		*(bool *)member(option, target) = json_is_true(value);
		return 0;
	}
	if (json_forms[option->type].integer && json_is_integer(value)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return set_text(option, target, number, option->name, err);
	}
	if (json_forms[option->type].array && json_is_array(value))
		return set_array(option, target, value, err);
	if (!json_is_string(value) || json_forms[option->type].boolean || json_forms[option->type].integer)
		return error_set_field(err, -EINVAL, option->name, "must be %s", json_forms[option->type].expected);

	if (option->type == OPTION_STRINGS)
		((struct option_strings *)member(option, target))->count = 0;
	text = keep(json_string_value(value), json_string_length(value));
	if (!text)
		return error_set_field(err, -ENOMEM, option->name, "no memory");
	return set_text(option, target, text, option->name, err);
}

int options_read_file(const struct option *table, void *target, const char *path, options_extra_fn *extra, void *arg,
		      struct error *err)
{
	_cleanup_json_ json_t *file = NULL;
	const char *name;
	json_t *value;
	int r;

	r = json_parse_file(path, &file, err);
	if (r < 0)
		return r;
	if (!json_is_object(file))
		return error_set(err, -EINVAL, "'%s': must be a JSON object", path);
	json_object_foreach(file, name, value) {
		const struct option *option = find(table, name, strlen(name));

		if (option)
			r = set_json(option, target, value, err);
		else if (extra)
			r = extra(name, value, arg, err);
		else
			r = error_set_field(err, -EINVAL, name, "unknown option");
		if (r < 0) {
			error_prefix(err, "'%s'", path);
			return r;
		}
	}
	return 0;
}

static bool is_absent(const struct option *option, const void *target)
{
	const void *at = (const char *)target + option->offset;

	return (option->type == OPTION_STRING && !*(const char *const *)at) ||
	       (option->type == OPTION_STRINGS && !((const struct option_strings *)at)->count);
}

int options_check(const struct option *table, const void *target, struct error *err)
{
	char field[ERROR_FIELD_BYTES];

	for (; table->name; table++)
		if (table->required && is_absent(table, target)) {
			snprintf(field, sizeof(field), "--%s", table->name);
			return error_set_field(err, -EINVAL, field, "is required");
		}
	return 0;
}

void options_print(const struct option *table)
{
	size_t width = 0;

	for (const struct option *o = table; o->name; o++)
		width = MAX(width, strlen(o->name) + (o->argument ? strlen(o->argument) + 1 : 0));
	for (const struct option *o = table; o->name; o++) {
		int used = printf("  --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");

		printf("%*s%s%s\n", (int)width + 6 - used, "", o->help, o->required ? " (required)" : "");
	}
}
