/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/top.h"
#include "agent/telemetry/counters.h"
#include "agent/telemetry/names.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/time.h"

/* Objects of an earlier answer, by what names them. */
struct known {
	struct table_node node;
	struct buffer key;
	const json_t *object;
};
struct index {
	struct table table;
	struct known *known;
	size_t count;
};

static void index_done(struct index *index)
{
	for (size_t i = 0; i < index->count; i++)
		buffer_done(&index->known[i].key);
	free(index->known);
	table_done(&index->table);
}

/* Values of the members, each with a line feed, which none of them has. */
static int key_make(const json_t *object, const char *const members[], struct buffer *key)
{
	for (size_t i = 0; members[i]; i++)
		buffer_printf(key, "%s\n", json_path_string(object, members[i]) ?: "");
	return buffer_failed(key) ? -ENOMEM : 0;
}

static int index_make(const json_t *answer, const char *list, const char *const members[], struct index *index)
{
	const size_t count = answer ? json_path_count(answer, list) : 0;

	index->known = calloc(count + 1, sizeof(*index->known));
	if (!index->known)
		return -ENOMEM;
	for (; index->count < count; index->count++) {
		struct known *known = &index->known[index->count];
		int r;

		known->object = json_path_at(answer, list, index->count);
		r = key_make(known->object, members, &known->key);
		if (r == 0)
			r = table_add(&index->table, &known->node, buffer_string(&known->key));
		if (r < 0 && r != -EEXIST) {
			index->count++;
			return r;
		}
	}
	return 0;
}

/* The object that this one was before, or NULL. */
static const json_t *index_get(const struct index *index, const json_t *object, const char *const members[])
{
	_cleanup_(buffer_done) struct buffer key = {};
	struct table_node *node;

	if (key_make(object, members, &key) < 0)
		return NULL;
	node = table_get(&index->table, buffer_string(&key));
	return node ? container_of(node, struct known, node)->object : NULL;
}

static const char *const row_key[] = { "from", "to", "target", NULL };
static const char *const route_key[] = { "from", "to", "route", NULL };
static const char *const endpoint_key[] = { "target", "address", NULL };
static const char *const reason_key[] = { "from", "to", "reason", NULL };

/* The difference between two states of one object. */
struct delta {
	const json_t *before, *now; /* before: NULL where it was not there */
	double seconds; /* 0: no rates */
	bool went_back;
};

static uint64_t count_of(const json_t *object, const char *member)
{
	const int64_t count = object ? json_path_int(object, member, 0) : 0;

	return count > 0 ? (uint64_t)count : 0;
}

static uint64_t grown(struct delta *delta, const char *member)
{
	const uint64_t before = count_of(delta->before, member), now = count_of(delta->now, member);

	if (now >= before)
		return now - before;
	delta->went_back = true;
	return 0;
}

static double per_second(const struct delta *delta, uint64_t count)
{
	return delta->seconds > 0 ? (double)count / delta->seconds : 0;
}

/* Closed and open ones are each a sum that may go back where a connection goes from one to the other; together they do not. */
static uint64_t grown_with_open(struct delta *delta, const char *closed, const char *open)
{
	const uint64_t before = count_of(delta->before, closed) + count_of(delta->before, open),
		       now = count_of(delta->now, closed) + count_of(delta->now, open);

	if (now >= before)
		return now - before;
	delta->went_back = true;
	return 0;
}

static void buckets_grown(struct delta *delta, const char *member, __u64 ret_buckets[HISTOGRAM_BUCKETS])
{
	const json_t *before = delta->before ? json_path(delta->before, member) : NULL, *now = json_path(delta->now, member);

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		const json_int_t a = json_integer_value(json_array_get(before, i)), b = json_integer_value(json_array_get(now, i));

		ret_buckets[i] = b >= a ? (__u64)(b - a) : 0;
		delta->went_back |= b < a;
	}
}

static uint64_t rtt_ns(struct delta *delta)
{
	const uint64_t open = count_of(delta->now, "openCounted");
	const uint64_t count = grown(delta, "closed") + open;
	const uint64_t sum_us = grown(delta, "rttUsSum") + open * count_of(delta->now, "meanOpenRttUs");

	return count ? sum_us * NSEC_PER_USEC / count : 0;
}

static const struct {
	const char *member, *reason;
} failures[] = {
	{ "refused", "refused" },
	{ "timedOut", "timed-out" },
	{ "unreachable", "unreachable" },
	{ "failedOther", "other" },
};

