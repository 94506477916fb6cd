/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766): messages with their length before them. A client's connection has one to the resolver beside it, opened for the
 * first query that is forwarded; answers are handed back as they come. Who does not read is not read from. */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/dns/responder_internal.h"
#include "base/cleanup.h"
#include "base/log.h"

enum {
	LENGTH_BYTES = 2,
	ACCEPTS_PER_EVENT = 16,
	OUTPUT_MAX_BYTES = 64 * 1024, /* that wait for the client; with them no more is read */
	UPSTREAM_OUTPUT_MAX_BYTES = 16 * 1024,
	UPSTREAM_READ_BYTES = 16 * 1024,
};
#define CONNECTION_IDLE_NS (30 * NSEC_PER_SEC)
#define CONNECT_LIMIT_NS (5 * NSEC_PER_SEC)
#define LAST_QUERY_NS NSEC_PER_SEC /* after responder_stop(): who has just connected may be about to ask */

/* One of a connection's two sides. */
struct side {
	int fd;
	struct loop_io *io;
	uint32_t events; /* what the loop was told */
	struct buffer output;
};

struct connection {
	struct list node; /* pair->connections */
	struct pair *pair;
	struct side client, resolver; /* resolver.fd < 0: not asked yet, or it has closed */
	struct list queries; /* under way */
	size_t under_way;
	uint64_t active_ns;
	bool no_more; /* nothing is read from the client any longer: it said so, or it cannot be understood, or we end */
	bool broken;
	bool connecting;
	uint64_t connecting_ns; /* since */
	bool resolver_answered; /* by the connection at hand */
	struct buffer answers; /* what came from the resolver and is not whole */
	size_t input_bytes;
	uint8_t input[LENGTH_BYTES + QUERY_MAX_BYTES];
};

static struct loop *loop_of(const struct connection *c)
{
	return c->pair->place->namespace->responder->loop;
}

/* ---- sides ---- */

static void side_close(struct side *side)
{
	side->io = loop_io_remove(side->io);
	side->fd = fd_close(side->fd);
	buffer_done(&side->output);
}

static int side_open(struct side *side, struct loop *loop, int fd, uint32_t events, loop_io_fn *fn, void *arg)
{
	static const int one = 1;
	int r = loop_io_add(loop, fd, events, fn, arg, &side->io);

	if (r < 0)
		return r;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* messages are written whole */
	side->fd = fd;
	side->events = events;
	return 0;
}

static void side_put(struct side *side, const void *message, size_t length)
{
	const uint8_t prefix[LENGTH_BYTES] = { (uint8_t)(length >> 8), (uint8_t)length };

	buffer_append(&side->output, prefix, sizeof(prefix));
	buffer_append(&side->output, message, length);
}

