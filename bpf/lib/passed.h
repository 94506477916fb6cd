/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is known of connections that the egress filter let out of the mesh, and whether they may go on after a change (maps/abi/passed.h). */
#pragma once

#include "count.h"
#include "identity.h"
#include "policy.h"
#include "tcp.h"
#include "maps/abi/account.h"
#include "maps/abi/passed.h"

/* Whether the caller acts for that node still: ids of nodes that nobody acts for may be another's by now. */
static __always_inline bool passed_is_owned(const struct passed *p)
{
	const __u64 netns_cookie = p->netns_cookie, cgroup_id = p->cgroup_id;
	const struct owner *owner = cgroup_id ? bpf_map_lookup_elem(&w_cgroup, &cgroup_id) : bpf_map_lookup_elem(&w_netns, &netns_cookie);

	return owner && owner->node == p->source;
}

/* What connect() would decide now, but for ports of HTTP backends: what went past weft-proxy may not stay where it would get nothing else.
 * `ret_audited` is set where it would be denied, but for audit mode. */
static __always_inline enum standing passed_standing(const struct passed *p, __u64 now_ns, bool *ret_audited)
{
	const struct flow flow = { .destination = p->address, .netns_cookie = p->netns_cookie, .port = p->port, .is_tcp = 1 };
	const struct node_record *node = directory_node(generation_current(), p->source);
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	enum reason reason;

	if (!node || !config)
		return STANDING_GOOD;
	reason = policy_filter(node);
	if (reason == REASON_ALLOW_ALL || policy_exempt(&flow, config, now_ns) != REASON_UNMANAGED)
		return STANDING_GOOD;
	*ret_audited = reason == REASON_AUDIT_NOT_IN_MESH;
	return *ret_audited ? STANDING_GOOD : STANDING_DENIED;
}

/* The record of its end, as far as that is known without a socket. */
static __always_inline struct flow_record passed_end(const struct passed *p, __u64 now_ns)
{
	return (struct flow_record){
		.end_ns = now_ns,
		.duration_ns = now_ns - p->connect_ns,
		.generation = p->generation,
		.netns_cookie = p->netns_cookie,
		.pid = p->pid,
		.source = p->source,
		.sampled_one_in = 1,
		.asked = p->address,
		.address = p->address,
		.asked_port = p->port,
		.port = p->port,
		.reason = p->reason,
		.close = FLOW_POLICY_CHANGED,
		.ip_protocol = IPPROTO_TCP,
	};
}

/* Whether the socket is connected, or connecting, to the peer that was noted. */
static __always_inline bool passed_is_of(const struct passed *p, const struct sock_common *sk)
{
	const __u8 state = sk->skc_state;

	if (state == BPF_TCP_CLOSE || state == BPF_TCP_LISTEN || sk->skc_dport != p->port)
		return false;
	if (ip_is_v4(&p->address))
		return sk->skc_daddr == p->address.words[3];
	return sk->skc_v6_daddr.halves[0] == p->address.halves[0] && sk->skc_v6_daddr.halves[1] == p->address.halves[1];
}
