/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of connections and requests when another process takes over, or when there is no other one. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "tests/unit/l7_world.h"

#define SOON_NS (10 * NSEC_PER_SEC)
#define DONE "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"
#define BOTH (PROXY_PLACE_V4 | PROXY_PLACE_V6)

static struct l7_world *given_serving(void)
{
	struct l7_world *w = l7_world_new(2);

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	EXPECT_EQ(w->families, BOTH);
	return w;
}

/* Another one, with all that w->l7 has, which it does not use yet. */
static struct l7 *given_successor(struct l7_world *w)
{
	struct l7 *successor = l7_world_other(w, 2);
	_cleanup_(buffer_done) struct buffer text = {};
	_cleanup_json_ json_t *listens = NULL;
	struct error err = {};
	uint64_t generation;
	int fds[L7_LISTENS_MAX];
	size_t fd_count;

	l7_hold(successor);
	EXPECT_OK(l7_configuration(w->l7, &generation, &text));
	EXPECT_OK(l7_configure(successor, 0, generation, (struct span){ text.data, text.length }, &err), &err);
	listens = l7_listens(w->l7, w->cookie, fds, &fd_count);
	EXPECT_EQ(json_array_size(listens), fd_count);
	for (size_t i = 0; i < fd_count; i++)
		fds[i] = dup(fds[i]); /* as a message does */
	EXPECT_OK(l7_inherit(successor, w->cookie, listens, fds, fd_count, &err), &err);
	EXPECT_OK(l7_place_add(successor, w->cookie, w->netns_fd));
	return successor;
}

static int64_t counted_by(const struct l7 *l7, const char *path)
{
	_cleanup_json_ json_t *json = l7_json(l7);

	return json_path_int(json, path, -1);
}

/* The endpoint's side of a request whose connection is a new one; it closes that connection. */
static void answer(struct l7_world *w)
{
	_cleanup_wire_ struct wire endpoint = {};
	_cleanup_message_ struct message m = {};

	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &m);
	EXPECT(m.whole);
	wire_say(&endpoint, DONE);
}

/* A request of a program's connection: whether the answer is the last one there. */
static bool exchange_is_last(struct l7_world *w, struct wire *wire)
{
	_cleanup_message_ struct message m = {};

	wire_say(wire, GET("/"));
	answer(w);
	wire_read(wire, &m);
	EXPECT_EQ(m.status, 200);
	return strstr(m.head, "\r\nconnection: close\r\n");
}

/* The ends of a connection that has become another protocol's. */
static void given_tunnel(struct l7_world *w, struct wire *wire, struct wire *endpoint)
{
	_cleanup_message_ struct message m = {};

	program(w, wire);
	wire_say(wire, "GET /chat HTTP/1.1\r\nHost: " WORLD_HOST "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	backend_accept(w, 1, endpoint);
	wire_read_to_head(endpoint, &m);
	message_done(&m);
	wire_say(endpoint, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	wire_read_to_head(wire, &m);
	EXPECT_EQ(m.status, 101);
}

static void expect_passes(struct wire *from, struct wire *to)
{
	char heard[4];

	wire_say(from, "ping");
	EXPECT_EQ(wire_read_raw(to, heard, sizeof(heard)), sizeof(heard));
	EXPECT(!memcmp(heard, "ping", sizeof(heard)));
}

TEST(a_successor_accepts_what_waits_where_its_predecessor_listened)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire wire = {};
	_cleanup_message_ struct message m = {};
	struct l7 *successor;
	unsigned int told = w->told;

	successor = given_successor(w);
	EXPECT_EQ(w->told, told); /* what the kernel knows is still the first one's */
	l7_drain(w->l7, true);
	program(w, &wire);
	wire_say(&wire, "GET / HTTP/1.1\r\nHost: ");
	EXPECT_EQ(l7_left(w->l7).connections, 0);
	l7_accept(successor);
	wire_say(&wire, WORLD_HOST "\r\n\r\n");
	answer(w);
	wire_read(&wire, &m);
	EXPECT_EQ(m.status, 200);
	EXPECT_EQ(counted_by(successor, "totals.requests"), 1);
	EXPECT_EQ(w->families, BOTH);
	told = w->told;
	l7_free(w->l7);
	w->l7 = successor;
	EXPECT_EQ(w->told, told);
	EXPECT(!exchange_is_last(w, &wire));
}

TEST(a_successor_that_gives_up_leaves_everything_as_it_was)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire wire = {};
	const unsigned int told = w->told;

	l7_free(given_successor(w));
	EXPECT_EQ(w->told, told);
	program(w, &wire);
	EXPECT(!exchange_is_last(w, &wire));
}

