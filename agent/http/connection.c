/* SPDX-License-Identifier: Apache-2.0 */
/* A connection is in one phase at a time, which says what it waits for and how long. What it reads is in the server's buffer
 * while it is its turn; what is left of that, because a request has to wait for the answer to the one before, it keeps, and
 * reads no more. Answers that are ready in one turn leave with one call. Epoll is told only what changes: a connection that
 * answers at once never asks for anything but EPOLLIN. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/http/internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define BATCH_BYTES (64 * 1024) /* of answers, before they are sent */
#define COPIED_BYTES (16 * 1024) /* bodies up to that are put behind their head, others sent from where they are */
#define LINGER_LIMIT_S 2
#define REQUESTS_PER_TURN 64 /* of a connection, so that one that sends thousands at once does not keep the others waiting */

static const uint64_t limits_ns[PHASE_COUNT] = {
	[PHASE_IDLE] = HTTP_IDLE_LIMIT_S * NSEC_PER_SEC,
	[PHASE_HEAD] = HTTP_HEAD_LIMIT_S * NSEC_PER_SEC, /* from its first byte to its last */
	[PHASE_BODY] = HTTP_BODY_LIMIT_S * NSEC_PER_SEC, /* the same */
	[PHASE_TURN] = 1, /* the next one */
	[PHASE_ANSWER] = HTTP_WRITE_LIMIT_S * NSEC_PER_SEC, /* since the client last took something */
	[PHASE_LINGER] = LINGER_LIMIT_S * NSEC_PER_SEC,
};

static void enter(struct http_connection *c, enum phase phase)
{
	struct http_server *server = c->server;

	c->phase = phase;
	list_remove(&c->node);
	list_append(&server->phases[phase], &c->node);
	if (limits_ns[phase] == 0)
		return;
	c->deadline_ns = loop_now_ns(server->loop) + limits_ns[phase];
	http_server_arm(server, c->deadline_ns);
}

void http_connection_close(struct http_connection *c)
{
	if (c->closed)
		return;
	c->closed = true;
	if (c->exchange && c->phase == PHASE_HANDLER)
		c->exchange->connection = NULL;
	else
		http_exchange_free(c->exchange);
	loop_io_remove(c->io);
	fd_close(c->fd);
	http_codec_free(c->codec);
	queue_done(&c->output);
	buffer_done(&c->kept);
	list_remove(&c->node);
	http_server_left(c->server);
	if (c->running == 0)
		free(c);
}

/* ---- answering ---- */

static bool has_body(const struct http_connection *c, const struct http_answer *answer)
{
	return !c->bodyless && answer->status != 204;
}

/* Closes the connection where it cannot be sent. */
static void write_answer(struct http_connection *c, const struct http_answer *answer)
{
	static const struct http_answer bad = {
		.status = 500,
		.content_type = "application/json",
		.body = SPAN("{\"error\":\"a header of the answer cannot be sent\"}\n"),
	};
	const struct http_frame frame = {
		.date = http_server_date(c->server),
		.connection = c->last || c->server->draining ? "close" : c->minor_0 ? "keep-alive" : NULL,
		.allow = answer->status == 405 ? c->server->service->methods : NULL,
	};
	int r = 0;

	if (http_write_head(&c->output.bytes, answer, &frame) < 0) {
		c->server->counters.refused[HTTP_BAD_ANSWER]++;
		log_limited(LOG_LEVEL_ERROR, "a header of an answer cannot be sent",
			    LOG_F("service", LOG_STR(c->server->service->name)));
		answer = &bad;
		http_write_head(&c->output.bytes, answer, &frame);
	}
	if (has_body(c, answer) && answer->body.length > COPIED_BYTES)
		r = queue_send(&c->output, c->fd, answer->body);
	else if (has_body(c, answer))
		buffer_append(&c->output.bytes, answer->body.data, answer->body.length);
	if (r < 0) {
		http_connection_close(c);
		return;
	}
	c->answered = c->last || c->server->draining;
	enter(c, PHASE_IDLE);
}

static void write_refusal(struct http_connection *c, enum http_refusal refusal)
{
	const struct http_service *service = c->server->service;
	char body[256];
	struct http_answer answer = {
		.status = http_refusal_status(refusal),
		.content_type = "application/json",
		.body.data = body,
	};

	c->server->counters.refused[refusal]++;
	answer.body.length = (size_t)snprintf(body, sizeof(body), "{\"error\":\"%s\"}\n", http_refusal_text(refusal));
	if (service->refuse)
		service->refuse(refusal, &answer, c->server->arg);
	write_answer(c, &answer);
}

/* Answers what never came to the handler; where the next request would begin is not known then. */
static void refuse(struct http_connection *c, enum http_refusal refusal)
{
	c->exchange = http_exchange_free(c->exchange);
	c->last = true;
	write_refusal(c, refusal);
}

