/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/access_log/put.h"

#include "base/utf8.h"

#define FIRST_ROOM_BYTES 512

void put_begin(struct put *put, struct buffer *buffer)
{
	put->buffer = buffer;
	put->at = put->end = NULL;
	put_grow(put, FIRST_ROOM_BYTES);
}

void put_end(struct put *put)
{
	if (!put->at)
		return;
	put->buffer->length = (size_t)(put->at - put->buffer->data);
	*put->at = '\0'; /* there is always room for it behind `end` */
}

bool put_grow(struct put *put, size_t length)
{
	if (put->at)
		put->buffer->length = (size_t)(put->at - put->buffer->data);
	put->at = buffer_reserve(put->buffer, length);
	put->end = put->at ? put->buffer->data + put->buffer->capacity - 1 : NULL;
	return put->at;
}

/* --- eight bytes at once ---------------------------------------------------------------------------------------------------- */

#define EACH(byte) (0x0101010101010101ull * (byte))

/* Not zero exactly where a byte is below `limit`, which is at most 0x80. */
static uint64_t below(uint64_t bytes, uint64_t limit)
{
	return (bytes - EACH(1) * limit) & ~bytes & EACH(0x80);
}

static uint64_t is_byte(uint64_t bytes, uint64_t byte)
{
	return below(bytes ^ EACH(1) * byte, 1);
}

static uint64_t load(const char *data)
{
	uint64_t bytes;

	memcpy(&bytes, data, sizeof(bytes));
	return bytes;
}

/* --- text ------------------------------------------------------------------------------------------------------------------- */

static bool is_control(unsigned char c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

void put_foreign_text(struct put *put, struct span text)
{
	uint64_t odd = 0;
	size_t i;
	char *to;

	if (!put_room(put, text.length))
		return;
	to = put->at;
	for (i = 0; i + 8 <= text.length; i += 8) {
		const uint64_t bytes = load(text.data + i);

		odd |= below(bytes, 0x20) | is_byte(bytes, 0x7f);
		memcpy(to + i, &bytes, sizeof(bytes));
	}
	for (; i < text.length; i++) {
		odd |= is_control((unsigned char)text.data[i]);
		to[i] = text.data[i];
	}
	for (i = 0; odd && i < text.length; i++)
		if (is_control((unsigned char)to[i]))
			to[i] = '?';
	put->at += text.length;
}

/* --- JSON ------------------------------------------------------------------------------------------------------------------- */

static bool is_plain_json(struct span text)
{
	uint64_t odd = 0;
	size_t i;

	for (i = 0; i + 8 <= text.length; i += 8) {
		const uint64_t bytes = load(text.data + i);

		odd |= (bytes & EACH(0x80)) | below(bytes, 0x20) | is_byte(bytes, '"') | is_byte(bytes, '\\') | is_byte(bytes, 0x7f);
	}
	for (; i < text.length; i++) {
		const unsigned char c = (unsigned char)text.data[i];

		odd |= c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
	}
	return !odd;
}

static void put_escape(struct put *put, unsigned char c)
{
	static const char hex[] = "0123456789abcdef", named[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
	const char *name = c ? strchr(named, c) : NULL;

	if (name) {
		put_byte(put, '\\');
		put_byte(put, names[name - named]);
		return;
	}
	put_bytes(put, "\\u00", 4);
	put_byte(put, hex[c >> 4]);
	put_byte(put, hex[c & 15]);
}

void put_json_text(struct put *put, struct span text)
{
	bool utf8;

	if (is_plain_json(text)) {
		put_bytes(put, text.data, text.length);
		return;
	}
	utf8 = utf8_valid(text.data, text.length);
	for (size_t i = 0; i < text.length; i++) {
		const unsigned char c = (unsigned char)text.data[i];

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || (c >= 0x80 && !utf8))
			put_escape(put, c);
		else
			put_byte(put, (char)c);
	}
}
