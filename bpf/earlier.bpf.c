// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Connections that were there before their listener had a limit: a walk over the TCP sockets of the namespace it is run in, once the limit
 * is in w_serving. Each socket is locked meanwhile, as it is where sock_ops is told of its beginning and of its end; and it is established
 * either before sock_ops could find the limit, and is met here, or after that, and has its place already. So each is counted once,
 * however many come and go at the same time. */
#include "lib/account_of.h"
#include "lib/cgroup.h"
#include "lib/identity.h"
#include "lib/iter.h"
#include "lib/serving.h"
#include "lib/tcp.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008 /* Linux 6.12 */
#define SOCK_BINDPORT_LOCK 8 /* include/net/sock.h */

static __always_inline bool is_open(const struct tcp_sock *tcp, __u8 state)
{
	switch (state) {
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_LAST_ACK:
	case BPF_TCP_CLOSING:
		return true;
	case BPF_TCP_SYN_RECV: /* sock_ops was told already where the data came with the SYN, else it will be */
		return tcp->fastopen_rsk;
	default:
		return false;
	}
}

/* The kernel takes an accepted socket's port from its listener. One that connects has a port of its own: bound, and marked as such, or one
 * that is no listener's. */
static __always_inline bool was_accepted(const struct sock *sk)
{
	return !(BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDPORT_LOCK);
}

/* Has sock_ops be told of its end. False: the kernel cannot. */
static __always_inline bool have_end_told(struct tcp_sock *tcp)
{
	int flags = tcp->bpf_sock_ops_cb_flags;

	if (flags & BPF_SOCK_OPS_STATE_CB_FLAG)
		return true;
	flags |= BPF_SOCK_OPS_STATE_CB_FLAG;
	return bpf_setsockopt(tcp, IPPROTO_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags)) == 0;
}

static __always_inline enum earlier_outcome count(struct tcp_sock *tcp, __u64 cookie, struct serving *serving, __u32 place)
{
	const struct served now = { .place = place, .incarnation = serving->incarnation };
	const struct served *entry = bpf_map_lookup_elem(&w_served, &cookie);

	if (entry && entry->place == now.place && entry->incarnation == now.incarnation)
		return EARLIER_KNOWN;
	if (!have_end_told(tcp))
		return EARLIER_UNCOUNTABLE;
	if (entry)
		serving_leave(entry);
	if (bpf_map_update_elem(&w_served, &cookie, &now, BPF_ANY)) {
		count_stat(STAT_SERVED_UNCOUNTED);
		return EARLIER_UNCOUNTABLE;
	}
	ADD(serving->open, 1);
	return EARLIER_COUNTED;
}

SEC("iter/tcp")
int iter_earlier(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tcp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	struct earlier_connection told = {};
	struct serving *serving;
	struct ip address;
	__u64 cookie;

	if (!tcp || !is_open(tcp, common->skc_state) || !was_accepted(&tcp->inet_conn.icsk_inet.sk))
		return 0;
	address = tcp_own_address(common);
	serving = serving_of(common->skc_net.net->net_cookie, &address, bpf_htons(common->skc_num), &told.place);
	if (!serving || !is_below_scope(&tcp->inet_conn.icsk_inet.sk) || is_wefts(cgroup_of(&tcp->inet_conn.icsk_inet.sk)))
		return 0;
	cookie = bpf_get_socket_cookie(tcp);
	if (account_of(cookie))
		return 0;
	told.outcome = count(tcp, cookie, serving, told.place);
	if (told.outcome != EARLIER_KNOWN)
		bpf_seq_write(ctx->meta->seq, &told, sizeof(told));
	return 0;
}
