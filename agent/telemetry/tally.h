/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that was counted, at one moment: counters of (source, service, target) with what connections that are open have moved
 * so far, endpoints, reasons, and requests as weft-proxy counted them. For those who show it: /v1/top and /metrics.
 *
 * What a connection has moved is told once. It is added to its row when it closes, and its socket is gone then. The offload thread
 * copies the rows first and walks the open sockets right after: a connection that closes in between (some ms, as long as the walk
 * takes) is in neither, until the next reading; none is in both. A walk that others change under way may also meet a socket twice
 * (it is taken once, by its cookie) or pass one over. So bytes and retransmissions may lag behind by such connections for one
 * reading, and to be no less than what was told before they are held at that: they never go back, and never run ahead. (A new agent
 * does not know what the one before it told: its first reading alone may be lower, by connections that just closed.)
 *
 * The loop's thread only hands over names and endpoints: 10,000 rows, 10,000 targets and 10,000 reasons cost it 1.6 ms, and once,
 * when it meets the rows for the first time, 19 ms (measured on a busy machine of two cores). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/compile/apply.h"
#include "agent/loop/loop.h"
#include "agent/state/state.h"
#include "agent/telemetry/counters.h"
#include "agent/telemetry/endpoint_series.h"
#include "agent/telemetry/requests.h"
#include "maps/kernel.h"

#define TALLY_APART_NS (100 * 1000000ull) /* readings begin at least so far apart, whoever asks and how often */

struct tally_row {
	struct counter counter;
	uint64_t open_sent, open_received, open_retransmits; /* to be added to those of `counter` */
	uint64_t open_counted, open_rtt_us_sum; /* established ones that were met, and their smoothed RTTs */
};

/* False: nothing was ever routed to it, so it has nothing to tell. Of 10,000 services most are like that on any one node. */
static inline bool tally_row_is_used(const struct tally_row *row)
{
	return row->counter.sums.attempts || row->counter.sums.open;
}

struct tally_endpoint {
	const char *target; /* full name */
	struct ip address;
	__be16 port;
	bool local; /* offered in its own namespace only */
	const char *zone; /* NULL: none, or its name is not known */
	bool own_requests; /* those of its state are told by themselves; else among those of all others (endpoint_series.h) */
	struct endpoint state;
};

struct tally_reason {
	const char *source, *service; /* full names; NULL: none, or not known any more */
	uint32_t reason;
	uint64_t count;
};

struct tally {
	uint64_t time_ns; /* CLOCK_MONOTONIC, when the rows were read */
	uint64_t generation;
	bool open_known; /* false: this kernel cannot list open connections */
	size_t row_count, endpoint_count, reason_count;
	const struct tally_row *const *rows; /* in order of source, service, target */
	const struct tally_endpoint *endpoints; /* in order of target, address, port */
	const struct tally_reason *reasons; /* in order of source, service, reason; no duplicates */
	struct endpoint_requests other_endpoints;
	uint64_t stats[STAT_COUNT];
	struct requests_report requests;
};

struct tallies;

/* Borrows all. 0 or -errno. */
int tallies_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply, struct state *state,
		struct requests *requests, struct tallies **ret_tallies);
/* Before `requests`, `apply` and the offload thread end. Who still waits is told -ECANCELED, now or when the offload thread's last jobs are
 * reported. NULL is fine. */
struct tallies *tallies_free(struct tallies *tallies);

/* Reads everything soon, from a moment after this call on, and hands it to `work` on the offload thread, for the time of that call.
 * Then `done` comes on the loop's thread, never from inside this call: with 0, or -ENOMEM, -ECANCELED or another -errno, and `work`
 * was not called. 0, or -ENOMEM and neither comes. */
typedef void tally_work_fn(const struct tally *tally, void *arg);
typedef void tally_done_fn(int r, void *arg);
int tallies_take(struct tallies *tallies, tally_work_fn *work, tally_done_fn *done, void *arg);
