/* SPDX-License-Identifier: Apache-2.0 */
/* A pair asks its resolver through a few connected sockets at random, each for some hundred queries: who would forge an answer has to
 * guess one of the ports as well as the id. Connected, they take nothing from other addresses and hear of ICMP errors. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "agent/dns/responder_internal.h"
#include "agent/identity/cgroup.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"

enum {
	RESOLVER_PORT = 53,
	UPSTREAMS_ACTIVE = 4,
	UPSTREAMS_MAX = 16, /* with those that still wait for answers */
	UPSTREAM_USES = 256,
	ID_BUCKETS = 64,
	ANSWERS_PER_EVENT = 32,
	EXEMPTIONS_PER_ANSWER = 256,
};
#define UPSTREAM_IDLE_NS (10 * NSEC_PER_SEC)
#define EXEMPT_SECONDS_MIN 600

struct upstream {
	struct list node; /* pair->upstreams */
	struct pair *pair;
	int fd;
	struct loop_io *io;
	unsigned uses;
	bool retired; /* takes no more queries */
	size_t under_way;
	uint64_t used_ns;
	struct list queries[ID_BUCKETS];
};

/* ---- queries under way ---- */

static bool is_aws(const char *name)
{
	static const char suffix[] = ".amazonaws.com";
	const size_t length = strlen(name), suffix_length = sizeof(suffix) - 1;

	return length > suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

struct query *query_new(struct pair *pair, const uint8_t *packet, size_t length, const struct dns_query *parsed, uint64_t begun_ns)
{
	struct namespace *namespace = pair->place->namespace;
	struct query *query = malloc(sizeof(*query) + length);

	if (!query)
		return NULL;
	if (namespace->under_way >= UNDER_WAY_MAX)
		query_end(container_of(namespace->queries.next, struct query, by_age), DNS_OVERLOADED, NO_RCODE);
	*query = (struct query){
		.pair = pair,
		.begun_ns = begun_ns,
		.client_id = parsed->id,
		.aws = is_aws(parsed->name),
		.question_bytes = (uint16_t)parsed->question_bytes,
		.length = length,
	};
	memcpy(query->packet, packet, length);
	list_init(&query->by_socket);
	list_append(&namespace->queries, &query->by_age);
	namespace->under_way++;
	namespace->responder->under_way++;
	pair->under_way++;
	return query;
}

void query_end(struct query *query, enum dns_outcome outcome, unsigned rcode)
{
	struct pair *pair = query->pair;
	struct namespace *namespace = pair->place->namespace;
	struct responder *responder = namespace->responder;

	query_ended(pair,
		    &(struct ended_query){ query->begun_ns, query->packet, query->question_bytes, query->connection, outcome, rcode },
		    time_now_ns());
	list_remove(&query->by_age);
	list_remove(&query->by_socket);
	namespace->under_way--;
	responder->under_way--;
	pair->under_way--;
	if (query->upstream)
		query->upstream->under_way--;
	if (query->connection)
		connection_query_gone(query->connection);
	free(query);
	if (responder->stopped && responder->under_way == 0)
		loop_timer_arm(responder->tick, 0); /* which sees that all is done */
}

struct exempting {
	struct responder *responder;
	uint64_t cookie, now_ns;
	unsigned left;
};

static int exempt(const struct ip *address, uint32_t ttl_seconds, void *arg)
{
	struct exempting *e = arg;
	const struct responder_maps *maps = &e->responder->maps;
	int r;

	if (e->left-- == 0)
		return -E2BIG;
	r = maps->exempt_set(maps->arg, e->cookie, address, e->now_ns + MAX(ttl_seconds, EXEMPT_SECONDS_MIN) * NSEC_PER_SEC);
	return r;
}

static void exempt_addresses(struct query *query, const uint8_t *answer, size_t length)
{
	struct namespace *namespace = query->pair->place->namespace;
	struct exempting e = { namespace->responder, namespace->cookie, time_now_ns(), EXEMPTIONS_PER_ANSWER };
	int r = dns_addresses_each(answer, length, exempt, &e);

	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "not all addresses of an AWS name are exempted from egress rules",
			    LOG_F("node", LOG_STR(query->pair->place->name->text)), LOG_F("error", LOG_STR(strerrordesc_np(-r))));
}

struct query *query_find(const struct list *by_socket, uint16_t id)
{
	list_for_each(it, by_socket) {
		struct query *query = container_of(it, struct query, by_socket);

		if (dns_id(query->packet) == id)
			return query;
	}
	return NULL;
}

