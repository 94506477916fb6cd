/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Queries for names: from the resolver a program asks to the socket that weft-proxy has for it in the program's own namespace, and
 * the resolver's address back into what the program is shown. A query is steered only where that socket is bound and the proxy
 * lives: otherwise it goes where it was meant to go, so a dead proxy costs a workload its mesh names and nothing else.
 *
 * Measured on 6.18 with the resolvers of glibc, musl and Go, over UDP and TCP, to IPv4, v4-mapped and IPv6 resolvers: all take the
 * answers. Sockets bound to an address of the namespace, and IP_PKTINFO with one, reach the loopback socket and are answered. What no
 * hook can see are IP_UNICAST_IF and the interface in IP_PKTINFO: a query that names a device so is lost; none of the three does. */
#pragma once

#include "identity.h"
#include "ip.h"
#include "proxy.h"
#include "sock_addr.h"
#include "maps/abi/decision.h"
#include "maps/abi/resolver.h"

#define QUERY_PORT 53

static __always_inline bool is_query(const struct flow *flow)
{
	return flow->port == bpf_htons(QUERY_PORT);
}

/* A socket is bound to this very address and port in the caller's namespace. One that is bound to the port on every address is some
 * program's own, from before its namespace was managed. */
static __always_inline bool is_bound(struct bpf_sock_addr *ctx, const struct resolver *to)
{
	const bool v4 = ip_is_v4(&to->address);
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv6);
	struct bpf_sock *sk;
	__be32 bound;

	if (v4) {
		tuple.ipv4.daddr = to->address.words[3];
		tuple.ipv4.dport = to->port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.daddr, to->address.words, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.dport = to->port;
	}
	if (is_tcp(ctx))
		sk = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bound = sk->src_ip6[3];
	asm volatile("" : "+r"(bound)); /* or the compiler makes one load at a computed offset, which the verifier refuses */
	if (v4)
		bound = sk->src_ip4;
	bpf_sk_release(sk);
	return bound == to->address.words[3];
}

/* The responder's socket for this workload and resolver; NULL: the workload has no such resolver. */
static __always_inline const struct resolver *resolver_of(const struct flow *flow)
{
	const struct resolver_key key = { .netns_cookie = flow->netns_cookie, .node = flow->node, .address = flow->destination };

	return bpf_map_lookup_elem(&w_resolver, &key);
}

/* Sends a query to `to` when it will be answered there, and lets it go where it was meant to go otherwise. A socket that is bound to
 * a device does not reach the loopback interface. */
static __always_inline void steer(struct bpf_sock_addr *ctx, const struct resolver *to, __u64 now_ns, struct decision *d)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk || sk->bound_dev_if || !proxy_is_alive(now_ns) || !is_bound(ctx, to)) {
		d->reason = REASON_DNS_BYPASS;
		return;
	}
	d->address = to->address;
	d->port = to->port;
}

/* Not to a link-local address: the device it names was chosen before the hook, and leads to no loopback address. Nor from a socket that
 * is connected to somebody else, whose answers alone it takes: send() comes by here too where an AF_INET6 socket is connected to an
 * IPv4 address, maybe since a time when the query was not steered. */
static __always_inline bool datagram_can_be_steered(struct bpf_sock_addr *ctx, const struct ip *destination, const struct resolver *to)
{
	struct bpf_sock *sk = ctx->sk;
	__be32 peer;

	if (!sk || ip_is_link_local(destination))
		return false;
	if (sk->state != BPF_TCP_ESTABLISHED)
		return true;
	peer = sk->dst_ip6[3];
	asm volatile("" : "+r"(peer)); /* as in is_bound() */
	if (ip_is_v4(&to->address))
		peer = sk->dst_ip4;
	return sk->dst_port == to->port && peer == to->address.words[3];
}

/* Why a query passes that asks no resolver of its workload. The table says nothing where nobody keeps it. */
static __always_inline enum reason query_elsewhere(__u64 now_ns)
{
	return proxy_is_alive(now_ns) ? REASON_DNS_OTHER : REASON_DNS_BYPASS;
}

/* The address of a responder's socket: all that a datagram from elsewhere costs is this. */
static __always_inline bool is_responder4(__be32 address, __be32 port)
{
	return port == bpf_htons(DNS_PORT) && (address & bpf_htonl(0xffff0000)) == bpf_htonl(0x7f350000); /* 127.53.0.0/16 */
}

static __always_inline bool is_responder_port(__be32 port)
{
	return bpf_ntohs(port) - DNS_PORT < (__u32)DNS_PORTS;
}

static __always_inline bool is_responder6(const struct bpf_sock_addr *ctx)
{
	if (!is_responder_port(ctx->user_port) || ctx->user_ip6[0] || ctx->user_ip6[1])
		return false;
	return ctx->user_ip6[2] == bpf_htonl(0xffff) ? is_responder4(ctx->user_ip6[3], ctx->user_port) :
						       !ctx->user_ip6[2] && ctx->user_ip6[3] == bpf_htonl(1);
}

/* The resolver that was asked through this responder's socket; NULL: it is none, or the caller is part of weft itself. */
static __always_inline const struct ip *resolver_asked(struct bpf_sock_addr *ctx, const struct ip *responder)
{
	const struct asked_key key = {
		.netns_cookie = bpf_get_netns_cookie(ctx),
		.address = *responder,
		.port = ctx->user_port,
	};

	return is_weft_itself() ? NULL : bpf_map_lookup_elem(&w_asked, &key);
}

/* In place of a responder's address the program is shown the resolver's. */
static __always_inline void show_resolver4(struct bpf_sock_addr *ctx, const struct ip *responder)
{
	const struct ip *asked = resolver_asked(ctx, responder);

	if (asked) {
		ctx->user_ip4 = asked->words[3];
		ctx->user_port = bpf_htons(QUERY_PORT);
	}
}

static __always_inline void show_resolver6(struct bpf_sock_addr *ctx, const struct ip *responder)
{
	const struct ip *asked = resolver_asked(ctx, responder);

	if (asked) {
		ip_to_ctx6(ctx, asked);
		ctx->user_port = bpf_htons(QUERY_PORT);
	}
}
