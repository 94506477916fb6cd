/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer, always NUL-terminated for convenience. Out of memory is remembered: further appends do nothing and
 * buffer_failed() says so, so that a chain of appends is checked once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
	char *data; /* may be NULL while empty */
	size_t length;
	size_t capacity;
	bool failed;
};

void buffer_done(struct buffer *b);
void buffer_clear(struct buffer *b); /* keeps the memory, forgets a failure */
/* Makes room for `extra` more bytes and returns where they go, or NULL. Raise `length` after writing. */
char *buffer_reserve(struct buffer *b, size_t extra);
void buffer_append(struct buffer *b, const void *data, size_t length);
void buffer_add(struct buffer *b, const char *string);
void buffer_add_i64(struct buffer *b, int64_t number); /* in decimal */
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `length` bytes. */
void buffer_consume(struct buffer *b, size_t length);
bool buffer_failed(const struct buffer *b);
/* The string, never NULL. Owned by the buffer. */
const char *buffer_string(const struct buffer *b);
/* Hands the memory to the caller, who frees it; NULL when out of memory. The buffer is empty afterwards. */
char *buffer_take(struct buffer *b);

/* Puts a text where `at` is, and returns where the next one goes: at its NUL. NULL: it does not fit before `end`, or one before did not,
 * so that a chain is checked once. */
char *text_put(char *at, const char *end, const char *text);

/* Bytes of the well-formed UTF-8 sequence that `text` begins with; 0: none, or cut off by `length`. */
size_t utf8_sequence(const char *text, size_t length);
