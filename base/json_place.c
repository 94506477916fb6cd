/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_place.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

struct scan {
	const char *text;
	size_t length, at;
};

static char peek(const struct scan *s)
{
	return s->at < s->length ? s->text[s->at] : '\0';
}

static void skip_space(struct scan *s)
{
	while (s->at < s->length && strchr(" \t\r\n", s->text[s->at]) && s->text[s->at])
		s->at++;
}

/* From a quote to behind the one that ends it. */
static void skip_string(struct scan *s)
{
	for (s->at++; s->at < s->length && s->text[s->at] != '"'; s->at++)
		if (s->text[s->at] == '\\' && s->at + 1 < s->length)
			s->at++;
	if (s->at < s->length)
		s->at++;
}

/* Behind a value: to the comma or bracket that follows it. Depth is counted, not nested. */
static void skip_value(struct scan *s)
{
	size_t depth = 0;

	while (s->at < s->length) {
		const char c = s->text[s->at];

		if (c == '"') {
			skip_string(s);
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return;
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		s->at++;
	}
}

/* How much of the path the quoted name is, its own dot included; 0: it is another one. */
static size_t match_name(const char *quoted, size_t quoted_length, const char *path)
{
	_cleanup_json_ json_t *name = json_loadb(quoted, quoted_length, JSON_DECODE_ANY, NULL); /* escapes and all */
	const size_t dot = *path == '.', length = json_string_length(name);

	if (!length || strncmp(path + dot, json_string_value(name), length) != 0)
		return 0;
	path += dot + length;
	return *path == '\0' || *path == '.' || *path == '[' ? dot + length : 0;
}

/* Enters the object at hand and stops at the value of the member that the path names. False: there is none. */
static bool enter_member(struct scan *s, const char **path, size_t *found)
{
	s->at++;
	for (;;) {
		size_t name, used;

		skip_space(s);
		name = s->at;
		if (peek(s) != '"')
			return false;
		skip_string(s);
		used = match_name(s->text + name, s->at - name, *path);
		skip_space(s);
		if (peek(s) != ':')
			return false;
		s->at++;
		skip_space(s);
		if (used) {
			*path += used;
			*found = name;
			return true;
		}
		skip_value(s);
		if (peek(s) != ',')
			return false;
		s->at++;
	}
}

/* `memory`: of the outermost list; NULL: this is another one. */
static bool enter_element(struct scan *s, const char **path, size_t *found, struct json_place_memory *memory)
{
	char *end;
	const unsigned long index = strtoul(*path + 1, &end, 10);
	const size_t list = s->at + 1; /* 0 is none */
	unsigned long i = 0;

	if (*end != ']' || end == *path + 1)
		return false;
	s->at++;
	skip_space(s);
	if (memory && memory->list == list && memory->index <= index) {
		i = memory->index;
		s->at = memory->element;
	}
	for (; i < index; i++) {
		skip_value(s);
		if (peek(s) != ',')
			return false;
		s->at++;
		skip_space(s);
	}
	if (s->at == s->length || peek(s) == ']')
		return false;
	if (memory) {
		memory->list = list;
		memory->index = index;
		memory->element = s->at;
	}
	*path = end + 1;
	*found = s->at;
	return true;
}

/* On from `place`, which is that of the byte at `from`. */
static void count(const char *text, size_t from, size_t to, struct json_place *place)
{
	for (size_t i = from; i < to; i++) {
		if (text[i] == '\n')
			*place = (struct json_place){ .line = place->line + 1, .column = 1 };
		else
			place->column += ((unsigned char)text[i] & 0xc0) != 0x80;
	}
}

void json_place_of(const char *text, size_t length, size_t offset, struct json_place *ret_place)
{
	*ret_place = (struct json_place){ .line = 1, .column = 1 };
	count(text, 0, MIN(offset, length), ret_place);
}

void json_place_find(const char *text, size_t length, size_t offset, const char *path, struct json_place_memory *memory,
		     struct json_place *ret_place)
{
	struct scan s = { text, length, MIN(offset, length) };
	struct json_place_memory none = {}, *m = memory ?: &none, *outermost = m;
	bool entered = true;
	size_t found;

	if (m->base != offset)
		m->list = 0;
	m->base = offset;
	skip_space(&s);
	found = s.at;
	while (*path && entered) {
		if (peek(&s) == '{' && *path != '[') {
			entered = enter_member(&s, &path, &found);
		} else if (peek(&s) == '[' && *path == '[') {
			entered = enter_element(&s, &path, &found, outermost);
			outermost = NULL;
		} else {
			entered = false;
		}
	}
	if (!m->place.line || m->counted > found) {
		m->counted = 0;
		m->place = (struct json_place){ .line = 1, .column = 1 };
	}
	count(text, m->counted, found, &m->place);
	m->counted = found;
	*ret_place = m->place;
}
