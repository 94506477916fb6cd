/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/rows.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 64

/* Tables that were outgrown stay until the end: somebody may be reading one. Together they are as large as the last. */
struct rows_table {
	struct rows_table *former;
	size_t bucket_count; /* a power of two */
	void *buckets[]; /* open addressing */
};

void rows_done(struct rows *rows)
{
	struct rows_table *table = rows->table;

	for (size_t i = 0; table && i < table->bucket_count; i++)
		free(table->buckets[i]);
	while (table) {
		struct rows_table *former = table->former;

		free(table);
		table = former;
	}
	*rows = (struct rows){};
}

static uint64_t hash_of(const char *key, size_t bytes)
{
	uint64_t hash = 0x9e3779b97f4a7c15ull;

	for (size_t i = 0; i < bytes; i += sizeof(uint32_t)) {
		uint32_t word;

		memcpy(&word, key + i, sizeof(word));
		hash = (hash ^ word) * 0xff51afd7ed558ccdull;
		hash ^= hash >> 33;
	}
	return hash;
}

/* Where the row with that key is, or would be. */
static void **place_of(struct rows_table *table, const void *key, size_t key_bytes)
{
	size_t place = hash_of(key, key_bytes);

	for (;; place++) {
		void **at = &table->buckets[place & (table->bucket_count - 1)];

		if (!*at || memcmp(*at, key, key_bytes) == 0)
			return at;
	}
}

static int grow(struct rows *rows, const struct rows_kind *kind)
{
	struct rows_table *former = rows->table, *table;
	const size_t bucket_count = former ? 2 * former->bucket_count : FIRST_BUCKETS;

	table = calloc(1, sizeof(*table) + bucket_count * sizeof(void *));
	if (!table)
		return -1;
	table->former = former;
	table->bucket_count = bucket_count;
	for (size_t i = 0; former && i < former->bucket_count; i++)
		if (former->buckets[i])
			*place_of(table, former->buckets[i], kind->key_bytes) = former->buckets[i];
	__atomic_store_n(&rows->table, table, __ATOMIC_RELEASE);
	return 0;
}

void *rows_get(struct rows *rows, const struct rows_kind *kind, const void *key)
{
	void **at = rows->table ? place_of(rows->table, key, kind->key_bytes) : NULL, *row;

	if (at && *at)
		return *at;
	if (rows->count == kind->max || ((!at || 2 * rows->count >= rows->table->bucket_count) && grow(rows, kind) < 0))
		return NULL;
	row = calloc(1, kind->row_bytes);
	if (!row)
		return NULL;
	memcpy(row, key, kind->key_bytes);
	__atomic_store_n(place_of(rows->table, key, kind->key_bytes), row, __ATOMIC_RELEASE);
	rows->count++;
	return row;
}

struct rows_walk rows_walk(const struct rows *rows)
{
	return (struct rows_walk){ .table = __atomic_load_n(&rows->table, __ATOMIC_ACQUIRE) };
}

void *rows_next(struct rows_walk *walk)
{
	while (walk->table && walk->place < walk->table->bucket_count) {
		void *row = __atomic_load_n(&walk->table->buckets[walk->place++], __ATOMIC_ACQUIRE);

		if (row)
			return row;
	}
	return NULL;
}
