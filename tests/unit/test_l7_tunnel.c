/* SPDX-License-Identifier: Apache-2.0 */
/* Upgrades to another protocol: bytes both ways, each way until its own end. */
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/unit/l7_world.h"

#define UPGRADE_TO(host) "GET /chat HTTP/1.1\r\nHost: " host "\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define UPGRADE UPGRADE_TO(WORLD_HOST)
#define SWITCHED "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define LONG_BYTES (8u * 1024 * 1024) /* more than all buffers on the way have room for */

static struct l7_world *world(const char *more)
{
	struct l7_world *w = l7_world_new(1);

	given_http_route(w, "r", "{'prefix':'/'}", "11", more);
	world_configure(w);
	return w;
}

static void tunnel_by(struct l7_world *w, const char *upgrade, struct wire *ret_program, struct wire *ret_endpoint)
{
	struct message m = {};

	program(w, ret_program);
	wire_say(ret_program, upgrade);
	backend_accept(w, 1, ret_endpoint);
	wire_read(ret_endpoint, &m);
	EXPECT_CONTAINS(m.head, "\r\nUpgrade: websocket\r\n");
	EXPECT_CONTAINS(m.head, "\r\nconnection: Upgrade\r\n");
	message_done(&m);
	wire_say(ret_endpoint, SWITCHED);
	wire_read(ret_program, &m);
	EXPECT_EQ(m.status, 101);
	EXPECT_CONTAINS(m.head, "\r\nUpgrade: websocket\r\n");
	EXPECT_CONTAINS(m.head, "\r\nconnection: Upgrade\r\n");
	message_done(&m);
}

static void tunnel(struct l7_world *w, struct wire *ret_program, struct wire *ret_endpoint)
{
	tunnel_by(w, UPGRADE, ret_program, ret_endpoint);
}

static void expect_bytes(struct wire *wire, const char *text)
{
	char got[64] = "";

	EXPECT_EQ(wire_read_raw(wire, got, strlen(text)), strlen(text));
	EXPECT_STR(got, text);
}

static void *say_long(void *arg)
{
	struct wire *wire = arg;
	static char bytes[LONG_BYTES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = world_byte(i);
	for (size_t sent = 0; sent < sizeof(bytes);) {
		const ssize_t n = send(wire->fd, bytes + sent, sizeof(bytes) - sent, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	shutdown(wire->fd, SHUT_WR);
	return NULL;
}

/* Some 25 MB a second: slower than the proxy. */
static void expect_long(struct wire *wire)
{
	const struct timespec pace = { .tv_nsec = 1000000 };
	char piece[26 * 1000];

	for (size_t got = 0; got < LONG_BYTES;) {
		const size_t n = wire_read_raw(wire, piece, MIN(sizeof(piece), LONG_BYTES - got));

		EXPECT(n > 0);
		for (size_t i = 0; i < n; i++)
			if (piece[i] != world_byte(got + i))
				fail_msg("byte %zu is another one", got + i);
		got += n;
		nanosleep(&pace, NULL);
	}
	EXPECT_EQ(wire_next(wire), WIRE_END);
}

TEST(after_101_bytes_go_both_ways)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;

	tunnel(w, &p, &e);
	wire_say(&p, "ping");
	expect_bytes(&e, "ping");
	wire_say(&e, "pong");
	expect_bytes(&p, "pong");
	wire_say(&p, "GET / HTTP/1.1\r\n\r\n"); /* is nothing but bytes */
	expect_bytes(&e, "GET / HTTP/1.1\r\n\r\n");
	EXPECT_COUNT(w, "totals.requestsActive", 1);
}

TEST(bytes_that_come_with_the_request_or_the_101_are_not_lost)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};

	program(w, &p);
	wire_say(&p, UPGRADE "early");
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, SWITCHED "soon");
	wire_read(&p, &n);
	expect_bytes(&p, "soon");
	expect_bytes(&e, "early");
}

TEST(an_end_in_one_direction_leaves_the_other_open)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;

	tunnel(w, &p, &e);
	wire_shut(&p);
	EXPECT_EQ(wire_next(&e), WIRE_END);
	wire_say(&e, "last words");
	expect_bytes(&p, "last words");
	wire_close(&e);
	EXPECT_EQ(wire_next(&p), WIRE_END);
	EXPECT_COUNT(w, "totals.open", 0);
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
	EXPECT_COUNT(w, "rows.codes.1xx", 1);
}

