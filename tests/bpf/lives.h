/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of a fixture's mesh, from connect() to close, at times that the test names. */
#pragma once

#include "tests/bpf/fixture.h"
#include "tests/bpf/life.h"

struct life;

struct lives {
	struct life *skeleton;
	int prog_fd;
};

/* Works on the maps of the fixture, which outlives it. */
void lives_init(struct lives *lives, const struct fixture *f);
void lives_done(struct lives *lives);

/* Safe from several threads, for different connections. */
struct life_step life_connect(const struct lives *lives, uint32_t connection, struct flow flow, uint64_t now_ns);
void life_established(const struct lives *lives, uint32_t connection, uint64_t now_ns);
void life_end(const struct lives *lives, uint32_t connection, enum flow_close how, uint64_t bytes_received, uint64_t now_ns);
