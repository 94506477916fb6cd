/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks (App Mesh API, HealthCheckPolicy): run once for each distinct check {address, port, protocol, path, intervals,
 * thresholds} of this node, whoever shares it, and written to the endpoints' kernel slots: a flapping endpoint makes no generation.
 *
 * tcp: connect() succeeds. http: GET path, status 200, by libcurl. http2 and grpc run as tcp, and are shown as `check-as-tcp`, until
 * the proxy can speak them. An endpoint without a result is `pending`, and not used; its first result alone decides; after that
 * healthyThreshold or unhealthyThreshold results in a row. Each timeout is one of timeoutMillis; the time between checks is
 * intervalMillis, a tenth more or less by chance, the first one at a random time within the first interval's tenth. At most 256
 * checks are under way.
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

struct health;
struct health_options {
	enum health_from from;
	uint32_t time_scale; /* for tests, 1 otherwise: intervals and timeouts are divided by it */
};
/* Everything is borrowed. */
int health_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply, struct workloads *workloads,
	       const struct health_options *options, struct health **ret_health, struct error *err);
struct health *health_free(struct health *health); /* before the offload thread ends; slots keep their health. NULL is fine */

/* The plan in force (apply_current()) has changed: starts, changes and ends checks. Those that stay keep their state and their time. */
int health_sync(struct health *health);

/* [{"target": "mesh/M/virtualNode/N:8080", "node", "address": "10.0.0.5:8080", "health": "up", "protocol": "http", "checkAs": "tcp" or absent, "path",
 * "intervalNs", "timeoutNs", "healthyThreshold", "unhealthyThreshold", "from": "agent" or the namespace's workload id, "inARow": n,
 * "lastResult": "200" | "connection refused" | …, "lastAt", "lastNs": how long it took, "changedAt", "checks": n, "failures": n}] in
 * order of target and address; endpoints without a check as well, with "health": "unchecked". New reference. */
json_t *health_json(const struct health *health);
