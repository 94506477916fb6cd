/* SPDX-License-Identifier: Apache-2.0 */
/* An access key with its secret, the scope of a signature, and the key that a signature is made with: derived from the secret by
 * four HMACs for each day, region and service, and kept with the access key for those used last. */
#pragma once

#include "agent/aws/digest.h"
#include "agent/aws/text.h"
#include "base/error.h"

#define AWS_ACCESS_KEY_ID_BYTES 129
#define AWS_SECRET_BYTES 129
#define AWS_DAY_BYTES 9 /* "20150830" */
#define AWS_REGION_BYTES 64
#define AWS_SERVICE_BYTES 64
#define AWS_SCOPE_BYTES (AWS_DAY_BYTES + AWS_REGION_BYTES + AWS_SERVICE_BYTES + sizeof("aws4_request"))
#define AWS_SIGNING_KEYS_KEPT 8

struct aws_scope {
	char day[AWS_DAY_BYTES], region[AWS_REGION_BYTES], service[AWS_SERVICE_BYTES];
};

struct aws_signing_key {
	char scope[AWS_SCOPE_BYTES]; /* as aws_scope_format() has it; "": none */
	uint8_t key[DIGEST_BYTES];
};

struct aws_credential {
	char id[AWS_ACCESS_KEY_ID_BYTES];
	char secret[AWS_SECRET_BYTES];
	struct aws_signing_key kept[AWS_SIGNING_KEYS_KEPT];
	unsigned int next; /* where the next one is kept */
};

/* -EINVAL says what is wrong. An id is 3 to 128 letters, digits and underscores, as IAM has them but for the length; a secret is 8
 * to 128 printable characters without spaces. */
int aws_credential_init(struct span id, struct span secret, struct aws_credential *ret_credential, struct error *err);
void aws_credential_done(struct aws_credential *credential); /* leaves no secret in memory */

/* 1 to 63 lower-case letters, digits and hyphens, a letter first and no hyphen last: what may be a region, or a service. */
bool aws_is_scope_name(struct span text);
/* "20150830/us-east-1/appmesh/aws4_request" */
const char *aws_scope_format(const struct aws_scope *scope, char buffer[AWS_SCOPE_BYTES]);

/* The kept one, or one that is derived now. */
void aws_signing_key(const struct aws_credential *credential, const struct aws_scope *scope, struct aws_signing_key *ret_key);
/* Keeps it in place of the oldest, unless it is there. Not to be called for what a stranger made up: see sigv4_verify(). */
void aws_signing_key_keep(struct aws_credential *credential, const struct aws_signing_key *key);
