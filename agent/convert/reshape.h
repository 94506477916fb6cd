/* SPDX-License-Identifier: Apache-2.0 */
/* A value in somebody else's spelling of the API's members, respelt by the shapes of the API's model: Terraform's snake_case blocks,
 * CloudFormation's PascalCase. What is accepted here is checked by nobody yet; what has no place in the shape is told, never dropped in
 * silence. */
#pragma once

#include <stdbool.h>

#include "agent/spec/model.h"
#include "base/bytes.h"
#include "base/json.h"

struct spelling {
	bool (*same)(const char *theirs, const struct shape_member *ours);
	/* Structures come as lists of at most one, absent members as null, "", 0 and empty lists, and lists of {key, value} as objects. */
	bool blocks;
	/* Numbers and booleans may be strings, and strings numbers or booleans. */
	bool loose;
};
extern const struct spelling terraform_spelling, cloudformation_spelling;

/* `path`: the member at hand in the source, "attributes.spec[0].tls". */
typedef void reshape_remark_fn(const char *path, const char *what, void *arg);

/* `value` is at `path` in its source. A value that does not fit its shape is kept as it is, for whoever checks the result. NULL: there is
 * nothing, or no memory, which *failed then says. */
json_t *reshape(const struct spelling *spelling, const struct shape *shape, const json_t *value, const char *path,
		reshape_remark_fn *remark, void *arg, bool *failed);

/* Where in the source a member of the result came from: appends to `theirs`, which holds the path of `value`, as much of the way as
 * there is. `ours`: "listeners[0].portMapping.port". */
void reshape_path(const struct spelling *spelling, const struct shape *shape, const json_t *value, const char *ours,
		  struct buffer *theirs);
