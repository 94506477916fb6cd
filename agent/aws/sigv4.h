/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4: whether a request was signed by who it says, by an Authorization header or by a presigned URL, and
 * signing a request of our own. No sockets, no files, no clock: what comes out is decided by what is given. The forms are those of
 * canonical.h; the rules beyond them (IAM user guide, "AWS Signature Version 4 for API requests"):
 *  - SignedHeaders may be any set that contains host and every X-Amz-* header of the request.
 *  - The body is always signed: UNSIGNED-PAYLOAD and STREAMING-* are refused, another hash in X-Amz-Content-Sha256 too.
 *  - Signed at most 5 minutes ago, or in the future; a presigned URL holds from then on for X-Amz-Expires, at most 7 days.
 *  - Session tokens are refused: nobody here gives any out.
 * Everything is bounded, and what is over a bound is refused. A verifier belongs to one thread. */
#pragma once

#include "agent/aws/canonical.h"
#include "agent/aws/credential.h"
#include "agent/aws/refusal.h"

#define SIGV4_SKEW_S (5 * 60)

struct sigv4; /* memory and contexts that are used from one request to the next */

int sigv4_new(struct sigv4 **ret_sigv4); /* 0 or -ENOMEM */
struct sigv4 *sigv4_free(struct sigv4 *sigv4); /* NULL is fine */

/* The access key of that id, which stays until the call that asked returns; NULL: there is none that may sign. */
typedef struct aws_credential *sigv4_lookup_fn(const char *access_key_id, void *arg);

struct sigv4_rules { /* borrowed */
	sigv4_lookup_fn *lookup;
	void *arg;
	const char *const *regions; /* those that are served */
	size_t region_count; /* 0: every region */
};

struct sigv4_identity {
	struct aws_credential *credential; /* what the look-up gave */
	struct aws_scope scope;
	struct span signed_headers; /* "host;x-amz-date"; borrowed from the request, or until the verifier is used again */
	bool presigned;
};

/* 0; -EACCES with the refusal; -ENOMEM, -EIO: it cannot be told. A signing key is kept (credential.h) only once a signature has
 * shown to be right: strangers, who may know an access key id, drive nothing out. */
int sigv4_verify(struct sigv4 *sigv4, const struct sigv4_rules *rules, const struct sigv4_request *request,
		 struct sigv4_identity *ret_identity, struct sigv4_refusal *ret_refusal);

/* The Authorization header of a request of ours, appended to `out`: signed at now_s, with every header that is given, Host and
 * X-Amz-Date (aws_date_format() of now_s) among them. 0; -EINVAL for what canonical.h refuses, or a header that is missing; -ENOMEM, -EIO.
 *
 * libcurl signs as well (CURLOPT_AWS_SIGV4), but in 7.88, Debian 12's, neither encodes a path again nor sorts a query: a name with
 * a space or a slash, and a query in any other order than by name, are refused. */
int sigv4_sign(struct sigv4 *sigv4, struct aws_credential *credential, const char *region, const char *service,
	       const struct sigv4_request *request, struct buffer *out, struct error *err);
