/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of programs and to endpoints from one request to the next: kept, closed, cut, and what is said on them in pieces. */
#include <sys/socket.h>

#include "tests/unit/l7_world.h"

#define NO_RETRIES "'retryPolicy':{'maxRetries':0,'perRetryTimeout':{'value':5,'unit':'s'},'httpRetryEvents':['server-error']}"

static struct l7_world *world(const char *more)
{
	struct l7_world *w = l7_world_new(1);

	given_http_route(w, "r", "{'prefix':'/'}", "11", more);
	world_configure(w);
	return w;
}

static int next_status(struct wire *wire)
{
	_cleanup_message_ struct message m = {};

	wire_read(wire, &m);
	EXPECT(m.whole);
	return m.status;
}

TEST(requests_follow_each_other_on_one_connection_each_way)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p;

	backend_serve(w, 1);
	program(w, &p);
	for (int i = 0; i < 20; i++) {
		wire_say(&p, i % 2 ? GET("/get") : "POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
		EXPECT_EQ(next_status(&p), 200);
	}
	EXPECT_COUNT(w, "totals.connections", 1);
	EXPECT_COUNT(w, "totals.upstreamConnections", 1);
	EXPECT_COUNT(w, "totals.requests", 20);
}

TEST(requests_that_come_at_once_are_answered_in_order)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p;
	_cleanup_(buffer_done) struct buffer all = {};

	backend_serve(w, 1);
	program(w, &p);
	for (int i = 0; i < 1000; i++)
		buffer_printf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", i);
	wire_say(&p, buffer_string(&all));
	for (int i = 0; i < 1000; i++) {
		_cleanup_message_ struct message m = {};
		char line[32];

		wire_read(&p, &m);
		EXPECT_EQ(m.status, 200);
		snprintf(line, sizeof(line), "POST /%d HTTP/1.1", i);
		EXPECT_CONTAINS(m.body, line);
	}
	EXPECT_COUNT(w, "totals.requests", 1000);
}

TEST(a_request_that_is_whole_may_be_refused_and_the_next_one_follows)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire p;

	given_http_route(w, "r", "{'prefix':'/yes'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	program(w, &p);
	wire_say(&p, GET("/no") GET("/yes") "POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" GET("/yes"));
	EXPECT_EQ(next_status(&p), 404);
	EXPECT_EQ(next_status(&p), 200);
	EXPECT_EQ(next_status(&p), 404);
	EXPECT_EQ(next_status(&p), 200);
	EXPECT_COUNT(w, "totals.connections", 1);
}

TEST(what_is_behind_a_refused_request_with_a_body_is_never_executed)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire p;

	given_http_route(w, "r", "{'prefix':'/yes'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	program(w, &p);
	wire_say(&p, "POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" GET("/yes") GET("/yes"));
	EXPECT_EQ(next_status(&p), 404);
	EXPECT_EQ(wire_next(&p), WIRE_END);
	EXPECT_COUNT(w, "totals.requests", 1);
	EXPECT_EQ(w->backends[0].request_count, 0);
}

