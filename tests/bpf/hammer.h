/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What hammer.bpf.c and its test agree on. */
#pragma once

#include <linux/types.h>

#define PAIRS 4

/* Object ids of what is changed together. */
struct pair {
	__u32 services[2];
	__u32 target;
	__u32 node;
};
