/* SPDX-License-Identifier: Apache-2.0 */
/* A short-lived process in a workload's cgroup and namespace, which looks whether the hooks answer there: it asks for the address of the
 * VIP network itself, which the hooks refuse to a workload with the reason `probe` (bpf/lib/policy.h).
 *
 * The workload must not notice. The process is born in the cgroup (CLONE_INTO_CGROUP), so that limits hold and nothing moves; it is not
 * started where a limit of memory or processes is near, or where all is frozen; it is the first to go should memory run out, and goes with
 * its parent. Its sockets are bound to the loopback device: where a hook is missing nothing leaves the host either. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "maps/abi/types.h"

/* X(symbol, hook) */
#define HOOK_PROBES(X)                                                                                                        \
	X(CONNECT4, "connect4")                                                                                                \
	X(CONNECT6, "connect6")                                                                                                \
	X(SENDMSG4, "sendmsg4")                                                                                                \
	X(SENDMSG6, "sendmsg6")                                                                                                \
	X(BIND4, "bind4")                                                                                                      \
	X(BIND6, "bind6")                                                                                                      \
	X(GETPEERNAME4, "getpeername4")                                                                                        \
	X(GETPEERNAME6, "getpeername6")

enum {
#define X(symbol, hook) HOOK_PROBE_##symbol,
	HOOK_PROBES(X)
#undef X
	HOOK_PROBE_COUNT,
};
extern const char *const hook_probe_names[HOOK_PROBE_COUNT];

enum hook_probe_state {
	HOOK_UNASKED, /* impossible there (no IPv6; lo is down): see `error` */
	HOOK_ANSWERED,
	HOOK_SILENT,
};
struct hook_probe {
	struct {
		enum hook_probe_state state;
		int error; /* errno that was seen instead of the answer; 0: the call succeeded */
	} hooks[HOOK_PROBE_COUNT];
	uint64_t counted; /* reasons `probe` of the node meanwhile; the caller's */
};
/* How many of the hooks that count have answered. */
uint64_t hook_probe_answers(const struct hook_probe *probe);

#define HOOK_PROBE_MEMORY_BYTES (1024 * 1024) /* what must be left to the cgroup; the process takes a tenth */
#define HOOK_PROBE_PROCESSES 2

/* `cgroup_root`: where cgroup2 is mounted; `cgroup`: below it. `vip4`, `vip6`: the networks' own addresses.
 * -EAGAIN, -ENOMEM, -EBUSY: the cgroup is near a limit, or frozen: its own affair. -ETIMEDOUT: the process did not end within 2 s, and was
 * killed. Other -errno: it could not be made. One thread only. */
int hook_probe_run(const char *cgroup_root, const char *cgroup, int netns_fd, const struct ip *vip4, const struct ip *vip6,
		   struct hook_probe *ret_probe, struct error *err);

/* Whether so much memory and so many processes more fit into the cgroup and those above it, and it is not frozen. Memory that the kernel
 * can take back counts as free. 0, -ENOMEM, -EAGAIN or -EBUSY with the cgroup's name; limits that cannot be read are none. */
int cgroup_headroom(const char *cgroup_root, const char *cgroup, uint64_t memory_bytes, uint64_t processes, struct error *err);
