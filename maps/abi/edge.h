/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Connections that begin where this host has no socket: clients on other hosts that reach an exposed service, and workloads behind a
 * device of their own. The programs at the devices decide their first packet, and rewrite all others by this table.
 *
 *   client:port -> asked      becomes   client:inner_port -> endpoint     as it comes in by the device
 *   endpoint -> client:inner_port   becomes   asked -> client:port        as it goes out by the device
 *
 * and where the endpoint is reached by a device that services are exposed on, so that its answers would find the client by another
 * way, also
 *
 *   client:inner_port -> endpoint   becomes   masquerade -> endpoint      as it goes out
 *   endpoint -> masquerade          becomes   endpoint -> client:inner_port   as it comes in */
#pragma once

#include "account.h"
#include "limits.h"
#include "record.h"
#include "types.h"

/* exposed: which address stands for which service. Written by the agent. */
struct exposed_key {
	struct ip address;
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct exposed_key, 24);

struct exposed {
	struct ip vip; /* of the service, in the address's family */
	__u32 node; /* object id of the source that stands for clients from outside in this mesh */
	__be16 port; /* of the service */
	__u16 pad;
};
WEFT_SIZE(struct exposed, 24);

/* edge_device: by index. Written by the agent. */
struct edge_device {
	struct ip masquerade[LIST_COUNT]; /* this host's address there, for endpoints behind the device; all zero: it has none */
	__u32 node; /* object id: what comes in is this node's. 0: services are exposed here */
	__u32 pad;
};
WEFT_SIZE(struct edge_device, 40);

/* edge_pair: the two ends of a connection as some packets show them, always in the same order, so that both directions have one key
 * -> place in w_edge. */
struct edge_pair {
	struct ip address[2];
	__be16 port[2];
	__u32 pad;
};
WEFT_SIZE(struct edge_pair, 40);

/* X(symbol, how long without a packet before the entry may go, what its packets have told). In order: when the table is full an entry
 * goes before one of a state further down. */
#define EDGE_STATES(X)                                                                                                        \
	X(CLOSED, 30 * 1000000000ull, "ended, and counted: late packets still find their way")                                 \
	X(CLOSING, 30 * 1000000000ull, "both sides have sent their FIN")                                                       \
	X(SYN_SENT, 10 * 1000000000ull, "the client asked, the endpoint has not answered")                                     \
	X(SYN_ANSWERED, 30 * 1000000000ull, "the endpoint answered, the client has not confirmed")                             \
	X(HALF_CLOSED, 3600 * 1000000000ull, "one side has sent its FIN")                                                      \
	X(ESTABLISHED, 6 * 3600 * 1000000000ull, "")

enum edge_state {
	EDGE_FREE, /* as the table begins */
	EDGE_BUSY, /* whoever made it so is taking the entry apart, or filling it */
#define X(symbol, idle_ns, text) EDGE_##symbol,
	EDGE_STATES(X)
#undef X
};
#define EDGE_EVICT_IDLE_NS (60 * 1000000000ull) /* a live connection that is quiet for so long goes when the table is full */

#define EDGE_HOLDER 1 /* of an account here: its place is its own for as long as the incarnation stays */

#define EDGE_EXPOSED 1u /* else by an attached device */
#define EDGE_CLIENT_FIN 2u
#define EDGE_ENDPOINT_FIN 4u
#define EDGE_CLASH 8u /* the endpoint knows its ends already: see edge_clashes() */

struct edge_connection {
	__u32 state; /* enum edge_state */
	__u32 incarnation; /* raised with each use of the place: who reads a changing entry sees it by this */
	struct account account; /* `vip` is what was asked for, `address` the endpoint */
	struct ip client;
	struct ip masquerade;
	__u64 seen_ns;
	__u64 bytes_sent; /* acknowledged by the endpoint, its acknowledgement of a FIN included */
	__u64 bytes_received; /* by the client, likewise */
	/* Sequence numbers, host order: the highest one sent, and up to where it was acknowledged. */
	__u32 sent_end, sent_acked;
	__u32 received_end, received_acked;
	__u32 retransmits; /* by the client */
	__u32 flags; /* EDGE_* */
	__be16 client_port;
	__be16 inner_port; /* the client's as the endpoint sees it: another one where two connections would look the same */
	__be16 masquerade_port; /* 0: none, or not yet */
	__be16 service_port;
};
WEFT_SIZE(struct edge_connection, 232);

/* Where the search for a free place goes on. */
struct edge_hand {
	__u32 next;
	__u32 carried; /* by the loader: the map that w_edge was copied from last (former_account.edge_waits) */
};
WEFT_SIZE(struct edge_hand, 8);

/* Context of the SEC("syscall") program edge_sweep, which ends what was silent for too long. */
struct edge_sweep {
	__u64 now_ns; /* CLOCK_MONOTONIC */
	__u32 entries; /* out: how many places are in use */
	__u32 ended; /* out: how many were let go */
};
WEFT_SIZE(struct edge_sweep, 16);

#ifdef __bpf__
WEFT_MAP(w_exposed, BPF_MAP_TYPE_HASH, struct exposed_key, struct exposed, MAX_EXPOSED, BPF_F_NO_PREALLOC);
WEFT_MAP(w_edge_device, BPF_MAP_TYPE_HASH, __u32, struct edge_device, MAX_EDGE_DEVICES, BPF_F_NO_PREALLOC);
WEFT_MAP(w_edge_pair, BPF_MAP_TYPE_HASH, struct edge_pair, __u32, 3 * MAX_EDGE_CONNECTIONS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_edge, BPF_MAP_TYPE_ARRAY, __u32, struct edge_connection, MAX_EDGE_CONNECTIONS, BPF_F_MMAPABLE);
WEFT_MAP(w_edge_hand, BPF_MAP_TYPE_ARRAY, __u32, struct edge_hand, 1, 0);
#endif
