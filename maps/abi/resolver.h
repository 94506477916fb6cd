/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Where the hooks send queries of workloads, and back. Written by weft-proxy alone, once its sockets are open.
 *
 * Each (namespace, node, resolver) has an address of its own on the loopback interface of the namespace, so the socket that a query
 * arrives at says who asks and whom: 127.53.x.y port DNS_PORT for IPv4 resolvers, ::1 with one of DNS_PORTS ports from
 * DNS_PORT on for IPv6 ones. (A UDP socket has no source port yet when it connects, so nothing else could tell.) Processes of
 * workloads may not bind these ports. */
#pragma once

#include "types.h"

#define DNS_PORT 15053
#define DNS_PORTS 8
#define DNS_PROBE_ADDRESS 0x7f35ffffu /* 127.53.255.255, host order: nobody's; `weft doctor` connects there to see what getpeername() shows */

/* resolver: what a workload's query was addressed to (port 53) -> where it goes. Port 0, where nobody can be bound: the responder could
 * have no sockets for it. */
struct resolver_key {
	__u64 netns_cookie;
	__u32 node; /* object id */
	__u32 pad;
	struct ip address;
};
WEFT_SIZE(struct resolver_key, 32);

struct resolver {
	struct ip address;
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct resolver, 24);

/* asked: the way back -> the resolver whose address the program is shown, with port 53. */
struct asked_key {
	__u64 netns_cookie;
	struct ip address;
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct asked_key, 32);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_resolver, BPF_MAP_TYPE_HASH, struct resolver_key, struct resolver, MAX_RESOLVERS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_asked, BPF_MAP_TYPE_HASH, struct asked_key, struct ip, MAX_RESOLVERS, BPF_F_NO_PREALLOC);
#endif
