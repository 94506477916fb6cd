/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as it mostly is, parsed at a quarter of the library's cost, which asks a callback for each byte and copies each string twice. What it
 * does not take, it does not judge: that is json_parse()'s, by the library, whose values and errors are the ones that count. From any
 * thread. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* The value that begins at text + *offset, or behind white space there; *offset moves behind it, and nothing more is looked at. What it returns is
 * what the library makes of it (json_loadb() with JSON_DECODE_ANY). NULL, and *offset is where it was: there is something in it that the
 * library is to look at, which is all but objects, lists, strings of ASCII without escapes, integers from 0 up of 64 bits, true,
 * false and null; more than some levels of them; any fault, a member that is there twice too; or there is no memory. */
json_t *json_quick_parse(const char *text, size_t length, size_t *offset);
