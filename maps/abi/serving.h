/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Listeners on this node that have a limit on connections (App Mesh API, connectionPool of a virtual node's listener), and what is
 * counted of each where connections come in. Counted are those that were established, until their socket closes, and
 * handshakes that are under way. */
#pragma once

#include "limits.h"
#include "types.h"

/* serving: which listener a local address and port are. */
struct serving_key {
	__u64 netns_cookie;
	struct ip address; /* all zero: every address of the namespace, but loopback ones */
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct serving_key, 32);

/* How long a handshake holds a place at most, and at least half as long: what becomes of one that is not completed is told by nobody. */
#define HANDSHAKE_WINDOW_NS 2000000000ull

/* The agent alone writes the first three words, and corrects `open`; the kernel alone writes the rest. */
struct serving {
	__u32 incarnation; /* odd while in use; raised when it is freed */
	__u32 max_connections; /* 0: none is refused */
	__u32 node; /* object id of the virtual node that serves */
	__u32 pad;
	__u64 open; /* established, and not closed */
	/* Handshakes that began in a window of HANDSHAKE_WINDOW_NS and are not completed: its number modulo 2^32 in the upper half,
	 * how many in the lower one. Windows take turns; one that is neither the current nor the last one counts no more. */
	__u64 handshakes[2];
	__u64 accepted; /* established, ever */
	__u64 refused; /* packets for the listener that were answered with a reset: SYNs, but for what is said in lookup.bpf.c */
	__u64 reserved;
};
WEFT_SIZE(struct serving, 64);

/* served: what an accepted socket has a place in, by its cookie. Whoever removes the entry gives the place back. */
struct served {
	__u32 place; /* in w_serving_place */
	__u32 incarnation;
};
WEFT_SIZE(struct served, 8);

/* By iter_earlier, for each accepted socket of a listener with a limit that has no place in it yet, wherever it came from. */
enum earlier_outcome {
	EARLIER_KNOWN, /* it has: this is not told */
	EARLIER_COUNTED,
	EARLIER_UNCOUNTABLE, /* the kernel could not tell of its end, or there is no room */
};
struct earlier_connection {
	__u32 place;
	__u32 outcome; /* enum earlier_outcome */
};
WEFT_SIZE(struct earlier_connection, 8);

#ifdef __bpf__
WEFT_MAP(w_serving, BPF_MAP_TYPE_HASH, struct serving_key, __u32 /* place */, MAX_SERVINGS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_serving_place, BPF_MAP_TYPE_ARRAY, __u32, struct serving, MAX_SERVINGS, BPF_F_MMAPABLE);
WEFT_MAP(w_served, BPF_MAP_TYPE_HASH, __u64 /* socket cookie */, struct served, MAX_ACCOUNTS, BPF_F_NO_PREALLOC);
#endif