TEST(what_a_program_says_after_the_endpoints_end_arrives)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;

	tunnel(w, &p, &e);
	wire_shut(&e);
	EXPECT_EQ(wire_next(&p), WIRE_END);
	wire_say(&p, "last words"); /* and the end at once: one event */
	wire_close(&p);
	expect_bytes(&e, "last words");
	EXPECT_EQ(wire_next(&e), WIRE_END);
	EXPECT_COUNT(w, "totals.open", 0);
}

TEST(all_that_an_endpoint_said_before_its_end_arrives_at_a_slow_program)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	pthread_t thread;

	tunnel(w, &p, &e);
	assert_int_equal(pthread_create(&thread, NULL, say_long, &e), 0);
	EXPECT_COUNT(w, "totals.requestsActive", 1);
	expect_long(&p);
	pthread_join(thread, NULL);
}

TEST(all_that_a_program_said_before_its_end_arrives_at_a_slow_endpoint)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	pthread_t thread;

	tunnel(w, &p, &e);
	wire_shut(&e); /* so that the program's end is the last one */
	EXPECT_EQ(wire_next(&p), WIRE_END);
	assert_int_equal(pthread_create(&thread, NULL, say_long, &p), 0);
	expect_long(&e);
	pthread_join(thread, NULL);
	EXPECT_COUNT(w, "totals.open", 0);
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
}

TEST(who_does_not_read_stops_who_writes)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;

	tunnel(w, &p, &e);
	wire_fill_up(&p);
	wire_fill_up(&e);
}

TEST(a_reset_of_one_end_cuts_the_other)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e, p2, e2;

	tunnel(w, &p, &e);
	wire_reset(&e);
	EXPECT(wire_next(&p) != WIRE_BYTES);
	EXPECT_COUNT(w, "totals.open", 0);
	tunnel(w, &p2, &e2);
	wire_reset(&p2);
	EXPECT(wire_next(&e2) != WIRE_BYTES);
	EXPECT_COUNT(w, "totals.open", 0);
	EXPECT_COUNT(w, "totals.requestsActive", 0);
}

static uint64_t cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NSEC_PER_SEC + (uint64_t)used.tv_nsec;
}

TEST(an_endpoint_that_resets_after_its_end_costs_no_time)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	uint64_t began_ns;

	tunnel(w, &p, &e);
	wire_shut(&e);
	EXPECT_EQ(wire_next(&p), WIRE_END);
	wire_reset(&e);
	wire_say(&p, "anybody there?");
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
	EXPECT_COUNT(w, "totals.open", 0);
	began_ns = cpu_ns();
	EXPECT(wire_next(&p) != WIRE_BYTES);
	EXPECT(cpu_ns() - began_ns < NSEC_PER_SEC);
}

TEST(an_upgrade_that_is_declined_is_answered_and_nothing_else_is_believed)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};

	program(w, &p);
	wire_say(&p, UPGRADE "GET /behind HTTP/1.1\r\nHost: x\r\n\r\n");
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 200);
	EXPECT_STR(n.body, "no");
	EXPECT_EQ(wire_next(&p), WIRE_END);
	EXPECT_COUNT(w, "totals.requests", 1);
	EXPECT(!backend_has_connection(w, 1));
}

TEST(a_101_that_nobody_asked_for_is_a_fault_of_the_endpoint)
{
	_cleanup_world_ struct l7_world *w = world("'retryPolicy':{'maxRetries':0,'perRetryTimeout':{'value':5,'unit':'s'},'httpRetryEvents':['server-error']}");
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, SWITCHED "junk");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 502);
	EXPECT_REPLY(w, "upstream-protocol", 1);
}

TEST(an_upgrade_to_http_2_is_not_passed_on)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_message_ struct message m = {};

	backend_serve(w, 1);
	ask(w, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	    &m);
	EXPECT_EQ(m.status, 200);
	EXPECT(!strcasestr(m.body, "h2c"));
	EXPECT(!strcasestr(m.body, "\r\nConnection:"));
	EXPECT(!strcasestr(m.body, "HTTP2-Settings"));
}

