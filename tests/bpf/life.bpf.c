// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Steps in the life of a connection, by the functions that the hooks call, at a time that the test names. */
#pragma clang diagnostic ignored "-Wunused-function" /* what only hooks call */
#include "bpf/lib/claim.h"
#include "tests/bpf/life.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define LIFE_HOLDER 1

struct account accounts[LIFE_CONNECTIONS];

/* A frame of its own, that nothing else is in. */
static __noinline int begin(struct life_step *ctx, struct account *a)
{
	struct flow flow = ctx->flow;
	struct draw draw = draw_words();
	struct decision d = {};
	const __u64 now_ns = ctx->now_ns;

	decide(&flow, &draw, now_ns, &d);
	if (reason_verdict(d.reason) == VERDICT_ROUTE)
		d.reason = claim(a, LIFE_HOLDER, &flow, &draw, now_ns, &d);
	ctx->slot = d.slot;
	ctx->probe = a->probe;
	return d.reason;
}

SEC("syscall")
int life(struct life_step *ctx)
{
	struct account *a = &accounts[masked(ctx->connection, LIFE_CONNECTIONS)];
	struct ending e = {};

	switch (ctx->kind) {
	case LIFE_CONNECT:
		ctx->reason = begin(ctx, a);
		break;
	case LIFE_ESTABLISHED:
		account_established(a, ctx->now_ns);
		break;
	case LIFE_END:
		e.now_ns = ctx->now_ns;
		e.how = ctx->how;
		e.bytes_received = ctx->bytes_received;
		account_close(a, LIFE_HOLDER, &e);
		break;
	}
	return 0;
}
