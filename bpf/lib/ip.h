/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Questions about an address. */
#pragma once

#include "bpf.h"
#include "maps/abi/types.h"

static __always_inline struct ip ip_from_v4(__be32 v4)
{
	return (struct ip){ .words = { 0, 0, bpf_htonl(0xffff), v4 } };
}

/* From a context's two fields. Both are read, whatever the family: where the compiler made one load of two branches, by a pointer that
 * it has computed, the verifier would refuse it. */
static __always_inline struct ip ip_from_fields(__u32 family, __be32 v4, __be32 word0, __be32 word1, __be32 word2, __be32 word3)
{
	return family == AF_INET ? ip_from_v4(v4) : (struct ip){ .words = { word0, word1, word2, word3 } };
}
#define ip_remote_of(ctx)                                                                                                     \
	ip_from_fields((ctx)->family, READ_ONCE((ctx)->remote_ip4), READ_ONCE((ctx)->remote_ip6[0]), READ_ONCE((ctx)->remote_ip6[1]),\
		       READ_ONCE((ctx)->remote_ip6[2]), READ_ONCE((ctx)->remote_ip6[3]))
#define ip_local_of(ctx)                                                                                                      \
	ip_from_fields((ctx)->family, READ_ONCE((ctx)->local_ip4), READ_ONCE((ctx)->local_ip6[0]), READ_ONCE((ctx)->local_ip6[1]),\
		       READ_ONCE((ctx)->local_ip6[2]), READ_ONCE((ctx)->local_ip6[3]))

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
