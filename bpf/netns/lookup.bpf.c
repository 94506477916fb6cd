// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Where a packet for a listener comes into a namespace. A program of this kind cannot tell which namespace that is, so each has its own,
 * with a constant. It cannot see the packet either: what is no SYN and belongs to no connection is looked at as well, and refused
 * where the listener is full. The kernel would answer it with a reset anyway, but it is counted as if it were a SYN. */
#include "bpf/lib/serving.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 own_netns_cookie;

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	const __be16 port = bpf_htons(ctx->local_port);
	const struct ip address = ip_local_of(ctx);
	struct serving *serving;
	__u32 place;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	serving = serving_of(own_netns_cookie, &address, port, &place);
	if (!serving || serving_has_room(serving, bpf_ktime_get_ns()))
		return SK_PASS;
	ADD(serving->refused, 1);
	count_reason(0, serving->node, REASON_OVER_MAX_CONNECTIONS);
	return SK_DROP; /* a reset: inet_lookup_run_sk_lookup() makes it ECONNREFUSED */
}
