/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What the kernel keeps of one connection, from connect() to close: the decision, and what was counted for it. Kept by the cookie of
 * its socket in maps, not in the socket's own storage: they can be listed by every kernel, and without regard to who may enter which
 * namespace; and an account is made and freed in half the time.
 *
 * There are two maps. A cookie has its place in an array, by its lower bits; where that is taken, by a connection that is open for longer,
 * the account goes into a hash. Cookies are numbers in a row, so most connections that come and go get their place, which
 * takes neither a lock nor memory from anywhere, and is beside that of the connection before. An account stays where it was opened. */
#pragma once

#include "types.h"

#define ACCOUNT_NONE 0xffffffffu /* as row and slot: handed to weft-proxy, which counts for itself */

struct account {
	WEFT_TEST_SHIFT(__u64)
	/* Whoever has places in the open counts: the cookie of the socket, or EDGE_HOLDER. Exchanged atomically for 0 by whoever ends the
	 * connection, so the places are given back once; and by its holder alone, for the memory of an ended account is at once another's. */
	__u64 held;
	__u64 generation;
	__u64 connect_ns; /* CLOCK_MONOTONIC */
	__u64 established_ns; /* 0: not yet */
	__u64 netns_cookie; /* 0: of a connection without a socket here (maps/abi/edge.h) */
	__u64 cgroup_id;
	__u32 pid; /* of the caller, in the initial namespace */
	__u32 source; /* object ids */
	__u32 service;
	__u32 target; /* 0: handed to weft-proxy, which chooses one for each request */
	__u32 row;
	__u32 row_incarnation;
	__u32 slot;
	__u32 slot_incarnation;
	struct ip vip; /* what the program asked for, and getpeername() shows */
	struct ip address; /* where it was sent */
	__be16 vip_port;
	__be16 port;
	__u8 reason; /* enum reason */
	__u8 ending; /* enum flow_close: why weft is about to destroy the socket; 0: it is not */
	__u8 audited; /* a change of policy would have closed the connection, but for audit mode: counted once */
	__u8 probe; /* DECISION_PROBE: its outcome decides on the endpoint's ejection */
	__u64 leave_ns; /* CLOCK_MONOTONIC: no connect() would lead here any more, and this one may go on until then; 0: one would */
	__be16 local_port; /* 0: no SYN was sent yet */
	__u8 started; /* TCP_CONNECT_CB came: a SYN is on its way and state changes will be seen */
	__u8 standing; /* enum standing, at the last look */
	__u8 pad[4];
};
WEFT_SIZE(struct account, 136);

/* account_near: the array's element. */
struct near_account {
	struct account account; /* first, so that it is read as one of the hash is */
	__u64 owner; /* cookie of the socket that has the place, whether its account is held or not; 0: none. Taken by exchange for 0 */
};
WEFT_SIZE(struct near_account, 144);

/* Whether a connection may go on, after a change. */
enum standing {
	STANDING_GOOD,
	STANDING_LEFT, /* until leave_ns */
	STANDING_DENIED, /* ends at once */
};

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_account_near, BPF_MAP_TYPE_ARRAY, __u32 /* lower bits of the cookie */, struct near_account, NEAR_ACCOUNTS, BPF_F_MMAPABLE);
WEFT_MAP(w_account, BPF_MAP_TYPE_HASH, __u64 /* socket cookie */, struct account, MAX_ACCOUNTS, BPF_F_NO_PREALLOC);
#endif
