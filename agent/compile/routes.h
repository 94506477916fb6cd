/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of virtual routers: in which order they are tried, and whether a port can be balanced by weights alone, connection by
 * connection, or needs a proxy that reads requests. Borrows the resources, which are checked and outlive it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/spec/resource.h"

/* The routes of one router, first tried first: by priority (lower first, none last), the longer path or gRPC method, name. */
struct ranked_route;
struct routes {
	struct ranked_route *ranked;
	size_t count;
};
int routes_of(const struct resources *resources, const struct resource *router, struct routes *ret_routes); /* 0 or -ENOMEM */
void routes_done(struct routes *routes);

struct route_choice {
	const struct resource *route; /* the first one tried; NULL: none binds to the port */
	const json_t *targets; /* its weightedTargets; NULL where closed */
	uint8_t closed; /* REASON_NO_ROUTE, REASON_NEEDS_PROXY, or 0 */
	uint8_t flags; /* ROUTE_* */
	char *note; /* owned by the caller: why closed, or which routes can never match; NULL: none */
};
/* What a port of the router does. An HTTP or gRPC port whose first route matches every request is balanced by its weights; where
 * the first one looks at anything in a request, connections cannot be told apart without a proxy. Retry policies and timeouts
 * need none: they are shown as not in force. 0 or -ENOMEM. */
int routes_choose(const struct routes *routes, uint16_t port, struct route_choice *ret_choice);
