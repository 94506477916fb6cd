/* SPDX-License-Identifier: Apache-2.0 */
/* Tries of a request: which failures lead to another one, where it goes, what of the body goes with it, and when it is the last. */
#include <sys/socket.h>

#include "agent/l7/internal.h"
#include "tests/unit/l7_world.h"

/* `events`: members of the policy. */
#define RETRIES(max, events) "'retryPolicy':{'maxRetries':" #max ",'perRetryTimeout':{'value':0,'unit':'ms'}," events "}"
#define SERVER_ERRORS "'httpRetryEvents':['server-error']"

static struct l7_world *world(const char *targets, const char *more)
{
	struct l7_world *w = l7_world_new(1);

	given_http_route(w, "r", "{'prefix':'/'}", targets, more);
	world_configure(w);
	return w;
}

static void expect_try(struct wire *wire, unsigned int attempt, const char *answer)
{
	_cleanup_message_ struct message m = {};
	char header[64];

	wire_read(wire, &m);
	EXPECT(m.whole);
	snprintf(header, sizeof(header), "\r\nx-envoy-attempt-count: %u\r\n", attempt);
	EXPECT_CONTAINS(m.head, header);
	if (answer)
		wire_say(wire, answer);
}

static int next_status(struct wire *wire)
{
	_cleanup_message_ struct message m = {};

	wire_read(wire, &m);
	EXPECT(m.whole);
	return m.status;
}

#define ANSWER(status) "HTTP/1.1 " #status " X\r\nContent-Length: 3\r\n\r\nabc"

TEST(a_status_that_the_policy_names_is_tried_again_up_to_its_limit)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(2, SERVER_ERRORS));
	_cleanup_wire_ struct wire p;

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
	for (unsigned int attempt = 1; attempt <= 3; attempt++) {
		_cleanup_wire_ struct wire e;

		backend_accept(w, 1, &e);
		expect_try(&e, attempt, ANSWER(503));
	}
	EXPECT_EQ(next_status(&p), 503);
	EXPECT_COUNT(w, "totals.retries.retry", 2);
	EXPECT_COUNT(w, "totals.retries.retry-limit", 1);
	EXPECT_COUNT(w, "rows.retries", 2);
	EXPECT_COUNT(w, "rows.codes.5xx", 1);
}

TEST(another_try_may_succeed_and_nothing_is_seen_of_the_first)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(2, SERVER_ERRORS));
	_cleanup_wire_ struct wire p, e, e2;
	_cleanup_message_ struct message m = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	expect_try(&e, 1, "HTTP/1.1 500 X\r\nX-First: yes\r\nContent-Length: 100\r\n\r\nhalf");
	backend_accept(w, 1, &e2);
	expect_try(&e2, 2, ANSWER(200));
	wire_read(&p, &m);
	EXPECT_EQ(m.status, 200);
	EXPECT_STR(m.body, "abc");
	EXPECT(!strstr(m.head, "X-First"));
	EXPECT(wire_next(&e) != WIRE_BYTES);
}

static void expect_status_once(struct l7_world *w, const char *answer, int status)
{
	_cleanup_wire_ struct wire p, e;

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	expect_try(&e, 1, answer);
	EXPECT_EQ(next_status(&p), status);
}

TEST(a_status_that_the_policy_does_not_name_is_the_answer)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(2, "'httpRetryEvents':['gateway-error']"));

	expect_status_once(w, ANSWER(500), 500);
	expect_status_once(w, ANSWER(404), 404);
	expect_status_once(w, ANSWER(409), 409);
	EXPECT_COUNT(w, "totals.retries.retry", 0);
}

TEST(without_a_policy_the_default_one_tries_503_again_and_resets_but_no_500)
{
	_cleanup_world_ struct l7_world *w = world("11", NULL);
	_cleanup_wire_ struct wire p, e, e2, e3;

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	expect_try(&e, 1, ANSWER(503));
	backend_accept(w, 1, &e2);
	expect_try(&e2, 2, NULL);
	wire_reset(&e2);
	backend_accept(w, 1, &e3);
	expect_try(&e3, 3, ANSWER(500));
	EXPECT_EQ(next_status(&p), 500);
}

TEST(a_reset_before_the_answer_is_tried_again_where_no_response_is_an_event)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(1, SERVER_ERRORS));
	_cleanup_wire_ struct wire p, e, e2;

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
	backend_accept(w, 1, &e);
	expect_try(&e, 1, "HTTP/1.1 200 O"); /* half of a head is none */
	wire_reset(&e);
	backend_accept(w, 1, &e2);
	expect_try(&e2, 2, NULL);
	wire_close(&e2);
	EXPECT_EQ(next_status(&p), 503);
	EXPECT_REPLY(w, "upstream-closed", 1);
}

TEST(an_answer_that_has_begun_is_never_tried_again)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(2, SERVER_ERRORS));
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	expect_try(&e, 1, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	wire_reset(&e);
	wire_read(&p, &m);
	EXPECT(!m.whole);
	EXPECT_COUNT(w, "totals.retries.retry", 0);
	EXPECT(!backend_has_connection(w, 1));
}

