/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Flow records: one for each connection that closed, and one for each refusal. The ring never blocks the kernel side: what
 * does not fit is counted in STAT_FLOWS_LOST, what sampling leaves out in STAT_FLOWS_SAMPLED_OUT, so that
 * records + lost + sampled out is the exact number of connections that ended. */
#pragma once

#include "types.h"

enum flow_close {
	FLOW_REFUSED_HERE, /* by a decision; `reason` says why */
	FLOW_CLOSED, /* established, and closed in an orderly way */
	FLOW_RESET_BY_PEER,
	FLOW_ABORTED, /* established, then ended here by a reset, a time-out or a socket that others destroyed */
	FLOW_DRAINED, /* destroyed by weft, established or not: the endpoint had left, and the time for draining was over */
	FLOW_POLICY_CHANGED, /* destroyed by weft, established or not: connect() would be denied now */
	FLOW_CONNECT_REFUSED, /* never established: RST, see `error` for the errno in each of these */
	FLOW_CONNECT_TIMED_OUT,
	FLOW_CONNECT_UNREACHABLE,
	FLOW_CONNECT_ABANDONED,
	FLOW_CONNECT_FAILED,
	FLOW_CLOSE_COUNT,
};

struct flow_record {
	WEFT_TEST_SHIFT(__u64)
	__u64 end_ns; /* CLOCK_MONOTONIC */
	__u64 connect_ns; /* connect() to established; 0: never */
	__u64 duration_ns; /* established to end; for others connect() to end */
	__u64 generation;
	__u64 netns_cookie;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 pid;
	__u32 source; /* object ids */
	__u32 service; /* 0: the destination is no VIP. Of a refusal where connections come in: the virtual node that serves */
	__u32 target;
	__u32 rtt_us;
	__u32 retransmits;
	__u32 sampled_one_in; /* this record stands for that many */
	__u32 pad;
	struct ip asked; /* destination the program asked for */
	struct ip address; /* where it was sent, to weft-proxy maybe; zero for refusals, but where connections come in: who asked */
	__be16 asked_port;
	__be16 port;
	__u8 reason; /* enum reason */
	__u8 close; /* enum flow_close */
	__u8 error; /* errno of the socket */
	__u8 ip_protocol;
};
WEFT_SIZE(struct flow_record, 128);

/* stats: counted per CPU. Maps keep numbers over an upgrade, so new ones come last. */
#define STATS(X)                                                                                                              \
	X(FLOWS_LOST, "flows-lost", "flow records the ring had no room for")                                                   \
	X(FLOWS_SAMPLED_OUT, "flows-sampled-out", "flow records left out by sampling")                                         \
	X(FLOWS_WRITTEN, "flows-written", "flow records written to the ring")                                                  \
	X(ROW_MISMATCH, "row-mismatch", "closes of connections whose counter row was given to another")                        \
	X(SLOT_MISMATCH, "slot-mismatch", "closes of connections whose endpoint slot was given to another")                    \
	X(REASON_TABLE_FULL, "reason-table-full", "reasons counted without source and service for want of a row")              \
	X(DRAINED, "drained", "connections closed because their endpoint had left, after the time for draining")               \
	X(POLICY_CHANGED, "policy-changed", "connections closed because a change of policy denies them")                       \
	X(AUDIT_KEPT, "audit-kept", "connections that a change of policy would have closed, but for audit mode")               \
	X(NOT_DESTROYED, "not-destroyed", "connections that the kernel refused to close for one of these causes")               \
	X(EJECTIONS, "ejections", "endpoints taken out of rotation for errors in a row, or for a failed probe")                \
	X(EJECTIONS_CAPPED, "ejections-capped", "endpoints that were not ejected, for maxEjectionPercent of their target are") \
	X(PROBES, "ejection-probes", "connections that were to find out whether an ejected endpoint works again")              \
	X(CLAIM_RETRIES, "claim-retries", "connections that chose again: others had taken the last room, or the probe")        \
	X(SERVED_UNCOUNTED, "served-uncounted", "accepted connections that no table had room for: they do not count for maxConnections") \
	X(EDGE_EVICTED, "edge-evicted", "connections without a local socket that had to make room for others")                 \
	X(EDGE_EXPIRED, "edge-expired", "connections without a local socket that were forgotten after silence")                \
	X(EDGE_CLASHES, "edge-clashes", "connections without a local socket whose endpoint was connected to the client's port by another way") \
	X(EDGE_REDIRECTS, "edge-redirects", "ICMP redirects that would have told a client of an endpoint's address: dropped")   \
	X(RECONNECTS, "reconnects", "connects on a socket whose last connect() never got as far as a SYN")                     \
	X(HANDOVERS_LOST, "handovers-lost", "connections that weft-proxy was not told of, for want of memory: it closes them")   \
	X(CLIENTS_UNSHOWN, "clients-unshown", "connections that applications see come from weft-proxy, not from its client, for want of memory") \
	X(PASSED_UNNOTED, "passed-unnoted", "connections out of the mesh that a change of its egressFilter will not close, for want of memory")

enum statistic {
#define X(symbol, name, text) STAT_##symbol,
	STATS(X)
#undef X
	STAT_COUNT,
};

/* sampling: each CPU's own window. */
struct sampling {
	__u64 window_start_ns;
	__u32 seen; /* closes in this window */
	__u32 one_in; /* in force in this window, from what the last one saw */
};
WEFT_SIZE(struct sampling, 16);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_stat, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, STAT_COUNT, 0);
WEFT_MAP(w_sampling, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct sampling, 1, 0);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, FLOW_RING_BYTES);
} w_flow __weak SEC(".maps");
#endif
