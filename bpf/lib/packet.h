/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a packet of an Ethernet device is: TCP over IPv4 or IPv6, an ICMP error about it, or something else. Headers are copied out by
 * bpf_skb_load_bytes(), which reads wherever the bytes are; nothing is trusted but the length of the packet. */
#pragma once

#include "ip.h"

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

enum packet_kind {
	PACKET_OTHER, /* nothing that ends or begins a TCP connection */
	PACKET_TCP,
	PACKET_ERROR, /* an ICMP error about a TCP packet */
	PACKET_FIRST_FRAGMENT, /* of a TCP packet: the ports are there, maybe no more */
	PACKET_FRAGMENT,
	PACKET_MALFORMED, /* says it is TCP and is not, or hides what it is behind more headers than anybody needs */
};

/* What a program of tc answers; NEXT leaves the packet to whoever comes after it. */
enum { TC_NEXT = -1, TC_DROP = 2 };

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* The port numbers and sequence number, which every TCP header and every quote of one begins with, and the rest. */
struct tcp_start {
	__be16 source;
	__be16 destination;
	__be32 sequence;
};
struct tcp_header {
	struct tcp_start start;
	__be32 acknowledged;
	__u8 header_words; /* in the upper four bits */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

/* RFC 792 and RFC 4443; the kernel's headers of these would want the C library's. */
enum icmp_type { ICMP_UNREACHABLE = 3, ICMP_REDIRECT = 5, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETER_PROBLEM = 12 };
enum icmp6_type { ICMP6_UNREACHABLE = 1, ICMP6_INFORMATIONAL = 128 };
struct icmp_header {
	__u8 type, code;
	__be16 checksum;
	__be32 rest;
};

#define ETHERNET_BYTES 14
#define EXTENSION_HEADERS_MAX 6 /* RFC 8200 section 4.1 knows seven, one of them twice; more than two are never seen with TCP */
#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET_MASK 0x1fff
#define IP6_OFFSET_MASK 0xfff8
#define IP6_MORE_FRAGMENTS 1

struct packet {
	struct ip source, destination;
	struct ip quoted_source, quoted_destination; /* PACKET_ERROR: the addresses of the packet that the error is about */
	enum packet_kind kind;
	bool v6;
	__u8 protocol; /* as found behind what extension headers there are */
	__u8 icmp_type;
	__u32 l4; /* offset of the TCP or ICMP header */
	__u32 quote_l3, quote_l4; /* PACKET_ERROR: of the headers in the quote */
	struct tcp_header tcp; /* PACKET_FIRST_FRAGMENT: its ports; PACKET_ERROR: the quote's */
	__u32 payload_bytes; /* PACKET_TCP: behind the TCP header */
};

/* The addresses of an IPv4 or IPv6 header, and where the next one begins. */
struct ip_span {
	struct ip source, destination;
	__u32 l4;
	__u32 end; /* of the packet as the header tells; 0: it does not, since the packet is too long for that (BIG TCP) */
	__u8 protocol;
	bool fragment, first; /* `first` of those, too */
};

static __always_inline bool span_v4(struct __sk_buff *skb, __u32 l3, struct ip_span *span)
{
	struct iphdr header;
	__u16 offset;

	if (bpf_skb_load_bytes(skb, l3, &header, sizeof(header)) || header.version != 4 || header.ihl < 5)
		return false;
	offset = bpf_ntohs(header.frag_off);
	span->source = ip_from_v4(header.saddr);
	span->destination = ip_from_v4(header.daddr);
	span->l4 = l3 + header.ihl * 4;
	span->end = header.tot_len ? l3 + bpf_ntohs(header.tot_len) : 0;
	span->protocol = header.protocol;
	span->fragment = offset & (IP_MORE_FRAGMENTS | IP_OFFSET_MASK);
	span->first = !(offset & IP_OFFSET_MASK);
	return true;
}

struct extension_header { /* the beginning of those that are walked over, and the whole of the fragment header */
	__u8 next;
	__u8 words; /* of 8 bytes, without the first one */
	__be16 offset; /* of the fragment header */
	__be32 id;
};

static __always_inline bool span_v6(struct __sk_buff *skb, __u32 l3, struct ip_span *span)
{
	struct extension_header extension;
	struct ipv6hdr header;

	if (bpf_skb_load_bytes(skb, l3, &header, sizeof(header)) || header.version != 6)
		return false;
	__builtin_memcpy(&span->source, &header.saddr, sizeof(span->source));
	__builtin_memcpy(&span->destination, &header.daddr, sizeof(span->destination));
	span->l4 = l3 + sizeof(header);
	span->end = header.payload_len ? span->l4 + bpf_ntohs(header.payload_len) : 0;
	span->protocol = header.nexthdr;
	span->fragment = false;
	span->first = true;
	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		if (span->protocol != IPPROTO_HOPOPTS && span->protocol != IPPROTO_ROUTING && span->protocol != IPPROTO_DSTOPTS &&
		    span->protocol != IPPROTO_FRAGMENT)
			return true;
		if (bpf_skb_load_bytes(skb, span->l4, &extension, sizeof(extension)))
			return false;
		if (span->protocol == IPPROTO_FRAGMENT) {
			span->fragment = extension.offset & bpf_htons(IP6_OFFSET_MASK | IP6_MORE_FRAGMENTS);
			span->first = !(extension.offset & bpf_htons(IP6_OFFSET_MASK));
			span->l4 += sizeof(extension);
		} else {
			span->l4 += (extension.words + 1) * 8;
		}
		span->protocol = extension.next;
		if (!span->first)
			return true; /* what follows is from the middle */
	}
	return false;
}

