/* SPDX-License-Identifier: Apache-2.0 */
/* JSON by jansson, which refuses duplicate members and keeps integers apart from reals. This header is where the program
 * and the library meet: parse with an error that names line and column, and short-hands for reading what is already valid. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "error.h"
#include "json_place.h"

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

#define JSON_TEXT_LIMIT_BYTES (4 * 1024 * 1024)

/* One JSON value (any type), nothing but white space after it. -EINVAL with line and column, -E2BIG, -ENOMEM. */
int json_parse(const char *text, size_t length, json_t **ret_value, struct error *err);
/* The same for a whole file; -errno of open or read as well. */
int json_parse_file(const char *path, json_t **ret_value, struct error *err);
/* And what fstat() said of it before it was read. */
int json_parse_file_stat(const char *path, struct stat *ret_st, json_t **ret_value, struct error *err);

/* The object or list that begins at *offset or behind white space there; *offset moves behind it, and nothing more is looked at. What is
 * longer than a limit is the caller's to refuse. -EINVAL with the place of the error in *ret_place, which is not in the message;
 * -ENOMEM. */
int json_parse_next(const char *text, size_t length, size_t *offset, json_t **ret_value, struct json_place *ret_place,
		    struct error *err);

struct buffer;
/* Appends the value, of any type, as the library prints it with JSON_COMPACT, at a fifth of its cost: that looks for loops by tables of printed
 * pointers, and values here have none. NULL is null. Out of memory is the buffer's to say. For what becomes part of a longer text, or is
 * printed often; json_dumps() is for a value that is a text by itself, and for what else the library can: sorted, indented, ASCII. */
void json_print(const json_t *value, struct buffer *text);

/* A hash, the same for values that json_equal() takes for equal, in every build: members of objects in whatever order, 0.0 and -0.0. No hash for
 * input that is made to collide. NULL has one of its own. */
uint64_t json_hash(const json_t *value);

/* Members of an object by dotted path, "spec.egressFilter.type"; "" is the value itself. NULL or the fallback when a step is absent or of another type. */
json_t *json_path(const json_t *value, const char *path);
const char *json_path_string(const json_t *value, const char *path);
int64_t json_path_int(const json_t *value, const char *path, int64_t fallback);
bool json_path_bool(const json_t *value, const char *path, bool fallback);
/* Elements of an array at a path: 0 when absent. */
size_t json_path_count(const json_t *value, const char *path);
json_t *json_path_at(const json_t *value, const char *path, size_t index);
