/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is counted, as Prometheus reads it (text format 0.0.4). The table of families in metrics.c is the only list; the
 * document of operations repeats it.
 *
 * Names are short, with the mesh apart: {mesh="shop", source="web", service="pay.shop", target="pay-v1:8080"}. A triple that no
 * connection was ever decided for has no series. Buckets of histograms are some of the kernel's, which end at powers of two. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/api/control/control.h"
#include "agent/http/http.h"
#include "agent/identity/claims.h"
#include "agent/inbound/inbound.h"
#include "agent/telemetry/tally.h"
#include "base/bytes.h"
#include "maps/abi/proxy.h"
#include "maps/generation.h"

/* What follows in the order of the table is left out, and counted. */
#define METRICS_SERIES_MAX 20000
#define METRICS_REQUEST_ROWS_MAX 256 /* rows of requests that have series of their own, 32 each */
#define METRICS_ROUTES_MAX 256 /* likewise of routes, 8 each */
#define METRICS_SERVERS_MAX 4
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Of this process. */
struct metrics_process {
	uint64_t start_wall_ns;
	uint64_t cpu_ns;
	uint64_t resident_bytes;
};

struct metrics_input {
	const struct tally *tally;
	bool configuration_failed;
	bool configuration_held;
	size_t misnamed;
	size_t table_count;
	const struct generations_fill *tables;
	struct claims_report claims;
	size_t listener_count;
	const struct inbound_listener *listeners;
	const struct proxy_state *proxy; /* shared with weft-proxy */
	struct metrics_process process;
	size_t http_count;
	struct http_totals http[METRICS_SERVERS_MAX];
	struct control_totals api;
};

void metrics_write(const struct metrics_input *input, struct buffer *out);
/* All but the start. */
void metrics_process_read(struct metrics_process *process);
