/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the App Mesh API share: one request on its way. */
#pragma once

#include "agent/api/appmesh/appmesh.h"
#include "base/error.h"

struct appmesh_names { /* of the resource at hand; borrowed from the input, or from a resource */
	enum resource_kind kind;
	const char *mesh, *parent, *name; /* as in struct appmesh_resource; those that the request does not have are NULL */
};

struct appmesh_call {
	const struct appmesh_state *state;
	const struct appmesh_settings *settings;
	const struct appmesh_request *request;
	struct appmesh_scope scope;
	const struct model_operation *operation;
	json_t *input;
	struct appmesh_names names;
	struct appmesh_answer *answer;
};

/* request.c: finds the operation, and reads path, query and body into the input, checked by its shape. */
int appmesh_read_request(struct appmesh_call *call, struct error *err);

/* One for each verb: the answer's body, and the change. */
int appmesh_create(struct appmesh_call *call, struct error *err);
int appmesh_update(struct appmesh_call *call, struct error *err);
int appmesh_delete(struct appmesh_call *call, struct error *err);
int appmesh_describe(struct appmesh_call *call, struct error *err);
int appmesh_list(struct appmesh_call *call, struct error *err);
int appmesh_tag(struct appmesh_call *call, struct error *err);
int appmesh_untag(struct appmesh_call *call, struct error *err);
int appmesh_list_tags(struct appmesh_call *call, struct error *err);

/* record.c */

/* "VirtualNode" */
const char *appmesh_noun(enum resource_kind kind, char buffer[32]);
#define NOUN(kind) appmesh_noun(kind, (char[32]){ 0 })
/* What is stored of the resource, or would be. A new reference; NULL: out of memory. */
json_t *appmesh_record(const struct appmesh_resource *resource);
/* The resource as create, describe and delete answer it, and as lists have it. New references; NULL: out of memory. */
json_t *appmesh_data(struct appmesh_scope scope, const struct appmesh_names *names, const json_t *record, const char *status);
json_t *appmesh_ref(const struct appmesh_resource *resource);
struct appmesh_names appmesh_names_of(const struct appmesh_resource *resource);
/* The parts of a resource's ARN, cut out of `arn`, which must live as long. -EINVAL; -EPERM: of another account; -ENOENT: of another
 * region. */
int appmesh_arn_parse(struct appmesh_scope scope, char *arn, struct appmesh_names *ret_names, struct error *err);

/* rules.c */

/* -ENOENT: the mesh, or the router or gateway in the path, is not there. */
int appmesh_check_parents(const struct appmesh_call *call, struct error *err);
/* The resource that the names are of. -ENOENT. */
int appmesh_get(const struct appmesh_call *call, const struct appmesh_resource **ret_resource, struct error *err);
/* The document, alone and beside what it names and what names it. `ret_spec`: a new reference to the spec as it is stored. */
int appmesh_check_document(const struct appmesh_call *call, const json_t *document, json_t **ret_spec, struct error *err);
/* -ENOENT: with strict references, what the spec names is not there. */
int appmesh_check_references(const struct appmesh_call *call, const json_t *spec, struct error *err);
/* -EBUSY: something needs it. */
int appmesh_check_unused(const struct appmesh_call *call, struct error *err);
/* -ENOSPC: one more is too many; for the spec, it holds too many. */
int appmesh_check_count(const struct appmesh_call *call, struct error *err);
int appmesh_check_quotas(const struct appmesh_call *call, const json_t *spec, struct error *err);

/* change.c */

int appmesh_change_guard(struct appmesh_call *call, const char *mesh); /* NULL: that of meshes. 0 or -ENOMEM, as the others */
int appmesh_change_guard_end(struct appmesh_call *call, const char *mesh); /* the mesh goes */
int appmesh_change_resource(struct appmesh_call *call, const json_t *record); /* NULL: it goes */
int appmesh_change_token(struct appmesh_call *call, const json_t *record);
void appmesh_change_done(struct appmesh_change *change);

/* tags.c */

/* The elements of a `tags` member, valid by its shape, over those that are there: {key: value}. -EINVAL: a key that is reserved, or
 * there twice; -EOVERFLOW: too many. */
int appmesh_tags_add(json_t *tags, const json_t *list, struct error *err);

/* token.c */

/* 1: the token was there with this request, whose spec this is: the answer's body is what it was. 0: it is new, or there is none.
 * -EEXIST: it was there with another request. */
int appmesh_token_check(struct appmesh_call *call, json_t *spec, struct error *err);
/* Writes down what the token stands for: the resource's record as it is now. */
int appmesh_token_keep(struct appmesh_call *call, const json_t *record);

static inline int64_t appmesh_now_ms(const struct appmesh_call *call)
{
	return (int64_t)(call->request->now_ns / 1000000);
}
