/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP proxy share. The way of a request goes through them in this order:
 *
 *   worker.c      a thread: its loop, its listening sockets, its view of the configuration
 *   downstream.c  a connection from a program: bytes in, requests one by one, bytes out
 *   request.c     one request: which route, which target; the answer, and its end
 *   try.c         its tries: sent, failed, made again, out of time
 *   choose.c      which endpoint
 *   upstream.c    connections to endpoints, and those that wait for the next request
 *   outlier.c     what answers say of an endpoint
 *   limit.c       how many connections, and waiting requests, a listener may have; ledger.h, what other processes have of that
 *   gateways.c    which listeners of gateways there are
 *   count.c       what is counted of it, for the node (stats.c) and for the namespace (sidecar.c)
 *   drain.c       all of it goes to another process
 *
 * Everything of a worker is touched by its thread alone, but for what says otherwise. Objects that end while their functions may be
 * on the stack stay allocated until the callback of the loop returns (worker_reap()). */
#pragma once

#include <pthread.h>

#include "agent/access_log/access_log.h"
#include "agent/http/codec.h"
#include "agent/http/write.h"
#include "agent/l7/l7.h"
#include "agent/l7/reply.h"
#include "agent/l7/rewrite.h"
#include "agent/l7/sidecar.h"
#include "agent/l7/snapshot.h"
#include "agent/l7/stats.h"
#include "agent/loop/loop.h"
#include "agent/net/queue.h"
#include "agent/route/path.h"
#include "base/hash.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/time.h"
#include "maps/abi/handover.h"

#define L7_INPUT_BYTES (64 * 1024)
#define L7_HEAD_LIMIT_BYTES (60 * 1024) /* Envoy's max_request_headers_kb */
#define L7_HIGH_WATER_BYTES (256 * 1024) /* so much waits for a peer: no more is read for it, */
#define L7_LOW_WATER_BYTES (64 * 1024) /* until it is down to this */
#define L7_IDLE_LIMIT_NS (3600 * NSEC_PER_SEC) /* a program's connection between requests; Envoy's idle_timeout */
#define L7_HEAD_LIMIT_NS (60 * NSEC_PER_SEC) /* from a head's first byte to its last */
#define L7_LINGER_LIMIT_NS (2 * NSEC_PER_SEC)
#define L7_CONNECT_LIMIT_NS (1 * NSEC_PER_SEC) /* SEMANTICS of App Mesh's clusters: 1 s */
#define L7_SPARE_NS (60 * NSEC_PER_SEC) /* a connection to an endpoint waits so long for the next request */
#define L7_SPARES_MAX 4096 /* of a worker; beyond that the one that waited longest goes */
#define L7_SPARE_REQUESTS_MAX 128 /* of a worker: what the next ones take; the memory of the others is given back, 10 KB each and more */
#define L7_TRIED_MAX 8u /* endpoints that a request remembers to avoid */
#define SLOT_NONE UINT32_MAX /* an application here: the kernel keeps nothing of it */
#define L7_REPICKS 5 /* host_selection_retry_max_attempts */

struct worker;
struct downstream;
struct request;
struct upstream;

enum l7_role {
	L7_OUTBOUND, /* what workloads connect to */
	L7_INBOUND, /* what comes in for them */
	L7_GATEWAY, /* what comes from outside to a gateway's listener */
};

/* Where it listens in a namespace, for one role and address family. The main thread makes it, and changes it until it listens; then workers
 * have references to it. */
struct l7_place {
	uint32_t refs; /* atomic */
	struct list node; /* of l7->places */
	uint64_t netns_cookie;
	int netns_fd;
	struct sidecar *sidecar; /* one for all places of the namespace */
	enum l7_role role;
	int family; /* LIST_V4, LIST_V6 */
	uint16_t port; /* of a gateway */
	uint32_t gateway; /* its id; atomic */
	int listen_fd; /* -1: not yet, or not any more */
	int why; /* -errno, then */
};
void l7_place_unref(struct l7_place *place);
extern const char *const l7_role_names[];
extern const char *const l7_family_names[];

