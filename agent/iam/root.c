/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iam/root.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "agent/aws/profile.h"

#define PROFILE "default"
#define ID_PREFIX "AKIA" /* long-term keys, as AWS has them */
#define ID_RANDOM 16
#define SECRET_RANDOM 40

/* Both alphabets have a power of two, so that each character is as likely. */
static const char id_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char secret_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int iam_make_credential(struct aws_credential *ret_credential)
{
	unsigned char random[ID_RANDOM + SECRET_RANDOM];
	char id[] = ID_PREFIX "................", secret[SECRET_RANDOM + 1] = "";

	if (getrandom(random, sizeof(random), 0) != sizeof(random)) /* whole up to 256 bytes (getrandom(2)) */
		return -EIO;
	for (size_t i = 0; i < ID_RANDOM; i++)
		id[strlen(ID_PREFIX) + i] = id_alphabet[random[i] % (sizeof(id_alphabet) - 1)];
	for (size_t i = 0; i < SECRET_RANDOM; i++)
		secret[i] = secret_alphabet[random[ID_RANDOM + i] % (sizeof(secret_alphabet) - 1)];
	return aws_credential_init(span_of(id), span_of(secret), ret_credential, NULL);
}

static int take_environment(const char *id, const char *secret, struct aws_credential *ret_credential, struct error *err)
{
	if (!secret)
		return error_set_field(err, -EINVAL, "WEFT_ROOT_SECRET_ACCESS_KEY", "is not set, but WEFT_ROOT_ACCESS_KEY_ID is");
	if (!id)
		return error_set_field(err, -EINVAL, "WEFT_ROOT_ACCESS_KEY_ID", "is not set, but WEFT_ROOT_SECRET_ACCESS_KEY is");
	if (aws_credential_init(span_of(id), span_of(secret), ret_credential, err) < 0)
		return error_prefix(err, "WEFT_ROOT_ACCESS_KEY_ID and WEFT_ROOT_SECRET_ACCESS_KEY");
	return 0;
}

static int read_file(const char *path, struct aws_credential *ret_credential, struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set(err, -errno, "%s: %m", path);
	if (st.st_mode & 077)
		return error_set(err, -EPERM, "%s: others than its owner may read or write it (mode %03o): chmod 600", path,
				 (unsigned int)st.st_mode & 0777);
	return aws_profile_read(path, PROFILE, ret_credential, err);
}

static int make_file(const char *path, struct aws_credential *ret_credential, struct error *err)
{
	struct aws_credential made;
	int r = iam_make_credential(&made);

	if (r < 0)
		return error_set(err, r, "no random bytes for an access key");
	r = aws_profile_create(path, "The root key of weft's API, made at its first start.", &made, err);
	if (r == 0)
		*ret_credential = made;
	return r;
}

static const char *set_or_null(const char *value)
{
	return value && *value ? value : NULL;
}

int iam_root_take(const char *id, const char *secret, const char *path, struct aws_credential *ret_credential,
		  enum iam_root_origin *ret_origin, struct error *err)
{
	int r;

	id = set_or_null(id);
	secret = set_or_null(secret);
	if (id || secret) {
		*ret_origin = IAM_ROOT_ENVIRONMENT;
		return take_environment(id, secret, ret_credential, err);
	}
	*ret_origin = IAM_ROOT_FILE;
	r = read_file(path, ret_credential, err);
	if (r != -ENOENT)
		return r;
	*ret_origin = IAM_ROOT_MADE;
	r = make_file(path, ret_credential, err);
	if (r != -EEXIST)
		return r;
	*ret_origin = IAM_ROOT_FILE; /* somebody else made it just now */
	return read_file(path, ret_credential, err);
}
