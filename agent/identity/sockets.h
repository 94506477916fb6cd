/* SPDX-License-Identifier: Apache-2.0 */
/* How many TCP sockets a namespace or a cgroup has already, by sock_diag(7). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SOCKETS_UNKNOWN UINT32_MAX

/* TCP sockets, IPv4 and IPv6, that are established or connecting in the namespace of `diag_fd`, a blocking
 * NETLINK_SOCK_DIAG socket made there. With `cgroup_count`, only those that were created in one of these cgroups: a
 * socket stays with the cgroup of its creation. SOCKETS_UNKNOWN when the kernel cannot tell (no tcp_diag; no cgroup ids
 * before Linux 5.9). Blocks: the kernel walks its table of sockets. */
uint32_t sockets_count(int diag_fd, const uint64_t *cgroup_ids, size_t cgroup_count);
