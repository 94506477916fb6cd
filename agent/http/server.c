/* SPDX-License-Identifier: Apache-2.0 */
/* A connection is in one phase at a time, which says what it waits for and how long. Requests that come in a row are taken one
 * by one: the next is looked at when the answer to the last is written, so a client that does not read is not read from. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/http/codec.h"
#include "agent/http/exchange.h"
#include "agent/http/http.h"
#include "agent/net/tcp.h"
#include "agent/net/unix.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define INPUT_BYTES (16 * 1024)
#define OUTPUT_KEPT_BYTES (64 * 1024) /* more than that is given back after an answer */

enum phase {
	PHASE_IDLE, /* between requests */
	PHASE_REQUEST, /* part of one is here */
	PHASE_HANDLER, /* the handler has it */
	PHASE_ANSWER, /* being written */
	PHASE_LINGER, /* all is said, and the client told so: what it still sends is dropped, for closing a socket with unread
		       * input would reset the connection and could take the answer with it */
};

static const struct {
	uint32_t events;
	uint64_t limit_ns; /* 0: none */
} phases[] = {
	[PHASE_IDLE] = { EPOLLIN, 30 * NSEC_PER_SEC },
	[PHASE_REQUEST] = { EPOLLIN, 10 * NSEC_PER_SEC }, /* from its first byte to its last */
	[PHASE_HANDLER] = { 0, 0 }, /* EPOLLHUP comes always */
	[PHASE_ANSWER] = { EPOLLOUT, 30 * NSEC_PER_SEC }, /* since the client last took something */
	[PHASE_LINGER] = { EPOLLIN, 2 * NSEC_PER_SEC },
};

#define METHODS_MAX 4

/* What is different by where it listens. */
struct transport {
	int (*listen)(const char *address, int *ret_fd, struct error *err);
	int (*peer_pid)(int fd);
	size_t connections_max;
	bool has_file; /* to be removed in the end */
	const char *methods[METHODS_MAX + 1];
	const char *allow, *refusal;
};

static int listen_unix(const char *path, int *ret_fd, struct error *err)
{
	return unix_listen(path, 0600, ret_fd, err);
}

static int no_peer_pid(int fd)
{
	(void)fd;
	return 0;
}

static const struct transport over_unix = {
	.listen = listen_unix,
	.peer_pid = unix_peer_pid,
	.connections_max = HTTP_CONNECTIONS_MAX,
	.has_file = true,
	.methods = { "GET", "PUT", "POST", "DELETE" },
	.allow = "Allow: GET, PUT, POST, DELETE\r\n",
	.refusal = "only GET, PUT, POST and DELETE are known here",
};
static const struct transport over_tcp = {
	.listen = tcp_listen,
	.peer_pid = no_peer_pid,
	.connections_max = HTTP_TCP_CONNECTIONS_MAX,
	.methods = { "GET", "HEAD" },
	.allow = "Allow: GET, HEAD\r\n",
	.refusal = "only GET and HEAD are known here",
};

struct http_server {
	struct loop *loop;
	const struct transport *transport;
	char *address; /* a path, or ADDRESS:PORT */
	http_handler_fn *handler;
	void *arg;
	int fd;
	struct loop_io *io;
	struct loop_timer *retry; /* accepting, after it failed */
	bool paused; /* accepting nobody */
	struct list connections;
	size_t connection_count;
};

struct http_connection {
	struct list node;
	struct http_server *server; /* not valid once closed */
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	struct http_codec *codec;
	enum phase phase;
	uint32_t events; /* what the loop was told */
	unsigned int running; /* calls of run() on the stack, which free it in the end */
	bool closed;
	bool eof; /* the client will send no more, but may read */
	bool last; /* nothing follows the answer at hand */
	bool bodyless; /* the answer to HEAD is a head */
	bool minor_0;
	int peer_pid;
	struct http_exchange *exchange; /* ours in PHASE_REQUEST, the handler's in PHASE_HANDLER */
	struct buffer output;
	size_t written;
	const char *data; /* what is left of `input` */
	size_t length;
	char input[INPUT_BYTES];
};

static void accept_again(struct http_server *server)
{
	if (server->paused && loop_io_events(server->io, EPOLLIN) == 0)
		server->paused = false;
}

/* ---- a connection's life ---- */

