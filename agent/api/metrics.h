/* SPDX-License-Identifier: Apache-2.0 */
/* The listener of --metrics: /metrics for Prometheus, and nothing else of the agent. */
#pragma once

#include "base/error.h"

struct agent;
struct http_server;
struct metrics_listener;

int metrics_listener_new(struct agent *agent, const char *address, struct metrics_listener **ret_listener, struct error *err);
struct http_server *metrics_listener_server(struct metrics_listener *listener);
/* Before the agent's tallies. NULL is fine. */
struct metrics_listener *metrics_listener_free(struct metrics_listener *listener);
