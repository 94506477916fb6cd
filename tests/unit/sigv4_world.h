/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is signed, by header or presigned, and may then be changed. */
#pragma once

#include "agent/aws/sigv4.h"
#include "base/bytes.h"

#define WORLD_HEADERS_MAX 160
#define WORLD_TEXTS_MAX 400
#define WORLD_NOW_S 1440938160 /* 20150830T123600Z, the time of AWS's examples */

struct sigv4_world {
	struct sigv4 *sigv4;
	struct aws_credential credential; /* AKIDEXAMPLE, of AWS's examples */
	const char *regions[4];
	size_t region_count;
	struct sigv4_header headers[WORLD_HEADERS_MAX];
	struct sigv4_request request;
	int look_ups;
	char *texts[WORLD_TEXTS_MAX]; /* what the request points to */
	size_t text_count;
	struct sigv4_identity identity; /* of the last sigv4_world_verify() */
	struct sigv4_refusal refusal;
};

/* A request without a body: Host, X-Amz-Date, and nothing signed yet. */
void sigv4_world_init(struct sigv4_world *w, const char *method, const char *target);
void sigv4_world_done(struct sigv4_world *w);

/* The first header of that name gets another value, or one is added behind the others; NULL: it is removed, if it is there. */
void sigv4_world_set(struct sigv4_world *w, const char *name, const char *value);
void sigv4_world_add(struct sigv4_world *w, const char *name, const char *value);
void sigv4_world_body(struct sigv4_world *w, const char *body);
void sigv4_world_target(struct sigv4_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Replaces the first `from` in a header's value, or (NULL) in the target. It must be there. */
void sigv4_world_replace(struct sigv4_world *w, const char *header, const char *from, const char *to);

/* Signs all headers, for us-east-1 and appmesh. */
void sigv4_world_sign(struct sigv4_world *w);
/* The same for the headers of a list, by another way to the same signature. */
void sigv4_world_sign_those(struct sigv4_world *w, const char *signed_headers);
/* Adds the parameters of a presigned URL, which signs host alone, and `more` ("&name=value") before the signature. */
void sigv4_world_presign(struct sigv4_world *w, const char *expires, const char *more);

int sigv4_world_verify(struct sigv4_world *w);
