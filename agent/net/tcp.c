/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/cleanup.h"

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t address_fill(union address *address, const struct ip *ip, __be16 port)
{
	memset(address, 0, sizeof(*address));
	if (ip_is_v4(ip)) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = port;
		address->v4.sin_addr.s_addr = ip->words[3];
		return sizeof(address->v4);
	}
	address->v6.sin6_family = AF_INET6;
	address->v6.sin6_port = port;
	memcpy(&address->v6.sin6_addr, ip->bytes, sizeof(ip->bytes));
	return sizeof(address->v6);
}

static int address_parse(const char *text, union address *ret_address, socklen_t *ret_size, struct error *err)
{
	struct ip ip;
	__be16 port;

	if (ip_port_parse(text, &ip, &port) < 0)
		return error_set(err, -EINVAL, "'%s' is no ADDRESS:PORT (10.0.0.1:9090, [fd00::1]:9090)", text);
	*ret_size = address_fill(ret_address, &ip, port);
	return 0;
}

static int listen_with(int fd, const union address *address, socklen_t size, const char *text, struct error *err)
{
	const int on = 1, off = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    (address->any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0))
		return error_set(err, -errno, "cannot set up a socket: %m");
	if (bind(fd, &address->any, size) < 0)
		return error_set(err, -errno, "cannot bind '%s': %m", text);
	if (listen(fd, SOMAXCONN) < 0)
		return error_set(err, -errno, "cannot listen on '%s': %m", text);
	return 0;
}

int tcp_listen_with(int fd, const char *text, struct error *err)
{
	union address address;
	socklen_t size;
	int r = address_parse(text, &address, &size, err);

	return r < 0 ? r : listen_with(fd, &address, size, text, err);
}

int tcp_listen(const char *text, int *ret_fd, struct error *err)
{
	_cleanup_close_ int fd = -1;
	union address address;
	socklen_t size;
	int r = address_parse(text, &address, &size, err);

	if (r < 0)
		return r;
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, -errno, "cannot make a socket: %m");
	r = listen_with(fd, &address, size, text, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void tcp_address_read(const struct sockaddr *address, struct ip *ret_ip, __be16 *ret_port)
{
	union address from = {};

	if (address->sa_family == AF_INET) {
		memcpy(&from.v4, address, sizeof(from.v4));
		*ret_ip = (struct ip){ .words = { 0, 0, htonl(0xffff), from.v4.sin_addr.s_addr } };
		*ret_port = from.v4.sin_port;
	} else {
		memcpy(&from.v6, address, sizeof(from.v6));
		memcpy(ret_ip->bytes, &from.v6.sin6_addr, sizeof(ret_ip->bytes));
		*ret_port = from.v6.sin6_port;
	}
}