enum l7_state {
	L7_ACCEPTS,
	L7_HOLDS, /* until it may accept */
	L7_DRAINS,
};

struct l7 {
	struct loop *loop;
	enum l7_state state;
	struct l7_kernel kernel;
	struct snapshots *snapshots; /* of whoever prepares: perhaps on another thread */
	struct snapshot *snapshot; /* in force */
	struct list places;
	struct list acts; /* l7_act_add() */
	struct list inherited; /* l7_inherit() */
	uint64_t taken; /* connections, from a predecessor */
	unsigned int worker_count;
	struct worker **workers;
	struct access_logs *logs;
	uint64_t no_access_log; /* times that one could not be begun */
	uint32_t *active; /* of each endpoint slot: requests under way; atomic */
	struct ledger *ledger;
};

struct act { /* a workload that acts for a node, or gateway, in a namespace; of the main thread */
	struct list node; /* of l7->acts */
	uint64_t netns_cookie, workload;
	int netns_fd;
	char *name, *cgroup;
	struct access_log *log; /* NULL: none */
	json_t *log_file; /* as it is configured */
	int pidfd; /* by whose files it is written; -1: none */
	uint32_t told_id; /* what workers know the node by */
};
/* acts.c: listeners of gateways and access logs are as the configuration and the acts are now. */
void acts_follow(struct l7 *l7);
void acts_done(struct l7 *l7);
void gateways_follow(struct l7 *l7); /* gateways.c */
/* l7.c: a place that is in no list yet; opens it, and tells the workers. */
int l7_place_new(const struct l7 *l7, uint64_t netns_cookie, int netns_fd, enum l7_role role, int family, struct l7_place **ret_place);
void l7_place_open(struct l7 *l7, struct l7_place *place);
/* drain.c: the socket that a predecessor had for the place, which is the caller's now; -1: none. */
int inherited_take(struct l7 *l7, const struct l7_place *place);
void inherited_done(struct l7 *l7); /* what is left of them */

uint64_t l7_counted(const struct l7 *l7, size_t offset); /* a word of struct stats, over all workers */
#define L7_COUNTED(l7, member) l7_counted(l7, offsetof(struct stats, member))
struct endpoint *l7_slot(const struct l7 *l7, const struct target_endpoint *endpoint); /* NULL: it stands for another one by now */

/* --- worker.c ------------------------------------------------------------------------------------------------------------ */

/* A snapshot as long as a request of this worker needs it: the shared count is touched once for all of them. */
struct view {
	struct snapshot *snapshot;
	size_t refs;
};
struct view *view_ref(struct view *view);
void view_unref(struct view *view);

struct worker_log { /* where requests of a node in a namespace are written down */
	struct list node;
	size_t refs; /* the worker's, while there is a log, and one for each connection */
	uint64_t netns_cookie;
	uint32_t id; /* of the node */
	struct access_log *log; /* NULL: none any more */
};
struct worker_log *worker_log_get(struct worker *worker, uint64_t netns_cookie, uint32_t id); /* a reference; NULL: there is none */
void worker_log_unref(struct worker_log *log); /* NULL is fine */

struct worker_place {
	struct list node;
	struct worker *worker;
	struct l7_place *place;
	struct loop_io *io;
	struct list downstreams; /* that it accepted, by their place_node */
	struct list upstreams;
};

enum wait { /* what connections of programs wait for; each has its limit, so the first in a list is due first */
	WAIT_REQUEST,
	WAIT_HEAD,
	WAIT_ANSWER, /* no limit: the request has its own */
	WAIT_LINGER,
	WAITS,
};

