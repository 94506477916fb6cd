/* SPDX-License-Identifier: Apache-2.0 */
/* What bench/tcp_server.c and bench/tcp_load.c agree on. The first byte of a connection says what is wanted of the server. */
#pragma once

#include <netinet/in.h>
#include <string.h>

#include "base/address.h"

enum tcp_wish {
	TCP_ECHO = 'e', /* all bytes come back */
	TCP_SINK = 's', /* bytes are read until the client's FIN, then the server closes */
	TCP_TAG = 't', /* one byte comes back: the server's tag */
};
#define TCP_MESSAGE_BYTES 64
/* Of one read or write of a bulk stream. With larger ones equal runs are further apart: less of it stays in the caches. */
#define TCP_BULK_BYTES (64 * 1024)

/* "10.0.0.1:80" or "[fd00::1]:80". The address's length, or -EINVAL. */
static inline int tcp_address_parse(const char *text, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct ip ip;
	__be16 port;
	int r;

	r = ip_port_parse(text, &ip, &port);
	if (r < 0)
		return r;
	memset(ret_address, 0, sizeof(*ret_address));
	if (ip_is_v4(&ip)) {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		v4->sin_addr.s_addr = ip.words[3];
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = port;
	memcpy(&v6->sin6_addr, &ip, sizeof(v6->sin6_addr));
	return sizeof(*v6);
}
