/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who may go where: the exemptions that are never refused, the mesh's egress filter, and backends as authorization. Functions with loops
 * are global, here and in decide.h: the verifier then walks each loop once, not once for each way to it, and loads in a tenth of the time.
 * For that it wants their pointers checked, and says so by refusing to load. */
#pragma once

#include "directory.h"
#include "ip.h"
#include "maps/abi/config.h"
#include "maps/abi/decision.h"
#include "maps/abi/identity.h"

static __always_inline bool port_listed(const __be16 ports[MAX_CONFIG_PORTS], __be16 port)
{
	for (int i = 0; i < MAX_CONFIG_PORTS; i++)
		if (port && ports[i] == port)
			return true;
	return false;
}

static __always_inline bool is_vip_network(const struct ip *ip, const struct config *config)
{
	return ip_in(ip, &config->vip4, &config->vip4_mask) || ip_in(ip, &config->vip6, &config->vip6_mask);
}

/* An address inside the VIP networks is the probe's: that of a network itself, which no service gets. */
static __always_inline bool is_probe(const struct ip *ip, const struct config *config)
{
	return ip_equal(ip, &config->vip4) || ip_equal(ip, &config->vip6);
}

/* Why the door is closed at an address inside the VIP networks that stands for no service. */
static __always_inline enum reason policy_no_vip(const struct ip *ip, bool is_tcp, const struct config *config)
{
	if (is_probe(ip, config))
		return REASON_PROBE;
	return is_tcp ? REASON_NO_SERVICE : REASON_VIP_NOT_TCP;
}

/* REASON_UNMANAGED: no exemption, or one that has run out. */
static __always_inline enum reason exemption_reason(const struct netns_address *key, __u64 now_ns)
{
	const struct exemption *exemption = bpf_map_lookup_elem(&w_exempt, key);

	if (!exemption || (exemption->until_ns && exemption->until_ns <= now_ns))
		return REASON_UNMANAGED;
	return exemption->reason == REASON_AWS_ADDRESS ? REASON_AWS_ADDRESS : REASON_IGNORED_IP;
}

/* Why a destination outside the mesh passes whatever the filter says, or REASON_UNMANAGED when it has no such excuse. */
static __always_inline enum reason policy_exempt(const struct flow *flow, const struct config *config, __u64 now_ns)
{
	const struct netns_address own = { .netns_cookie = flow->netns_cookie, .address = flow->destination };
	const struct netns_address everywhere = { .address = flow->destination };
	enum reason reason;

	if (!flow->is_tcp)
		return REASON_NOT_TCP;
	if (ip_is_loopback(&flow->destination))
		return REASON_LOOPBACK;
	if (bpf_map_lookup_elem(&w_own_address, &own))
		return REASON_OWN_ADDRESS;
	reason = exemption_reason(&everywhere, now_ns);
	if (reason == REASON_UNMANAGED)
		reason = exemption_reason(&own, now_ns);
	if (reason != REASON_UNMANAGED)
		return reason;
	if (port_listed(config->ignored_ports, flow->port))
		return REASON_IGNORED_PORT;
	return REASON_UNMANAGED;
}

/* What the mesh says of a destination outside of it that has no such excuse. */
static __always_inline enum reason policy_filter(const struct node_record *node)
{
	if (!(node->flags & NODE_DROP_ALL))
		return REASON_ALLOW_ALL;
	return node->flags & NODE_AUDIT ? REASON_AUDIT_NOT_IN_MESH : REASON_NOT_IN_MESH;
}

/* Whether a request to this port may be for a backend of the caller, whatever the address. */
static __always_inline bool policy_l7_port(const struct node_record *node, __be16 port)
{
	for (__u32 i = 0; i < MAX_NODE_L7_PORTS; i++) {
		if (i >= node->l7_port_count)
			break;
		if (node->l7_ports[i] == port)
			return true;
	}
	return false;
}

/* The place of the caller's entry for a service, or -1. Backends are sorted by service id. */
__weak int backend_place(const struct node_record *node, __u32 service)
{
	__u32 low = 0, high;

	if (!node)
		return -1;
	high = node->backend_count;
	for (int step = 0; step < 18 && low < high; step++) { /* 2^17 backends: as many as there can be */
		__u32 middle = low + (high - low) / 2;
		__u32 key = node->first_backend + middle;
		const struct backend *backend = bpf_map_lookup_elem(&w_backend, &key);

		if (!backend)
			return -1;
		if (backend->service == service)
			return key;
		if (backend->service < service)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* NULL: the service is none of the caller's backends. */
static __always_inline const struct backend *policy_backend(const struct node_record *node, __u32 service)
{
	const int place = backend_place(node, service);
	__u32 key = place;

	return place < 0 ? NULL : bpf_map_lookup_elem(&w_backend, &key);
}