TEST(a_refused_connection_is_tried_again_where_that_is_an_event)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(2, "'tcpRetryEvents':['connection-error']"));

	backend_stop(w, 1);
	EXPECT_EQ(ask_status(w, GET("/")), 503);
	EXPECT_COUNT(w, "totals.retries.retry", 2);
	EXPECT_REPLY(w, "connect-failed", 1);
	given_no_routes(w);
	given_any_route(w, RETRIES(2, SERVER_ERRORS));
	given_http_route(w, "one", "{'prefix':'/one'}", "11", RETRIES(2, SERVER_ERRORS));
	world_configure(w);
	EXPECT_EQ(ask_status(w, GET("/one")), 503);
	EXPECT_COUNT(w, "totals.retries.retry", 2);
	EXPECT_REPLY(w, "connect-failed", 2);
}

TEST(other_endpoints_are_tried_before_one_is_tried_twice)
{
	_cleanup_world_ struct l7_world *w = world("10", RETRIES(3, SERVER_ERRORS));

	for (int i = 0; i < 25; i++) {
		bool seen[WORLD_BACKENDS + 1] = {};
		_cleanup_wire_ struct wire p;

		program(w, &p);
		wire_say(&p, GET("/"));
		for (unsigned int attempt = 1; attempt <= WORLD_BACKENDS; attempt++) {
			_cleanup_wire_ struct wire e;
			unsigned int number = 0;

			for (uint64_t until_ns = test_now_ns() + 5 * NSEC_PER_SEC; !number && test_now_ns() < until_ns;)
				for (unsigned int n = 1; n <= WORLD_BACKENDS; n++)
					if (backend_has_connection(w, n))
						number = n;
			EXPECT(number && !seen[number]);
			seen[number] = true;
			backend_accept(w, number, &e);
			expect_try(&e, attempt, ANSWER(502));
			EXPECT(attempt == WORLD_BACKENDS || wire_next(&e) != WIRE_BYTES);
		}
		EXPECT_EQ(next_status(&p), 502);
	}
}

/* A body in two parts: the second after the first try has failed, so that it waits for the next one. */
static void given_body(size_t first, size_t second, bool chunked, bool again)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(1, SERVER_ERRORS));
	_cleanup_wire_ struct wire p, e, e2 = {};
	_cleanup_message_ struct message m = {}, n = {};
	_cleanup_(buffer_done) struct buffer head = {}, body = {}, said = {};

	for (size_t i = 0; i < first + second; i++)
		buffer_append(&body, &(char){ world_byte(i) }, 1);
	if (chunked)
		buffer_add(&head, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	else
		buffer_printf(&head, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", first + second);
	program(w, &p);
	wire_say_bytes(&p, head.data, head.length);
	if (chunked)
		buffer_printf(&said, "%zx\r\n", first);
	buffer_append(&said, body.data, first);
	buffer_add(&said, chunked ? "\r\n" : "");
	wire_say_bytes(&p, said.data, said.length);
	backend_accept(w, 1, &e);
	if (first)
		wire_read_to_body(&e, first, &m); /* all of it came by, and is kept or not */
	else
		wire_read_to_head(&e, &m);
	wire_say(&e, ANSWER(503));
	while (again && wire_next(&e) == WIRE_BYTES) /* the rest of the framing */
		e.begin = e.end;
	buffer_clear(&said);
	if (chunked && second)
		buffer_printf(&said, "%zx\r\n", second);
	buffer_append(&said, body.data + first, second);
	buffer_add(&said, chunked ? second ? "\r\n0\r\n\r\n" : "0\r\n\r\n" : "");
	send(p.fd, said.data, said.length, MSG_NOSIGNAL); /* nobody reads it where the answer has come already */
	if (again) {
		backend_accept(w, 1, &e2);
		wire_read(&e2, &n);
		EXPECT(n.whole);
		EXPECT_EQ(n.length, body.length);
		EXPECT(!memcmp(n.body, body.data, body.length));
		EXPECT_CONTAINS(n.head, "\r\nx-envoy-attempt-count: 2\r\n");
		wire_say(&e2, ANSWER(200));
		EXPECT_EQ(next_status(&p), 200);
	} else {
		EXPECT_EQ(next_status(&p), 503);
		EXPECT_COUNT(w, "totals.retries.retry-body-too-large", 1);
		EXPECT(!backend_has_connection(w, 1));
	}
}

TEST(a_body_of_up_to_64_kib_is_sent_again)
{
	given_body(64 * 1024, 0, false, true);
	given_body(64 * 1024 - 500, 0, true, true); /* with its framing */
	given_body(1, 64 * 1024 - 1, false, true);
}

TEST(a_longer_body_is_not_sent_again_once_it_went_by)
{
	given_body(64 * 1024 + 1, 0, false, false);
	given_body(64 * 1024, 0, true, false);
}

TEST(what_comes_of_a_body_while_the_next_try_waits_goes_with_it)
{
	given_body(1000, 1000, false, true);
	given_body(1000, 1000, true, true);
	given_body(1000, 300000, false, true);
	given_body(1000, 300000, true, true);
	given_body(0, 1000000, false, true);
}

TEST(there_is_no_retry_beyond_the_time_of_the_request)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(20, SERVER_ERRORS) ",'timeout':{'perRequest':{'value':100,'unit':'ms'}}");
	int64_t timeouts, no_time;

	backend_serve(w, 1);
	for (int i = 0; i < 3; i++) {
		const int status = ask_status(w, GET("/status/503"));

		EXPECT(status == 503 || status == 504);
	}
	timeouts = world_counted(w, "totals.replies.request-timeout");
	no_time = world_counted(w, "totals.retries.retry-no-time");
	EXPECT_EQ(timeouts + no_time, 3); /* 20 retries take seconds */
}

