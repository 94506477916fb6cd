/* SPDX-License-Identifier: Apache-2.0 */
/* CloudFormation's intrinsic functions: a value of a template with Ref, Fn::Sub and the like worked out, from what is in the template and
 * what is given besides. (CloudFormation user guide, "Intrinsic function reference".) What needs AWS to know is refused, naming the
 * parameter by which it may be given. */
#pragma once

#include <stdbool.h>

#include "agent/convert/convert.h"

#define FUNCTION_DEPTH 128 /* of values within values, and of names that lead to others: a circle is found so */
#define FUNCTION_STEPS 1000000 /* of one template: doublings of doublings end */
#define FUNCTION_TEXT_BYTES (64 * 1024)

struct template {
	const json_t *body;
	json_t *values; /* given: "NAME" of parameters, pseudo parameters (AWS::Region), exports, resources; "RESOURCE.ATTRIBUTE" */
	json_t *used; /* names of those that were asked for */
	size_t depth, steps;
};

/* 0: *ret_value is a new reference; NULL for AWS::NoValue. -EINVAL: err->field is the place in the template; -ENOMEM. `path`: where
 * `value` is. */
int template_evaluate(struct template *t, const json_t *value, const char *path, json_t **ret_value, struct error *err);
/* A condition by its name. */
int template_condition(struct template *t, const char *name, const char *path, bool *ret_holds, struct error *err);
/* A value that was given by that name; NULL: none. */
const char *template_value(struct template *t, const char *name);

/* "AWS::AppMesh::VirtualNode" -> RESOURCE_VIRTUAL_NODE; -ENOENT. */
int template_kind(const char *type, enum resource_kind *ret_kind);
/* "VirtualNodeName" */
const char *template_member(const char *ours, char buffer[64]);
