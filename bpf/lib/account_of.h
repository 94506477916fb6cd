/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Where the account of a socket is found. */
#pragma once

#include "former.h"

/* The account of a socket, by its cookie; NULL: it has none. */
static __always_inline struct account *account_of(__u64 cookie)
{
	struct account *a = bpf_map_lookup_elem(&w_account, &cookie);

	return a || !former_account.bytes ? a : account_take_over(cookie);
}

static __always_inline void account_drop(__u64 cookie)
{
	bpf_map_delete_elem(&w_account, &cookie);
}