/* Where requests that come to a target are counted, so that mostly it is not looked for. */
struct counted {
	const struct sidecar_part *part; /* NULL: nothing is here */
	uint64_t service, target; /* lineages, as of struct sidecar_cluster */
	uint32_t source, route; /* id; number of the route's name, 0: by none */
	struct stats_row *row;
	struct sidecar_cluster *cluster_row;
	struct stats_route *route_row; /* NULL: by no route */
	uint16_t listener;
};
#define COUNTED_KEPT 64u /* a power of two */

struct worker {
	struct l7 *l7;
	unsigned int index;
	pthread_t thread;
	bool started;
	struct loop *loop;
	int own_netns_fd;
	bool draining;
	enum l7_reply end; /* of requests under way whose connection is closed here */
	struct view *view;
	struct list places;
	struct list waits[WAITS]; /* downstreams */
	struct loop_timer *sweep;
	struct table pools, limits;
	struct list limits_due;
	struct loop_timer *limit_timer;
	uint64_t limits_looked_at_ns; /* by then; 0: not until something happens */
	struct list spares; /* upstreams between requests, the one that waited longest first */
	size_t spare_count;
	struct list dead_downstreams, dead_upstreams;
	struct list logs; /* struct worker_log */
	struct loop_timer *log_timer;
	uint64_t last_connection; /* number of it */
	uint64_t wall_ns; /* what the wall clock is ahead of the loop's, at most a second ago */
	struct list spare_requests, parked, passing;
	size_t spare_request_count;
	uint64_t open_peak; /* of stats.open, since what they took was given back */
	uint64_t random[2];
	struct stats stats;
	struct counted counted[COUNTED_KEPT]; /* by what the key adds up to */
	char date[HTTP_DATE_BYTES];
	uint64_t date_until_ns;
	char input[L7_INPUT_BYTES]; /* of the connection whose turn it is */
};

/* The listener that a connection came to, which is one for all that has its limits. */
struct came_to {
	uint16_t listener; /* its port in the configuration; an instance may have another one */
	struct ip address; /* all zero: every address that is no loopback one */
};

struct accepted {
	int fd;
	struct ip peer;
	__be16 peer_port;
	struct handover handover;
	struct came_to came_to; /* inbound, or a gateway's */
};

int worker_new(struct l7 *l7, unsigned int index, struct worker **ret_worker); /* its thread runs */
void worker_stop(struct worker *worker); /* ends the thread. Others may tell it things, of which nothing comes */
struct worker *worker_free(struct worker *worker); /* when no other thread knows it. NULL is fine */
/* From the main thread: asks the worker to take over what is there now. -ENOMEM. */
int worker_tell_snapshot(struct worker *worker, struct snapshot *snapshot);
/* First all of them have the place, then they accept there: what one accepts may be another one's to serve. */
int worker_tell_place(struct worker *worker, struct l7_place *place);
int worker_tell_accept(struct worker *worker, struct l7_place *place);
int worker_tell_no_place(struct worker *worker, uint64_t netns_cookie);
int worker_tell_log(struct worker *worker, uint64_t netns_cookie, uint32_t node, struct access_log *log); /* NULL: none any more */
int worker_tell_place_gone(struct worker *worker, struct l7_place *place); /* that one alone */
/* Runs `fn` in the worker's thread, between two of its turns, and waits for it. -ENOMEM. */
typedef void worker_fn(struct worker *worker, void *arg);
int worker_run(struct worker *worker, worker_fn *fn, void *arg);
/* From any thread: a connection that is this one's to serve. Takes its descriptor on success. */
int worker_tell_connection(struct worker *worker, struct l7_place *place, const struct accepted *accepted);
void worker_reap(struct worker *worker); /* at the end of each callback */
uint64_t worker_random(struct worker *worker);
uint64_t random_next(uint64_t state[2]);
const char *worker_date(struct worker *worker);

/* --- downstream.c -------------------------------------------------------------------------------------------------------- */

