/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in, for how long. One timer for all connections: those of one phase wait equally long, so the first of its list is
 * the first to be late. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/http/internal.h"
#include "agent/net/tcp.h"
#include "agent/net/unix.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define SETTLED_NS NSEC_PER_SEC /* so long a connection has been idle before it must make room: its client may be about to ask */

/* ---- deadlines ---- */

static struct http_connection *first_in(const struct http_server *server, enum phase phase)
{
	const struct list *list = &server->phases[phase];

	return list_empty(list) ? NULL : container_of(list->next, struct http_connection, node);
}

void http_server_arm(struct http_server *server, uint64_t at_ns)
{
	if (server->sweep_at_ns && server->sweep_at_ns <= at_ns)
		return;
	server->sweep_at_ns = at_ns;
	loop_timer_arm(server->sweep, at_ns);
}

static void close_idle(struct http_server *server)
{
	struct http_connection *c;

	while ((c = first_in(server, PHASE_IDLE)))
		http_connection_close(c);
}

static void on_sweep(struct loop_timer *timer, void *arg)
{
	struct http_server *server = arg;
	const uint64_t now_ns = loop_now_ns(server->loop);
	struct http_connection *c;

	(void)timer;
	server->sweep_at_ns = 0;
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
		if (phase == PHASE_HANDLER)
			continue; /* it may take its time */
		while ((c = first_in(server, phase)) && c->deadline_ns <= now_ns)
			http_connection_late(c);
		if (c)
			http_server_arm(server, c->deadline_ns);
	}
	if (server->draining)
		close_idle(server);
	if (server->connection_count == 0 && server->drained) {
		http_drained_fn *done = server->drained;

		server->drained = NULL;
		done(server->drained_arg); /* may free it */
	}
}

const char *http_server_date(struct http_server *server)
{
	const uint64_t now_ns = loop_now_ns(server->loop);
	struct timespec wall;

	if (now_ns >= server->date_until_ns) {
		clock_gettime(CLOCK_REALTIME, &wall);
		http_date_format(wall.tv_sec, server->date);
		server->date_until_ns = now_ns + NSEC_PER_SEC - (uint64_t)wall.tv_nsec;
	}
	return server->date;
}

/* ---- accepting ---- */

static void accept_again(struct http_server *server)
{
	if (server->paused && loop_io_events(server->io, EPOLLIN) == 0)
		server->paused = false;
}

void http_server_left(struct http_server *server)
{
	server->connection_count--;
	if (server->io)
		accept_again(server);
	else if (server->draining && server->connection_count == 0)
		http_server_arm(server, loop_now_ns(server->loop));
}

static void wait_until(struct http_server *server, uint64_t at_ns)
{
	loop_timer_arm(server->retry, at_ns);
	if (loop_io_events(server->io, 0) == 0)
		server->paused = true;
}

/* False: one has to leave first, or to have been idle for longer. */
static bool has_room(struct http_server *server)
{
	const struct http_connection *idle = first_in(server, PHASE_IDLE);
	const uint64_t now_ns = loop_now_ns(server->loop);
	uint64_t settled_ns;

	if (server->connection_count < server->service->connections_max)
		return true;
	settled_ns = idle ? idle->deadline_ns - HTTP_IDLE_LIMIT_S * NSEC_PER_SEC + SETTLED_NS : now_ns + SETTLED_NS;
	if (settled_ns <= now_ns)
		return true;
	wait_until(server, settled_ns);
	return false;
}

/* After has_room(), when somebody has come. */
static void make_room(struct http_server *server)
{
	if (server->connection_count <= server->service->connections_max)
		return;
	server->counters.refused[HTTP_GAVE_WAY]++;
	http_connection_close(first_in(server, PHASE_IDLE));
}

static int peer_read(int fd, const struct sockaddr_storage *address, struct http_peer *peer)
{
	peer->local = address->ss_family == AF_UNIX;
	if (peer->local)
		return unix_peer(fd, &peer->pid, &peer->uid);
	tcp_address_read((const struct sockaddr *)address, &peer->address, &peer->port);
	return 0;
}

