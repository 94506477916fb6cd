// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* connect(), getpeername() and sendmsg() of processes in the mesh: the destination they ask for becomes an endpoint, or the door
 * is closed at once. From there on the kernel does what it always does: no cost for a packet. */
#include "lib/account.h"
#include "lib/decide.h"
#include "lib/identity.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { HOOK_REFUSE, HOOK_PROCEED };

static __always_inline bool is_tcp(const struct bpf_sock_addr *ctx)
{
	return ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP);
}

static __always_inline struct draw draw_words(void)
{
	return (struct draw){
		.target = bpf_get_prandom_u32(),
		.first = bpf_get_prandom_u32(),
		.second = bpf_get_prandom_u32(),
		.rest = bpf_get_prandom_u32(),
	};
}

/* EPERM for what is not allowed, ECONNREFUSED for what does not work now. */
static __always_inline int hook_close_door(enum reason reason)
{
	if (reason_verdict(reason) == VERDICT_REFUSE)
		bpf_set_retval(-ECONNREFUSED);
	return HOOK_REFUSE;
}

static __always_inline void record_refusal(const struct flow *flow, const struct decision *d, __u64 now_ns, __u32 protocol)
{
	record_write(&(struct flow_record){
		.end_ns = now_ns,
		.generation = d->generation,
		.netns_cookie = flow->netns_cookie,
		.pid = bpf_get_current_pid_tgid() >> 32,
		.source = flow->node,
		.service = d->service,
		.target = d->target,
		.sampled_one_in = 1,
		.asked = flow->destination,
		.asked_port = flow->port,
		.reason = d->reason,
		.close = FLOW_REFUSED_HERE,
		.error = reason_verdict(d->reason) == VERDICT_DENY ? 1 /* EPERM */ : ECONNREFUSED,
		.ip_protocol = protocol,
	});
}

/* The account that the last connect() on this socket left, closed; NULL for a fresh socket. */
static __always_inline struct account *leftover(struct bpf_sock *sk, __u64 now_ns)
{
	struct account *a = bpf_sk_storage_get(&w_account, sk, NULL, 0);

	if (a && READ_ONCE(a->held)) {
		account_abandon(a, now_ns);
		count_stat(STAT_RECONNECTS);
	}
	return a;
}

/* Opens the account of a routed connection and takes its place in the open counts. */
static __always_inline enum reason claim(struct account *a, const struct flow *flow, const struct decision *d, __u64 now_ns)
{
	struct endpoint *endpoint;
	struct row *row;

	*a = (struct account){
		.generation = d->generation,
		.connect_ns = now_ns,
		.netns_cookie = flow->netns_cookie,
		.cgroup_id = bpf_get_current_cgroup_id(),
		.pid = bpf_get_current_pid_tgid() >> 32,
		.source = flow->node,
		.service = d->service,
		.target = d->target,
		.row = d->row,
		.row_incarnation = d->row_incarnation,
		.slot = d->slot,
		.slot_incarnation = d->slot_incarnation,
		.vip = flow->destination,
		.address = d->address,
		.vip_port = flow->port,
		.port = d->port,
		.reason = d->reason,
	};
	row = account_row(a);
	endpoint = account_slot(a);
	if (row) {
		ADD(row->attempts, 1);
		ADD(row->open, 1);
	}
	if (endpoint)
		ADD(endpoint->open, 1);
	__sync_lock_test_and_set(&a->held, 1);
	return d->reason;
}

