/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* names: what the DNS responder answers. Read by weft-proxy, written by the agent; no program of the kernel looks at it. The map
 * is pinned so that names go on while the agent is away.
 *
 * The key is hash_name() of "SCOPE\0NAME": SCOPE is "mesh/M" where all of a mesh's services have names (its egressFilter is DROP_ALL,
 * or it is in audit mode), "mesh/M/virtualNode/N" where only that node's backends do. NAME is the virtual service's name in lower case,
 * without a dot at its end. A responder asks for both scopes. */
#pragma once

#include "types.h"

struct name_key {
	__u64 hash[2];
};
WEFT_SIZE(struct name_key, 16);

/* All zero: no address of this family, since other endpoints of the service are of the other one; the answer is NODATA. A service
 * without any endpoint has both, so that the refusal has a reason. */
struct name_entry {
	struct ip vip4, vip6;
	__u32 service; /* object id */
	__u32 pad;
};
WEFT_SIZE(struct name_entry, 40);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_name, BPF_MAP_TYPE_HASH, struct name_key, struct name_entry, MAX_NAMES, BPF_F_NO_PREALLOC);
#endif
