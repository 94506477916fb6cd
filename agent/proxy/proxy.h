/* SPDX-License-Identifier: Apache-2.0 */
/* weft-proxy: what must answer while weftd is away. It holds the DNS responder, the HTTP proxy, the control socket, the watches on
 * workloads' resolv.conf and on their liveness, and the heartbeat that the kernel's hooks look at.
 *
 * It goes into a cgroup of its own first ("weft-proxy-INSTANCE" below the one it was started in, unless it is alone in that one), by which
 * the hooks know its sockets. When a workload's last process ends everything in its namespace is closed at once, whether weftd is
 * there or not. It ends by itself when the instance is uninstalled. A started one takes over from the one that runs, which ends when
 * what it has under way is done. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/error.h"

#define PROXY_BEAT_NS 500000000ull

struct proxy_options {
	const char *instance;
	uint64_t drain_max_ns; /* how long it goes on with requests and tunnels once a successor has taken over, */
	uint64_t drain_time_ns; /* and with requests once it was told to end */
	uint32_t workers; /* 0: one for each CPU */
	const char *workload_files; /* agent/access_log/access_log.h; NULL: none */
};

struct proxy;
/* -ENOENT: no kernel part. -ETIMEDOUT: a weft-proxy runs and does not answer (the message names its pid). */
int proxy_start(struct loop *loop, const struct proxy_options *options, struct proxy **ret_proxy, struct error *err);
/* Ends the loop when what is under way is done; at once where that is nothing, or at the second call. */
void proxy_end(struct proxy *proxy);
bool proxy_is_ending(const struct proxy *proxy); /* without the seat */
/* Ends at once; its sockets are closed, so queries go to the resolvers themselves from the next one on. NULL is fine. */
struct proxy *proxy_stop(struct proxy *proxy);
