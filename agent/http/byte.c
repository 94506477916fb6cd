/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/byte.h"

#define TEXT HTTP_BYTE_TEXT
#define VISIBLE (HTTP_BYTE_VISIBLE | TEXT)
#define TOKEN (HTTP_BYTE_TOKEN | VISIBLE)

static const unsigned char kinds[256] = {
	['\t'] = TEXT,	     [' '] = TEXT,	  ['!'] = TOKEN,	['"'] = VISIBLE,     ['#' ... '\''] = TOKEN, ['(' ... ')'] = VISIBLE,
	['*' ... '+'] = TOKEN, [','] = VISIBLE,	  ['-' ... '.'] = TOKEN, ['/'] = VISIBLE,    ['0' ... '9'] = TOKEN,  [':' ... '@'] = VISIBLE,
	['A' ... 'Z'] = TOKEN, ['[' ... ']'] = VISIBLE, ['^' ... 'z'] = TOKEN, ['{'] = VISIBLE, ['|'] = TOKEN,	     ['}'] = VISIBLE,
	['~'] = TOKEN,	     [0x80 ... 0xff] = TEXT,
};

bool http_bytes_are(enum http_byte kind, struct span text)
{
	for (size_t i = 0; i < text.length; i++)
		if (!(kinds[(unsigned char)text.data[i]] & kind))
			return false;
	return true;
}
