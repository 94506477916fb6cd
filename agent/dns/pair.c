/* SPDX-License-Identifier: Apache-2.0 */
/* The place of a pair's sockets follows from its node and resolver, so that it is the same in every run: programs that connected a socket
 * long ago are still heard. A pair without sockets is in the map with port 0, where nobody can be bound: the hooks then know that the
 * resolver is one of the workload's, and let the query pass as `dns-bypass`. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/dns/responder_internal.h"
#include "agent/identity/cgroup.h"
#include "agent/net/netlink.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"

enum {
	V4_PLACES = 0xfffe, /* 127.53.0.1 to 127.53.255.254 */
	V4_TRIES = 8, /* places taken by somebody else, until we give up for this time */
	BACKLOG = 128,
};

static const char lo_down[] = "lo is down";

/* ---- where ---- */

static struct ip loopback_v4(unsigned number)
{
	return (struct ip){ .bytes = { [10] = 0xff, 0xff, 127, 53, (uint8_t)(number >> 8), (uint8_t)number } };
}

static bool is_taken(const struct namespace *namespace, const struct ip *address, uint16_t port)
{
	list_for_each(it, &namespace->places)
		list_for_each(jt, &container_of(it, struct place, node)->pairs) {
			const struct pair *pair = container_of(jt, struct pair, node);

			if (pair->port == port && ip_equal(&pair->address, address))
				return true;
		}
	return false;
}

/* The n-th place to try, of as many as there are. */
static void candidate(const struct pair *pair, unsigned n, struct ip *ret_address, uint16_t *ret_port)
{
	static const struct ip loopback_v6 = { .bytes = { [15] = 1 } };
	const uint64_t hash = hash_string(pair->place->name->text) ^ hash_bytes(&pair->resolver, sizeof(pair->resolver));
	const unsigned first = (unsigned)(hash >> 32 ^ hash) % V4_PLACES;
	const uint16_t port = pair->place->namespace->responder->port;

	if (ip_is_v4(&pair->resolver)) {
		*ret_address = loopback_v4(1 + (first + n) % V4_PLACES);
		*ret_port = port;
	} else {
		*ret_address = loopback_v6;
		*ret_port = port + (first + n) % DNS_PORTS;
	}
}

/* ---- sockets ---- */