struct downstream {
	struct list node; /* of worker->waits, or of the dead */
	struct list place_node;
	struct worker *worker;
	struct worker_place *place;
	int fd;
	struct loop_io *io;
	uint32_t events;
	struct http_codec *codec;
	struct handover handover; /* what the kernel knows; inbound: the node that serves, and the address that was connected to */
	struct came_to came_to;
	bool inbound, gateway; /* by the role of its place */
	struct listener_limit *limit; /* of an inbound listener that has one; NULL: none */
	struct target_endpoint application; /* where requests go that are for no service: inbound, or by an address that the mesh does not know */
	struct upstream_pool *own_pool; /* inbound: of connections on behalf of this one, whose client the application is shown */
	struct ip peer;
	__be16 peer_port;
	uint64_t deadline_ns;
	uint64_t number; /* of this worker's */
	struct worker_log *log;
	struct sidecar_part *part;
	struct sidecar_http *http; /* of it */
	struct sidecar_listener *listener_row;
	struct queue output;
	const char *data; /* what is left of the input: in worker->input during its turn, else in `kept` */
	size_t length;
	struct buffer kept;
	struct request *request; /* the one at hand */
	bool eof; /* the program sends no more */
	bool last; /* nothing follows the answer at hand */
	bool answered; /* the last one is all in `output` */
	bool closed;
	bool running;
	enum wait wait;
};

/* Takes `fd`, also on failure. */
void downstream_accept(struct worker_place *place, const struct accepted *accepted); /* `handover` is yet to be looked up */
void downstream_take(struct worker_place *place, const struct accepted *accepted); /* from another thread, for a listener of this one's */
/* Those that wait for a request do so for a short time only, from now on. */
void downstreams_drain(struct worker *worker);
/* Between two requests, with nothing read of the next one: another process may have it. */
bool downstream_is_idle(const struct downstream *d);
/* Takes requests, sends what waits, asks for events, as far as it goes. May close it. */
void downstream_run(struct downstream *d);
void downstream_close(struct downstream *d); /* a request at hand is given up */
bool downstream_is_last(struct downstream *d); /* the answer whose head is to be written */
/* The answer is all in `output`, and the request is over. */
void downstream_answered(struct downstream *d);
void downstream_late(struct downstream *d); /* its deadline came */
/* Sends what is in `output`, then `more`. False: it is closed. */
bool downstream_send(struct downstream *d, struct span more);

/* --- upstream.c ---------------------------------------------------------------------------------------------------------- */

struct upstream_pool { /* connections of one caller in one namespace to one endpoint; never shared between workloads */
	struct table_node node;
	struct list spares; /* newest first */
	struct ip address;
	__be16 port;
	size_t connections; /* in all, and one for the downstream that has it for its own */
	char key[]; /* "": it is some downstream's own */
};

struct upstream {
	struct list node; /* of pool->spares, or of the dead; alone while it has a request */
	struct list spare_node; /* of worker->spares */
	struct list place_node;
	struct worker *worker;
	struct upstream_pool *pool;
	int fd;
	struct loop_io *io;
	uint32_t events;
	bool connected, closed, used; /* `used`: it has answered before */
	bool write_failed; /* what it has said may still be read */
	bool paused; /* not read: the program does not take more */
	uint64_t since_ns; /* it waits */
	struct http_codec *codec;
	struct queue output;
	struct request *request; /* NULL: waits */
	struct listener_limit *limit; /* it has a place in; NULL: in none */
	struct list limit_node; /* of limit->spares */
	struct proxy_way_key way; /* to an application; port 0: none */
	struct sidecar_cluster *cluster_row; /* that it was opened for */
	struct sidecar_host *host_row;
};

