/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that somebody else owns, without a NUL behind them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct span {
	const char *data; /* may be NULL where length is 0 */
	size_t length;
};

#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })

static inline struct span span_of(const char *string)
{
	return (struct span){ string, strlen(string) };
}
static inline bool span_equal(struct span a, struct span b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}
/* Letters of ASCII in any case. */
static inline bool span_equal_nocase(struct span a, struct span b)
{
	return a.length == b.length && (a.length == 0 || strncasecmp(a.data, b.data, a.length) == 0);
}