static __always_inline bool span_ip(struct __sk_buff *skb, __u32 l3, bool v6, struct ip_span *span)
{
	return v6 ? span_v6(skb, l3, span) : span_v4(skb, l3, span);
}

static __always_inline enum packet_kind parse_tcp(struct __sk_buff *skb, const struct ip_span *span, struct packet *p)
{
	__u32 end = span->end ?: skb->len, payload;

	if (span->fragment && !span->first)
		return PACKET_FRAGMENT;
	if (span->fragment) {
		if (bpf_skb_load_bytes(skb, p->l4, &p->tcp.start, sizeof(p->tcp.start)))
			return PACKET_MALFORMED;
		return PACKET_FIRST_FRAGMENT;
	}
	if (bpf_skb_load_bytes(skb, p->l4, &p->tcp, sizeof(p->tcp)) || p->tcp.header_words >> 4 < 5)
		return PACKET_MALFORMED;
	payload = p->l4 + (p->tcp.header_words >> 4) * 4;
	if (end < payload || end > skb->len)
		return PACKET_MALFORMED;
	p->payload_bytes = end - payload;
	return PACKET_TCP;
}

static __always_inline bool is_error(const struct packet *p)
{
	if (p->v6)
		return p->icmp_type && p->icmp_type < ICMP6_INFORMATIONAL;
	return p->icmp_type == ICMP_UNREACHABLE || p->icmp_type == ICMP_TIME_EXCEEDED || p->icmp_type == ICMP_PARAMETER_PROBLEM ||
	       p->icmp_type == ICMP_REDIRECT;
}

static __always_inline enum packet_kind parse_icmp(struct __sk_buff *skb, const struct ip_span *span, struct packet *p)
{
	struct ip_span quote;

	if (span->fragment || bpf_skb_load_bytes(skb, p->l4, &p->icmp_type, sizeof(p->icmp_type)) || !is_error(p))
		return PACKET_OTHER;
	p->quote_l3 = p->l4 + sizeof(struct icmp_header);
	if (!span_ip(skb, p->quote_l3, p->v6, &quote) || quote.protocol != IPPROTO_TCP || !quote.first ||
	    bpf_skb_load_bytes(skb, quote.l4, &p->tcp.start, sizeof(p->tcp.start)))
		return PACKET_OTHER; /* of no use to anybody's TCP either */
	p->quote_l4 = quote.l4;
	p->quoted_source = quote.source;
	p->quoted_destination = quote.destination;
	return PACKET_ERROR;
}

/* Fills `p`, which must be zero. */
static __always_inline void packet_parse(struct __sk_buff *skb, struct packet *p)
{
	struct ip_span span;

	if (skb->vlan_present)
		return; /* of another network, whose device is above this one */
	p->v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	if (!p->v6 && skb->protocol != bpf_htons(ETH_P_IP))
		return;
	if (!span_ip(skb, ETHERNET_BYTES, p->v6, &span)) {
		p->kind = PACKET_MALFORMED;
		return;
	}
	p->source = span.source;
	p->destination = span.destination;
	p->protocol = span.protocol;
	p->l4 = span.l4;
	if (span.protocol == IPPROTO_TCP)
		p->kind = parse_tcp(skb, &span, p);
	else if (span.protocol == (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		p->kind = parse_icmp(skb, &span, p);
}
