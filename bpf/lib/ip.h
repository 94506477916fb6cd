/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Questions about an address. */
#pragma once

#include "bpf.h"
#include "maps/abi/types.h"

static __always_inline struct ip ip_from_v4(__be32 v4)
{
	return (struct ip){ .words = { 0, 0, bpf_htonl(0xffff), v4 } };
}

static __always_inline bool ip_is_v4(const struct ip *ip)
{
	return !ip->words[0] && !ip->words[1] && ip->words[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8 and ::1, and the unspecified addresses, which connect() takes for the host itself. */
static __always_inline bool ip_is_loopback(const struct ip *ip)
{
	if (ip_is_v4(ip))
		return (ip->words[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || !ip->words[3];
	return !ip->words[0] && !ip->words[1] && !ip->words[2] && (ip->words[3] == bpf_htonl(1) || !ip->words[3]);
}

/* fe80::/10, RFC 4291 section 2.5.6. */
static __always_inline bool ip_is_link_local(const struct ip *ip)
{
	return (ip->words[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* An all-zero mask is a network that is not configured. */
static __always_inline bool ip_in(const struct ip *ip, const struct ip *network, const struct ip *mask)
{
	return (mask->halves[0] | mask->halves[1]) && (ip->halves[0] & mask->halves[0]) == network->halves[0] &&
	       (ip->halves[1] & mask->halves[1]) == network->halves[1];
}

static __always_inline bool ip_equal(const struct ip *a, const struct ip *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}
