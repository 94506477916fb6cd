/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as digits, where printf's ways would be seen in a profile: for each request, for each of many rows. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DECIMAL_BYTES 20

/* Writes digits, without a NUL; returns how many. */
static inline size_t decimal_write(char *to, uint64_t number)
{
	char digits[DECIMAL_BYTES], *p = digits + DECIMAL_BYTES;
	size_t length;

	do {
		*--p = (char)('0' + number % 10);
	} while (number /= 10);
	length = (size_t)(digits + DECIMAL_BYTES - p);
	memcpy(to, p, length);
	return length;
}
