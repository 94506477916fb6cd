/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.1 server: for the local socket, for what is shown over TCP, and for the control API on both. One loop, its thread.
 *  - Requests are handed over whole, raw (head.h), and decoded only for who asks (http_path(), http_query()). A handler answers
 *    at once or later. Requests in a row are taken one by one, in order, so many in a turn; one that has not been answered keeps
 *    those behind it waiting.
 *  - What is no request, or over a limit, never comes to a handler: it is answered by refusal.h, and the connection ends. Heads
 *    have at most HTTP_HEAD_LIMIT_BYTES and 128 headers, bodies, chunked or not, what the service allows.
 *  - A head must be here HTTP_HEAD_LIMIT_S after its first byte, a body HTTP_BODY_LIMIT_S after its head (408); a connection
 *    that asks nothing for HTTP_IDLE_LIMIT_S, or takes nothing of its answer for HTTP_WRITE_LIMIT_S, is closed. A handler may
 *    take its time.
 *  - Of the connections that a service allows, idle ones make room for new ones; where none is idle, new ones wait in the
 *    kernel's backlog.
 *  - Every answer has Date, and Content-Length; that to HEAD is a head alone. Upgrades are not taken up. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/http/head.h"
#include "agent/http/refusal.h"
#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/abi/types.h"

#define HTTP_HEAD_LIMIT_BYTES (16 * 1024)
#define HTTP_HEAD_LIMIT_S 10
#define HTTP_BODY_LIMIT_S 60
#define HTTP_IDLE_LIMIT_S 30
#define HTTP_WRITE_LIMIT_S 30

struct http_server;
struct http_exchange; /* one request and its answer */

struct http_answer { /* borrowed during the call */
	int status;
	const char *content_type; /* NULL: none */
	const struct http_header *headers; /* beyond Date, Content-Type, Content-Length, Connection, Allow: the server's own */
	size_t header_count;
	struct span body;
};

/* Called when the request is whole. Answers now or later, once, with one of the functions below; until then the exchange stays
 * valid, also when the client or the server goes away. */
typedef void http_handler_fn(struct http_exchange *exchange, void *arg);
/* Words an answer that is none of the handler's: `answer` has the status, {"error": text} and its type. What it points to is used
 * before anything else is called. */
typedef void http_refuse_fn(enum http_refusal refusal, struct http_answer *answer, void *arg);

struct http_service { /* borrowed as long as the server is there */
	const char *name; /* "local": in the log and among counters */
	http_handler_fn *handler;
	http_refuse_fn *refuse; /* NULL: it stays as it is */
	const char *methods; /* "GET, HEAD": others are 405; NULL: all come to the handler. A HEAD is "HEAD" there */
	size_t body_limit_bytes;
	size_t connections_max;
};

/* At "/run/…", a Unix socket (mode 0600; a dead socket's file is replaced, a live one is -EADDRINUSE, a file that is no socket
 * -EEXIST), or over TCP at "10.0.0.1:9090" or "[fd00::1]:9090" (errors as tcp_listen()). */
int http_server_new(struct loop *loop, const char *address, const struct http_service *service, void *arg,
		    struct http_server **ret_server, struct error *err);
/* The same at a socket that listens already, of another namespace, say; `address` is what it is called in the log. Takes `listen_fd` when it
 * succeeds. */
int http_server_new_at(struct loop *loop, int listen_fd, const char *address, const struct http_service *service, void *arg,
		       struct http_server **ret_server, struct error *err);
/* Unlinks the path. Open exchanges are cut: they stay valid until they are answered, which then goes nowhere. NULL is fine. */
struct http_server *http_server_free(struct http_server *server);
/* Lets nobody in any more; idle connections end now, others with their answer. `done` comes once, from the loop, when none is
 * left; not after http_server_free(), which it may call. */
typedef void http_drained_fn(void *arg);
void http_server_drain(struct http_server *server, http_drained_fn *done, void *arg);

struct http_totals { /* of a server, to be shown */
	const char *service;
	uint64_t open; /* connections, at the moment */
	struct http_counters counters;
};
struct http_totals http_server_totals(const struct http_server *server);

/* ---- the request; all borrowed from the exchange ---- */

const struct http_head *http_head(const struct http_exchange *exchange); /* method, target and headers as they came */
const char *http_method(const struct http_exchange *exchange); /* "GET" */
/* The body, decoded from chunks. Has a NUL behind it. */
const void *http_body(const struct http_exchange *exchange, size_t *ret_bytes);

/* The path, decoded, without the query. NULL: the target is none (another form, a bad escape, or one that gives a NUL or no
 * UTF-8), which http_refuse(HTTP_BAD_TARGET) says. */
const char *http_path(struct http_exchange *exchange);
/* Decoded value of a query parameter ('+' is a space), or NULL; "" for a name without value. */
const char *http_query(struct http_exchange *exchange, const char *name);

struct http_peer {
	bool local; /* a Unix socket: who connected (SO_PEERCRED); else an address */
	int pid; /* 0: in a PID namespace that we do not see */
	uint32_t uid;
	struct ip address;
	__be16 port;
};
const struct http_peer *http_peer(const struct http_exchange *exchange);

/* ---- answers; the exchange is the server's again ---- */

/* A header that no client may be sent (a name that is no token, a value with a control character, one that is the server's) is
 * our own mistake: logged, counted as HTTP_BAD_ANSWER, and 500 is answered. */
void http_answer(struct http_exchange *exchange, const struct http_answer *answer);
void http_reply(struct http_exchange *exchange, int status, const char *content_type, const void *body, size_t length);
/* Steals `value`; NULL answers 500. */
void http_reply_json(struct http_exchange *exchange, int status, json_t *value);
/* {"error": text, "field": …}; the status follows the code: -EINVAL 400, -ENOENT 404, -EEXIST and -EBUSY 409, -E2BIG 413,
 * -ENOSPC 507, -EOPNOTSUPP 501, else 500. */
void http_reply_error(struct http_exchange *exchange, const struct error *err);
/* As the server does: counted, worded by the service; the connection goes on. */
void http_refuse(struct http_exchange *exchange, enum http_refusal refusal);
