// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* connect(), getpeername() and sendmsg() of processes in the mesh: the destination they ask for becomes an endpoint, or the door
 * is closed at once. From there on the kernel does what it always does: no cost for a packet. */
#include "lib/account.h"
#include "lib/decide.h"
#include "lib/identity.h"
#include "lib/resolve.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __noinline void record_refusal(const struct flow *flow, const struct decision *d, __u64 now_ns, __u32 protocol)
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

#define CLAIMS 3 /* each one more only where others were faster at the last room, or at the probe */

/* Takes a place in the endpoint's open count, and is its probe where the decision says so. False, and nothing is taken, where others
 * were faster. */
static __always_inline bool claim_place(struct endpoint *endpoint, struct decision *d, __u64 now_ns)
{
	const __u64 open = __sync_fetch_and_add(&endpoint->open, 1);

	if ((!d->max_connections || open < d->max_connections) &&
	    (!(d->flags & DECISION_PROBE) || probe_begin(endpoint, d, now_ns)))
		return true;
	ADD(endpoint->open, -1);
	count_stat(STAT_CLAIM_RETRIES);
	return false;
}

/* Opens the account of a routed connection and takes its place in the open counts. May change the decision to another endpoint of the
 * target, or to none. */
static __always_inline enum reason claim(struct account *a, const struct flow *flow, struct draw *draw, __u64 now_ns,
					 struct decision *d)
{
	struct endpoint *endpoint;
	struct row *row;
	int i;

	*a = (struct account){};
	a->generation = d->generation;
	a->connect_ns = now_ns;
	a->netns_cookie = flow->netns_cookie;
	a->cgroup_id = bpf_get_current_cgroup_id();
	a->pid = bpf_get_current_pid_tgid() >> 32;
	a->source = flow->node;
	a->service = d->service;
	a->target = d->target;
	a->row = d->row;
	a->row_incarnation = d->row_incarnation;
	a->vip = flow->destination;
	a->vip_port = flow->port;
	for (i = 0; i < CLAIMS; i++) {
		a->slot = d->slot;
		a->slot_incarnation = d->slot_incarnation;
		endpoint = account_slot(a);
		if (!endpoint || claim_place(endpoint, d, now_ns))
			break;
		*draw = draw_words();
		d->reason = decide_again(flow, draw, now_ns, d);
		if (reason_verdict(d->reason) != VERDICT_ROUTE)
			return d->reason;
	}
	if (i == CLAIMS)
		return d->max_connections ? REASON_OVER_MAX_CONNECTIONS : REASON_NO_ENDPOINT;
	a->address = d->address;
	a->port = d->port;
	a->reason = d->reason;
	a->probe = !!(d->flags & DECISION_PROBE);
	row = account_row(a);
	if (row) {
		ADD(row->attempts, 1);
		ADD(row->open, 1);
	}
	__sync_lock_test_and_set(&a->held, 1);
	return d->reason;
}

/* Not inlined: its keys would be on the stack together with those of decide(). False: it is no query to a resolver of the workload. */
static __noinline bool decide_query(struct bpf_sock_addr *ctx, const struct flow *flow, __u64 now_ns, struct decision *d)
{
	const struct resolver *to = resolver_of(flow);

	if (to)
		steer(ctx, to, now_ns, d);
	return to;
}

/* A query goes to the proxy or to the resolver it asks; everything else is for decide(). */
static __always_inline void decide_any(struct bpf_sock_addr *ctx, const struct flow *flow, const struct draw *draw, __u64 now_ns,
				       struct decision *d)
{
	if (is_query(flow) && decide_query(ctx, flow, now_ns, d))
		return;
	decide(flow, draw, now_ns, d);
	if (d->reason == REASON_NOT_TCP && is_query(flow))
		d->reason = query_elsewhere(now_ns);
}

/* Decides, counts and claims. */
static __always_inline void hook_connect(struct bpf_sock_addr *ctx, struct flow *flow, struct decision *d)
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
		decide_any(ctx, flow, &draw, now_ns, d);
	if (reason_verdict(d->reason) == VERDICT_ROUTE) {
		if (!a && sk)
			a = bpf_sk_storage_get(&w_account, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		d->reason = a ? claim(a, flow, &draw, now_ns, d) : REASON_NO_MEMORY;
	}
	if (a && sk && reason_verdict(d->reason) != VERDICT_ROUTE)
		bpf_sk_storage_delete(&w_account, sk);
	if (d->reason != REASON_UNMANAGED && d->reason != REASON_ROUTED) /* the rows count those */
		count_reason(flow->node, d->service, d->reason);
	/* getaddrinfo() connects UDP sockets to what it was given, to sort it: two of them a name, and no attempt at a connection. */
	if (reason_verdict(d->reason) >= VERDICT_REFUSE && d->reason != REASON_PROBE && ctx->protocol != IPPROTO_UDP)
		record_refusal(flow, d, now_ns, ctx->protocol);
}

