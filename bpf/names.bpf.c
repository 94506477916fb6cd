// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Answers to queries for names, on their way back: programs compare the source of an answer with the resolver they asked. */
#include "lib/resolve.h"
#include "maps/abi/name.h" /* pinned with the other maps; no program reads it */

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	if (is_responder4(ctx->user_ip4, ctx->user_port)) {
		const struct ip source = ip_from_v4(ctx->user_ip4);

		show_resolver4(ctx, &source);
	}
	return HOOK_PROCEED;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	if (is_responder6(ctx)) {
		const struct ip source = ip_from_ctx6(ctx);

		show_resolver6(ctx, &source);
	}
	return HOOK_PROCEED;
}
