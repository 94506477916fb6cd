/* SPDX-License-Identifier: Apache-2.0 */
/* The API's own model as tables: gen_model.py prints model_shapes[] from model.json at build time. No shape contains itself,
 * so a document that was accepted is no deeper than its shape. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

enum shape_type { SHAPE_STRUCTURE, SHAPE_LIST, SHAPE_STRING, SHAPE_NUMBER, SHAPE_BOOLEAN };

struct shape;
struct shape_member {
	const char *name; /* NULL ends the table */
	const struct shape *shape;
	bool required;
};
struct shape {
	const char *name; /* "VirtualNodeSpec"; NULL ends the table */
	enum shape_type type;
	int64_t min, max; /* inclusive: value of a number, characters of a string, elements of a list */
	bool exactly_one; /* a union: one of the members, no more */
	const char *const *values; /* the allowed strings, NULL at the end; NULL: any */
	bool (*matches)(const char *text); /* NULL: any */
	const char *pattern; /* `matches` in words */
	const struct shape_member *members;
	const struct shape *element;
};
extern const struct shape model_shapes[];

/* By the model's name, which must exist. */
const struct shape *shape_find(const char *name);

/* 0, or -EINVAL with the path of the member at fault below `value`, what was given and what is allowed. Members that are null
 * count as absent, unknown ones are refused. */
int shape_validate(const struct shape *shape, const json_t *value, struct error *err);

/* The model's patterns. */
bool pattern_graphic(const char *text);
bool pattern_graphic_first(const char *text);
