/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* How many of each thing one instance holds. A change that would not fit is refused as a whole, with the table's name. Made for
 * 10,000 services with a target of 10 endpoints each, called from one node, with room for what waits to be reused;
 * some 60 MB. */
#pragma once

#define RING_DIRECTORIES 64 /* generations kept; a power of two */
#define MAX_OBJECTS 32768 /* object ids: services, targets and source nodes together */
#define MAX_SERVICES 16384 /* service records, of all kept generations */
#define MAX_ROUTES 32768 /* route records: one for each port of a service record */
#define MAX_TARGETS 16384
#define MAX_NODES 4096
#define MAX_BACKENDS 65536
#define MAX_ENDPOINT_REFS 262144 /* places in endpoint lists */
#define MAX_ENDPOINTS 131072 /* kernel slots: open counts, health */
#define MAX_ROWS 32768 /* counter rows: (source, service, target) */
#define MAX_VIPS 32768 /* two a service, and aliases */
#define MAX_OWNERS 8192 /* namespaces, and cgroups, that act for a node */
#define MAX_OWN_ADDRESSES 65536
#define MAX_EXEMPT 16384
#define MAX_NAMES 65536 /* names that the responder answers: of a mesh, or of one node's backends */
#define MAX_RESOLVERS 16384 /* (namespace, node, resolver) */
#define MAX_REASON_ROWS 32768
#define FLOW_RING_BYTES (2 * 1024 * 1024)

#define MAX_SERVICE_PORTS 32 /* listeners of one router or node */
#define MAX_ROUTE_TARGETS 10 /* weightedTargets of one route (App Mesh API, WeightedTargets) */
#define MAX_SERVICE_ROWS 64 /* different targets over all ports of one service */
#define MAX_CGROUP_DEPTH 32 /* a deeper cgroup cannot act for a node: each level costs the hooks a step */
#define MAX_CONFIG_PORTS 16 /* ignored ports, reserved ports */
