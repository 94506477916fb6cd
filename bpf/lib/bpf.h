/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What every program starts with: UAPI types, helpers, and the few words that have no header on the BPF side. */
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define SOCK_STREAM 1
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define ENETUNREACH 101
#define ECONNRESET 104
#define EPIPE 32
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTDOWN 112
#define EHOSTUNREACH 113
#define ENONET 64
#define EPROTO 71
#define ENOPROTOOPT 92
#define EADDRNOTAVAIL 99

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))

/* Adds to a counter that other CPUs, and softirqs on this one, add to as well. */
#define ADD(counter, n) ((void)__sync_fetch_and_add(&(counter), (n)))

/* The same number, for an index that was checked already: the verifier of Linux 6.1 forgets the bounds of what the compiler spilled to
 * the stack, and the compiler would leave out a plain `&` that changes nothing. `size` is a power of two. */
#define masked(index, size)                                                                                                   \
	({                                                                                                                     \
		__u64 _index = (index);                                                                                        \
		asm volatile("%0 &= %1" : "+r"(_index) : "i"((size) - 1));                                                     \
		_index;                                                                                                        \
	})

/* Scales 32 random bits to 0..n-1: off from uniform by at most n / 2^32. */
static __always_inline __u32 scale(__u32 random, __u32 n)
{
	return (__u64)random * n >> 32;
}