/* -EAGAIN: nobody waits any more. */
static int accept_one(struct http_server *server)
{
	struct sockaddr_storage address = {};
	socklen_t length = sizeof(address);
	_cleanup_close_ int fd = accept4(server->fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct http_peer peer = {};
	int r = fd < 0 ? -errno : peer_read(fd, &address, &peer);

	if (r >= 0)
		r = http_connection_new(server, fd, &peer);
	if (r < 0)
		return r;
	fd = -1;
	server->connection_count++;
	server->counters.connections++;
	make_room(server);
	return 0;
}

static void on_listener(struct loop_io *io, uint32_t events, void *arg)
{
	struct http_server *server = arg;
	int r = 0;

	(void)io;
	(void)events;
	while (r != -EAGAIN && has_room(server)) {
		r = accept_one(server);
		if (r < 0 && r != -EAGAIN && r != -EINTR && r != -ECONNABORTED) {
			/* Out of descriptors or memory: asking again at once would only spin. */
			log_limited(LOG_LEVEL_WARN, "cannot accept a connection", LOG_F("at", LOG_STR(server->address)),
				    LOG_F("error", LOG_STR(strerror(-r))));
			wait_until(server, loop_now_ns(server->loop) + NSEC_PER_SEC);
			return;
		}
	}
}

static void on_retry(struct loop_timer *timer, void *arg)
{
	(void)timer;
	accept_again(arg);
}

/* ---- a server's life ---- */

static bool is_path(const char *address)
{
	return address[0] == '/';
}

/* server->fd is there. */
static int server_start(struct http_server *server, const char *address, struct error *err)
{
	int r;

	server->address = strdup(address);
	r = server->address ? loop_timer_new(server->loop, on_retry, server, &server->retry) : -ENOMEM;
	if (r == 0)
		r = loop_timer_new(server->loop, on_sweep, server, &server->sweep);
	if (r == 0)
		r = loop_io_add(server->loop, server->fd, EPOLLIN, on_listener, server, &server->io);
	return r < 0 ? error_set(err, r, "cannot serve '%s': %s", address, strerror(-r)) : 0;
}

int http_server_new_at(struct loop *loop, int listen_fd, const char *address, const struct http_service *service, void *arg,
		       struct http_server **ret_server, struct error *err)
{
	struct http_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return error_set(err, -ENOMEM, "out of memory");
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		list_init(&server->phases[phase]);
	list_init(&server->exchanges);
	list_init(&server->spares);
	server->loop = loop;
	server->service = service;
	server->arg = arg;
	server->fd = listen_fd;
	r = server_start(server, address, err);
	if (r < 0) {
		server->fd = -1; /* the caller's */
		http_server_free(server);
		return r;
	}
	*ret_server = server;
	return 0;
}

int http_server_new(struct loop *loop, const char *address, const struct http_service *service, void *arg,
		    struct http_server **ret_server, struct error *err)
{
	_cleanup_close_ int fd = -1;
	int r = is_path(address) ? unix_listen(address, 0600, &fd, err) : tcp_listen(address, &fd, err);

	if (r == 0)
		r = http_server_new_at(loop, fd, address, service, arg, ret_server, err);
	if (r == 0)
		fd = -1;
	return r;
}

struct http_server *http_server_free(struct http_server *server)
{
	struct http_connection *c;

	if (!server)
		return NULL;
	server->io = loop_io_remove(server->io);
	for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
		while ((c = first_in(server, phase)))
			http_connection_close(c);
	list_for_each_safe(it, &server->exchanges) {
		list_remove(it);
		container_of(it, struct http_exchange, node)->server = NULL;
	}
	list_for_each_safe(it, &server->spares) {
		struct http_exchange *spare = container_of(it, struct http_exchange, node);

		spare->server = NULL;
		http_exchange_free(spare);
	}
	loop_timer_free(server->retry);
	loop_timer_free(server->sweep);
	if (server->address && is_path(server->address))
		unlink(server->address);
	fd_close(server->fd);
	free(server->address);
	free(server);
	return NULL;
}

void http_server_drain(struct http_server *server, http_drained_fn *done, void *arg)
{
	server->draining = true;
	server->drained = done;
	server->drained_arg = arg;
	server->io = loop_io_remove(server->io);
	server->fd = fd_close(server->fd);
	http_server_arm(server, loop_now_ns(server->loop));
}

struct http_totals http_server_totals(const struct http_server *server)
{
	return (struct http_totals){
		.service = server->service->name,
		.open = server->connection_count,
		.counters = server->counters,
	};
}
