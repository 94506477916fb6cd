/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/frame.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/address.h"

enum { ETHERNET = 14, IP4 = 20, IP6 = 40, TCP = 20, ICMP = 8 };

static bool is_v6(const struct frame *frame)
{
	return frame->bytes[12] == 0x86;
}

static size_t l4_at(const struct frame *frame)
{
	return ETHERNET + (is_v6(frame) ? IP6 : (frame->bytes[ETHERNET] & 15) * 4u);
}

uint8_t *frame_ip(struct frame *frame)
{
	return frame->bytes + ETHERNET;
}

uint8_t *frame_l4(struct frame *frame)
{
	return frame->bytes + l4_at(frame);
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static uint32_t get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static uint32_t sum(const uint8_t *from, size_t bytes, uint32_t before)
{
	for (size_t i = 0; i < bytes; i++)
		before += i & 1 ? from[i] : from[i] << 8;
	while (before >> 16)
		before = (before & 0xffff) + (before >> 16);
	return before;
}

/* Addresses, protocol and length, as far as they are in the checksum of this. */
static uint32_t pseudo_sum(const struct frame *frame, size_t bytes)
{
	const uint8_t *ip = frame->bytes + ETHERNET;

	if (is_v6(frame))
		return sum(ip + 8, 32, ip[6] + bytes);
	return ip[9] == IPPROTO_ICMP ? 0 : sum(ip + 12, 8, ip[9] + bytes);
}

static size_t checksum_at(const struct frame *frame)
{
	const uint8_t protocol = frame->bytes[ETHERNET + (is_v6(frame) ? 6 : 9)];

	return l4_at(frame) + (protocol == IPPROTO_TCP ? 16 : 2);
}

static void put_address(uint8_t *at, const struct ip *ip, bool v6)
{
	memcpy(at, v6 ? ip->bytes : ip->bytes + 12, v6 ? 16 : 4);
}

static struct ip get_address(const uint8_t *at, bool v6)
{
	struct ip ip = { .bytes = { [10] = 0xff, [11] = 0xff } };

	memcpy(v6 ? ip.bytes : ip.bytes + 12, at, v6 ? 16 : 4);
	return ip;
}

/* Everything below what the frame holds behind its IP header already. */
static void finish(struct frame *frame, const struct ip *source, const struct ip *destination, uint8_t protocol, size_t bytes)
{
	const bool v6 = !ip_is_v4(source);
	uint8_t *ip = frame->bytes + ETHERNET;
	const size_t l4 = ETHERNET + (v6 ? IP6 : IP4);

	memcpy(frame->bytes, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12);
	put16(frame->bytes + 12, v6 ? 0x86dd : 0x0800);
	memset(ip, 0, v6 ? IP6 : IP4);
	if (v6) {
		ip[0] = 0x60;
		put16(ip + 4, bytes);
		ip[6] = protocol;
		ip[7] = 60;
	} else {
		ip[0] = 0x45;
		put16(ip + 2, IP4 + bytes);
		ip[8] = 60;
		ip[9] = protocol;
	}
	put_address(ip + (v6 ? 8 : 12), source, v6);
	put_address(ip + (v6 ? 24 : 16), destination, v6);
	if (!v6)
		put16(ip + 10, ~sum(ip, IP4, 0));
	frame->length = l4 + bytes;
	put16(frame->bytes + checksum_at(frame), ~sum(frame->bytes + l4, bytes, pseudo_sum(frame, bytes)));
}

void frame_make_tcp(struct frame *frame, const struct frame_tcp *t)
{
	uint8_t *tcp = frame->bytes + ETHERNET + (ip_is_v4(&t->source) ? IP4 : IP6);

	memset(frame, 0, sizeof(*frame));
	put16(tcp, t->source_port);
	put16(tcp + 2, t->destination_port);
	put32(tcp + 4, t->sequence);
	put32(tcp + 8, t->acknowledged);
	tcp[12] = TCP / 4 << 4;
	tcp[13] = t->flags;
	put16(tcp + 14, 64000);
	for (size_t i = 0; i < t->payload_bytes; i++)
		tcp[TCP + i] = i;
	finish(frame, &t->source, &t->destination, IPPROTO_TCP, TCP + t->payload_bytes);
}

void frame_make_error(struct frame *frame, const struct ip *source, uint8_t type, uint8_t code, const struct frame *about)
{
	const bool v6 = is_v6(about);
	const size_t quoted = (v6 ? IP6 : IP4) + 8;
	uint8_t *icmp = frame->bytes + ETHERNET + (v6 ? IP6 : IP4);
	const struct ip to = get_address(about->bytes + ETHERNET + (v6 ? 8 : 12), v6);

	memset(frame, 0, sizeof(*frame));
	icmp[0] = type;
	icmp[1] = code;
	memcpy(icmp + ICMP, about->bytes + ETHERNET, quoted);
	finish(frame, source, &to, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, ICMP + quoted);
}

/* TCP's ports, and addresses, of the packet whose IP header is at `ip`. */
static void read_start(const uint8_t *ip, bool v6, struct frame_tcp *ret_tcp)
{
	const uint8_t *tcp = ip + (v6 ? IP6 : IP4);

	*ret_tcp = (struct frame_tcp){
		.source = get_address(ip + (v6 ? 8 : 12), v6),
		.destination = get_address(ip + (v6 ? 24 : 16), v6),
		.source_port = get16(tcp),
		.destination_port = get16(tcp + 2),
		.sequence = get32(tcp + 4),
	};
}

bool frame_read_tcp(const struct frame *frame, struct frame_tcp *ret_tcp)
{
	const bool v6 = is_v6(frame);
	const uint8_t *ip = frame->bytes + ETHERNET, *tcp = ip + (v6 ? IP6 : IP4);
	const size_t headers = ETHERNET + (v6 ? IP6 : IP4) + TCP;

	if (frame->length < headers || ip[v6 ? 6 : 9] != IPPROTO_TCP || ip[0] != (v6 ? 0x60 : 0x45) || tcp[12] >> 4 != TCP / 4 ||
	    (v6 ? IP6 + get16(ip + 4) : get16(ip + 2)) != frame->length - ETHERNET)
		return false;
	read_start(ip, v6, ret_tcp);
	ret_tcp->acknowledged = get32(tcp + 8);
	ret_tcp->flags = tcp[13];
	ret_tcp->payload_bytes = frame->length - headers;
	return true;
}

bool frame_read_error(const struct frame *frame, struct frame_tcp *ret_quote, struct ip *ret_source, struct ip *ret_destination)
{
	const bool v6 = is_v6(frame);
	const uint8_t *ip = frame->bytes + ETHERNET, *quote = ip + (v6 ? IP6 : IP4) + ICMP;

	if (ip[v6 ? 6 : 9] != (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || quote + (v6 ? IP6 : IP4) + 8 > frame->bytes + frame->length)
		return false;
	*ret_source = get_address(ip + (v6 ? 8 : 12), v6);
	*ret_destination = get_address(ip + (v6 ? 24 : 16), v6);
	read_start(quote, v6, ret_quote);
	return true;
}

static bool header_right(const uint8_t *ip)
{
	return sum(ip, (ip[0] & 15) * 4u, 0) == 0xffff;
}

bool frame_checksums_right(const struct frame *frame)
{
	const bool v6 = is_v6(frame);
	const size_t l4 = l4_at(frame), bytes = frame->length - l4;

	if (!v6 && !header_right(frame->bytes + ETHERNET))
		return false;
	if (!v6 && frame->bytes[ETHERNET + 9] == IPPROTO_ICMP && !header_right(frame->bytes + l4 + ICMP))
		return false;
	return sum(frame->bytes + l4, bytes, pseudo_sum(frame, bytes)) == 0xffff;
}
