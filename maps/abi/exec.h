/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Programs that begin with an App Mesh variable in their environment: told to the agent, which looks who they are. */
#pragma once

#include "types.h"

#define EXEC_RING_BYTES 65536

struct exec_record {
	__u64 exec_ns; /* CLOCK_MONOTONIC: the program's first instruction is yet to come */
	__u32 pid; /* in the initial pid namespace */
	__u32 pad;
};
WEFT_SIZE(struct exec_record, 16);

struct exec_state {
	__u64 wanted; /* written by the agent; 0: environments are not looked at */
	__u64 lost; /* by the kernel: records that the ring had no room for */
};
WEFT_SIZE(struct exec_state, 16);

#ifdef __bpf__
#include <linux/bpf.h>

WEFT_MAP(w_exec_state, BPF_MAP_TYPE_ARRAY, __u32, struct exec_state, 1, BPF_F_MMAPABLE);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EXEC_RING_BYTES);
} w_exec __weak SEC(".maps");
#endif
