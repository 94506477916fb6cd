// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* connect(), getpeername() and sendmsg() of processes in the mesh: the destination they ask for becomes an endpoint, or the door
 * is closed at once. From there on the kernel does what it always does: no cost for a packet. */
#include "lib/account_of.h"
#include "lib/claim.h"
#include "lib/identity.h"
#include "lib/inbound.h"
#include "lib/passed.h"
#include "lib/resolve.h"
#include "lib/tcp.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Nobody has asked for its cookie, by which accounts are found. */
static __always_inline bool is_new_socket(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct tcp_sock *tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tcp && !tcp->inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter;
}

/* Ends what the last connect() on this socket left, which came to nothing. */
static __always_inline void end_leftover(__u64 cookie, __u64 now_ns)
{
	struct account *a = account_of(cookie);

	if (!a)
		return;
	if (READ_ONCE(a->held) == cookie) {
		account_abandon(a, cookie, now_ns);
		count_stat(STAT_RECONNECTS);
	}
	account_drop(cookie);
}

/* Fills and holds it. */
static __always_inline void account_open(struct account *a, __u64 cookie, const struct flow *flow, __u64 now_ns, const struct decision *d)
{
	account_fill(a, flow, now_ns, d);
	a->cgroup_id = bpf_get_current_cgroup_id();
	a->pid = bpf_get_current_pid_tgid() >> 32;
	account_hold(a, cookie);
}

/* Whole as it appears. False: no memory, or MAX_ACCOUNTS. Not inlined: the frame of a hook has no room for one. */
static __noinline bool account_insert(__u64 cookie, const struct flow *flow, __u64 now_ns, const struct decision *d)
{
	struct account a;

	account_open(&a, cookie, flow, now_ns, d);
	return !bpf_map_update_elem(&w_account, &cookie, &a, BPF_ANY);
}

static __always_inline bool account_make(__u64 cookie, const struct flow *flow, __u64 now_ns, const struct decision *d)
{
	struct near_account *near = near_take(cookie);

	if (!near)
		return account_insert(cookie, flow, now_ns, d);
	account_open(&near->account, cookie, flow, now_ns, d);
	return true;
}

/* Takes the place of a routed connection in the open counts, and opens its account. The reason, of the endpoint that it got in the end. */
static __always_inline enum reason begin(__u64 cookie, const struct flow *flow, struct draw *draw, __u64 now_ns, struct decision *d)
{
	const enum reason reason = claim_endpoint(flow, draw, now_ns, d);
	struct row *row;

	if (reason_verdict(reason) != VERDICT_ROUTE)
		return reason;
	row = row_of(d->row, d->row_incarnation);
	if (row)
		ADD(row->open, 1);
	if (!account_make(cookie, flow, now_ns, d)) {
		if (row)
			ADD(row->open, -1);
		claim_undo(d, now_ns);
		return REASON_NO_MEMORY;
	}
	if (row)
		ADD(row->attempts, 1);
	return reason;
}

/* Not inlined: its keys would be on the stack together with those of decide(). False: it is no query to a resolver of the workload. */
static __noinline bool decide_query(struct bpf_sock_addr *ctx, const struct flow *flow, __u64 now_ns, struct decision *d)
{
	const struct resolver *to = resolver_of(flow);

	if (to)
		steer(ctx, to, now_ns, d);
	return to;
}

/* Then it does not reach the loopback interface. */
static __always_inline bool is_bound_to_device(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk && sk->bound_dev_if;
}

/* A query goes to the proxy or to the resolver it asks; everything else is for decide(). */
static __always_inline void decide_any(struct bpf_sock_addr *ctx, const struct flow *flow, const struct draw *draw, __u64 now_ns,
				       struct decision *d)
{
	if (is_query(flow) && decide_query(ctx, flow, now_ns, d))
		return;
	decide(flow, draw, now_ns, d);
	if (d->flags & DECISION_PROXIED && is_bound_to_device(ctx))
		d->reason = REASON_PROXY_DOWN;
	if (d->reason == REASON_NOT_TCP && is_query(flow))
		d->reason = query_elsewhere(now_ns);
}

