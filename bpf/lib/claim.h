/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A decision becomes a connection: its account is opened, and its place in the open counts taken; or a refusal is told. */
#pragma once

#include "account.h"
#include "decide.h"

#define CLAIMS 3 /* each one more only where others were faster at the last room, or at the probe */

/* Takes a place in the endpoint's open count, and is its probe where the decision says so. False, and nothing is taken, where others
 * were faster. */
static __always_inline bool claim_place(struct endpoint *endpoint, struct decision *d, __u64 now_ns)
{
	const __u64 open = __sync_fetch_and_add(&endpoint->open, 1);

	if ((!d->max_connections || open < d->max_connections) &&
	    (!(d->flags & DECISION_PROBE) || probe_begin(endpoint, d, now_ns)))
		return true;
	ADD(endpoint->open, -1);
	count_stat(STAT_CLAIM_RETRIES);
	return false;
}

/* Takes a place at an endpoint; a connection that is handed to weft-proxy needs none. May change the decision to another endpoint of the
 * target, or to none. */
static __always_inline enum reason claim_endpoint(const struct flow *flow, struct draw *draw, __u64 now_ns, struct decision *d)
{
	struct endpoint *endpoint;

	for (int i = 0; i < CLAIMS; i++) {
		endpoint = slot_of(d->slot, d->slot_incarnation);
		if (!endpoint || claim_place(endpoint, d, now_ns))
			return d->reason;
		*draw = draw_words();
		d->reason = decide_again(flow, draw, now_ns, d);
		if (reason_verdict(d->reason) != VERDICT_ROUTE)
			return d->reason;
	}
	return d->max_connections ? REASON_OVER_MAX_CONNECTIONS : REASON_NO_ENDPOINT;
}

/* Gives it back, where nothing came of the connection. */
static __always_inline void claim_undo(const struct decision *d, __u64 now_ns)
{
	struct endpoint *endpoint = slot_of(d->slot, d->slot_incarnation);

	if (!endpoint)
		return;
	ADD(endpoint->open, -1);
	if (d->flags & DECISION_PROBE)
		probe_give_back(endpoint, now_ns);
}

/* Of the caller the account knows what `flow` says. Nobody holds it yet. */
static __always_inline void account_fill(struct account *a, const struct flow *flow, __u64 now_ns, const struct decision *d)
{
	*a = (struct account){};
	a->generation = d->generation;
	a->connect_ns = now_ns;
	a->netns_cookie = flow->netns_cookie;
	a->source = flow->node;
	a->service = d->service;
	a->target = d->target;
	a->row = d->row;
	a->row_incarnation = d->row_incarnation;
	a->slot = d->slot;
	a->slot_incarnation = d->slot_incarnation;
	a->vip = flow->destination;
	a->vip_port = flow->port;
	a->address = d->address;
	a->port = d->port;
	a->reason = d->reason;
	a->probe = !!(d->flags & DECISION_PROBE);
}

/* From here on it counts. `holder` is not 0. */
static __always_inline void account_hold(struct account *a, __u64 holder)
{
	__sync_lock_test_and_set(&a->held, holder);
}

/* Opens the account of a routed connection, whose memory is there, and takes its place in the open counts. */
static __always_inline enum reason claim(struct account *a, __u64 holder, const struct flow *flow, struct draw *draw, __u64 now_ns,
					 struct decision *d)
{
	const enum reason reason = claim_endpoint(flow, draw, now_ns, d);
	struct row *row;

	if (reason_verdict(reason) != VERDICT_ROUTE)
		return reason;
	row = row_of(d->row, d->row_incarnation);
	if (row) {
		ADD(row->attempts, 1);
		ADD(row->open, 1);
	}
	account_fill(a, flow, now_ns, d);
	account_hold(a, holder);
	return reason;
}

/* `pid` is that of a caller on this host, or 0. Not inlined: a record is large beside what the stack holds. */
static __noinline void record_refusal(const struct flow *flow, const struct decision *d, __u64 now_ns, __u32 protocol, __u32 pid)
{
	record_write(&(struct flow_record){
		.end_ns = now_ns,
		.generation = d->generation,
		.netns_cookie = flow->netns_cookie,
		.pid = pid,
		.source = flow->node,
		.service = d->service,
		.target = d->target,
		.sampled_one_in = 1,
		.asked = flow->destination,
		.asked_port = flow->port,
		.reason = d->reason,
		.close = FLOW_REFUSED_HERE,
		.error = reason_verdict(d->reason) == VERDICT_DENY ? 1 /* EPERM */ : ECONNREFUSED,
		.ip_protocol = protocol,
	});
}
