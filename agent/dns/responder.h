/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS responder: sockets in the namespaces of workloads, one pair (UDP, TCP) for each (namespace, node, resolver); names of the mesh
 * answered at once, everything else forwarded as it came to the resolver that was asked, from the workload's namespace. All on one
 * loop; setns(2) only around socket(2).
 *
 * Mesh names: A and AAAA with a TTL of 10 s; other types and the family without endpoints NOERROR with SOA (negative TTL 1 s), never
 * NXDOMAIN; exact names only, so variants of a search list go upstream.
 *
 * Forwarding: a query keeps its bytes but for the id, which is drawn anew, as is the source port (one of the namespace's sockets to
 * that resolver, changed often); an answer counts only from the resolver's address, with that id and the same question, 0x20 included.
 * Bounds: 4,096 queries under way for each namespace (then the eldest is given up, `overloaded`), 10 s for each; 64 TCP connections
 * for each pair (the idlest goes), 64 queries under way on each, 30 s idle. So a flood costs its own workload alone, and memory is
 * bounded by the number of namespaces. A resolver where nobody listens gives SERVFAIL at once, as does one that cannot be reached.
 *
 * Queries of more than 4,096 bytes are malformed. A TCP resolver that closes after an answer is asked once more for the rest.
 *
 * Answers for *.amazonaws.com: their addresses (256 of each answer at most) are exempted from egress for max(TTL, 10 minutes) before the
 * answer is handed on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/dns/resolv_conf.h"
#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/abi/name.h"
#include "maps/abi/proxy.h"
#include "maps/abi/resolver.h"

#define DNS_TTL_SECONDS 10
#define DNS_NEGATIVE_TTL_SECONDS 1
#define DNS_QUERIES_KEPT 4096 /* of the last queries, for `weft dns` */

/* What the responder asks of the kernel's maps: maps/proxy.h in weft-proxy, plain memory in tests. */
struct responder_maps {
	int (*name_get)(void *arg, const struct name_key *key, struct name_entry *ret_entry);
	int (*resolver_set)(void *arg, const struct resolver_key *key, const struct resolver *resolver);
	int (*resolver_remove)(void *arg, const struct resolver_key *key);
	int (*exempt_set)(void *arg, uint64_t netns_cookie, const struct ip *address, uint64_t until_ns);
	void *arg;
	uint64_t *outcomes; /* DNS_OUTCOMES_MAX of them, added to */
};

struct responder;
/* `port` is DNS_PORT; another in tests. */
int responder_new(struct loop *loop, const struct responder_maps *maps, uint16_t port, struct responder **ret_responder);
/* Closes everything; entries of the maps are removed unless they were handed over. NULL is fine. */
struct responder *responder_free(struct responder *responder);

/* Who acts in a namespace. The same (cookie, node) again only changes its resolvers. */
struct responder_place {
	uint64_t netns_cookie;
	int netns_fd; /* dup'ed when the place is new */
	uint32_t node_id;
	const char *node; /* "mesh/M/virtualNode/N", or of a virtual gateway; its mesh's scope is the part before the last two words */
};
/* Opens what is new, closes what is gone: once nothing is under way there, after 10 s at the latest. The maps are written once sockets are
 * open. Resolvers that cannot have sockets (lo is down; ::1 ports run out, at DNS_PORTS for each namespace; another program is bound
 * there) are in the map with port 0, where nobody can be bound, so that the hooks say `dns-bypass`; they are tried again each second;
 * responder_json() says which and why. The first failure is reported when all was tried: -ENOMEM, or -errno of the maps. */
int responder_set(struct responder *responder, const struct responder_place *place, const struct resolv_conf *conf, struct error *err);
/* The node acts there no longer: its sockets close at once. */
void responder_remove(struct responder *responder, uint64_t netns_cookie, uint32_t node_id);
/* The kernel's ids changed meaning for a node (a new agent made it anew). -ENOENT: no such place, -EEXIST: the new id has one, or -errno
 * of the maps. */
int responder_renumber(struct responder *responder, uint64_t netns_cookie, uint32_t old_node_id, uint32_t node_id);

/* Handing over: calls `fn` for every place with its namespace and open sockets (at most RESOLVERS_MAX), borrowed. The successor adopts each instead of opening
 * sockets of its own, so what waits in their buffers is not lost; the predecessor stops reading with responder_stop(), answers what is
 * under way, and calls `idle` when that is done, after 10 s at the latest. Maps stay as they are. */
struct responder_sockets {
	struct ip resolver;
	struct ip address; /* where they are bound */
	uint16_t port;
	int udp_fd, tcp_fd;
};
typedef int responder_export_fn(const struct responder_place *place, const struct responder_sockets *sockets, size_t count, void *arg);
int responder_export(struct responder *responder, responder_export_fn *fn, void *arg);
/* Takes the descriptors in `sockets` (dups place->netns_fd) when it succeeds. -EEXIST: the place is there already. */
int responder_adopt(struct responder *responder, const struct responder_place *place, const struct responder_sockets *sockets,
		    size_t count, struct error *err);
typedef void responder_idle_fn(void *arg);
void responder_stop(struct responder *responder, responder_idle_fn *idle, void *arg);

/* {"places": [{"netnsCookie", "node", "resolvers": [{"resolver", "address": "127.53.0.1:15053", "reason": null or why there are no
 * sockets, "queries", "underWay"}]}]}. New reference, NULL: out of memory. */
json_t *responder_json(const struct responder *responder);
/* The last queries, newest first: [{"time", "node", "resolver", "name", "type", "transport": "udp"|"tcp", "outcome": "answered", …,
 * "rcode": "NOERROR", "ns": spent}]; node NULL: of all. */
json_t *responder_queries_json(const struct responder *responder, const char *node, size_t limit);
