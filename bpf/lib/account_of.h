/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Where the account of a socket is found, and where it goes. */
#pragma once

#include "former.h"

/* The place in the array that this cookie shares with others. */
static __always_inline struct near_account *near_place(__u64 cookie)
{
	__u32 key = cookie & (NEAR_ACCOUNTS - 1);

	return bpf_map_lookup_elem(&w_account_near, &key);
}

/* NULL: the socket does not have it. */
static __always_inline struct near_account *near_owned(__u64 cookie)
{
	struct near_account *near = near_place(cookie);

	return near && cookie && READ_ONCE(near->owner) == cookie ? near : NULL;
}

/* NULL: another one has it. */
static __always_inline struct near_account *near_take(__u64 cookie)
{
	struct near_account *near = near_place(cookie);

	return near && __sync_val_compare_and_swap(&near->owner, 0, cookie) == 0 ? near : NULL;
}

/* The account of a socket, by its cookie, in this build's maps; NULL: it has none there. */
static __always_inline struct account *account_here(__u64 cookie)
{
	struct near_account *near = near_owned(cookie);

	return near ? &near->account : bpf_map_lookup_elem(&w_account, &cookie);
}

/* NULL: it has none. */
static __always_inline struct account *account_of(__u64 cookie)
{
	struct account *a = account_here(cookie);

	return a || !former_account.bytes ? a : account_take_over(cookie);
}

/* Nobody holds it any more. */
static __always_inline void account_drop(__u64 cookie)
{
	struct near_account *near = near_owned(cookie);

	if (near)
		__sync_bool_compare_and_swap(&near->owner, cookie, 0); /* it may be another's by now */
	else
		bpf_map_delete_elem(&w_account, &cookie);
}