/* What another server on the way might frame otherwise: the one that is refused is the last one that is looked at. */
TEST(what_follows_a_request_of_doubtful_framing_is_never_executed)
{
#define POST "POST /doubtful HTTP/1.1\r\nHost: x\r\n"
#define BEHIND GET("/smuggled") GET("/smuggled")
#define BYTES(text) text BEHIND, sizeof(text BEHIND) - 1
	static const struct {
		const char *bytes;
		size_t length;
		int status;
	} tries[] = {
		{ BYTES(POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"), 400 },
		{ BYTES(POST "Content-Length: 0\r\nContent-Length: 40\r\n\r\n"), 400 },
		{ BYTES(POST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"), 400 },
		{ BYTES(POST "Content-Length: 0, 40\r\n\r\n"), 400 },
		{ BYTES(POST "Content-Length: +0\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501 },
		{ BYTES(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 501 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"), 501 },
		{ BYTES(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400 },
		{ BYTES("POST /doubtful HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400 },
		{ BYTES(POST "A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400 }, /* folded */
		{ BYTES(POST "A: b\nContent-Length: 40\r\n\r\n"), 400 }, /* LF alone, */
		{ BYTES(POST "A: b\rContent-Length: 40\r\n\r\n"), 400 }, /* CR alone */
		{ BYTES(POST "A: b\r\n\n"), 400 },
		{ BYTES(POST "A: b\0c\r\n\r\n"), 400 },
		{ BYTES("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\n\r\n2\r\nab0\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n"), 400 },
		{ BYTES(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nA b: c\r\n\r\n"), 400 },
	};
#undef POST
#undef BEHIND
#undef BYTES
	_cleanup_world_ struct l7_world *w = world(NULL);

	backend_serve(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		_cleanup_wire_ struct wire p;
		int status;

		program(w, &p);
		wire_say(&p, GET("/first"));
		EXPECT_EQ(next_status(&p), 200);
		wire_say_bytes(&p, tries[i].bytes, tries[i].length);
		status = next_status(&p);
		if (status != tries[i].status)
			fail_msg("'%s' is answered %d, not %d", tries[i].bytes, status, tries[i].status);
		if (wire_next(&p) == WIRE_BYTES)
			fail_msg("what is behind '%s' is answered", tries[i].bytes);
		EXPECT_EQ(w->backends[0].request_count, i + 1);
	}
	EXPECT_COUNT(w, "totals.requests", 2 * (int64_t)ARRAY_SIZE(tries));
}

TEST(connection_close_is_the_end_and_nothing_behind_it_is_executed)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p;
	_cleanup_message_ struct message m = {};

	backend_serve(w, 1);
	program(w, &p);
	wire_say(&p, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" GET("/behind"));
	wire_read(&p, &m);
	EXPECT_EQ(m.status, 200);
	EXPECT_CONTAINS(m.head, "\r\nconnection: close\r\n");
	EXPECT(!strstr(m.body, "onnection:")); /* the endpoint's connection is another one */
	EXPECT_EQ(wire_next(&p), WIRE_END);
	EXPECT_COUNT(w, "totals.requests", 1);
	EXPECT_EQ(w->backends[0].request_count, 1);
}

TEST(http_1_0_ends_after_the_answer_unless_it_asks_to_go_on)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire old, kept;
	_cleanup_message_ struct message m = {}, n = {};

	backend_serve(w, 1);
	program(w, &old);
	wire_say(&old, "GET /bytes/10 HTTP/1.0\r\n\r\n");
	wire_read(&old, &m);
	EXPECT_CONTAINS(m.head, "HTTP/1.1 200 OK\r\n");
	EXPECT_CONTAINS(m.head, "\r\nconnection: close\r\n");
	EXPECT_EQ(wire_next(&old), WIRE_END);
	program(w, &kept);
	for (int i = 0; i < 2; i++) {
		_cleanup_message_ struct message k = {};

		wire_say(&kept, "GET /bytes/10 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
		wire_read(&kept, &k);
		EXPECT_CONTAINS(k.head, "\r\nconnection: keep-alive\r\n");
		EXPECT_EQ(k.length, 10);
	}
	/* What has no length ends with the connection, whatever was asked. */
	wire_say(&kept, "GET /chunked/100 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
	wire_read(&kept, &n);
	EXPECT(n.whole);
	EXPECT_EQ(n.length, 100);
	EXPECT_CONTAINS(n.head, "\r\nconnection: close\r\n");
	EXPECT(!strcasestr(n.head, "chunked"));
}

TEST(a_request_cut_at_any_byte_is_the_same_request)
{
	static const char request[] = "POST /a/../b?c HTTP/1.1\r\nHost: " WORLD_HOST "\r\nConnection: X-A\r\nX-A: b\r\nX-B: c\r\n"
				      "Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n";
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p;
	char first[1024] = "";

	backend_serve(w, 1);
	program(w, &p);
	for (size_t cut = 0; cut < sizeof(request) - 1; cut++) {
		_cleanup_message_ struct message m = {};
		char *id;

		wire_say_bytes(&p, request, cut);
		/* The first part is read before the second is sent, or else this is what all at once would be. */
		if (cut)
			WAIT_FOR(world_counted(w, "totals.requestsActive") == 1, NSEC_PER_SEC);
		wire_say_bytes(&p, request + cut, sizeof(request) - 1 - cut);
		wire_read(&p, &m);
		EXPECT_EQ(m.status, 200);
		id = strstr(m.body, "x-request-id: ");
		EXPECT(id);
		memset(id + strlen("x-request-id: "), 'x', 36);
		if (cut == 0)
			strcpy(first, m.body);
		EXPECT_STR(m.body, first);
	}
	EXPECT_CONTAINS(first, "POST /b?c HTTP/1.1\r\n");
	EXPECT_CONTAINS(first, "\r\n\r\nhello!");
	EXPECT(!strstr(first, "X-A"));
	EXPECT_COUNT(w, "totals.connections", 1);
}

TEST(an_answer_cut_at_any_byte_is_the_same_answer)
{
	static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
				     "4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n";
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;

	program(w, &p);
	for (size_t cut = 0; cut < sizeof(answer) - 1; cut++) {
		_cleanup_message_ struct message m = {}, n = {};

		wire_say(&p, GET("/"));
		if (cut == 0)
			backend_accept(w, 1, &e);
		wire_read(&e, &m);
		wire_say_bytes(&e, answer, cut);
		wire_say_bytes(&e, answer + cut, sizeof(answer) - 1 - cut);
		wire_read(&p, &n);
		EXPECT_EQ(n.status, 201);
		EXPECT_STR(n.body, "abcdef");
		EXPECT_CONTAINS(n.head, "\r\nX-A: b\r\n");
	}
	EXPECT_COUNT(w, "totals.upstreamConnections", 1);
}

TEST(a_connection_that_its_endpoint_closed_meanwhile_costs_an_idempotent_request_nothing)
{
	_cleanup_world_ struct l7_world *w = world(NO_RETRIES);
	_cleanup_wire_ struct wire p, e, e2, e3;
	_cleanup_message_ struct message m = {}, n = {}, k = {};

	program(w, &p);
	wire_say(&p, GET("/first"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	EXPECT_EQ(next_status(&p), 200);
	wire_say(&p, "PUT /second HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
	wire_read(&e, &n); /* it was sent there, and the connection closed at the same time */
	wire_close(&e);
	backend_accept(w, 1, &e2);
	wire_read(&e2, &k);
	EXPECT_STR(k.body, "abc");
	wire_say(&e2, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	EXPECT_EQ(next_status(&p), 200);
	EXPECT_COUNT(w, "totals.resent", 1);
	/* What may not be said twice is not. */
	message_done(&m);
	message_done(&n);
	wire_say(&p, "POST /third HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	wire_read(&e2, &m);
	wire_close(&e2);
	EXPECT_EQ(next_status(&p), 503);
	EXPECT_REPLY(w, "upstream-closed", 1);
	/* On a new connection the end is an answer's, and says something of the endpoint. */
	wire_say(&p, GET("/fourth"));
	backend_accept(w, 1, &e3);
	wire_read(&e3, &n);
	wire_close(&e3);
	EXPECT_EQ(next_status(&p), 503);
	EXPECT_COUNT(w, "totals.resent", 1);
}

TEST(a_connection_that_ends_while_it_waits_is_not_used)
{
	_cleanup_world_ struct l7_world *w = world(NO_RETRIES);
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};

	program(w, &p);
	wire_say(&p, GET("/first"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	EXPECT_EQ(next_status(&p), 200);
	EXPECT_COUNT(w, "totals.upstreamOpen", 1);
	wire_say(&e, "HTTP/1.1 200 OK\r\n"); /* what nobody asked for is as good as an end */
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
	backend_serve(w, 1);
	wire_say(&p, GET("/second"));
	EXPECT_EQ(next_status(&p), 200);
	EXPECT_COUNT(w, "totals.resent", 0);
}

TEST(more_than_the_answer_ends_the_endpoints_connection)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	wire_read(&p, &n);
	EXPECT_STR(n.body, "ok");
	EXPECT(wire_next(&e) != WIRE_BYTES);
	wire_say(&p, GET("/")); /* gets an answer of its own */
	backend_serve(w, 1);
	EXPECT_EQ(next_status(&p), 200);
}

TEST(a_program_that_goes_takes_its_request_along)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e, p2, e2, p3, e3;
	_cleanup_message_ struct message m = {}, n = {}, k = {}, half = {};

	program(w, &p);
	wire_say(&p, GET("/reset"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_reset(&p);
	EXPECT(wire_next(&e) != WIRE_BYTES);
	EXPECT_REPLY(w, "client-gone", 1);
	/* Its end alone is enough, as with Envoy. */
	program(w, &p2);
	wire_say(&p2, GET("/end"));
	backend_accept(w, 1, &e2);
	wire_read(&e2, &n);
	wire_shut(&p2);
	EXPECT(wire_next(&e2) != WIRE_BYTES);
	EXPECT_EQ(wire_next(&p2), WIRE_END);
	EXPECT_REPLY(w, "client-gone", 2);
	/* Amid the answer. */
	program(w, &p3);
	wire_say(&p3, GET("/amid"));
	backend_accept(w, 1, &e3);
	wire_read(&e3, &k);
	wire_say(&e3, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	wire_read_to_head(&p3, &half);
	wire_reset(&p3);
	EXPECT(wire_next(&e3) != WIRE_BYTES);
	EXPECT_REPLY(w, "client-gone", 3);
	EXPECT_COUNT(w, "totals.open", 0);
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
	EXPECT_COUNT(w, "totals.requestsActive", 0);
}

TEST(a_program_that_goes_within_its_body_takes_the_request_along)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
	backend_accept(w, 1, &e);
	wire_read_to_head(&e, &m);
	wire_close(&p);
	message_done(&m);
	wire_read(&e, &m);
	EXPECT(!m.whole);
	EXPECT_REPLY(w, "client-gone", 1);
}

TEST(answers_that_nobody_reads_stop_the_requests_behind_them)
{
	_cleanup_world_ struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p;
	_cleanup_(buffer_done) struct buffer requests = {};
	uint64_t sent = 0, seen;

	backend_serve(w, 1);
	program(w, &p);
	assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int)), 0);
	for (int i = 0; i < 100; i++)
		buffer_add(&requests, GET("/bytes/20000"));
	/* Until nothing more goes in for a while, or far more answers are under way than there is room for. */
	for (uint64_t until_ns = test_now_ns() + 300 * NSEC_PER_MSEC; test_now_ns() < until_ns && sent < 100 * requests.length;) {
		const ssize_t n = send(p.fd, requests.data + sent % requests.length, requests.length - sent % requests.length,
				       MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0)
			continue;
		sent += (uint64_t)n;
		until_ns = test_now_ns() + 300 * NSEC_PER_MSEC;
	}
	seen = __atomic_load_n(&w->backends[0].request_count, __ATOMIC_RELAXED);
	EXPECT(seen * 20000 < 16u * 1024 * 1024);
	for (uint64_t i = 0; i < seen + 10; i++)
		EXPECT_EQ(next_status(&p), 200);
}

TEST(what_a_worker_has_open_it_closes_at_the_end)
{
	struct l7_world *w = world(NULL);
	_cleanup_wire_ struct wire p, e, idle;
	_cleanup_message_ struct message m = {};

	program(w, &idle);
	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	EXPECT_COUNT(w, "totals.open", 2);
	l7_world_free(&w);
	EXPECT(wire_next(&p) != WIRE_BYTES);
	EXPECT(wire_next(&e) != WIRE_BYTES);
	EXPECT(wire_next(&idle) != WIRE_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_follow_each_other_on_one_connection_each_way),
		cmocka_unit_test(requests_that_come_at_once_are_answered_in_order),
		cmocka_unit_test(a_request_that_is_whole_may_be_refused_and_the_next_one_follows),
		cmocka_unit_test(what_is_behind_a_refused_request_with_a_body_is_never_executed),
		cmocka_unit_test(what_follows_a_request_of_doubtful_framing_is_never_executed),
		cmocka_unit_test(connection_close_is_the_end_and_nothing_behind_it_is_executed),
		cmocka_unit_test(http_1_0_ends_after_the_answer_unless_it_asks_to_go_on),
		cmocka_unit_test(a_request_cut_at_any_byte_is_the_same_request),
		cmocka_unit_test(an_answer_cut_at_any_byte_is_the_same_answer),
		cmocka_unit_test(a_connection_that_its_endpoint_closed_meanwhile_costs_an_idempotent_request_nothing),
		cmocka_unit_test(a_connection_that_ends_while_it_waits_is_not_used),
		cmocka_unit_test(more_than_the_answer_ends_the_endpoints_connection),
		cmocka_unit_test(a_program_that_goes_takes_its_request_along),
		cmocka_unit_test(a_program_that_goes_within_its_body_takes_the_request_along),
		cmocka_unit_test(answers_that_nobody_reads_stop_the_requests_behind_them),
		cmocka_unit_test(what_a_worker_has_open_it_closes_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