bool query_take_answer(struct query *query, uint8_t *answer, size_t length)
{
	if (!dns_answers(answer, length, query->packet, query->question_bytes))
		return false;
	if (query->aws)
		exempt_addresses(query, answer, length);
	dns_set_id(answer, query->client_id);
	return true;
}

void queries_expire(struct namespace *namespace, uint64_t now_ns)
{
	list_for_each_safe(it, &namespace->queries) {
		struct query *query = container_of(it, struct query, by_age);

		if (now_ns < query->begun_ns + QUERY_LIMIT_NS)
			break;
		query_end(query, DNS_UPSTREAM_TIMEOUT, NO_RCODE);
	}
}

enum dns_outcome outcome_of_failure(int r)
{
	return r == -ECONNREFUSED ? DNS_UPSTREAM_REFUSED : DNS_UPSTREAM_FAILED;
}

/* ---- sockets ---- */

int resolver_socket(struct pair *pair, int type)
{
	static const int one = 1;
	const bool v4 = ip_is_v4(&pair->resolver);
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(RESOLVER_PORT), .sin_addr.s_addr = pair->resolver.words[3] };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(RESOLVER_PORT) };
	_cleanup_close_ int fd =
		netns_socket(pair->place->namespace->fd, v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return fd;
	memcpy(&sin6.sin6_addr, &pair->resolver, sizeof(sin6.sin6_addr));
	/* Unreachable hosts are heard of too, not refusals alone: ip(7). Not having it costs a time-out. */
	if (type == SOCK_DGRAM)
		setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &one, sizeof(one));
	r = v4 ? connect(fd, (struct sockaddr *)&sin, sizeof(sin)) : connect(fd, (struct sockaddr *)&sin6, sizeof(sin6));
	if (r < 0 && errno != EINPROGRESS)
		return -errno;
	return TAKE_FD(fd);
}

static struct upstream *upstream_free(struct upstream *upstream)
{
	loop_io_remove(upstream->io);
	fd_close(upstream->fd);
	list_remove(&upstream->node);
	upstream->pair->upstream_count--;
	free(upstream);
	return NULL;
}

static void answer_client(struct query *query, const uint8_t *answer, size_t length, enum dns_outcome outcome, unsigned rcode)
{
	const socklen_t client_bytes = ((struct sockaddr *)&query->client)->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
												    sizeof(struct sockaddr_in6);
	const ssize_t n = sendto(query->pair->udp_fd, answer, length, MSG_DONTWAIT, (struct sockaddr *)&query->client, client_bytes);

	query_end(query, n < 0 ? DNS_CLIENT_GONE : outcome, n < 0 ? NO_RCODE : rcode);
}

/* Nobody will answer what is under way there. */
static void upstream_fail(struct upstream *upstream, int r)
{
	for (size_t i = 0; i < ID_BUCKETS; i++)
		list_for_each_safe(it, &upstream->queries[i]) {
			struct query *query = container_of(it, struct query, by_socket);
			struct own_answer answer;
			struct dns_query parsed;

			dns_set_id(query->packet, query->client_id);
			dns_query_parse(query->packet, query->length, &parsed); /* as it did before */
			answer_servfail(query->packet, &parsed, outcome_of_failure(r), &answer);
			answer_client(query, answer.bytes, answer.length, answer.outcome, answer.rcode);
		}
}

static struct query *find(struct upstream *upstream, uint16_t id)
{
	return query_find(&upstream->queries[id % ID_BUCKETS], id);
}

static void take_answer(struct upstream *upstream, uint8_t *answer, size_t length)
{
	struct query *query = length < DNS_HEADER_BYTES ? NULL : find(upstream, dns_id(answer));

	if (!query || !query_take_answer(query, answer, length)) {
		responder_count(upstream->pair->place->namespace->responder, DNS_STRAY);
		return;
	}
	answer_client(query, answer, length, DNS_FORWARDED, dns_rcode(answer));
}

