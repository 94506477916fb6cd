// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Where a packet for a listener comes into a namespace: to weft-proxy where it serves the listener, and refused where the listener is
 * full. A program of this kind cannot tell which namespace that is, so each has its own, with a constant. It cannot see the packet
 * either: what is no SYN and belongs to no connection is looked at as well, and gets a reset from whatever it comes to. Where that is
 * refused here, it is counted as if it were a SYN. */
#include "bpf/lib/inbound.h"
#include "bpf/lib/proxy.h"
#include "bpf/lib/serving.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 own_netns_cookie;

enum { LOOKUP_REFUSE = SK_DROP }; /* a reset: inet_lookup_run_sk_lookup() makes it ECONNREFUSED */

struct end {
	struct ip address;
	__be16 port;
};

/* Whoever can send packets makes these records: beyond a rate they are sampled, as normal closes are. */
static __always_inline int refuse(struct bpf_sk_lookup *ctx, __u32 node, const struct ip *address, const struct end *who,
				  __u64 now_ns, enum reason reason)
{
	const __u32 one_in = sample(now_ns);

	count_reason(0, node, reason);
	if (!one_in) {
		count_stat(STAT_FLOWS_SAMPLED_OUT);
		return LOOKUP_REFUSE;
	}
	record_write(&(struct flow_record){
		.end_ns = now_ns,
		.netns_cookie = own_netns_cookie,
		.service = node,
		.sampled_one_in = one_in,
		.asked = *address,
		.address = who->address,
		.asked_port = bpf_htons(ctx->local_port),
		.port = who->port,
		.reason = reason,
		.close = FLOW_REFUSED_HERE,
		.error = ECONNREFUSED,
		.ip_protocol = IPPROTO_TCP,
	});
	return LOOKUP_REFUSE;
}

/* Gives the packet to weft-proxy. False: it is not there. */
static __always_inline bool give(struct bpf_sk_lookup *ctx, __u64 now_ns)
{
	const struct inbound_key key = { .netns_cookie = own_netns_cookie, .family = ctx->family };
	struct bpf_sock *sk;
	long r;

	if (!proxy_is_alive(now_ns))
		return false;
	sk = bpf_map_lookup_elem(&w_inbound, &key);
	if (!sk)
		return false;
	r = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_REPLACE);
	bpf_sk_release(sk);
	return r == 0;
}

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	const __be16 port = bpf_htons(ctx->local_port);
	const struct ip address = ip_local_of(ctx);
	const __u64 now_ns = bpf_ktime_get_ns();
	struct end who = { ip_remote_of(ctx), ctx->remote_port };
	const struct intercept *intercept;
	const struct proxy_way *way;
	struct serving *serving;
	__u32 place;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	intercept = intercept_of(own_netns_cookie, &address, port);
	if (intercept) {
		way = way_of(own_netns_cookie, &who.address, who.port, now_ns);
		if (!way)
			return give(ctx, now_ns) ? SK_PASS : refuse(ctx, intercept->node, &address, &who, now_ns, REASON_PROXY_DOWN);
		if (way->client_port)
			who = (struct end){ way->client, way->client_port };
	}
	serving = serving_of(own_netns_cookie, &address, port, &place);
	if (!serving || serving_has_room(serving, now_ns))
		return SK_PASS;
	ADD(serving->refused, 1);
	return refuse(ctx, serving->node, &address, &who, now_ns, REASON_OVER_MAX_CONNECTIONS);
}
