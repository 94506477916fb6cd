/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_quick.h"

#include <stdbool.h>
#include <string.h>

#include "base/span.h"

#define LEVELS_MAX 32

struct cursor {
	const char *at, *end;
	unsigned levels; /* of objects and lists that it is in */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The next byte; a NUL at the end, which is no part of anything. */
static char peek(const struct cursor *c)
{
	return c->at < c->end ? *c->at : '\0';
}

static char peek_token(struct cursor *c)
{
	while (peek(c) == ' ' || peek(c) == '\n' || peek(c) == '\t' || peek(c) == '\r')
		c->at++;
	return peek(c);
}

static bool take(struct cursor *c, char token)
{
	const bool is_next = peek_token(c) == token;

	c->at += is_next;
	return is_next;
}

static bool read_string(struct cursor *c, struct span *ret_string)
{
	const char *from;

	if (!take(c, '"'))
		return false;
	for (from = c->at; c->at < c->end && *c->at != '"'; c->at++)
		if ((signed char)*c->at < ' ' || *c->at == '\\') /* beyond ASCII it is negative */
			return false;
	*ret_string = (struct span){ from, (size_t)(c->at - from) };
	return take(c, '"');
}

static json_t *read_value(struct cursor *c);

static bool read_member(struct cursor *c, json_t *object)
{
	struct span name;

	return read_string(c, &name) && take(c, ':') && !json_object_getn(object, name.data, name.length) &&
	       json_object_setn_new_nocheck(object, name.data, name.length, read_value(c)) == 0;
}

static bool read_element(struct cursor *c, json_t *list)
{
	return json_array_append_new(list, read_value(c)) == 0;
}

/* What is between brackets, into `all`, which is taken over. */
static json_t *read_all(struct cursor *c, json_t *all, char close, bool (*read_one)(struct cursor *c, json_t *all))
{
	bool good = ++c->levels <= LEVELS_MAX && all;

	c->at++;
	if (good && !take(c, close)) {
		do
			good = read_one(c, all);
		while (good && take(c, ','));
		good = good && take(c, close);
	}
	c->levels--;
	if (good)
		return all;
	json_decref(all);
	return NULL;
}

static json_t *read_integer(struct cursor *c)
{
	const char *from = c->at;
	json_int_t value = 0;

	for (; is_digit(peek(c)); c->at++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *c->at - '0', &value))
			return NULL;
	if (peek(c) == '.' || peek(c) == 'e' || peek(c) == 'E' || (*from == '0' && c->at - from > 1))
		return NULL;
	return json_integer(value);
}

static bool take_word(struct cursor *c, const char *word)
{
	const size_t length = strlen(word);
	/* The library reads a word as far as there are letters. */
	const bool is_it = (size_t)(c->end - c->at) >= length && !memcmp(c->at, word, length);

	c->at += is_it ? length : 0;
	return is_it && !((peek(c) | 0x20) >= 'a' && (peek(c) | 0x20) <= 'z');
}

static json_t *read_value(struct cursor *c)
{
	struct span string;

	switch (peek_token(c)) {
	case '{':
		return read_all(c, json_object(), '}', read_member);
	case '[':
		return read_all(c, json_array(), ']', read_element);
	case '"':
		return read_string(c, &string) ? json_stringn_nocheck(string.data, string.length) : NULL;
	case '0' ... '9':
		return read_integer(c);
	case 't':
		return take_word(c, "true") ? json_true() : NULL;
	case 'f':
		return take_word(c, "false") ? json_false() : NULL;
	case 'n':
		return take_word(c, "null") ? json_null() : NULL;
	default:
		return NULL;
	}
}

json_t *json_quick_parse(const char *text, size_t length, size_t *offset)
{
	struct cursor c = { .at = text + *offset, .end = text + length };
	json_t *value = read_value(&c);

	if (value)
		*offset = (size_t)(c.at - text);
	return value;
}