static void on_upstream(struct loop_io *io, uint32_t events, void *arg)
{
	struct upstream *upstream = arg;
	struct responder *responder = upstream->pair->place->namespace->responder;

	(void)io;
	for (int i = 0; i < ANSWERS_PER_EVENT; i++) {
		ssize_t n = recv(upstream->fd, responder->scratch, sizeof(responder->scratch), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			upstream_fail(upstream, -errno);
		else
			take_answer(upstream, responder->scratch, (size_t)n);
	}
	if (events & EPOLLERR) /* IP_RECVERR keeps the messages of the network as well: all there is to know was in errno */
		for (int i = 0; i < ANSWERS_PER_EVENT; i++)
			if (recv(upstream->fd, responder->scratch, sizeof(responder->scratch), MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
				break;
	if (upstream->retired && upstream->under_way == 0)
		upstream_free(upstream);
}

static int upstream_new(struct pair *pair, struct upstream **ret_upstream)
{
	struct upstream *upstream = calloc(1, sizeof(*upstream));
	int r;

	if (!upstream)
		return -ENOMEM;
	upstream->pair = pair;
	for (size_t i = 0; i < ID_BUCKETS; i++)
		list_init(&upstream->queries[i]);
	list_append(&pair->upstreams, &upstream->node);
	pair->upstream_count++;
	r = upstream->fd = resolver_socket(pair, SOCK_DGRAM);
	if (r >= 0)
		r = loop_io_add(pair->place->namespace->responder->loop, upstream->fd, EPOLLIN, on_upstream, upstream, &upstream->io);
	if (r < 0) {
		upstream_free(upstream);
		return r;
	}
	*ret_upstream = upstream;
	return 0;
}

/* One of those in use at random; a new one while they are few. */
static int upstream_pick(struct pair *pair, struct upstream **ret_upstream)
{
	const unsigned number = responder_random(pair->place->namespace->responder) % UPSTREAMS_ACTIVE;
	struct upstream *last = NULL;
	unsigned seen = 0;

	list_for_each(it, &pair->upstreams) {
		struct upstream *upstream = container_of(it, struct upstream, node);

		if (upstream->retired || seen > number)
			continue;
		last = upstream;
		seen++;
	}
	if (seen <= number && pair->upstream_count < UPSTREAMS_MAX)
		return upstream_new(pair, ret_upstream);
	*ret_upstream = last; /* with UPSTREAMS_MAX of them the youngest is never retired */
	return 0;
}

static int upstream_send(struct upstream *upstream, const struct query *query)
{
	/* What an earlier query met with is told to the next one, which is then not sent. */
	for (int i = 0; i < 2; i++) {
		if (send(upstream->fd, query->packet, query->length, MSG_DONTWAIT) >= 0)
			return 0;
		if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH)
			break;
		if (upstream->under_way > 0) {
			int r = -errno;

			upstream_fail(upstream, r);
			errno = -r;
		}
	}
	return -errno;
}

/* For a query that the caller answers: not counted here. */
static void query_drop(struct query *query)
{
	struct namespace *namespace = query->pair->place->namespace;

	list_remove(&query->by_age);
	namespace->under_way--;
	namespace->responder->under_way--;
	query->pair->under_way--;
	free(query);
}

int forward_udp(struct pair *pair, const struct sockaddr_in6 *client, const uint8_t *packet, size_t length,
		const struct dns_query *parsed, uint64_t begun_ns)
{
	struct responder *responder = pair->place->namespace->responder;
	struct upstream *upstream;
	struct query *query;
	uint16_t id = responder_random(responder);
	int r;

	r = upstream_pick(pair, &upstream);
	if (r < 0)
		return r;
	query = query_new(pair, packet, length, parsed, begun_ns);
	if (!query)
		return -ENOMEM;
	query->client = *client;
	while (find(upstream, id))
		id++;
	dns_set_id(query->packet, id);
	r = upstream_send(upstream, query);
	if (r < 0) {
		query_drop(query);
		return r;
	}
	query->upstream = upstream;
	list_append(&upstream->queries[id % ID_BUCKETS], &query->by_socket);
	upstream->under_way++;
	upstream->used_ns = begun_ns;
	if (++upstream->uses >= UPSTREAM_USES && pair->upstream_count < UPSTREAMS_MAX)
		upstream->retired = true;
	return 0;
}

void upstreams_tick(struct pair *pair, uint64_t now_ns)
{
	list_for_each_safe(it, &pair->upstreams) {
		struct upstream *upstream = container_of(it, struct upstream, node);

		if (upstream->under_way == 0 && (upstream->retired || now_ns >= upstream->used_ns + UPSTREAM_IDLE_NS))
			upstream_free(upstream);
	}
}

void upstreams_close(struct pair *pair)
{
	list_for_each_safe(it, &pair->upstreams) {
		struct upstream *upstream = container_of(it, struct upstream, node);

		for (size_t i = 0; i < ID_BUCKETS; i++)
			list_for_each_safe(jt, &upstream->queries[i])
				query_end(container_of(jt, struct query, by_socket), DNS_CLIENT_GONE, NO_RCODE);
		upstream_free(upstream);
	}
}
