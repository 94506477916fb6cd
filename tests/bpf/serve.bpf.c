// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Steps in the life of a connection that comes in, by the functions that the hooks call. */
#include "bpf/lib/serving.h"
#include "tests/bpf/serve.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("syscall")
int serve(struct serve_step *ctx)
{
	const struct ip address = ctx->address;
	__u32 place = 0;
	struct serving *serving = serving_of(ctx->netns_cookie, &address, ctx->port, &place);

	ctx->found = serving != NULL;
	if (ctx->kind == SERVE_END) {
		serving_ended(ctx->cookie);
		return 0;
	}
	if (!serving)
		return 0;
	switch (ctx->kind) {
	case SERVE_ROOM:
		ctx->has_room = serving_has_room(serving, ctx->now_ns);
		break;
	case SERVE_SYN:
		serving_begin(serving, ctx->now_ns);
		break;
	case SERVE_ESTABLISHED:
		serving_established(serving, place, ctx->cookie, ctx->now_ns);
		break;
	}
	return 0;
}
