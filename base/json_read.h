/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON that nearly all of it is, read several times as fast as jansson reads any: ASCII without escapes, integers of up to 18 digits, 64
 * levels at most. Whatever else there is, wrong or right, is left to jansson, which says what is wrong. Internal to base/json.c. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* The one value of the text, with white space around it, as json_loadb() reads it with JSON_DECODE_ANY and JSON_REJECT_DUPLICATES. NULL:
 * jansson has to read it. */
json_t *json_read(const char *text, size_t length);
