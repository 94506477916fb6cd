/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON text a member stands: the parser has positions for errors of syntax only, and whoever made any other error wants to
 * be led to it as well. A second, small scan of the same text; no memory is kept. */
#pragma once

#include <stddef.h>

struct json_place {
	unsigned int line, column; /* from 1; columns are UTF-8 characters */
};

/* What one look-up in a text leaves for the next, so that many of them, in their order, cost no more than the text has bytes: a state of
 * Terraform has thousands of resources in one list. All zero to begin with; of one text. */
struct json_place_memory {
	size_t counted; /* bytes, and the place behind them */
	struct json_place place;
	/* of the value at `base`: behind the beginning of its outermost list (0: none), and where that element of it begins */
	size_t base, list, index, element;
};

/* The place of the member `path` ("spec.listeners[0].port", as error messages have it) of the value that begins at or after `offset`:
 * where its name begins, or the element of a list. Where the path ends in what is not there (a member that is required, say, or the
 * text is no JSON): that of the nearest thing above it which is. Any bytes are taken. `memory` NULL: none. */
void json_place_find(const char *text, size_t length, size_t offset, const char *path, struct json_place_memory *memory,
		     struct json_place *ret_place);

/* The place of a byte. */
void json_place_of(const char *text, size_t length, size_t offset, struct json_place *ret_place);
