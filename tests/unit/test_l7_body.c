/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies, each way: framed as whoever reads them must have them, of any length, in bounded memory, and never whole where they were cut. */
#include <sys/socket.h>

#include "tests/unit/l7_world.h"

#define LARGE_BYTES (100u * 1000 * 1000)

static struct l7_world *world(void)
{
	struct l7_world *w = l7_world_new(1);

	given_http_route(w, "r", "{'prefix':'/'}", "11",
			 "'retryPolicy':{'maxRetries':0,'perRetryTimeout':{'value':0,'unit':'s'},'httpRetryEvents':['server-error']}");
	world_configure(w);
	return w;
}

/* A request to an endpoint that the test plays, and its answer as it comes. */
static void answered(struct l7_world *w, const char *request, const char *answer, struct message *ret_message)
{
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};
	static struct buffer head;

	program(w, &p);
	http_codec_answers_head(p.codec, !strncmp(request, "HEAD ", 5));
	wire_say(&p, request);
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, answer);
	wire_close(&e);
	wire_read(&p, ret_message);
	buffer_done(&head);
	buffer_add(&head, ret_message->head);
	ret_message->head = buffer_string(&head);
}

TEST(answers_are_framed_as_the_program_can_read_them)
{
	static const struct {
		const char *request, *answer;
		int status;
		const char *body, *in_head, *not_in_head;
	} rows[] = {
		{ GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", "Content-Length: 2", "chunked" },
		{ GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi", "transfer-encoding: chunked",
		  "ength" },
		{ GET("/"), "HTTP/1.1 200 OK\r\n\r\nhi", 200, "hi", "transfer-encoding: chunked", "close" },
		{ GET("/"), "HTTP/1.0 200 OK\r\n\r\nhi", 200, "hi", "HTTP/1.1 200 OK\r\n", "close" },
		{ GET("/"), "HTTP/1.1 200 OK\r\n\r\n", 200, "", "transfer-encoding: chunked", "close" },
		{ "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi",
		  "connection: close", "chunked" },
		{ GET("/"), "HTTP/1.1 204 No\r\n\r\n", 204, "", "204 No Content", "chunked" },
		{ GET("/"), "HTTP/1.1 304 Not\r\nContent-Length: 10\r\n\r\n", 304, "", "Content-Length: 10", "chunked" },
		{ "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", 200, "", "Content-Length: 10", "chunked" },
		{ "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", "server: envoy", "chunked" },
		{ GET("/"), "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", "200 OK", "Link" },
		{ GET("/"), "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", 418, "", "HTTP/1.1 418 \r\n", "chunked" },
	};
	_cleanup_world_ struct l7_world *w = world();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_message_ struct message m = {};

		answered(w, rows[i].request, rows[i].answer, &m);
		EXPECT(m.whole);
		EXPECT_EQ(m.status, rows[i].status);
		EXPECT_STR(m.body, rows[i].body);
		EXPECT_CONTAINS(m.head, rows[i].in_head);
		EXPECT(!strstr(m.head, rows[i].not_in_head));
	}
	EXPECT_COUNT(w, "totals.open", 0);
}

