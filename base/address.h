/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses in user space: `struct ip` of the maps, as text and as socket addresses. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "maps/abi/types.h"

#define IP_TEXT_BYTES 46 /* INET6_ADDRSTRLEN */
#define ENDPOINT_TEXT_BYTES 56 /* "[v6]:port" */

/* "10.0.0.1" (v4-mapped) or "fd00::1". 0 or -EINVAL. */
int ip_parse(const char *text, struct ip *ret_ip);
/* v4-mapped addresses print as IPv4. Returns `buffer`. */
const char *ip_format(const struct ip *ip, char buffer[IP_TEXT_BYTES]);
/* "10.0.0.1:80", "[fd00::1]:80". 0 or -EINVAL; the port is 1..65535. */
int ip_port_parse(const char *text, struct ip *ret_ip, __be16 *ret_port);
const char *ip_port_format(const struct ip *ip, __be16 port, char buffer[ENDPOINT_TEXT_BYTES]);
/* "240.240.0.0/16", "2001:2::/48" -> network and mask, both in 128-bit form. -EINVAL, also when host bits are set. */
int ip_prefix_parse(const char *text, struct ip *ret_network, struct ip *ret_mask);

bool ip_is_v4(const struct ip *ip); /* v4-mapped */
bool ip_is_loopback(const struct ip *ip); /* 127.0.0.0/8, ::1 */
/* Only what a connect() can mean: not 0.0.0.0 or ::, which would be everybody's own loopback, and no multicast. */
bool ip_is_connectable(const struct ip *ip);
bool ip_equal(const struct ip *a, const struct ip *b);
bool ip_in_prefix(const struct ip *ip, const struct ip *network, const struct ip *mask);
/* As what connect() and bind() take; the length of it. */
socklen_t ip_to_sockaddr(const struct ip *ip, __be16 port, struct sockaddr_storage *ret_address);
