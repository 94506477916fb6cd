/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/http_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

struct connection {
	struct list node;
	struct peer *peer;
	int fd;
	struct loop_io *io;
	bool asked, begun;
	size_t length;
	char request[sizeof(((struct peer *)0)->request)];
};

static void connection_end(struct connection *c)
{
	list_remove(&c->node);
	loop_io_remove(c->io);
	close(c->fd);
	c->peer->open--;
	free(c);
}

static bool say(struct connection *c, const char *text)
{
	return send(c->fd, text, strlen(text), MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

static void treat(struct connection *c)
{
	struct peer *peer = c->peer;

	switch (peer->manner) {
	case PEER_ANSWERS:
		say(c, peer->answer);
		connection_end(c);
		return;
	case PEER_RESETS:
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		connection_end(c);
		return;
	case PEER_RUNS_ON:
		if (!say(c, c->begun ? peer->refrain : peer->answer)) {
			connection_end(c);
			return;
		}
		c->begun = true;
		loop_io_events(c->io, EPOLLIN | EPOLLOUT);
		return;
	case PEER_HOLDS:
		return;
	}
}

static void on_connection(struct loop_io *io, uint32_t events, void *arg)
{
	struct connection *c = arg;
	ssize_t n = 0;

	(void)io;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(c->fd, c->request + c->length, sizeof(c->request) - 1 - c->length, 0);
		if (n <= 0 && !(n < 0 && errno == EAGAIN)) {
			connection_end(c);
			return;
		}
		c->length += n > 0 ? (size_t)n : 0;
		c->request[c->length] = '\0';
	}
	if (!c->asked && strstr(c->request, "\r\n\r\n")) {
		c->asked = true;
		c->peer->requests++;
		strcpy(c->peer->request, c->request);
		treat(c);
	} else if (c->begun && events & EPOLLOUT) {
		treat(c);
	}
}

static void on_listener(struct loop_io *io, uint32_t events, void *arg)
{
	struct peer *peer = arg;
	struct connection *c;
	int fd;

	(void)io;
	(void)events;
	while ((fd = accept4(peer->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		c = calloc(1, sizeof(*c));
		EXPECT(c != NULL);
		*c = (struct connection){ .peer = peer, .fd = fd };
		EXPECT_OK(loop_io_add(peer->loop, fd, EPOLLIN, on_connection, c, &c->io));
		list_append(&peer->connections, &c->node);
		peer->accepted++;
		peer->open++;
		peer->open_max = MAX(peer->open_max, peer->open);
	}
}

void peer_init(struct peer *peer, struct loop *loop)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);

	*peer = (struct peer){ .loop = loop, .answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" };
	list_init(&peer->connections);
	peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	EXPECT(peer->fd >= 0);
	EXPECT(bind(peer->fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(peer->fd, 4096) == 0);
	EXPECT(getsockname(peer->fd, (struct sockaddr *)&address, &length) == 0);
	peer->port = ntohs(address.sin_port);
	snprintf(peer->address, sizeof(peer->address), "127.0.0.1:%u", peer->port);
	EXPECT_OK(loop_io_add(loop, peer->fd, EPOLLIN, on_listener, peer, &peer->io));
}

void peer_stop_listening(struct peer *peer)
{
	peer->io = loop_io_remove(peer->io);
	peer->fd = fd_close(peer->fd);
}

void peer_answer_all(struct peer *peer)
{
	list_for_each_safe(it, &peer->connections) {
		struct connection *c = container_of(it, struct connection, node);

		if (c->asked) {
			say(c, peer->answer);
			connection_end(c);
		}
	}
}

void peer_done(struct peer *peer)
{
	list_for_each_safe(it, &peer->connections)
		connection_end(container_of(it, struct connection, node));
	peer_stop_listening(peer);
}
