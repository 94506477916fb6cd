/* SPDX-License-Identifier: Apache-2.0 */
/* What people hand to the command line: files, directories of files, standard input. A file holds one JSON value or several, each a
 * document or a list of documents; or one CloudFormation template in YAML. Texts are kept, so that whatever is wrong with a document is told with its place.
 *
 * One bad file does not end the reading: what is wrong is gathered, in order, and the rest is read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "base/json.h"

#define INPUT_LIMIT_BYTES (64 * 1024 * 1024) /* of one file: Terraform's states hold much that is not ours */

struct input_text;
struct document {
	json_t *value; /* owned by the inputs, as is the rest */
	struct input_text *text; /* remembers where it was looked at last */
	size_t offset; /* of the value, or of the list that it is an element of */
	char prefix[24]; /* "[3]": where it is in that list; "": it is in none */
};

struct inputs {
	struct input_text **texts;
	size_t text_count;
	struct document *documents;
	size_t document_count;
	size_t left_alone; /* files in directories whose names end in something else than .json */
	json_t *problems; /* objects {"file", "line", "column", "resource", "field", "error"}; file, line, resource and field may be missing */
};

int inputs_init(struct inputs *inputs); /* 0 or -ENOMEM */
void inputs_done(struct inputs *inputs);

/* Reads a file, everything below a directory, or standard input ("-"). -ENOMEM; whatever else goes wrong is a problem. */
int inputs_read(struct inputs *inputs, const char *path, struct error *err);

/* The file's path, or "(standard input)". */
const char *document_file(const struct document *document);
/* Adds what is wrong with a document: its place is that of err->field. `resource`: its full name, or NULL. 0 or -ENOMEM. */
int inputs_problem(struct inputs *inputs, const struct document *document, const char *resource, const struct error *err);
/* The same for a place that is known. `file` and `place` may be NULL. */
int inputs_problem_at(struct inputs *inputs, const char *file, const struct json_place *place, const char *resource,
		      const struct error *err);
/* Where a member of the document is. */
void document_place(const struct document *document, const char *field, struct json_place *ret_place);

/* "FILE:LINE:COLUMN: field: text", one a line. */
void problems_print(const json_t *problems, FILE *to);
