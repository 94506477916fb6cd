/* SPDX-License-Identifier: Apache-2.0 */
/* What a resource kind adds to its shape: one file and one row of kind_rules[] each. Everything here sees one spec that is
 * valid by its shape and has no null members; graph.c does what needs two resources. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/spec/resource.h"

/* A string member that names another resource of the same mesh. */
struct reference_rule {
	const char *pattern; /* field_each(); NULL ends the table */
	enum resource_kind kind;
};

/* A member that is accepted and not in force in this version. */
struct dormant_rule {
	const char *pattern; /* field_each(); NULL ends the table */
	const char *meaning; /* what that means for whoever wrote it */
	bool (*when)(const json_t *value); /* NULL: always */
	bool l4; /* only where a virtual service leads there that keeps its HTTP in the kernel */
};
#define DORMANT_L4 ", for virtual services with the tag weft/l4-http"

struct kind_rules {
	int (*check)(const json_t *spec, struct error *err); /* rules between fields; NULL: none */
	const struct reference_rule *references; /* NULL: none */
	const struct dormant_rule *dormant; /* NULL: none */
};
extern const struct kind_rules mesh_rules, virtual_service_rules, virtual_node_rules, virtual_router_rules, route_rules,
	virtual_gateway_rules, gateway_route_rules;
extern const struct kind_rules *const kind_rules[RESOURCE_KIND_COUNT];

/* listener.c: nodes, routers and gateways */

/* No two on one port; `connectionPool` and `timeout` for the listener's protocol; health checks on its port. */
int listeners_check(const json_t *spec, struct error *err);
size_t listener_count(const json_t *spec);
void listener_read(const json_t *spec, size_t index, struct port_mapping *ret_mapping);
/* A client policy's `tls` (NULL is fine), whose path is `field`: an enforced one cannot match wildcard names. */
int client_policy_check(const json_t *tls, const char *field, struct error *err);

bool listener_tls_strict(const json_t *tls);
bool listener_tls_permissive(const json_t *tls);
bool port_mapping_implies_tls(const json_t *port_mapping);
bool client_policy_enforced(const json_t *tls);
bool client_policy_optional(const json_t *tls);

/* logging.c: a format of the access log of a node or gateway that no line could be made by is refused. */
int logging_check(const json_t *spec, struct error *err);

/* mesh.c: true of the values that prefer a family, false of those that ask for one alone. */
bool ip_preference_mild(const json_t *preference);
#define IP_PREFERENCE_MILD "both families are offered: the address that the caller chose decides"

/* match.c: routes and gateway routes */

/* The members of a route or gateway route spec that hold the route itself. */
struct route_protocol {
	const char *member; /* "http2Route" */
	const char *protocol; /* "http2" */
};
extern const struct route_protocol route_protocols[]; /* a NULL member ends it */

/* The one of route_protocols[] that the spec has. -EINVAL unless it is exactly one. */
int route_protocol_find(const json_t *spec, const struct route_protocol **ret_protocol, struct error *err);
/* A match of HTTP or gRPC, whose path is `field`: ranges of headers or metadata are not empty, a prefix starts with "/" and
 * stands alone. */
int match_check(const json_t *match, const char *field, struct error *err);
