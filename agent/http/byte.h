/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes may stand where in a head. */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"

enum http_byte {
	HTTP_BYTE_TOKEN = 1, /* methods, names of headers (RFC 9110 section 5.6.2) */
	HTTP_BYTE_VISIBLE = 2, /* targets: what RFC 3986 has, and the rest of visible ASCII */
	HTTP_BYTE_TEXT = 4, /* values of headers (RFC 9110 section 5.5) */
};

bool http_bytes_are(enum http_byte kind, struct span text);

/* Where the first of eight bytes that is below `limit`, at most 0x80, is; 8: none. "Bit Twiddling Hacks", hasless(). */
static inline size_t http_bytes_first_below(uint64_t eight, unsigned char limit)
{
	const uint64_t ones = 0x0101010101010101, found = (eight - ones * limit) & ~eight & (ones * 0x80);

	return found ? (size_t)__builtin_ctzll(found) / 8 : 8;
}
static inline uint64_t http_bytes_load(const char *data)
{
	uint64_t eight;

	memcpy(&eight, data, sizeof(eight));
	return le64toh(eight); /* the first byte is the lowest */
}
