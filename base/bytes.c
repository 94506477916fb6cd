/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 128
#define PRINT_ROOM 120 /* what most texts fit into */

void buffer_done(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){};
}

void buffer_clear(struct buffer *b)
{
	b->length = 0;
	b->failed = false;
}

char *buffer_reserve(struct buffer *b, size_t extra)
{
	size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY, needed;
	char *data;

	if (b->failed)
		return NULL;
	if (__builtin_add_overflow(b->length, extra, &needed) || __builtin_add_overflow(needed, 1, &needed))
		goto failed;
	if (needed > b->capacity) {
		while (capacity < needed)
			if (__builtin_mul_overflow(capacity, 2, &capacity))
				goto failed;
		data = realloc(b->data, capacity);
		if (!data)
			goto failed;
		b->data = data;
		b->capacity = capacity;
	}
	return b->data + b->length;
failed:
	b->failed = true;
	return NULL;
}

void buffer_append(struct buffer *b, const void *data, size_t length)
{
	char *to = buffer_reserve(b, length);

	if (!to)
		return;
	if (length > 0)
		memcpy(to, data, length);
	b->length += length;
	b->data[b->length] = '\0';
}

void buffer_add(struct buffer *b, const char *string)
{
	buffer_append(b, string, strlen(string));
}

void buffer_add_i64(struct buffer *b, int64_t number)
{
	uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	char digits[20], *at = digits + sizeof(digits); /* 2^63 has 19, and a sign */

	do
		*--at = (char)('0' + left % 10);
	while (left /= 10);
	if (number < 0)
		*--at = '-';
	buffer_append(b, at, (size_t)(digits + sizeof(digits) - at));
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
	int saved = errno; /* for %m, also the second time */
	char *to = buffer_reserve(b, PRINT_ROOM);
	va_list args, again;
	int length;

	if (!to)
		return;
	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(to, PRINT_ROOM, format, args);
	if (length >= PRINT_ROOM) { /* it was cut */
		to = buffer_reserve(b, (size_t)length);
		errno = saved;
		if (to)
			vsnprintf(to, (size_t)length + 1, format, again);
	}
	b->failed |= length < 0 || !to;
	if (!b->failed)
		b->length += (size_t)length;
	b->data[b->length] = '\0';
	va_end(again);
	va_end(args);
}

void buffer_consume(struct buffer *b, size_t length)
{
	if (length == 0)
		return;
	b->length -= length;
	memmove(b->data, b->data + length, b->length);
	b->data[b->length] = '\0';
}

bool buffer_failed(const struct buffer *b)
{
	return b->failed;
}

const char *buffer_string(const struct buffer *b)
{
	if (!b->data)
		return "";
	b->data[b->length] = '\0'; /* whoever wrote after buffer_reserve() did not */
	return b->data;
}

char *buffer_take(struct buffer *b)
{
	char *data = NULL;

	if (buffer_reserve(b, 0)) {
		data = b->data;
		data[b->length] = '\0';
		b->data = NULL;
	}
	buffer_done(b);
	return data;
}

/* The second byte's range depends on the first: no overlong forms, no surrogates, nothing past U+10FFFF (RFC 3629, 4). */
static const struct {
	unsigned char first_low, first_high, second_low, second_high;
	size_t length;
} sequences[] = {
	{ 0x00, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
	{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

char *text_put(char *at, const char *end, const char *text)
{
	const size_t length = strlen(text);

	if (!at || (size_t)(end - at) <= length)
		return NULL;
	memcpy(at, text, length + 1);
	return at + length;
}

size_t utf8_sequence(const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i, k;

	for (i = 0; length > 0 && i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		if (s[0] < sequences[i].first_low || s[0] > sequences[i].first_high)
			continue;
		if (sequences[i].length == 1)
			return 1;
		if (length < sequences[i].length || s[1] < sequences[i].second_low || s[1] > sequences[i].second_high)
			return 0;
		for (k = 2; k < sequences[i].length; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return sequences[i].length;
	}
	return 0;
}
