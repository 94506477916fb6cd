/* SPDX-License-Identifier: Apache-2.0 */
/* Ends what is due in one namespace. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "maps/kernel.h"

struct destroyed {
	size_t drained, policy_changed; /* closed, as the kernel says */
	size_t failed; /* attempts that netlink refused */
};

/* Enters the namespace, runs iter_end there and comes back; where the kernel has no bpf_sock_destroy() (before Linux 6.5), it marks
 * the sockets, and each is closed by SOCK_DESTROY for its addresses and its cookie, so that no other one can be hit. Adds to
 * *destroyed. Blocks: for the offload thread, which aborts the process where it cannot come back. 0, or -errno: -EOPNOTSUPP where the
 * kernel has neither. */
int destroy_in_netns(struct kernel *kernel, int netns_fd, struct destroyed *destroyed);
