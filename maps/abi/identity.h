/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Names to ids: who asks, and what was asked for. These maps only translate. An entry is added before the commit that
 * needs it and removed after the last directory naming its id has left the ring; it means nothing where that slot is empty. */
#pragma once

#include "types.h"

#define OWNER_SHARED 1u /* several act in this namespace: ask the cgroup */
#define OWNER_FOREIGN 2u /* of a namespace: another proxy's rules redirect connections there (agent/identity/redirects.h) */

/* netns, cgroup: who a process in this namespace (by cookie), or in this cgroup or below (by id), acts for. */
struct owner {
	WEFT_TEST_SHIFT(__u64)
	__u32 node; /* object id; 0 with OWNER_SHARED */
	__u32 flags; /* OWNER_* */
};
WEFT_SIZE(struct owner, 8);

/* own_address: addresses of managed namespaces, kept by netlink. exempt: see below. */
struct netns_address {
	__u64 netns_cookie;
	struct ip address;
};
WEFT_SIZE(struct netns_address, 24);

/* exempt: destinations that are never refused, to all (cookie 0), or to the namespace whose resolver answered with them: what one
 * workload's resolv.conf leads to opens no door for another. */
struct exemption {
	__u64 until_ns; /* CLOCK_MONOTONIC; 0: for good */
	__u32 reason; /* REASON_IGNORED_IP or REASON_AWS_ADDRESS */
	__u32 pad;
};
WEFT_SIZE(struct exemption, 16);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_vip, BPF_MAP_TYPE_HASH, struct ip, __u32, MAX_VIPS, BPF_F_NO_PREALLOC); /* -> service's object id */
WEFT_MAP(w_netns, BPF_MAP_TYPE_HASH, __u64, struct owner, MAX_OWNERS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_cgroup, BPF_MAP_TYPE_HASH, __u64, struct owner, MAX_OWNERS, BPF_F_NO_PREALLOC);
WEFT_MAP(w_own_address, BPF_MAP_TYPE_HASH, struct netns_address, __u8, MAX_OWN_ADDRESSES, BPF_F_NO_PREALLOC);
WEFT_MAP(w_exempt, BPF_MAP_TYPE_HASH, struct netns_address, struct exemption, MAX_EXEMPT, BPF_F_NO_PREALLOC);
#endif
