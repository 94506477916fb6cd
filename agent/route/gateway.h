/* SPDX-License-Identifier: Apache-2.0 */
/* Gateway routes: which virtual service a request from outside the mesh is for, and what it looks like there (App Mesh API:
 * HttpGatewayRoute, GrpcGatewayRoute; user guide "Gateway routes"). The service's own routes come after that, and see the rewritten
 * request. Any thread once made. */
#pragma once

#include "agent/route/match.h"
#include "agent/route/ordered.h"
#include "base/bytes.h"

enum gateway_path { /* what becomes of it */
	GATEWAY_PATH_KEPT,
	GATEWAY_PATH_PREFIX, /* the matched prefix is replaced */
	GATEWAY_PATH_WHOLE,
};

struct gateway_route {
	char *name;
	uint32_t number; /* what the user of the route knows its name by; 0 at first */
	int priority; /* ROUTE_PRIORITY_NONE: none */
	struct route_match match;
	struct route_value_test hostname; /* ROUTE_TEST_PRESENT: any; ports in Host are left aside */
	char *virtual_service;
	uint16_t target_port; /* 0: the service's only one */
	uint32_t id; /* what the user of the route knows the service by; 0 at first */
	bool needs_tls; /* for the user of the route: the gateway's client policy demands TLS of the service */
	bool host_kept; /* rewrite.hostname.defaultTargetHostname DISABLED; otherwise Host becomes the service's name */
	enum gateway_path path;
	char *path_text; /* GATEWAY_PATH_PREFIX, GATEWAY_PATH_WHOLE */
};

/* `spec` is that of a gateway route resource, checked by spec. Errors as route_match_init(). */
int gateway_route_new(const char *name, const json_t *spec, struct gateway_route **ret_route, struct error *err);
struct gateway_route *gateway_route_free(struct gateway_route *route); /* NULL is fine */
struct route_mismatch gateway_route_test(const struct gateway_route *route, const struct route_request *request);

/* Tried in this order: routes for the very hostname, then for its longest suffix, then for any, so that a host that has routes of
 * its own still has those for all hosts; among them the lower priority, the longer path, the name. */
struct gateway_table {
	struct ordered routes; /* struct gateway_route, owned */
};
void gateway_table_done(struct gateway_table *table);
int gateway_table_add(struct gateway_table *table, struct gateway_route *route); /* takes it; -ENOMEM */
const struct gateway_route *gateway_table_find(const struct gateway_table *table, const struct route_request *request); /* NULL: 404 */

/* The path that the service sees, without the query: borrowed from the request, the route, or `buffer`, which is emptied. -ENOMEM. */
int gateway_route_rewrite(const struct gateway_route *route, const struct route_request *request, struct buffer *buffer,
			  struct span *ret_path);