/* A pool of a downstream's own, for its application; freed with what waits in it. NULL is fine. */
struct upstream_pool *upstream_pool_new(const struct target_endpoint *endpoint); /* NULL: no memory */
struct upstream_pool *upstream_pool_free(struct upstream_pool *pool);
/* A connection to the endpoint for the request: one that waits, or a new one, on its way. -errno of socket() or connect(). */
int upstream_get(struct request *request, const struct target_endpoint *endpoint, struct upstream **ret_upstream);
bool upstream_send(struct upstream *u, struct span more); /* false: it failed, and the request was told */
void upstream_pause(struct upstream *u, bool paused);
/* The request needs it no more: it waits for the next one, or is closed. */
void upstream_release(struct upstream *u, bool keep);
void upstream_close(struct upstream *u); /* the request is not told */
void upstreams_expire(struct worker *worker, uint64_t now_ns);

/* --- limit.c ------------------------------------------------------------------------------------------------------------- */

/* The limits of a listener that is served here (App Mesh API, VirtualNodeHttpConnectionPool): connections to the application, and requests
 * that wait for one. All connections to such a listener are one worker's, so that its counts are exact without a lock. Other processes that serve
 * the listener, as each does whose successor has come, have their part of the same limits. */
struct listener_limit {
	struct table_node node; /* of worker->limits */
	struct worker *worker;
	struct ledger_row *row; /* what all processes have */
	uint32_t max_connections, max_pending;
	uint32_t connections, pending; /* of this process */
	uint32_t users; /* downstreams */
	struct list spares; /* upstreams that wait, by their limit_node */
	struct list waiting; /* requests, by their node */
	struct list due_node; /* of worker->limits_due */
	char key[];
};
/* Which worker serves the listener. */
unsigned int limit_owner(const struct l7 *l7, uint64_t netns_cookie, __be16 port);
/* NULL: no memory. */
struct listener_limit *limit_use(const struct downstream *d, const struct listener *listener);
void limit_unuse(struct listener_limit *limit);
/* What the configuration says now holds for all of it; connections that are too many go, those that are used when they become idle.
 * NULL: no limit any more. */
void limit_adjust(struct listener_limit *limit, const struct listener *listener);
enum limit_verdict { LIMIT_ROOM, LIMIT_WAIT, LIMIT_OVER };
/* For one more connection. LIMIT_ROOM: it has its place. LIMIT_WAIT: the request waits, in REQUEST_PENDING. */
enum limit_verdict limit_enter(struct listener_limit *limit, struct request *request);
void limit_leave(struct listener_limit *limit); /* a connection is gone, or a place was not used: the first request that waits has it */
bool limit_is_short(const struct listener_limit *limit); /* somebody waits, or there are too many: none is kept for later */
void limit_keep(struct listener_limit *limit, struct upstream *u); /* it is: among the spares */
void limits_run(struct worker *worker); /* those that wait go on, where they can */
/* At what other processes have; limits_run() follows. One that nobody uses goes: not before, for the next connection may be there at once. */
void limits_look(struct worker *worker);
void limit_forget(struct request *request); /* it waits no more */

/* --- choose.c ------------------------------------------------------------------------------------------------------------ */

enum fit {
	FIT_NONE, /* not offered to this namespace */
	FIT_OFFERED,
	FIT_USABLE, /* healthy, and not ejected */
};

struct choice { /* what an endpoint of a target is chosen by; without a request for who only asks */
	struct l7 *l7;
	const struct target *target;
	uint64_t netns_cookie, now_ns;
	uint64_t *random; /* of random_next() */
	const uint32_t *tried; /* slots */
	uint32_t tries;
};

enum fit choice_fit(const struct choice *c, const struct target_endpoint *e);
bool choice_panics(const struct choice *c, const struct target_list *list); /* too few are usable: all that are offered are used */
/* One of the list, by chance; nothing is changed by that. NULL: there is none. */
const struct target_endpoint *choice_draw(const struct choice *c, const struct target_list *list);
/* Lists are drawn from in this order, i from 0 on: the family that the program asked for first, since there is surely a way. */
static inline int choice_family(bool v6, int i)
{
	return v6 != (i > 0) ? LIST_V6 : LIST_V4;
}

