/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups and network namespaces as identities. Where the hierarchy is mounted says base/cgroup.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cgroup.h"
#include "base/error.h"

/* The kernel's id of a cgroup directory: its inode (bpf_get_current_cgroup_id()). */
int cgroup_id(const char *path, uint64_t *ret_id);
/* Levels between the hierarchy's root and this directory; the root is 0. */
int cgroup_depth(const char *root, const char *path);
/* The cgroup2 path of a process below the mount, "/a/b", from /proc/PID/cgroup. */
int cgroup_of_pid(int pid, char *buffer, size_t size);

/* SO_NETNS_COOKIE of the namespace an open /proc/PID/ns/net or /run/netns/NAME refers to. Enters it with setns(2) and returns to
 * the thread's own, aborting when that fails: for the offload thread, or single-threaded programs. */
int netns_cookie(int netns_fd, uint64_t *ret_cookie);
/* A socket made in that namespace: domain, type and protocol as for socket(2). Same thread rule. fd or -errno. */
int netns_socket(int netns_fd, int domain, int type, int protocol);
