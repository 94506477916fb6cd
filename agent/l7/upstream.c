/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/l7/internal.h"
#include "agent/net/tcp.h"
#include "base/cleanup.h"
#include "base/decimal.h"
#include "base/log.h"
#include "base/time.h"

#define KEY_BYTES (2 * (DECIMAL_BYTES + 1) + ENDPOINT_TEXT_BYTES)

/* --- pools --------------------------------------------------------------------------------------------------------------- */

static struct upstream_pool *pool_new(const struct target_endpoint *endpoint, const char *key)
{
	const size_t length = strlen(key);
	struct upstream_pool *pool = calloc(1, sizeof(*pool) + length + 1);

	if (!pool)
		return NULL;
	list_init(&pool->spares);
	pool->address = endpoint->address;
	pool->port = endpoint->port;
	memcpy(pool->key, key, length + 1);
	return pool;
}

static struct upstream_pool *pool_get(struct request *request, const struct target_endpoint *endpoint)
{
	struct worker *worker = request->worker;
	char key[KEY_BYTES], *to = key;
	struct table_node *node;
	struct upstream_pool *pool;

	if (request->downstream->own_pool)
		return request->downstream->own_pool;
	to += decimal_write(to, request->downstream->place->place->netns_cookie);
	*to++ = ' ';
	to += decimal_write(to, request->downstream->handover.source);
	*to++ = ' ';
	strcpy(to, endpoint->text);
	node = table_get(&worker->pools, key);
	if (node)
		return container_of(node, struct upstream_pool, node);
	pool = pool_new(endpoint, key);
	if (pool && table_add(&worker->pools, &pool->node, pool->key) < 0) {
		free(pool);
		return NULL;
	}
	return pool;
}

static void pool_unref(struct worker *worker, struct upstream_pool *pool)
{
	if (--pool->connections > 0)
		return;
	if (*pool->key)
		table_remove(&worker->pools, &pool->node);
	free(pool);
}

struct upstream_pool *upstream_pool_new(const struct target_endpoint *endpoint)
{
	struct upstream_pool *pool = pool_new(endpoint, "");

	if (pool)
		pool->connections = 1;
	return pool;
}

struct upstream_pool *upstream_pool_free(struct upstream_pool *pool)
{
	if (!pool)
		return NULL;
	list_for_each_safe(it, &pool->spares)
		upstream_close(container_of(it, struct upstream, node));
	pool_unref(NULL, pool); /* it is in no table */
	return NULL;
}

/* --- connections --------------------------------------------------------------------------------------------------------- */

void upstream_close(struct upstream *u)
{
	struct worker *worker = u->worker;

	if (u->closed)
		return;
	u->closed = true;
	u->request = NULL;
	loop_io_remove(u->io);
	if (u->way.port && !u->connected) /* before its port is another's */
		worker->l7->kernel.way_remove(worker->l7->kernel.arg, &u->way);
	fd_close(u->fd);
	http_codec_free(u->codec);
	queue_done(&u->output);
	if (!list_empty(&u->spare_node)) {
		list_remove(&u->spare_node);
		worker->spare_count--;
	}
	list_remove(&u->limit_node);
	if (u->limit)
		limit_leave(TAKE_PTR(u->limit));
	list_remove(&u->place_node);
	list_remove(&u->node);
	list_append(&worker->dead_upstreams, &u->node);
	pool_unref(worker, u->pool);
	COUNT(worker->stats.upstream_open, -1);
	COUNT(u->cluster_row->open, -1);
	COUNT(u->host_row->open, -1);
}

static bool tell(struct upstream *u, uint32_t events)
{
	if (events == u->events)
		return true;
	u->events = events;
	return loop_io_events(u->io, events) == 0;
}

static bool ask_for_events(struct upstream *u)
{
	const bool writes = !u->connected || queue_length(&u->output) > 0;

	/* EPOLLHUP comes unasked: once is enough where nothing is read. */
	return tell(u, (u->paused ? EPOLLET : EPOLLIN) | (writes ? EPOLLOUT : 0));
}

static void fail(struct upstream *u, enum l7_reply why)
{
	struct request *request = u->request;

	upstream_close(u);
	if (request)
		request_upstream_failed(request, why);
}

static int send_counted(struct upstream *u, struct span more)
{
	const size_t before = queue_length(&u->output) + more.length;
	int r = queue_send(&u->output, u->fd, more);

	if (r == 0 && u->request)
		COUNT(u->request->cluster_row->sent_bytes, before - queue_length(&u->output));
	return r;
}

