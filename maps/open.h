/* SPDX-License-Identifier: Apache-2.0 */
/* Open connections, each with its account and how it stands now. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "maps/kernel.h"

struct open_connection {
	struct account account;
	bool live; /* the figures below are known: some process has the socket open, or there is none on this host */
	uint8_t state; /* TCP_* of include/net/tcp_states.h */
	uint32_t rtt_us;
	uint32_t retransmits;
	uint64_t bytes_sent;
	uint64_t bytes_received;
};

/* As kernel_account_each(). Where the kernel has no iterator over files none of those of sockets is live. Blocks while the files of
 * all processes of this host are looked at: for the offload thread. */
typedef int kernel_open_fn(const struct open_connection *open, void *arg);
int kernel_open_each(struct kernel *kernel, kernel_open_fn *fn, void *arg);
