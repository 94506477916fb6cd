// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* getsockopt(SO_ORIGINAL_DST) of a socket that a connection was handed to: where its program meant to go, as it is told where iptables
 * redirected a connection (net/ipv4/netfilter and net/ipv6/netfilter, getorigdst()). weft-proxy attaches this to its own cgroup, which its
 * sockets belong to: no other process's getsockopt() comes by here. */
#include <linux/in6.h>

#include "lib/ip.h"
#include "maps/abi/handover.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOL_IP 0
#define SOL_IPV6 41
#define AF_INET6 10
#define EINVAL 22
#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST, and IP6T_SO_ORIGINAL_DST */
#define SHOWN_BYTES_MAX 4096 /* of an option's value, to a program; where it is longer, Linux before 6.5 fails, unless told to leave it alone */

enum { GETSOCKOPT_DONE = 1 };

static __always_inline const struct handover *handover_of(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct handover_key key = {};

	if (!sk || sk->protocol != IPPROTO_TCP || sk->src_port != PROXY_OUTBOUND_PORT)
		return NULL;
	key.netns_cookie = bpf_get_netns_cookie(ctx);
	key.address = ip_from_fields(sk->family, READ_ONCE(sk->dst_ip4), READ_ONCE(sk->dst_ip6[0]), READ_ONCE(sk->dst_ip6[1]),
				     READ_ONCE(sk->dst_ip6[2]), READ_ONCE(sk->dst_ip6[3]));
	key.port = sk->dst_port;
	return bpf_map_lookup_elem(&w_handover, &key);
}

static __always_inline void answer4(struct bpf_sockopt *ctx, const struct handover *handover)
{
	struct sockaddr_in *address = ctx->optval;

	if ((void *)(address + 1) > ctx->optval_end) {
		ctx->retval = -EINVAL;
		return;
	}
	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = handover->port,
					 .sin_addr.s_addr = handover->destination.words[3] };
	ctx->optlen = sizeof(*address);
	ctx->retval = 0;
}

static __always_inline void answer6(struct bpf_sockopt *ctx, const struct handover *handover)
{
	struct sockaddr_in6 *address = ctx->optval;

	if ((void *)(address + 1) > ctx->optval_end) {
		ctx->retval = -EINVAL;
		return;
	}
	*address = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = handover->port };
	__builtin_memcpy(&address->sin6_addr, &handover->destination, sizeof(handover->destination));
	ctx->optlen = sizeof(*address);
	ctx->retval = 0;
}

SEC("cgroup/getsockopt")
int original_dst(struct bpf_sockopt *ctx)
{
	const bool asked = ctx->optname == ORIGINAL_DST && (ctx->level == SOL_IP || ctx->level == SOL_IPV6);
	const struct handover *handover = asked ? handover_of(ctx) : NULL;

	/* A family's address is asked for at its own level; anything else gets what the kernel says without weft. */
	if (handover && ip_is_v4(&handover->destination) == (ctx->level == SOL_IP)) {
		if (ctx->level == SOL_IP)
			answer4(ctx, handover);
		else
			answer6(ctx, handover);
	} else if (ctx->optlen > SHOWN_BYTES_MAX) {
		ctx->optlen = 0;
	}
	return GETSOCKOPT_DONE;
}
