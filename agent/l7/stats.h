/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker counts: requests by caller, service and target, and by route, and how they ended. Written by the worker alone, word by word; read by
 * others at any time, which see each word whole. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/l7/reply.h"
#include "agent/l7/rows.h"
#include "agent/route/retry.h"
#include "maps/abi/row.h"

#define STATS_ROWS_MAX 16384 /* of a worker and a kind; what is beyond is counted in one row for all others */

struct stats_row {
	/* Ids. Service 0: it was meant for none; target 0: it came to none. That of the node alone, as the target: it came in for it. All 0:
	 * the row for all others. */
	uint32_t source, service, target;
	uint64_t requests;
	uint64_t codes[6]; /* by class: [2] is 2xx; [0]: the program got no answer */
	uint64_t retries;
	uint64_t bytes_received, bytes_sent;
	uint64_t time_ns_sum;
	uint64_t time_ns[HISTOGRAM_BUCKETS]; /* from the head to the end of the answer (maps/abi/row.h) */
	uint64_t active; /* no sum: under way, from the choice of the target on */
};

struct stats_route {
	/* Ids of caller, or gateway, and of service, and the number of the route's name (route_names.h). Service 0: it is a route of the gateway
	 * itself, or was meant for no service; route 0: none took the requests. All 0: the row for all others. */
	uint32_t source, service, route;
	uint64_t codes[6]; /* as above; there is one for each request */
	uint64_t retries;
	uint64_t timeouts; /* requests that ended by one */
};

struct stats {
	uint64_t connections, requests, open; /* of programs */
	uint64_t requests_active, retries_active; /* under way; the second: of these, those that were tried again */
	uint64_t upstream_connections, upstream_open;
	uint64_t replies[L7_REPLY_COUNT];
	uint64_t accept_failed; /* no descriptors, no memory, or the listener is gone */
	uint64_t no_handover; /* connections that the kernel did not hand over: closed */
	uint64_t too_late; /* requests that came when their connection, idle for too long, was being closed: dropped */
	uint64_t given; /* connections between two requests, to a successor */
	uint64_t verdicts[RETRY_NO_TIME + 1];
	uint64_t resent; /* on another connection, since the endpoint closed the one that had waited */
	struct rows rows; /* struct stats_row */
	struct stats_row others;
	struct rows routes; /* struct stats_route */
	struct stats_route other_routes;
};

void stats_done(struct stats *stats);
/* The row for it, made on first use. Never NULL. */
struct stats_row *stats_row_get(struct stats *stats, uint32_t source, uint32_t service, uint32_t target);
struct stats_route *stats_route_get(struct stats *stats, uint32_t source, uint32_t service, uint32_t route);
