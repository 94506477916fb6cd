/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What weft-proxy is told of a connection that is handed to it. Here, and not in connect(): the source port is known from here on. */
#pragma once

#include "count.h"
#include "ip.h"
#include "maps/abi/account.h"
#include "maps/abi/handover.h"

#define handover_key_of(ctx, a)                                                                                               \
	((struct handover_key){ .netns_cookie = (a)->netns_cookie, .address = ip_local_of(ctx), .port = (a)->local_port })

static __always_inline void handover_tell(struct bpf_sock_ops *ctx, const struct account *a)
{
	const struct handover_key key = handover_key_of(ctx, a);
	const struct handover handover = {
		.generation = a->generation,
		.socket_cookie = a->held,
		.destination = a->vip,
		.source = a->source,
		.service = a->service,
		.port = a->vip_port,
		.audit = a->reason == REASON_AUDIT_NOT_A_BACKEND,
	};

	if (bpf_map_update_elem(&w_handover, &key, &handover, BPF_ANY))
		count_stat(STAT_HANDOVERS_LOST);
}

static __always_inline void handover_forget(struct bpf_sock_ops *ctx, const struct account *a)
{
	const struct handover_key key = handover_key_of(ctx, a);

	bpf_map_delete_elem(&w_handover, &key);
}
