/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Options of the instance that hooks read. Written by the agent when it starts and when workloads come and go; each member
 * is read by itself, so a change is never torn but two members may be seen a moment apart. */
#pragma once

#include "limits.h"
#include "types.h"

/* What look-ups connections are to be asked for as they come in; where there is none of it, they cost none. */
#define SERVING_LIMITED 1u /* some listener of this node has a limit on connections */
#define SERVING_PROXIED 2u /* weft-proxy serves some listener, or did: it stays, for what came by weft-proxy may be connected still */

struct config {
	WEFT_TEST_SHIFT(__u64)
	__u64 cgroup_depths; /* bit d: some workload's cgroup is at depth d below the hierarchy's root */
	struct ip vip4; /* network of IPv4 VIPs, v4-mapped */
	struct ip vip4_mask;
	struct ip vip6;
	struct ip vip6_mask;
	__be16 ignored_ports[MAX_CONFIG_PORTS]; /* 0: unused */
	__be16 reserved_ports[MAX_CONFIG_PORTS];
	__u32 flows_per_second; /* normal closes recorded in full up to this rate, by each CPU; 0: no limit */
	__u32 serving; /* SERVING_* */
	__u64 scope_id; /* of the cgroup that the instance is attached to */
	__u64 drain_ns; /* how long a connection may go on after no connect() would lead where it goes */
};
WEFT_SIZE(struct config, 160);

#ifdef __bpf__
WEFT_MAP(w_config, BPF_MAP_TYPE_ARRAY, __u32, struct config, 1, BPF_F_MMAPABLE);
#endif
