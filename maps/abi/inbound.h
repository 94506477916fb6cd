/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Listeners of workloads that weft-proxy serves in the place of the application: what comes in for such an address and port is given to the
 * socket on which weft-proxy listens in that namespace, whatever address that is bound to. It sees the client by getpeername(), and what
 * the client asked for by getsockname(). From there it connects to that same address and port for the application: its own way in,
 * which is told before it is taken, and which is all that gets to the application.
 *
 * The application is shown the client that weft-proxy names for a connection, by accept() and getpeername(). A limit on connections
 * (maps/abi/serving.h) counts them where the application has them: those of weft-proxy, and not again what weft-proxy accepts. */
#pragma once

#include "serving.h"
#include "types.h"

/* intercept: by struct serving_key, whose rules for addresses hold here. Written by the agent. */
struct intercept {
	__u32 node; /* object id of the virtual node that serves */
	__u16 listener; /* the port of its listener: an instance may have been registered with another one */
	__u16 pad;
};
WEFT_SIZE(struct intercept, 8);

/* inbound: listening sockets of weft-proxy, which puts them there. A socket leaves when it is closed by all who have it. Where there is
 * none, or weft-proxy does not beat (maps/abi/proxy.h), what comes in is refused: proxy-down. */
struct inbound_key {
	__u64 netns_cookie;
	__u32 family; /* AF_INET or AF_INET6: of packets, not of the socket */
	__u32 pad;
};
WEFT_SIZE(struct inbound_key, 16);

#define WAY_MAX_NS 30000000000ull /* weft-proxy gives up to connect before that */

/* way: a connection of weft-proxy, or of the agent's health checks, to an application, by its own end, to which its socket is bound already,
 * alone. Written by them before they connect; taken away by the kernel when the application's side is established, else by who wrote it,
 * before the socket is closed and its port another's. Means nothing when it is older than WAY_MAX_NS. */
struct proxy_way_key {
	__u64 netns_cookie;
	struct ip address;
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct proxy_way_key, 32);

struct proxy_way {
	__u64 since_ns; /* CLOCK_MONOTONIC */
	struct ip client; /* shown to the application as its peer */
	__be16 client_port; /* 0: none, it sees weft-proxy's own end */
	__u8 pad[6];
};
WEFT_SIZE(struct proxy_way, 32);

/* real_peer: what the application is shown, by the cookie of the socket it has accepted. */
struct real_peer {
	struct ip address;
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct real_peer, 24);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_intercept, BPF_MAP_TYPE_HASH, struct serving_key, struct intercept, MAX_SERVINGS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_way, BPF_MAP_TYPE_HASH, struct proxy_way_key, struct proxy_way, MAX_WAYS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_real_peer, BPF_MAP_TYPE_HASH, __u64 /* socket cookie */, struct real_peer, MAX_ACCOUNTS, BPF_F_NO_PREALLOC);
struct { /* of struct inbound_key; the kernel keeps no types for a map of sockets */
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2 * MAX_OWNERS);
	__uint(key_size, sizeof(struct inbound_key));
	__uint(value_size, sizeof(__u64));
} w_inbound __weak SEC(".maps");
#endif
