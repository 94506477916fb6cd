/* SPDX-License-Identifier: Apache-2.0 */
/* Between exchange.c (what handlers see) and server.c (connections). A connection owns the exchange until the request is whole;
 * then the handler does, until it answers. */
#pragma once

#include "agent/http/http.h"
#include "agent/http/target.h"

struct http_connection;

struct http_exchange {
	struct http_connection *connection; /* NULL: the client, or the server, is gone */
	const char *method; /* static */
	struct http_target target;
	struct buffer body;
	int peer_pid;
};

struct http_exchange *http_exchange_free(struct http_exchange *exchange);

/* In server.c: writes the answer to the exchange that the connection waits for. The connection may be gone afterwards. */
void http_connection_answer(struct http_connection *connection, int status, const char *content_type, const void *body,
			    size_t length);
