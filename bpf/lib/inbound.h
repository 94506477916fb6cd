/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Listeners that weft-proxy serves in the place of the application (maps/abi/inbound.h): whose packets and sockets are those of clients,
 * and which are weft-proxy's own way to the application. Told by the ends of a connection, never by the device it comes in by: in a
 * shared namespace local peers are clients like any other. */
#pragma once

#include "serving.h"
#include "maps/abi/inbound.h"

/* NULL: the application serves this address and port itself. */
static __always_inline const struct intercept *intercept_of(__u64 netns_cookie, const struct ip *address, __be16 port)
{
	struct serving_key key = { .netns_cookie = netns_cookie, .address = *address, .port = port };
	const struct intercept *intercept;

	if (!serving_any(SERVING_PROXIED))
		return NULL;
	intercept = bpf_map_lookup_elem(&w_intercept, &key);
	if (intercept || ip_is_loopback(address))
		return intercept;
	key.address = (struct ip){};
	return bpf_map_lookup_elem(&w_intercept, &key);
}

/* Whether the peer at this address and port is weft-proxy on its own way; NULL: it is a client. */
static __always_inline const struct proxy_way *way_of(__u64 netns_cookie, const struct ip *peer, __be16 port, __u64 now_ns)
{
	const struct proxy_way_key key = { .netns_cookie = netns_cookie, .address = *peer, .port = port };
	const struct proxy_way *way = bpf_map_lookup_elem(&w_way, &key);

	return way && (__s64)(now_ns - way->since_ns) <= (__s64)WAY_MAX_NS ? way : NULL;
}

/* The application's side of weft-proxy's way is established. True: there is a client to show. */
static __always_inline bool way_ends(__u64 netns_cookie, const struct ip *peer, __be16 port, __u64 socket_cookie, __u64 now_ns)
{
	const struct proxy_way_key key = { .netns_cookie = netns_cookie, .address = *peer, .port = port };
	const struct proxy_way *way = serving_any(SERVING_PROXIED) ? way_of(netns_cookie, peer, port, now_ns) : NULL;
	struct real_peer client = {};

	if (!way)
		return false;
	client.address = way->client;
	client.port = way->client_port;
	bpf_map_delete_elem(&w_way, &key);
	if (!client.port)
		return false;
	if (!bpf_map_update_elem(&w_real_peer, &socket_cookie, &client, BPF_ANY))
		return true;
	count_stat(STAT_CLIENTS_UNSHOWN);
	return false;
}

static __always_inline void real_peer_ended(__u64 socket_cookie)
{
	bpf_map_delete_elem(&w_real_peer, &socket_cookie);
}

/* The client behind weft-proxy; NULL: the socket's peer is who it seems. */
static __always_inline const struct real_peer *real_peer_of(struct bpf_sock_addr *ctx)
{
	const __u64 cookie = serving_any(SERVING_PROXIED) ? bpf_get_socket_cookie(ctx) : 0;

	return cookie ? bpf_map_lookup_elem(&w_real_peer, &cookie) : NULL;
}
