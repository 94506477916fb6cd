/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

/* How a sequence begins, how many bytes follow, and the range of the first of those (RFC 3629 section 4). */
static const struct lead {
	unsigned char first, last;
	unsigned char following;
	unsigned char low, high;
} leads[] = {
	{ 0x00, 0x7f, 0, 0, 0 },
	{ 0xc2, 0xdf, 1, 0x80, 0xbf },
	{ 0xe0, 0xe0, 2, 0xa0, 0xbf },
	{ 0xe1, 0xec, 2, 0x80, 0xbf },
	{ 0xed, 0xed, 2, 0x80, 0x9f },
	{ 0xee, 0xef, 2, 0x80, 0xbf },
	{ 0xf0, 0xf0, 3, 0x90, 0xbf },
	{ 0xf1, 0xf3, 3, 0x80, 0xbf },
	{ 0xf4, 0xf4, 3, 0x80, 0x8f },
};

static const struct lead *lead_of(unsigned char byte)
{
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
		if (byte >= leads[i].first && byte <= leads[i].last)
			return &leads[i];
	return NULL;
}

bool utf8_valid(const char *text, size_t length)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + length;

	while (p < end) {
		const struct lead *lead = lead_of(*p++);

		if (!lead || end - p < lead->following)
			return false;
		for (int i = 0; i < lead->following; i++, p++)
			if (*p < (i ? 0x80 : lead->low) || *p > (i ? 0xbf : lead->high))
				return false;
	}
	return true;
}