bool upstream_send(struct upstream *u, struct span more)
{
	if (!u->connected) {
		buffer_append(&u->output.bytes, more.data, more.length);
		if (!buffer_failed(&u->output.bytes))
			return true;
		fail(u, L7_NO_MEMORY);
		return false;
	}
	/* An endpoint that answers early and closes makes this fail before its answer is read: what came is looked at first. */
	if (send_counted(u, more) < 0) {
		queue_done(&u->output);
		u->write_failed = true;
		return true;
	}
	if (!ask_for_events(u)) {
		fail(u, L7_NO_MEMORY);
		return false;
	}
	return true;
}

void upstream_pause(struct upstream *u, bool paused)
{
	u->paused = paused;
	if (!ask_for_events(u))
		fail(u, L7_NO_MEMORY);
}

void upstream_release(struct upstream *u, bool keep)
{
	struct worker *worker = u->worker;

	u->request = NULL;
	if (!keep || worker->draining || u->write_failed || queue_length(&u->output) > 0 || (u->limit && limit_is_short(u->limit))) {
		upstream_close(u);
		return;
	}
	if (u->paused) {
		u->paused = false;
		if (!ask_for_events(u)) {
			upstream_close(u);
			return;
		}
	}
	u->used = true;
	u->since_ns = loop_now_ns(worker->loop);
	list_append(&u->pool->spares, &u->node);
	if (u->limit)
		limit_keep(u->limit, u);
	list_append(&worker->spares, &u->spare_node);
	worker->spare_count++;
	if (worker->spare_count > L7_SPARES_MAX)
		upstream_close(container_of(worker->spares.next, struct upstream, spare_node));
}

void upstreams_expire(struct worker *worker, uint64_t now_ns)
{
	while (!list_empty(&worker->spares)) {
		struct upstream *u = container_of(worker->spares.next, struct upstream, spare_node);

		if (u->since_ns + L7_SPARE_NS > now_ns)
			return;
		upstream_close(u);
	}
}

/* --- reading ------------------------------------------------------------------------------------------------------------- */

/* After an event of the codec `u` may have another request, or none, or be closed. */
static void read_answer(struct upstream *u, const char *data, size_t length)
{
	struct request *const request = u->request;
	struct http_event event;

	while (!u->closed && u->request == request) {
		const enum http_event_type type = http_codec_next(u->codec, &request->answer, &data, &length, &event);
		const int status = request->answer.status;

		switch (type) {
		case HTTP_EVENT_MORE:
			if (request->state == REQUEST_ANSWERING)
				request_upstream_flush(request);
			return;
		case HTTP_EVENT_HEAD:
			if (status < 100) { /* neither an answer nor an interim one */
				fail(u, L7_UPSTREAM_PROTOCOL);
				return;
			}
			if (status >= 200 || status == 101)
				request_upstream_head(request);
			break;
		case HTTP_EVENT_BODY:
			request_upstream_body(request, event.body);
			break;
		case HTTP_EVENT_END:
			if (status == 101) {
				if (length > 0)
					request_upstream_raw(request, (struct span){ data, length });
				return;
			}
			if (status < 200)
				break; /* an interim answer: the next message is the one */
			request_upstream_end(request, request->answer.keep_alive && length == 0);
			return;
		default:
			fail(u, L7_UPSTREAM_PROTOCOL);
			return;
		}
	}
}

static void read_end(struct upstream *u)
{
	struct request *request = u->request;
	struct http_event event;

	if (http_codec_end(u->codec, &event) == HTTP_EVENT_END)
		request_upstream_end(request, false);
	else
		fail(u, L7_UPSTREAM_CLOSED);
}

static void on_readable(struct upstream *u, uint32_t events)
{
	struct worker *worker = u->worker;
	const ssize_t n = recv(u->fd, worker->input, sizeof(worker->input), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && u->request)
		COUNT(u->request->cluster_row->received_bytes, (uint64_t)n);
	if (!u->request) /* it waits: its end, or bytes that nobody asked for */
		upstream_close(u);
	else if (n < 0 || (events & EPOLLERR && u->request->from_upstream_eof)) /* after the end recv() tells of no reset */
		fail(u, L7_UPSTREAM_CLOSED);
	else if (u->request->state == REQUEST_TUNNEL)
		request_upstream_raw(u->request, (struct span){ worker->input, (size_t)n });
	else if (n == 0)
		read_end(u);
	else
		read_answer(u, worker->input, (size_t)n);
}

static void on_writable(struct upstream *u)
{
	if (upstream_send(u, (struct span){}) && u->request && queue_length(&u->output) <= L7_LOW_WATER_BYTES)
		request_upstream_drained(u->request);
}

static void on_connected(struct upstream *u)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error) {
		fail(u, L7_CONNECT_FAILED);
		return;
	}
	u->connected = true;
	request_connected(u->request);
	on_writable(u);
}

