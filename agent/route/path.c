/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/path.h"

#include <errno.h>

static bool is_unreserved(unsigned char c) /* RFC 3986 section 2.3 */
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether anything of it could be written in another way. */
static bool is_plain(struct span path)
{
	for (size_t i = 0; i < path.length; i++) {
		const char c = path.data[i], next = i + 1 < path.length ? path.data[i + 1] : '\0';

		if (c == '%' || c == '\\' || (c == '/' && (next == '/' || next == '.')))
			return false;
	}
	return true;
}

/* The character that the escape at `at` stands for; -1: it is none. */
static int escaped(struct span path, size_t at)
{
	const int high = at + 2 < path.length ? hex_value(path.data[at + 1]) : -1, low = high < 0 ? -1 : hex_value(path.data[at + 2]);

	return low < 0 ? -1 : high << 4 | low;
}

/* "%" that begins no escape is one or two characters before. */
static bool follows_stray(struct span path, size_t at)
{
	for (size_t back = 1; back <= 2 && back <= at; back++)
		if (path.data[at - back] == '%' && escaped(path, at - back) < 0)
			return true;
	return false;
}

/* One character of the path, an escape that stands for an unreserved one undone. What is no escape stays, as browsers have it, and together
 * with what is undone must not become one, which the endpoint would undo: "%6%65" is not "%6e". */
static char next_character(struct span path, size_t *at)
{
	const char c = path.data[*at];
	const int stands_for = c == '%' ? escaped(path, *at) : -1;

	if (stands_for >= 0 && is_unreserved((unsigned char)stands_for) && !follows_stray(path, *at)) {
		*at += 3;
		return (char)stands_for;
	}
	(*at)++;
	return c == '\\' ? '/' : c;
}

/* The segment that ends at `length` begins after the last slash: "." goes, ".." takes the one before it along. Returns the new length;
 * the slash that began the segment stays. */
static size_t close_segment(const char *out, size_t length)
{
	size_t start = length;

	while (out[start - 1] != '/')
		start--;
	if (length - start == 1 && out[start] == '.')
		return start;
	if (length - start != 2 || out[start] != '.' || out[start + 1] != '.')
		return length;
	if (start == 1)
		return 1; /* above the root is the root */
	for (start--; out[start - 1] != '/'; start--)
		;
	return start;
}

static size_t remove_dots(struct span path, char *out)
{
	size_t length = 0, at = 0;
	bool dots = false;

	while (at < path.length) {
		const char c = next_character(path, &at);

		dots = false;
		if (c == '/' && length > 0) {
			const size_t closed = close_segment(out, length);

			if (closed != length) { /* the slash before it stands for this one */
				length = closed;
				continue;
			}
		}
		out[length++] = c;
		dots = c == '.';
	}
	return dots ? close_segment(out, length) : length;
}

static size_t merge_slashes(char *path, size_t length)
{
	size_t kept = 0;

	for (size_t i = 0; i < length; i++)
		if (path[i] != '/' || i == 0 || path[i - 1] != '/')
			path[kept++] = path[i];
	return kept;
}

static struct span span_to(struct span text, char end)
{
	const char *found = text.length ? memchr(text.data, end, text.length) : NULL;

	return (struct span){ text.data, found ? (size_t)(found - text.data) : text.length };
}

int route_target_read(struct span target, struct buffer *buffer, struct route_target *ret_target)
{
	const struct span path = span_to(target, '?');
	struct route_target read = { .path = path, .has_query = path.length < target.length };
	char *out;

	if (!path.length || path.data[0] != '/' || span_to(target, '#').length < target.length)
		return -EINVAL;
	if (read.has_query)
		read.query = (struct span){ path.data + path.length + 1, target.length - path.length - 1 };
	if (!is_plain(path)) {
		buffer_clear(buffer);
		out = buffer_reserve(buffer, path.length);
		if (!out)
			return -ENOMEM;
		buffer->length = merge_slashes(out, remove_dots(path, out));
		read.path = (struct span){ buffer->data, buffer->length };
	}
	*ret_target = read;
	return 0;
}
