/* SPDX-License-Identifier: Apache-2.0 */
/* Plays weft-proxy for listeners in a namespace, and the agent that gives them to it: inbound_proxy INSTANCE NETNS ADDRESS:PORT…
 * What comes in is carried to the application as it is, by one connection for each, until a signal ends it. Prints "ready", and for each
 * connection "CLIENT -> ASKED". */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "loader/lookup.h"
#include "maps/intercept.h"
#include "maps/proxy.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { NODE = 4000 }; /* object id that nobody has */

static struct kernel kernel;
static struct proxy_maps maps;
static uint64_t netns_cookie;

union end {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static _Noreturn void fail(const char *what, const struct error *err)
{
	fprintf(stderr, "inbound_proxy: %s: %s\n", what, err ? err->message : strerror(errno));
	_exit(1);
}

static struct ip address_of(const union end *end)
{
	struct ip ip = { .words = { 0, 0, htonl(0xffff), end->v4.sin_addr.s_addr } };

	if (end->any.sa_family == AF_INET6)
		memcpy(&ip, &end->v6.sin6_addr, sizeof(ip));
	return ip;
}

static __be16 port_of(const union end *end)
{
	return end->any.sa_family == AF_INET ? end->v4.sin_port : end->v6.sin6_port;
}

/* Both directions, each until its end. */
static void carry(int a, int b)
{
	struct pollfd ends[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
	char bytes[65536];

	while ((ends[0].fd >= 0 || ends[1].fd >= 0) && poll(ends, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			const int to = i ? a : b;
			ssize_t length;

			if (ends[i].fd < 0 || !ends[i].revents)
				continue;
			length = read(ends[i].fd, bytes, sizeof(bytes));
			for (ssize_t done = 0, n; done < length; done += n) {
				n = send(to, bytes + done, length - done, MSG_NOSIGNAL);
				if (n <= 0)
					return;
			}
			if (length > 0)
				continue;
			shutdown(to, SHUT_WR);
			ends[i].fd = -1;
		}
}

/* To the application, from the address that was asked for: that is in the namespace, and reaches whatever the application is bound to. */
static int way_to(union end *asked, socklen_t length, const union end *client)
{
	const int fd = socket(asked->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct proxy_way_key key = { .netns_cookie = netns_cookie };
	const struct ip shown = address_of(client);
	union end own = *asked;
	socklen_t own_length = sizeof(own);

	if (own.any.sa_family == AF_INET)
		own.v4.sin_port = 0;
	else
		own.v6.sin6_port = 0;
	if (fd < 0 || bind(fd, &own.any, length) < 0 || getsockname(fd, &own.any, &own_length) < 0)
		fail("bind", NULL);
	key.address = address_of(&own);
	key.port = port_of(&own);
	if (proxy_way_set(&maps, &key, &shown, port_of(client)) < 0)
		fail("proxy_way_set", NULL);
	if (connect(fd, &asked->any, length) == 0)
		return fd;
	proxy_way_remove(&maps, &key);
	close(fd);
	return -1;
}

static void *serve(void *arg)
{
	const int fd = (int)(intptr_t)arg;
	char client_text[ENDPOINT_TEXT_BYTES], asked_text[ENDPOINT_TEXT_BYTES];
	union end client, asked;
	socklen_t client_length = sizeof(client), asked_length = sizeof(asked);
	struct ip ip;
	int inner;

	if (getpeername(fd, &client.any, &client_length) == 0 && getsockname(fd, &asked.any, &asked_length) == 0) {
		ip = address_of(&client);
		ip_port_format(&ip, port_of(&client), client_text);
		ip = address_of(&asked);
		printf("%s -> %s\n", client_text, ip_port_format(&ip, port_of(&asked), asked_text));
		inner = way_to(&asked, asked_length, &client);
		if (inner >= 0)
			carry(fd, inner);
		fd_close(inner);
	}
	close(fd);
	return NULL;
}

/* At some port of the loopback interface: which one matters to nobody. */
static int listen_at(int family)
{
	union end any = {};
	const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(netns_cookie);

	any.any.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		any.v6.sin6_addr = in6addr_loopback;
	if (fd < 0 || bind(fd, &any.any, family == AF_INET ? sizeof(any.v4) : sizeof(any.v6)) < 0 || listen(fd, 128) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns_cookie, &length) < 0)
		fail("listen", NULL);
	return fd;
}

int main(int argc, char *argv[])
{
	struct pollfd listeners[2] = { { .events = POLLIN }, { .events = POLLIN } };
	const int netns_fd = argc > 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
	struct error err = {};
	char pins[160];

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (netns_fd < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		fail("namespace", NULL);
	if (kernel_pin_path(argv[1], pins, sizeof(pins), &err) < 0 || kernel_open(argv[1], &kernel, &err) < 0 ||
	    proxy_maps_open(argv[1], &maps, &err) < 0)
		fail(argv[1], &err);
	for (int i = 0; i < 2; i++) {
		const int family = i ? AF_INET6 : AF_INET;

		listeners[i].fd = listen_at(family);
		if (proxy_inbound_set(&maps, netns_cookie, family, listeners[i].fd) < 0)
			fail("proxy_inbound_set", NULL);
	}
	for (int i = 3; i < argc; i++) {
		struct serving_key key = { .netns_cookie = netns_cookie };

		if (ip_port_parse(argv[i], &key.address, &key.port) < 0 || intercept_set(&kernel, &key, &(struct intercept){ .node = NODE }) < 0)
			fail(argv[i], NULL);
	}
	if (!lookup_attached(pins, netns_cookie) && lookup_attach(pins, netns_cookie, netns_fd, &err) < 0)
		fail("lookup_attach", &err);
	puts("ready");
	while (poll(listeners, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			const int fd = listeners[i].revents ? accept4(listeners[i].fd, NULL, NULL, SOCK_CLOEXEC) : -1;
			pthread_t thread;

			if (fd >= 0 && pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
				pthread_detach(thread);
		}
	return 1;
}
