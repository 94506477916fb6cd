/* SPDX-License-Identifier: Apache-2.0 */
/* What ring_writer.bpf.c writes. */
#pragma once

#include <linux/types.h>

#define RING_BYTES 16384

struct ring_record {
	__u64 number;
	__u8 rest[512]; /* 0x5a */
};

static inline __u32 ring_record_bytes(__u64 number)
{
	return 8 + (number * 37 & 511);
}