TEST(without_a_successor_nobody_listens_any_more_and_the_kernel_knows)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PROXY_OUTBOUND_PORT),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	l7_drain(w->l7, false);
	EXPECT_EQ(w->families, 0);
	EXPECT_EQ(connect(fd, (const struct sockaddr *)&address, sizeof(address)), -1);
	EXPECT_EQ(errno, ECONNREFUSED);
}

TEST(answers_of_a_drained_one_are_the_last_of_their_connections)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire idle = {}, asking = {}, endpoint = {};
	_cleanup_message_ struct message m = {};

	program(w, &idle);
	EXPECT(!exchange_is_last(w, &idle));
	program(w, &asking);
	wire_say(&asking, GET("/slow"));
	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &m);
	l7_drain(w->l7, true);
	EXPECT_EQ(l7_left(w->l7).connections, 2);
	EXPECT_EQ(l7_left(w->l7).requests, 1);
	wire_say(&endpoint, DONE);
	message_done(&m);
	wire_read(&asking, &m);
	EXPECT_CONTAINS(m.head, "\r\nconnection: close\r\n");
	EXPECT_EQ(wire_next(&asking), WIRE_END);
	EXPECT_EQ(wire_next(&endpoint), WIRE_END); /* no other request will follow there */
	EXPECT(exchange_is_last(w, &idle));
	wire_close(&asking);
	wire_close(&idle);
	WAIT_FOR(l7_left(w->l7).connections == 0, SOON_NS);
	EXPECT_REPLY(w, "ended", 0);
	EXPECT_COUNT(w, "totals.tooLate", 0);
}

TEST(what_was_sent_behind_a_request_is_answered_too)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire wire = {}, endpoint = {};
	_cleanup_message_ struct message m = {};

	program(w, &wire);
	wire_say(&wire, GET("/1") GET("/2"));
	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &m);
	l7_drain(w->l7, true);
	wire_say(&endpoint, DONE);
	message_done(&m);
	wire_read(&wire, &m);
	EXPECT(!strstr(m.head, "\r\nconnection: close\r\n"));
	answer(w);
	message_done(&m);
	wire_read(&wire, &m);
	EXPECT_CONTAINS(m.head, "\r\nconnection: close\r\n");
}

TEST(tunnels_go_on_until_they_are_cut_which_is_counted)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire wire = {}, endpoint = {};

	given_tunnel(w, &wire, &endpoint);
	l7_drain(w->l7, true);
	for (int i = 0; i < 3; i++) {
		expect_passes(&wire, &endpoint);
		expect_passes(&endpoint, &wire);
	}
	EXPECT_EQ(l7_left(w->l7).requests, 1);
	l7_cut(w->l7);
	EXPECT_EQ(l7_left(w->l7).requests, 0);
	EXPECT_EQ(l7_left(w->l7).connections, 0);
	EXPECT_REPLY(w, "drain-limit", 1);
	EXPECT(wire_next(&wire) != WIRE_BYTES);
}

static void expect_goes_on(struct l7_world *w, struct wire *wire)
{
	_cleanup_message_ struct message m = {};

	wire_say(wire, WORLD_HOST "\r\n\r\n");
	answer(w);
	wire_read(wire, &m);
	EXPECT_EQ(m.status, 200);
	EXPECT(!strstr(m.head, "\r\nconnection: close\r\n"));
}

TEST(connections_between_two_requests_go_to_the_successor_with_what_must_be_known_of_them)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire idle = {}, fresh = {}, asking = {}, tunnel = {}, endpoint = {};
	_cleanup_json_ json_t *first = NULL, *rest = NULL;
	struct l7 *successor;
	int fds[8];

	program(w, &idle);
	exchange_is_last(w, &idle);
	program(w, &fresh);
	program(w, &asking);
	wire_say(&asking, "GET / HTTP/1.1\r\n");
	given_tunnel(w, &tunnel, &endpoint);
	WAIT_FOR(l7_left(w->l7).connections == 4 && l7_left(w->l7).requests == 2, SOON_NS);
	successor = given_successor(w);
	l7_drain(w->l7, true);
	l7_accept(successor);
	first = l7_give(w->l7, fds, 1);
	EXPECT_EQ(json_array_size(first), 1);
	EXPECT_OK(l7_take(successor, json_array_get(first, 0), fds[0]));
	rest = l7_give(w->l7, fds, ARRAY_SIZE(fds));
	EXPECT_EQ(json_array_size(rest), 1); /* the other two are not between requests */
	EXPECT_EQ(json_path_int(json_array_get(rest, 0), "service", 0), WORLD_SERVICE);
	wire_say(&idle, "GET / HTTP/1.1\r\nHost: ");
	wire_say(&fresh, "GET / HTTP/1.1\r\nHost: "); /* of one of them nobody reads at the moment */
	EXPECT_OK(l7_take(successor, json_array_get(rest, 0), fds[0]));
	EXPECT_EQ(l7_left(w->l7).connections, 2);
	expect_goes_on(w, &idle);
	expect_goes_on(w, &fresh);
	EXPECT_COUNT(w, "totals.given", 2);
	EXPECT_EQ(counted_by(successor, "totals.taken"), 2);
	EXPECT_EQ(counted_by(successor, "totals.requests"), 2);
	l7_free(successor);
}

