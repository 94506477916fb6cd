/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A TCP packet becomes its own answer: a reset (RFC 9293 section 3.10.7.1). */
#pragma once

#include "packet.h"

#define RESET_HOPS 64

/* Whether the device is to complete the TCP checksum, which the field then holds the sum of the pseudo header for. There is no asking:
 * the helper leaves such a field alone when something else than the pseudo header changes. */
static __always_inline bool checksum_is_partial(struct __sk_buff *skb, const struct packet *p)
{
	__be16 after = p->tcp.checksum;

	bpf_l4_csum_replace(skb, p->l4 + __builtin_offsetof(struct tcp_header, checksum), 0, 1, sizeof(__be16));
	bpf_skb_load_bytes(skb, p->l4 + __builtin_offsetof(struct tcp_header, checksum), &after, sizeof(after));
	return after == p->tcp.checksum;
}

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16);
}

static __always_inline __u64 sum_words(const void *from, __u32 bytes, __u64 sum)
{
	const __u32 *words = from;

	for (__u32 i = 0; i < bytes / 4; i++)
		sum += words[i];
	return sum;
}

struct reset_v4 {
	struct iphdr ip;
	struct tcp_header tcp;
} __attribute__((packed));
struct reset_v6 {
	struct ipv6hdr ip;
	struct tcp_header tcp;
} __attribute__((packed));

static __always_inline __u64 pseudo_header(const struct packet *p)
{
	const __u64 sum = bpf_htonl(IPPROTO_TCP) + (__u64)bpf_htonl(sizeof(struct tcp_header));

	if (!p->v6)
		return sum + p->source.words[3] + p->destination.words[3];
	return sum_words(&p->source, sizeof(p->source), sum_words(&p->destination, sizeof(p->destination), sum));
}

static __always_inline struct tcp_header reset_header(const struct packet *p, bool partial)
{
	struct tcp_header tcp = {
		.start = { .source = p->tcp.start.destination, .destination = p->tcp.start.source },
		.header_words = sizeof(tcp) / 4 << 4,
		.flags = TCP_RST,
	};
	const __u32 sequence = bpf_ntohl(p->tcp.start.sequence);
	__u64 sum = pseudo_header(p);

	if (p->tcp.flags & TCP_ACK) {
		tcp.start.sequence = p->tcp.acknowledged;
	} else {
		tcp.flags |= TCP_ACK;
		tcp.acknowledged = bpf_htonl(sequence + p->payload_bytes + !!(p->tcp.flags & TCP_SYN) + !!(p->tcp.flags & TCP_FIN));
	}
	if (partial)
		tcp.checksum = checksum_fold(sum);
	else
		tcp.checksum = ~checksum_fold(sum_words(&tcp, sizeof(tcp), sum));
	return tcp;
}

static __always_inline bool reset_write_v4(struct __sk_buff *skb, const struct packet *p, const struct tcp_header *tcp)
{
	struct reset_v4 reset = {
		.ip = {
			.version = 4,
			.ihl = 5,
			.tot_len = bpf_htons(sizeof(reset)),
			.frag_off = bpf_htons(0x4000), /* don't fragment */
			.ttl = RESET_HOPS,
			.protocol = IPPROTO_TCP,
			.saddr = p->destination.words[3],
			.daddr = p->source.words[3],
		},
		.tcp = *tcp,
	};

	reset.ip.check = ~checksum_fold(sum_words(&reset.ip, sizeof(reset.ip), 0));
	return !bpf_skb_store_bytes(skb, ETHERNET_BYTES, &reset, sizeof(reset), 0);
}

static __always_inline bool reset_write_v6(struct __sk_buff *skb, const struct packet *p, const struct tcp_header *tcp)
{
	struct reset_v6 reset = {
		.ip = {
			.version = 6,
			.payload_len = bpf_htons(sizeof(*tcp)),
			.nexthdr = IPPROTO_TCP,
			.hop_limit = RESET_HOPS,
		},
		.tcp = *tcp,
	};

	__builtin_memcpy(&reset.ip.saddr, &p->destination, sizeof(reset.ip.saddr));
	__builtin_memcpy(&reset.ip.daddr, &p->source, sizeof(reset.ip.daddr));
	return !bpf_skb_store_bytes(skb, ETHERNET_BYTES, &reset, sizeof(reset), 0);
}

/* Turns the packet, which came in, into a reset and sends it back by its device; the verdict. A reset is never answered, and options of
 * IP and extension headers are not repeated: where those are, the checksum that a device is to complete would be found elsewhere. */
static __always_inline int reset_answer(struct __sk_buff *skb, const struct packet *p)
{
	const __u32 l4 = ETHERNET_BYTES + (p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	const bool partial = checksum_is_partial(skb, p);
	struct tcp_header tcp = reset_header(p, partial);
	__u8 macs[2 * ETH_ALEN], swapped[2 * ETH_ALEN];

	if (p->tcp.flags & TCP_RST || p->l4 != l4)
		return TC_DROP;
	if (bpf_skb_change_tail(skb, l4 + sizeof(tcp), 0) || bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return TC_DROP;
	__builtin_memcpy(swapped, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(swapped + ETH_ALEN, macs, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0))
		return TC_DROP;
	if (p->v6 ? !reset_write_v6(skb, p, &tcp) : !reset_write_v4(skb, p, &tcp))
		return TC_DROP;
	return bpf_redirect(skb->ifindex, 0);
}
