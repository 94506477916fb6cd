/* SPDX-License-Identifier: Apache-2.0 */
/* `dns` discovery of virtual nodes (App Mesh API, DnsServiceDiscovery): the addresses of host names, kept fresh. Names
 * are absolute (no search list), in any case, with or without a dot at the end; an address is its own answer. A and AAAA
 * are asked for and answered apart: a family whose query fails keeps what it had, with a retry after 1 s, doubling to 30
 * s; NXDOMAIN and an empty answer are answers. Refreshed when the TTL ends, at least 5 s and at most 5 minutes after the
 * answer, a tenth more or less by chance; a name without any address after 5 s, a family without one after 30 s where
 * the other has some. What was last known is kept in the state under "discovery/dns/" and used until this run has an
 * answer. At most 1,024 queries are under way; more wait their turn. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "agent/state/state.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/abi/types.h"

/* Of a name, for each family. More, and what cannot be connected to (0.0.0.0, multicast), are left out, counted and told
 * in dns_discovery_json(). */
#define DNS_ADDRESSES_MAX 1024

struct dns_discovery;

/* `servers`: "IP[:PORT]" instead of those of /etc/resolv.conf; none: those. `time_scale`: for tests, 1 otherwise: spans
 * are divided by it. `changed` runs, once in a turn of the loop, for each name (in lower case, without a dot at the end) whose addresses became others. -EINVAL names
 * the server. */
struct dns_discovery_options {
	const char *const *servers;
	size_t server_count;
	uint32_t time_scale;
	void (*changed)(const char *hostname, void *arg);
	void *arg;
};
int dns_discovery_new(struct loop *loop, struct state *state, const struct dns_discovery_options *options,
		      struct dns_discovery **ret_discovery, struct error *err);
struct dns_discovery *dns_discovery_free(struct dns_discovery *discovery); /* NULL is fine */

/* Addresses of a name, each family sorted bytewise. `first_v4` and `first_v6` are indices of the ones that the resolver
 * named first, and that stay so while they are in the answer (LOADBALANCER uses one address for new connections). Valid
 * until the next turn of the loop. The name is asked for from now on. -EINPROGRESS: not known yet; -ENOMEM. */
struct dns_addresses {
	const struct ip *v4, *v6;
	size_t v4_count, v6_count;
	size_t first_v4, first_v6;
};
int dns_discovery_get(struct dns_discovery *discovery, const char *hostname, struct dns_addresses *ret_addresses);
/* Ends a round of dns_discovery_get(): names that were not asked for since the last commit are let go. */
void dns_discovery_commit(struct dns_discovery *discovery);

/* [{"hostname", "v4": ["10.0.0.1", …], "v6": […], "state": "fresh"|"kept"|"unknown", "error": null or text,
 * "ttlSeconds", "answeredAt", "nextAt", "failures", "leftOut"}], by name. New reference. */
json_t *dns_discovery_json(const struct dns_discovery *discovery);
