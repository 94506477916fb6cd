// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The life of a connection after connect(): established, closed. What is counted, and the flow record. And that of connections to
 * listeners that have a limit, or that weft-proxy serves, from their SYN on. */
#include "lib/account.h"
#include "lib/account_of.h"
#include "lib/handover.h"
#include "lib/inbound.h"
#include "lib/serving.h"
#include "lib/tcp.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { SOCKOPS_DONE = 1, SOCKET_GOES = 1 };

static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct account *a)
{
	a->started = 1;
	a->local_port = bpf_htons(ctx->local_port);
	if (a->slot == ACCOUNT_NONE)
		handover_tell(ctx, a);
	a->connect_ns = bpf_ktime_get_ns(); /* now, not at connect(): with TCP Fast Open the SYN may go much later */
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline enum flow_close how_connect_failed(int error)
{
	switch (error) {
	case 0:
		return FLOW_CONNECT_ABANDONED;
	case ECONNREFUSED:
		return FLOW_CONNECT_REFUSED;
	case ETIMEDOUT:
		return FLOW_CONNECT_TIMED_OUT;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENONET:
	case ENOPROTOOPT: /* ICMP protocol or port unreachable, icmp_err_convert[] */
	case EPROTO:
		return FLOW_CONNECT_UNREACHABLE;
	default:
		return FLOW_CONNECT_FAILED;
	}
}

/* A reset makes ECONNRESET, or EPIPE where our side had read the peer's FIN (tcp_reset()). Closed without an error from a state
 * that has not seen both FINs through: ended here, by a reset of ours, disconnect, or a destroyed socket. */
static __always_inline enum flow_close how_closed(int error, int old_state)
{
	if (error == ECONNRESET || error == EPIPE)
		return FLOW_RESET_BY_PEER;
	if (error || old_state == BPF_TCP_ESTABLISHED || old_state == BPF_TCP_CLOSE_WAIT)
		return FLOW_ABORTED;
	return FLOW_CLOSED;
}

static __always_inline void on_close(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct account *a, __u64 cookie)
{
	const int old_state = ctx->args[0];
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	const int error = tcp ? tcp->inet_conn.icsk_inet.sk.sk_err : 0;
	const unsigned long flags = tcp ? tcp->inet_conn.icsk_inet.sk.__sk_common.skc_flags : 0;
	struct ending e = { .now_ns = bpf_ktime_get_ns(), .error = error };

	if (a->established_ns) {
		e.how = how_closed(error, old_state);
		e.bytes_sent = tcp_bytes_sent(ctx->bytes_acked, tcp_fin_was_acked(old_state));
		e.bytes_received = tcp_bytes_received(ctx->bytes_received, flags);
		e.rtt_us = ctx->srtt_us >> 3;
		e.retransmits = ctx->total_retrans;
	} else {
		e.how = how_connect_failed(error);
	}
	if (a->ending && (e.how == FLOW_ABORTED || e.how == FLOW_CONNECT_FAILED)) {
		e.how = a->ending;
		count_stat(a->ending == FLOW_DRAINED ? STAT_DRAINED : STAT_POLICY_CHANGED);
	}
	if (a->slot == ACCOUNT_NONE)
		handover_forget(ctx, a);
	account_close(a, cookie, &e);
	account_drop(cookie);
}

static __always_inline __be16 remote_port_of(struct bpf_sock_ops *ctx)
{
	return bpf_htons(bpf_ntohl(ctx->remote_port)); /* 32 bits, in network order */
}

/* A client that weft-proxy serves: it counts where weft-proxy reaches the application for it. */
static __always_inline bool is_proxys(struct bpf_sock_ops *ctx, __u64 netns_cookie, const struct ip *local)
{
	const struct ip peer = ip_remote_of(ctx);

	return intercept_of(netns_cookie, local, bpf_htons(ctx->local_port)) &&
	       !way_of(netns_cookie, &peer, remote_port_of(ctx), bpf_ktime_get_ns());
}

/* The listener that a request or accepted socket came by, where it has a limit that this one counts for. */
static __always_inline struct serving *serving_of_socket(struct bpf_sock_ops *ctx, __u32 *ret_place)
{
	struct serving *serving;
	__u64 netns_cookie;
	struct ip address;

	if (!serving_any(SERVING_LIMITED))
		return NULL;
	netns_cookie = bpf_get_netns_cookie(ctx);
	address = ip_local_of(ctx);
	serving = serving_of(netns_cookie, &address, bpf_htons(ctx->local_port), ret_place);
	return serving && is_proxys(ctx, netns_cookie, &address) ? NULL : serving;
}

/* A SYN gets its request socket, which is no full one; a connecting socket asks for the same time. */
static __always_inline void on_timeout_init(struct bpf_sock_ops *ctx)
{
	struct serving *serving;
	__u32 place;

	serving = ctx->is_fullsock ? NULL : serving_of_socket(ctx, &place);
	if (serving)
		serving_begin(serving, bpf_ktime_get_ns());
}

static __always_inline void on_accept(struct bpf_sock_ops *ctx)
{
	struct serving *serving;
	__u64 cookie, now_ns;
	struct ip peer;
	bool shown;
	__u32 place;

	if (!serving_any(SERVING_LIMITED | SERVING_PROXIED))
		return;
	peer = ip_remote_of(ctx);
	cookie = bpf_get_socket_cookie(ctx);
	now_ns = bpf_ktime_get_ns();
	serving = serving_of_socket(ctx, &place);
	if (serving)
		serving_established(serving, place, cookie, now_ns);
	shown = way_ends(bpf_get_netns_cookie(ctx), &peer, remote_port_of(ctx), cookie, now_ns);
	if (!serving && !shown)
		return;
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;
	struct account *a;
	__u64 cookie;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			break;
		return SOCKOPS_DONE;
	case BPF_SOCK_OPS_TIMEOUT_INIT:
		on_timeout_init(ctx);
		return SOCKOPS_DONE;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accept(ctx);
		return SOCKOPS_DONE;
	default:
		return SOCKOPS_DONE;
	}
	sk = ctx->sk;
	cookie = bpf_get_socket_cookie(ctx);
	a = sk ? account_of(cookie) : NULL;
	if (!a && ctx->op == BPF_SOCK_OPS_STATE_CB) {
		serving_ended(cookie);
		real_peer_ended(cookie);
	}
	if (!a || READ_ONCE(a->held) != cookie)
		return SOCKOPS_DONE;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx, a);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		account_established(a, bpf_ktime_get_ns());
		break;
	default:
		on_close(ctx, sk, a, cookie);
	}
	return SOCKOPS_DONE;
}

