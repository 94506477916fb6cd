/* SPDX-License-Identifier: Apache-2.0 */
/* What would become of a request, and why: by the configuration in force, its matcher, and the endpoints as they are now. Nothing is sent,
 * and nothing changes. Thread: the main loop's. */
#pragma once

#include "agent/http/head.h"
#include "agent/l7/l7.h"

#define L7_EXPLAIN_BUDGET_NS (20 * 1000000ull) /* for draws: names are answered on the same thread */

struct l7_question {
	/* As the kernel would hand its connection over; or where `gateway`, of the source the gateway and of the port that of its listener, and
	 * of the destination the family. */
	struct handover handover;
	bool gateway; /* it comes from outside, to a virtual gateway */
	uint64_t netns_cookie; /* of the caller */
	const char *method;
	struct span target; /* "/path?query" */
	struct span host; /* as Host has it */
	const struct http_header *headers;
	size_t header_count;
	uint32_t count; /* of draws for the distribution; 0: none is asked for */
};

/* {"generation", "gateway": null or {"routes": as below, of the gateway, "route": name or null, "host", "path": as the service's routes see
 * it, null where no route takes it}, "service": full name or null, "port": the service's or null, "byHost": Host named it, and not what was
 * connected to, "passes": it goes where it was connected to, "host", "path": as routes see it, those of the gateway first, "query" or null,
 * "routes": [{"route": name, "priority" or null, "result": "matches", "mismatch" or "not-tried", "criterion", "name"}], in order,
 * "route": name or null, "reply": null or what weft-proxy answers itself: {"name", "status", "text"},
 * "retry": null or {"default", "events": […], "maxRetries", "tryTimeoutNs" or null},
 * "timeouts": the route's: {"requestNs" or null, "idleNs" or null},
 * "targets": [{"target", "virtualNode", "port", "weight", "share", "needsTls", "timeouts": in force, "listener": the target's, "panic",
 *	"endpoints": [{"address", "slot", "run", "health", "ejectedForNs", "active", "local", "ownZone", "fit": "usable", "unhealthy", "ejected",
 *	"elsewhere" or "gone", "used": it may be chosen}]}],
 * "target", "endpoint": chosen, or null; "count": draws that were made, "distribution": [{"target", "endpoint", "count"}] where asked for}
 * New reference; NULL: out of memory. */
json_t *l7_explain(struct l7 *l7, const struct l7_question *question);
