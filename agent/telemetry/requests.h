/* SPDX-License-Identifier: Apache-2.0 */
/* weft-proxy's counts of requests, kept up to date: it is asked when somebody wants to know, and every 5 s, so that no more than that is
 * lost with one that is killed. One that ends, or serves its last connections beside its successor, leaves them in a file
 * (agent/proxy/control.h). Thread: the loop's; texts are read on the offload thread. */
#pragma once

#include <stdbool.h>

#include "agent/loop/loop.h"
#include "agent/telemetry/request_book.h"

#define REQUESTS_WAIT_NS (500 * 1000000ull) /* nobody waits longer for weft-proxy: what is known is told */

struct requests;
struct requests_options { /* copied; strings are borrowed */
	/* Asks weft-proxy; requests_answered() comes once, now or later, also when it is not there. */
	void (*ask)(struct requests *requests, void *arg);
	request_name_fn *name;
	void *arg;
	const char *left_directory; /* where weft-proxies leave theirs (agent/proxy/control.h) */
};

/* Borrows `loop`, `offload` and `state`. -ENOMEM, -EIO. */
int requests_new(struct loop *loop, struct offload *offload, struct state *state, const struct requests_options *options,
		 struct requests **ret_requests);
/* Saves all. Who waits is told now. When nobody asks weft-proxy any more, and before the offload thread ends. NULL is fine. */
struct requests *requests_free(struct requests *requests);

/* The answer's memory file (borrowed), or why there is none. */
void requests_answered(struct requests *requests, int fd, const struct error *err);

/* Calls `done` once, never from inside this call, when the counts are those of now, or weft-proxy has not said so in time. -ENOMEM. */
typedef void requests_done_fn(void *arg);
int requests_refresh(struct requests *requests, requests_done_fn *done, void *arg);

struct requests_report {
	bool known; /* weft-proxy has answered the last time: what is now is known */
	uint64_t read_ns; /* CLOCK_MONOTONIC, when it last did; 0: never */
	uint64_t workers;
	struct request_now now; /* all 0 where it is not known */
	size_t row_count, route_count, sum_count;
	struct request_row *rows; /* as the book has them; names are valid until requests_free() */
	struct request_route *routes; /* likewise */
	struct request_sum *sums;
};
int requests_report(const struct requests *requests, struct requests_report *ret_report); /* -ENOMEM */
void requests_report_done(struct requests_report *report);
/* The count of that name; 0: it was never heard of. */
uint64_t requests_report_sum(const struct requests_report *report, const char *name);