/* True: all is sent. */
static bool flush(struct http_connection *c)
{
	const size_t before = queue_length(&c->output);

	if (before == 0 && !buffer_failed(&c->output.bytes))
		return true;
	if (queue_send(&c->output, c->fd, (struct span){}) < 0) {
		http_connection_close(c);
		return false;
	}
	if (queue_length(&c->output) == 0) {
		if (c->phase == PHASE_ANSWER)
			enter(c, c->next);
		return true;
	}
	if (c->phase != PHASE_ANSWER && c->phase != PHASE_HANDLER) {
		c->next = c->phase;
		enter(c, PHASE_ANSWER);
	} else if (c->phase == PHASE_ANSWER && queue_length(&c->output) < before) {
		enter(c, PHASE_ANSWER); /* its time begins anew */
	}
	return false;
}

static void linger(struct http_connection *c)
{
	c->length = 0; /* and from here on nobody looks at it */
	if (c->eof || shutdown(c->fd, SHUT_WR) < 0)
		http_connection_close(c);
	else
		enter(c, PHASE_LINGER);
}

/* ---- requests ---- */

/* "GET, HEAD" */
static bool is_among(const char *method, const char *methods)
{
	const size_t length = strlen(method);

	for (const char *p = methods; (p = strstr(p, method)); p += length)
		if ((p == methods || p[-1] == ' ') && (p[length] == ',' || !p[length]))
			return true;
	return false;
}

/* -1: it is good. */
static int check_head(const struct http_service *service, const struct http_head *head)
{
	const struct http_header *expect;
	size_t hosts, expectations;

	http_head_find(head, SPAN("Host"), &hosts);
	expect = http_head_find(head, SPAN("Expect"), &expectations);
	if (service->methods && !is_among(head->method, service->methods))
		return HTTP_OTHER_METHOD;
	if (!http_target_origin(head->target).data)
		return HTTP_BAD_TARGET;
	if (hosts > 1 || (hosts == 0 && head->minor > 0)) /* RFC 9112 section 3.2 */
		return HTTP_BAD_HOST;
	if (expect && head->minor > 0 && (expectations > 1 || !span_equal_nocase(expect->value, SPAN("100-continue"))))
		return HTTP_UNKNOWN_EXPECTATION;
	if (head->content_length > service->body_limit_bytes)
		return HTTP_LARGE_BODY;
	return -1;
}

