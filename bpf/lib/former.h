/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Accounts that a build with another layout of them has made, while this one takes over: whoever asks for the account of a socket finds
 * it there, and it moves. Programs are replaced one after the other (loader/hooks.c): first those that only look, which move nothing; then
 * sock_ops, which is told of all that happens to a connection, and from then on finds it in either map; then those that end accounts
 * of their own accord, and last those that open them. The former accounts are only moved, never written, but for what the former programs
 * do, each under the lock of its socket.
 *
 * Whoever comes first puts the account into w_account, wherever it was before, and takes it out of the former map: by removing it, or by giving
 * up its place. One that finds it gone from there was second, whether the account is still open or closed by now: what it has put
 * there itself is nobody's, and goes again. The loader moves those that nobody asks for by the same rules (loader/takeover.c). */
#pragma once

#include "upgrading.h"
#include "maps/abi/account.h"

/* w_account of the former build where there is one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} former_accounts __weak SEC(".maps");

/* And its w_account_near. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} former_near __weak SEC(".maps");

struct account_reading {
	const __u8 *from;
	__u8 *to;
};

static long account_read_byte(__u32 i, void *arg)
{
	struct account_reading *reading = arg;
	__u32 from;

	if (i >= sizeof(struct account))
		return 1;
	from = former_account.from[i];
	if (from < former_account.bytes)
		reading->to[i] = reading->from[from];
	return 0;
}

/* The place of this cookie in the former array; NULL: another one has it, or none. */
static __always_inline __u8 *former_place(__u64 cookie)
{
	__u32 key = cookie & (former_account.near_entries - 1);
	__u8 *place = former_account.near_entries ? bpf_map_lookup_elem(&former_near, &key) : NULL;

	return place && READ_ONCE(*(__u64 *)(place + former_account.near_owner)) == cookie ? place : NULL;
}

static __always_inline bool account_convert(const __u8 *from, __u64 cookie, struct account *a)
{
	struct account_reading reading = { .from = from, .to = (__u8 *)a };

	bpf_loop(sizeof(*a), account_read_byte, &reading, 0);
	return a->held == cookie;
}

/* The account as this build has it, into `a`, which is all zero. False: there is none, or it was ended, by whoever is about to drop it. */
static __always_inline bool account_former(__u64 cookie, struct account *a)
{
	const __u8 *from = former_place(cookie);

	if (from)
		return account_convert(from, cookie, a);
	from = former_account.in_table ? bpf_map_lookup_elem(&former_accounts, &cookie) : NULL;
	return from && account_convert(from, cookie, a);
}

/* False: it is not there any more. */
static __always_inline bool former_remove(__u64 cookie)
{
	__u8 *place = former_place(cookie);

	if (place)
		return __sync_bool_compare_and_swap((__u64 *)(place + former_account.near_owner), cookie, 0);
	return former_account.in_table && bpf_map_delete_elem(&former_accounts, &cookie) == 0;
}

/* Where it is not there any more it was moved just now. */
static __noinline struct account *account_take_over(__u64 cookie)
{
	struct account a = {};
	bool made;

	if (account_former(cookie, &a)) {
		made = bpf_map_update_elem(&w_account, &cookie, &a, BPF_NOEXIST) == 0;
		if (!former_remove(cookie) && made)
			bpf_map_delete_elem(&w_account, &cookie);
	}
	return bpf_map_lookup_elem(&w_account, &cookie);
}
