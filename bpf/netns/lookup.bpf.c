// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Where a packet for a listener comes into a namespace. A program of this kind cannot tell which namespace that is, so each has its own,
 * with a constant. It cannot see the packet either: what is no SYN and belongs to no connection is looked at as well, and refused
 * where the listener is full. The kernel would answer it with a reset anyway, but it is counted as if it were a SYN. */
#include "bpf/lib/serving.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 own_netns_cookie;

/* Whoever can send packets makes these records: beyond a rate they are sampled, as normal closes are. */
static __always_inline void record_refusal(struct bpf_sk_lookup *ctx, const struct serving *serving, const struct ip *address, __be16 port,
					   __u64 now_ns)
{
	const __u32 one_in = sample(now_ns);

	if (!one_in) {
		count_stat(STAT_FLOWS_SAMPLED_OUT);
		return;
	}
	record_write(&(struct flow_record){
		.end_ns = now_ns,
		.netns_cookie = own_netns_cookie,
		.service = serving->node,
		.sampled_one_in = one_in,
		.asked = *address,
		.address = ip_remote_of(ctx),
		.asked_port = port,
		.port = ctx->remote_port,
		.reason = REASON_OVER_MAX_CONNECTIONS,
		.close = FLOW_REFUSED_HERE,
		.error = ECONNREFUSED,
		.ip_protocol = IPPROTO_TCP,
	});
}

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	const __be16 port = bpf_htons(ctx->local_port);
	const struct ip address = ip_local_of(ctx);
	const __u64 now_ns = bpf_ktime_get_ns();
	struct serving *serving;
	__u32 place;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	serving = serving_of(own_netns_cookie, &address, port, &place);
	if (!serving || serving_has_room(serving, now_ns))
		return SK_PASS;
	ADD(serving->refused, 1);
	count_reason(0, serving->node, REASON_OVER_MAX_CONNECTIONS);
	record_refusal(ctx, serving, &address, port, now_ns);
	return SK_DROP; /* a reset: inet_lookup_run_sk_lookup() makes it ECONNREFUSED */
}
