/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Other addresses and ports in a packet, with its checksums. A new address never changes a length, so what the device is to cut into
 * segments later (GSO), and checksums that it is to complete (CHECKSUM_PARTIAL), stay as they are: the helpers know of both. */
#pragma once

#include "packet.h"

struct end { /* of a connection, as a packet shows it */
	struct ip address;
	__be16 port;
};

enum nat_side { NAT_SOURCE, NAT_DESTINATION };

#define TCP_CHECKSUM __builtin_offsetof(struct tcp_header, checksum)
#define ICMP_CHECKSUM __builtin_offsetof(struct icmp_header, checksum)

static __always_inline __u32 address_offset(__u32 l3, bool v6, enum nat_side side)
{
	if (v6)
		return l3 + (side == NAT_SOURCE ? __builtin_offsetof(struct ipv6hdr, saddr) : __builtin_offsetof(struct ipv6hdr, daddr));
	return l3 + (side == NAT_SOURCE ? __builtin_offsetof(struct iphdr, saddr) : __builtin_offsetof(struct iphdr, daddr));
}

static __always_inline __u32 port_offset(__u32 l4, enum nat_side side)
{
	return l4 + (side == NAT_SOURCE ? __builtin_offsetof(struct tcp_start, source) : __builtin_offsetof(struct tcp_start, destination));
}

/* A checksum over an IPv6 address that changes. Hardware that has summed the whole packet (CHECKSUM_COMPLETE) sees no difference, since
 * the address and the checksum cancel out: BPF_F_IPV6 says so, where the kernel knows it. Elsewhere the sum is found wrong later and
 * made anew in software. */
static __always_inline long checksum_v6(struct __sk_buff *skb, __u32 at, const struct ip *from, const struct ip *to)
{
	const __s64 change = bpf_csum_diff((__be32 *)from->words, sizeof(from->words), (__be32 *)to->words, sizeof(to->words), 0);

	return bpf_l4_csum_replace(skb, at, 0, change, BPF_F_PSEUDO_HDR | BPF_F_IPV6) &&
	       bpf_l4_csum_replace(skb, at, 0, change, BPF_F_PSEUDO_HDR);
}

static __always_inline bool set_port(struct __sk_buff *skb, __u32 l4, __u32 checksum, enum nat_side side, __be16 from, __be16 to)
{
	return from == to || !(bpf_l4_csum_replace(skb, checksum, from, to, sizeof(to)) ||
			       bpf_skb_store_bytes(skb, port_offset(l4, side), &to, sizeof(to), 0));
}

/* An address in the header at `l3`, and the header's own checksum. */
static __always_inline bool set_address(struct __sk_buff *skb, __u32 l3, bool v6, enum nat_side side, const struct ip *from,
					const struct ip *to)
{
	const __u32 at = address_offset(l3, v6, side);

	if (v6)
		return !bpf_skb_store_bytes(skb, at, to->words, sizeof(to->words), 0);
	return !(bpf_l3_csum_replace(skb, l3 + __builtin_offsetof(struct iphdr, check), from->words[3], to->words[3], sizeof(__be32)) ||
		 bpf_skb_store_bytes(skb, at, &to->words[3], sizeof(__be32), 0));
}

/* Writes one end of a TCP packet. False: it could not be written, and may be half changed. */
static __always_inline bool nat_tcp(struct __sk_buff *skb, const struct packet *p, enum nat_side side, const struct end *from,
				    const struct end *to)
{
	const __u32 checksum = p->l4 + TCP_CHECKSUM;

	if (!set_port(skb, p->l4, checksum, side, from->port, to->port))
		return false;
	if (ip_equal(&from->address, &to->address))
		return true;
	if (p->v6 ? checksum_v6(skb, checksum, &from->address, &to->address) :
		    bpf_l4_csum_replace(skb, checksum, from->address.words[3], to->address.words[3], BPF_F_PSEUDO_HDR | sizeof(__be32)))
		return false;
	return set_address(skb, ETHERNET_BYTES, p->v6, side, &from->address, &to->address);
}

/* The same for the quote in an ICMP error, whose sides are the other way round. The checksum of ICMP for IPv4 is over the quoted
 * header, checksum included, so that an address and its header's checksum cancel out; that for IPv6 sees the address. The checksum of
 * the quoted TCP header stays: the quote seldom has what it is over. */
static __always_inline bool nat_quote(struct __sk_buff *skb, const struct packet *p, enum nat_side side, const struct end *from,
				      const struct end *to)
{
	const __u32 checksum = p->l4 + ICMP_CHECKSUM;
	__s64 change;

	if (!set_port(skb, p->quote_l4, checksum, side, from->port, to->port))
		return false;
	if (ip_equal(&from->address, &to->address))
		return true;
	if (p->v6) {
		change = bpf_csum_diff((__be32 *)from->address.words, sizeof(from->address.words), (__be32 *)to->address.words,
				       sizeof(to->address.words), 0);
		if (bpf_l4_csum_replace(skb, checksum, 0, change, 0))
			return false;
	}
	return set_address(skb, p->quote_l3, p->v6, side, &from->address, &to->address);
}

/* The address of an ICMP error itself. */
static __always_inline bool nat_error(struct __sk_buff *skb, const struct packet *p, enum nat_side side, const struct ip *from,
				      const struct ip *to)
{
	if (ip_equal(from, to))
		return true;
	if (p->v6 && checksum_v6(skb, p->l4 + ICMP_CHECKSUM, from, to))
		return false;
	return set_address(skb, ETHERNET_BYTES, p->v6, side, from, to);
}