TEST(an_answer_that_its_endpoint_cuts_is_never_whole)
{
	static const struct {
		const char *request, *answer;
	} rows[] = {
		{ GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf" },
		{ GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" },
		{ GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n" },
		{ GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n" },
		{ GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n" },
		{ "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf" },
	};
	_cleanup_world_ struct l7_world *w = world();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_message_ struct message m = {};

		answered(w, rows[i].request, rows[i].answer, &m);
		EXPECT(m.status == 200 || m.status == 0); /* a reset may overtake what was said */
		EXPECT(!m.whole);
	}
	EXPECT_REPLY(w, "response-cut-off", (int64_t)ARRAY_SIZE(rows));
	EXPECT_COUNT(w, "rows.codes.2xx", (int64_t)ARRAY_SIZE(rows));
}

TEST(an_answer_that_is_malformed_is_cut_or_replaced)
{
	static const struct {
		const char *answer;
		int status; /* 0: cut */
	} rows[] = {
		{ "HELLO\r\n\r\n", 502 },
		{ "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502 },
		{ "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", 502 },
		{ "HTTP/1.1 099 Odd\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502 },
		{ "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 502 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", 0 },
	};
	_cleanup_world_ struct l7_world *w = world();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_message_ struct message m = {};

		answered(w, GET("/"), rows[i].answer, &m);
		EXPECT_EQ(m.whole, rows[i].status != 0);
		EXPECT(!rows[i].status || m.status == rows[i].status);
	}
	EXPECT_REPLY(w, "upstream-protocol", (int64_t)ARRAY_SIZE(rows) - 1);
	EXPECT_REPLY(w, "response-protocol", 1);
}

TEST(a_head_of_an_answer_that_is_too_long_is_replaced)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_message_ struct message m = {};
	_cleanup_(buffer_done) struct buffer answer = {};

	buffer_add(&answer, "HTTP/1.1 200 OK\r\nX-Long: ");
	for (int i = 0; i < 7000; i++)
		buffer_add(&answer, "0123456789");
	buffer_add(&answer, "\r\nContent-Length: 0\r\n\r\n");
	answered(w, GET("/"), buffer_string(&answer), &m);
	EXPECT_EQ(m.status, 502);
	EXPECT_REPLY(w, "upstream-protocol", 1);
}

TEST(who_expects_100_is_told_to_go_on)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p;
	_cleanup_message_ struct message m = {}, n = {};

	backend_serve(w, 1);
	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n");
	wire_read(&p, &m);
	EXPECT_EQ(m.status, 100);
	wire_say(&p, "body");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 200);
	EXPECT_CONTAINS(n.body, "\r\n\r\nbody");
	EXPECT(!strcasestr(n.body, "Expect:"));
}

TEST(an_answer_may_come_before_the_request_is_whole)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf");
	backend_accept(w, 1, &e);
	wire_read_to_head(&e, &m);
	wire_say(&e, "HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nno!");
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 413);
	EXPECT_STR(n.body, "no!");
	EXPECT_EQ(wire_next(&p), WIRE_END); /* the rest is not waited for */
	EXPECT_COUNT(w, "totals.upstreamOpen", 0);
}

TEST(an_endpoint_that_answers_early_and_resets_is_heard)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	static const char more[200000];

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nhalf");
	backend_accept(w, 1, &e);
	wire_read_to_head(&e, &m);
	wire_say(&e, "HTTP/1.1 413 Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
	wire_close(&e);
	/* Sent on to nobody: the reset that this gives must not take the answer along. */
	send(p.fd, more, sizeof(more), MSG_NOSIGNAL | MSG_DONTWAIT);
	wire_read(&p, &n);
	EXPECT_EQ(n.status, 413);
	EXPECT_STR(n.body, "no!");
}

/* --- long ones --- */

struct sender {
	struct wire *wire;
	const char *head;
	bool chunked;
};

static void *say_large(void *arg)
{
	const struct sender *s = arg;
	static char piece[26 * 2500];
	char size[16];

	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = world_byte(i);
	send(s->wire->fd, s->head, strlen(s->head), MSG_NOSIGNAL);
	for (size_t sent = 0; sent < LARGE_BYTES;) {
		const size_t n = MIN(sizeof(piece), LARGE_BYTES - sent);

		if (s->chunked && send(s->wire->fd, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n), MSG_NOSIGNAL) < 0)
			break;
		for (size_t at = 0; at < n;) {
			const ssize_t r = send(s->wire->fd, piece + at, n - at, MSG_NOSIGNAL);

			if (r < 0)
				return NULL;
			at += (size_t)r;
		}
		if (s->chunked && send(s->wire->fd, "\r\n", 2, MSG_NOSIGNAL) < 0)
			break;
		sent += n;
	}
	if (s->chunked)
		send(s->wire->fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
	return NULL;
}

static void expect_large(const struct message *m)
{
	EXPECT(m->whole);
	EXPECT_EQ(m->length, LARGE_BYTES);
	for (size_t i = 0; i < m->length; i++)
		if (m->body[i] != world_byte(i))
			fail_msg("byte %zu is another one", i);
}

