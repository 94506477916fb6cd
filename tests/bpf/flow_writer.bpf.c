// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Writes flow records as the hooks do, numbered in end_ns. */
#include "bpf/lib/bpf.h"
#include "bpf/lib/count.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u32 wanted;
__u64 written;

static long write_one(__u32 i, void *arg)
{
	record_write(&(struct flow_record){ .end_ns = written++ });
	return 0;
}

SEC("syscall")
int write_flows(void *ctx)
{
	bpf_loop(wanted, write_one, NULL, 0);
	return 0;
}
