/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Connections that come in without sockets, at times that the test names: what the program `serve` takes. */
#pragma once

#include "maps/abi/types.h"

enum serve_kind {
	SERVE_ROOM, /* is there any? */
	SERVE_SYN,
	SERVE_ESTABLISHED,
	SERVE_END,
};

struct serve_step {
	__u64 now_ns;
	__u64 cookie; /* of the accepted socket */
	__u64 netns_cookie;
	struct ip address;
	__u32 kind; /* enum serve_kind */
	__be16 port;
	__u8 pad[2];
	/* out: */
	__u32 has_room;
	__u32 found; /* the listener has a limit */
};