/* The cookie that connect hooks knew a socket by. A program's MPTCP socket goes without a word of its first subflow, which made the
 * connection; 0: it has none. The context is the kernel's socket, and is only read. */
static __always_inline __u64 connected_as(struct bpf_sock *sk)
{
	struct sock *first = NULL;
	__u64 cookie = 0;

	if (sk->protocol != IPPROTO_MPTCP || !bpf_core_type_exists(struct mptcp_sock))
		return bpf_get_socket_cookie(sk);
	bpf_core_read(&first, sizeof(first), &((struct mptcp_sock *)sk)->first);
	if (first)
		bpf_core_read(&cookie, sizeof(cookie), &first->__sk_common.skc_cookie.counter);
	return cookie;
}

/* The socket goes. Where a SYN was sent the state machine tells the end, later; where none was, nobody else would. Such a socket is in
 * CLOSE, or in SYN_SENT where TCP Fast Open waits for data: most are in neither, and cost no look-up. */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	__u64 cookie;
	struct account *a;

	if (sk->type != SOCK_STREAM || (sk->state != BPF_TCP_CLOSE && sk->state != BPF_TCP_SYN_SENT))
		return SOCKET_GOES;
	cookie = connected_as(sk);
	a = account_of(cookie);
	if (a && !READ_ONCE(a->started)) {
		account_abandon(a, cookie, bpf_ktime_get_ns());
		account_drop(cookie);
	}
	return SOCKET_GOES;
}
