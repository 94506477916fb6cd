/* SPDX-License-Identifier: Apache-2.0 */
/* One route of a virtual router: match, weighted targets, retries, timeouts; and the table of them, in the order in which they are
 * tried (SEMANTICS of the App Mesh user guide: priority, the lower first and none last; then the longer path; then the name). Any thread
 * once made. */
#pragma once

#include "agent/route/match.h"
#include "agent/route/ordered.h"
#include "agent/route/retry.h"

#define ROUTE_PRIORITY_NONE 1001 /* after 0..1000 */

struct route_target_node {
	char *virtual_node;
	uint16_t port; /* 0: the node's only one */
	uint32_t weight; /* 0: kept, and never chosen */
	uint32_t id; /* what the user of the route knows the target by; 0 at first */
};

struct route_timeouts { /* of a request, and of a stream without activity; each end of a connection may have them */
	uint64_t request_ns, idle_ns; /* 0: none */
};
#define ROUTE_REQUEST_TIMEOUT_NS (15 * NSEC_PER_SEC) /* where nothing is said */
#define ROUTE_IDLE_TIMEOUT_NS (300 * NSEC_PER_SEC)

struct route {
	char *name;
	uint32_t number; /* what the user of the route knows its name by; 0 at first */
	int priority;
	struct route_match match;
	struct route_target_node *targets;
	size_t target_count;
	uint64_t total_weight;
	struct retry_policy retry;
	struct route_timeouts timeouts;
	bool by_weights; /* see route_new_by_weights() */
};

/* `spec` is that of a route resource with httpRoute, http2Route or grpcRoute, checked by spec. Errors as route_match_init(); -EINVAL as
 * well for a tcpRoute. */
int route_new(const char *name, const json_t *spec, struct route **ret_route, struct error *err);
/* What a virtual service has whose provider is a virtual node: everything goes there (no name, retries by the default policy). */
int route_new_to_node(const char *virtual_node, uint16_t port, struct route **ret_route);
/* What a service has that the kernel balances connection by connection: everything goes by weights, and as for those connections there are
 * no retries and no time-outs, those of targets included. `count` targets are there for the caller to fill by route_target_set(). */
int route_new_by_weights(const char *name, size_t count, struct route **ret_route);
int route_target_set(struct route *route, size_t i, const char *virtual_node, uint16_t port, uint32_t weight); /* each once. -ENOMEM */
struct route *route_free(struct route *route); /* NULL is fine */

/* The index of a target by its weight, from 32 random bits; -ENOENT: all weights are 0. */
int route_pick(const struct route *route, uint32_t random);

/* A "timeout" member of a route or a listener of that protocol; NULL: nothing is said. */
struct route_timeouts route_timeouts_read(const json_t *timeout);
/* In force for a request by the route to a target whose listener has these: the lower of each, where 0 is none. */
struct route_timeouts route_timeouts_to(const struct route *route, struct route_timeouts listener);

struct route_table {
	struct ordered routes; /* struct route, owned */
};

void route_table_done(struct route_table *table);
/* Takes the route. -ENOMEM. */
int route_table_add(struct route_table *table, struct route *route);
/* The first that takes the request; NULL: none (404). */
const struct route *route_table_find(const struct route_table *table, const struct route_request *request);
