/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of the App Mesh API (2019-01-25) as a table, which gen_model.py prints from model.json at build time. */
#pragma once

#include "agent/spec/model.h"
#include "agent/spec/resource.h"

enum operation_verb {
	OPERATION_CREATE,
	OPERATION_DESCRIBE,
	OPERATION_UPDATE,
	OPERATION_DELETE,
	OPERATION_LIST,
	OPERATION_TAG,
	OPERATION_UNTAG,
	OPERATION_LIST_TAGS,
};

struct model_operation {
	const char *name; /* "CreateMesh"; NULL ends the table */
	enum operation_verb verb;
	enum resource_kind kind; /* RESOURCE_KIND_COUNT: by the ARN */
	const char *method;
	const char *uri; /* "/v20190125/meshes/{meshName}": names in braces are members of the input */
	const struct shape *input; /* all members, wherever they come from */
	const char *const *query_members, *const *body_members; /* NULL at the end */
	const char *result; /* the output's payload, "mesh", or its list, "meshes"; NULL: an empty object */
};
extern const struct model_operation model_operations[];
