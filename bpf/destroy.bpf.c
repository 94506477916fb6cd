// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that user space runs to end connections that may not go on: one asks about every account, wherever its socket is; the
 * other walks the TCP sockets of the namespace it is run in, and destroys those that are due. Only a socket that has an account is
 * ever touched: one of somebody else to the same address has none. */
#include "lib/account_of.h"
#include "lib/count.h"
#include "lib/iter.h"
#include "lib/standing.h"
#include "lib/tcp.h"
#include "maps/abi/ending.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

extern int bpf_sock_destroy(struct sock_common *sock) __ksym __weak; /* Linux 6.5 */

static __always_inline void count_audited(struct account *a)
{
	if (a->audited || a->reason == REASON_AUDIT_NOT_A_BACKEND) /* counted in connect() */
		return;
	a->audited = 1;
	count_stat(STAT_AUDIT_KEPT);
}

/* The deadline is kept in the account, so it outlives the agent. */
static __always_inline void note_standing(struct account *a, enum standing standing, __u64 now_ns)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);

	if (standing != STANDING_LEFT)
		a->leave_ns = standing == STANDING_DENIED ? now_ns : 0;
	else if (a->standing != STANDING_LEFT || !a->leave_ns)
		a->leave_ns = now_ns + (config ? config->drain_ns : 0);
	a->standing = standing;
}

static long look_at(void *map, const __u64 *cookie, struct account *a, struct standing_look *look)
{
	enum standing standing;
	bool audited = false;

	if (READ_ONCE(a->held) != *cookie)
		return 0;
	standing = account_standing(a, &audited);
	if (audited)
		count_audited(a);
	note_standing(a, standing, look->now_ns);
	look->good += standing == STANDING_GOOD;
	look->left += standing == STANDING_LEFT;
	look->denied += standing == STANDING_DENIED;
	return 0;
}

/* Sleepable, like explain. */
SEC("syscall")
int look_standing(struct standing_look *ctx)
{
	struct standing_look look = { .now_ns = ctx->now_ns };

	bpf_for_each_map_elem(&w_account, look_at, &look, 0);
	*ctx = look;
	return 0;
}

/* FLOW_REFUSED_HERE: it may go on. */
static __always_inline enum flow_close due(const struct account *a)
{
	bool audited;

	switch (account_standing(a, &audited)) {
	case STANDING_DENIED:
		return FLOW_POLICY_CHANGED;
	case STANDING_LEFT:
		return a->leave_ns && a->leave_ns <= bpf_ktime_get_ns() ? FLOW_DRAINED : FLOW_REFUSED_HERE;
	default:
		return FLOW_REFUSED_HERE;
	}
}

static __always_inline struct ip local_address(const struct sock_common *sk, const struct account *a)
{
	return ip_is_v4(&a->address) ? ip_from_v4(sk->skc_rcv_saddr) : sk->skc_v6_rcv_saddr;
}

/* The socket is locked meanwhile, so nobody connects it anew between the question and the end. What user space gets is written
 * first: where there is no room for it the kernel comes back to this socket. */
SEC("iter/tcp")
int iter_end(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tcp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	const __u64 cookie = tcp ? bpf_get_socket_cookie(tcp) : 0;
	struct account *a = tcp ? account_of(cookie) : NULL;
	struct ended_connection ended = {};

	if (!a || READ_ONCE(a->held) != cookie)
		return 0;
	ended.close = due(a);
	if (!ended.close)
		return 0;
	ended.cookie = cookie;
	ended.local = local_address(common, a);
	ended.peer = a->address;
	ended.local_port = bpf_htons(common->skc_num);
	ended.peer_port = a->port;
	ended.device = common->skc_bound_dev_if;
	ended.destroyed = !!bpf_sock_destroy;
	if (bpf_seq_write(ctx->meta->seq, &ended, sizeof(ended)))
		return 0;
	a->ending = ended.close;
	if (bpf_sock_destroy && bpf_sock_destroy(common) < 0) {
		a->ending = 0;
		count_stat(STAT_NOT_DESTROYED);
	}
	return 0;
}
