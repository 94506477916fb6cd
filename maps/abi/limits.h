/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* How many of each thing one instance holds. A change that would not fit is refused as a whole, with the table's name, where the
 * tables cannot grow. */
#pragma once

/* Arrays, whose memory is there from the start: made for a number of services, and grown by `weft-loader grow`. How many entries a map
 * has stands in the map itself, where both sides find it.
 *
 * X(symbol, member of struct kernel_limits, map, entries for each service, their number is a multiple of): a service has one target with
 * ten endpoints, and is called by one source; the room beyond that is for what only kept generations name, and for what waits to be reused.
 * Few services may be called by many. */
#define ARRAY_TABLES(X)                                                                                                       \
	X(OBJECTS, objects, "w_object", 3, DIRECTORY_PAGE_IDS) /* object ids: services, targets and source nodes together */  \
	X(SERVICE_RECORDS, services, "w_service", 2, 64) /* of all kept generations */                                        \
	X(ROUTES, routes, "w_route", 3, 64) /* one for each port of a service record */                                       \
	X(TARGETS, targets, "w_target", 2, 64)                                                                                \
	X(NODES, nodes, "w_node", 1, 64)                                                                                      \
	X(BACKENDS, backends, "w_backend", 8, 64)                                                                             \
	X(REFS, refs, "w_ref", 20, 64) /* places in endpoint lists */                                                         \
	X(ENDPOINTS, endpoints, "w_endpoint", 12, 64) /* kernel slots: open counts, health */                                 \
	X(ROWS, rows, "w_row", 2, 1024) /* counter rows: (source, service, target) */
#define ARRAY_ENTRIES(per_service, multiple, services) (((per_service) * (services) + (multiple) - 1) / (multiple) * (multiple))
#define DIRECTORY_PAGE_IDS 1024 /* ids of a page of the directory: a power of two */

#define DEFAULT_SERVICES 256
#define SERVICES_STEP 256 /* a number of services is rounded up to a multiple of this */
#define MAX_SERVICES 16384 /* some 90 MB */
enum default_entries {
#define X(symbol, member, map, per_service, multiple) DEFAULT_##symbol = ARRAY_ENTRIES(per_service, multiple, DEFAULT_SERVICES),
	ARRAY_TABLES(X)
#undef X
};

/* Hash tables, whose entries are allocated as they come. */
#define MAX_VIPS 32768 /* two a service, and aliases */
#define MAX_OWNERS 8192 /* namespaces, and cgroups, that act for a node */
#define MAX_OWN_ADDRESSES 65536
#define MAX_EXEMPT 16384
#define MAX_NAMES 65536 /* names that the responder answers: of a mesh, or of one node's backends */
#define MAX_RESOLVERS 16384 /* (namespace, node, resolver) */
#define MAX_REASON_ROWS 32768
#define MAX_ACCOUNTS 262144 /* connections that are open, or being opened, by sockets of this host */
#define MAX_WAYS 32768 /* connections of weft-proxy to applications on their way, and those of checks: for seconds */
#define NEAR_ACCOUNTS 4096 /* more of them, in places of their own (maps/abi/account.h); a power of two */
#define MAX_SERVINGS 4096 /* listeners of workloads on this node that have a limit on connections; and that weft-proxy serves */
#define MAX_EXPOSED 4096 /* addresses that stand for services */
#define MAX_EDGE_DEVICES 4096
#define MAX_EDGE_PASSED 8192 /* connections out of their mesh that have none either, and of which a change of its filter takes notice */
#define MAX_EDGE_CONNECTIONS 32768 /* connections without a socket of this host; a power of two */

#define RING_DIRECTORIES 64 /* generations kept; a power of two */
#define FLOW_RING_BYTES (2 * 1024 * 1024)

#define MAX_NODE_L7_PORTS 16 /* different ports of one caller's HTTP backends that unknown destinations are looked at for */
#define MAX_SERVICE_PORTS 32 /* listeners of one router or node */
#define MAX_ROUTE_TARGETS 10 /* weightedTargets of one route (App Mesh API, WeightedTargets) */
#define MAX_SERVICE_ROWS 64 /* different targets over all ports of one service */
#define MAX_CGROUP_DEPTH 32 /* a deeper cgroup cannot act for a node: each level costs the hooks a step */
#define MAX_CONFIG_PORTS 16 /* ignored ports, reserved ports */
