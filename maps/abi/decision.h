/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What decide() takes and gives, and the context of the program that runs it for tests and `weft explain`. */
#pragma once

#include "reason.h"
#include "types.h"

/* One connect() as the mesh sees it. */
struct flow {
	struct ip destination;
	__u64 netns_cookie;
	__u64 generation; /* 0: the current one */
	__u32 node; /* object id of the caller's virtual node */
	__be16 port;
	__u8 is_tcp;
	__u8 flags; /* FLOW_* */
};
WEFT_SIZE(struct flow, 40);

#define FLOW_NO_SOCKET 1u /* of this host: seen by its packets alone, it cannot be handed to weft-proxy */
#define FLOW_FOREIGN 2u /* its namespace has OWNER_FOREIGN */

/* All randomness of a decision. */
struct draw {
	__u32 target;
	__u32 zone;
	__u32 first; /* endpoints of the zone */
	__u32 second;
};
WEFT_SIZE(struct draw, 16);

struct decision {
	struct ip address;
	__u64 generation;
	__u32 reason; /* enum reason; its verdict is reason_verdict() */
	__u32 service; /* object ids; 0: not that far */
	__u32 target;
	__u32 row; /* ACCOUNT_NONE, and the slot as well: handed to weft-proxy */
	__u32 row_incarnation;
	__u32 slot;
	__u32 slot_incarnation;
	__be16 port;
	__u8 flags; /* DECISION_* */
	__u8 target_index; /* in the route */
	__u32 max_connections; /* of this node to the endpoint; 0: no limit */
	__u32 pad;
};
WEFT_SIZE(struct decision, 64);

#define DECISION_L7_AS_L4 1u
#define DECISION_PANIC 2u /* also told by the reason, unless that is audit-not-a-backend */
#define DECISION_AUDIT 4u
#define DECISION_PROBE 8u /* the endpoint's ejection is over: one connection is to find out whether it works again */
#define DECISION_PROXIED 16u /* handed to weft-proxy; also told by the reason, with the same exception */

/* Context of the SEC("syscall") program `explain`. */
struct explain {
	struct flow flow;
	struct draw draw; /* used when `count` is 0: one decision with exactly this draw */
	__u64 now_ns; /* when it is; 0: now */
	__u32 count; /* else this many decisions with draws of the kernel's own, counted in w_explain */
	__u32 pad;
	struct decision decision; /* out: the last one */
};
WEFT_SIZE(struct explain, 136);

/* explain: the distribution over `count` decisions. Emptied by whoever asks, before it asks. */
struct explain_key {
	__u32 reason;
	__u32 target;
	__u32 slot;
	__u32 pad;
};
WEFT_SIZE(struct explain_key, 16);

#ifdef __bpf__
WEFT_MAP(w_explain, BPF_MAP_TYPE_HASH, struct explain_key, __u64, 4096, 0);
#endif
