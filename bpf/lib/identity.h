/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who asks: the socket's namespace, or where several act in one namespace the process's cgroup or an ancestor of it. */
#pragma once

#include "bpf.h"
#include "maps/abi/config.h"
#include "maps/abi/identity.h"
#include "maps/abi/proxy.h"

/* The highest bit that is set; 0 where none is. Without branches, for the verifier's sake. */
static __always_inline __u32 highest_bit(__u32 word)
{
	__u32 bit = (word > 0xffff) << 4, step;

	word >>= bit;
	step = (word > 0xff) << 3;
	word >>= step;
	bit |= step;
	step = (word > 0xf) << 2;
	word >>= step;
	bit |= step;
	step = (word > 3) << 1;
	word >>= step;
	bit |= step;
	return bit | word >> 1;
}

/* What this process acts for by its cgroup, or an ancestor's, the deepest first, which `ret_id` is then. NULL: nothing. */
static __always_inline const struct owner *owner_by_cgroup(__u64 *ret_id)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	__u32 depths = config ? READ_ONCE(config->cgroup_depths) : 0;

	for (int i = 0; i < MAX_CGROUP_DEPTH && depths; i++) {
		const __u32 depth = highest_bit(depths);
		__u64 id = bpf_get_current_ancestor_cgroup_id(depth);
		const struct owner *owner = id ? bpf_map_lookup_elem(&w_cgroup, &id) : NULL;

		if (owner) {
			*ret_id = id;
			return owner;
		}
		depths &= ~(1u << depth);
	}
	return NULL;
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