static int socket_bound(const struct namespace *namespace, int type, const struct ip *address, uint16_t port)
{
	static const int one = 1;
	const bool v4 = ip_is_v4(address);
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = address->words[3] };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	_cleanup_close_ int fd = netns_socket(namespace->fd, v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return fd;
	memcpy(&sin6.sin6_addr, address, sizeof(sin6.sin6_addr));
	if (!v4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	/* Connections of a predecessor that are in TIME_WAIT are in nobody's way. */
	if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	r = v4 ? bind(fd, (struct sockaddr *)&sin, sizeof(sin)) : bind(fd, (struct sockaddr *)&sin6, sizeof(sin6));
	if (r < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int sockets_open(const struct pair *pair, const struct ip *address, uint16_t port, int *ret_udp_fd, int *ret_tcp_fd)
{
	static const int bytes = UDP_BUFFER_BYTES;
	const struct namespace *namespace = pair->place->namespace;
	_cleanup_close_ int udp_fd = socket_bound(namespace, SOCK_DGRAM, address, port);
	_cleanup_close_ int tcp_fd = udp_fd < 0 ? -1 : socket_bound(namespace, SOCK_STREAM, address, port);

	if (udp_fd < 0)
		return udp_fd;
	if (tcp_fd < 0)
		return tcp_fd;
	if (listen(tcp_fd, BACKLOG) < 0)
		return -errno;
	/* Beyond net.core.rmem_max where that is allowed; a smaller buffer is no failure. */
	if (setsockopt(udp_fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(udp_fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	*ret_udp_fd = TAKE_FD(udp_fd);
	*ret_tcp_fd = TAKE_FD(tcp_fd);
	return 0;
}

/* 0, -EADDRNOTAVAIL: lo is down; -EADDRINUSE: others are there; -ENOSPC: so are our own pairs; or another -errno. */
static int place_find(const struct pair *pair, struct ip *ret_address, uint16_t *ret_port, int *ret_udp_fd, int *ret_tcp_fd)
{
	const bool v4 = ip_is_v4(&pair->resolver);
	const unsigned places = v4 ? V4_PLACES : DNS_PORTS;
	unsigned tries = v4 ? V4_TRIES : DNS_PORTS;
	int r = -ENOSPC;

	for (unsigned n = 0; n < places && tries > 0; n++) {
		struct ip address;
		uint16_t port;

		candidate(pair, n, &address, &port);
		if (is_taken(pair->place->namespace, &address, port))
			continue;
		r = sockets_open(pair, &address, port, ret_udp_fd, ret_tcp_fd);
		if (r == 0) {
			*ret_address = address;
			*ret_port = port;
		}
		if (r != -EADDRINUSE)
			return r;
		tries--;
	}
	return r;
}

static const char *reason_of(int r)
{
	switch (r) {
	case -EADDRNOTAVAIL:
		return lo_down;
	case -EADDRINUSE:
		return "another program is bound there";
	case -ENOSPC:
		return "other resolvers have all ports on ::1";
	case -E2BIG:
		return "the table of resolvers is full";
	default:
		return strerrordesc_np(-r);
	}
}

static int sockets_attach(struct pair *pair, const struct ip *address, uint16_t port, int udp_fd, int tcp_fd)
{
	struct loop *loop = pair->place->namespace->responder->loop;
	struct loop_io *udp_io = NULL, *tcp_io = NULL;
	int r;

	r = loop_io_add(loop, udp_fd, EPOLLIN, serve_udp, pair, &udp_io);
	if (r == 0)
		r = loop_io_add(loop, tcp_fd, EPOLLIN, stream_accept, pair, &tcp_io);
	if (r < 0) {
		loop_io_remove(udp_io);
		return r;
	}
	pair->address = *address;
	pair->port = port;
	pair->udp_fd = udp_fd;
	pair->tcp_fd = tcp_fd;
	pair->udp_io = udp_io;
	pair->tcp_io = tcp_io;
	pair->accept_paused = false;
	pair->reason = NULL;
	return 0;
}

static void sockets_close(struct pair *pair, const char *reason)
{
	connections_close(pair);
	upstreams_close(pair);
	pair->udp_io = loop_io_remove(pair->udp_io);
	pair->tcp_io = loop_io_remove(pair->tcp_io);
	pair->udp_fd = fd_close(pair->udp_fd);
	pair->tcp_fd = fd_close(pair->tcp_fd);
	pair->port = 0;
	pair->reason = reason;
}

/* ---- the map ---- */

static struct resolver_key resolver_key(const struct pair *pair, uint32_t node_id)
{
	return (struct resolver_key){ .netns_cookie = pair->place->namespace->cookie, .node = node_id, .address = pair->resolver };
}

int pair_publish(struct pair *pair)
{
	const struct responder_maps *maps = &pair->place->namespace->responder->maps;
	const struct resolver_key key = resolver_key(pair, pair->place->node_id);
	const struct resolver resolver = { .address = pair->address, .port = htons(pair->port) };
	int r = maps->resolver_set(maps->arg, &key, &resolver);

	if (r == 0)
		pair->published = true;
	return r;
}

int pair_unpublish(struct pair *pair, uint32_t node_id)
{
	const struct responder_maps *maps = &pair->place->namespace->responder->maps;
	const struct resolver_key key = resolver_key(pair, node_id);

	pair->published = false;
	return maps->resolver_remove(maps->arg, &key);
}

/* ---- pairs ---- */

int pair_new(struct place *place, const struct ip *resolver, struct pair **ret_pair)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	uint16_t port;

	if (!pair)
		return -ENOMEM;
	pair->place = place;
	pair->resolver = *resolver;
	pair->reason = "not opened yet";
	pair->udp_fd = pair->tcp_fd = -1;
	list_init(&pair->upstreams);
	list_init(&pair->connections);
	candidate(pair, 0, &pair->address, &port); /* the address, for the map, until it has sockets; its port stays 0 */
	list_append(&place->pairs, &pair->node);
	*ret_pair = pair;
	return 0;
}

int pair_open(struct pair *pair)
{
	_cleanup_close_ int udp_fd = -1, tcp_fd = -1;
	struct ip address;
	uint16_t port;
	int r;

	if (!pair->reason)
		return 0;
	r = pair->place->namespace->lo_down ? -EADDRNOTAVAIL : place_find(pair, &address, &port, &udp_fd, &tcp_fd);
	if (r == 0)
		r = sockets_attach(pair, &address, port, udp_fd, tcp_fd);
	if (r < 0) {
		pair->reason = reason_of(r);
		return pair->published ? 0 : pair_publish(pair);
	}
	udp_fd = tcp_fd = -1; /* the pair's */
	r = pair_publish(pair);
	if (r < 0)
		sockets_close(pair, reason_of(r));
	return r;
}

int pair_adopt(struct pair *pair, const struct responder_sockets *sockets)
{
	int r = sockets_attach(pair, &sockets->address, sockets->port, sockets->udp_fd, sockets->tcp_fd);

	if (r < 0)
		return r;
	r = pair_publish(pair);
	if (r < 0) {
		pair->udp_fd = pair->tcp_fd = -1; /* the caller's */
		sockets_close(pair, reason_of(r));
	}
	return r;
}

void pair_close(struct pair *pair, const char *reason)
{
	if (pair->reason)
		return;
	/* The hooks look for a socket before they send a query there: it is bypassed from now on, whatever the map says. */
	sockets_close(pair, reason);
	pair_publish(pair);
}

void pair_stop(struct pair *pair)
{
	pair->udp_io = loop_io_remove(pair->udp_io);
	pair->tcp_io = loop_io_remove(pair->tcp_io);
}

struct pair *pair_free(struct pair *pair)
{
	if (!pair)
		return NULL;
	if (pair->published && !pair->place->namespace->responder->stopped)
		pair_unpublish(pair, pair->place->node_id);
	sockets_close(pair, NULL);
	list_remove(&pair->node);
	free(pair);
	return NULL;
}

/* ---- lo ---- */

/* The answer is a message like those about changes, there to be read when this returns. */
static int ask_for_lo(struct namespace *namespace)
{
	const struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		.link = { .ifi_family = AF_UNSPEC, .ifi_index = 1 }, /* lo's in every namespace */
	};

	return send(namespace->link_fd, &request, sizeof(request), MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void lo_changed(struct namespace *namespace, bool down)
{
	if (namespace->lo_down == down || namespace->responder->stopped)
		return;
	namespace->lo_down = down;
	list_for_each(it, &namespace->places)
		list_for_each(jt, &container_of(it, struct place, node)->pairs) {
			struct pair *pair = container_of(jt, struct pair, node);

			if (down)
				pair_close(pair, lo_down);
			else
				pair_open(pair); /* tried again by the tick */
		}
}

static void read_links(struct namespace *namespace)
{
	struct responder *responder = namespace->responder;
	const struct nlmsghdr *header = (const struct nlmsghdr *)responder->scratch;
	ssize_t n = netlink_receive(namespace->link_fd, responder->scratch, sizeof(responder->scratch));
	unsigned left = n < 0 ? 0 : (unsigned)n;

	if (n < 0 && errno == ENOBUFS)
		ask_for_lo(namespace); /* changes were lost */
	for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
		const struct ifinfomsg *link = NLMSG_DATA(header);

		if (header->nlmsg_type == RTM_NEWLINK && header->nlmsg_len >= NLMSG_LENGTH(sizeof(*link)) && link->ifi_flags & IFF_LOOPBACK)
			lo_changed(namespace, !(link->ifi_flags & IFF_UP));
	}
}

static void on_link(struct loop_io *io, uint32_t events, void *arg)
{
	(void)io;
	(void)events;
	read_links(arg);
}

int namespace_watch(struct namespace *namespace)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int r;

	namespace->link_fd = netns_socket(namespace->fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (namespace->link_fd < 0)
		return namespace->link_fd;
	if (bind(namespace->link_fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	r = loop_io_add(namespace->responder->loop, namespace->link_fd, EPOLLIN, on_link, namespace, &namespace->link_io);
	if (r == 0)
		r = ask_for_lo(namespace);
	/* At once: addresses of lo can still be bound to when it is down, if it was up before. */
	if (r == 0)
		read_links(namespace);
	return r;
}

void namespace_unwatch(struct namespace *namespace)
{
	namespace->link_io = loop_io_remove(namespace->link_io);
	namespace->link_fd = fd_close(namespace->link_fd);
}
