/* SPDX-License-Identifier: Apache-2.0 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "agent/aws/digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "what callers have room for");

void digest_sha256(const void *data, size_t length, uint8_t ret_hash[DIGEST_BYTES])
{
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, data, length);
	SHA256_Final(ret_hash, &context);
}

/* One of both passes: the hash of the key, with each byte changed by `pad`, and of the data behind it. */
static void hash_keyed(const uint8_t key[SHA256_CBLOCK], uint8_t pad, const void *data, size_t length, uint8_t ret_hash[DIGEST_BYTES])
{
	uint8_t block[SHA256_CBLOCK];
	SHA256_CTX context;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = key[i] ^ pad;
	SHA256_Init(&context);
	SHA256_Update(&context, block, sizeof(block));
	SHA256_Update(&context, data, length);
	SHA256_Final(ret_hash, &context);
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(&context, sizeof(context));
}

void digest_hmac(const void *key, size_t key_bytes, const void *data, size_t length, uint8_t ret_hash[DIGEST_BYTES])
{
	uint8_t block[SHA256_CBLOCK] = {}, inner[DIGEST_BYTES];

	if (key_bytes > sizeof(block))
		digest_sha256(key, key_bytes, block);
	else
		memcpy(block, key, key_bytes);
	hash_keyed(block, 0x36, data, length, inner);
	hash_keyed(block, 0x5c, inner, sizeof(inner), ret_hash);
	OPENSSL_cleanse(block, sizeof(block));
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