static void row_fill(struct delta *delta, struct top_row *row)
{
	__u64 buckets[HISTOGRAM_BUCKETS];
	uint64_t failed = 0, most = 0;

	*row = (struct top_row){
		.from = json_path_string(delta->now, "from"),
		.service = json_path_string(delta->now, "to"),
		.target = json_path_string(delta->now, "target"),
		.open = count_of(delta->now, "open"),
	};
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		const uint64_t count = grown(delta, failures[i].member);

		failed += count;
		if (count > most) {
			most = count;
			row->reason = failures[i].reason;
		}
	}
	row->failures = per_second(delta, failed);
	row->connections = per_second(delta, grown(delta, "attempts"));
	row->resets = per_second(delta, grown(delta, "resetByPeer"));
	row->sent = per_second(delta, grown_with_open(delta, "sent", "openSent"));
	row->received = per_second(delta, grown_with_open(delta, "received", "openReceived"));
	row->rtt_ns = rtt_ns(delta);
	buckets_grown(delta, "connectBuckets", buckets);
	row->connect_p50_ns = histogram_percentile_ns(buckets, 50);
	row->connect_p99_ns = histogram_percentile_ns(buckets, 99);
	if (delta->went_back || delta->seconds <= 0)
		*row = (struct top_row){ .from = row->from, .service = row->service, .target = row->target, .open = row->open };
}

static int rows_fill(const json_t *before, const json_t *now, double seconds, struct top *top)
{
	_cleanup_(index_done) struct index index = {};
	const size_t count = json_path_count(now, "rows");
	int r = index_make(before, "rows", row_key, &index);

	for (size_t i = 0; i < count && r == 0; i++) {
		const json_t *row = json_path_at(now, "rows", i);
		struct delta delta = { .before = index_get(&index, row, row_key), .now = row, .seconds = seconds };

		row_fill(&delta, &top->rows[top->row_count++]);
	}
	return r;
}

/* Percent of the requests that were answered, and with no 5xx; negative: there were none. */
static double success_of(struct delta *delta, uint64_t requests)
{
	const uint64_t failed = grown(delta, "codes.5xx") + grown(delta, "codes.none");

	if (!requests)
		return -1;
	return failed < requests ? 100.0 * (double)(requests - failed) / (double)requests : 0;
}

static void request_fill(struct delta *delta, struct top_request *row)
{
	__u64 buckets[HISTOGRAM_BUCKETS];
	const struct top_request nothing = {
		.from = json_path_string(delta->now, "from"),
		.service = json_path_string(delta->now, "to"),
		.target = json_path_string(delta->now, "target"),
		.active = count_of(delta->now, "active"),
		.success = -1,
	};
	const uint64_t requests = grown(delta, "requests");

	*row = nothing;
	row->requests = per_second(delta, requests);
	row->success = success_of(delta, requests);
	row->retries = per_second(delta, grown(delta, "retries"));
	row->sent = per_second(delta, grown(delta, "received")); /* by weft-proxy, from the program */
	row->received = per_second(delta, grown(delta, "sent"));
	buckets_grown(delta, "timeBuckets", buckets);
	row->p50_ns = histogram_percentile_ns(buckets, 50);
	row->p99_ns = histogram_percentile_ns(buckets, 99);
	if (delta->went_back || delta->seconds <= 0)
		*row = nothing;
}

static int requests_fill(const json_t *before, const json_t *now, double seconds, struct top *top)
{
	_cleanup_(index_done) struct index index = {};
	const size_t count = json_path_count(now, "requests.rows");
	int r = index_make(before, "requests.rows", row_key, &index);

	for (size_t i = 0; i < count && r == 0; i++) {
		const json_t *row = json_path_at(now, "requests.rows", i);
		struct delta delta = { .before = index_get(&index, row, row_key), .now = row, .seconds = seconds };

		request_fill(&delta, &top->requests[top->request_count++]);
	}
	return r;
}

static void route_fill(struct delta *delta, struct top_route *row)
{
	const struct top_route nothing = {
		.from = json_path_string(delta->now, "from"),
		.service = json_path_string(delta->now, "to"),
		.route = json_path_string(delta->now, "route"),
		.success = -1,
	};
	const uint64_t requests = grown(delta, "requests");

	*row = nothing;
	row->requests = per_second(delta, requests);
	row->success = success_of(delta, requests);
	row->retries = per_second(delta, grown(delta, "retries"));
	row->timeouts = per_second(delta, grown(delta, "timeouts"));
	if (delta->went_back || delta->seconds <= 0)
		*row = nothing;
}

static int routes_fill(const json_t *before, const json_t *now, double seconds, struct top *top)
{
	_cleanup_(index_done) struct index index = {};
	const size_t count = json_path_count(now, "requests.routes");
	int r = index_make(before, "requests.routes", route_key, &index);

	for (size_t i = 0; i < count && r == 0; i++) {
		const json_t *row = json_path_at(now, "requests.routes", i);
		struct delta delta = { .before = index_get(&index, row, route_key), .now = row, .seconds = seconds };

		route_fill(&delta, &top->routes[top->route_count++]);
	}
	return r;
}

