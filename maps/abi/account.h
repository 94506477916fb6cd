/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What the kernel keeps with one connection's socket, from connect() to close: the decision, and what was counted for it. */
#pragma once

#include "types.h"


struct account {
	__u32 held; /* exchanged atomically by whoever ends the connection: the open counts are released once */
	__u32 started; /* TCP_CONNECT_CB came: a SYN is on its way and state changes will be seen */
	__u64 generation;
	__u64 connect_ns; /* CLOCK_MONOTONIC */
	__u64 established_ns; /* 0: not yet */
	__u64 netns_cookie;
	__u64 cgroup_id;
	__u32 pid; /* of the caller, in the initial namespace */
	__u32 source; /* object ids */
	__u32 service;
	__u32 target;
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
};
WEFT_SIZE(struct account, 128);

#ifdef __bpf__
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct account);
} w_account __weak SEC(".maps");
#endif