static void on_head(struct http_connection *c)
{
	const struct http_head *head = &c->exchange->head;
	size_t expectations;
	int refusal;

	c->last = !head->keep_alive;
	c->minor_0 = head->minor == 0;
	c->bodyless = strcmp(head->method, "HEAD") == 0;
	refusal = check_head(c->server->service, head);
	if (refusal >= 0) {
		refuse(c, (enum http_refusal)refusal);
		return;
	}
	if (head->content_length == 0 && !head->chunked)
		return;
	enter(c, PHASE_BODY);
	/* Only where the client has not sent it already: RFC 9110 section 10.1.1. */
	if (c->length == 0 && http_head_find(head, SPAN("Expect"), &expectations) && head->minor > 0)
		buffer_add(&c->output.bytes, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void on_body(struct http_connection *c, struct span piece)
{
	struct buffer *body = &c->exchange->body;

	if (piece.length > c->server->service->body_limit_bytes - body->length) {
		refuse(c, HTTP_LARGE_BODY);
		return;
	}
	buffer_append(body, piece.data, piece.length);
	if (buffer_failed(body))
		refuse(c, HTTP_NO_MEMORY);
}

static void on_end(struct http_connection *c)
{
	struct http_server *server = c->server;

	enter(c, PHASE_HANDLER);
	c->taken++;
	server->counters.requests++;
	server->service->handler(c->exchange, server->arg); /* may answer, or free the server */
}

static void on_end_of_input(struct http_connection *c)
{
	struct http_event event;

	if (http_codec_end(c->codec, &event) == HTTP_EVENT_FAILED)
		refuse(c, event.refusal);
	else
		c->answered = true;
}

/* One event of the codec. False: wait for more. */
static bool run_request(struct http_connection *c)
{
	struct http_event event;

	if (!c->exchange && c->length == 0) {
		c->answered |= c->eof;
		return false;
	}
	if (!c->exchange) {
		enter(c, PHASE_HEAD);
		c->bodyless = c->minor_0 = false;
		c->exchange = http_exchange_new(c);
		if (!c->exchange) {
			refuse(c, HTTP_NO_MEMORY);
			return false;
		}
	}
	switch (http_codec_next(c->codec, &c->exchange->head, &c->data, &c->length, &event)) {
	case HTTP_EVENT_MORE:
		if (c->eof)
			on_end_of_input(c);
		return false;
	case HTTP_EVENT_HEAD:
		on_head(c);
		return true;
	case HTTP_EVENT_BODY:
		on_body(c, event.body);
		return true;
	case HTTP_EVENT_END:
		on_end(c);
		return true;
	case HTTP_EVENT_FAILED:
		refuse(c, event.refusal);
		return true;
	case HTTP_EVENT_CLOSED: /* not after `last` */
		break;
	}
	abort();
}

/* ---- running ---- */

static bool takes_requests(const struct http_connection *c)
{
	return !c->closed && !c->answered && c->phase <= PHASE_BODY && c->taken < REQUESTS_PER_TURN &&
	       queue_length(&c->output) < BATCH_BYTES;
}

/* What is not used yet moves from the server's buffer into the connection's own. */
static void keep_input(struct http_connection *c)
{
	if (c->length == 0) {
		buffer_done(&c->kept);
	} else if (c->kept.length > 0) {
		buffer_consume(&c->kept, c->kept.length - c->length);
	} else {
		buffer_append(&c->kept, c->data, c->length);
		if (buffer_failed(&c->kept))
			http_connection_close(c);
	}
	c->data = c->kept.data ?: "";
}

static bool tell(struct http_connection *c, uint32_t events)
{
	if (events == c->events)
		return true;
	c->events = events;
	return loop_io_events(c->io, events) == 0;
}

static void ask_for_events(struct http_connection *c)
{
	uint32_t events = c->phase == PHASE_HANDLER || c->phase == PHASE_TURN ? c->events & EPOLLIN : EPOLLIN;

	if (queue_length(&c->output) > 0)
		events = EPOLLOUT;
	if (!tell(c, events))
		http_connection_close(c);
}

/* As far as it goes. Not recursive: a handler that answers at once only changes the phase. */
static void run(struct http_connection *c)
{
	if (c->running > 0)
		return;
	c->running++;
	do {
		while (takes_requests(c) && run_request(c))
			;
		if (!c->closed && flush(c) && c->answered)
			linger(c);
	} while (takes_requests(c) && c->length > 0);
	if (!c->closed)
		keep_input(c);
	if (!c->closed && c->phase == PHASE_IDLE && c->length > 0)
		enter(c, PHASE_TURN);
	c->taken = 0;
	if (!c->closed)
		ask_for_events(c);
	c->running--;
	if (c->closed)
		free(c);
}

void http_connection_answer(struct http_connection *c, const struct http_answer *answer)
{
	c->exchange = NULL;
	c->running++; /* keeps `c` where it is closed */
	write_answer(c, answer);
	c->running--;
	run(c);
}

void http_connection_refuse(struct http_connection *c, enum http_refusal refusal)
{
	c->exchange = NULL;
	c->running++;
	write_refusal(c, refusal);
	c->running--;
	run(c);
}

void http_connection_late(struct http_connection *c)
{
	struct http_counters *counters = &c->server->counters;

	switch (c->phase) {
	case PHASE_HEAD:
	case PHASE_BODY:
		c->running++;
		refuse(c, c->phase == PHASE_HEAD ? HTTP_SLOW_HEAD : HTTP_SLOW_BODY);
		c->running--;
		run(c);
		return;
	case PHASE_TURN:
		enter(c, PHASE_IDLE);
		run(c);
		return;
	case PHASE_IDLE:
		counters->refused[HTTP_IDLE]++;
		break;
	case PHASE_ANSWER:
		counters->refused[HTTP_SLOW_READER]++;
		break;
	default:
		break;
	}
	http_connection_close(c);
}

static bool receive(struct http_connection *c)
{
	struct http_server *server = c->server;
	ssize_t n = recv(c->fd, server->input, sizeof(server->input), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->eof = n == 0;
	c->data = server->input;
	c->length = (size_t)n;
	return true;
}

static void on_connection(struct loop_io *io, uint32_t events, void *arg)
{
	struct http_connection *c = arg;
	bool alive = true;

	(void)io;
	switch (c->phase) {
	case PHASE_IDLE:
	case PHASE_HEAD:
	case PHASE_BODY:
		alive = receive(c);
		break;
	case PHASE_LINGER:
		alive = receive(c) && !c->eof;
		break;
	case PHASE_HANDLER:
	case PHASE_TURN:
		alive = !(events & (EPOLLHUP | EPOLLERR));
		if (alive && events & EPOLLIN)
			alive = tell(c, c->events & ~(uint32_t)EPOLLIN); /* not now */
		break;
	default:
		break;
	}
	if (!alive)
		http_connection_close(c);
	else if (c->phase != PHASE_LINGER && c->phase != PHASE_TURN)
		run(c);
}

int http_connection_new(struct http_server *server, int fd, const struct http_peer *peer)
{
	struct http_connection *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct http_connection){ .server = server, .fd = fd, .events = EPOLLIN, .peer = *peer, .data = "" };
	r = http_codec_new(HTTP_REQUESTS, HTTP_HEAD_LIMIT_BYTES, &c->codec);
	if (r == 0)
		r = loop_io_add(server->loop, fd, c->events, on_connection, c, &c->io);
	if (r < 0) {
		http_codec_free(c->codec);
		free(c);
		return r;
	}
	list_init(&c->node);
	enter(c, PHASE_IDLE);
	return 0;
}
