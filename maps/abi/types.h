/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What every map header builds on: fixed-width types and the one form of address that maps speak. */
#pragma once

#include <linux/types.h>

/* An IPv6 address, or an IPv4 one in v4-mapped form (RFC 4291 section 2.5.5.2), in network order. AF_INET6 sockets reach
 * IPv4 destinations through the connect6 hook in this very form, so one key serves all. */
struct ip {
	union {
		__u8 bytes[16];
		__be32 words[4];
		__u64 halves[2]; /* for comparing and hashing only: the bytes stay in network order */
	};
};

/* A member that a build which does not know it may leave out when it takes over the maps of this one (loader/type_layout.h). The tag is in the
 * BTF of the map, so a build that is older than the member reads it. */
#define WEFT_TAG_MAY_DROP "weft:may-drop"
#ifdef __bpf__
#define WEFT_MAY_DROP __attribute__((btf_decl_tag(WEFT_TAG_MAY_DROP)))
#else
#define WEFT_MAY_DROP
#endif

#ifndef WEFT_TEST_LAYOUT
#define WEFT_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "a map takes as much memory as its header says")
#define WEFT_TEST_SHIFT(type)
#else /* a build that tests make, whose maps lie otherwise */
#define WEFT_SIZE(type, bytes) _Static_assert(sizeof(type) >= (bytes), "a map takes as much memory as its header says")
#define WEFT_TEST_SHIFT(type) type test_shift WEFT_MAY_DROP;
#endif

/* A map is defined by the kernel side alone. Every BPF object that uses it states the same definition, and the BPF
 * linker, which wants weak symbols for that, checks that they agree. */
#ifdef __bpf__
#define WEFT_MAP(name, map_type, key_type, value_type, entries, flags)                                                        \
	struct {                                                                                                               \
		__uint(type, map_type);                                                                                        \
		__uint(max_entries, entries);                                                                                  \
		__uint(map_flags, flags);                                                                                      \
		__type(key, key_type);                                                                                         \
		__type(value, value_type);                                                                                     \
	} name __weak SEC(".maps")
#endif
