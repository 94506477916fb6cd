/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_read.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

#define DEPTH_MAX 64
#define DIGITS_MAX 18 /* of any number of them int64_t can hold the value */

struct reader {
	const char *at, *end;
	unsigned depth;
};

static json_t *read_value(struct reader *r);

static void cleanup_value(json_t **value)
{
	json_decref(*value);
}

static void skip_space(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

/* Whether the next character is this one; it is passed then. */
static bool take(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool take_word(struct reader *r, const char *word, size_t length)
{
	if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length))
		return false;
	r->at += length;
	return true;
}

static bool is_plain(char c)
{
	return c >= ' ' && c != '\\' && c != '"'; /* as a signed character a byte beyond ASCII is less than a space */
}

/* What is between quotes; behind the opening one. */
static bool read_text(struct reader *r, const char **ret_text, size_t *ret_length)
{
	const char *begin = r->at;

	while (r->at < r->end && is_plain(*r->at))
		r->at++;
	*ret_text = begin;
	*ret_length = (size_t)(r->at - begin);
	return take(r, '"');
}

static json_t *read_string(struct reader *r)
{
	const char *text;
	size_t length;

	return read_text(r, &text, &length) ? json_stringn_nocheck(text, length) : NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static json_t *read_integer(struct reader *r)
{
	const bool negative = take(r, '-');
	const char *begin = r->at;
	json_int_t value = 0;

	while (r->at < r->end && is_digit(*r->at) && r->at - begin < DIGITS_MAX)
		value = value * 10 + (*r->at++ - '0');
	if (r->at == begin || (*begin == '0' && r->at - begin > 1))
		return NULL;
	if (r->at < r->end && (is_digit(*r->at) || *r->at == '.' || *r->at == 'e' || *r->at == 'E'))
		return NULL;
	return json_integer(negative ? -value : value);
}

static bool read_member(struct reader *r, json_t *object)
{
	const size_t count = json_object_size(object);
	const char *name;
	size_t length;

	skip_space(r);
	if (!take(r, '"') || !read_text(r, &name, &length))
		return false;
	skip_space(r);
	if (!take(r, ':') || json_object_setn_new_nocheck(object, name, length, read_value(r)) < 0)
		return false;
	skip_space(r);
	return json_object_size(object) > count; /* not twice the same name */
}

static json_t *read_object(struct reader *r)
{
	_cleanup_(cleanup_value) json_t *object = json_object();

	skip_space(r);
	if (take(r, '}'))
		return TAKE_PTR(object);
	do
		if (!object || !read_member(r, object))
			return NULL;
	while (take(r, ','));
	return take(r, '}') ? TAKE_PTR(object) : NULL;
}

static json_t *read_array(struct reader *r)
{
	_cleanup_(cleanup_value) json_t *array = json_array();

	skip_space(r);
	if (take(r, ']'))
		return TAKE_PTR(array);
	do {
		if (!array || json_array_append_new(array, read_value(r)) < 0)
			return NULL;
		skip_space(r);
	} while (take(r, ','));
	return take(r, ']') ? TAKE_PTR(array) : NULL;
}

static json_t *read_word(struct reader *r)
{
	if (take_word(r, "true", 4))
		return json_true();
	if (take_word(r, "false", 5))
		return json_false();
	return take_word(r, "null", 4) ? json_null() : NULL;
}

/* With white space before it. */
static json_t *read_value(struct reader *r)
{
	json_t *value;

	skip_space(r);
	if (r->at == r->end || r->depth == DEPTH_MAX)
		return NULL;
	r->depth++;
	if (take(r, '"'))
		value = read_string(r);
	else if (take(r, '{'))
		value = read_object(r);
	else if (take(r, '['))
		value = read_array(r);
	else if (*r->at == '-' || is_digit(*r->at))
		value = read_integer(r);
	else
		value = read_word(r);
	r->depth--;
	return value;
}

json_t *json_read(const char *text, size_t length)
{
	struct reader r = { .at = text, .end = text + length };
	_cleanup_(cleanup_value) json_t *value = read_value(&r);

	skip_space(&r);
	return r.at == r.end ? TAKE_PTR(value) : NULL;
}
