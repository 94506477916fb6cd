/* SPDX-License-Identifier: Apache-2.0 */
/* The resolvers of workloads: what /etc/resolv.conf says in the file system of their processes, followed. Files belong to workloads:
 * they are opened on the offload thread, beneath the process's root (openat2 RESOLVE_IN_ROOT), regular files only, at most
 * RESOLV_CONF_MAX_BYTES. Rewritten in place, replaced by rename, its symbolic link pointed elsewhere, bind-mounted over, another
 * process with another mount namespace: the change is seen at once where inotify tells, otherwise within 2 s. Thread: the loop's.
 *
 * A resolver that has gone from the file stays for 10 s: programs go on asking it until they read the file again (Go looks each 5 s).
 *
 * Before a workload's first process, what process 1 sees stands in for it, or else what this process does, where that is in the same
 * network namespace: what a service manager starts there will see the same, and may ask at once. */
#pragma once

#include <stdint.h>

#include "agent/dns/resolv_conf.h"
#include "agent/loop/loop.h"

struct resolv_watches; /* all of a process */
struct resolv_watch; /* one workload */

/* What a look found. The union over the different file systems that the workload's processes see (mount namespace and root, at most 8). */
struct resolv_found {
	struct resolv_conf conf;
	size_t unseen; /* processes not looked at: of file systems beyond these, or beyond 4,096 processes */
	bool nscd; /* a name service cache daemon answers in its file system: its look-ups bypass port 53 */
	bool nss_resolve; /* nsswitch.conf asks systemd-resolved by its socket: likewise */
};

int resolv_watches_new(struct loop *loop, struct offload *offload, struct resolv_watches **ret_watches);
/* Before the offload thread ends. Its watches are gone as well. NULL is fine. */
struct resolv_watches *resolv_watches_free(struct resolv_watches *watches);

/* `cgroup` is the absolute path of the workload's cgroup; processes of it (and below) that are in the network namespace with this inode
 * (0: in any) count. `fn` comes when the first look that finds a process is done, and then when something changed; never from inside this
 * call. While no process can be found the last state stays. -ENOMEM; -ENAMETOOLONG. */
typedef void resolv_watch_fn(const struct resolv_found *found, void *arg);
int resolv_watch_new(struct resolv_watches *watches, const char *cgroup, uint64_t netns_inode, resolv_watch_fn *fn, void *arg,
		     struct resolv_watch **ret_watch);
struct resolv_watch *resolv_watch_free(struct resolv_watch *watch); /* NULL is fine; also from the callback */
