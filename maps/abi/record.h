/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* The immutable records that directories name, and the arrays that records own pieces of. Object ids are those of
 * directory.h. Whoever owns a range (`first`, `count`) owns it alone: range and record are written and freed together. */
#pragma once

#include "limits.h"
#include "types.h"

/* A virtual service. Port i is served by route `first_route + i`. */
struct service_record {
	__u32 first_route; /* into w_route */
	__u16 port_count; /* at most MAX_SERVICE_PORTS */
	__u8 no_port; /* enum reason for a port that is not listed; 0: REASON_NO_LISTENER */
	__u8 pad;
	__be16 ports[MAX_SERVICE_PORTS];
};
WEFT_SIZE(struct service_record, 72);

#define ROUTE_L7_AS_L4 1u /* an HTTP or gRPC route that needs weights only, balanced per connection */
/* Connections of this host's sockets go to weft-proxy. `closed`, weights and targets are for those that have none here, and so cannot: what
 * the port does for them. */
#define ROUTE_L7 2u

/* What one port of a service does. `closed` is a reason to refuse every connection, or 0. Target i is chosen when the draw,
 * uniform below cumulative[target_count - 1], is the first one below cumulative[i]: a weight of 0 is never chosen. */
struct route_record {
	__u8 closed; /* enum reason */
	__u8 flags; /* ROUTE_* */
	__u8 target_count; /* at most MAX_ROUTE_TARGETS */
	__u8 pad;
	__u16 cumulative[MAX_ROUTE_TARGETS];
	__u8 row_offset[MAX_ROUTE_TARGETS]; /* the counter row is backend.row + row_offset[i] */
	__u8 pad2[2];
	__u32 target[MAX_ROUTE_TARGETS]; /* object ids; 0: the virtual node does not exist */
	__u32 pad3; /* mapped arrays step by multiples of 8 */
};
WEFT_SIZE(struct route_record, 80);

enum { LIST_V4, LIST_V6, LIST_COUNT };

#define TARGET_NEEDS_TLS 1u
#define TARGET_ROTATES 2u /* its address is for new connections: who is connected to an earlier one stays */

#define MAX_TARGET_ZONES 8 /* told apart in one list, the callers' own included; smaller ones count as one */
#define SHARE_ALL 65536u

/* The endpoints of one zone, neighbours in a list. */
struct zone_run {
	__u32 count;
	__u32 below; /* a draw below this, uniform up to SHARE_ALL, leads here or to a run before: shares while all can be used */
};

/* Which share of connections each zone gets, as Envoy's zone aware routing has it where callers are spread evenly over the zones. The
 * callers' own zone, the first, gets all that its part of the usable endpoints can carry; what is too much for it goes to zones
 * that have more than theirs, in proportion to what they have more. */
struct zone_split {
	__u32 zones;
	__u32 usable; /* endpoints, in all zones; not 0 */
	__u64 excess; /* the sum of zone_excess() over all zones but the first */
};

/* Of `usable` endpoints in one zone, times zones: what is more than its part of them all. */
static inline __attribute__((always_inline)) __u64 zone_excess(const struct zone_split *split, __u32 usable)
{
	const __u64 has = (__u64)usable * split->zones;

	return has > split->usable ? has - split->usable : 0;
}

/* In SHARE_ALLths. `own` and `usable`: usable endpoints of the first zone, and of the one asked for. */
static inline __attribute__((always_inline)) __u32 zone_share(const struct zone_split *split, __u32 own, __u32 zone, __u32 usable)
{
	const __u64 has = (__u64)own * split->zones;
	const __u32 own_share = has < split->usable ? has * SHARE_ALL / split->usable : SHARE_ALL;

	if (zone == 0)
		return own_share;
	return split->excess ? (SHARE_ALL - own_share) * zone_excess(split, usable) / split->excess : 0;
}

