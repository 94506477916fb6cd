/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Counters of one (source node, service, target). The agent assigns rows when it compiles and writes the head; the kernel
 * adds. The connection's account carries the row and its incarnation, so counting needs no look-up and cannot be full. */
#pragma once

#include "types.h"

#define HISTOGRAM_BUCKETS 32 /* a power of two: the verifier understands a mask */

/* Bucket 0 holds up to 1.023 us, bucket i from 2^(i+9) ns up to below 2^(i+10) ns, the last one everything longer. */
static inline __attribute__((always_inline)) __u32 histogram_bucket(__u64 ns)
{
	__u64 v = ns >> 10, log2 = 0, step;

	if (!v)
		return 0;
	/* The bit length in halves. Without branches: the verifier would walk both ways of each. `v` is below 2^54, so the
	 * difference is negative, its top bit set, just when v is above the limit. */
#define HALF(bits)                                                                                                            \
	step = (((1ull << (bits)) - 1 - v) >> 63) * (bits);                                                                    \
	v >>= step;                                                                                                            \
	log2 += step
	HALF(32);
	HALF(16);
	HALF(8);
	HALF(4);
	HALF(2);
	HALF(1);
#undef HALF
	return log2 + 1 < HISTOGRAM_BUCKETS ? log2 + 1 : HISTOGRAM_BUCKETS - 1;
}

struct row {
	__u32 incarnation; /* odd while in use; raised when the row is freed, after it was folded into the totals */
	__u32 source; /* object ids; 0 in a free row */
	__u32 service;
	__u32 target;
	WEFT_TEST_SHIFT(__u64)
	__u64 attempts; /* decided to be routed */
	__u64 open;
	__u64 established;
	__u64 refused; /* failures by kind: peer answered RST */
	__u64 timed_out;
	__u64 unreachable; /* an ICMP error, no route, no address to send from */
	__u64 abandoned; /* closed by the caller before it was established, or before anything was sent */
	__u64 failed_other;
	__u64 closed; /* established, now closed, for whatever cause */
	__u64 reset_by_peer;
	__u64 aborted; /* established, then ended here by a reset, a time-out or a destroyed socket */
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 retransmits;
	__u64 rtt_us_sum; /* smoothed RTT at close; mean = rtt_us_sum / closed */
	__u64 connect_ns_sum;
	__u64 connect_ns[HISTOGRAM_BUCKETS]; /* connect() to established */
	__u64 duration_ns[HISTOGRAM_BUCKETS]; /* established to closed */
};
WEFT_SIZE(struct row, 16 + 16 * 8 + 2 * HISTOGRAM_BUCKETS * 8);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_row, BPF_MAP_TYPE_ARRAY, __u32, struct row, DEFAULT_ROWS, BPF_F_MMAPABLE);
#endif
