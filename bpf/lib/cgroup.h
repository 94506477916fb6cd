/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The cgroup of a socket, where no helper tells it: in iterators. It is that of whoever made it, or its listener, and the one that the kernel
 * goes by where it runs programs of cgroups for the socket. */
#pragma once

#include "bpf.h"
#include "tcp.h"
#include "maps/abi/config.h"

struct kernfs_node {
	__u64 id;
} __attribute__((preserve_access_index));

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[0]; /* Linux 6.1 */
} __attribute__((preserve_access_index));

static __always_inline __u64 cgroup_of(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
}

/* Whether it is the cgroup that the instance is attached to, or below: programs of the instance run for no other. */
static __always_inline bool is_below_scope(const struct sock *sk)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	struct cgroup *cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup), *ancestor;
	int level;

	if (!config || !cgroup || !bpf_core_field_exists(cgroup->ancestors))
		return false;
	level = BPF_CORE_READ(cgroup, level);
	for (int i = 0; i < MAX_CGROUP_DEPTH; i++) {
		if (i > level)
			break;
		ancestor = NULL;
		bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[i]);
		if (ancestor && BPF_CORE_READ(ancestor, kn, id) == config->scope_id)
			return true;
	}
	return false;
}
