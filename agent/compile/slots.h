/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint each kernel slot stands for. An identity is {virtual node, address, port, namespace of a loopback
 * address}; TCP is the only protocol. An endpoint that comes back finds its slot again until a sweep has freed it, so
 * that one that flaps consumes none. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "maps/kernel.h"

struct slots;

struct slot_identity {
	struct ip address;
	uint64_t node; /* hash of its name; 0: not known (yet), cannot be found */
	uint64_t netns_cookie;
	__be16 port;
};

int slots_new(const struct kernel_memory *memory, struct slots **ret_slots); /* 0 or -ENOMEM */
struct slots *slots_free(struct slots *slots);

/* The slot in use for this identity, or -ENOENT. */
int64_t slots_find(const struct slots *slots, const struct slot_identity *identity);
/* `slot`, which is in use, stands for `identity` from now on, as an endpoint of `target` (object id; 0: not known). */
void slots_set(struct slots *slots, uint32_t slot, const struct slot_identity *identity, uint32_t target);
/* NULL: free, or nothing was said of it. */
const struct slot_identity *slots_get(const struct slots *slots, uint32_t slot);
/* The one target it is an endpoint of; 0: several, or not known. */
uint32_t slots_target(const struct slots *slots, uint32_t slot);
