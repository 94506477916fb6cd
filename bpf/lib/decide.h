/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* decide(): what the mesh does with one connection. Reads maps, writes nothing; randomness and time are inputs, so the same
 * code answers the connect hooks, the tests and `weft explain`. The destination is looked up as a VIP first: no VIP ever
 * reaches a route lookup. The order of the checks decides which reason is told; it is documented in docs/architecture.md. */
#pragma once

#include "pick.h"
#include "policy.h"
#include "proxy.h"
#include "maps/abi/account.h"
#include "maps/abi/row.h"

/* The port's place in the service record, or -1. */
__weak int service_port(const struct service_record *service, __be16 port)
{
	if (!service)
		return -1;
	for (int i = 0; i < MAX_SERVICE_PORTS; i++) {
		if (i >= service->port_count)
			break;
		if (service->ports[i] == port)
			return i;
	}
	return -1;
}

/* The target's place in the route. The caller has checked that the weights add up to something. */
__weak int route_target(const struct route_record *route, __u32 random)
{
	__u32 total = 0, drawn;

	if (!route)
		return -1;
	for (int i = 0; i < MAX_ROUTE_TARGETS; i++)
		if (i < route->target_count)
			total = route->cumulative[i];
	if (!total)
		return -1;
	drawn = scale(random, total);
	for (int i = 0; i < MAX_ROUTE_TARGETS; i++)
		if (i < route->target_count && drawn < route->cumulative[i])
			return i;
	return -1;
}

/* 64 bits that each depend on all of `x` (the finalizer of MurmurHash3). */
static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/* Of one random word: each that the kernel is asked for takes longer than all of this. */
static __always_inline struct draw draw_words(void)
{
	const __u64 random = bpf_get_prandom_u32();
	const __u64 a = mix(random + 0x9e3779b97f4a7c15ull), b = mix(random + 0x3c6ef372fe94f82aull);

	return (struct draw){ .target = a, .zone = a >> 32, .first = b, .second = b >> 32 };
}

/* Another endpoint of the same target, where the one decided for was taken by others meanwhile. */
static __always_inline enum reason decide_again(const struct flow *flow, const struct draw *draw, __u64 now_ns, struct decision *d)
{
	const struct target_record *target = directory_target(d->generation, d->target);

	return target ? pick(target, flow, draw, now_ns, d) : REASON_NO_ENDPOINT;
}

/* A port whose requests weft-proxy routes: to where it listens in the caller's namespace. */
static __always_inline enum reason decide_proxied(const struct flow *flow, __u64 now_ns, struct decision *d)
{
	const bool v4 = ip_is_v4(&flow->destination);
	const enum reason taken = flow->flags & FLOW_FOREIGN ? REASON_FOREIGN_REDIRECT : proxy_takes(flow->netns_cookie, v4, now_ns);

	if (taken != REASON_PROXIED)
		return taken;
	d->address = proxy_address(v4);
	d->port = bpf_htons(PROXY_OUTBOUND_PORT);
	d->row = d->slot = ACCOUNT_NONE;
	d->flags |= DECISION_PROXIED;
	return d->flags & DECISION_AUDIT ? REASON_AUDIT_NOT_A_BACKEND : REASON_PROXIED;
}

/* A connection to a VIP: port, authorization, route, target, endpoint. */
static __always_inline enum reason decide_service(const struct flow *flow, const struct draw *draw, __u64 now_ns,
						  struct decision *d)
{
	const struct node_record *node = directory_node(d->generation, flow->node);
	const struct service_record *service;
	const struct target_record *target;
	const struct route_record *route;
	const struct backend *backend;
	const struct row *row;
	__u32 route_index, row_index;
	int port, chosen;
	bool proxied;

	if (!flow->is_tcp)
		return REASON_VIP_NOT_TCP;
	service = directory_service(d->generation, d->service);
	if (!service)
		return REASON_NO_SERVICE;
	if (!node)
		return REASON_NO_NODE;
	port = service_port(service, flow->port);
	if (port < 0)
		return service->no_port ?: REASON_NO_LISTENER;
	backend = policy_backend(node, d->service);
	if (!backend)
		return REASON_NOT_A_BACKEND;
	if (backend->flags & BACKEND_AUDIT_ONLY)
		d->flags |= DECISION_AUDIT;

	route_index = service->first_route + port;
	route = bpf_map_lookup_elem(&w_route, &route_index);
	if (!route)
		return REASON_BAD_RECORD;
	proxied = route->flags & ROUTE_L7 && !(flow->flags & FLOW_NO_SOCKET);
	if (route->closed && !proxied)
		return route->closed;
	if (backend->tls_ports >> (port & 31) & 1)
		return REASON_NEEDS_TLS;
	if (proxied)
		return decide_proxied(flow, now_ns, d);
	if (route->flags & ROUTE_L7_AS_L4)
		d->flags |= DECISION_L7_AS_L4;
	chosen = route_target(route, draw->target);
	if (chosen < 0 || chosen >= MAX_ROUTE_TARGETS)
		return REASON_NO_TARGET;
	d->target_index = chosen;
	d->target = route->target[chosen];
	target = directory_target(d->generation, d->target);
	if (!target)
		return REASON_NO_ENDPOINT;
	if (target->flags & TARGET_NEEDS_TLS)
		return REASON_NEEDS_TLS;

	row_index = backend->row + route->row_offset[chosen];
	row = bpf_map_lookup_elem(&w_row, &row_index);
	if (!row)
		return REASON_BAD_RECORD;
	d->row = row_index;
	d->row_incarnation = READ_ONCE(row->incarnation);
	return pick(target, flow, draw, now_ns, d);
}

/* A destination that is no VIP: passes, is handed to weft-proxy where its port is one of an HTTP backend, or meets the mesh's egress filter. */
static __noinline enum reason decide_egress(const struct flow *flow, const struct config *config, __u64 now_ns,
						 struct decision *d)
{
	const enum reason exempt = policy_exempt(flow, config, now_ns);
	const struct node_record *node;

	if (exempt != REASON_UNMANAGED)
		return exempt;
	node = directory_node(d->generation, flow->node);
	if (!node)
		return REASON_NO_NODE;
	if (!(flow->flags & FLOW_NO_SOCKET) && policy_l7_port(node, flow->port))
		return decide_proxied(flow, now_ns, d); /* Host says what it is for: no service yet */
	return policy_filter(node);
}

/* Fills `d`, which must be zero. */
static __always_inline void decide(const struct flow *flow, const struct draw *draw, __u64 now_ns, struct decision *d)
{
	const __u32 *service = bpf_map_lookup_elem(&w_vip, &flow->destination);
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);

	d->generation = flow->generation ?: generation_current();
	if (!config) {
		d->reason = REASON_BAD_RECORD;
	} else if (service) {
		d->service = *service;
		d->reason = decide_service(flow, draw, now_ns, d);
	} else if (is_vip_network(&flow->destination, config)) {
		d->reason = policy_no_vip(&flow->destination, flow->is_tcp, config);
	} else {
		d->reason = decide_egress(flow, config, now_ns, d);
	}
}
