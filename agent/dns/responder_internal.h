/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the responder know of each other:
 *
 *   responder.c  places and their resolvers: the API, and the tick, once a second
 *   pair.c       a pair's sockets: where they are bound, and whether they can be (lo)
 *   serve.c      queries by UDP; which of them are answered at once, for both transports
 *   forward.c    queries under way, and resolvers asked by UDP
 *   stream.c     TCP, to both sides
 *   query_log.c  the last queries
 *
 * Objects are freed in the tick or by a call of the API, connections also at the end of their own events; no function below frees what
 * it was called with unless it says so. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/dns/packet.h"
#include "agent/dns/responder.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/time.h"

enum {
	QUERY_MAX_BYTES = 4096, /* of a query: EDNS with every option there is takes some hundreds */
	UNDER_WAY_MAX = 4096, /* in one namespace */
	CONNECTIONS_MAX = 64, /* of one pair */
	CONNECTION_QUERIES_MAX = 64,
	UDP_BUFFER_BYTES = 1024 * 1024,
	UDP_BATCH = 16,
};
#define TICK_NS NSEC_PER_SEC
#define QUERY_LIMIT_NS (10 * NSEC_PER_SEC)

/* ---- the last queries ---- */

/* A node's name, shared by its place and the queries it made. */
struct node_name {
	size_t refs;
	char *mesh; /* the scope of its mesh, "mesh/M"; behind `text` */
	char text[];
};
struct node_name *node_name_new(const char *text); /* NULL: out of memory */
struct node_name *node_name_ref(struct node_name *name);
struct node_name *node_name_unref(struct node_name *name);

#define NO_RCODE 0xffff /* no answer was given */

struct query_entry {
	uint64_t begun_ns, spent_ns;
	struct node_name *node; /* NULL: no entry yet */
	struct ip resolver;
	enum dns_outcome outcome;
	uint16_t type, rcode;
	bool tcp;
	uint8_t name_bytes; /* 0: could not be read */
	uint8_t name[DNS_WIRE_NAME_BYTES];
};
struct query_log {
	struct query_entry *entries; /* DNS_QUERIES_KEPT of them, a ring */
	size_t next;
};

/* ---- places ---- */

struct responder {
	struct loop *loop;
	struct responder_maps maps;
	uint16_t port;
	struct list namespaces;
	struct loop_timer *tick;
	struct query_log log;
	size_t under_way; /* of all namespaces */
	bool stopped;
	uint64_t stopped_ns;
	responder_idle_fn *idle;
	void *idle_arg;
	uint16_t random[64]; /* drawn from the kernel in one call */
	size_t random_left;
	struct udp_batch *batch;
	uint8_t scratch[2 + DNS_MESSAGE_MAX_BYTES]; /* what is received from resolvers */
};

struct namespace {
	struct list node; /* responder->namespaces */
	struct responder *responder;
	uint64_t cookie;
	int fd;
	struct list places;
	struct list queries; /* under way, the eldest first */
	size_t under_way;
	int link_fd; /* rtnetlink: whether lo is up */
	struct loop_io *link_io;
	bool lo_down;
};

struct place {
	struct list node; /* namespace->places */
	struct namespace *namespace;
	uint32_t node_id;
	struct node_name *name;
	struct list pairs;
};

struct pair {
	struct list node; /* place->pairs */
	struct place *place;
	struct ip resolver;
	struct ip address;
	uint16_t port; /* 0: has no sockets */
	const char *reason; /* why; NULL: it has them */
	bool published; /* the map has an entry */
	uint64_t leaving_ns; /* the workload's resolver no longer, since then; 0: it is */
	int udp_fd, tcp_fd;
	struct loop_io *udp_io, *tcp_io;
	bool accept_paused; /* accepting failed: until the tick */
	uint64_t queries; /* that came */
	size_t under_way;
	struct list upstreams; /* sockets to the resolver, the eldest first */
	size_t upstream_count;
	struct list connections; /* the idlest first */
	size_t connection_count;
};

/* A random number below 65536. */
uint16_t responder_random(struct responder *responder);
void responder_count(struct responder *responder, enum dns_outcome outcome);

/* ---- pair.c ---- */