static void enter(struct http_connection *c, enum phase phase)
{
	c->phase = phase;
	if (phases[phase].limit_ns > 0)
		loop_timer_arm(c->timer, loop_now_ns(c->server->loop) + phases[phase].limit_ns);
	else
		loop_timer_disarm(c->timer);
}

static void connection_close(struct http_connection *c)
{
	struct http_server *server = c->server;

	if (c->closed)
		return;
	c->closed = true;
	if (c->exchange && c->phase == PHASE_HANDLER)
		c->exchange->connection = NULL;
	else
		http_exchange_free(c->exchange);
	loop_timer_free(c->timer);
	loop_io_remove(c->io);
	fd_close(c->fd);
	http_codec_free(c->codec);
	buffer_done(&c->output);
	list_remove(&c->node);
	server->connection_count--;
	if (server->io)
		accept_again(server);
	if (c->running == 0)
		free(c);
}

/* ---- answering ---- */

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 400, "Bad Request" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 409, "Conflict" },
	{ 413, "Content Too Large" },
	{ 417, "Expectation Failed" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

static const char *reason_of(int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return ""; /* which RFC 9112 allows */
}

static void answer(struct http_connection *c, int status, const char *content_type, const void *body, size_t length)
{
	const char *connection = c->last ? "Connection: close\r\n" : c->minor_0 ? "Connection: keep-alive\r\n" : "";

	buffer_printf(&c->output, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s\r\n", status,
		      reason_of(status), content_type, length, status == 405 ? c->server->transport->allow : "", connection);
	if (!c->bodyless)
		buffer_append(&c->output, body, length);
	if (buffer_failed(&c->output)) {
		connection_close(c);
		return;
	}
	enter(c, PHASE_ANSWER);
}

/* Answers what never came to the handler; where the next request would begin is not known then. */
static void refuse(struct http_connection *c, int status, const char *text)
{
	_cleanup_(buffer_done) struct buffer body = {};

	buffer_printf(&body, "{\"error\":\"%s\"}\n", text); /* our own texts and llhttp's, without quotes */
	c->exchange = http_exchange_free(c->exchange);
	c->last = true;
	answer(c, status, "application/json", buffer_string(&body), body.length);
}

static bool flush(struct http_connection *c)
{
	while (c->written < c->output.length) {
		ssize_t n = send(c->fd, c->output.data + c->written, c->output.length - c->written, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			connection_close(c);
		if (n < 0)
			return false;
		c->written += (size_t)n;
		if (c->phase == PHASE_ANSWER)
			enter(c, PHASE_ANSWER); /* its time begins anew */
	}
	c->written = 0;
	if (c->output.capacity > OUTPUT_KEPT_BYTES)
		buffer_done(&c->output);
	else
		buffer_clear(&c->output);
	return true;
}

static bool run_answer(struct http_connection *c)
{
	if (!flush(c))
		return false;
	if (!c->last) {
		enter(c, c->length > 0 ? PHASE_REQUEST : PHASE_IDLE);
		return true;
	}
	c->length = 0;
	if (c->eof || shutdown(c->fd, SHUT_WR) < 0)
		connection_close(c);
	else
		enter(c, PHASE_LINGER);
	return false;
}

/* ---- receiving ---- */

static const char *allowed_method(const struct transport *transport, const char *method)
{
	for (size_t i = 0; transport->methods[i]; i++)
		if (strcmp(transport->methods[i], method) == 0)
			return transport->methods[i];
	return NULL;
}

/* 0, or the status to refuse with. */
static int check_head(const struct transport *transport, const struct http_head *head, const char **ret_text)
{
	size_t hosts, expectations;
	const char *expect = http_head_value(head, "Expect", &expectations);

	http_head_value(head, "Host", &hosts);
	if (!allowed_method(transport, head->method))
		return *ret_text = transport->refusal, 405;
	if (hosts > 1 || (hosts == 0 && head->minor > 0)) /* RFC 9112 section 3.2 */
		return *ret_text = "not exactly one Host header", 400;
	if (expect && head->minor > 0 && strcasecmp(expect, "100-continue") != 0)
		return *ret_text = "the only expectation known here is 100-continue", 417;
	if (head->content_length > HTTP_BODY_LIMIT_BYTES)
		return *ret_text = "the body is larger than 1 MiB", 413;
	return 0;
}

static void on_head(struct http_connection *c)
{
	const struct http_head *head = http_codec_head(c->codec);
	const char *text;
	size_t expectations;
	int status, r;

	c->last = !head->keep_alive;
	c->minor_0 = head->minor == 0;
	c->bodyless = strcmp(head->method, "HEAD") == 0;
	status = check_head(c->server->transport, head, &text);
	if (status > 0) {
		refuse(c, status, text);
		return;
	}
	c->exchange = calloc(1, sizeof(*c->exchange));
	r = c->exchange ? http_target_init(head->target, &c->exchange->target) : -ENOMEM;
	if (r < 0) {
		if (r == -EINVAL)
			refuse(c, 400, "the target is no path, or its escapes give no text");
		else
			refuse(c, 503, "out of memory");
		return;
	}
	c->exchange->connection = c;
	c->exchange->method = allowed_method(c->server->transport, head->method);
	c->exchange->peer_pid = c->peer_pid;
	if (http_head_value(head, "Expect", &expectations) && head->minor > 0 && (head->content_length > 0 || head->chunked)) {
		/* If it does not fit now it leaves with the answer: the client waits no longer than it likes. */
		buffer_add(&c->output, "HTTP/1.1 100 Continue\r\n\r\n");
		flush(c);
	}
}

static void on_body(struct http_connection *c, const struct http_event *event)
{
	struct buffer *body = &c->exchange->body;

	if (event->body_bytes > HTTP_BODY_LIMIT_BYTES - body->length) {
		refuse(c, 413, "the body is larger than 1 MiB");
		return;
	}
	buffer_append(body, event->body, event->body_bytes);
	if (buffer_failed(body))
		refuse(c, 503, "out of memory");
}

static void on_end(struct http_connection *c)
{
	enter(c, PHASE_HANDLER);
	c->server->handler(c->exchange, c->server->arg); /* may answer, or free the server */
}

/* One event of the codec. False: wait for more. */
static bool run_request(struct http_connection *c)
{
	struct http_event event;

	switch (http_codec_next(c->codec, &c->data, &c->length, &event)) {
	case HTTP_EVENT_MORE:
		if (c->eof)
			connection_close(c);
		return false;
	case HTTP_EVENT_HEAD:
		on_head(c);
		return true;
	case HTTP_EVENT_BODY:
		on_body(c, &event);
		return true;
	case HTTP_EVENT_END:
		on_end(c);
		return true;
	case HTTP_EVENT_FAILED:
		refuse(c, event.status, event.reason);
		return true;
	case HTTP_EVENT_CLOSED: /* not after `last` */
		break;
	}
	abort();
}

/* ---- running ---- */

static bool run_phase(struct http_connection *c)
{
	switch (c->phase) {
	case PHASE_IDLE:
	case PHASE_REQUEST:
		return run_request(c);
	case PHASE_ANSWER:
		return run_answer(c);
	case PHASE_HANDLER:
	case PHASE_LINGER:
		break;
	}
	return false;
}

/* As far as it goes. Not recursive: a handler that answers at once only changes the phase. */
static void run(struct http_connection *c)
{
	if (c->running > 0)
		return;
	c->running++;
	while (!c->closed && run_phase(c))
		;
	if (!c->closed && c->events != phases[c->phase].events) {
		c->events = phases[c->phase].events;
		if (loop_io_events(c->io, c->events) < 0)
			connection_close(c);
	}
	c->running--;
	if (c->closed)
		free(c);
}

void http_connection_answer(struct http_connection *c, int status, const char *content_type, const void *body, size_t length)
{
	c->exchange = NULL;
	c->running++; /* keeps `c` where answer() closes it */
	answer(c, status, content_type, body, length);
	c->running--;
	run(c);
}

static bool receive(struct http_connection *c)
{
	ssize_t n = recv(c->fd, c->input, sizeof(c->input), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->eof = n == 0;
	c->data = c->input;
	c->length = (size_t)n;
	if (n > 0 && c->phase == PHASE_IDLE)
		enter(c, PHASE_REQUEST);
	return true;
}

static void on_connection(struct loop_io *io, uint32_t events, void *arg)
{
	struct http_connection *c = arg;
	bool alive = true;

	(void)io;
	switch (c->phase) {
	case PHASE_IDLE:
	case PHASE_REQUEST:
		alive = receive(c);
		break;
	case PHASE_LINGER:
		alive = receive(c) && !c->eof;
		c->length = 0;
		break;
	case PHASE_HANDLER:
		alive = !(events & (EPOLLHUP | EPOLLERR));
		break;
	case PHASE_ANSWER:
		break;
	}
	if (alive)
		run(c);
	else
		connection_close(c);
}

static void on_deadline(struct loop_timer *timer, void *arg)
{
	(void)timer;
	connection_close(arg);
}

/* ---- accepting ---- */

static int connection_new(struct http_server *server, int fd)
{
	struct http_connection *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->server = server;
	c->fd = -1; /* the caller's until all is well */
	c->data = c->input;
	c->events = phases[PHASE_IDLE].events;
	c->peer_pid = r = server->transport->peer_pid(fd);
	if (r >= 0)
		r = http_codec_new(HTTP_HEAD_LIMIT_BYTES, &c->codec);
	if (r >= 0)
		r = loop_timer_new(server->loop, on_deadline, c, &c->timer);
	if (r >= 0)
		r = loop_io_add(server->loop, fd, c->events, on_connection, c, &c->io);
	list_append(&server->connections, &c->node);
	server->connection_count++;
	if (r < 0) {
		connection_close(c);
		return r;
	}
	c->fd = fd;
	enter(c, PHASE_IDLE);
	return 0;
}

static void pause_accepting(struct http_server *server)
{
	if (loop_io_events(server->io, 0) == 0)
		server->paused = true;
}

static void on_listener(struct loop_io *io, uint32_t events, void *arg)
{
	struct http_server *server = arg;

	(void)io;
	(void)events;
	while (server->connection_count < server->transport->connections_max) {
		_cleanup_close_ int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		int r = fd < 0 ? -errno : connection_new(server, fd);

		if (r == -EAGAIN)
			return;
		if (r >= 0) {
			fd = -1; /* the connection's */
		} else if (r != -EINTR && r != -ECONNABORTED) {
			/* Out of descriptors or memory: asking again at once would only spin. */
			log_limited(LOG_LEVEL_WARN, "cannot accept a connection", LOG_F("at", LOG_STR(server->address)),
				    LOG_F("error", LOG_STR(strerror(-r))));
			loop_timer_arm(server->retry, loop_now_ns(server->loop) + NSEC_PER_SEC);
			break;
		}
	}
	pause_accepting(server); /* until one closes, or the timer */
}

static void on_retry(struct loop_timer *timer, void *arg)
{
	(void)timer;
	accept_again(arg);
}

static int server_new(struct loop *loop, const struct transport *transport, const char *address, http_handler_fn *handler, void *arg,
		      struct http_server **ret_server, struct error *err)
{
	struct http_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return error_set(err, -ENOMEM, "out of memory");
	list_init(&server->connections);
	server->loop = loop;
	server->transport = transport;
	server->handler = handler;
	server->arg = arg;
	server->fd = -1;
	r = transport->listen(address, &server->fd, err);
	if (r >= 0) {
		server->address = strdup(address);
		r = server->address ? loop_timer_new(loop, on_retry, server, &server->retry) : -ENOMEM;
		if (r >= 0)
			r = loop_io_add(loop, server->fd, EPOLLIN, on_listener, server, &server->io);
		if (r < 0)
			error_set(err, r, "cannot serve '%s'", address);
	}
	if (r < 0) {
		http_server_free(server);
		return r;
	}
	*ret_server = server;
	return 0;
}

int http_server_unix(struct loop *loop, const char *path, http_handler_fn *handler, void *arg, struct http_server **ret_server,
		     struct error *err)
{
	return server_new(loop, &over_unix, path, handler, arg, ret_server, err);
}

int http_server_tcp(struct loop *loop, const char *address, http_handler_fn *handler, void *arg, struct http_server **ret_server,
		    struct error *err)
{
	return server_new(loop, &over_tcp, address, handler, arg, ret_server, err);
}

struct http_server *http_server_free(struct http_server *server)
{
	if (!server)
		return NULL;
	server->io = loop_io_remove(server->io);
	list_for_each_safe(it, &server->connections)
		connection_close(container_of(it, struct http_connection, node));
	loop_timer_free(server->retry);
	if (server->address && server->transport->has_file)
		unlink(server->address);
	fd_close(server->fd);
	free(server->address);
	free(server);
	return NULL;
}
