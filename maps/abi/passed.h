/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Connections that went where they asked because the mesh's egress filter let them out (allow-all, audit-not-in-mesh). They have no account,
 * and cost nothing while they are open; what a later change of the filter needs to know is kept with the socket, and goes with it, or, where
 * they have none here, by their ends. */
#pragma once

#include "limits.h"
#include "reason.h"
#include "types.h"

/* What is noted. */
static inline __attribute__((always_inline)) int passed_by_filter(enum reason reason)
{
	return reason == REASON_ALLOW_ALL || reason == REASON_AUDIT_NOT_IN_MESH;
}

/* passed: by socket. One that connects anew may have it still of an earlier connection: it is of the one at hand where the peer is the same. */
struct passed {
	__u64 connect_ns; /* CLOCK_MONOTONIC */
	__u64 generation;
	__u64 netns_cookie;
	__u64 cgroup_id; /* by which the caller acts for the node in a shared namespace; 0: its namespace does */
	__u32 source; /* object id */
	__u32 pid; /* of the caller, in the initial namespace */
	struct ip address; /* of the peer */
	__be16 port;
	__u8 reason; /* enum reason */
	__u8 audited; /* a change of policy would have closed the connection, but for audit mode: counted once */
	__u8 ended; /* by weft, which has told of it */
	__u8 pad[3];
};
WEFT_SIZE(struct passed, 64);

/* edge_passed: the same of connections from attached devices (edge.h), which have no socket here. The eldest goes where there is no room. */
struct edge_passed_key {
	struct ip client, destination;
	__be16 client_port, port;
	__u32 pad;
};
WEFT_SIZE(struct edge_passed_key, 40);

#ifdef __bpf__
WEFT_MAP(w_edge_passed, BPF_MAP_TYPE_LRU_HASH, struct edge_passed_key, struct passed, MAX_EDGE_PASSED, 0);
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct passed);
} w_passed __weak SEC(".maps");
#endif
