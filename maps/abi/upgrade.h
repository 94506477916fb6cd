/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What passes between the maps of two builds, while one takes over from the other (loader/exchange.h). */
#pragma once

#include "account.h"
#include "edge.h"
#include "endpoint.h"
#include "event.h"
#include "exec.h"
#include "proxy.h"
#include "reason.h"
#include "types.h"

/* layout: whose maps these are. Made anew with every takeover, and written when that is complete. */
struct layout_note {
	__u64 layout; /* MAPS_LAYOUT of the build; 0: no build can use them yet */
	/* Types that no map has as its key or value; of no size, here for the BTF of the map. */
	struct flow_record flow[0];
	struct exec_record exec[0];
	enum reason reason[0];
	enum statistic statistic[0];
	enum flow_close close[0];
	enum dns_outcome outcome[0];
	enum health health[0];
	enum edge_state state[0];
};
WEFT_SIZE(struct layout_note, 8);

/* carried: the number of the last addition, so that none is made twice. */

/* Context of the SEC("syscall") program `carry`, which adds what the former maps counted on each CPU. */
struct carry {
	__u64 number; /* of this addition, from 1 on */
	__u64 count;
	__u32 statistic; /* enum statistic; STAT_COUNT: what was counted is a reason */
	struct reason_key reason;
};
WEFT_SIZE(struct carry, 32);

/* How an account of the build before becomes one of this. All zero, and no account of any other build is looked for, but in the programs
 * that take over. */
#define FORMER_ACCOUNT_MAX_BYTES 255
#define FORMER_NONE 255 /* no byte of the former: 0 */
struct former_account {
	__u32 bytes; /* how large one is; 0: there are none */
	__u32 in_table; /* whether some are in the hash */
	__u32 near_entries; /* of the array; 0: none are there */
	__u32 near_owner; /* offset of the owner of a place there */
	__u8 from[sizeof(struct account)]; /* which byte of it each byte is */
	__u32 edge_waits; /* the former w_edge, by its id, where that lies otherwise: until it is carried over (struct edge_hand), its connections
			   * stand still. 0: it does not */
};

#ifdef __bpf__
WEFT_MAP(w_layout, BPF_MAP_TYPE_ARRAY, __u32, struct layout_note, 1, BPF_F_MMAPABLE);
WEFT_MAP(w_carried, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1, 0);
#endif
