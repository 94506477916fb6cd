/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a caller stands for, in IAM's words: what GetCallerIdentity answers, and what an audit record's userIdentity holds. */
#pragma once

#include "agent/iam/keys.h"

struct iam_principal {
	const char *type; /* "Root" or "IAMUser" */
	const char *user; /* borrowed from the key; "": root */
	char account[13];
	char id[22]; /* the account for root; for a user "AIDA" and 17 characters made from account and name: always the same */
	char arn[128]; /* arn:aws:iam::123456789012:root, …:user/NAME */
};

/* `key` NULL: root without a key, over the local socket. `account`: 12 digits. */
void iam_principal_init(const struct iam_key *key, const char *account, struct iam_principal *ret_principal);