static void given_large(const char *head, bool chunked)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message up = {}, down = {};
	struct sender from_program = { &p, head, chunked };
	struct sender from_endpoint = { &e, chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" :
						      "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", chunked };
	pthread_t thread;

	program(w, &p);
	assert_int_equal(pthread_create(&thread, NULL, say_large, &from_program), 0);
	backend_accept(w, 1, &e);
	wire_read(&e, &up);
	pthread_join(thread, NULL);
	expect_large(&up);
	assert_int_equal(pthread_create(&thread, NULL, say_large, &from_endpoint), 0);
	wire_read(&p, &down);
	pthread_join(thread, NULL);
	expect_large(&down);
	EXPECT_COUNT(w, "rows.bytesReceived", LARGE_BYTES);
	EXPECT_COUNT(w, "rows.bytesSent", LARGE_BYTES);
}

TEST(bodies_of_100_megabytes_arrive_as_they_were_sent)
{
	given_large("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", false);
}

TEST(chunked_bodies_of_100_megabytes_arrive_as_they_were_sent)
{
	given_large("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", true);
}

static void expect_rest(struct wire *wire, size_t length)
{
	char *bytes = malloc(length);

	EXPECT_EQ(wire_read_raw(wire, bytes, length), length);
	free(bytes);
}

TEST(a_program_that_does_not_read_stops_its_endpoint_and_then_gets_all)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	size_t sent;

	program(w, &p);
	wire_say(&p, GET("/"));
	backend_accept(w, 1, &e);
	wire_read(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
	wire_read_to_head(&p, &n);
	sent = wire_fill_up(&e);
	expect_rest(&p, sent);
	sent = wire_fill_up(&e);
	expect_rest(&p, sent);
}

TEST(an_endpoint_that_does_not_read_stops_its_program_and_then_gets_all)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};
	size_t sent;

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
	backend_accept(w, 1, &e);
	wire_read_to_head(&e, &m);
	for (int i = 0; i < 2; i++) {
		sent = wire_fill_up(&p);
			expect_rest(&e, sent);
	}
}

TEST(both_directions_at_once_stop_and_go_on)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {}, n = {};
	size_t up, down;

	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
	backend_accept(w, 1, &e);
	wire_read_to_head(&e, &m);
	wire_say(&e, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
	wire_read_to_head(&p, &n);
	for (int i = 0; i < 2; i++) {
		up = wire_fill_up(&p);
		down = wire_fill_up(&e);
		if (i) {
			expect_rest(&e, up);
			expect_rest(&p, down);
		} else {
			expect_rest(&p, down);
			expect_rest(&e, up);
		}
	}
}

TEST(bodies_of_many_small_chunks_to_a_slow_endpoint_arrive)
{
	_cleanup_world_ struct l7_world *w = world();
	_cleanup_wire_ struct wire p, e;
	_cleanup_message_ struct message m = {};
	_cleanup_(buffer_done) struct buffer chunks = {};
	char *bytes;

	for (int i = 0; i < 100000; i++)
		buffer_add(&chunks, "1\r\nx\r\n");
	program(w, &p);
	wire_say(&p, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	backend_accept(w, 1, &e);
	assert_int_equal(setsockopt(e.fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int)), 0);
	wire_read_to_head(&e, &m);
	wire_say_bytes(&p, chunks.data, chunks.length);
	bytes = malloc(chunks.length);
	EXPECT_EQ(wire_read_raw(&e, bytes, chunks.length), chunks.length);
	EXPECT(!memcmp(bytes, chunks.data, chunks.length));
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_framed_as_the_program_can_read_them),
		cmocka_unit_test(an_answer_that_its_endpoint_cuts_is_never_whole),
		cmocka_unit_test(an_answer_that_is_malformed_is_cut_or_replaced),
		cmocka_unit_test(a_head_of_an_answer_that_is_too_long_is_replaced),
		cmocka_unit_test(who_expects_100_is_told_to_go_on),
		cmocka_unit_test(an_answer_may_come_before_the_request_is_whole),
		cmocka_unit_test(an_endpoint_that_answers_early_and_resets_is_heard),
		cmocka_unit_test(bodies_of_100_megabytes_arrive_as_they_were_sent),
		cmocka_unit_test(chunked_bodies_of_100_megabytes_arrive_as_they_were_sent),
		cmocka_unit_test(a_program_that_does_not_read_stops_its_endpoint_and_then_gets_all),
		cmocka_unit_test(an_endpoint_that_does_not_read_stops_its_program_and_then_gets_all),
		cmocka_unit_test(both_directions_at_once_stop_and_go_on),
		cmocka_unit_test(bodies_of_many_small_chunks_to_a_slow_endpoint_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
