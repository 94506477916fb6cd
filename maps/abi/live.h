/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What iter_live writes for each socket that some process has open and that has an account: how its connection stands. */
#pragma once

#include "types.h"

struct live_socket {
	__u64 cookie;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 rtt_us;
	__u32 retransmits;
	__u8 state; /* TCP_* of include/net/tcp_states.h */
	__u8 pad[7];
};
WEFT_SIZE(struct live_socket, 40);
