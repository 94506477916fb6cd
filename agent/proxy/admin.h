/* SPDX-License-Identifier: Apache-2.0 */
/* What Envoy's administration port was for a workload: an HTTP server in the namespace of each, on port 9901 of every address, that shows
 * this workload and no other. /stats, /clusters, /listeners, /server_info, /ready and what is as harmless answer everybody; the
 * configuration, certificates and whatever is a POST only those who come over the loopback interface. Paths, parameters and answers
 * are Envoy's (v1.29, operations/admin); what has no meaning here is refused by name (501), but for /quitquitquit: jobs
 * end their sidecar by it, and there is none.
 *
 * All on one loop, which has others to serve: of its time all numbers that are asked for on a port may take ADMIN_SHARE_PCT, in the long
 * run; what is beyond is refused (503, "limited"). The server's state is always told.
 *
 * Sockets of a namespace must be closed with the workload, which they would keep alive: admins_remove(). */
#pragma once

#include <stdint.h>

#include "agent/l7/stats_view.h"
#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "base/time.h"

#define ADMIN_PORT 9901
#define ADMIN_SHARE_PCT 5
#define ADMIN_BURST_NS (500 * NSEC_PER_MSEC) /* that may be saved up */

struct admins;

struct admins_source { /* copied */
	/* What the workload in this namespace shows now, until view_done(); `parts` as for l7_view(). NULL: nothing is known of it
	 * yet (503). */
	const struct l7_stats_view *(*view)(uint64_t netns_cookie, unsigned int parts, void *arg);
	void (*view_done)(const struct l7_stats_view *view, void *arg);
	void (*reopen_logs)(uint64_t netns_cookie, void *arg); /* POST /reopen_logs */
	void *arg;
};

/* 0 or -ENOMEM. */
int admins_new(struct loop *loop, const struct admins_source *source, struct admins **ret_admins);
struct admins *admins_free(struct admins *admins); /* NULL is fine */

/* Dups `netns_fd`. The same namespace again: only its port may change. Where it cannot listen (the program has the port),
 * admins_json() says why, and admins_retry() tries again: 0 all the same. -ENOMEM, or -errno of dup(). */
int admins_add(struct admins *admins, uint64_t netns_cookie, int netns_fd, uint16_t port);
/* Closes all it has there. Fine where there is none. */
void admins_remove(struct admins *admins, uint64_t netns_cookie);
void admins_retry(struct admins *admins);
/* [{"netnsCookie", "port", "why": null or text, "open": connections, "requests", "limited": of them}]: new reference. */
json_t *admins_json(const struct admins *admins);