/* As far as it goes. 0 or -errno. */
static int side_flush(struct side *side)
{
	if (buffer_failed(&side->output))
		return -ENOMEM;
	while (side->output.length > 0) {
		ssize_t n = send(side->fd, side->output.data, side->output.length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buffer_consume(&side->output, (size_t)n);
	}
	buffer_done(&side->output);
	return 0;
}

static void side_events(struct side *side, uint32_t events)
{
	if (side->events != events && loop_io_events(side->io, events) == 0)
		side->events = events;
}

/* ---- to the client ---- */

static void connection_close(struct connection *c)
{
	struct responder *responder = c->pair->place->namespace->responder;

	list_for_each_safe(it, &c->queries)
		query_end(container_of(it, struct query, by_socket), DNS_CLIENT_GONE, NO_RCODE);
	side_close(&c->client);
	side_close(&c->resolver);
	buffer_done(&c->answers);
	list_remove(&c->node);
	c->pair->connection_count--;
	free(c);
	if (responder->stopped)
		loop_timer_arm(responder->tick, 0);
}

void connection_query_gone(struct connection *c)
{
	c->under_way--;
}

static void touch(struct connection *c)
{
	c->active_ns = loop_now_ns(loop_of(c));
	list_remove(&c->node);
	list_append(&c->pair->connections, &c->node);
}

static void answer_query(struct query *query, const uint8_t *answer, size_t length, enum dns_outcome outcome, unsigned rcode)
{
	side_put(&query->connection->client, answer, length);
	query_end(query, outcome, rcode);
}

static void fail_queries(struct connection *c, int r)
{
	list_for_each_safe(it, &c->queries) {
		struct query *query = container_of(it, struct query, by_socket);
		struct own_answer answer;
		struct dns_query parsed;

		dns_set_id(query->packet, query->client_id);
		dns_query_parse(query->packet, query->length, &parsed); /* as it did before */
		answer_servfail(query->packet, &parsed, outcome_of_failure(r), &answer);
		answer_query(query, answer.bytes, answer.length, answer.outcome, answer.rcode);
	}
}

/* ---- to the resolver ---- */

static loop_io_fn on_resolver;

static void resolver_close(struct connection *c)
{
	side_close(&c->resolver);
	buffer_done(&c->answers);
}

static int resolver_open(struct connection *c)
{
	_cleanup_close_ int fd = resolver_socket(c->pair, SOCK_STREAM);
	int r = fd < 0 ? fd : side_open(&c->resolver, loop_of(c), fd, EPOLLIN | EPOLLOUT, on_resolver, c);

	if (r < 0)
		return r;
	fd = -1; /* the side's */
	c->connecting = true;
	c->connecting_ns = loop_now_ns(loop_of(c));
	c->resolver_answered = false;
	return 0;
}

/* Resolvers may close after any answer: what is left is asked once more. One that closes without an answer has failed. */
static void resolver_closed(struct connection *c, int r)
{
	const bool again = c->resolver_answered;

	resolver_close(c);
	list_for_each(it, &c->queries)
		if (!again || container_of(it, struct query, by_socket)->asked_again) {
			fail_queries(c, r);
			return;
		}
	if (list_empty(&c->queries))
		return;
	r = resolver_open(c);
	if (r < 0) {
		fail_queries(c, r);
		return;
	}
	list_for_each(it, &c->queries) {
		struct query *query = container_of(it, struct query, by_socket);

		query->asked_again = true;
		side_put(&c->resolver, query->packet, query->length);
	}
}

static void take_answer(struct connection *c, uint8_t *answer, size_t length)
{
	struct query *query = length < DNS_HEADER_BYTES ? NULL : query_find(&c->queries, dns_id(answer));

	if (!query || !query_take_answer(query, answer, length)) {
		responder_count(c->pair->place->namespace->responder, DNS_STRAY);
		return;
	}
	c->resolver_answered = true;
	answer_query(query, answer, length, DNS_FORWARDED, dns_rcode(answer));
}

static void take_answers(struct connection *c)
{
	uint8_t *bytes = (uint8_t *)c->answers.data;
	size_t taken = 0;

	while (c->answers.length - taken >= LENGTH_BYTES) {
		const size_t length = (size_t)bytes[taken] << 8 | bytes[taken + 1];

		if (c->answers.length - taken - LENGTH_BYTES < length)
			break;
		take_answer(c, bytes + taken + LENGTH_BYTES, length);
		taken += LENGTH_BYTES + length;
	}
	if (taken == c->answers.length)
		buffer_done(&c->answers);
	else
		buffer_consume(&c->answers, taken);
}

static void resolver_read(struct connection *c)
{
	char *end = buffer_reserve(&c->answers, UPSTREAM_READ_BYTES);
	ssize_t n = end ? recv(c->resolver.fd, end, UPSTREAM_READ_BYTES, MSG_DONTWAIT) : -1;

	if (!end) {
		resolver_closed(c, -ENOMEM);
	} else if (n > 0) {
		c->answers.length += (size_t)n;
		touch(c);
		take_answers(c);
	} else if (n == 0 || errno != EAGAIN) {
		resolver_closed(c, n == 0 ? -ECONNRESET : -errno);
	}
}

/* ---- queries ---- */

static int forward(struct connection *c, const uint8_t *packet, size_t length, const struct dns_query *parsed, uint64_t begun_ns)
{
	uint16_t id = responder_random(c->pair->place->namespace->responder);
	struct query *query;
	int r = c->resolver.fd >= 0 ? 0 : resolver_open(c);

	if (r < 0)
		return r;
	query = query_new(c->pair, packet, length, parsed, begun_ns);
	if (!query)
		return -ENOMEM;
	while (query_find(&c->queries, id))
		id++;
	dns_set_id(query->packet, id);
	query->connection = c;
	list_append(&c->queries, &query->by_socket);
	c->under_way++;
	side_put(&c->resolver, query->packet, query->length);
	return 0;
}

/* `length` may be more than is there: then the query is too long. */
static void take_query(struct connection *c, const uint8_t *packet, size_t length)
{
	uint64_t begun_ns = time_now_ns();
	struct own_answer answer;
	struct dns_query parsed;
	int r;

	if (!answer_at_once(c->pair, packet, length, &parsed, &answer)) {
		r = forward(c, packet, length, &parsed, begun_ns);
		if (r == 0)
			return;
		answer_servfail(packet, &parsed, outcome_of_failure(r), &answer);
	}
	if (answer.length)
		side_put(&c->client, answer.bytes, answer.length);
	query_ended(c->pair,
		    &(struct ended_query){ begun_ns, packet, parsed.question_bytes, true, answer.outcome, answer.rcode }, time_now_ns());
}

static bool has_room(const struct connection *c)
{
	return c->under_way < CONNECTION_QUERIES_MAX && c->client.output.length < OUTPUT_MAX_BYTES &&
	       c->resolver.output.length < UPSTREAM_OUTPUT_MAX_BYTES;
}

/* False: none was taken. */
static bool take_queries(struct connection *c)
{
	size_t taken = 0;

	while (c->input_bytes - taken >= LENGTH_BYTES && has_room(c)) {
		const uint8_t *message = c->input + taken;
		const size_t length = (size_t)message[0] << 8 | message[1];

		if (length > QUERY_MAX_BYTES && taken == 0 && c->input_bytes == sizeof(c->input)) {
			take_query(c, message + LENGTH_BYTES, length);
			c->no_more = true; /* the rest is not taken, so where the next one begins is not seen */
			taken = c->input_bytes;
			break;
		}
		if (c->input_bytes - taken - LENGTH_BYTES < length)
			break;
		take_query(c, message + LENGTH_BYTES, length);
		taken += LENGTH_BYTES + length;
	}
	c->input_bytes -= taken;
	memmove(c->input, c->input + taken, c->input_bytes);
	return taken > 0;
}

static void client_read(struct connection *c)
{
	ssize_t n = recv(c->client.fd, c->input + c->input_bytes, sizeof(c->input) - c->input_bytes, MSG_DONTWAIT);

	if (n > 0) {
		c->input_bytes += (size_t)n;
		touch(c);
	} else if (n == 0) {
		c->no_more = true;
	} else if (errno != EAGAIN) {
		c->broken = true;
	}
}

/* ---- both ---- */

/* After whatever happened: goes on as far as it can. May close the connection. */
static void run(struct connection *c)
{
	bool more;

	do {
		more = take_queries(c);
		if (c->resolver.fd >= 0 && !c->connecting) {
			int r = side_flush(&c->resolver);

			if (r < 0)
				resolver_closed(c, r);
		}
		if (side_flush(&c->client) < 0)
			c->broken = true;
	} while (more && !c->broken); /* what was written may have made room */
	if (c->broken || (c->no_more && c->under_way == 0 && c->client.output.length == 0)) {
		connection_close(c);
		return;
	}
	side_events(&c->client, (!c->no_more && has_room(c) && c->input_bytes < sizeof(c->input) ? EPOLLIN : 0) |
					(c->client.output.length > 0 ? EPOLLOUT : 0));
	if (c->resolver.fd >= 0)
		side_events(&c->resolver, (c->client.output.length < OUTPUT_MAX_BYTES ? EPOLLIN : 0) |
						  (c->connecting || c->resolver.output.length > 0 ? EPOLLOUT : 0));
}

static void on_client(struct loop_io *io, uint32_t events, void *arg)
{
	struct connection *c = arg;

	(void)io;
	if (events & (EPOLLHUP | EPOLLERR))
		c->broken = true; /* it reads no more either: half a close is no EPOLLHUP */
	else if (events & EPOLLIN)
		client_read(c);
	run(c);
}

static void on_resolver(struct loop_io *io, uint32_t events, void *arg)
{
	struct connection *c = arg;
	socklen_t length = sizeof(int);
	int error = 0;

	(void)io;
	if (c->connecting) {
		getsockopt(c->resolver.fd, SOL_SOCKET, SO_ERROR, &error, &length);
		c->connecting = false;
	}
	if (error)
		resolver_closed(c, -error);
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		resolver_read(c);
	run(c);
}

static int connection_new(struct pair *pair, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->pair = pair;
	c->client.fd = c->resolver.fd = -1;
	list_init(&c->queries);
	c->active_ns = loop_now_ns(loop_of(c));
	r = side_open(&c->client, loop_of(c), fd, EPOLLIN, on_client, c);
	if (r < 0) {
		free(c);
		return r;
	}
	list_append(&pair->connections, &c->node);
	pair->connection_count++;
	return 0;
}

void stream_accept(struct loop_io *io, uint32_t events, void *arg)
{
	struct pair *pair = arg;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		_cleanup_close_ int fd = accept4(pair->tcp_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		int r = fd < 0 ? -errno : 0;

		if (r == -EAGAIN)
			return;
		if (r == 0 && pair->connection_count == CONNECTIONS_MAX)
			connection_close(container_of(pair->connections.next, struct connection, node));
		if (r == 0)
			r = connection_new(pair, fd);
		if (r == 0) {
			fd = -1; /* the connection's */
		} else if (r != -EINTR && r != -ECONNABORTED) {
			/* Out of descriptors or memory: asking again at once would only spin. The tick does. */
			log_limited(LOG_LEVEL_WARN, "cannot accept a connection for DNS",
				    LOG_F("node", LOG_STR(pair->place->name->text)), LOG_F("error", LOG_STR(strerrordesc_np(-r))));
			pair->accept_paused = loop_io_events(io, 0) == 0;
			return;
		}
	}
}

void connections_tick(struct pair *pair, uint64_t now_ns)
{
	const struct responder *responder = pair->place->namespace->responder;

	if (pair->accept_paused && pair->tcp_io && loop_io_events(pair->tcp_io, EPOLLIN) == 0)
		pair->accept_paused = false;
	list_for_each_safe(it, &pair->connections) {
		struct connection *c = container_of(it, struct connection, node);

		if (c->resolver.fd >= 0 && c->connecting && now_ns >= c->connecting_ns + CONNECT_LIMIT_NS)
			resolver_closed(c, -ETIMEDOUT);
		c->broken |= now_ns >= c->active_ns + CONNECTION_IDLE_NS;
		if (responder->stopped && c->under_way == 0)
			c->no_more |= now_ns >= MAX(c->active_ns, responder->stopped_ns) + LAST_QUERY_NS;
		run(c);
	}
}

void connections_close(struct pair *pair)
{
	list_for_each_safe(it, &pair->connections)
		connection_close(container_of(it, struct connection, node));
}
