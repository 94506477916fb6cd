/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Connections that tests lead through their lives without sockets, at times of their own: what the program `life` takes. */
#pragma once

#include "maps/abi/decision.h"
#include "maps/abi/event.h"
#include "maps/abi/types.h"

#define LIFE_CONNECTIONS 256 /* a power of two */

enum life_kind {
	LIFE_CONNECT, /* decide and claim */
	LIFE_ESTABLISHED,
	LIFE_END,
};

struct life_step {
	struct flow flow; /* of a connect */
	__u64 now_ns;
	__u64 bytes_received; /* of an end */
	__u32 kind; /* enum life_kind */
	__u32 connection; /* below LIFE_CONNECTIONS */
	__u32 how; /* of an end: enum flow_close */
	/* out, of a connect: */
	__u32 reason;
	__u32 slot;
	__u32 probe; /* it was made the probe of an ejected endpoint */
};
