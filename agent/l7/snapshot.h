/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP proxy knows of the mesh: services with their routes, targets with their endpoints, and callers, as weftd compiled them
 * for this node (agent/compile/snapshot.h). Objects are found by the kernel's ids of them, which the kernel's hand-over names.
 *
 * A snapshot and its objects are immutable. A change makes a new snapshot that shares what did not change, so it costs what changed,
 * and not what is there: ids lead through pages, and only a page with a changed object is made anew. Snapshots are made on one
 * thread, and read and let go on any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/route/gateway.h"
#include "agent/route/route.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "maps/abi/record.h"
#include "maps/abi/types.h"

enum snapshot_kind { SNAPSHOT_SERVICE, SNAPSHOT_TARGET, SNAPSHOT_NODE, SNAPSHOT_GATEWAY, SNAPSHOT_KINDS };

struct snapshot_object { /* what each of them begins with */
	uint32_t refs; /* atomic */
	uint32_t id;
	uint64_t lineage; /* one for all that follow each other with this id and this name: tells those apart that had one id */
	char *name; /* full: "mesh/M/virtualService/S" */
	char *text; /* that it is of, for a successor */
};

struct service_port {
	uint16_t port;
	bool for_gateways; /* alone: what programs connect to there is decided in the kernel */
	struct route_table table; /* struct route_target_node.id are ids of targets; 0: the virtual node does not exist */
};

struct service {
	struct snapshot_object object;
	struct span host; /* what programs ask for: the end of the name */
	size_t port_count;
	struct service_port *ports; /* in order */
};

struct target_endpoint {
	struct ip address;
	__be16 port;
	uint16_t run; /* its zone's, in the list's `zones` */
	uint32_t slot, incarnation; /* what the kernel knows of it: health, ejection (maps/abi/endpoint.h) */
	uint64_t netns_cookie; /* offered to callers in this namespace only; 0: to all */
	char text[ENDPOINT_TEXT_BYTES]; /* "10.0.0.1:8080" */
};

struct target_list { /* the endpoints of an address family; zones as in struct target_record */
	size_t count;
	struct target_endpoint *endpoints; /* NULL: none */
	uint8_t zone_count;
	struct zone_run *zones; /* NULL: none */
};

struct target { /* a listener of a virtual node */
	struct snapshot_object object; /* "mesh/M/virtualNode/N:8080" */
	char *virtual_node; /* "N" */
	char *cluster; /* "cds_egress_MESH_NODE_http_PORT", as Envoy's cluster has its name in App Mesh */
	uint16_t port;
	bool needs_tls;
	uint16_t panic_pct;
	struct route_timeouts timeouts; /* the listener's */
	uint32_t max_errors; /* outlier detection: 5xx in a row; 0: none */
	uint64_t interval_ns, base_ejection_ns;
	uint8_t max_ejection_pct;
	struct target_list lists[LIST_COUNT];
};

#define LISTENER_UNLIMITED UINT32_MAX

struct listener { /* of a virtual node with workloads here, which weft-proxy serves in the application's place; of a gateway */
	uint16_t port;
	struct route_timeouts timeouts;
	uint32_t max_connections, max_pending; /* connectionPool.http; LISTENER_UNLIMITED */
};

struct caller { /* a virtual node with workloads here */
	struct snapshot_object object; /* "mesh/M/virtualNode/N" */
	bool audit, drop_all;
	size_t listener_count;
	struct listener *listeners;
	size_t backend_count;
	uint32_t *backends; /* ids of services, in order */
	json_t *logging; /* the node's "logging"; NULL: none */
};

struct gateway { /* a virtual gateway with workloads here */
	struct snapshot_object object; /* "mesh/M/virtualGateway/G" */
	size_t listener_count;
	struct listener *listeners;
	struct gateway_table table; /* struct gateway_route.id are ids of services; 0: there is none of that name */
	json_t *logging; /* as a caller's */
};

struct snapshot;
uint64_t snapshot_generation(const struct snapshot *snapshot);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
struct snapshot *snapshot_unref(struct snapshot *snapshot); /* NULL is fine */

/* NULL: there is none with that id. Valid as long as the snapshot. */
const struct service *snapshot_service(const struct snapshot *snapshot, uint32_t id);
const struct target *snapshot_target(const struct snapshot *snapshot, uint32_t id);
const struct caller *snapshot_caller(const struct snapshot *snapshot, uint32_t id);
const struct gateway *snapshot_gateway(const struct snapshot *snapshot, uint32_t id);
const struct snapshot_object *snapshot_named(const struct snapshot *snapshot, enum snapshot_kind kind, const char *name);
uint32_t snapshot_slots(const struct snapshot *snapshot); /* every slot of an endpoint is below, and was in those that it was made from */
size_t snapshot_ids(const struct snapshot *snapshot, enum snapshot_kind kind); /* every id is below */
/* Appends what snapshots_apply() makes the same of, with base 0. 0 or -ENOMEM. */
int snapshot_print(const struct snapshot *snapshot, struct buffer *text);

const struct listener *listener_find(const struct listener *listeners, size_t count, uint16_t port); /* NULL: none */
const struct service_port *service_port_find(const struct service *service, uint16_t port); /* NULL: none */
const struct service_port *service_port_handed(const struct service *service, uint16_t port); /* NULL: none whose connections are handed over */

/* What there is now. Routes, and those of gateways, have numbers for their names (route_names.h). */
struct snapshots;
int snapshots_new(struct snapshots **ret_snapshots); /* with one of generation 0, which has nothing */
struct snapshots *snapshots_free(struct snapshots *snapshots); /* NULL is fine */
struct snapshot *snapshots_now(const struct snapshots *snapshots); /* borrowed */
const char *snapshots_route_name(const struct snapshots *snapshots, uint32_t number); /* NULL: no route has it, or had */

/* Makes the next one from the text of a "configuration" message (agent/proxy/control.h), whole or not at all. -ESTALE: `base` is neither 0
 * nor the generation that is there; -EBADMSG names the member; -ENOMEM. */
int snapshots_apply(struct snapshots *snapshots, uint64_t base, uint64_t generation, struct span text, struct error *err);
