/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who asks: the socket's namespace, or where several act in one namespace the process's cgroup or an ancestor of it. */
#pragma once

#include "bpf.h"
#include "maps/abi/config.h"
#include "maps/abi/identity.h"
#include "maps/abi/proxy.h"

#define SHALLOW_CGROUPS 8

/* Of the depths from `most` down to `least` that hold workloads. Depths are counted down, since each is a constant to the verifier then;
 * a search for the next bit that is set has it look at ten times as many states. */
static __always_inline const struct owner *owner_within(__u32 depths, int most, int least, __u64 *ret_id)
{
	for (int depth = most; depth >= least; depth--) {
		if (depths & 1u << depth) {
			__u64 id = bpf_get_current_ancestor_cgroup_id(depth);
			const struct owner *owner = id ? bpf_map_lookup_elem(&w_cgroup, &id) : NULL;

			if (owner) {
				*ret_id = id;
				return owner;
			}
		}
	}
	return NULL;
}

/* What this process acts for by its cgroup, or an ancestor's, the deepest first, which `ret_id` is then. NULL: nothing. */
static __always_inline const struct owner *owner_by_cgroup(__u64 *ret_id)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	const __u32 depths = config ? READ_ONCE(config->cgroup_depths) : 0;
	const struct owner *owner = NULL;

	if (depths >> SHALLOW_CGROUPS) /* seldom */
		owner = owner_within(depths, MAX_CGROUP_DEPTH - 1, SHALLOW_CGROUPS, ret_id);
	return owner ? owner : owner_within(depths, SHALLOW_CGROUPS - 1, 0, ret_id);
}

/* The object id of the node; 0: none. */
static __always_inline __u32 identity_by_cgroup(void)
{
	__u64 id;
	const struct owner *owner = owner_by_cgroup(&id);

	return owner ? owner->node : 0;
}

/* The cgroup of weft-proxy, also one that has a successor, or of the agent where it checks health: their sockets are in workloads' namespaces,
 * and are no workload's. */
static __always_inline bool is_wefts(__u64 id)
{
	__u32 zero = 0;
	const struct proxy_state *proxy = bpf_map_lookup_elem(&w_proxy, &zero);

	return proxy && id &&
	       (READ_ONCE(proxy->cgroup_id) == id || READ_ONCE(proxy->agent_cgroup_id) == id ||
		READ_ONCE(proxy->former_cgroup_ids[0]) == id || READ_ONCE(proxy->former_cgroup_ids[1]) == id);
}

static __always_inline bool is_weft_itself(void)
{
	return is_wefts(bpf_get_current_cgroup_id());
}

/* The object id of the caller's node; 0: unmanaged, at the price of one lookup where nobody in the namespace is managed. The flags are
 * OWNER_*, of the namespace. */
static __always_inline __u32 identity(__u64 netns_cookie, __u32 *ret_flags)
{
	const struct owner *owner = bpf_map_lookup_elem(&w_netns, &netns_cookie);
	__u32 node;

	*ret_flags = owner ? owner->flags : 0;
	if (!owner)
		return 0;
	node = *ret_flags & OWNER_SHARED ? identity_by_cgroup() : owner->node;
	return node && is_weft_itself() ? 0 : node;
}
