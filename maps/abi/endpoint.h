/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What the kernel keeps with one endpoint {virtual node, address, port, protocol}. The slot outlives generations, so a
 * flapping endpoint consumes none. The agent alone writes `incarnation`, `health` and `gone`; the kernel alone writes the rest,
 * but for the agent's correction of `open` after a restart, and its end of an ejection. weft-proxy reads health and ejection, and ejects
 * and readmits by the same rules (bpf/lib/eject.h); its own connections are not among `open`. What it counts it adds each second. */
#pragma once

#include "types.h"

enum health {
	HEALTH_UNCHECKED, /* no active check is configured or supported: used */
	HEALTH_UP,
	HEALTH_DOWN,
	HEALTH_PENDING, /* no result yet: not used, as if it were down */
};

struct endpoint {
	__u32 incarnation; /* odd while in use; raised when the slot is freed */
	__u32 health; /* enum health */
	WEFT_TEST_SHIFT(__u64)
	__u64 open; /* connections held: taken in connect4/6, released exactly once */
	__u64 connects; /* established */
	__u64 failures; /* never established */
	__u64 resets; /* established, then reset by the peer */
	__u64 bytes_sent;
	__u64 bytes_received;
	/* Ejection by outlier detection. CLOCK_MONOTONIC; 0: none. In the past: the next connection is the probe, and moves it on. */
	__u64 ejected_until_ns;
	__u64 ejected_for_ns; /* how long the last ejection is, and the wait for a probe's outcome */
	__u64 readmitted_ns; /* when the last one ended */
	__u32 ejections; /* that there were */
	__u32 ejection_factor; /* of the last one: as many times the base */
	__u32 connect_errors; /* failures to connect since the last that did */
	__u32 reset_errors; /* resets before the first byte of an answer, since the last connection that ended otherwise */
	__u32 gone; /* in no list of the current directory, as the agent saw it last: who is connected drains */
	__u32 http_errors; /* answers of 5xx, or none, since the last other one; written by weft-proxy alone */
	__u64 requests WEFT_MAY_DROP; /* sent to it by weft-proxy: each try is one */
	__u64 request_failures WEFT_MAY_DROP; /* of these, answered with 5xx, or not at all */
	__u64 reserved[1]; /* two cache lines, so that neighbours do not share one; what each decision reads is in the first */
};
WEFT_SIZE(struct endpoint, 128);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_endpoint, BPF_MAP_TYPE_ARRAY, __u32, struct endpoint, DEFAULT_ENDPOINTS, BPF_F_MMAPABLE);
#endif
