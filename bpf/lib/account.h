/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A connection's account: opened in connect4/6, closed once by the first of: TCP state CLOSE; release of the socket when no SYN
 * was ever sent; the next connect() on the same socket. It is gone with that, and its memory may be another's at once: who finds one
 * while somebody else may be ending it, in sock_release or connect() beside a reset that comes in, changes nothing but by account_close(). */
#pragma once

#include "count.h"
#include "eject.h"
#include "maps/abi/account.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/row.h"

/* The row; NULL where it has none, or it was given to another triple since. Which cannot happen while an account names it and the agent
 * works as it should: counted, and nothing is changed. */
static __always_inline struct row *row_of(__u32 key, __u32 incarnation)
{
	struct row *row;

	if (key == ACCOUNT_NONE)
		return NULL;
	row = bpf_map_lookup_elem(&w_row, &key);
	if (row && row->incarnation == incarnation)
		return row;
	count_stat(STAT_ROW_MISMATCH);
	return NULL;
}

static __always_inline struct row *account_row(const struct account *a)
{
	return row_of(a->row, a->row_incarnation);
}

static __always_inline struct endpoint *slot_of(__u32 key, __u32 incarnation)
{
	struct endpoint *endpoint;

	if (key == ACCOUNT_NONE)
		return NULL;
	endpoint = bpf_map_lookup_elem(&w_endpoint, &key);
	if (endpoint && endpoint->incarnation == incarnation)
		return endpoint;
	count_stat(STAT_SLOT_MISMATCH);
	return NULL;
}

static __always_inline struct endpoint *account_slot(const struct account *a)
{
	return slot_of(a->slot, a->slot_incarnation);
}

static __always_inline void account_established(struct account *a, __u64 now_ns)
{
	const __u64 took_ns = now_ns - a->connect_ns;
	struct endpoint *endpoint = account_slot(a);
	struct row *row = account_row(a);

	a->established_ns = now_ns;
	if (row) {
		ADD(row->established, 1);
		ADD(row->connect_ns_sum, took_ns);
		ADD(row->connect_ns[histogram_bucket(took_ns) & (HISTOGRAM_BUCKETS - 1)], 1);
	}
	if (endpoint) {
		ADD(endpoint->connects, 1);
		endpoint_answers(endpoint, a, now_ns);
	}
}

/* What is known of a connection at its end. */
struct ending {
	__u64 now_ns;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 rtt_us;
	__u32 retransmits;
	enum flow_close how;
	__u8 error;
};

static __always_inline void row_add_ending(struct row *row, const struct account *a, const struct ending *e)
{
	switch (e->how) {
	case FLOW_CONNECT_REFUSED:
		ADD(row->refused, 1);
		return;
	case FLOW_CONNECT_TIMED_OUT:
		ADD(row->timed_out, 1);
		return;
	case FLOW_CONNECT_UNREACHABLE:
		ADD(row->unreachable, 1);
		return;
	case FLOW_CONNECT_ABANDONED:
		ADD(row->abandoned, 1);
		return;
	case FLOW_CONNECT_FAILED:
		ADD(row->failed_other, 1);
		return;
	case FLOW_RESET_BY_PEER:
		ADD(row->reset_by_peer, 1);
		break;
	case FLOW_DRAINED:
	case FLOW_POLICY_CHANGED:
		if (!a->established_ns) {
			ADD(row->failed_other, 1);
			return;
		}
		ADD(row->aborted, 1);
		break;
	case FLOW_ABORTED:
		ADD(row->aborted, 1);
		break;
	default:
		break;
	}
	ADD(row->closed, 1);
	ADD(row->bytes_sent, e->bytes_sent);
	ADD(row->bytes_received, e->bytes_received);
	if (e->retransmits)
		ADD(row->retransmits, e->retransmits);
	ADD(row->rtt_us_sum, e->rtt_us);
	ADD(row->duration_ns[histogram_bucket(e->now_ns - a->established_ns) & (HISTOGRAM_BUCKETS - 1)], 1);
}

static __always_inline void endpoint_add_ending(struct endpoint *endpoint, const struct ending *e)
{
	if (e->how >= FLOW_CONNECT_REFUSED && e->how != FLOW_CONNECT_ABANDONED) {
		ADD(endpoint->failures, 1);
		return;
	}
	if (e->how == FLOW_RESET_BY_PEER)
		ADD(endpoint->resets, 1);
	if (e->bytes_sent)
		ADD(endpoint->bytes_sent, e->bytes_sent);
	if (e->bytes_received)
		ADD(endpoint->bytes_received, e->bytes_received);
}

static __noinline void account_record(const struct account *a, const struct ending *e)
{
	__u32 one_in = 1;

	if (e->how == FLOW_CLOSED) {
		one_in = sample(e->now_ns);
		if (!one_in) {
			count_stat(STAT_FLOWS_SAMPLED_OUT);
			return;
		}
	}
	record_write(&(struct flow_record){
		.end_ns = e->now_ns,
		.connect_ns = a->established_ns ? a->established_ns - a->connect_ns : 0,
		.duration_ns = e->now_ns - (a->established_ns ?: a->connect_ns),
		.generation = a->generation,
		.netns_cookie = a->netns_cookie,
		.bytes_sent = e->bytes_sent,
		.bytes_received = e->bytes_received,
		.pid = a->pid,
		.source = a->source,
		.service = a->service,
		.target = a->target,
		.rtt_us = e->rtt_us,
		.retransmits = e->retransmits,
		.sampled_one_in = one_in,
		.asked = a->vip,
		.address = a->address,
		.asked_port = a->vip_port,
		.port = a->port,
		.reason = a->reason,
		.close = e->how,
		.error = e->error,
		.ip_protocol = IPPROTO_TCP,
	});
}

/* Closes the account of `holder`, not 0; whoever comes second finds it closed. */
static __always_inline void account_close(struct account *a, __u64 holder, const struct ending *e)
{
	struct endpoint *endpoint;
	struct row *row;

	if (__sync_val_compare_and_swap(&a->held, holder, 0) != holder)
		return;
	row = account_row(a);
	if (row) {
		ADD(row->open, -1);
		row_add_ending(row, a, e);
	}
	endpoint = account_slot(a);
	if (endpoint) {
		ADD(endpoint->open, -1);
		endpoint_add_ending(endpoint, e);
		endpoint_judge(endpoint, a, e->how, e->bytes_received, e->now_ns);
	}
	account_record(a, e);
}

/* A connect() that came to nothing: no SYN was ever sent. */
static __always_inline void account_abandon(struct account *a, __u64 holder, __u64 now_ns)
{
	account_close(a, holder, &(struct ending){ .now_ns = now_ns, .how = FLOW_CONNECT_ABANDONED });
}
