/* SPDX-License-Identifier: Apache-2.0 */
/* The App Mesh API, version 2019-01-25: a request and a state in, an answer and what is to be written out. No sockets, no clock, no
 * store: what comes out is decided by what is given. All 38 operations are one implementation over the table of operations
 * (agent/spec/operation.h) and the seven resource kinds. docs/api.md has what App Mesh leaves open and how it is decided here.
 *
 * A write is planned, not done: the caller commits the change, and sends the answer when it is durable; where a compare is lost it
 * takes up what was written in between and plans again. */
#pragma once

#include "agent/api/appmesh/state.h"
#include "agent/spec/operation.h"
#include "base/span.h"

/* Those of kinds come first, in the order of the kinds: how many there may be under one parent. */
#define APPMESH_QUOTAS(X)                                                                                                      \
	X(RESOURCE_MESH, "meshesPerAccount", 100)                                                                              \
	X(RESOURCE_VIRTUAL_SERVICE, "virtualServicesPerMesh", 500)                                                             \
	X(RESOURCE_VIRTUAL_NODE, "virtualNodesPerMesh", 200)                                                                   \
	X(RESOURCE_VIRTUAL_ROUTER, "virtualRoutersPerMesh", 200)                                                               \
	X(RESOURCE_ROUTE, "routesPerVirtualRouter", 50)                                                                        \
	X(RESOURCE_VIRTUAL_GATEWAY, "virtualGatewaysPerMesh", 10)                                                              \
	X(RESOURCE_GATEWAY_ROUTE, "gatewayRoutesPerVirtualGateway", 50)                                                        \
	X(APPMESH_QUOTA_BACKENDS, "backendsPerVirtualNode", 50)                                                                \
	X(APPMESH_QUOTA_TARGETS, "weightedTargetsPerRoute", 10)
enum { APPMESH_QUOTA_BACKENDS = RESOURCE_KIND_COUNT, APPMESH_QUOTA_TARGETS, APPMESH_QUOTA_COUNT };

struct appmesh_quota {
	const char *name;
	uint32_t usual;
};
extern const struct appmesh_quota appmesh_quotas[APPMESH_QUOTA_COUNT];

struct appmesh_settings {
	const char *account; /* 12 digits: whose meshes these are, and the caller's */
	uint32_t quotas[APPMESH_QUOTA_COUNT];
	bool strict_references; /* what a resource names must be there */
	const char *read_only; /* why nothing can be written, for the error; NULL: it can */
};
void appmesh_settings_init(struct appmesh_settings *settings, const char *account);

#define APPMESH_UID_BYTES 37
struct appmesh_identity { /* who a resource was, elsewhere; "" and 0: as for a new one */
	char uid[APPMESH_UID_BYTES];
	int64_t version, created_ms, updated_ms;
};
/* From JSON, {"account", "arn", "uid", "version", "createdAt", "lastUpdatedAt"}, of which any may be missing; times in ms since the epoch.
 * The ARN is not looked at: it is that of account, region and names. -EINVAL; -EPERM: of another account. */
int appmesh_identity_read(struct span text, const char *account, struct appmesh_identity *ret_identity, struct error *err);

struct appmesh_request { /* borrowed */
	struct span method, target, body; /* as they came */
	const char *region;
	uint64_t now_ns; /* wall clock */
	char uid[APPMESH_UID_BYTES]; /* for what is created: appmesh_uid() */
	const struct appmesh_identity *identity; /* for what is created, and was elsewhere; NULL: none */
};

struct appmesh_compare {
	char *key;
	uint64_t revision; /* 0: the key is absent */
};
struct appmesh_op {
	char *key;
	char *value; /* NULL: delete */
};
#define APPMESH_SWEPT_TOKENS 4 /* that are too old are removed by each write */
struct appmesh_change { /* one transaction; none where op_count is 0 */
	struct appmesh_compare compares[4];
	struct appmesh_op ops[4 + APPMESH_SWEPT_TOKENS];
	size_t compare_count, op_count;
};

struct appmesh_answer {
	int status;
	const char *error; /* "NotFoundException"; NULL: none */
	json_t *body; /* an object, whatever happens but for -ENOMEM */
	const struct model_operation *operation; /* NULL: the request is for none */
	json_t *input; /* members of the operation's input, as they were read; NULL: not even that */
	struct appmesh_change change; /* nothing where there is an error */
};
void appmesh_answer_done(struct appmesh_answer *answer);

/* Always fills the answer. */
void appmesh_handle(const struct appmesh_state *state, const struct appmesh_settings *settings, const struct appmesh_request *request,
		    struct appmesh_answer *ret_answer);
/* Makes it the answer for an error: codes are those of appmesh_error_find(). */
void appmesh_answer_error(struct appmesh_answer *answer, const struct error *err);
/* The body as it is sent; free() it. NULL: out of memory. */
char *appmesh_text(const json_t *body);

struct appmesh_error {
	int code; /* negative errno */
	const char *name;
	int status;
};
/* -EINVAL BadRequestException, -ENOENT NotFoundException, -EEXIST ConflictException, -EBUSY ResourceInUseException, -ENOSPC
 * LimitExceededException, -EOVERFLOW TooManyTagsException, -EPERM and -EROFS ForbiddenException, -EAGAIN TooManyRequestsException, -ENOSYS
 * UnknownOperationException, -ESHUTDOWN ServiceUnavailableException; all others InternalServerErrorException. */
const struct appmesh_error *appmesh_error_find(int code);

void appmesh_uid(const uint8_t random[16], char ret_uid[APPMESH_UID_BYTES]); /* RFC 9562, version 4 */
