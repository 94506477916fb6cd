// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that user space runs to end connections that may not go on: one asks about every account, wherever its socket is; the other walks
 * the TCP sockets of the namespace it is run in, and destroys those that are due. Only a socket whose connect() weft has decided is ever
 * touched: one of somebody else to the same address, and any that was accepted, has neither an account nor a note. */
#include "lib/account_of.h"
#include "lib/count.h"
#include "lib/iter.h"
#include "lib/passed.h"
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

static __always_inline void look_at(struct account *a, struct standing_look *look)
{
	enum standing standing;
	bool audited = false;

	standing = account_standing(a, &audited);
	if (audited)
		count_audited(a);
	note_standing(a, standing, look->now_ns);
	look->good += standing == STANDING_GOOD;
	look->left += standing == STANDING_LEFT;
	look->denied += standing == STANDING_DENIED;
}

static long look_in_table(void *map, const __u64 *cookie, struct account *a, struct standing_look *look)
{
	if (READ_ONCE(a->held) == *cookie)
		look_at(a, look);
	return 0;
}

static long look_near(void *map, const __u32 *place, struct near_account *near, struct standing_look *look)
{
	if (READ_ONCE(near->account.held))
		look_at(&near->account, look);
	return 0;
}

/* Sleepable, like explain. */
SEC("syscall")
int look_standing(struct standing_look *ctx)
{
	struct standing_look look = { .now_ns = ctx->now_ns };

	bpf_for_each_map_elem(&w_account_near, look_near, &look, 0);
	bpf_for_each_map_elem(&w_account, look_in_table, &look, 0);
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

/* Tells user space. False: there is no room for it, and the kernel comes back to this socket. */
static __always_inline bool tell(struct bpf_iter__tcp *ctx, struct sock_common *common, __u64 cookie, const struct ip *peer,
				 __be16 peer_port, enum flow_close close)
{
	const struct ended_connection ended = {
		.cookie = cookie,
		.local = tcp_own_address(common),
		.peer = *peer,
		.local_port = bpf_htons(common->skc_num),
		.peer_port = peer_port,
		.device = common->skc_bound_dev_if,
		.close = close,
		.destroyed = !!bpf_sock_destroy,
	};

	return bpf_seq_write(ctx->meta->seq, (void *)&ended, sizeof(ended)) == 0;
}

static __always_inline void end_account(struct bpf_iter__tcp *ctx, struct sock_common *common, __u64 cookie, struct account *a)
{
	const enum flow_close close = due(a);

	if (!close || !tell(ctx, common, cookie, &a->address, a->port, close))
		return;
	a->ending = close;
	if (bpf_sock_destroy && bpf_sock_destroy(common) < 0) {
		a->ending = 0;
		count_stat(STAT_NOT_DESTROYED);
	}
}

/* The end of a connection that has no account: sock_ops does not hear of it. */
static __always_inline void passed_record(const struct passed *p, struct tcp_sock *tcp, __u8 state, __u64 now_ns)
{
	struct flow_record record = passed_end(p, now_ns);

	record.bytes_sent = tcp_bytes_sent(tcp->bytes_acked, tcp_fin_is_acked(state));
	record.bytes_received = tcp_bytes_received(tcp->bytes_received, tcp->inet_conn.icsk_inet.sk.__sk_common.skc_flags);
	record.rtt_us = tcp->srtt_us >> 3;
	record.retransmits = tcp->total_retrans;
	count_stat(STAT_POLICY_CHANGED);
	record_write(&record);
}

static __always_inline void end_passed(struct bpf_iter__tcp *ctx, struct sock_common *common, struct tcp_sock *tcp, __u64 cookie)
{
	struct passed *p = bpf_sk_storage_get(&w_passed, tcp, NULL, 0);
	const __u64 now_ns = bpf_ktime_get_ns();
	const __u8 state = common->skc_state;
	enum standing standing;
	bool audited = false;

	if (!p || !passed_is_of(p, common) || !passed_is_owned(p))
		return;
	standing = passed_standing(p, now_ns, &audited);
	if (audited && !p->audited && p->reason != REASON_AUDIT_NOT_IN_MESH) {
		p->audited = 1;
		count_stat(STAT_AUDIT_KEPT);
	}
	if (standing != STANDING_DENIED || !tell(ctx, common, cookie, &p->address, p->port, FLOW_POLICY_CHANGED))
		return;
	if (bpf_sock_destroy && bpf_sock_destroy(common) < 0)
		count_stat(STAT_NOT_DESTROYED);
	else if (!p->ended) { /* where user space has to destroy it, that may fail, and be tried again */
		p->ended = 1;
		passed_record(p, tcp, state, now_ns);
	}
}

/* The socket is locked meanwhile, so nobody connects it anew between the question and the end. */
SEC("iter/tcp")
int iter_end(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tcp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	__u64 cookie;
	struct account *a;

	if (!tcp)
		return 0;
	cookie = bpf_get_socket_cookie(tcp);
	a = account_of(cookie);
	if (a && READ_ONCE(a->held) == cookie)
		end_account(ctx, common, cookie, a);
	else
		end_passed(ctx, common, tcp, cookie);
	return 0;
}
