/* SPDX-License-Identifier: Apache-2.0 */
/* TCP stream sockets. Any thread. */
#pragma once

#include "base/error.h"
#include "maps/abi/types.h"

struct sockaddr;

/* A listening socket at "10.0.0.1:9090" or "[fd00::1]:9090", non-blocking, with SO_REUSEADDR; "[::]:9090" takes IPv4 as well.
 * What it accepts has TCP_NODELAY. -EINVAL: no such address; -EADDRINUSE, -EADDRNOTAVAIL and others of bind(), in words. */
int tcp_listen(const char *address, int *ret_fd, struct error *err);
/* The same with a socket that is there already, of another namespace, say: of the address's family, non-blocking; it stays the caller's. */
int tcp_listen_with(int fd, const char *address, struct error *err);
/* An AF_INET or AF_INET6 address. */
void tcp_address_read(const struct sockaddr *address, struct ip *ret_ip, __be16 *ret_port);
