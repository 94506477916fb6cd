/* SPDX-License-Identifier: Apache-2.0 */
/* A resource as the API's operations take it: kind and name members. */
#pragma once

#include "agent/spec/resource.h"
#include "base/error.h"
#include "base/json.h"

struct target {
	enum resource_kind kind;
	json_t *input; /* {"meshName", ..., "routeName"} */
	char *full_name; /* "mesh/M/virtualRouter/R/route/T" */
};
void target_done(struct target *target);

/* `parent` NULL: none. 0 or -ENOMEM. */
int target_init(struct target *target, enum resource_kind kind, const char *mesh, const char *parent, const char *name);
/* From a full name, or an ARN that ends in one. -EINVAL. */
int target_parse(struct target *target, const char *text, struct error *err);
/* What the API lists or describes: an object with the name members of a resource of that kind. -EPROTO. */
int target_of(struct target *target, enum resource_kind kind, const json_t *object, struct error *err);

/* Where in the order of creation a kind is: what others name comes before them, as far as that can be. Deleting goes the other way. */
int target_rank(enum resource_kind kind);
