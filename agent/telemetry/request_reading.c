/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/request_reading.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

const size_t request_words[REQUEST_KINDS] = {
	[REQUEST_TARGETS] = sizeof(struct request_counts) / sizeof(uint64_t),
	[REQUEST_ROUTES] = sizeof(struct route_counts) / sizeof(uint64_t),
};

static void words_add(void *sums, const void *more, size_t count)
{
	uint64_t *to = sums;
	const uint64_t *from = more;

	for (size_t i = 0; i < count; i++)
		to[i] += from[i];
}

void request_counts_add(struct request_counts *sums, const struct request_counts *more)
{
	words_add(sums, more, request_words[REQUEST_TARGETS]);
}

void route_counts_add(struct route_counts *sums, const struct route_counts *more)
{
	words_add(sums, more, request_words[REQUEST_ROUTES]);
}

int request_ids_order(const struct request_ids *a, const struct request_ids *b)
{
	if (a->source != b->source)
		return a->source < b->source ? -1 : 1;
	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->target > b->target) - (a->target < b->target);
}

static int row_order(const void *a, const void *b)
{
	return request_ids_order(&((const struct request_reading_row *)a)->ids, &((const struct request_reading_row *)b)->ids);
}

static uint64_t number(const json_t *object, const char *member)
{
	const json_int_t value = json_integer_value(json_object_get(object, member));

	return value > 0 ? (uint64_t)value : 0;
}

static void numbers(const json_t *object, const char *member, uint64_t *to, size_t count)
{
	const json_t *list = json_object_get(object, member);

	for (size_t i = 0; i < count; i++) {
		const json_int_t value = json_integer_value(json_array_get(list, i));

		to[i] = value > 0 ? (uint64_t)value : 0;
	}
}

static const struct {
	const char *name;
	size_t offset;
} counts[] = {
	{ "requests", offsetof(struct request_counts, requests) },
	{ "retries", offsetof(struct request_counts, retries) },
	{ "bytesReceived", offsetof(struct request_counts, bytes_received) },
	{ "bytesSent", offsetof(struct request_counts, bytes_sent) },
	{ "timeNsSum", offsetof(struct request_counts, time_ns_sum) },
};

static int target_read(const json_t *one, struct request_reading_row *row)
{
	row->ids.target = (uint32_t)number(one, "target");
	for (size_t n = 0; n < ARRAY_SIZE(counts); n++)
		*(uint64_t *)((char *)&row->counts + counts[n].offset) = number(one, counts[n].name);
	row->active = number(one, "active");
	numbers(one, "codes", row->counts.codes, REQUEST_CODES);
	numbers(one, "timeNs", row->counts.time_ns, HISTOGRAM_BUCKETS);
	return 0;
}

static int route_read(const json_t *one, struct request_reading_row *row)
{
	const char *name = json_path_string(one, "route");

	row->ids.target = (uint32_t)number(one, "id");
	row->route_counts.retries = number(one, "retries");
	row->route_counts.timeouts = number(one, "timeouts");
	numbers(one, "codes", row->route_counts.codes, REQUEST_CODES);
	row->route = name ? strdup(name) : NULL;
	return name && !row->route ? -ENOMEM : 0;
}

static const struct {
	const char *member; /* of the text */
	int (*read)(const json_t *one, struct request_reading_row *row); /* -ENOMEM */
} kinds[REQUEST_KINDS] = { [REQUEST_TARGETS] = { "rows", target_read }, [REQUEST_ROUTES] = { "routes", route_read } };

/* Puts them in order, and those of one together. */
static void rows_sort(struct request_reading_rows *rows, enum request_kind kind)
{
	size_t kept = 0;

	if (rows->count)
		qsort(rows->list, rows->count, sizeof(*rows->list), row_order);
	for (size_t i = 0; i < rows->count; i++) {
		struct request_reading_row *last = kept ? &rows->list[kept - 1] : NULL;

		if (last && row_order(last, &rows->list[i]) == 0) {
			words_add(&last->counts, &rows->list[i].counts, request_words[kind]);
			last->active += rows->list[i].active;
			free(rows->list[i].route);
		} else {
			rows->list[kept++] = rows->list[i];
		}
	}
	rows->count = kept;
}

