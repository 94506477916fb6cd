/* SPDX-License-Identifier: Apache-2.0 */
/* Access keys in a file, as the aws command line has them (~/.aws/credentials):
 *
 *   [default]
 *   aws_access_key_id = AKIA...
 *   aws_secret_access_key = ...
 *
 * Lines that begin with '#' or ';' are comments; other settings of a profile are left alone. */
#pragma once

#include "agent/aws/credential.h"

/* The access key of the section `profile`. -ENOENT: there is no file; -EINVAL names the line or the setting that is wrong, missing or
 * there twice; -errno of open or read. */
int aws_profile_read(const char *path, const char *profile, struct aws_credential *ret_credential, struct error *err);

/* One setting of a section, "region" of "profile ops" in ~/.aws/config; "" where there is no such file, section or setting. -EINVAL names
 * the line that is wrong, or a setting that is too long; -errno of open or read. */
int aws_profile_setting(const char *path, const char *section, const char *name, char *ret_value, size_t size, struct error *err);

/* Makes the file, mode 0600, with this key as the profile "default" below a comment of one line; whole or not at all, also after
 * power loss. -EEXIST: there is one, which stays as it is. */
int aws_profile_create(const char *path, const char *comment, const struct aws_credential *credential, struct error *err);
