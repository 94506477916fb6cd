/* SPDX-License-Identifier: Apache-2.0 */
/* Hash functions, and a hash table whose nodes live inside the elements. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 64 bits: for tables and for VIPs, whose values must be the same in every build. */
uint64_t hash_bytes(const void *data, size_t length);
uint64_t hash_string(const char *string);
/* The hash of what `hash` stands for with `next` behind it: their order counts, and each bit of both reaches every bit. */
uint64_t hash_join(uint64_t hash, uint64_t next);

/* 128 bits of SHA-256 over the bytes: names that must not collide (object ids). Never all zero. */
void hash_name(const void *data, size_t length, uint64_t ret_hash[2]);

/* A string-keyed table that does not own its elements. Embed a `struct table_node` in the element; the key string lives in
 * the element as well and outlives its membership. One thread. */
struct table_node {
	struct table_node *next;
	const char *key;
	uint64_t hash;
};
struct table {
	struct table_node **buckets;
	size_t bucket_count; /* power of two, or 0 while empty */
	size_t count;
};

void table_done(struct table *t); /* frees the buckets only */
/* 0, -EEXIST (nothing changed) or -ENOMEM. */
int table_add(struct table *t, struct table_node *node, const char *key);
struct table_node *table_get(const struct table *t, const char *key); /* NULL: absent */
void table_remove(struct table *t, struct table_node *node);
/* Every element once, in no order; the body may remove the element at hand (not others), and takes the next before it frees that
 * one. */
struct table_node *table_first(const struct table *t);
struct table_node *table_next(const struct table *t, const struct table_node *node);
