/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/byte.h"

#define TEXT HTTP_BYTE_TEXT
#define VISIBLE (HTTP_BYTE_VISIBLE | TEXT)
#define TOKEN (HTTP_BYTE_TOKEN | VISIBLE)

static const unsigned char kinds[256] = {
	['\t'] = TEXT,
	[' '] = TEXT,
	['!'] = TOKEN,
	['"'] = VISIBLE,
	['#' ... '\''] = TOKEN,
	['(' ... ')'] = VISIBLE,
	['*' ... '+'] = TOKEN,
	[','] = VISIBLE,
	['-' ... '.'] = TOKEN,
	['/'] = VISIBLE,
	['0' ... '9'] = TOKEN,
	[':' ... '@'] = VISIBLE,
	['A' ... 'Z'] = TOKEN,
	['[' ... ']'] = VISIBLE,
	['^' ... 'z'] = TOKEN,
	['{'] = VISIBLE,
	['|'] = TOKEN,
	['}'] = VISIBLE,
	['~'] = TOKEN,
	[0x80 ... 0xff] = TEXT,
};

/* How many of the first bytes are text, by eights: not one below ' ', and no DEL. */
static size_t text_at_first(struct span text)
{
	const uint64_t delete = 0x7f7f7f7f7f7f7f7f;
	size_t i = 0;

	while (i + 8 <= text.length) {
		const uint64_t eight = http_bytes_load(text.data + i);

		if (http_bytes_first_below(eight, ' ') < 8 || http_bytes_first_below(eight ^ delete, 1) < 8)
			break;
		i += 8;
	}
	return i;
}

bool http_bytes_are(enum http_byte kind, struct span text)
{
	for (size_t i = kind == HTTP_BYTE_TEXT ? text_at_first(text) : 0; i < text.length; i++)
		if (!(kinds[(unsigned char)text.data[i]] & kind))
			return false;
	return true;
}