static void on_upstream(struct loop_io *io, uint32_t events, void *arg)
{
	struct upstream *u = arg;
	struct worker *worker = u->worker;

	(void)io;
	if (!u->connected) {
		on_connected(u);
	} else {
		if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
			on_readable(u, events);
		if (!u->closed && events & EPOLLOUT)
			on_writable(u);
	}
	worker_reap(worker);
}

/* --- making one ---------------------------------------------------------------------------------------------------------- */

/* In the workload's namespace, so that packets have its addresses. */
static int socket_in(const struct worker *worker, const struct l7_place *place, int family)
{
	int fd;

	if (setns(place->netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = -errno;
	if (setns(worker->own_netns_fd, CLONE_NEWNET) < 0) {
		/* Whatever this thread does next would be done in somebody else's network. */
		log_error("cannot return to the own network namespace", LOG_F("errno", LOG_INT(errno)));
		abort();
	}
	return fd;
}

/* The application is told of the client before the connection is there (maps/abi/inbound.h), so its own end must be known by then. */
static int prepare_way(struct upstream *u, const struct downstream *d, const struct l7_place *place)
{
	const struct l7_kernel *kernel = &u->worker->l7->kernel;
	struct sockaddr_storage own;
	socklen_t length = ip_to_sockaddr(&u->pool->address, 0, &own);
	int r;

	if (bind(u->fd, (struct sockaddr *)&own, length) < 0 || getsockname(u->fd, (struct sockaddr *)&own, &length) < 0)
		return -errno;
	u->way.netns_cookie = place->netns_cookie;
	tcp_address_read((struct sockaddr *)&own, &u->way.address, &u->way.port);
	r = kernel->way_set(kernel->arg, &u->way, &d->peer, d->peer_port);
	if (r < 0)
		u->way.port = 0;
	return r;
}

static int start_connect(struct upstream *u, const struct downstream *d)
{
	const struct l7_place *place = d->place->place;
	struct sockaddr_storage address = {};
	const socklen_t length = ip_to_sockaddr(&u->pool->address, u->pool->port, &address);

	u->fd = socket_in(u->worker, place, address.ss_family);
	if (u->fd < 0)
		return u->fd;
	setsockopt(u->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (d->inbound) {
		int r = prepare_way(u, d, place);

		if (r < 0)
			return r;
	}
	if (connect(u->fd, (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
		return -errno;
	u->events = EPOLLIN | EPOLLOUT;
	return loop_io_add(u->worker->loop, u->fd, u->events, on_upstream, u, &u->io);
}

static int upstream_new(struct request *request, struct upstream_pool *pool, struct upstream **ret_upstream)
{
	struct worker *worker = request->worker;
	struct upstream *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	*u = (struct upstream){ .worker = worker, .pool = pool, .fd = -1 };
	list_init(&u->node);
	list_init(&u->spare_node);
	list_init(&u->limit_node);
	r = http_codec_new(HTTP_RESPONSES, L7_HEAD_LIMIT_BYTES, &u->codec);
	if (r == 0)
		r = start_connect(u, request->downstream);
	if (r < 0) {
		if (u->way.port)
			worker->l7->kernel.way_remove(worker->l7->kernel.arg, &u->way);
		fd_close(u->fd);
		http_codec_free(u->codec);
		free(u);
		return r;
	}
	if (request->downstream->inbound && request->has_place) {
		u->limit = request->downstream->limit;
		request->has_place = false;
	}
	pool->connections++;
	COUNT(worker->stats.upstream_connections, 1);
	COUNT(worker->stats.upstream_open, 1);
	u->cluster_row = request->cluster_row;
	COUNT(u->cluster_row->connections, 1);
	COUNT(u->cluster_row->open, 1);
	u->host_row = request->host_row;
	COUNT(u->host_row->connections, 1);
	COUNT(u->host_row->open, 1);
	list_append(&request->downstream->place->upstreams, &u->place_node);
	*ret_upstream = u;
	return 0;
}

int upstream_get(struct request *request, const struct target_endpoint *endpoint, struct upstream **ret_upstream)
{
	struct upstream_pool *pool = pool_get(request, endpoint);
	struct upstream *u;
	int r;

	if (!pool)
		return -ENOMEM;
	if (!list_empty(&pool->spares)) {
		u = container_of(pool->spares.prev, struct upstream, node);
		list_remove(&u->node);
		list_remove(&u->spare_node);
		list_remove(&u->limit_node);
		list_remove(&u->place_node); /* it closes with the place that it serves, not with the one that it once was opened for */
		list_append(&request->downstream->place->upstreams, &u->place_node);
		request->worker->spare_count--;
	} else {
		r = upstream_new(request, pool, &u);
		if (r < 0) {
			if (pool->connections == 0) {
				pool->connections = 1;
				pool_unref(request->worker, pool);
			}
			return r;
		}
	}
	u->request = request;
	http_codec_answers_head(u->codec, request->head_only);
	*ret_upstream = u;
	return 0;
}
