/* SPDX-License-Identifier: Apache-2.0 */
/* Resources out of documents of every form (form.h), as the API's own create documents, with the identity that they had: what import,
 * apply and validate work on. Pure: files were read before, nobody is asked. What would not carry over is told field by field. */
#pragma once

#include "agent/convert/form.h"
#include "agent/convert/input.h"
#include "agent/spec/resource.h"

#define ACCOUNT_BYTES 13
#define REGION_BYTES 64

struct converted {
	json_t *document; /* what `aws appmesh create-*` takes, tags included; not checked yet */
	char account[ACCOUNT_BYTES], region[REGION_BYTES]; /* "": the source does not say */
	json_t *metadata; /* {"arn", "uid", "version", "createdAt", "lastUpdatedAt"}: what the source has of it; times in ms since the epoch */
	char *origin; /* "aws_appmesh_route.backend", "BackendNode" of a template; "" where the document is the resource */

	/* where it came from */
	const struct document *from; /* borrowed from the inputs */
	enum document_form form;
	enum resource_kind kind; /* of states and templates */
	char *path; /* of the resource in the document, "resources[3].instances[0].attributes"; "" */
	const json_t *source; /* that member, borrowed from the document or, of a template, owned by the conversion */
};

struct conversion {
	struct converted *list;
	size_t count;
	json_t *remarks; /* what does not carry over: objects {"file", "line", "column", "origin", "field", "what"} */
	json_t *owned; /* values that `source` members point into */
	json_t *values; /* {"NAME": "VALUE"}: parameters of templates, and what they name and do not have; may be empty */
	json_t *used; /* names of those that a template asked for */
};

int conversion_init(struct conversion *c); /* 0 or -ENOMEM */
void conversion_done(struct conversion *c);
/* "NAME=VALUE". -EINVAL. */
int conversion_set(struct conversion *c, const char *assignment, struct error *err);

/* Converts every document; what is wrong becomes a problem of the inputs, a value that nobody asked for as well. 0 or -ENOMEM. */
int conversion_run(struct conversion *c, struct inputs *inputs);

/* A member of the create document, "spec.listeners[0]", as a problem: its place is where it stands in the source. 0 or -ENOMEM. */
int converted_problem(const struct converted *item, struct inputs *inputs, const char *resource, const struct error *err);
void converted_place(const struct converted *item, const char *field, struct json_place *ret_place);

/* One line for each, "FILE:LINE:COLUMN: LABEL: field: what": those that are the same for many are one line, with how many. */
void remarks_print(const json_t *remarks, const char *label, FILE *to);

/* What the forms share. All return 0 or -ENOMEM, and put what is wrong into the inputs' problems. */

struct conversion_context {
	struct conversion *conversion;
	struct inputs *inputs;
	const struct document *from;
	bool failed; /* no memory, in a callback that could not say so */
};
int convert_describe(struct conversion_context *c);
int convert_state(struct conversion_context *c);
int convert_template(struct conversion_context *c);

/* Takes the document and the metadata over, whatever happens. */
int conversion_add(struct conversion_context *c, enum document_form form, enum resource_kind kind, const char *origin, const char *path,
		   const json_t *source, json_t *document, json_t *metadata, struct converted **ret_item);
/* `path`: in the document. */
int conversion_remark(struct conversion_context *c, const char *origin, const char *path, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
int conversion_problem(struct conversion_context *c, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Account and region of an ARN of App Mesh. False, and nothing is written, of anything else. */
bool arn_scope(const char *arn, char account[ACCOUNT_BYTES], char region[REGION_BYTES]);
/* {"KEY": "VALUE"} as the API's list, without keys that AWS keeps for itself ("aws:...") and without what is no string: those are told. */
json_t *convert_tags(struct conversion_context *c, const json_t *tags, const char *origin, const char *path);
