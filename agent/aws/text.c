/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/text.h"

#include <errno.h>

#include "base/cleanup.h"

bool text_is(struct span s, const char *text)
{
	return span_equal(s, span_of(text));
}

bool text_has_prefix(struct span s, const char *prefix)
{
	const size_t length = strlen(prefix);

	return s.length >= length && strncasecmp(s.data, prefix, length) == 0;
}

bool text_split(struct span *rest, char c, struct span *ret_part)
{
	const char *found;

	if (!rest->data)
		return false;
	found = memchr(rest->data, c, rest->length);
	*ret_part = (struct span){ rest->data, found ? (size_t)(found - rest->data) : rest->length };
	*rest = found ? (struct span){ found + 1, rest->length - ret_part->length - 1 } : (struct span){};
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span text_trim(struct span s)
{
	for (; s.length && is_blank(s.data[0]); s.length--)
		s.data++;
	while (s.length && is_blank(s.data[s.length - 1]))
		s.length--;
	return s;
}

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

bool text_is_printable(struct span s)
{
	for (size_t i = 0; i < s.length; i++)
		if (!is_printable(s.data[i]))
			return false;
	return true;
}

int text_copy(struct span s, char *buffer, size_t size)
{
	if (s.length >= size)
		return -E2BIG;
	if (s.length > 0) {
		if (memchr(s.data, '\0', s.length))
			return -EINVAL;
		memcpy(buffer, s.data, s.length);
	}
	buffer[s.length] = '\0';
	return 0;
}

const char *text_show(struct span s, char buffer[TEXT_SHOWN_BYTES])
{
	const size_t length = MIN(s.length, TEXT_SHOWN_BYTES - 1);

	for (size_t i = 0; i < length; i++)
		buffer[i] = is_printable(s.data[i]) ? s.data[i] : '?';
	buffer[length] = '\0';
	return buffer;
}
