/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What the kernel keeps with one endpoint {virtual node, address, port, protocol}. The slot outlives generations, so a
 * flapping endpoint consumes none. The agent alone writes `incarnation` and `health`; the kernel alone writes the rest,
 * but for the agent's correction of `open` after a restart. */
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
	__u64 open; /* connections held: taken in connect4/6, released exactly once */
	__u64 connects; /* established */
	__u64 failures; /* never established */
	__u64 resets; /* established, then reset by the peer */
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 reserved[9]; /* limits and ejection come here; two cache lines, so that neighbours do not share one */
};
WEFT_SIZE(struct endpoint, 128);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_endpoint, BPF_MAP_TYPE_ARRAY, __u32, struct endpoint, MAX_ENDPOINTS, BPF_F_MMAPABLE);
#endif
