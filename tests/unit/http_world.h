/* SPDX-License-Identifier: Apache-2.0 */
/* A server on a Unix socket, its clients, and the loop that the test turns. */
#pragma once

#include "agent/http/http.h"
#include "base/bytes.h"
#include "tests/lib/test.h"

#define CLIENTS 300
#define BODY_LIMIT_BYTES (1024 * 1024)
#define CONNECTIONS_MAX 256
#define HOST "Host: weft\r\n"

struct fixture {
	char directory[64], path[96];
	struct loop *loop;
	struct http_server *server;
	int clients[CLIENTS]; /* -1: none */
	struct buffer received;
	int calls;
	struct http_exchange *waiting; /* of "/later" */
	int peer_pid;
	bool free_server; /* from the handler */
};

/* Answers what it was asked, as JSON; "/later": never; "/error?code=N": that errno; "?large=N": N bytes. `arg` is the fixture. */
void world_handle(struct http_exchange *exchange, void *arg);
extern const struct http_service world_service; /* with that handler, for GET, PUT, POST and DELETE */

int world_setup(void **state); /* with world_service */
int world_teardown(void **state);
/* In place of the one that is there. */
void world_serve(struct fixture *f, const struct http_service *service);

void turns(struct fixture *f);
int connect_client(struct fixture *f, size_t client); /* 0 or -errno */
/* Turns the loop until all is sent, or the server has heard enough. */
void client_sends(struct fixture *f, size_t client, const char *data, size_t length);
void client_says(struct fixture *f, size_t client, const char *text);
/* Turns the loop once and takes what has come. True: the connection ended. */
bool client_receives(struct fixture *f, size_t client);
/* Until `count` times `needle` is there, or the connection ends. True: it ended. */
bool client_reads(struct fixture *f, size_t client, const char *needle, int count);
/* One request on a connection of its own: the answer, whole. */
const char *answer_to(struct fixture *f, const char *request);
uint64_t refused(const struct fixture *f, enum http_refusal refusal);
