/* SPDX-License-Identifier: Apache-2.0 */
/* Between server.c (who is let in), connection.c (what is said) and exchange.c (what handlers see).
 * A connection owns its exchange until the request is whole; then the handler does, until it answers. */
#pragma once

#include "agent/http/codec.h"
#include "agent/http/http.h"
#include "agent/http/target.h"
#include "agent/http/write.h"
#include "agent/net/queue.h"
#include "base/list.h"

#define INPUT_BYTES (64 * 1024)
#define SPARE_EXCHANGES_MAX 64

enum phase {
	PHASE_IDLE, /* between requests */
	PHASE_HEAD, /* part of one is here */
	PHASE_BODY,
	PHASE_HANDLER, /* the handler has it */
	PHASE_TURN, /* more requests are here than one turn of the loop takes */
	PHASE_ANSWER, /* the client does not take all of it now */
	PHASE_LINGER, /* all is said, and the client told so: what it still sends is dropped, for closing a socket with unread
		       * input would reset the connection and could take the answer with it */
	PHASE_COUNT,
};

struct http_server {
	struct loop *loop;
	const struct http_service *service;
	void *arg;
	char *address; /* a path, or ADDRESS:PORT */
	int fd;
	struct loop_io *io;
	struct loop_timer *retry; /* accepting, after it failed */
	bool paused; /* accepting nobody */
	bool draining;
	http_drained_fn *drained;
	void *drained_arg;
	struct list phases[PHASE_COUNT]; /* connections, by how long they are in their phase: the time-outs of one come in order */
	struct loop_timer *sweep;
	uint64_t sweep_at_ns; /* 0: not armed */
	size_t connection_count;
	struct list exchanges; /* those that handlers have */
	struct list spares;
	size_t spare_count;
	struct http_counters counters;
	char date[HTTP_DATE_BYTES];
	uint64_t date_until_ns;
	char input[INPUT_BYTES]; /* of the connection whose turn it is */
};

struct http_connection {
	struct list node; /* of server->phases */
	struct http_server *server; /* not valid once closed */
	int fd;
	struct loop_io *io;
	struct http_codec *codec;
	enum phase phase, next; /* `next`: after PHASE_ANSWER */
	uint64_t deadline_ns; /* 0: none */
	uint32_t events; /* what the loop was told */
	unsigned int taken; /* requests in this turn */
	unsigned int running; /* calls on the stack that need it, the last of which frees it */
	bool closed;
	bool eof; /* the client will send no more, but may read */
	bool last; /* nothing follows the answer at hand */
	bool answered; /* the last one */
	bool bodyless; /* the answer to HEAD is a head */
	bool minor_0;
	struct http_peer peer;
	struct http_exchange *exchange; /* ours up to PHASE_BODY, the handler's in PHASE_HANDLER */
	struct queue output;
	const char *data; /* what is left of the input: in server->input, or in `kept` */
	size_t length;
	struct buffer kept; /* what came while a request before it is not answered */
};

struct http_exchange {
	struct list node; /* of server->exchanges, or of server->spares */
	struct http_server *server; /* NULL: it is gone */
	struct http_connection *connection; /* NULL: the client, or the server, is gone */
	struct http_head head;
	struct buffer body;
	struct http_peer peer;
	bool decoded;
	struct http_target target;
};

/* exchange.c */
struct http_exchange *http_exchange_new(struct http_connection *connection); /* NULL: out of memory */
struct http_exchange *http_exchange_free(struct http_exchange *exchange);

/* server.c */
void http_server_arm(struct http_server *server, uint64_t at_ns); /* for a deadline */
void http_server_left(struct http_server *server); /* a connection has */
const char *http_server_date(struct http_server *server);

/* connection.c; each may close and free it */
int http_connection_new(struct http_server *server, int fd, const struct http_peer *peer); /* takes `fd` on success */
void http_connection_close(struct http_connection *c);
void http_connection_late(struct http_connection *c); /* its deadline has passed */
void http_connection_answer(struct http_connection *c, const struct http_answer *answer);
void http_connection_refuse(struct http_connection *c, enum http_refusal refusal);
