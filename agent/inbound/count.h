/* SPDX-License-Identifier: Apache-2.0 */
/* The counts of open connections at listeners with a limit: what was there before the limit is counted in it, and counts are compared with
 * the sockets that have a place there, and corrected. Both for the offload thread, which does one after the other. */
#pragma once

#include <stddef.h>

#include "maps/kernel.h"

/* Counts are read, and again after all accepted sockets were, with a grace period before and after that. `accepted` only grows, and
 * grows with every place taken: where it and `open` stayed the same, no place was taken and so none was given back, and the sockets
 * read in between are exactly those that hold one. Other places are read again, some times. A count that is right is never changed,
 * since the correction is an atomic addition of the difference. Blocks: for the offload thread. The number of places that were
 * corrected, or -errno. `grace_wait` is that of maps/generation.h, but in tests. */
int inbound_count_correct(struct kernel *kernel, int (*grace_wait)(void));

struct earlier_count {
	uint32_t counted;
	uint32_t uncountable; /* the kernel cannot tell of their end (before Linux 6.12), or has no room */
};
/* Counts what is open in the namespace, and has no place in a limit that is in w_serving by now; as often as is wanted. What begins or ends
 * meanwhile is counted once, or not (bpf/earlier.bpf.c). -EOPNOTSUPP where the kernel has no such walk. */
int inbound_count_earlier(struct kernel *kernel, int netns_fd, struct earlier_count *ret_count);
