/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks (App Mesh API, HealthCheckPolicy): run once for each distinct check {address, port, protocol, path,
 * intervals, thresholds} of this node, whoever shares it, and written to the endpoints' kernel slots: a flapping endpoint makes
 * no generation.
 *
 * tcp: connect() succeeds. http: GET path ("/" where none is given), status 200. http2, grpc, and http of a listener
 * with TLS run as tcp, and are shown as `check-as-tcp`, until the proxy can speak them. An endpoint without a result is
 * `pending`, and not used; its first result alone decides; after that healthyThreshold or unhealthyThreshold results in a row.
 * Each timeout is one of timeoutMillis; the time between checks is intervalMillis, a tenth more or less by chance, the first one
 * at a random time within the first interval's tenth. At most 256 checks are under way.
 *
 * An endpoint on a loopback address is checked from the namespace that it is offered in. Where weft-proxy serves a listener here in the
 * application's place, tcp goes past it, from the application's namespace, and http by it, as clients do. A check that could not be run
 * for a reason of this host (no descriptor, no namespace) says nothing: it is counted apart, and tried again after a tenth of the
 * interval.
 *
 * A starting agent takes the health that the kernel's slot has as what is known, and changes it by results of its own alone. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/compile/apply.h"
#include "agent/identity/workloads.h"
#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/kernel.h"

enum health_from {
	HEALTH_FROM_AGENT, /* the agent's own namespace */
	HEALTH_FROM_WORKLOAD, /* that of a local workload whose node may call the target; the agent's where there is none */
};

struct health_checks; /* `enum health` has the shorter name */
struct health_options {
	enum health_from from;
	uint32_t time_scale; /* for tests, 1 otherwise: intervals and timeouts are divided by it */
	/* As inbound_given_in(); NULL: nowhere. */
	uint64_t (*given_in)(const struct ip *address, __be16 port, uint64_t netns_cookie, void *arg);
	void *arg;
};
/* Everything is borrowed. `workloads` may be NULL where no endpoint is checked from one. */
int health_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply,
	       struct workloads *workloads, const struct health_options *options, struct health_checks **ret_checks,
	       struct error *err);
/* Before the offload thread ends; slots keep their health. NULL is fine. */
struct health_checks *health_free(struct health_checks *checks);

/* The plan in force (apply_current()) has changed: starts, changes and ends checks, of targets that are not what they were. Those that
 * stay keep their state and their time. 0 or -ENOMEM: then some are as they were, until the next call. */
int health_sync(struct health_checks *checks);

/* [{"target": "mesh/M/virtualNode/N:8080", "node", "address": "10.0.0.5:8080", "health": "up", "protocol": "http", "checkAs": "tcp"
 * or absent, "path", "intervalNs", "timeoutNs", "healthyThreshold", "unhealthyThreshold", "from": "agent" or "workload 17",
 * "inARow": n, "lastResult": "200" | "connection refused" | "not run: …" | …, "lastAt", "lastNs": how long it took, "changedAt",
 * "checks": n, "failures": n, "notRun": n}] in order of target and address. Endpoints without a check have the first four, with
 * "health": "unchecked". New reference. */
json_t *health_json(const struct health_checks *checks);

#define HEALTH_STATES (HEALTH_PENDING + 1)
struct health_counts { /* each endpoint once */
	uint64_t by_health[HEALTH_STATES]; /* enum health */
	uint64_t ejected; /* would be used, but for outlier detection */
};
/* Endpoints of the plan in force. */
void health_count(const struct health_checks *checks, struct health_counts *ret_counts);
