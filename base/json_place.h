/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON text a member stands: the parser has positions for errors of syntax only, and whoever made any other error wants to
 * be led to it as well. A second, small scan of the same text; no memory is kept. */
#pragma once

#include <stddef.h>

struct json_place {
	unsigned int line, column; /* from 1; columns are UTF-8 characters */
};

/* The place of the member `path` ("spec.listeners[0].port", as error messages have it) of the value that begins at or after `offset`:
 * where its name begins, or the element of a list. Where the path ends in what is not there (a member that is required, say, or the
 * text is no JSON): that of the nearest thing above it which is. Any bytes are taken. */
void json_place_find(const char *text, size_t length, size_t offset, const char *path, struct json_place *ret_place);

/* The place of a byte. */
void json_place_of(const char *text, size_t length, size_t offset, struct json_place *ret_place);
