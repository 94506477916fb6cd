/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/digest.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct digest {
	EVP_MD *sha256;
	EVP_MD_CTX *hashing;
	EVP_MAC *hmac;
	EVP_MAC_CTX *mac; /* has SHA-256 from the start; a key with each use */
};

static void cleanup_digest(struct digest **digest)
{
	digest_free(*digest);
}

int digest_new(struct digest **ret_digest)
{
	_cleanup_(cleanup_digest) struct digest *digest = calloc(1, sizeof(*digest));
	char name[] = "SHA256";
	const OSSL_PARAM parameters[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_construct_end() };

	if (!digest)
		return -ENOMEM;
	digest->sha256 = EVP_MD_fetch(NULL, name, NULL);
	digest->hashing = EVP_MD_CTX_new();
	digest->hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	digest->mac = digest->hmac ? EVP_MAC_CTX_new(digest->hmac) : NULL;
	if (!digest->sha256 || !digest->hashing || !digest->mac || !EVP_MAC_CTX_set_params(digest->mac, parameters))
		return -ENOMEM;
	*ret_digest = TAKE_PTR(digest);
	return 0;
}

struct digest *digest_free(struct digest *digest)
{
	if (!digest)
		return NULL;
	EVP_MAC_CTX_free(digest->mac);
	EVP_MAC_free(digest->hmac);
	EVP_MD_CTX_free(digest->hashing);
	EVP_MD_free(digest->sha256);
	free(digest);
	return NULL;
}

int digest_sha256(struct digest *digest, const void *data, size_t length, uint8_t ret_hash[DIGEST_BYTES])
{
	if (!EVP_DigestInit_ex2(digest->hashing, digest->sha256, NULL) || !EVP_DigestUpdate(digest->hashing, data, length) ||
	    !EVP_DigestFinal_ex(digest->hashing, ret_hash, NULL))
		return -EIO;
	return 0;
}

int digest_hmac(struct digest *digest, const void *key, size_t key_bytes, const void *data, size_t length,
		uint8_t ret_hash[DIGEST_BYTES])
{
	size_t written;

	if (!EVP_MAC_init(digest->mac, key, key_bytes, NULL) || !EVP_MAC_update(digest->mac, data, length) ||
	    !EVP_MAC_final(digest->mac, ret_hash, &written, DIGEST_BYTES))
		return -EIO;
	return 0;
}

void digest_hex(const uint8_t hash[DIGEST_BYTES], char ret_text[DIGEST_HEX_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		ret_text[2 * i] = digits[hash[i] >> 4];
		ret_text[2 * i + 1] = digits[hash[i] & 15];
	}
	ret_text[2 * DIGEST_BYTES] = '\0';
}
