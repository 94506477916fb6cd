/* SPDX-License-Identifier: Apache-2.0 */
/* What `weft top` shows: the rates of an interval, from two answers of /v1/top. No terminal, no clock, no sockets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

/* What tables can be sorted by. One that has no such column is sorted by its first number. */
enum top_column {
	TOP_FROM,
	TOP_SERVICE,
	TOP_TARGET,
	TOP_CONNECTIONS,
	TOP_OPEN,
	TOP_FAILURES,
	TOP_REASON,
	TOP_RESETS,
	TOP_RTT,
	TOP_P50,
	TOP_P99,
	TOP_OUT,
	TOP_IN,
	TOP_REQUESTS,
	TOP_SUCCESS,
	TOP_RETRIES,
	TOP_ACTIVE,
	TOP_ROUTE,
	TOP_TIMEOUTS,
	TOP_COLUMN_COUNT,
};

/* A (from, service, target), or what was refused of a (from, service) in the interval: that has no target. Rates are per second. */
struct top_row {
	const char *from, *service, *target; /* full names, of the answer; NULL: none */
	double connections; /* routed */
	uint64_t open;
	double failures; /* never established, but for those their own caller gave up; refusals */
	const char *reason; /* the most frequent of them; NULL: none */
	double resets; /* by the peer */
	uint64_t rtt_ns; /* mean of open ones and of those closed in the interval; 0: not known, as for the next two */
	uint64_t connect_p50_ns, connect_p99_ns;
	double sent, received; /* bytes, also on connections still open */
};

/* Requests of a (from, service, target) that weft-proxy routes. */
struct top_request {
	const char *from, *service, *target; /* as in struct top_row; those that came in for a virtual node here have a target alone */
	double requests; /* answered, or over without an answer */
	double success; /* percent of them that were answered, and with no 5xx; negative: there were none */
	double retries;
	uint64_t active; /* under way now */
	uint64_t p50_ns, p99_ns; /* from the head of a request to the end of its answer; 0: not known */
	double sent, received; /* bytes of bodies, by the program */
};

/* The same by route: of a virtual router; of a gateway, which has no service; NULL: none took the requests. */
struct top_route {
	const char *from, *service, *route;
	double requests, success, retries;
	double timeouts; /* requests that ended by one */
};

struct top_endpoint {
	const char *target, *address, *health, *zone;
	uint64_t open;
	double connections, failures, resets;
	double requests, request_failures; /* by weft-proxy: tries; of them, those answered with 5xx or not at all */
};

struct top {
	uint64_t interval_ns; /* 0: there was no answer before, and rates are 0 */
	uint64_t generation;
	bool open_known;
	size_t row_count, request_count, route_count, endpoint_count;
	struct top_row *rows;
	struct top_request *requests;
	struct top_route *routes;
	struct top_endpoint *endpoints;
};

/* Borrows the strings of `now`. `before`: NULL for none. A row that was not there before began at 0. One whose counters went back
 * (its agent lost what it knew) has no rates for this interval. -EPROTO: no answer of /v1/top; -ENOMEM. */
int top_make(const json_t *before, const json_t *now, struct top *ret_top, struct error *err);
void top_done(struct top *top);

struct top_view {
	enum top_column sort; /* names up, numbers down, and then by names; endpoints stay in the order of theirs */
	bool reverse;
	const char *filter; /* part of any name or address, in any case of ASCII letters; "" or NULL: all */
	bool routes; /* requests are shown by route, and not by target */
	bool endpoints;
	size_t width, height; /* of the terminal; 0: no limit */
	const char *bold, *plain; /* around titles; "" for none */
};

/* "conn/s"; NULL: no such column. */
const char *top_column_name(enum top_column column);
int top_column_by_name(const char *name); /* -EINVAL */

/* The rows, requests and endpoints that the view lets pass, in its order, as tables (none of requests where there are none): lines that are
 * no longer than the width (in characters), each with a line feed, no more than the height. */
int top_print(const struct top *top, const struct top_view *view, struct buffer *out); /* 0 or -ENOMEM */
/* The same as one JSON object. NULL: no memory. */
json_t *top_json(const struct top *top, const struct top_view *view);
