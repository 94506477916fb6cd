/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes put at the end of a buffer without a call for each piece. Internal to agent/access_log. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/decimal.h"
#include "base/span.h"

struct put {
	struct buffer *buffer;
	char *at, *end; /* both NULL: out of memory, everything is left out */
};

void put_begin(struct put *put, struct buffer *buffer);
void put_end(struct put *put); /* the buffer is whole again */
/* Makes room for `length` bytes. False: out of memory. */
bool put_grow(struct put *put, size_t length);
/* What came from outside: in text control characters become "?"; in JSON everything is escaped that has to be, and text that is no
 * UTF-8 has its bytes from 0x80 on as "\u00XX", as Envoy does it. */
void put_foreign_text(struct put *put, struct span text);
void put_json_text(struct put *put, struct span text);

static inline bool put_room(struct put *put, size_t length)
{
	return (size_t)(put->end - put->at) >= length || put_grow(put, length);
}

static inline void put_bytes(struct put *put, const char *data, size_t length)
{
	if (length == 0 || !put_room(put, length))
		return;
	memcpy(put->at, data, length);
	put->at += length;
}

static inline void put_byte(struct put *put, char byte)
{
	if (put_room(put, 1))
		*put->at++ = byte;
}

static inline void put_number(struct put *put, uint64_t number)
{
	if (put_room(put, DECIMAL_BYTES))
		put->at += decimal_write(put->at, number);
}
