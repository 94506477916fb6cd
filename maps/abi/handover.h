/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Connections that are handed to weft-proxy, for each of their requests is to be routed (ROUTE_L7). connect() sends them to where it
 * listens in the caller's own namespace; which connection that is, and what it asked for, is told by its local end, before the SYN goes. */
#pragma once

#include "types.h"

#define PROXY_OUTBOUND_PORT 15001 /* 127.0.0.1 for connections to IPv4 services, ::1 for those to IPv6 ones. No workload may bind it */

/* proxy_place: where weft-proxy listens, by netns cookie -> the families there. Written by weft-proxy alone. A connection that is to be
 * handed over where it does not, or while its heartbeat (maps/abi/proxy.h) is old, is refused. */
#define PROXY_PLACE_V4 1u /* 127.0.0.1 */
#define PROXY_PLACE_V6 2u /* ::1 */
#define PROXY_PLACE_TAKEN_V4 4u /* another program has the port there */
#define PROXY_PLACE_TAKEN_V6 8u

/* handover: by what weft-proxy sees of a connection as its peer. Written by the kernel as the connection begins, and taken away as it ends at
 * its program: until then weft-proxy, and whoever asks a socket of weft-proxy's for SO_ORIGINAL_DST, finds it here. */
struct handover_key {
	__u64 netns_cookie;
	struct ip address; /* of the caller's socket */
	__be16 port;
	__u8 pad[6];
};
WEFT_SIZE(struct handover_key, 32);

struct handover {
	__u64 generation; /* that it was decided by */
	__u64 socket_cookie;
	struct ip destination; /* what the program asked for: a VIP */
	__u32 source; /* object ids: the caller's virtual node, the service */
	__u32 service;
	__be16 port; /* asked for */
	__u8 audit; /* the service is none of the caller's backends, and passes because the mesh is in audit mode */
	__u8 pad[5];
};
WEFT_SIZE(struct handover, 48);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_proxy_place, BPF_MAP_TYPE_HASH, __u64, __u32, MAX_OWNERS, BPF_F_NO_PREALLOC);
/* As many as there are accounts, so that no workload can take the room of others here that it could not take there. */
WEFT_MAP(w_handover, BPF_MAP_TYPE_HASH, struct handover_key, struct handover, MAX_ACCOUNTS, BPF_F_NO_PREALLOC);
#endif
