/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/counters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct counters {
	struct counter *list;
	size_t count, capacity;
};

#define ROW_WORDS ((sizeof(struct row) - offsetof(struct row, attempts)) / sizeof(__u64))

void counter_add(struct row *sums, const struct row *row)
{
	__u64 *to = &sums->attempts;
	const __u64 *from = &row->attempts;

	for (size_t i = 0; i < ROW_WORDS; i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static int compare(const void *a, const void *b)
{
	const struct counter *x = a, *y = b;

	return strcmp(x->source, y->source) ?: strcmp(x->service, y->service) ?: strcmp(x->target, y->target);
}

static int append(struct counters *c, const char *source, const char *service, const char *target, const struct row *row)
{
	struct counter one = {};

	if (c->count == c->capacity) {
		const size_t capacity = c->capacity ? c->capacity * 2 : 64;
		struct counter *grown = realloc(c->list, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		c->list = grown;
		c->capacity = capacity;
	}
	one.source = strdup(source);
	one.service = strdup(service);
	one.target = strdup(target);
	c->list[c->count++] = one;
	if (!one.source || !one.service || !one.target)
		return -ENOMEM;
	counter_add(&c->list[c->count - 1].sums, row);
	return 0;
}

static int append_total(const char *source, const char *service, const char *target, const struct row *sums, void *arg)
{
	return append(arg, source, service, target, sums);
}

static int append_rows(struct counters *c, struct apply *apply, const struct kernel_memory *memory)
{
	for (uint32_t i = 0; i < memory->limits.rows; i++) {
		const struct row *row = &memory->rows[i];
		_cleanup_free_ char *source = NULL, *service = NULL;
		const char *name;
		int r;

		if (!(row->incarnation & 1) || !row->source || !row->target)
			continue;
		/* names are borrowed until the next look-up */
		name = apply_object_name(apply, row->source);
		source = name ? strdup(name) : NULL;
		name = apply_object_name(apply, row->service);
		service = name ? strdup(name) : NULL;
		name = apply_object_name(apply, row->target);
		if (!source || !service || !name)
			continue; /* a state directory that never knew them */
		r = append(c, source, service, name, row);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A triple may have several rows (an old one with open connections, totals): one counter. */
static void merge(struct counters *c)
{
	size_t kept = 0;

	qsort(c->list, c->count, sizeof(*c->list), compare);
	for (size_t i = 0; i < c->count; i++) {
		if (kept && !compare(&c->list[kept - 1], &c->list[i])) {
			counter_add(&c->list[kept - 1].sums, &c->list[i].sums);
			free((char *)c->list[i].source);
			free((char *)c->list[i].service);
			free((char *)c->list[i].target);
		} else {
			c->list[kept++] = c->list[i];
		}
	}
	c->count = kept;
}

int counters_read(struct apply *apply, const struct kernel_memory *memory, struct counters **ret_counters)
{
	struct counters *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = append_rows(c, apply, memory);
	if (r == 0)
		r = apply_totals_each(apply, append_total, c);
	if (r < 0) {
		counters_free(c);
		return r;
	}
	if (c->count)
		merge(c);
	*ret_counters = c;
	return 0;
}

struct counters *counters_free(struct counters *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->count; i++) {
		free((char *)c->list[i].source);
		free((char *)c->list[i].service);
		free((char *)c->list[i].target);
	}
	free(c->list);
	free(c);
	return NULL;
}

size_t counters_count(const struct counters *c)
{
	return c->count;
}

const struct counter *counters_at(const struct counters *c, size_t index)
{
	return &c->list[index];
}

uint64_t histogram_percentile_ns(const __u64 buckets[HISTOGRAM_BUCKETS], unsigned pct)
{
	uint64_t total = 0, below = 0, wanted;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += buckets[i];
	if (!total)
		return 0;
	wanted = (total * pct + 99) / 100;
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		const uint64_t low = i ? 1ull << (i + 9) : 0, high = 1ull << (i + 10);

		if (below + buckets[i] >= wanted && buckets[i])
			return low + (high - low) * (wanted - below) / buckets[i];
		below += buckets[i];
	}
	return 1ull << (HISTOGRAM_BUCKETS + 9);
}
