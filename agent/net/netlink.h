/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says by netlink. To a socket of a workload's network namespace others can send as well, whatever bytes: who has CAP_NET_ADMIN
 * there, as some containers do. Any thread. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* A datagram of the kernel's, as recv(2) without flags. 0: it was somebody else's, which is logged; none of its bytes are to be looked at. */
ssize_t netlink_receive(int fd, void *buffer, size_t size);
