/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/flow_log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define CHUNK_RECORDS 4096 /* half a MiB */

struct flow_log {
	size_t kept;
	uint64_t next; /* number of the next record */
	size_t chunk_count;
	struct flow_record *chunks[]; /* in a ring; each is allocated when it is first needed */
};

static struct flow_record **chunk_of(struct flow_log *log, uint64_t number)
{
	return &log->chunks[number / CHUNK_RECORDS % log->chunk_count];
}

static const struct flow_record *record_at(const struct flow_log *log, uint64_t number)
{
	return &log->chunks[number / CHUNK_RECORDS % log->chunk_count][number % CHUNK_RECORDS];
}

int flow_log_new(size_t kept, struct flow_log **ret_log)
{
	/* Enough that the chunk at hand never holds one of the kept records of a round before. */
	const size_t chunk_count = (kept + CHUNK_RECORDS - 1) / CHUNK_RECORDS + 1;
	struct flow_log *log = calloc(1, sizeof(*log) + chunk_count * sizeof(log->chunks[0]));

	if (!log)
		return -ENOMEM;
	log->kept = kept;
	log->chunk_count = chunk_count;
	*ret_log = log;
	return 0;
}

struct flow_log *flow_log_free(struct flow_log *log)
{
	if (!log)
		return NULL;
	for (size_t i = 0; i < log->chunk_count; i++)
		free(log->chunks[i]);
	free(log);
	return NULL;
}

int flow_log_add(struct flow_log *log, const struct flow_record *record)
{
	struct flow_record **chunk = chunk_of(log, log->next);

	if (!*chunk)
		*chunk = malloc(CHUNK_RECORDS * sizeof(**chunk));
	if (!*chunk)
		return -ENOMEM;
	(*chunk)[log->next++ % CHUNK_RECORDS] = *record;
	return 0;
}

uint64_t flow_log_added(const struct flow_log *log)
{
	return log->next;
}

static bool wanted(const struct flows_filter *filter, const struct flow_record *r)
{
	return r->end_ns >= filter->since_ns && (!filter->source || filter->source == r->source) &&
	       (!filter->service || filter->service == r->service) && (!filter->target || filter->target == r->target) &&
	       (filter->reason < 0 || filter->reason == r->reason);
}

/* The number of the first record to show. */
static uint64_t first_of(const struct flow_log *log, const struct flows_filter *filter)
{
	const uint64_t oldest = log->next > log->kept ? log->next - log->kept : 0;
	uint32_t found = 0;

	if (!filter->limit)
		return oldest;
	for (uint64_t n = log->next; n > oldest; n--)
		if (wanted(filter, record_at(log, n - 1)) && ++found == filter->limit)
			return n - 1;
	return oldest;
}

int flow_log_each(const struct flow_log *log, const struct flows_filter *filter, flows_fn *fn, void *arg)
{
	for (uint64_t n = first_of(log, filter); n < log->next; n++) {
		int r = wanted(filter, record_at(log, n)) ? fn(record_at(log, n), arg) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}
