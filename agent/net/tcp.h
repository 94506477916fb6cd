/* SPDX-License-Identifier: Apache-2.0 */
/* TCP stream sockets. Any thread. */
#pragma once

#include "base/error.h"

/* A listening socket at "10.0.0.1:9090" or "[fd00::1]:9090", non-blocking, with SO_REUSEADDR; "[::]:9090" takes IPv4 as well.
 * -EINVAL: no such address; -EADDRINUSE, -EADDRNOTAVAIL and others of bind(), in words. */
int tcp_listen(const char *address, int *ret_fd, struct error *err);
