/* SPDX-License-Identifier: Apache-2.0 */
/* See agent/aws/digest.c for why. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/hash.h"

#include <endian.h>
#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define FNV_OFFSET 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

#define FIRST_BUCKETS 16

uint64_t hash_bytes(const void *data, size_t length)
{
	const unsigned char *bytes = data;
	uint64_t hash = FNV_OFFSET;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * FNV_PRIME;
	return hash;
}

uint64_t hash_string(const char *string)
{
	return hash_bytes(string, strlen(string));
}

uint64_t hash_join(uint64_t hash, uint64_t next)
{
	uint64_t mixed = hash * FNV_PRIME + next;

	mixed = (mixed ^ mixed >> 33) * 0xff51afd7ed558ccdull; /* Murmur3's finaliser */
	mixed = (mixed ^ mixed >> 33) * 0xc4ceb9fe1a85ec53ull;
	return mixed ^ mixed >> 33;
}

void hash_name(const void *data, size_t length, uint64_t ret_hash[2])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	uint64_t halves[2];
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, data, length);
	SHA256_Final(digest, &context);
	memcpy(halves, digest, sizeof(halves));
	ret_hash[0] = be64toh(halves[0]);
	ret_hash[1] = be64toh(halves[1]);
	if (!ret_hash[0] && !ret_hash[1])
		ret_hash[1] = 1;
}

void table_done(struct table *t)
{
	free(t->buckets);
	*t = (struct table){};
}

static struct table_node **bucket_of(const struct table *t, uint64_t hash)
{
	/* The k low bits of FNV see only the k low bits of each byte: mix the high ones in. */
	return &t->buckets[(hash ^ hash >> 32) & (t->bucket_count - 1)];
}

static struct table_node *find(const struct table *t, const char *key, uint64_t hash)
{
	struct table_node *node;

	if (!t->bucket_count)
		return NULL;
	for (node = *bucket_of(t, hash); node; node = node->next)
		if (node->hash == hash && !strcmp(node->key, key))
			return node;
	return NULL;
}

static int grow(struct table *t)
{
	struct table next = { .bucket_count = t->bucket_count ? t->bucket_count * 2 : FIRST_BUCKETS, .count = t->count };

	next.buckets = calloc(next.bucket_count, sizeof(next.buckets[0]));
	if (!next.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < t->bucket_count; i++)
		for (struct table_node *node = t->buckets[i], *after; node; node = after) {
			struct table_node **bucket = bucket_of(&next, node->hash);

			after = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	free(t->buckets);
	*t = next;
	return 0;
}

int table_add(struct table *t, struct table_node *node, const char *key)
{
	uint64_t hash = hash_string(key);
	struct table_node **bucket;
	int r;

	if (find(t, key, hash))
		return -EEXIST;
	if (t->count >= t->bucket_count) {
		r = grow(t);
		if (r < 0)
			return r;
	}
	bucket = bucket_of(t, hash);
	*node = (struct table_node){ .next = *bucket, .key = key, .hash = hash };
	*bucket = node;
	t->count++;
	return 0;
}

struct table_node *table_get(const struct table *t, const char *key)
{
	return find(t, key, hash_string(key));
}

void table_remove(struct table *t, struct table_node *node)
{
	struct table_node **at;

	if (!t->bucket_count)
		return;
	for (at = bucket_of(t, node->hash); *at; at = &(*at)->next)
		if (*at == node) {
			*at = node->next; /* node->next stays: table_next() may be called with it yet */
			t->count--;
			return;
		}
}

static struct table_node *first_from(const struct table *t, size_t bucket)
{
	for (; bucket < t->bucket_count; bucket++)
		if (t->buckets[bucket])
			return t->buckets[bucket];
	return NULL;
}

struct table_node *table_first(const struct table *t)
{
	return first_from(t, 0);
}

struct table_node *table_next(const struct table *t, const struct table_node *node)
{
	return node->next ? node->next : first_from(t, (size_t)(bucket_of(t, node->hash) - t->buckets) + 1);
}