static int rows_read(const json_t *json, enum request_kind kind, struct request_reading *reading)
{
	const json_t *list = json_object_get(json, kinds[kind].member);
	struct request_reading_rows *rows = &reading->rows[kind];

	rows->list = calloc(json_array_size(list) + 1, sizeof(*rows->list));
	if (!rows->list)
		return -ENOMEM;
	for (; rows->count < json_array_size(list); rows->count++) {
		const json_t *one = json_array_get(list, rows->count);
		struct request_reading_row *row = &rows->list[rows->count];
		int r;

		row->ids = (struct request_ids){ (uint32_t)number(one, "source"), (uint32_t)number(one, "service"), 0 };
		r = kinds[kind].read(one, row);
		if (r < 0)
			return r;
	}
	rows_sort(rows, kind);
	return 0;
}

static const struct {
	const char *name;
	size_t offset;
} of_now[] = {
	{ "open", offsetof(struct request_now, open) },
	{ "upstreamOpen", offsetof(struct request_now, upstream_open) },
	{ "requestsActive", offsetof(struct request_now, active) },
};

static bool now_read(const char *name, uint64_t value, struct request_now *now)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_now); i++)
		if (!strcmp(name, of_now[i].name)) {
			*(uint64_t *)((char *)now + of_now[i].offset) = value;
			return true;
		}
	return false;
}

static int sum_add(struct request_reading *reading, const char *group, const char *name, uint64_t count)
{
	struct request_reading_sum *more = reallocarray(reading->sums, reading->sum_count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	reading->sums = more;
	if (asprintf(&more[reading->sum_count].name, "%s%s%s", group ?: "", group ? "." : "", name) < 0)
		return -ENOMEM;
	more[reading->sum_count++].count = count;
	return 0;
}

/* Integers, and objects of integers. */
static int sums_read(json_t *object, const char *group, struct request_reading *reading)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value) {
		int r = 0;

		if (json_is_object(value) && !group)
			r = sums_read(value, name, reading);
		else if (json_is_integer(value) && (group || !now_read(name, number(object, name), &reading->now)))
			r = sum_add(reading, group, name, number(object, name));
		if (r < 0)
			return r;
	}
	return 0;
}

int request_reading_parse(const char *text, size_t length, struct request_reading *ret_reading, struct error *err)
{
	_cleanup_(request_reading_done) struct request_reading reading = {};
	_cleanup_json_ json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL); /* longer than json_parse() takes */
	const char *started_at = json_path_string(json, "startedAt");
	const int64_t pid = json_path_int(json, "pid", 0);
	int r = 0;

	if (pid <= 0 || !started_at || !json_is_object(json_path(json, "totals")) || !json_is_array(json_path(json, "rows")))
		return error_set(err, -EPROTO, "weft-proxy does not say what it has counted of requests");
	snprintf(reading.process, sizeof(reading.process), "%lld %s", (long long)pid, started_at);
	reading.generation = number(json, "generation");
	reading.workers = number(json, "workers");
	for (enum request_kind kind = 0; kind < REQUEST_KINDS && r == 0; kind++)
		r = rows_read(json, kind, &reading);
	if (r == 0)
		r = sums_read(json_path(json, "totals"), NULL, &reading);
	if (r < 0)
		return error_set(err, r, "out of memory");
	*ret_reading = reading;
	reading = (struct request_reading){};
	return 0;
}

void request_reading_done(struct request_reading *reading)
{
	for (size_t i = 0; i < reading->sum_count; i++)
		free(reading->sums[i].name);
	free(reading->sums);
	for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
		for (size_t i = 0; i < reading->rows[kind].count; i++)
			free(reading->rows[kind].list[i].route);
		free(reading->rows[kind].list);
	}
	*reading = (struct request_reading){};
}
