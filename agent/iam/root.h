/* SPDX-License-Identifier: Apache-2.0 */
/* The root key: the one that may everything from the start, and makes the others. */
#pragma once

#include "agent/aws/credential.h"

enum iam_root_origin { IAM_ROOT_ENVIRONMENT, IAM_ROOT_FILE, IAM_ROOT_MADE };

/* The key of WEFT_ROOT_ACCESS_KEY_ID and WEFT_ROOT_SECRET_ACCESS_KEY, whose values are given (NULL or "": not set), else that of the
 * file `path`, which is made with a new key where there is none (aws_profile_create()). -EINVAL where one of the two is set without
 * the other, or one is no key; -EPERM for a file that others than its owner may read or write. */
int iam_root_take(const char *id, const char *secret, const char *path, struct aws_credential *ret_credential,
		  enum iam_root_origin *ret_origin, struct error *err);

/* A new access key, "AKIA" and 16 characters, with a secret of 40 (240 random bits). -errno of getrandom(). */
int iam_make_credential(struct aws_credential *ret_credential);
