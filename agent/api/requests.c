/* SPDX-License-Identifier: Apache-2.0 */
/* "requests" of /v1/status and /v1/top: what weft-proxy counted. */
#include <string.h>

#include "agent/api/api.h"
#include "agent/telemetry/counters.h"
#include "base/cleanup.h"

static json_t *numbers_json(const uint64_t *numbers, size_t count)
{
	json_t *list = json_array();

	while (count && !numbers[count - 1])
		count--;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer((json_int_t)numbers[i]));
	return list;
}

static json_t *codes_json(const uint64_t codes[REQUEST_CODES])
{
	static const char *const names[REQUEST_CODES] = REQUEST_CODE_NAMES;
	json_t *object = json_object();

	for (size_t i = 0; i < REQUEST_CODES; i++)
		json_object_set_new(object, names[i], json_integer((json_int_t)codes[i]));
	return object;
}

static json_t *percentile_json(const uint64_t buckets[HISTOGRAM_BUCKETS], unsigned int pct)
{
	__u64 copy[HISTOGRAM_BUCKETS];
	uint64_t ns;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		copy[i] = buckets[i];
	ns = histogram_percentile_ns(copy, pct);
	return ns ? json_integer((json_int_t)ns) : json_null();
}

static json_t *row_json(const struct request_row *row)
{
	const struct request_counts *c = &row->counts;

	return json_pack("{s:s?, s:s?, s:s?, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "from", row->source, "to", row->service, "target",
			 row->target, "requests", (json_int_t)c->requests, "active", (json_int_t)row->active, "retries", (json_int_t)c->retries, "codes", codes_json(c->codes),
			 "received", (json_int_t)c->bytes_received, "sent", (json_int_t)c->bytes_sent, "timeNsSum",
			 (json_int_t)c->time_ns_sum, "p50Ns", percentile_json(c->time_ns, 50), "p99Ns", percentile_json(c->time_ns, 99),
			 "timeBuckets", numbers_json(c->time_ns, HISTOGRAM_BUCKETS));
}

static json_t *route_json(const struct request_route *route)
{
	uint64_t requests = 0;

	for (size_t i = 0; i < REQUEST_CODES; i++)
		requests += route->counts.codes[i];
	return json_pack("{s:s?, s:s?, s:s?, s:I, s:o, s:I, s:I}", "from", route->source, "to", route->service, "route", route->route, "requests",
			 (json_int_t)requests, "codes", codes_json(route->counts.codes), "retries", (json_int_t)route->counts.retries,
			 "timeouts", (json_int_t)route->counts.timeouts);
}

/* "replies.no-route" is a member of "replies". */
static void set_sum(json_t *object, const struct request_sum *sum)
{
	const char *dot = strchr(sum->name, '.');
	_cleanup_free_ char *group = dot ? strndup(sum->name, (size_t)(dot - sum->name)) : NULL;

	if (group && !json_object_get(object, group))
		json_object_set_new(object, group, json_object());
	json_object_set_new(group ? json_object_get(object, group) : object, dot ? dot + 1 : sum->name, json_integer((json_int_t)sum->count));
}

json_t *api_requests_json(const struct requests_report *report)
{
	json_t *rows = json_array(), *routes = json_array(), *totals = json_object();

	for (size_t i = 0; i < report->row_count; i++)
		if (report->rows[i].counts.requests)
			json_array_append_new(rows, row_json(&report->rows[i]));
	for (size_t i = 0; i < report->route_count; i++)
		json_array_append_new(routes, route_json(&report->routes[i]));
	for (size_t i = 0; i < report->sum_count; i++)
		set_sum(totals, &report->sums[i]);
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "known", report->known, "workers", (json_int_t)report->workers, "active",
			 (json_int_t)report->now.active, "open", (json_int_t)report->now.open, "upstreamOpen",
			 (json_int_t)report->now.upstream_open, "totals", totals, "rows", rows, "routes", routes);
}
