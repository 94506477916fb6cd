/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Whether weft-proxy is there, by its heartbeat and by where it listens. */
#pragma once

#include "ip.h"
#include "maps/abi/handover.h"
#include "maps/abi/proxy.h"
#include "maps/abi/reason.h"

/* Alive as its own loop tells. A beat of another CPU may be a little newer than `now_ns`. */
static __always_inline bool proxy_is_alive(__u64 now_ns)
{
	__u32 zero = 0;
	const struct proxy_state *proxy = bpf_map_lookup_elem(&w_proxy, &zero);
	const __u64 beat_ns = proxy ? READ_ONCE(proxy->beat_ns) : 0;

	return beat_ns && (__s64)(now_ns - beat_ns) <= (__s64)PROXY_BEAT_MAX_NS;
}

/* REASON_PROXIED: it lives, and takes connections of this family in the namespace. Else why it does not. */
static __always_inline enum reason proxy_takes(__u64 netns_cookie, bool v4, __u64 now_ns)
{
	const __u32 *place = bpf_map_lookup_elem(&w_proxy_place, &netns_cookie);
	const __u32 families = place ? READ_ONCE(*place) : 0;

	if (families & (v4 ? PROXY_PLACE_TAKEN_V4 : PROXY_PLACE_TAKEN_V6))
		return REASON_FOREIGN_REDIRECT;
	return families & (v4 ? PROXY_PLACE_V4 : PROXY_PLACE_V6) && proxy_is_alive(now_ns) ? REASON_PROXIED : REASON_PROXY_DOWN;
}

static __always_inline struct ip proxy_address(bool v4)
{
	return v4 ? ip_from_v4(bpf_htonl(0x7f000001)) : (struct ip){ .words = { 0, 0, 0, bpf_htonl(1) } };
}