/* Decides, counts and claims. The caller writes `d` into the socket when the verdict is VERDICT_ROUTE. */
static __always_inline void hook_decide(struct bpf_sock_addr *ctx, struct flow *flow, struct decision *d)
{
	struct bpf_sock *sk = ctx->sk;
	struct account *a = NULL;
	struct draw draw;
	__u64 now_ns;
	bool shared;

	flow->netns_cookie = bpf_get_netns_cookie(ctx);
	flow->node = identity(flow->netns_cookie, &shared);
	if (!flow->node && !shared)
		return;
	now_ns = bpf_ktime_get_ns();
	draw = draw_words();
	if (flow->is_tcp && sk)
		a = leftover(sk, now_ns);
	if (flow->node)
		decide(flow, &draw, now_ns, d);
	if (reason_verdict(d->reason) == VERDICT_ROUTE) {
		if (!a && sk)
			a = bpf_sk_storage_get(&w_account, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		d->reason = a ? claim(a, flow, d, now_ns) : REASON_NO_MEMORY;
	} else if (a && sk) {
		bpf_sk_storage_delete(&w_account, sk);
	}
	if (d->reason != REASON_UNMANAGED && d->reason != REASON_ROUTED) /* the rows count those */
		count_reason(flow->node, d->service, d->reason);
	if (reason_verdict(d->reason) >= VERDICT_REFUSE)
		record_refusal(flow, d, now_ns, ctx->protocol);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct flow flow = { .destination = ip_from_v4(ctx->user_ip4), .port = ctx->user_port, .is_tcp = is_tcp(ctx) };
	struct decision d = {};

	hook_decide(ctx, &flow, &d);
	switch (reason_verdict(d.reason)) {
	case VERDICT_ROUTE:
		ctx->user_ip4 = d.address.words[3];
		ctx->user_port = d.port;
		return HOOK_PROCEED;
	case VERDICT_REFUSE:
	case VERDICT_DENY:
		return hook_close_door(d.reason);
	default:
		return HOOK_PROCEED;
	}
}

static __always_inline struct ip ip_from_ctx6(const struct bpf_sock_addr *ctx)
{
	return (struct ip){ .words = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] } };
}

static __always_inline void ip_to_ctx6(struct bpf_sock_addr *ctx, const struct ip *ip)
{
	ctx->user_ip6[0] = ip->words[0];
	ctx->user_ip6[1] = ip->words[1];
	ctx->user_ip6[2] = ip->words[2];
	ctx->user_ip6[3] = ip->words[3];
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct flow flow = { .destination = ip_from_ctx6(ctx), .port = ctx->user_port, .is_tcp = is_tcp(ctx) };
	struct decision d = {};

	hook_decide(ctx, &flow, &d);
	switch (reason_verdict(d.reason)) {
	case VERDICT_ROUTE:
		ip_to_ctx6(ctx, &d.address);
		ctx->user_port = d.port;
		return HOOK_PROCEED;
	case VERDICT_REFUSE:
	case VERDICT_DENY:
		return hook_close_door(d.reason);
	default:
		return HOOK_PROCEED;
	}
}

/* The account of a socket that is connected to where weft sent it; NULL otherwise. */
static __always_inline const struct account *account_of_peer(struct bpf_sock_addr *ctx, const struct ip *peer)
{
	struct bpf_sock *sk = ctx->sk;
	const struct account *a = sk ? bpf_sk_storage_get(&w_account, sk, NULL, 0) : NULL;

	return a && a->port == ctx->user_port && ip_equal(&a->address, peer) ? a : NULL;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	const struct ip peer = ip_from_v4(ctx->user_ip4);
	const struct account *a = account_of_peer(ctx, &peer);

	if (a) {
		ctx->user_ip4 = a->vip.words[3];
		ctx->user_port = a->vip_port;
	}
	return HOOK_PROCEED;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	const struct ip peer = ip_from_ctx6(ctx);
	const struct account *a = account_of_peer(ctx, &peer);

	if (a) {
		ip_to_ctx6(ctx, &a->vip);
		ctx->user_port = a->vip_port;
	}
	return HOOK_PROCEED;
}

/* A datagram to a VIP, from a socket that is not connected: refused as connect() would refuse it. */
static __always_inline int hook_sendmsg(struct bpf_sock_addr *ctx, const struct ip *destination)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	const __u32 *service = bpf_map_lookup_elem(&w_vip, destination);
	struct decision d = { .reason = REASON_VIP_NOT_TCP };
	struct flow flow = { .destination = *destination, .port = ctx->user_port };
	bool shared;

	if (!service && (!config || !is_vip_network(destination, config)))
		return HOOK_PROCEED;
	flow.netns_cookie = bpf_get_netns_cookie(ctx);
	flow.node = identity(flow.netns_cookie, &shared);
	if (!flow.node)
		return HOOK_PROCEED;
	d.service = service ? *service : 0;
	d.generation = generation_current();
	count_reason(flow.node, d.service, d.reason);
	record_refusal(&flow, &d, bpf_ktime_get_ns(), ctx->protocol);
	return hook_close_door(d.reason);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	const struct ip destination = ip_from_v4(ctx->user_ip4);

	return hook_sendmsg(ctx, &destination);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	const struct ip destination = ip_from_ctx6(ctx);

	return hook_sendmsg(ctx, &destination);
}