/* A listener of a virtual node, as somebody to connect to. */
struct target_record {
	WEFT_TEST_SHIFT(__u64)
	__u32 first[LIST_COUNT]; /* into w_ref: its endpoints, one list for each address family */
	__u32 count[LIST_COUNT];
	__u32 flags;
	__u16 panic_pct; /* fewer healthy than this share of the list: all are used; 0: never */
	__u8 zone_count[LIST_COUNT]; /* at most MAX_TARGET_ZONES; 0: zones make no difference */
	__u32 max_connections; /* of this node to each endpoint; 0: no limit */
	/* Outlier detection (App Mesh API, OutlierDetection): */
	__u32 max_errors; /* in a row, that eject an endpoint; 0: none ever is */
	__u64 interval_ns; /* in which nothing happens: the next ejection is shorter by one base; not 0 */
	__u64 base_ejection_ns;
	__u8 max_ejection_pct; /* of a list; one may always be ejected */
	__u8 pad[15];
	struct zone_run zones[LIST_COUNT][MAX_TARGET_ZONES]; /* the list in order; the callers' own first, though it may be empty */
};
WEFT_SIZE(struct target_record, 192);

/* An endpoint's place in a list. `incarnation` is that of its slot when the list was made. */
struct endpoint_ref {
	WEFT_TEST_SHIFT(__u64)
	struct ip address;
	__u64 netns_cookie; /* offered to callers in this namespace only (a loopback address); 0: to all */
	__be16 port;
	__u16 zone;
	__u32 slot; /* into w_endpoint */
	__u32 incarnation;
	__u16 run; /* its zone's, in target_record.zones */
	__u16 pad;
};
WEFT_SIZE(struct endpoint_ref, 40);

#define NODE_DROP_ALL 1u /* the mesh's egressFilter */
#define NODE_AUDIT 2u /* the mesh is in audit mode */

/* A virtual node as a caller. Its backends are sorted by service id. */
struct node_record {
	WEFT_TEST_SHIFT(__u64)
	__u32 first_backend; /* into w_backend */
	__u32 backend_count;
	__u32 flags;
	__u32 l7_port_count; /* at most MAX_NODE_L7_PORTS */
	/* Ports on which some backend is weft-proxy's (ROUTE_L7): connections to unknown destinations on them are handed over as well, for their
	 * requests may name that backend. */
	__be16 l7_ports[MAX_NODE_L7_PORTS];
};
WEFT_SIZE(struct node_record, 48);

#define BACKEND_AUDIT_ONLY 1u /* listed because the mesh is in audit mode: routed, and counted as not-a-backend */

struct backend {
	__u32 service;
	__u32 row; /* first of the counter rows of (this caller, this service) */
	__u32 tls_ports; /* bit i: the client policy demands TLS on the service's port i */
	__u16 flags;
	__u16 row_count; /* for the sweep: how many rows from `row` on are this backend's */
};
WEFT_SIZE(struct backend, 16);

#ifdef __bpf__
WEFT_MAP(w_service, BPF_MAP_TYPE_ARRAY, __u32, struct service_record, DEFAULT_SERVICE_RECORDS, BPF_F_MMAPABLE);
WEFT_MAP(w_route, BPF_MAP_TYPE_ARRAY, __u32, struct route_record, DEFAULT_ROUTES, BPF_F_MMAPABLE);
WEFT_MAP(w_target, BPF_MAP_TYPE_ARRAY, __u32, struct target_record, DEFAULT_TARGETS, BPF_F_MMAPABLE);
WEFT_MAP(w_ref, BPF_MAP_TYPE_ARRAY, __u32, struct endpoint_ref, DEFAULT_REFS, BPF_F_MMAPABLE);
WEFT_MAP(w_node, BPF_MAP_TYPE_ARRAY, __u32, struct node_record, DEFAULT_NODES, BPF_F_MMAPABLE);
WEFT_MAP(w_backend, BPF_MAP_TYPE_ARRAY, __u32, struct backend, DEFAULT_BACKENDS, BPF_F_MMAPABLE);
#endif
