/* SPDX-License-Identifier: Apache-2.0 */
/* A program's connection. What it reads is in the worker's buffer while it is its turn; what is left of that, because an answer has to be
 * waited for or an endpoint takes no more, it keeps, and reads no more. Epoll is told only what changes: a connection whose requests are
 * answered one by one never asks for anything but what it began with. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/l7/internal.h"
#include "agent/net/tcp.h"
#include "base/cleanup.h"
#include "base/time.h"

static const uint64_t limits_ns[WAITS] = {
	[WAIT_REQUEST] = L7_IDLE_LIMIT_NS,
	[WAIT_HEAD] = L7_HEAD_LIMIT_NS,
	[WAIT_LINGER] = L7_LINGER_LIMIT_NS,
};

static void wait_for(struct downstream *d, enum wait wait)
{
	list_remove(&d->node);
	d->wait = wait;
	d->deadline_ns = loop_now_ns(d->worker->loop);
	d->deadline_ns += wait == WAIT_REQUEST && d->worker->draining ? L7_DRAIN_IDLE_NS : limits_ns[wait];
	list_append(&d->worker->waits[wait], &d->node);
}

void downstream_close(struct downstream *d)
{
	struct worker *worker = d->worker;
	struct request *request = TAKE_PTR(d->request);

	if (d->closed)
		return;
	d->closed = true;
	if (request)
		request_abandon(request, d->eof ? L7_CLIENT_GONE : worker->end);
	loop_io_remove(d->io);
	fd_close(d->fd);
	http_codec_free(d->codec);
	upstream_pool_free(d->own_pool);
	worker_log_unref(d->log);
	if (d->limit)
		limit_unuse(d->limit);
	queue_done(&d->output);
	buffer_done(&d->kept);
	list_remove(&d->place_node);
	list_remove(&d->node);
	list_append(&worker->dead_downstreams, &d->node);
	COUNT(worker->stats.open, -1);
	COUNT(d->listener_row->open, -1);
}

/* --- bytes out ----------------------------------------------------------------------------------------------------------- */

bool downstream_send(struct downstream *d, struct span more)
{
	const size_t before = queue_length(&d->output) + more.length;

	if (d->closed)
		return false;
	if (before > 0 && queue_send(&d->output, d->fd, more) < 0) {
		d->eof = true;
		downstream_close(d);
		return false;
	}
	COUNT(d->http->sent_bytes, before - queue_length(&d->output));
	return true;
}

/* All is said, and the program told so: what it still sends is dropped, for closing a socket with unread input would reset the connection
 * and could take the answer with it. */
static void linger(struct downstream *d)
{
	d->length = 0;
	if (d->eof || shutdown(d->fd, SHUT_WR) < 0)
		downstream_close(d);
	else
		wait_for(d, WAIT_LINGER);
}

/* --- requests ------------------------------------------------------------------------------------------------------------ */

/* Another process takes the next connection. What was sent behind this request is owed an answer first. */
bool downstream_is_last(struct downstream *d)
{
	d->last |= d->worker->draining && d->length == 0;
	return d->last;
}

void downstream_answered(struct downstream *d)
{
	d->request = NULL;
	if (d->closed)
		return;
	d->answered = d->last;
	wait_for(d, WAIT_REQUEST);
}

static enum l7_reply reply_to(enum http_refusal refusal)
{
	switch (http_refusal_status(refusal)) {
	case 431:
	case 414:
		return L7_LARGE_HEAD;
	case 501:
		return L7_NO_CODING;
	case 505:
		return L7_BAD_VERSION;
	case 503:
		return L7_NO_MEMORY;
	default:
		return L7_BAD_REQUEST;
	}
}

static void input_failed(struct downstream *d, enum http_refusal refusal)
{
	struct request *request = d->request;

	d->last = true;
	if (request->state == REQUEST_ANSWERING || request->state == REQUEST_TUNNEL)
		downstream_close(d); /* amid an answer nothing else can be said */
	else
		request_refuse(request, reply_to(refusal));
}

/* A request without a body is whole with its head: whatever becomes of it, the next one may follow. */
static void take_head(struct downstream *d, struct request *request)
{
	struct http_event event;

	d->last = !request->head.keep_alive;
	if (!request->head.chunked && request->head.content_length == 0)
		request->whole = http_codec_next(d->codec, &request->head, &d->data, &d->length, &event) == HTTP_EVENT_END;
	request_head_read(request);
	if (d->request == request && request->whole)
		request_received(request);
}

