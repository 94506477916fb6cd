/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of virtual routers: in which order they are tried, and whether a port can be balanced by weights alone, connection by
 * connection, or needs a proxy that reads requests. Borrows the resources, which are checked and outlive it; what is of their specs is valid as long as the
 * routes are. */
#pragma once

#include <stdbool.h>
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
/* The next of the routes that bind to the port, in the order in which they are tried. *at begins with 0; false: there is none. */
struct bound_route {
	const struct resource *route;
	const json_t *targets; /* its weightedTargets */
};
bool routes_next(const struct routes *routes, uint16_t port, size_t *at, struct bound_route *ret_route);
/* What a port of the router does in the kernel. An HTTP or gRPC port whose first route matches every request is balanced by its weights; where
 * the first one looks at anything in a request, connections cannot be told apart without a proxy. 0 or -ENOMEM. */
int routes_choose(const struct routes *routes, uint16_t port, struct route_choice *ret_choice);
