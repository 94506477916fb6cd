/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a weft-proxy, which takes as long as what it still serves: because a successor has everything, or because it was told to end.
 * It accepts nothing any more; queries that are under way are answered, requests and tunnels go on until their own time-outs. Programs'
 * connections that wait for a request go to whoever has the seat by then, who also knows how many of those that end there are
 * (agent/proxy/formers.h), and may end them.
 *
 * As one end of the control socket it is a client like weftd: it connects to the seat, says "retiring", and hears {"event": "end"}. */
#pragma once

#include <stdint.h>

struct proxy;

/* X(symbol, name, meaning): why one has ended. */
#define RETIRE_REASONS(X)                                                                                                     \
	X(DRAINED, "drained", "nothing was left to be served")                                                                 \
	X(DRAIN_MAX, "drain-max", "it took longer than --drain-max")                                                           \
	X(DRAIN_LIMIT, "drain-limit", "there were more than two, and it was the eldest")                                       \
	X(DRAIN_TIME, "drain-time", "it was told to end, and took longer than --drain-time")                                   \
	X(LOST, "lost", "it ended without a word")

enum retire_reason {
#define X(symbol, name, text) RETIRE_##symbol,
	RETIRE_REASONS(X)
#undef X
	RETIRE_REASON_COUNT,
};
extern const char *const retire_reason_names[RETIRE_REASON_COUNT];

struct retirement;
struct retirement *retirement_free(struct retirement *retirement); /* NULL is fine */
