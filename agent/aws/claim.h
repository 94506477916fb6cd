/* SPDX-License-Identifier: Apache-2.0 */
/* What a request says about its signature: in its Authorization header, or in parameters of its query (presigned). Taken apart and
 * checked for form; whether it is true is sigv4_verify()'s. */
#pragma once

#include "agent/aws/canonical.h"
#include "agent/aws/refusal.h"

#define SIGV4_AUTHORIZATION_MAX_BYTES (8 * 1024)
#define SIGV4_SIGNATURE_LENGTH (DIGEST_HEX_BYTES - 1)
#define SIGV4_EXPIRES_MAX_S (7 * 24 * 3600)

struct sigv4_claim { /* spans are of the request, or of `text` */
	bool presigned;
	struct span algorithm, credential, signed_headers, signature, date, expires; /* as they came; no data: not there */
	struct span access_key_id;
	struct aws_scope scope;
	int64_t signed_s;
	int64_t expires_s; /* presigned: the span */
	struct buffer text; /* keeps its memory from one request to the next */
};
void sigv4_claim_done(struct sigv4_claim *claim);

/* After canonical_query(). 0; -EACCES with the refusal; -ENOMEM. */
int sigv4_claim_read(struct sigv4_claim *claim, const struct canonical *canonical, const struct sigv4_request *request,
		     struct sigv4_refusal *refusal);

/* The first header of that name, or NULL; how often it is there. */
const struct sigv4_header *sigv4_header(const struct sigv4_request *request, const char *name, size_t *ret_count);