static bool is_refusal(const json_t *reason)
{
	const char *name = json_path_string(reason, "reason");
	const int number = name ? reason_by_name(name) : -1;
	const enum verdict verdict = number < 0 ? VERDICT_PASS : reason_verdict((enum reason)number);

	return verdict == VERDICT_REFUSE || verdict == VERDICT_DENY;
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Refusals of one (from, service) follow each other in the answer: they are one row, with the reason of most. */
static int refusals_fill(const json_t *before, const json_t *now, double seconds, struct top *top)
{
	_cleanup_(index_done) struct index index = {};
	const size_t count = json_path_count(now, "reasons"), first = top->row_count;
	int r = index_make(before, "reasons", reason_key, &index);
	double most = 0;

	for (size_t i = 0; i < count && r == 0 && seconds > 0; i++) {
		const json_t *reason = json_path_at(now, "reasons", i);
		struct delta delta = { .before = index_get(&index, reason, reason_key), .now = reason, .seconds = seconds };
		const double rate = is_refusal(reason) ? per_second(&delta, grown(&delta, "count")) : 0;
		const char *from = json_path_string(reason, "from"), *to = json_path_string(reason, "to");
		struct top_row *row = top->row_count > first ? &top->rows[top->row_count - 1] : NULL;

		if (rate <= 0)
			continue;
		if (!row || !same(row->from, from) || !same(row->service, to)) {
			row = &top->rows[top->row_count++];
			*row = (struct top_row){ .from = from, .service = to };
			most = 0;
		}
		row->failures += rate;
		if (rate > most) {
			most = rate;
			row->reason = json_path_string(reason, "reason");
		}
	}
	return r;
}

static int endpoints_fill(const json_t *before, const json_t *now, double seconds, struct top *top)
{
	_cleanup_(index_done) struct index index = {};
	const size_t count = json_path_count(now, "endpoints");
	int r = index_make(before, "endpoints", endpoint_key, &index);

	for (size_t i = 0; i < count && r == 0; i++) {
		const json_t *e = json_path_at(now, "endpoints", i);
		struct delta delta = { .before = index_get(&index, e, endpoint_key), .now = e, .seconds = seconds };
		struct top_endpoint *endpoint = &top->endpoints[top->endpoint_count++];

		*endpoint = (struct top_endpoint){
			.target = json_path_string(e, "target"),
			.address = json_path_string(e, "address"),
			.health = json_path_string(e, "health"),
			.zone = json_path_string(e, "zone"),
			.open = count_of(e, "open"),
			.connections = per_second(&delta, grown(&delta, "connects")),
			.failures = per_second(&delta, grown(&delta, "failures")),
			.resets = per_second(&delta, grown(&delta, "resets")),
			.requests = per_second(&delta, grown(&delta, "requests")),
			.request_failures = per_second(&delta, grown(&delta, "requestFailures")),
		};
		if (delta.went_back)
			endpoint->connections = endpoint->failures = endpoint->resets = endpoint->requests = endpoint->request_failures = 0;
	}
	return r;
}

int top_make(const json_t *before, const json_t *now, struct top *ret_top, struct error *err)
{
	const uint64_t then_ns = count_of(before, "timeNs"), now_ns = count_of(now, "timeNs");
	struct top top = { .generation = count_of(now, "generation"), .open_known = json_path_bool(now, "openKnown", true) };
	double seconds;
	int r;

	if (!now_ns || !json_is_array(json_object_get(now, "rows")))
		return error_set(err, -EPROTO, "weftd's answer has no rows: it is of another version");
	top.interval_ns = before && now_ns > then_ns ? now_ns - then_ns : 0;
	seconds = (double)top.interval_ns / NSEC_PER_SEC;
	top.rows = calloc(json_path_count(now, "rows") + json_path_count(now, "reasons") + 1, sizeof(*top.rows));
	top.requests = calloc(json_path_count(now, "requests.rows") + 1, sizeof(*top.requests));
	top.routes = calloc(json_path_count(now, "requests.routes") + 1, sizeof(*top.routes));
	top.endpoints = calloc(json_path_count(now, "endpoints") + 1, sizeof(*top.endpoints));
	r = top.rows && top.requests && top.routes && top.endpoints ? rows_fill(before, now, seconds, &top) : -ENOMEM;
	if (r == 0)
		r = refusals_fill(before, now, seconds, &top);
	if (r == 0)
		r = requests_fill(before, now, seconds, &top);
	if (r == 0)
		r = routes_fill(before, now, seconds, &top);
	if (r == 0)
		r = endpoints_fill(before, now, seconds, &top);
	if (r < 0) {
		top_done(&top);
		return error_set(err, r, "out of memory");
	}
	*ret_top = top;
	return 0;
}

void top_done(struct top *top)
{
	free(top->rows);
	free(top->requests);
	free(top->routes);
	free(top->endpoints);
	*top = (struct top){};
}
