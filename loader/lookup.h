/* SPDX-License-Identifier: Apache-2.0 */
/* The program `lookup` (bpf/netns/lookup.bpf.c) at a network namespace, which refuses connections to listeners that are full. The agent
 * chooses the namespaces, and each has a program of its own, over the instance's maps, by a link that is pinned as netns_COOKIE: it
 * outlives the agent, and is dead where its namespace is gone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Loads this build's program and attaches it, or puts it in place of the one that is attached. Blocks some ms: for the offload thread.
 * 0 or -errno. */
int lookup_attach(const char *pin_path, uint64_t netns_cookie, int netns_fd, struct error *err);
/* Whether one is there that runs. */
bool lookup_attached(const char *pin_path, uint64_t netns_cookie);
void lookup_detach(const char *pin_path, uint64_t netns_cookie); /* what is not there is fine */

/* Each namespace that has a pin, also a dead one. A negative return of `fn` ends the walk and is returned. Pins may go meanwhile. */
typedef int lookup_fn(uint64_t netns_cookie, void *arg);
int lookup_each(const char *pin_path, lookup_fn *fn, void *arg);
/* After an upgrade: all of them run this build's program. One that keeps an earlier one is named in `err`, the others are done all
 * the same. */
int lookup_refresh(const char *pin_path, struct error *err);
