/* SPDX-License-Identifier: Apache-2.0 */
/* Times of requests: of all of one, of each try, without activity; and what is answered when one is over. The times in here are short, so
 * they are waited for. */
#include <dirent.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/l7/turn.h"
#include "tests/unit/l7_world.h"

#define REQUEST_MS(ms) "'timeout':{'perRequest':{'value':" #ms ",'unit':'ms'}}"
#define IDLE_MS(ms) "'timeout':{'idle':{'value':" #ms ",'unit':'ms'},'perRequest':{'value':0,'unit':'ms'}}"
#define TRIES(max, ms) "'retryPolicy':{'maxRetries':" #max ",'perRetryTimeout':{'value':" #ms ",'unit':'ms'},'httpRetryEvents':['server-error']}"

static struct l7_world *world(const char *more)
{
	struct l7_world *w = l7_world_new(1);

	given_http_route(w, "r", "{'prefix':'/'}", "11", more);
	world_configure(w);
	return w;
}

/* One that is read and not answered, and what the program gets. */
static void left_alone(struct l7_world *w, const char *request, struct message *ret_message)
{
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};

	program(w, &p);
	wire_say(&p, request);
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_read(&p, ret_message);
	EXPECT(wire_next(&e) != WIRE_BYTES); /* the endpoint is told */
}

TEST(a_request_without_an_answer_in_time_is_answered_504)
{
	_cleanup_world_ struct l7_world *w = world(REQUEST_MS(50));
	_cleanup_message_ struct message m = {};

	left_alone(w, GET("/"), &m);
	EXPECT_EQ(m.status, 504);
	EXPECT_STR(m.body, "upstream request timeout");
	EXPECT_REPLY(w, "request-timeout", 1);
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
}

TEST(the_connection_of_a_program_outlives_a_timeout)
{
	_cleanup_world_ struct l7_world *w = world(REQUEST_MS(500));
	_cleanup_wire_ struct wire p, e, e2;
	_cleanup_message_ struct message m = {}, n = {}, k = {}, l = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 504);
	wire_say(&p, GET("/again"));
	backend_accept(w, 1, &e2);
	wire_read(&e2, &k);
	wire_say(&e2, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&p, &l);
	EXPECT_EQ(l.status, 200);
}

TEST(the_time_of_a_request_covers_its_answer)
{
	_cleanup_world_ struct l7_world *w = world(REQUEST_MS(500));
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 200);
	EXPECT(!n.whole);
	EXPECT_REPLY(w, "response-timeout", 1);
}

TEST(the_time_of_a_request_begins_when_it_is_whole)
{
	_cleanup_world_ struct l7_world *w = world(REQUEST_MS(500));
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	const uint64_t began_ns = test_now_ns();

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
	backend_accept(w, 1, &e);
	wire_read_to_head(&e, &m);
	WAIT_FOR(test_now_ns() > began_ns + 600 * NSEC_PER_MSEC, 5 * NSEC_PER_SEC); /* the body takes longer than that */
	wire_say(&p, "hi");
	message_done(&m);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 200);
}

TEST(zero_is_no_time_at_all_for_no_one)
{
	_cleanup_world_ struct l7_world *w = world("'timeout':{'idle':{'value':0,'unit':'s'},'perRequest':{'value':0,'unit':'s'}}");
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	uint64_t began_ns;

	given_targets(w, "'timeout':{'idle':{'value':0,'unit':'s'},'perRequest':{'value':0,'unit':'s'}}");
	world_configure(w);
	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	began_ns = test_now_ns();
	WAIT_FOR(test_now_ns() > began_ns + 100 * NSEC_PER_MSEC, NSEC_PER_SEC);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 200);
}

TEST(the_listeners_time_counts_where_it_is_shorter)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11", REQUEST_MS(5000));
	given_targets(w, REQUEST_MS(50));
	world_configure(w);
	left_alone(w, GET("/"), &m);
	EXPECT_EQ(m.status, 504);
}

TEST(an_answer_that_stops_is_cut_and_one_that_goes_on_is_not)
{
	_cleanup_world_ struct l7_world *w = world(IDLE_MS(500));
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	uint64_t began_ns;

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	began_ns = test_now_ns();
	for (int i = 0; i < 10; i++) { /* longer than the idle time, in all */
		WAIT_FOR(test_now_ns() > began_ns + (uint64_t)i * 75 * NSEC_PER_MSEC, 5 * NSEC_PER_SEC);
		wire_say(&e, "x");
	}
	wire_read(&p, &n);
	EXPECT(!n.whole);
	EXPECT_EQ(n.length, 10);
	EXPECT_REPLY(w, "response-idle", 1);
}

TEST(an_endpoint_that_says_nothing_is_idle)
{
	_cleanup_world_ struct l7_world *w = world(IDLE_MS(50));
	_cleanup_message_ struct message m = {};

	left_alone(w, GET("/"), &m);
	EXPECT_EQ(m.status, 504);
	EXPECT_STR(m.body, "stream timeout");
	EXPECT_REPLY(w, "idle-timeout", 1);
}

TEST(a_program_that_stops_within_its_body_is_answered_408)
{
	_cleanup_world_ struct l7_world *w = world(IDLE_MS(50));
	_cleanup_wire_ struct wire p;
	_cleanup_message_ struct message m = {};

	backend_serve(w, 1);
	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
	wire_read(&p, &m);
	EXPECT_EQ(m.status, 408);
	EXPECT_EQ(wire_next(&p), WIRE_END);
	EXPECT_REPLY(w, "slow-request", 1);
}

