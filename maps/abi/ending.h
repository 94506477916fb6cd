/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What the programs tell that ask which open connections may go on, and end those that may not. */
#pragma once

#include "types.h"

/* Context of the SEC("syscall") program look_standing, which notes in each account how it stands (enum standing), and until when. */
struct standing_look {
	__u64 now_ns; /* CLOCK_MONOTONIC */
	__u32 good, left, denied; /* out: how many there are of each */
	__u32 pad;
};
WEFT_SIZE(struct standing_look, 24);

/* By iter_end, for each connection that is due: it is destroyed with this, or waits for a SOCK_DESTROY by exactly these. */
struct ended_connection {
	__u64 cookie; /* of the socket */
	struct ip local;
	struct ip peer; /* where weft sent it */
	__be16 local_port;
	__be16 peer_port;
	__u32 device; /* index of the one that the socket is bound to, or 0 */
	__u8 close; /* enum flow_close */
	__u8 destroyed; /* 0: this kernel has no bpf_sock_destroy() */
	__u8 pad[6];
};
WEFT_SIZE(struct ended_connection, 56);