/* -ENOMEM. Without sockets yet. */
int pair_new(struct place *place, const struct ip *resolver, struct pair **ret_pair);
/* Opens sockets where it has none, and tells the maps; why it cannot is in `reason`. -errno of the maps. */
int pair_open(struct pair *pair);
/* Takes the descriptors when it succeeds. */
int pair_adopt(struct pair *pair, const struct responder_sockets *sockets);
/* Without sockets from now on, for `reason`; what is under way ends. */
void pair_close(struct pair *pair, const char *reason);
/* Stops reading: sockets stay for the answers and for whoever takes them over. */
void pair_stop(struct pair *pair);
/* The map's entries stay when the responder was stopped. NULL is fine. */
struct pair *pair_free(struct pair *pair);
/* The kernel's map says where the pair's sockets are, by its place's node id. */
int pair_publish(struct pair *pair);
int pair_unpublish(struct pair *pair, uint32_t node_id);

/* Follows lo. */
int namespace_watch(struct namespace *namespace);
void namespace_unwatch(struct namespace *namespace);

/* ---- serve.c ---- */

struct udp_batch *udp_batch_new(void);
struct udp_batch *udp_batch_free(struct udp_batch *batch);
loop_io_fn serve_udp; /* arg: the pair */

/* An answer of our own. */
struct own_answer {
	size_t length; /* 0: none is possible */
	enum dns_outcome outcome;
	unsigned rcode;
	uint8_t bytes[DNS_ANSWER_MAX_BYTES];
};
/* What is answered at once. False: the query was understood, and is to be forwarded. */
bool answer_at_once(struct pair *pair, const uint8_t *packet, size_t length, struct dns_query *ret_query, struct own_answer *ret_answer);
void answer_servfail(const uint8_t *packet, const struct dns_query *query, enum dns_outcome outcome, struct own_answer *ret_answer);

/* Counts a query that has ended, and keeps it. `packet` and its length as it came; `question_bytes` 0: it could not be read. */
struct ended_query {
	uint64_t begun_ns;
	const uint8_t *packet;
	size_t question_bytes;
	bool tcp;
	enum dns_outcome outcome;
	unsigned rcode; /* or NO_RCODE */
};
void query_ended(struct pair *pair, const struct ended_query *ended, uint64_t now_ns);

/* ---- forward.c ---- */

struct connection;
struct upstream;

/* Under way. */
struct query {
	struct list by_age; /* namespace->queries */
	struct list by_socket; /* of its upstream, by id; or of its connection */
	struct pair *pair;
	struct upstream *upstream; /* UDP, with `client`; else NULL */
	struct connection *connection; /* TCP; else NULL */
	struct sockaddr_in6 client; /* or sockaddr_in */
	uint64_t begun_ns;
	uint16_t client_id;
	bool aws; /* its answer's addresses are exempted */
	bool asked_again; /* TCP: by a second connection */
	uint16_t question_bytes;
	size_t length;
	uint8_t packet[]; /* with the id it is forwarded with */
};

/* Copies the packet; the eldest of the namespace is given up when there are too many. NULL: out of memory. The caller puts it into
 * `by_socket` and gives it its id. */
struct query *query_new(struct pair *pair, const uint8_t *packet, size_t length, const struct dns_query *parsed, uint64_t begun_ns);
/* Counted and freed. */
void query_end(struct query *query, enum dns_outcome outcome, unsigned rcode);
struct query *query_find(const struct list *by_socket, uint16_t id); /* by the id it is forwarded with; NULL: none is */
/* Whether that answers it; then its addresses are exempted where they are AWS's, and it carries the client's id. */
bool query_take_answer(struct query *query, uint8_t *answer, size_t length);

/* To the resolver by UDP: 0, or -errno when it cannot be asked (-ECONNREFUSED: nobody listens). */
int forward_udp(struct pair *pair, const struct sockaddr_in6 *client, const uint8_t *packet, size_t length,
		const struct dns_query *parsed, uint64_t begun_ns);
/* Those under way for too long are given up. */
void queries_expire(struct namespace *namespace, uint64_t now_ns);
void upstreams_tick(struct pair *pair, uint64_t now_ns); /* idle ones close */
void upstreams_close(struct pair *pair); /* what is under way there ends as `client-gone` */
enum dns_outcome outcome_of_failure(int r);
/* A socket in the pair's namespace, connected to its resolver or about to be. fd or -errno. */
int resolver_socket(struct pair *pair, int type);

/* ---- stream.c ---- */

loop_io_fn stream_accept; /* arg: the pair */
void connections_tick(struct pair *pair, uint64_t now_ns);
void connections_close(struct pair *pair);
void connection_query_gone(struct connection *connection); /* one of its queries ended without an answer */

/* ---- query_log.c ---- */

int query_log_init(struct query_log *log);
void query_log_done(struct query_log *log);
/* The entry to fill, the eldest one; the log takes a reference of `node`. */
struct query_entry *query_log_next(struct query_log *log, struct node_name *node);
json_t *query_log_json(const struct query_log *log, const char *node, size_t limit);
