/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Whether an open connection may go on: what connect() would decide for it now, by the records and rules of decide(), asked about
 * the target and the endpoint that it has. Verdict deny, and needs-tls, which is policy as well, close it at once; every other
 * reason for which it could not be made again means that its endpoint left, or the way there: it may drain. An endpoint that is
 * merely unhealthy has not left. */
#pragma once

#include "decide.h"
#include "maps/abi/account.h"

/* Whether the route leads where the connection goes: to weft-proxy, or to its target. */
static __always_inline bool route_leads_to(const struct route_record *route, const struct account *a)
{
	const bool by_proxy = route->flags & ROUTE_L7 && a->netns_cookie;

	if (by_proxy || a->slot == ACCOUNT_NONE)
		return by_proxy && a->slot == ACCOUNT_NONE;
	for (int i = 0; i < MAX_ROUTE_TARGETS; i++)
		if (i < route->target_count && route->target[i] == a->target)
			return true;
	return false;
}

/* `ret_audited` is set where the connection would be denied, but for audit mode. */
static __always_inline enum standing account_standing(const struct account *a, bool *ret_audited)
{
	const __u64 generation = generation_current();
	const struct service_record *service = directory_service(generation, a->service);
	const struct node_record *node = directory_node(generation, a->source);
	const struct route_record *route;
	const struct target_record *target;
	const struct endpoint *endpoint;
	const struct backend *backend;
	__u32 route_index, slot = a->slot;
	int port = service ? service_port(service, a->vip_port) : -1;
	bool needs_tls;

	if (node && !a->service && a->slot == ACCOUNT_NONE)
		return policy_l7_port(node, a->vip_port) ? STANDING_GOOD : STANDING_LEFT;
	if (!service || !node || port < 0)
		return STANDING_LEFT;
	*ret_audited = node->flags & NODE_AUDIT;
	backend = policy_backend(node, a->service);
	if (!backend)
		return *ret_audited ? STANDING_GOOD : STANDING_DENIED;

	route_index = service->first_route + port;
	route = bpf_map_lookup_elem(&w_route, &route_index);
	target = directory_target(generation, a->target);
	needs_tls = backend->tls_ports >> (port & 31) & 1 || (target && target->flags & TARGET_NEEDS_TLS);
	if (needs_tls && !*ret_audited)
		return STANDING_DENIED;
	*ret_audited = *ret_audited && (needs_tls || backend->flags & BACKEND_AUDIT_ONLY);
	endpoint = bpf_map_lookup_elem(&w_endpoint, &slot);
	if (!route || !route_leads_to(route, a) || (!target && a->slot != ACCOUNT_NONE))
		return STANDING_LEFT;
	if (!target || target->flags & TARGET_ROTATES)
		return STANDING_GOOD;
	return endpoint && endpoint->incarnation == a->slot_incarnation && !READ_ONCE(endpoint->gone) ? STANDING_GOOD : STANDING_LEFT;
}