/* Keeps in mind that the egress filter has let it out. Not inlined: the frame of a hook has no room for it. */
static __noinline void passed_note(struct bpf_sock_addr *ctx, const struct flow *flow, const struct decision *d, __u64 now_ns, bool shared)
{
	struct passed noted = {
		.connect_ns = now_ns,
		.generation = d->generation,
		.netns_cookie = flow->netns_cookie,
		.source = flow->node,
		.pid = bpf_get_current_pid_tgid() >> 32,
		.address = flow->destination,
		.port = flow->port,
		.reason = d->reason,
	};
	struct bpf_sock *sk = ctx->sk;
	struct passed *p;

	if (shared)
		owner_by_cgroup(&noted.cgroup_id);
	p = sk ? bpf_sk_storage_get(&w_passed, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	if (p)
		*p = noted;
	else
		count_stat(STAT_PASSED_UNNOTED);
}

/* Decides, counts and claims. */
static __always_inline void hook_connect(struct bpf_sock_addr *ctx, struct flow *flow, struct decision *d)
{
	struct draw draw;
	__u64 now_ns;
	__u32 flags;

	flow->netns_cookie = bpf_get_netns_cookie(ctx);
	flow->node = identity(flow->netns_cookie, &flags);
	if (!flow->node && !(flags & OWNER_SHARED))
		return;
	flow->flags = flags & OWNER_FOREIGN ? FLOW_FOREIGN : 0;
	now_ns = bpf_ktime_get_ns();
	draw = draw_words();
	if (flow->is_tcp && !is_new_socket(ctx))
		end_leftover(bpf_get_socket_cookie(ctx), now_ns);
	if (flow->node)
		decide_any(ctx, flow, &draw, now_ns, d);
	if (reason_verdict(d->reason) == VERDICT_ROUTE)
		d->reason = begin(bpf_get_socket_cookie(ctx), flow, &draw, now_ns, d);
	if (passed_by_filter(d->reason))
		passed_note(ctx, flow, d, now_ns, flags & OWNER_SHARED);
	if (d->reason != REASON_UNMANAGED && d->reason != REASON_ROUTED) /* the rows count what is routed */
		count_reason(flow->node, d->service, d->reason);
	/* getaddrinfo() connects UDP sockets to what it was given, to sort it: two of them a name, and no attempt at a connection. */
	if (reason_verdict(d->reason) >= VERDICT_REFUSE && d->reason != REASON_PROBE && ctx->protocol != IPPROTO_UDP)
		record_refusal(flow, d, now_ns, ctx->protocol, bpf_get_current_pid_tgid() >> 32);
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

/* The account of a socket, copied. One of a former build stays where it is: its sock_ops may still be there. Not inlined: the compiler
 * would reckon with pointers that are NULL, which the verifier does not allow. */
static __noinline bool account_seen(__u64 cookie, struct account *ret_account)
{
	const struct account *a = account_here(cookie);

	if (!a && former_account.bytes) {
		if (account_former(cookie, ret_account))
			return true;
		a = account_here(cookie); /* it was moved just now */
	}
	if (a)
		*ret_account = *a;
	return a;
}

/* Whether the socket is connected to where weft sent it, by which account. */
static __always_inline bool account_of_peer(struct bpf_sock_addr *ctx, const struct ip *peer, struct account *ret_account)
{
	return account_seen(bpf_get_socket_cookie(ctx), ret_account) && ret_account->port == ctx->user_port &&
	       ip_equal(&ret_account->address, peer);
}

/* A workload's probe, connected to what no responder is bound to, is shown the address that its other probes ask for. */
static __always_inline const struct ip *probe_shown(struct bpf_sock_addr *ctx, const struct ip *peer)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	__u32 flags;

	if (peer->words[3] != bpf_htonl(DNS_PROBE_ADDRESS) || !config || !identity(bpf_get_netns_cookie(ctx), &flags))
		return NULL;
	return &config->vip4;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	const struct ip peer = ip_from_v4(ctx->user_ip4);
	struct account a = {};

	if (account_of_peer(ctx, &peer, &a)) {
		ctx->user_ip4 = a.vip.words[3];
		ctx->user_port = a.vip_port;
	} else if (is_responder4(ctx->user_ip4, ctx->user_port)) {
		const struct ip *probe = probe_shown(ctx, &peer);

		if (probe)
			ctx->user_ip4 = probe->words[3];
		else
			show_resolver4(ctx, &peer);
	} else {
		const struct real_peer *client = real_peer_of(ctx);

		if (client) {
			ctx->user_ip4 = client->address.words[3];
			ctx->user_port = client->port;
		}
	}
	return HOOK_PROCEED;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	const struct ip peer = ip_from_ctx6(ctx);
	struct account a = {};

	if (account_of_peer(ctx, &peer, &a)) {
		ip_to_ctx6(ctx, &a.vip);
		ctx->user_port = a.vip_port;
	} else if (is_responder6(ctx)) {
		const struct ip *probe = probe_shown(ctx, &peer);

		if (probe)
			ip_to_ctx6(ctx, probe);
		else
			show_resolver6(ctx, &peer);
	} else {
		const struct real_peer *client = real_peer_of(ctx);

		if (client) {
			ip_to_ctx6(ctx, &client->address);
			ctx->user_port = client->port;
		}
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
	__u32 flags;

	if (!is_vip && !is_query(&flow))
		return;
	flow.netns_cookie = bpf_get_netns_cookie(ctx);
	flow.node = identity(flow.netns_cookie, &flags);
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
		record_refusal(&flow, d, now_ns, ctx->protocol, bpf_get_current_pid_tgid() >> 32);
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