/* Another request: not while answers to those before pile up, for who sends them may never read any. */
static bool may_begin(const struct downstream *d)
{
	return d->length > 0 && queue_length(&d->output) <= L7_HIGH_WATER_BYTES;
}

/* One event of the codec. False: it waits, for input or for what becomes of the request. */
static bool take(struct downstream *d)
{
	struct request *request = d->request;
	struct http_event event;

	if (!request) {
		if (!may_begin(d))
			return false;
		request = d->request = request_new(d);
		if (!request) {
			d->eof = true;
			downstream_close(d);
			return false;
		}
		wait_for(d, WAIT_HEAD);
	}
	if (request->state == REQUEST_TUNNEL) {
		const struct span piece = { d->data, d->length };

		d->length = 0;
		if (piece.length)
			request_tunnel(request, piece);
		return false;
	}
	if (request->received || !request_takes_body(request))
		return false;
	switch (http_codec_next(d->codec, &request->head, &d->data, &d->length, &event)) {
	case HTTP_EVENT_HEAD:
		wait_for(d, WAIT_ANSWER);
		take_head(d, request);
		return true;
	case HTTP_EVENT_BODY:
		request_body(request, event.body);
		return true;
	case HTTP_EVENT_END:
		request_received(request);
		return true;
	case HTTP_EVENT_FAILED:
		input_failed(d, event.refusal);
		return true;
	default: /* more is needed; CLOSED comes after `last` only */
		return false;
	}
}

/* --- running ------------------------------------------------------------------------------------------------------------- */

/* What is not used yet moves from the worker's buffer into the connection's own. */
static bool keep_input(struct downstream *d)
{
	if (d->length == 0) {
		buffer_done(&d->kept);
	} else if (d->kept.length > 0) {
		buffer_consume(&d->kept, d->kept.length - d->length);
	} else {
		buffer_append(&d->kept, d->data, d->length);
		if (buffer_failed(&d->kept))
			return false;
	}
	d->data = d->kept.data ?: "";
	return true;
}

/* While a request waits for its answer it is read on, so that what epoll was told stays as it is; only what came too early for that
 * stops it. */
static bool is_read(const struct downstream *d)
{
	const struct request *request = d->request;

	if (d->eof || d->length > 0)
		return false;
	if (!request)
		return queue_length(&d->output) <= L7_HIGH_WATER_BYTES;
	return request_takes_body(request) || (request->received && request->state != REQUEST_TUNNEL);
}

static bool ask_for_events(struct downstream *d)
{
	const bool tunnel = d->request && d->request->state == REQUEST_TUNNEL; /* its end is read as the rest */
	uint32_t events = tunnel || d->eof ? 0 : EPOLLRDHUP;

	/* EPOLLHUP comes unasked: once is enough where nothing is read. */
	events |= is_read(d) ? EPOLLIN : EPOLLET;
	if (queue_length(&d->output) > 0)
		events |= EPOLLOUT;
	if (events == d->events)
		return true;
	d->events = events;
	return loop_io_events(d->io, events) == 0;
}

static bool may_take(const struct downstream *d)
{
	return !d->closed && !d->answered && d->wait != WAIT_LINGER;
}

/* What was sent made room for more of what is here: nothing else would come back to it. */
static bool may_go_on(const struct downstream *d)
{
	const struct request *request = d->request;

	if (!may_take(d))
		return false;
	if (!request)
		return may_begin(d);
	return d->length > 0 && !request->received && request_takes_body(request);
}

void downstream_run(struct downstream *d)
{
	if (d->running || d->closed)
		return;
	d->running = true;
	do {
		while (may_take(d) && take(d))
			;
		if (!d->closed && d->request && d->request->upstream && d->request->state != REQUEST_TUNNEL)
			upstream_send(d->request->upstream, (struct span){});
		downstream_send(d, (struct span){});
	} while (may_go_on(d));
	if (!d->closed && d->answered && d->wait != WAIT_LINGER && queue_length(&d->output) == 0)
		linger(d);
	if (!d->closed && d->eof && !d->request && queue_length(&d->output) == 0)
		downstream_close(d);
	if (!d->closed && d->request && queue_length(&d->output) <= L7_LOW_WATER_BYTES)
		request_downstream_drained(d->request);
	d->running = false;
	if (!d->closed && (!keep_input(d) || !ask_for_events(d)))
		downstream_close(d);
}

static void close_unused(struct downstream *d)
{
	COUNT(d->http->cx_idle_timeout, !d->worker->draining);
	linger(d);
}

