/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of one namespace, followed by rtnetlink(7) into the kernel's own_address map: local destinations are
 * never refused. An address is its own while any interface has it. The socket pins the namespace: free this when the last
 * process goes. */
#pragma once

#include <stdint.h>

#include "agent/loop/loop.h"
#include "maps/kernel.h"

struct own_addresses;

int own_addresses_new(struct loop *loop, struct kernel *kernel, uint64_t netns_cookie, struct own_addresses **ret_addresses);
/* Closes the socket and removes the entries. NULL is fine. Returns NULL. */
struct own_addresses *own_addresses_free(struct own_addresses *addresses);
/* The same, but the entries stay for the next agent. */
struct own_addresses *own_addresses_leave(struct own_addresses *addresses);

/* An entry that the agent before us made: it stays at least until the first dump is complete. */
int own_addresses_adopt(struct own_addresses *addresses, const struct ip *address);

/* Takes `route_fd` (see probe.h) when it succeeds. `ready` comes once, not from inside this call: 0 when every address
 * that the namespace has is in the map, or -E2BIG (the map is full) or another -errno; following goes on all the same. */
typedef void own_addresses_fn(int r, void *arg);
int own_addresses_follow(struct own_addresses *addresses, int route_fd, own_addresses_fn *ready, void *arg);
/* A new descriptor of the namespace, the caller's to close. -EAGAIN: it is not followed yet. */
int own_addresses_netns_fd(const struct own_addresses *addresses);
