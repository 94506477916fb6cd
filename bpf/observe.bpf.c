// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that user space runs: the decision on demand, and a walk over the accounts of all open sockets. */
#include "lib/decide.h"
#include "lib/iter.h"
#include "maps/abi/open.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void explain_count(const struct decision *d)
{
	const struct explain_key key = { .reason = d->reason, .target = d->target, .slot = d->slot };
	__u64 *value = bpf_map_lookup_elem(&w_explain, &key);
	__u64 one = 1;

	if (value)
		ADD(*value, 1);
	else
		bpf_map_update_elem(&w_explain, &key, &one, BPF_ANY);
}

struct question {
	struct flow flow;
	struct draw draw;
	struct decision d;
	__u64 now_ns;
};

/* A frame of its own, once: there is no room for two as deep. Returns the reason. */
static __noinline __u32 answer(struct question *q)
{
	decide(&q->flow, &q->draw, q->now_ns, &q->d);
	return q->d.reason;
}

static long explain_one(__u32 index, void *arg)
{
	struct question *q = arg;

	q->draw = draw_words();
	q->d = (struct decision){};
	answer(q);
	explain_count(&q->d);
	return 0;
}

/* Sleepable: a plain grace period does not cover it. The agent runs it on the thread that waits for those. */
SEC("syscall")
int explain(struct explain *ctx)
{
	struct question q = { .flow = ctx->flow, .draw = ctx->draw, .now_ns = ctx->now_ns ?: bpf_ktime_get_ns() };

	if (ctx->count) {
		bpf_loop(ctx->count, explain_one, &q, 0);
		return 0;
	}
	q.d.reason = answer(&q);
	ctx->decision = q.d;
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int iter_account(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const struct account *account = ctx->value;
	struct sock *sk = ctx->sk;
	struct open_connection open = {};
	struct tcp_sock *tcp;

	if (!account || !sk)
		return 0;
	open.account = *account;
	open.state = sk->__sk_common.skc_state;
	open.local_port = bpf_htons(sk->__sk_common.skc_num);
	open.cookie = bpf_get_socket_cookie(sk);
	tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp) {
		open.bytes_sent = tcp_bytes_sent(tcp->bytes_acked, tcp_fin_is_acked(open.state));
		open.bytes_received = tcp_bytes_received(tcp->bytes_received, sk->__sk_common.skc_flags);
		open.rtt_us = tcp->srtt_us >> 3;
		open.retransmits = tcp->total_retrans;
	}
	bpf_seq_write(ctx->meta->seq, &open, sizeof(open));
	return 0;
}
