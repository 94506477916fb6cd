/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP proxy: connections of workloads to HTTP services, which the kernel hands over (maps/abi/handover.h), are read request by
 * request; each goes to a target by the routes of its virtual router (agent/route), to an endpoint of it, and is tried again as the route
 * says. Sockets towards endpoints are opened in the workload's own namespace. What comes in for listeners that it serves in the place of
 * the application (maps/abi/inbound.h) goes on to the application, under the listener's limits and time-outs.
 *
 * A worker is a thread with a loop; workers share nothing but the configuration, which is immutable, and words that are added to. All
 * calls here belong to the thread of the loop that l7_new() was given. */
#pragma once

#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "base/time.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/handover.h"
#include "maps/abi/inbound.h"

/* What it asks of the kernel's maps: maps/proxy.h in weft-proxy, plain memory in tests. handover_get() is called by workers. */
struct l7_kernel {
	int (*handover_get)(void *arg, const struct handover_key *key, struct handover *ret_handover); /* -ENOENT */
	int (*place_set)(void *arg, uint64_t netns_cookie, uint32_t families);
	int (*place_remove)(void *arg, uint64_t netns_cookie);
	/* Of what comes in (maps/abi/inbound.h): */
	int (*inbound_set)(void *arg, uint64_t netns_cookie, int family, int listen_fd);
	int (*intercept_get)(void *arg, struct serving_key *key, struct intercept *ret_intercept); /* by workers; as proxy_intercept_get() */
	int (*way_set)(void *arg, const struct proxy_way_key *key, const struct ip *client, __be16 client_port); /* by workers */
	int (*way_remove)(void *arg, const struct proxy_way_key *key); /* by workers */
	void *arg;
	/* Slots below `count` are among `endpoints` from then on, where the kernel has so many. 0 or -errno. */
	int (*endpoints_reach)(void *arg, uint32_t count, struct error *err);
	struct endpoint *endpoints; /* by slot; shared with the kernel and the agent: single words, atomically */
	const uint32_t *endpoint_count; /* grows */
};

struct l7;

struct l7_options {
	unsigned int workers; /* 0: one for each CPU that this process may use */
	const char *workload_files; /* access_log.h */
	const char *ledger; /* a file that all share who may serve the same listeners (ledger.h); NULL: nobody else does */
};

/* Copies `kernel`. 0 or -errno. */
int l7_new(struct loop *loop, const struct l7_kernel *kernel, const struct l7_options *options, struct l7 **ret_l7, struct error *err);
/* Cuts every connection, ends the threads. NULL is fine. */
struct l7 *l7_free(struct l7 *l7);

/* Listens in a namespace that workloads act in, and tells the kernel so: connections are handed over from now on. Dups `netns_fd`.
 * Where it cannot listen at an address, l7_json() says why, the kernel closes the door (proxy-down), and l7_retry() tries again.
 * 0, -EEXIST, -ENOMEM. */
int l7_place_add(struct l7 *l7, uint64_t netns_cookie, int netns_fd);
/* Closes all that it has there. Fine where there is none. */
void l7_place_remove(struct l7 *l7, uint64_t netns_cookie);
void l7_retry(struct l7 *l7); /* also where the process is gone by whose files logs are written */

/* A workload acts for a node, or gateway, in a namespace. Where it is a gateway of the configuration, its listeners are opened there, on all
 * addresses; where it has an access log, that is a file of this workload, and of no other one that acts the same there. Copies, and dups
 * `netns_fd`. For one (namespace, name) the first one counts, as long as it has a process. 0 or -ENOMEM. */
struct l7_act {
	uint64_t netns_cookie;
	int netns_fd;
	const char *name; /* "mesh/M/virtualNode/N" */
	uint64_t workload;
	const char *cgroup; /* path of its directory */
};
int l7_act_add(struct l7 *l7, const struct l7_act *act);
void l7_act_remove(struct l7 *l7, uint64_t netns_cookie, const char *name);
void l7_reopen_logs(struct l7 *l7, uint64_t netns_cookie); /* of all that act there */

/* --- handing over -------------------------------------------------------------------------------------------------------- */

/* From here on, until l7_accept(), nothing is opened or accepted, nor the kernel told: a successor collects what its predecessor still has. */
void l7_hold(struct l7 *l7);
void l7_accept(struct l7 *l7);

/* What it listens on in a namespace: [{"role": "outbound", "family": "IPv4", "port": 0}, …], and as many descriptors, borrowed. Beyond
 * L7_LISTENS_MAX they are left out. NULL: out of memory. */
#define L7_LISTENS_MAX 32
json_t *l7_listens(const struct l7 *l7, uint64_t netns_cookie, int ret_fds[L7_LISTENS_MAX], size_t *ret_fd_count);
/* The same, from another one: used instead of sockets of its own, as places need them; what none has needed goes with l7_accept(). Takes the
 * descriptors, also on failure. -EBADMSG: they are not what `listens` says. */