static void close_idle(struct downstream *d)
{
	char first;

	if (d->worker->draining && queue_length(&d->output) > 0)
		wait_for(d, WAIT_REQUEST); /* it still reads its last answer */
	else if (recv(d->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		wait_for(d, WAIT_REQUEST); /* the next request is here, and its event follows */
	else
		close_unused(d);
}

void downstream_late(struct downstream *d)
{
	if (d->wait == WAIT_HEAD) {
		d->last = true;
		request_refuse(d->request, L7_SLOW_REQUEST);
		downstream_run(d);
	} else if (d->wait == WAIT_REQUEST) {
		close_idle(d);
	} else {
		downstream_close(d);
	}
}

void downstreams_drain(struct worker *worker)
{
	const uint64_t until_ns = loop_now_ns(worker->loop) + L7_DRAIN_IDLE_NS;

	list_for_each(it, &worker->waits[WAIT_REQUEST]) {
		struct downstream *d = container_of(it, struct downstream, node);

		d->deadline_ns = MIN(d->deadline_ns, until_ns);
	}
}

bool downstream_is_idle(const struct downstream *d)
{
	return d->wait == WAIT_REQUEST && !d->request && d->length == 0 && !d->eof && !d->last && queue_length(&d->output) == 0;
}

/* False: the connection is over. */
static bool receive(struct downstream *d)
{
	struct worker *worker = d->worker;
	ssize_t n;

	if (d->length > 0) /* there is input already that waits */
		return true;
	n = recv(d->fd, worker->input, sizeof(worker->input), 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (d->wait == WAIT_LINGER) {
		COUNT(worker->stats.too_late, n > 0 && !d->answered);
		d->answered = true;
		return n > 0;
	}
	COUNT(d->http->received_bytes, (uint64_t)n);
	d->data = worker->input;
	d->length = (size_t)n;
	d->eof |= n == 0;
	return true;
}

/* A program that goes while it is owed an answer, or before its request is whole, takes the request along, as with Envoy; one that is done
 * is just done. */
static void on_eof(struct downstream *d)
{
	if (d->request && d->request->state == REQUEST_TUNNEL)
		request_tunnel(d->request, (struct span){});
	else if (d->request || queue_length(&d->output) == 0)
		downstream_close(d);
}

static void on_downstream(struct loop_io *io, uint32_t events, void *arg)
{
	struct downstream *d = arg;
	struct worker *worker = d->worker;

	(void)io;
	/* EPOLLHUP: both directions have ended, and there may be input still. */
	if (events & EPOLLERR || (events & (EPOLLIN | EPOLLHUP) && !receive(d))) {
		d->eof = true;
		downstream_close(d);
	} else {
		downstream_run(d);
	}
	if (!d->closed && (d->eof || (events & EPOLLRDHUP && !(events & EPOLLIN)))) {
		d->eof = true;
		on_eof(d);
		if (!d->closed)
			downstream_run(d);
	}
	worker_reap(worker);
}

/* --- coming in ----------------------------------------------------------------------------------------------------------- */

static int inbound_init(struct downstream *d)
{
	d->own_pool = upstream_pool_new(&d->application);
	if (!d->own_pool)
		return -ENOMEM;
	return 0;
}

/* The limits of the listener that it came to. */
static int limit_init(struct downstream *d, const struct listener *listener)
{
	if (!listener || listener->max_connections == LISTENER_UNLIMITED)
		return 0;
	d->limit = limit_use(d, listener);
	return d->limit ? 0 : -ENOMEM;
}

static int counters_init(struct downstream *d)
{
	const struct l7_place *place = d->place->place;

	d->part = sidecar_part(place->sidecar, d->worker->index);
	if (!d->part)
		return -ENOMEM;
	d->http = &d->part->https[place->role == L7_OUTBOUND ? SIDECAR_EGRESS : SIDECAR_INGRESS];
	d->listener_row = sidecar_listener(d->part, place->role, place->port);
	return 0;
}

static int start(struct worker_place *place, const struct accepted *accepted, const struct listener *listener)
{
	struct worker *worker = place->worker;
	struct downstream *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	*d = (struct downstream){
		.worker = worker,
		.place = place,
		.fd = accepted->fd,
		.peer = accepted->peer,
		.peer_port = accepted->peer_port,
		.handover = accepted->handover,
		.came_to = accepted->came_to,
		.inbound = place->place->role == L7_INBOUND,
		.gateway = place->place->role == L7_GATEWAY,
		.data = "",
		.events = EPOLLIN | EPOLLRDHUP,
	};
	d->application = (struct target_endpoint){ .address = d->handover.destination, .port = d->handover.port, .slot = SLOT_NONE };
	ip_port_format(&d->handover.destination, d->handover.port, d->application.text);
	list_init(&d->node);
	r = counters_init(d);
	if (r == 0)
		r = http_codec_new(HTTP_REQUESTS, L7_HEAD_LIMIT_BYTES, &d->codec);
	if (r == 0 && d->inbound)
		r = inbound_init(d);
	if (r == 0)
		r = limit_init(d, listener);
	if (r == 0)
		r = loop_io_add(worker->loop, d->fd, d->events, on_downstream, d, &d->io);
	if (r < 0) {
		if (d->limit)
			limit_unuse(d->limit);
		upstream_pool_free(d->own_pool);
		http_codec_free(d->codec);
		free(d);
		return r;
	}
	list_append(&place->downstreams, &d->place_node);
	d->number = ++worker->last_connection;
	wait_for(d, WAIT_REQUEST);
	COUNT(worker->stats.connections, 1);
	COUNT(worker->stats.open, 1);
	worker->open_peak = MAX(worker->open_peak, worker->stats.open);
	COUNT(d->listener_row->connections, 1);
	COUNT(d->listener_row->open, 1);
	return 0;
}

/* The configuration's listener that was connected to; NULL: it is not known (yet), or there is none: it has no limits then. */
static const struct listener *listener_of(const struct worker_place *place, const struct accepted *accepted)
{
	const struct snapshot *snapshot = place->worker->view->snapshot;
	const struct caller *caller = snapshot_caller(snapshot, accepted->handover.source);
	const struct gateway *gateway = snapshot_gateway(snapshot, accepted->handover.source);

	if (place->place->role == L7_INBOUND && caller)
		return listener_find(caller->listeners, caller->listener_count, accepted->came_to.listener);
	if (place->place->role == L7_GATEWAY && gateway)
		return listener_find(gateway->listeners, gateway->listener_count, accepted->came_to.listener);
	return NULL;
}

/* What was connected to, and which node, or gateway, serves there. */
static int look_inbound(const struct worker_place *place, struct accepted *accepted)
{
	const struct l7_kernel *kernel = &place->worker->l7->kernel;
	const struct l7_place *where = place->place;
	struct handover *handover = &accepted->handover;
	struct serving_key key = { .netns_cookie = where->netns_cookie };
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct intercept intercept;
	int r;

	if (getsockname(accepted->fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	tcp_address_read((struct sockaddr *)&address, &handover->destination, &handover->port);
	if (where->role == L7_GATEWAY) {
		handover->source = __atomic_load_n(&where->gateway, __ATOMIC_RELAXED);
		accepted->came_to = (struct came_to){ .listener = ntohs(handover->port) };
		return 0;
	}
	key.address = handover->destination;
	key.port = handover->port;
	r = kernel->intercept_get(kernel->arg, &key, &intercept);
	if (r < 0)
		return r;
	handover->source = intercept.node;
	accepted->came_to = (struct came_to){ intercept.listener, key.address };
	return 0;
}

void downstream_take(struct worker_place *place, const struct accepted *accepted)
{
	if (start(place, accepted, listener_of(place, accepted)) < 0) {
		COUNT(place->worker->stats.accept_failed, 1);
		fd_close(accepted->fd);
	}
}

void downstream_accept(struct worker_place *place, const struct accepted *from)
{
	const struct l7_place *where = place->place;
	struct worker *worker = place->worker;
	struct l7 *l7 = worker->l7;
	const struct handover_key key = { .netns_cookie = where->netns_cookie, .address = from->peer, .port = from->peer_port };
	struct accepted accepted = *from;
	const struct listener *listener;
	unsigned int owner = worker->index;
	int r;

	if (where->role == L7_OUTBOUND)
		r = l7->kernel.handover_get(l7->kernel.arg, &key, &accepted.handover);
	else
		r = look_inbound(place, &accepted);
	if (r < 0) {
		COUNT(worker->stats.no_handover, 1);
		fd_close(accepted.fd);
		return;
	}
	listener = listener_of(place, &accepted);
	if (listener && listener->max_connections != LISTENER_UNLIMITED)
		owner = limit_owner(l7, where->netns_cookie, accepted.handover.port);
	if (owner == worker->index) {
		downstream_take(place, &accepted);
	} else if (worker_tell_connection(l7->workers[owner], place->place, &accepted) < 0) {
		COUNT(worker->stats.accept_failed, 1);
		fd_close(accepted.fd);
	}
}
