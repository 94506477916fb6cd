/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104) by OpenSSL, whose contexts are kept: to look an algorithm up again for each
 * request costs more than to hash it. No call is safe from two threads at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32
#define DIGEST_HEX_BYTES (2 * DIGEST_BYTES + 1)

struct digest;

int digest_new(struct digest **ret_digest); /* 0 or -ENOMEM */
struct digest *digest_free(struct digest *digest); /* NULL is fine */

/* 0 or -EIO: libcrypto has no memory, or is broken. The key may be at the place of the result. */
int digest_sha256(struct digest *digest, const void *data, size_t length, uint8_t ret_hash[DIGEST_BYTES]);
int digest_hmac(struct digest *digest, const void *key, size_t key_bytes, const void *data, size_t length,
		uint8_t ret_hash[DIGEST_BYTES]);

/* Lower-case digits, and a NUL. */
void digest_hex(const uint8_t hash[DIGEST_BYTES], char ret_text[DIGEST_HEX_BYTES]);
