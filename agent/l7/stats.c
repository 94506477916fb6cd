/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/stats.h"

#include <stdlib.h>

#define FIRST_BUCKETS 64

/* Tables that were outgrown stay until the end: somebody may be reading one. Together they are as large as the last. */
struct table_header {
	struct stats_row **former;
};

static struct stats_row **table_new(size_t buckets, struct stats_row **former)
{
	struct table_header *header = calloc(1, sizeof(*header) + buckets * sizeof(struct stats_row *));

	if (!header)
		return NULL;
	header->former = former;
	return (struct stats_row **)(header + 1);
}

static struct table_header *header_of(struct stats_row **buckets)
{
	return (struct table_header *)buckets - 1;
}

void stats_done(struct stats *stats)
{
	for (size_t i = 0; i < stats->bucket_count; i++)
		free(stats->buckets[i]);
	while (stats->buckets) {
		struct table_header *header = header_of(stats->buckets);

		stats->buckets = header->former;
		free(header);
	}
	stats->bucket_count = stats->row_count = 0;
}

static size_t place_of(struct stats_row *const *buckets, size_t count, uint32_t source, uint32_t service, uint32_t target)
{
	uint64_t hash = (source * 0x9e3779b97f4a7c15ull ^ service) * 0xff51afd7ed558ccdull ^ target;
	size_t place;

	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
	for (place = hash >> 20 & (count - 1); buckets[place]; place = (place + 1) & (count - 1))
		if (buckets[place]->source == source && buckets[place]->service == service && buckets[place]->target == target)
			break;
	return place;
}

static int grow(struct stats *stats)
{
	const size_t count = stats->bucket_count ? 2 * stats->bucket_count : FIRST_BUCKETS;
	struct stats_row **buckets = table_new(count, stats->buckets);

	if (!buckets)
		return -1;
	for (size_t i = 0; i < stats->bucket_count; i++) {
		struct stats_row *row = stats->buckets[i];

		if (row)
			buckets[place_of(buckets, count, row->source, row->service, row->target)] = row;
	}
	/* Whoever reads takes the count first: a table is never smaller than the count that was read before it. */
	__atomic_store_n(&stats->buckets, buckets, __ATOMIC_RELEASE);
	__atomic_store_n(&stats->bucket_count, count, __ATOMIC_RELEASE);
	return 0;
}

struct stats_row *stats_row_get(struct stats *stats, uint32_t source, uint32_t service, uint32_t target)
{
	struct stats_row *row;
	size_t place;

	if (stats->bucket_count) {
		place = place_of(stats->buckets, stats->bucket_count, source, service, target);
		if (stats->buckets[place])
			return stats->buckets[place];
	}
	if (stats->row_count == STATS_ROWS_MAX || (2 * stats->row_count >= stats->bucket_count && grow(stats) < 0))
		return &stats->others;
	row = calloc(1, sizeof(*row));
	if (!row)
		return &stats->others;
	row->source = source;
	row->service = service;
	row->target = target;
	place = place_of(stats->buckets, stats->bucket_count, source, service, target);
	__atomic_store_n(&stats->buckets[place], row, __ATOMIC_RELEASE);
	stats->row_count++;
	return row;
}
