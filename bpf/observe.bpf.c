// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that user space runs: the decision on demand, and a walk over the sockets that processes have open. */
#include "lib/account_of.h"
#include "lib/decide.h"
#include "lib/iter.h"
#include "maps/abi/live.h"

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

/* Sockets that no process has open any more, and those that io_uring alone knows, are not met. One that several have open is, as often. */
SEC("iter/task_file")
int iter_live(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file; /* read once: the verifier takes a second reading for another pointer */
	struct socket *socket = file ? bpf_sock_from_file(file) : NULL;
	struct sock *sk = socket ? socket->sk : NULL;
	struct live_socket live = {};
	struct tcp_sock *tcp;

	if (!sk)
		return 0;
	live.cookie = sk->__sk_common.skc_cookie.counter; /* 0: nobody has asked for it yet, as connect() would have */
	if (!live.cookie || !account_of(live.cookie))
		return 0;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return 0;
	live.state = sk->__sk_common.skc_state;
	live.bytes_sent = tcp_bytes_sent(tcp->bytes_acked, tcp_fin_is_acked(live.state));
	live.bytes_received = tcp_bytes_received(tcp->bytes_received, sk->__sk_common.skc_flags);
	live.rtt_us = tcp->srtt_us >> 3;
	live.retransmits = tcp->total_retrans;
	bpf_seq_write(ctx->meta->seq, &live, sizeof(live));
	return 0;
}
