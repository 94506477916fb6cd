/* SPDX-License-Identifier: Apache-2.0 */
/* What weft-proxy says that it has counted of requests since its process began, read from its text (agent/proxy/control.h, "requests";
 * agent/l7/l7.h, l7_write()). Names of sums are taken as they come: one of another build may have more of them, or fewer. Pure; any
 * thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/abi/row.h"

#define REQUEST_CODES 6 /* by the answer's status: none came, 1xx, … 5xx */
#define REQUEST_CODE_NAMES { "none", "1xx", "2xx", "3xx", "4xx", "5xx" }

struct request_counts { /* each is a sum of its own */
	uint64_t requests, retries;
	uint64_t bytes_received, bytes_sent; /* of bodies: from the program, to it */
	uint64_t time_ns_sum;
	uint64_t codes[REQUEST_CODES];
	uint64_t time_ns[HISTOGRAM_BUCKETS]; /* from the head of a request to the end of its answer */
};
void request_counts_add(struct request_counts *sums, const struct request_counts *more);

struct route_counts { /* likewise, of requests that a route took */
	uint64_t codes[REQUEST_CODES]; /* one for each */
	uint64_t retries;
	uint64_t timeouts; /* requests that ended by one */
};
void route_counts_add(struct route_counts *sums, const struct route_counts *more);

/* Rows of the text, and of the book, are of a kind; the counts of each kind are words. */
enum request_kind { REQUEST_TARGETS, REQUEST_ROUTES, REQUEST_KINDS };
extern const size_t request_words[REQUEST_KINDS]; /* how many */

struct request_ids { /* the kernel's; as in agent/l7/l7.h, 0 says that there is none */
	uint32_t source, service, target; /* of a route's row: its name's number in that process; 0: no route took them */
};
int request_ids_order(const struct request_ids *a, const struct request_ids *b); /* <, = or > 0 */

struct request_now { /* as it was when it was asked */
	uint64_t open, upstream_open; /* connections: of programs, to endpoints */
	uint64_t active; /* requests under way */
};

struct request_reading {
	char process[80]; /* tells one weft-proxy from the next: "PID STARTED" */
	uint64_t generation, workers;
	struct request_now now;
	size_t sum_count;
	struct request_reading_rows {
		size_t count;
		struct request_reading_row {
			struct request_ids ids;
			char *route; /* its name; NULL: none, as of a target's row */
			union {
				struct request_counts counts;
				struct route_counts route_counts;
			};
			uint64_t active; /* under way now */
		} *list; /* in order of ids, each once */
	} rows[REQUEST_KINDS];
	struct request_reading_sum {
		char *name; /* "requests", "replies.no-route", "retries.retry-limit" */
		uint64_t count;
	} *sums;
};

/* -EPROTO: it is not what weft-proxy says; -ENOMEM. */
int request_reading_parse(const char *text, size_t length, struct request_reading *ret_reading, struct error *err);
void request_reading_done(struct request_reading *reading);