static __always_inline int answer4(struct bpf_sock_addr *ctx, const struct decision *d)
{
	if (reason_verdict(d->reason) >= VERDICT_REFUSE)
		return hook_close_door(d->reason);
	if (d->port) {
		ctx->user_ip4 = d->address.words[3];
		ctx->user_port = d->port;
	}
	return HOOK_PROCEED;
}

static __always_inline int answer6(struct bpf_sock_addr *ctx, const struct decision *d)
{
	if (reason_verdict(d->reason) >= VERDICT_REFUSE)
		return hook_close_door(d->reason);
	if (d->port) {
		ip_to_ctx6(ctx, &d->address);
		ctx->user_port = d->port;
	}
	return HOOK_PROCEED;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct flow flow = { .destination = ip_from_v4(ctx->user_ip4), .port = ctx->user_port, .is_tcp = is_tcp(ctx) };
	struct decision d = {};

	hook_connect(ctx, &flow, &d);
	return answer4(ctx, &d);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct flow flow = { .destination = ip_from_ctx6(ctx), .port = ctx->user_port, .is_tcp = is_tcp(ctx) };
	struct decision d = {};

	hook_connect(ctx, &flow, &d);
	return answer6(ctx, &d);
}

/* The account of a socket that is connected to where weft sent it; NULL otherwise. */
static __always_inline const struct account *account_of_peer(struct bpf_sock_addr *ctx, const struct ip *peer)
{
	struct bpf_sock *sk = ctx->sk;
	const struct account *a = sk ? bpf_sk_storage_get(&w_account, sk, NULL, 0) : NULL;

	return a && a->port == ctx->user_port && ip_equal(&a->address, peer) ? a : NULL;
}

/* A workload's probe, connected to what no responder is bound to, is shown the address that its other probes ask for. */
static __always_inline const struct ip *probe_shown(struct bpf_sock_addr *ctx, const struct ip *peer)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	bool shared;

	if (peer->words[3] != bpf_htonl(DNS_PROBE_ADDRESS) || !config || !identity(bpf_get_netns_cookie(ctx), &shared))
		return NULL;
	return &config->vip4;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	const struct ip peer = ip_from_v4(ctx->user_ip4);
	const struct account *a = account_of_peer(ctx, &peer);

	if (a) {
		ctx->user_ip4 = a->vip.words[3];
		ctx->user_port = a->vip_port;
	} else if (is_responder4(ctx->user_ip4, ctx->user_port)) {
		const struct ip *probe = probe_shown(ctx, &peer);

		if (probe)
			ctx->user_ip4 = probe->words[3];
		else
			show_resolver4(ctx, &peer);
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
	} else if (is_responder6(ctx)) {
		const struct ip *probe = probe_shown(ctx, &peer);

		if (probe)
			ip_to_ctx6(ctx, probe);
		else
			show_resolver6(ctx, &peer);
	}
	return HOOK_PROCEED;
}

/* A datagram from a socket that is not connected. A query goes where connect() would send it; what is for a VIP is refused as
 * connect() would refuse it; nothing else is looked at. */
static __always_inline void hook_sendmsg(struct bpf_sock_addr *ctx, const struct ip *destination, struct decision *d)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	const __u32 *service = bpf_map_lookup_elem(&w_vip, destination);
	const bool is_vip = service || (config && is_vip_network(destination, config));
	struct flow flow = { .destination = *destination, .port = ctx->user_port };
	const struct resolver *to;
	__u64 now_ns;
	bool shared;

	if (!is_vip && !is_query(&flow))
		return;
	flow.netns_cookie = bpf_get_netns_cookie(ctx);
	flow.node = identity(flow.netns_cookie, &shared);
	if (!flow.node)
		return;
	now_ns = bpf_ktime_get_ns();
	to = is_query(&flow) ? resolver_of(&flow) : NULL;
	if (to && !datagram_can_be_steered(ctx, destination, to)) {
		d->reason = REASON_DNS_BYPASS;
	} else if (to) {
		steer(ctx, to, now_ns, d);
	} else if (is_vip) {
		d->reason = !service && config ? policy_no_vip(destination, false, config) : REASON_VIP_NOT_TCP;
		d->service = service ? *service : 0;
		d->generation = generation_current();
	} else {
		d->reason = query_elsewhere(now_ns);
	}
	if (d->reason != REASON_UNMANAGED)
		count_reason(flow.node, d->service, d->reason);
	if (reason_verdict(d->reason) >= VERDICT_REFUSE && d->reason != REASON_PROBE)
		record_refusal(&flow, d, now_ns, ctx->protocol);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	const struct ip destination = ip_from_v4(ctx->user_ip4);
	struct decision d = {};

	hook_sendmsg(ctx, &destination, &d);
	return answer4(ctx, &d);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	const struct ip destination = ip_from_ctx6(ctx);
	struct decision d = {};

	hook_sendmsg(ctx, &destination, &d);
	return answer6(ctx, &d);
}