/* Of the target's endpoints for a request: in the namespace's reach, healthy, not ejected, in the zone that is drawn, the one with fewer
 * requests of two; those it tried before only where there is no other. NULL: there is none. */
const struct target_endpoint *choose_endpoint(struct request *request, const struct target *target);

/* --- outlier.c ----------------------------------------------------------------------------------------------------------- */

/* Whether the endpoint may not be chosen now; one whose ejection is over may be, by one request at a time: its probe. */
bool outlier_is_out(const struct endpoint *slot, uint64_t now_ns);
bool outlier_begin(struct endpoint *slot, uint64_t now_ns, uint64_t *ret_probe_ns); /* false: others are at it */
void outlier_unsaid(struct request *request); /* a probe that comes to nothing: the next request is one */
/* What the try at hand says of its endpoint: it failed (a 5xx, or no answer), or it did not. */
void outlier_note(struct request *request, bool failed);

/* --- request.c ----------------------------------------------------------------------------------------------------------- */

enum request_state {
	REQUEST_HEAD, /* its head is not whole */
	REQUEST_PARKED, /* the kernel knows its service, and the configuration that has it is on its way */
	REQUEST_TRYING, /* sent, or on its way; no answer yet */
	REQUEST_PENDING, /* for one of the connections that its listener may have */
	REQUEST_WAITING, /* for the next try */
	REQUEST_ANSWERING, /* the head of the answer is in the output */
	REQUEST_TUNNEL, /* another protocol: bytes both ways */
};

struct request {
	/* Kept from one request to the next: */
	struct list node; /* of worker->spare_requests, parked or passing, or of limit->waiting */
	struct worker *worker;
	struct loop_timer *timer;
	uint64_t armed_ns; /* 0: not */
	struct http_head head, answer; /* the program's, the endpoint's */
	struct buffer path_buffer, sent_target, rewritten;
	struct buffer replay; /* the body so far, framed, while it may be sent again */

	/* Of this one: */
	struct downstream *downstream; /* NULL: a spare one */
	enum request_state state;
	enum l7_reply reply; /* L7_REPLY_COUNT: the target's own answer */
	struct view *view;
	struct route_target target_text;
	struct span host; /* asked for */
	bool passes; /* to where its connection was meant: Host names no service */
	bool host_replaced; /* it is to be sent as Host, whatever that is */
	struct span original_target; /* no data: it was not rewritten */
	bool head_only; /* it is HEAD */
	bool upgrade; /* asked for */
	bool whole; /* nothing of it is left to be read */
	bool received; /* all of it was handed on, or kept */
	const struct caller *caller;
	const struct service *service;
	const struct route *route;
	const struct target *target;
	struct stats_row *target_row, *row; /* of its target, and the same once it is active in it; NULL: not yet */
	struct stats_route *route_row, *entry_row; /* of the route that took it, and of the gateway's before that; NULL: none */
	struct route_timeouts timeouts;
	char id[REQUEST_ID_BYTES];

	/* the try at hand, or the last: */
	struct upstream *upstream; /* NULL: none */
	const struct target_endpoint *endpoint;
	enum body_framing framing; /* of the answer, as it is sent */
	struct sidecar_cluster *cluster_row; /* NULL: it has come to no target yet */
	struct sidecar_host *host_row; /* of `endpoint` */
	bool under_way; /* count_try() */
	bool connected; /* it had a connection */
	bool has_place; /* in its listener's limit, for the next connection */
	uint64_t probe_ns; /* it is to find out whether an ejected endpoint works again, which is out until then; 0: it is not */
	bool on_spare; /* that had waited for it, so it may have been closed just then */
	bool resent;
	bool out_of_retries; /* the policy would have one more, but for its number */
	bool from_upstream_eof, from_downstream_eof; /* of a tunnel */
	uint32_t tries;
	uint32_t tried[L7_TRIED_MAX]; /* slots */
	struct retry_state retry;

