// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Writes numbered records of many lengths to a small ring, and between them some that are discarded. */
#include "bpf/lib/bpf.h"
#include "tests/bpf/ring_writer.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} ring SEC(".maps");

__u32 wanted;
__u64 written;
struct ring_record record = {};

static long write_one(__u32 i, void *arg)
{
	const __u64 number = written;

	if (number % 3 == 0) {
		__u64 *none = bpf_ringbuf_reserve(&ring, 40, 0);

		if (!none)
			return 1;
		*none = ~0ull;
		bpf_ringbuf_discard(none, BPF_RB_NO_WAKEUP);
	}
	record.number = number;
	if (bpf_ringbuf_output(&ring, &record, ring_record_bytes(number), BPF_RB_NO_WAKEUP))
		return 1; /* it is full */
	written = number + 1;
	return 0;
}

SEC("syscall")
int write_records(void *ctx)
{
	bpf_loop(wanted, write_one, NULL, 0);
	return 0;
}