TEST(a_node_has_a_budget_of_retries)
{
	enum { REQUESTS = RETRY_BUDGET_FREE + 20 };
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(1, SERVER_ERRORS));
	struct wire *p = calloc(REQUESTS, sizeof(*p)), *e = calloc(REQUESTS, sizeof(*e));
	int over = 0;

	for (int i = 0; i < REQUESTS; i++) {
		program(w, &p[i]);
		wire_say(&p[i], GET("/"));
		backend_accept(w, 1, &e[i]);
		expect_try(&e[i], 1, NULL);
	}
	/* Each first try fails, and no second one is answered: at once there may be so many, and a fifth of the requests is fewer. */
	for (int i = 0; i < REQUESTS; i++)
		wire_say(&e[i], "HTTP/1.1 500 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); /* not to be used again */
	EXPECT_COUNT(w, "totals.retries.retry-over-budget", REQUESTS - RETRY_BUDGET_FREE);
	EXPECT_COUNT(w, "totals.retries.retry", RETRY_BUDGET_FREE);
	backend_serve(w, 1);
	for (int i = 0; i < REQUESTS; i++)
		over += next_status(&p[i]) == 500;
	EXPECT_EQ(over, REQUESTS - RETRY_BUDGET_FREE);
	/* It is given back. */
	EXPECT_COUNT(w, "totals.requestsActive", 0);
	EXPECT_EQ(ask_status(w, GET("/status/500")), 500);
	EXPECT_COUNT(w, "totals.retries.retry", RETRY_BUDGET_FREE + 1);
	for (int i = 0; i < REQUESTS; i++) {
		wire_done(&p[i]);
		wire_done(&e[i]);
	}
	free(p);
	free(e);
}

TEST(a_program_may_go_while_the_next_try_waits)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(20, SERVER_ERRORS));

	for (int i = 0; i < 20; i++) {
		_cleanup_wire_ struct wire p, e;

		program(w, &p);
		wire_say(&p, GET("/"));
		backend_accept(w, 1, &e);
		expect_try(&e, 1, ANSWER(500));
		EXPECT(wire_next(&e) != WIRE_BYTES);
		wire_reset(&p);
		EXPECT_COUNT(w, "totals.requestsActive", 0);
		while (backend_has_connection(w, 1)) { /* the second try was quicker */
			_cleanup_wire_ struct wire late;

			backend_accept(w, 1, &late);
		}
	}
	EXPECT_COUNT(w, "totals.open", 0);
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
}

TEST(a_policy_without_retries_has_none)
{
	_cleanup_world_ struct l7_world *w = world("11", RETRIES(0, SERVER_ERRORS));

	expect_status_once(w, ANSWER(500), 500);
	EXPECT_COUNT(w, "totals.retries.retry-limit", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_that_the_policy_names_is_tried_again_up_to_its_limit),
		cmocka_unit_test(another_try_may_succeed_and_nothing_is_seen_of_the_first),
		cmocka_unit_test(a_status_that_the_policy_does_not_name_is_the_answer),
		cmocka_unit_test(without_a_policy_the_default_one_tries_503_again_and_resets_but_no_500),
		cmocka_unit_test(a_reset_before_the_answer_is_tried_again_where_no_response_is_an_event),
		cmocka_unit_test(an_answer_that_has_begun_is_never_tried_again),
		cmocka_unit_test(a_refused_connection_is_tried_again_where_that_is_an_event),
		cmocka_unit_test(other_endpoints_are_tried_before_one_is_tried_twice),
		cmocka_unit_test(a_body_of_up_to_64_kib_is_sent_again),
		cmocka_unit_test(a_longer_body_is_not_sent_again_once_it_went_by),
		cmocka_unit_test(what_comes_of_a_body_while_the_next_try_waits_goes_with_it),
		cmocka_unit_test(there_is_no_retry_beyond_the_time_of_the_request),
		cmocka_unit_test(a_node_has_a_budget_of_retries),
		cmocka_unit_test(a_program_may_go_while_the_next_try_waits),
		cmocka_unit_test(a_policy_without_retries_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