TEST(a_try_that_takes_too_long_is_made_again_and_the_last_is_answered_504)
{
	_cleanup_world_ struct l7_world *w = world(TRIES(2, 50));
	_cleanup_wire_ struct wire p;
	_cleanup_message_ struct message m = {};

	program(w, &p);
	wire_say(&p, GET("/"));
	for (int i = 0; i < 3; i++) {
		_cleanup_wire_ struct wire e;
		_cleanup_message_ struct message n = {};

		backend_accept(w, 1, &e);
		wire_read(&e, &n);
		EXPECT(wire_next(&e) != WIRE_BYTES);
	}
	wire_read(&p, &m);
	EXPECT_EQ(m.status, 504);
	EXPECT_REPLY(w, "try-timeout", 1);
	EXPECT_COUNT(w, "totals.retries.retry", 2);
}

TEST(the_time_of_a_try_ends_with_the_head_of_its_answer)
{
	_cleanup_world_ struct l7_world *w = world(TRIES(2, 500));
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	uint64_t began_ns;

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
	began_ns = test_now_ns();
	WAIT_FOR(test_now_ns() > began_ns + 600 * NSEC_PER_MSEC, 5 * NSEC_PER_SEC);
	wire_say(&e, "lf");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 200);
	EXPECT(n.whole);
}

TEST(a_connection_that_does_not_come_about_is_given_up)
{
	_cleanup_world_ struct l7_world *w = world("'retryPolicy':{'maxRetries':0,'perRetryTimeout':{'value':0,'unit':'s'},"
						   "'httpRetryEvents':['server-error']}");
	struct wire fill[4] = {};
	int status;

	/* Nobody accepts, and the queue is full: a further SYN is not answered. */
	assert_int_equal(listen(w->backends[0].fd, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fill); i++) {
		program(w, &fill[i]);
		wire_say(&fill[i], GET("/"));
		EXPECT_COUNT(w, "totals.upstreamConnections", (int64_t)i + 1);
	}
	status = ask_status(w, GET("/"));
	EXPECT_EQ(status, 503);
	EXPECT(world_counted(w, "totals.replies.connect-timeout") >= 1);
	for (size_t i = 0; i < ARRAY_SIZE(fill); i++)
		wire_done(&fill[i]);
}

TEST(many_timeouts_at_once_are_all_told)
{
	enum { REQUESTS = 50 };
	_cleanup_world_ struct l7_world *w = world(REQUEST_MS(50) "," TRIES(5, 20));
	struct wire *p = calloc(REQUESTS, sizeof(*p));

	for (int i = 0; i < REQUESTS; i++) {
		program(w, &p[i]);
		wire_say(&p[i], GET("/"));
	}
	for (int i = 0; i < REQUESTS; i++) {
		_cleanup_message_ struct message m = {};

		wire_read(&p[i], &m);
		EXPECT_EQ(m.status, 504);
		wire_done(&p[i]);
	}
	EXPECT_COUNT(w, "totals.requestsActive", 0);
	EXPECT_COUNT(w, "rows.codes.5xx", REQUESTS);
	free(p);
}

/* How long a turn of a thread is, as sched_getattr(2) has it; 0: the kernel does not tell. */
static uint64_t turn_ns(int thread)
{
	struct turn_attributes attributes = { .size = sizeof(attributes) };

	EXPECT_EQ(syscall(SYS_sched_getattr, thread, &attributes, sizeof(attributes), 0), 0);
	return attributes.runtime_ns;
}

static bool is_worker(const char *thread)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", thread);
	file = fopen(path, "re");
	EXPECT(file);
	EXPECT(fgets(name, sizeof(name), file));
	fclose(file);
	return !strcmp(name, "weft-l7-0\n");
}

TEST(a_worker_asks_for_turns_as_short_as_there_are)
{
	_cleanup_world_ struct l7_world *w = world(REQUEST_MS(5000));
	_cleanup_wire_ struct wire p, e;
	int worker = 0;
	DIR *threads;

	if (!turn_ns(0))
		skip(); /* before Linux 6.12 */
	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e); /* it is at work */
	threads = opendir("/proc/self/task");
	EXPECT(threads);
	for (struct dirent *entry; (entry = readdir(threads));)
		if (entry->d_name[0] != '.' && is_worker(entry->d_name))
			worker = atoi(entry->d_name);
	closedir(threads);
	EXPECT(worker);
	EXPECT_EQ(turn_ns(worker), 100000);
	EXPECT(turn_ns(0) > turn_ns(worker));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_without_an_answer_in_time_is_answered_504),
		cmocka_unit_test(the_connection_of_a_program_outlives_a_timeout),
		cmocka_unit_test(the_time_of_a_request_covers_its_answer),
		cmocka_unit_test(the_time_of_a_request_begins_when_it_is_whole),
		cmocka_unit_test(zero_is_no_time_at_all_for_no_one),
		cmocka_unit_test(the_listeners_time_counts_where_it_is_shorter),
		cmocka_unit_test(an_answer_that_stops_is_cut_and_one_that_goes_on_is_not),
		cmocka_unit_test(an_endpoint_that_says_nothing_is_idle),
		cmocka_unit_test(a_program_that_stops_within_its_body_is_answered_408),
		cmocka_unit_test(a_try_that_takes_too_long_is_made_again_and_the_last_is_answered_504),
		cmocka_unit_test(the_time_of_a_try_ends_with_the_head_of_its_answer),
		cmocka_unit_test(a_connection_that_does_not_come_about_is_given_up),
		cmocka_unit_test(many_timeouts_at_once_are_all_told),
		cmocka_unit_test(a_worker_asks_for_turns_as_short_as_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
