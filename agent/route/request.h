/* SPDX-License-Identifier: Apache-2.0 */
/* A request as routes see it. All is borrowed. */
#pragma once

#include <stdint.h>

#include "agent/http/head.h"

struct route_request {
	struct span method; /* "GET" */
	struct span path; /* normalised (path.h), without the query */
	struct span query; /* as it came, without '?' */
	struct span scheme; /* "http", "https" */
	struct span authority; /* Host, or :authority */
	uint16_t port; /* that was connected to */
	const struct http_header *headers;
	size_t header_count;
};
