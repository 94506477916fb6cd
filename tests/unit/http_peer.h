/* SPDX-License-Identifier: Apache-2.0 */
/* A server on the test's own loop that treats every request alike, as the test says. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/list.h"

enum peer_manner {
	PEER_ANSWERS, /* with `answer`, then closes */
	PEER_HOLDS, /* says nothing, until peer_answer_all() */
	PEER_RESETS,
	PEER_RUNS_ON, /* `answer`, then `refrain` for ever */
};

struct peer {
	struct loop *loop;
	int fd; /* -1: nobody listens */
	uint16_t port;
	char address[32]; /* "127.0.0.1:PORT" */
	struct loop_io *io;
	struct list connections;
	enum peer_manner manner;
	const char *answer, *refrain;
	unsigned accepted, requests, open, open_max;
	char request[4096]; /* the last one */
};

void peer_init(struct peer *peer, struct loop *loop); /* listens; answers 200 */
void peer_done(struct peer *peer);
void peer_answer_all(struct peer *peer); /* those that are held */
void peer_stop_listening(struct peer *peer);
