/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The context of connect, sendmsg, recvmsg, getpeername and bind hooks, and what they answer. */
#pragma once

#include "bpf.h"
#include "maps/abi/reason.h"
#include "maps/abi/types.h"

enum { HOOK_REFUSE, HOOK_PROCEED };

static __always_inline bool is_tcp(const struct bpf_sock_addr *ctx)
{
	return ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP);
}

static __always_inline struct ip ip_from_ctx6(const struct bpf_sock_addr *ctx)
{
	return (struct ip){ .words = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] } };
}

static __always_inline void ip_to_ctx6(struct bpf_sock_addr *ctx, const struct ip *ip)
{
	ctx->user_ip6[0] = ip->words[0];
	ctx->user_ip6[1] = ip->words[1];
	ctx->user_ip6[2] = ip->words[2];
	ctx->user_ip6[3] = ip->words[3];
}

/* EPERM for what is not allowed, ECONNREFUSED for what does not work now. */
static __always_inline int hook_close_door(enum reason reason)
{
	if (reason_verdict(reason) == VERDICT_REFUSE)
		bpf_set_retval(-ECONNREFUSED);
	return HOOK_REFUSE;
}