TEST(a_tunnel_without_traffic_ends_when_its_time_is_over)
{
	_cleanup_world_ struct l7_world *w = world("'timeout':{'idle':{'value':500,'unit':'ms'}}");
	_cleanup_wire_ struct wire p, e;

	tunnel(w, &p, &e);
	EXPECT(wire_next(&p) != WIRE_BYTES);
	EXPECT(wire_next(&e) != WIRE_BYTES);
	EXPECT_REPLY(w, "response-idle", 1);
}

TEST(a_tunnel_outlives_the_time_of_a_request)
{
	_cleanup_world_ struct l7_world *w = world("'timeout':{'perRequest':{'value':300,'unit':'ms'},'idle':{'value':600,'unit':'ms'}}");
	_cleanup_wire_ struct wire p, e;

	tunnel(w, &p, &e);
	EXPECT(wire_next(&p) != WIRE_BYTES);
	EXPECT_REPLY(w, "response-idle", 1);
	EXPECT_REPLY(w, "response-timeout", 0);
}

/* Past the mesh, to where it was meant. */
static void stranger_tunnel(struct l7_world *w, struct wire *ret_program, struct wire *ret_endpoint)
{
	given_stranger(w);
	tunnel_by(w, UPGRADE_TO("stranger"), ret_program, ret_endpoint);
	wire_say(ret_program, "ping");
	expect_bytes(ret_endpoint, "ping");
}

TEST(what_goes_past_the_mesh_is_cut_when_its_filter_closes_and_not_before)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e, inside, inside_e, slow, slow_e, asked, asked_e;
	_cleanup_message_ struct message m = {}, n = {};

	tunnel(w, &inside, &inside_e);
	stranger_tunnel(w, &p, &e);
	program(w, &slow);
	wire_say(&slow, "GET / HTTP/1.1\r\nHost: stranger\r\n\r\n");
	backend_accept(w, 1, &slow_e);
	wire_read(&slow_e, &m);
	wire_say(&slow_e, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	wire_read_to_body(&slow, 4, &n);
	program(w, &asked);
	wire_say(&asked, "GET / HTTP/1.1\r\nHost: stranger\r\n\r\n");
	backend_accept(w, 1, &asked_e);

	given_calling_node(w, "'dropAll':true,'audit':true");
	world_configure(w);
	EXPECT_COUNT(w, "totals.requestsActive", 4);
	wire_say(&p, "ping");
	expect_bytes(&e, "ping");

	given_calling_node(w, "'dropAll':true");
	world_configure(w);
	EXPECT_EQ(wire_next(&p), WIRE_RESET);
	EXPECT(wire_next(&e) != WIRE_BYTES);
	EXPECT(wire_next(&slow) != WIRE_BYTES);
	message_done(&m);
	wire_read(&asked, &m);
	EXPECT_EQ(m.status, 404);
	EXPECT_REPLY(w, "filter-closed", 2);
	EXPECT_REPLY(w, "no-route", 1);
	wire_say(&inside, "ping");
	expect_bytes(&inside_e, "ping");
	EXPECT_COUNT(w, "totals.requestsActive", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_101_bytes_go_both_ways),
		cmocka_unit_test(bytes_that_come_with_the_request_or_the_101_are_not_lost),
		cmocka_unit_test(an_end_in_one_direction_leaves_the_other_open),
		cmocka_unit_test(what_a_program_says_after_the_endpoints_end_arrives),
		cmocka_unit_test(all_that_an_endpoint_said_before_its_end_arrives_at_a_slow_program),
		cmocka_unit_test(all_that_a_program_said_before_its_end_arrives_at_a_slow_endpoint),
		cmocka_unit_test(who_does_not_read_stops_who_writes),
		cmocka_unit_test(a_reset_of_one_end_cuts_the_other),
		cmocka_unit_test(an_endpoint_that_resets_after_its_end_costs_no_time),
		cmocka_unit_test(an_upgrade_that_is_declined_is_answered_and_nothing_else_is_believed),
		cmocka_unit_test(a_101_that_nobody_asked_for_is_a_fault_of_the_endpoint),
		cmocka_unit_test(an_upgrade_to_http_2_is_not_passed_on),
		cmocka_unit_test(a_tunnel_without_traffic_ends_when_its_time_is_over),
		cmocka_unit_test(a_tunnel_outlives_the_time_of_a_request),
		cmocka_unit_test(what_goes_past_the_mesh_is_cut_when_its_filter_closes_and_not_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
