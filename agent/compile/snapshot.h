/* SPDX-License-Identifier: Apache-2.0 */
/* Plan -> weft-proxy: what it needs to know of services whose requests it routes (ROUTE_L7), of the targets that they lead to, of callers and
 * of virtual gateways on this node, as the JSON that agent/l7/snapshot.h reads:
 *
 *	{"services": {"ID": {"name": "mesh/M/virtualService/S", "ports": [PORT…]}}, "targets": {"ID": {…}}, "nodes": {"ID": {…}},
 *	 "gateways": {"ID": {…}}}
 *
 * | member | |
 * |---|---|
 * | ID | the kernel's object id, in decimal; null in place of the object: it is no more, or not weft-proxy's any more |
 * | PORT | {"port": 8080, "routes": [{"name": "R", "spec": a route resource's, "targets": [ID or null, …as weightedTargets]}…]}, in the order in
 *     which they are tried; or {"port": 8080, "node": ID, "virtualNode": "N"} where the provider is a virtual node. L7 ports; and those of the kernel that
 *     gateways lead to: {"port": 8080, "route": "R" or null, "weighted": [{"node": ID or null, "virtualNode": "N", "weight": 90}…]} |
 * | target | {"name": "mesh/M/virtualNode/N:8080", "virtualNode": "N", "port", "protocol": "http", "needsTls"?: true, "timeout"? and
 *     "connectionPool"?: the listener's for that protocol, "outlier"?: {"maxErrors", "intervalNs", "baseEjectionNs", "maxEjectionPct"}, "panicPct", "endpoints": [{"address", "port", "netns"?, "slot",
 *     "incarnation", "run"?}…], as in struct endpoint_ref, those of IPv4 first, "zones"?: [[{"count", "below"}…] of IPv4, […] of IPv6]} as in
 *     struct target_record. What is not there is none, or 0 |
 * | node | {"name": "mesh/M/virtualNode/N", "backends": [IDs of services, ascending], "audit": bool, "dropAll": bool, "logging": the node's or
 *     null, "listeners": [{"port", "timeout": the listener's for http or null, "connectionPool": the listener's, the default one, or null}…]: those that
 *     weft-proxy serves in the place of the applications here}. Services that are no backends, and are let pass in audit mode, are not listed; those that are not weft-proxy's are |
 * | gateway | {"name": "mesh/M/virtualGateway/G", "listeners": as of a node, those of http without TLS, "routes": [{"name": "R", "spec": a
 *     gateway route resource's, "service": ID or null: there is none of that name, "needsTls": bool, by the gateway's client policy}…] of http, "logging": the gateway's or null} |
 *
 * Health and ejection are not told: weft-proxy reads them where the kernel does, in the endpoints' slots. Objects of two plans are compared by
 * their pointers, and only what differs is looked at. Pure. */
#pragma once

#include "agent/compile/encode.h"
#include "base/bytes.h"

struct snapshot_sides {
	const struct planned *before; /* what is known already; NULL: nothing */
	const struct planned *now;
	const struct endpoint_ref *refs; /* the kernel's array */
	const struct target_record *(*target)(uint32_t id, void *arg); /* the one of `now`; NULL: there is none */
	void *arg;
};

/* Appends what is in `now` and not, or otherwise, in `before`. 0 or -ENOMEM. */
int snapshot_write(const struct snapshot_sides *sides, struct buffer *text);
