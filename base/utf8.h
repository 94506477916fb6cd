/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Well-formed by RFC 3629: shortest form, no surrogates, up to U+10FFFF. */
bool utf8_valid(const char *text, size_t length);
