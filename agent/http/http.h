/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 server on llhttp, for the agent's local socket (GET, and PUT, POST and DELETE with a small body) and for what it
 * shows to others over TCP (GET and HEAD). Keep-alive and pipelining work; bodies over the limit, chunked or not, get 413, heads over 16 KiB 431, what is no HTTP 400, other
 * methods 405, each as JSON {"error": …}. A connection that sends nothing for 30 s, whose request is not whole 10 s after its
 * first byte, or that takes nothing of its answer for 30 s, is closed; a handler may take its time. At most
 * HTTP_CONNECTIONS_MAX are open (over TCP HTTP_TCP_CONNECTIONS_MAX), further ones wait in the kernel's backlog. Upgrades are not
 * taken up. One loop, its thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

#define HTTP_BODY_LIMIT_BYTES (1024 * 1024)
#define HTTP_HEAD_LIMIT_BYTES (16 * 1024)
#define HTTP_CONNECTIONS_MAX 256
#define HTTP_TCP_CONNECTIONS_MAX 32 /* peers that nobody vouches for, each of which may hold an answer of some MiB */

struct http_server;
struct http_exchange; /* one request and its answer */

/* Called when the request is whole. Answers now or later, once, with one of the http_reply functions; until then the
 * exchange stays valid, also when the client goes away. */
typedef void http_handler_fn(struct http_exchange *exchange, void *arg);

/* Listens on a Unix socket at `path` (mode 0600; a dead socket file is replaced, a live one is -EADDRINUSE, a file that is no
 * socket -EEXIST). */
int http_server_unix(struct loop *loop, const char *path, http_handler_fn *handler, void *arg, struct http_server **ret_server,
		     struct error *err);
/* The same over TCP, at "10.0.0.1:9090" or "[fd00::1]:9090": GET and HEAD alone, for what is no secret; a HEAD comes to the handler
 * like a GET, whose body is left out. Errors as tcp_listen(). */
int http_server_tcp(struct loop *loop, const char *address, http_handler_fn *handler, void *arg, struct http_server **ret_server,
		    struct error *err);
/* Unlinks the path. Open exchanges are cut: they stay valid until they are answered, which then goes nowhere. NULL is fine. */
struct http_server *http_server_free(struct http_server *server);

const char *http_method(const struct http_exchange *exchange); /* "GET" */
const char *http_path(const struct http_exchange *exchange); /* decoded, without the query */
/* Decoded value of a query parameter, or NULL; "" for a name without value. Borrowed. */
const char *http_query(const struct http_exchange *exchange, const char *name);
const void *http_body(const struct http_exchange *exchange, size_t *ret_bytes);
/* The peer of a Unix socket (SO_PEERCRED); 0: over TCP. */
int http_peer_pid(const struct http_exchange *exchange);

void http_reply(struct http_exchange *exchange, int status, const char *content_type, const void *body, size_t length);
/* Steals `value`; NULL answers 500. */
void http_reply_json(struct http_exchange *exchange, int status, json_t *value);
/* {"error": text, "field": …}; the status follows the code: -EINVAL 400, -ENOENT 404, -EEXIST and -EBUSY 409, -E2BIG 413,
 * -ENOSPC 507, -EOPNOTSUPP 501, else 500. */
void http_reply_error(struct http_exchange *exchange, const struct error *err);
