/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Why a connection was decided as it was. Every refusal, bypass and audited pass has one of these, counted. The table is
 * the only list: it numbers the reasons for both sides, names them for people, and feeds the documents and the tests. Maps keep numbers
 * over an upgrade, so new ones come last. */
#pragma once

#include "types.h"

enum verdict {
	VERDICT_UNMANAGED, /* nobody weft knows: untouched, not counted */
	VERDICT_PASS, /* managed, but not redirected: goes where it asked */
	VERDICT_ROUTE, /* redirected to an endpoint, or to weft-proxy */
	VERDICT_REFUSE, /* the door is closed: ECONNREFUSED at once */
	VERDICT_DENY, /* not allowed: EPERM at once */
};

/* X(symbol, name, verdict, what it means to a person) */
#define REASONS(X)                                                                                                            \
	X(UNMANAGED, "unmanaged", VERDICT_UNMANAGED, "the process belongs to no workload")                                     \
	X(ROUTED, "routed", VERDICT_ROUTE, "routed to a healthy endpoint")                                                     \
	X(PANIC, "panic", VERDICT_ROUTE, "fewer endpoints healthy than the panic threshold: all of them are used")             \
	X(NOT_TCP, "not-tcp", VERDICT_PASS, "UDP and everything else that is not TCP passes")                                  \
	X(LOOPBACK, "loopback", VERDICT_PASS, "loopback destinations pass")                                                    \
	X(OWN_ADDRESS, "own-address", VERDICT_PASS, "addresses of the caller's own namespace pass")                            \
	X(IGNORED_IP, "ignored-ip", VERDICT_PASS, "a destination of --egress-ignored-ips")                                     \
	X(IGNORED_PORT, "ignored-port", VERDICT_PASS, "a port of --egress-ignored-ports")                                      \
	X(AWS_ADDRESS, "aws-address", VERDICT_PASS, "an address that was answered for *.amazonaws.com")                        \
	X(DNS_BYPASS, "dns-bypass", VERDICT_PASS, "a query goes to the resolver it was meant for: weft-proxy is not there for it")  \
	X(DNS_OTHER, "dns-other-resolver", VERDICT_PASS, "a query to a resolver that is not in the workload's resolv.conf")    \
	X(ALLOW_ALL, "allow-all", VERDICT_PASS, "not in the mesh, and the mesh's egressFilter is ALLOW_ALL")                   \
	X(AUDIT_NOT_IN_MESH, "audit-not-in-mesh", VERDICT_PASS, "audit mode: would be refused as not-in-mesh")                 \
	X(AUDIT_NOT_A_BACKEND, "audit-not-a-backend", VERDICT_ROUTE, "audit mode: routed, would be refused as not-a-backend")  \
	X(NOT_IN_MESH, "not-in-mesh", VERDICT_DENY, "no service of the mesh, and its egressFilter is DROP_ALL")                \
	X(NOT_A_BACKEND, "not-a-backend", VERDICT_DENY, "the service is not among the caller's backends")                      \
	X(RESERVED_PORT, "reserved-port", VERDICT_DENY, "bind to a port that weft needs in this namespace")                    \
	X(NO_NODE, "no-node", VERDICT_REFUSE, "the workload's virtual node is not in the configuration")                       \
	X(NO_SERVICE, "no-service", VERDICT_REFUSE, "the VIP stands for no service of this generation")                        \
	X(NO_LISTENER, "no-listener", VERDICT_REFUSE, "the service has no listener on this port")                              \
	X(VIP_NOT_TCP, "vip-not-tcp", VERDICT_REFUSE, "a VIP answers TCP only")                                                \
	X(PROBE, "probe", VERDICT_REFUSE, "`weft doctor` looks whether the hooks are there")                                    \
	X(NO_PROVIDER, "no-provider", VERDICT_REFUSE, "the virtual service has no provider, or one that does not exist")       \
	X(NO_ROUTE, "no-route", VERDICT_REFUSE, "the virtual router has no route for this port")                               \
	X(NO_TARGET, "no-target", VERDICT_REFUSE, "the weights of the route add up to 0")                                      \
	X(NO_ENDPOINT, "no-endpoint", VERDICT_REFUSE, "the target has no endpoint that can be used")                           \
	X(NO_ENDPOINT_IN_FAMILY, "no-endpoint-in-family", VERDICT_REFUSE, "the target has endpoints, none of this family")     \
	X(OVER_MAX_CONNECTIONS, "over-max-connections", VERDICT_REFUSE, "the listener, or every endpoint, has as many connections as maxConnections allows") \
	X(NEEDS_PROXY, "needs-proxy", VERDICT_REFUSE, "the route needs more than weights, and requests are not looked at")      \
	X(NEEDS_TLS, "needs-tls", VERDICT_REFUSE, "a listener or client policy demands TLS, not there yet")                    \
	X(NO_MEMORY, "no-memory", VERDICT_REFUSE, "no memory for the connection's account, or too many connections are open")     \
	X(EDGE_FULL, "edge-full", VERDICT_REFUSE, "the table of connections without a local socket is full of live ones")        \
	X(EDGE_NO_PORT, "edge-no-port", VERDICT_REFUSE, "without a local socket: no port is free towards the endpoint")        \
	X(EDGE_SELF, "edge-self", VERDICT_REFUSE, "behind an attached device: the endpoint drawn is the caller itself")        \
	X(EDGE_UNKNOWN, "edge-unknown", VERDICT_REFUSE, "a packet to a service, of a connection that the table does not know: reset") \
	X(EDGE_FRAGMENT, "edge-fragment", VERDICT_REFUSE, "a fragment of a TCP packet at a device of the mesh: dropped")        \
	X(EDGE_MALFORMED, "edge-malformed", VERDICT_REFUSE, "from an attached device, no readable TCP packet: dropped")         \
	X(BAD_RECORD, "bad-record", VERDICT_REFUSE, "a map holds an index out of range: a fault of the agent")                 \
	X(PROXIED, "proxied", VERDICT_ROUTE, "handed to weft-proxy, which routes each request")                                 \
	X(PROXY_DOWN, "proxy-down", VERDICT_REFUSE, "the port needs weft-proxy, which is not there for this connection") \
	X(FOREIGN_REDIRECT, "foreign-redirect", VERDICT_REFUSE, "another proxy's rules or listener are in the namespace: nothing is handed to weft-proxy") \
	X(EDGE_UPGRADE, "edge-upgrade", VERDICT_REFUSE, "a packet without a local socket while an upgrade carries the table over: dropped, and sent again")

enum reason {
#define X(symbol, name, verdict, text) REASON_##symbol,
	REASONS(X)
#undef X
	REASON_COUNT,
};

static inline __attribute__((always_inline)) enum verdict reason_verdict(enum reason reason)
{
	switch (reason) {
#define X(symbol, name, verdict, text)                                                                                        \
	case REASON_##symbol:                                                                                                  \
		return verdict;
		REASONS(X)
#undef X
	default:
		return VERDICT_REFUSE;
	}
}

/* reasons: per source node, service (0: none) and reason, how often. Rows appear on first use; where the table is full
 * the count goes to source 0, service 0, which the agent makes beforehand, so that a total is never lost. */
struct reason_key {
	WEFT_TEST_SHIFT(__u32)
	__u32 source;
	__u32 service;
	__u32 reason;
};
WEFT_SIZE(struct reason_key, 12);

#ifdef __bpf__
#include "limits.h"
WEFT_MAP(w_reason, BPF_MAP_TYPE_PERCPU_HASH, struct reason_key, __u64, MAX_REASON_ROWS, BPF_F_NO_PREALLOC);
#endif
