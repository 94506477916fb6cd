// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Ports that weft needs inside a workload's namespace are not for the workload. */
#include "lib/count.h"
#include "lib/identity.h"
#include "lib/policy.h"
#include "lib/proxy.h"
#include "lib/resolve.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int hook_bind(struct bpf_sock_addr *ctx, const struct ip *address)
{
	__u32 zero = 0, node;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	__u32 flags;

	if (!is_responder_port(ctx->user_port) && ctx->user_port != bpf_htons(PROXY_OUTBOUND_PORT) &&
	    !(config && port_listed(config->reserved_ports, ctx->user_port)))
		return HOOK_PROCEED;
	node = identity(bpf_get_netns_cookie(ctx), &flags);
	if (!node)
		return HOOK_PROCEED;
	count_reason(node, 0, config && is_vip_network(address, config) && is_probe(address, config) ? REASON_PROBE : REASON_RESERVED_PORT);
	return HOOK_REFUSE; /* EPERM */
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	const struct ip address = ip_from_v4(ctx->user_ip4);

	return hook_bind(ctx, &address);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	const struct ip address = ip_from_ctx6(ctx);

	return hook_bind(ctx, &address);
}
