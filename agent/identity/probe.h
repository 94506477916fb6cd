/* SPDX-License-Identifier: Apache-2.0 */
/* A look at a cgroup from the offload thread: whether it is there, which network namespaces its processes are in, and
 * which TCP sockets they have already. Opening /proc, setns(2) and dumps of sockets may block, so nothing of this runs on
 * the loop. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/identity/redirects.h"
#include "base/error.h"

struct probe_netns {
	uint64_t cookie;
	uint64_t inode; /* of the namespace, valid while it lives */
	int pid; /* a process of the cgroup that is in it; 0: the agent's own namespace */
	int pidfd; /* of that process; -1 for the agent */
	int route_fd; /* NETLINK_ROUTE in that namespace, non-blocking, subscribed to addresses: it pins the namespace */
	struct redirects redirects;
	bool redirects_known; /* otherwise the kernel did not say */
};

struct probe {
	/* asked */
	char root[PATH_MAX]; /* of the cgroup2 hierarchy */
	char cgroup[PATH_MAX]; /* absolute; comes back without symbolic links */
	uint64_t expected_id; /* 0: any */
	bool with_own; /* the agent's namespace as well; it comes first */
	int pid; /* must be in the cgroup; its namespace comes before those of the others. 0: none */
	bool only_pid; /* leaves the others alone */
	bool count_sockets;

	/* found */
	uint64_t cgroup_id;
	int depth;
	struct probe_netns *namespaces;
	size_t count;
	uint32_t sockets; /* with only_pid those of the namespace, otherwise those of the cgroup's processes; SOCKETS_UNKNOWN */
};

/* Blocks. -ENOENT: no such cgroup or process, or it is another cgroup by now; -EINVAL: the path is not below the root.
 * The caller calls probe_done() in any case.
 *
 * A process that enters a namespace while this runs may be missed, as one that our /proc does not show. */
int probe_run(struct probe *probe, struct error *err);
/* Closes what was not taken: whoever takes a descriptor puts -1. */
void probe_done(struct probe *probe);