TEST(a_request_that_waits_for_a_newer_configuration_gets_it_also_when_drained)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	_cleanup_wire_ struct wire wire = {};
	_cleanup_message_ struct message m = {};

	given_handover(w, WORLD_SERVICE, WORLD_PORT + 1, 2);
	program(w, &wire);
	wire_say(&wire, GET("/"));
	WAIT_FOR(l7_left(w->l7).parked == 1, SOON_NS);
	l7_drain(w->l7, true);
	EXPECT_EQ(l7_left(w->l7).parked, 1);
	EXPECT_EQ(l7_generation(w->l7), 1);
	world_configure(w); /* as the successor has it by now: without that port */
	wire_read(&wire, &m);
	EXPECT_EQ(m.status, 404);
	EXPECT_CONTAINS(m.head, "\r\nConnection: close\r\n");
	EXPECT_EQ(l7_left(w->l7).parked, 0);
}

TEST(what_cannot_be_taken_is_closed)
{
	_cleanup_world_ struct l7_world *w = given_serving();
	struct wire wires[3] = {};
	_cleanup_json_ json_t *given = NULL;
	int fds[3];

	for (size_t i = 0; i < ARRAY_SIZE(wires); i++)
		program(w, &wires[i]);
	WAIT_FOR(l7_left(w->l7).connections == 3, SOON_NS);
	l7_drain(w->l7, true);
	given = l7_give(w->l7, fds, ARRAY_SIZE(fds));
	EXPECT_EQ(json_array_size(given), 3);
	json_object_set_new(json_array_get(given, 0), "netnsCookie", json_integer(1));
	EXPECT_EQ(l7_take(w->l7, json_array_get(given, 0), fds[0]), -ENOENT);
	json_object_set_new(json_array_get(given, 1), "destination", json_string("nowhere"));
	EXPECT_EQ(l7_take(w->l7, json_array_get(given, 1), fds[1]), -EBADMSG);
	EXPECT_EQ(l7_take(w->l7, NULL, fds[2]), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(wires); i++)
		EXPECT_EQ(wire_next(&wires[i]), WIRE_END);
	for (size_t i = 0; i < ARRAY_SIZE(wires); i++)
		wire_done(&wires[i]);
}

TEST(sockets_that_are_not_what_they_should_be_are_refused_and_closed)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	struct l7 *successor = l7_world_other(w, 1);
	_cleanup_json_ json_t *listens = json_pack("[{s:s, s:s}]", "role", "outbound", "family", "IPv4");
	struct error err = {};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int lowest = fd;

	l7_hold(successor);
	EXPECT_EQ(l7_inherit(successor, w->cookie, listens, &fd, 1, &err), -EBADMSG);
	EXPECT_CONTAINS(err.message, "no socket that listens");
	fd = dup(w->backends[0].fd);
	EXPECT_EQ(fd, lowest); /* the other one was closed */
	EXPECT_EQ(l7_inherit(successor, w->cookie, NULL, &fd, 1, &err), -EBADMSG);
	json_object_set_new(json_array_get(listens, 0), "role", json_string("sideways")); /* of another build */
	fd = dup(w->backends[0].fd);
	EXPECT_EQ(fd, lowest);
	EXPECT_OK(l7_inherit(successor, w->cookie, listens, &fd, 1, &err), &err);
	fd = dup(w->backends[0].fd);
	EXPECT_EQ(fd, lowest);
	fd_close(fd);
	l7_free(successor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_successor_accepts_what_waits_where_its_predecessor_listened),
		cmocka_unit_test(a_successor_that_gives_up_leaves_everything_as_it_was),
		cmocka_unit_test(without_a_successor_nobody_listens_any_more_and_the_kernel_knows),
		cmocka_unit_test(answers_of_a_drained_one_are_the_last_of_their_connections),
		cmocka_unit_test(what_was_sent_behind_a_request_is_answered_too),
		cmocka_unit_test(tunnels_go_on_until_they_are_cut_which_is_counted),
		cmocka_unit_test(connections_between_two_requests_go_to_the_successor_with_what_must_be_known_of_them),
		cmocka_unit_test(a_request_that_waits_for_a_newer_configuration_gets_it_also_when_drained),
		cmocka_unit_test(what_cannot_be_taken_is_closed),
		cmocka_unit_test(sockets_that_are_not_what_they_should_be_are_refused_and_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
