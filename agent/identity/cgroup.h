/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups of the cgroup2 hierarchy (its mount point: base/cgroup.h), and network namespaces. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cgroup.h"

/* The kernel's id of a cgroup directory: its inode (bpf_get_current_cgroup_id()). -EINVAL when it is not in a cgroup2
 * file system. */
int cgroup_id(const char *path, uint64_t *ret_id);
/* Levels between the hierarchy's root and this directory; the root is 0. Compares text only. -EINVAL when it is not below
 * `root`. */
int cgroup_depth(const char *root, const char *path);
/* The cgroup2 path of a process below the mount, "/a/b", from /proc/PID/cgroup. -ENOENT without such a process. */
int cgroup_of_pid(int pid, char *buffer, size_t size);
/* The same from the text of such a file. -ENOENT when it has no line of the cgroup2 hierarchy, -ENAMETOOLONG. */
int cgroup_parse(const char *text, char *buffer, size_t size);
/* Whether any process is in the cgroup or below, from its open "cgroup.events": 1, 0, or -ENODEV once it was removed. */
int cgroup_populated(int events_fd);
/* Visits the cgroup at `path` and those below it: `cgroup` (may be NULL) gets the id of each, then `process` its processes, 0 for one
 * outside of our pid namespace. Cgroups that go meanwhile are no error, nor are threaded ones, whose processes are listed in the domain
 * above. A negative return of either ends the visit and is returned; -errno when `path` itself cannot be opened. Blocks. */
struct cgroup_visitor {
	int (*cgroup)(uint64_t id, void *arg);
	int (*process)(int pid, void *arg);
	void *arg;
};
int cgroup_visit(const char *path, const struct cgroup_visitor *visitor);
/* Removes the cgroup and the empty ones below it. -EBUSY while a process is in any of them; -ENOENT is no error. Blocks. */
int cgroup_remove(const char *path);

/* SO_NETNS_COOKIE of the namespace an open /proc/PID/ns/net or /run/netns/NAME refers to. Enters it with setns(2) and
 * returns to the thread's own, aborting when that fails: for the offload thread, or single-threaded programs. */
int netns_cookie(int netns_fd, uint64_t *ret_cookie);
/* Calls `fn` in that namespace: what it returned, or -errno. Same thread rule. */
int netns_within(int netns_fd, int (*fn)(void *arg), void *arg);
/* A socket made in that namespace: domain, type and protocol as for socket(2). Same thread rule. fd or -errno. */
int netns_socket(int netns_fd, int domain, int type, int protocol);
/* SO_NETNS_COOKIE of the namespace a socket was made in. */
int netns_cookie_of_socket(int fd, uint64_t *ret_cookie);
