/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What the iterator over all accounts writes for each socket: its account and where the connection stands. */
#pragma once

#include "account.h"

struct open_connection {
	struct account account;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 cookie; /* of the socket */
	__u32 rtt_us;
	__u32 retransmits;
	__u8 state; /* TCP_* of include/net/tcp_states.h */
	__u8 pad[3];
	__be16 local_port;
	__u16 pad2;
};
WEFT_SIZE(struct open_connection, 168);