	uint64_t begun_ns, received_ns, sent_ns /* the try */, first_byte_ns, active_ns /* last activity */;
	uint64_t try_until_ns, total_until_ns, connect_until_ns, again_ns; /* 0: none */
	uint64_t bytes_received, bytes_sent; /* of bodies */
};

/* The service of a request, by Host and by what was connected to; NULL: none. */
const struct service *service_meant(const struct snapshot *snapshot, const struct handover *handover, struct span host);
/* The port of the service that a gateway's route leads to. NULL: it has none such. */
const struct service_port *gateway_route_port(const struct gateway_route *route, const struct service *service);
struct request *request_new(struct downstream *d); /* NULL: no memory */
struct request *request_free(struct request *request); /* a spare one */
void request_head_read(struct request *request); /* the head is whole */
void request_route(struct request *request); /* the same, once the configuration may be there */
/* The configuration changed. What goes past the mesh is ended where it may not any more, as connections are that the kernel let out. */
void request_hold_to_filter(struct request *request); /* of worker->passing */
void request_body(struct request *request, struct span piece);
void request_received(struct request *request);
bool request_takes_body(const struct request *request);
/* The program is gone, or the worker ends. The request is over when this returns, as after those that follow. */
void request_abandon(struct request *request, enum l7_reply why);
/* Answered here, where nothing of an answer was said yet; else cut off. */
void request_refuse(struct request *request, enum l7_reply reply);
void request_tunnel(struct request *request, struct span piece); /* what the program sent; no data: it will send no more */
void request_downstream_drained(struct request *request); /* the program takes more: again, or still */

/* From upstream.c; after each of them the upstream may be another's, or gone. */
void request_upstream_head(struct request *request);
void request_upstream_body(struct request *request, struct span piece);
void request_upstream_flush(struct request *request); /* that was all for now */
void request_upstream_end(struct request *request, bool keep);
void request_upstream_raw(struct request *request, struct span piece); /* of a tunnel; no data: the end */
void request_upstream_drained(struct request *request);

/* --- count.c ------------------------------------------------------------------------------------------------------------- */

void count_begin(struct request *request);
void count_entry(struct request *request, uint32_t route); /* a route of the gateway took it */
void count_target(struct request *request); /* it has its target, or is for the application here, or passes */
void count_set_out(struct request *request); /* it is under way */
void count_endpoint(struct request *request); /* the next try is for `endpoint` */
void count_try(struct request *request); /* it has a connection, or waits for it */
void count_answer(struct request *request, int status); /* how a try ends: */
void count_try_failed(struct request *request, enum l7_reply why);
void count_timed_out(struct request *request); /* one of these three, */
void count_try_done(struct request *request); /* and then this */
void count_request(struct request *request, int status); /* it is over; 0: it got no answer */
void count_endpoints(struct worker *worker, const struct sidecar *sidecar); /* now and then: what was tried goes to endpoints' slots */

/* log.c: a line about a request that is over. `status` 0: the program got none. */
void request_log(struct request *request, int status);

/* --- try.c --------------------------------------------------------------------------------------------------------------- */

void request_try(struct request *request); /* to an endpoint of request->target */
void request_try_received(struct request *request); /* the request is whole, and has its route: its times begin */
void request_connected(struct request *request);
void request_upstream_failed(struct request *request, enum l7_reply why); /* its connection is closed */
/* After the head of an answer with this status: whether it is dropped, and the request is tried again. */
bool request_answer_retried(struct request *request, int status);
/* The try is over, however it ended: its endpoint has one request fewer. */
void request_try_done(struct request *request);
void request_active(struct request *request); /* something moved: the idle time begins anew */
void request_arm(struct request *request); /* for the earliest of its times */
void request_on_timer(struct loop_timer *timer, void *arg);
