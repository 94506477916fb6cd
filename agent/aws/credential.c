/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/credential.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define ID_MIN_BYTES 3
#define SECRET_MIN_BYTES 8

static bool is_id(struct span id)
{
	for (size_t i = 0; i < id.length; i++)
		if (!isalnum((unsigned char)id.data[i]) && id.data[i] != '_')
			return false;
	return id.length >= ID_MIN_BYTES && id.length < AWS_ACCESS_KEY_ID_BYTES;
}

static bool is_secret(struct span secret)
{
	return secret.length >= SECRET_MIN_BYTES && secret.length < AWS_SECRET_BYTES && text_is_printable(secret) &&
	       !memchr(secret.data, ' ', secret.length);
}

int aws_credential_init(struct span id, struct span secret, struct aws_credential *ret_credential, struct error *err)
{
	char shown[TEXT_SHOWN_BYTES];

	if (!is_id(id))
		return error_set_field(err, -EINVAL, "access key id", "'%s' is not %d to %d letters, digits and '_'", text_show(id, shown),
				       ID_MIN_BYTES, AWS_ACCESS_KEY_ID_BYTES - 1);
	if (!is_secret(secret))
		return error_set_field(err, -EINVAL, "secret access key", "is not %d to %d printable characters without spaces",
				       SECRET_MIN_BYTES, AWS_SECRET_BYTES - 1);
	*ret_credential = (struct aws_credential){};
	text_copy(id, ret_credential->id, sizeof(ret_credential->id));
	text_copy(secret, ret_credential->secret, sizeof(ret_credential->secret));
	return 0;
}

void aws_credential_done(struct aws_credential *credential)
{
	OPENSSL_cleanse(credential, sizeof(*credential));
}

bool aws_is_scope_name(struct span text)
{
	if (!text.length || text.length >= AWS_REGION_BYTES || !islower((unsigned char)text.data[0]) || text.data[text.length - 1] == '-')
		return false;
	for (size_t i = 0; i < text.length; i++) {
		const unsigned char c = (unsigned char)text.data[i];

		if (!islower(c) && !isdigit(c) && c != '-')
			return false;
	}
	return true;
}

const char *aws_scope_format(const struct aws_scope *scope, char buffer[AWS_SCOPE_BYTES])
{
	snprintf(buffer, AWS_SCOPE_BYTES, "%s/%s/%s/aws4_request", scope->day, scope->region, scope->service);
	return buffer;
}

static void derive(const char *secret, const struct aws_scope *scope, uint8_t ret_key[DIGEST_BYTES])
{
	const char *const steps[] = { scope->day, scope->region, scope->service, "aws4_request" };
	char first[sizeof("AWS4") + AWS_SECRET_BYTES];
	const void *key = first;
	size_t key_bytes = (size_t)snprintf(first, sizeof(first), "AWS4%s", secret);

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		digest_hmac(key, key_bytes, steps[i], strlen(steps[i]), ret_key);
		key = ret_key;
		key_bytes = DIGEST_BYTES;
	}
}

static const struct aws_signing_key *find_kept(const struct aws_credential *credential, const char *scope)
{
	for (size_t i = 0; i < AWS_SIGNING_KEYS_KEPT; i++)
		if (strcmp(credential->kept[i].scope, scope) == 0)
			return &credential->kept[i];
	return NULL;
}

void aws_signing_key(const struct aws_credential *credential, const struct aws_scope *scope, struct aws_signing_key *ret_key)
{
	struct aws_signing_key key;
	const struct aws_signing_key *kept = find_kept(credential, aws_scope_format(scope, key.scope));

	if (!kept)
		derive(credential->secret, scope, key.key);
	*ret_key = kept ? *kept : key;
}

void aws_signing_key_keep(struct aws_credential *credential, const struct aws_signing_key *key)
{
	if (find_kept(credential, key->scope))
		return;
	credential->kept[credential->next] = *key;
	credential->next = (credential->next + 1) % AWS_SIGNING_KEYS_KEPT;
}