int l7_inherit(struct l7 *l7, uint64_t netns_cookie, const json_t *listens, const int *fds, size_t fd_count, struct error *err);
uint64_t l7_generation(const struct l7 *l7);
/* Appends its configuration, as text that l7_configure() takes with base 0. Generation 0 has nothing. 0 or -ENOMEM. */
int l7_configuration(const struct l7 *l7, uint64_t *ret_generation, struct buffer *text);

/* Accepts nothing more once this returns, and closes what it listens on. What was accepted goes on to its end: answers say "connection:
 * close"; connections that wait for a request are closed gently after L7_DRAIN_IDLE_NS. `handed_over`: a successor accepts, and what the
 * kernel knows is its. For good. Waits for the workers' turns at hand. */
#define L7_DRAIN_IDLE_NS (10 * NSEC_PER_SEC)
void l7_drain(struct l7 *l7, bool handed_over);
struct l7_left { /* open now */
	uint64_t connections; /* of programs */
	uint64_t requests; /* under way, tunnels too */
	uint64_t parked; /* of them, those that wait for a newer configuration */
};
struct l7_left l7_left(struct l7 *l7);
/* Whether a program has a connection to an address that the mesh does not know: what it asks for there passes until the egress filter closes. */
bool l7_may_leave(struct l7 *l7);
void l7_cut(struct l7 *l7); /* what is left of a drained one: requests under way end as "drain-limit" */

/* Between two requests a connection may go to another process. Takes up to `max` of them out of a drained one: a list that says what must
 * be known of each, and as many descriptors, which are the caller's. NULL: out of memory, and none is taken. */
json_t *l7_give(struct l7 *l7, int *ret_fds, size_t max);
/* An element of such a list. Takes the descriptor, also on failure. -EBADMSG; -ENOENT: nothing listens for it here; -ENOTCONN and others
 * of getpeername(). */
int l7_take(struct l7 *l7, const json_t *connection, int fd);

/* As snapshots_apply(); every worker has it at its loop's next turn. Requests under way go on by what they began with. */
int l7_configure(struct l7 *l7, uint64_t base, uint64_t generation, struct span text, struct error *err);
/* The same in two steps. The first takes as long as there are objects, a second for 30,000, and belongs to any thread, but one at a time; its errors are
 * those of snapshots_apply(). The second takes the reference. What is prepared is published in its order, or not at all; `base` of the next
 * one is what was prepared last. */
struct snapshot;
int l7_prepare(struct l7 *l7, uint64_t base, uint64_t generation, struct span text, struct snapshot **ret_snapshot, struct error *err);
int l7_publish(struct l7 *l7, struct snapshot *snapshot, struct error *err);

/* What Envoy beside the workloads of a namespace would show now (stats_view.h): what its nodes and gateways have by the configuration, and
 * what was counted of it there; nothing of any other namespace. Without L7_VIEW_NUMBERS only the server is there, which costs next to
 * nothing. NULL: nothing acts there, or out of memory. */
#define L7_VIEW_NUMBERS 1u
#define L7_VIEW_ROUTES 2u /* these as well */
struct l7_stats_view;
struct l7_stats_view *l7_view(const struct l7 *l7, uint64_t netns_cookie, unsigned int parts);
struct l7_stats_view *l7_view_free(const struct l7_stats_view *view); /* NULL is fine */

/* What is counted, as members of a JSON object without its braces. 0 or -ENOMEM.
 *
 *	"generation", "workers", "places": [{"netnsCookie", "role": "outbound", "inbound" or "gateway", "port": a gateway's, else 0,
 *	"family": "IPv4", "why": why it does not listen, or null}], "totals": {"requests", …, "replies": {NAME: n}, "retries": {VERDICT: n},
 *	"poolsAlone": how often a pool was begun that this process counts for itself (ledger.h), "accessLogDrops": {REASON: lines}},
 *	"rows": [{"source", "service", "target": the kernel's ids of them, "requests", "retries",
 *	"bytesReceived", "bytesSent", "timeNsSum", "active", "codes": [without an answer, 1xx, … 5xx], "timeNs": [buckets of maps/abi/row.h, trailing zeros left out]}],
 *	"routes": [{"source": caller or gateway, "service": 0 for a gateway's own routes and for what was meant for none, "id": of this process for the
 *	name, "route": NAME, or null: no route took them, "retries", "timeouts", "codes"}]
 *
 * "open", "requestsActive", "upstreamOpen" and "active" are as they are now, all else has been summed since the process began. Service 0: they
 * were meant for none; target 0: they came to none; a virtual node as the target, and nothing else: they came in for it; all 0: the row for
 * what has no row of its own. */
int l7_write(const struct l7 *l7, struct buffer *text);
json_t *l7_json(const struct l7 *l7); /* the same as an object: new reference; NULL: out of memory */
json_t *l7_logs_json(const struct l7 *l7); /* access_logs_json() */
