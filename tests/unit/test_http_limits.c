/* SPDX-License-Identifier: Apache-2.0 */
/* What a server does about clients that ask too much, too slowly, or nonsense; and about handlers that answer nonsense. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"
#include "tests/unit/clock.h"
#include "tests/unit/http_answer.h"
#include "tests/unit/http_world.h"

#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* ---- nonsense ---- */

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static const char *const good[] = {
	GET("/a?b=c"),
	"PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
	"POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
	"DELETE /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nConnection: close\r\n\r\n",
};
static const char *const spoilers[] = { "\n", "\r", " ", "\t", ":", "\x01", "\x80", "%", "0", "-", "Content-Length: 1\r\n", "HTTP/1.1" };

/* A good request with one to three places spoiled: bytes left out, changed, doubled, or put in. May come out good. */
static size_t spoil(uint32_t *random, char request[512])
{
	size_t length = (size_t)snprintf(request, 512, "%s", good[random_next(random) % ARRAY_SIZE(good)]);

	for (uint32_t times = 1 + random_next(random) % 3; times > 0; times--) {
		const size_t at = random_next(random) % length;
		const char *spoiler = spoilers[random_next(random) % ARRAY_SIZE(spoilers)];

		switch (random_next(random) % 4) {
		case 0:
			memmove(request + at, request + at + 1, length - at);
			length--;
			break;
		case 1:
			request[at] = (char)random_next(random); /* also NUL */
			break;
		default:
			memmove(request + at + strlen(spoiler), request + at, length - at + 1);
			memcpy(request + at, spoiler, strlen(spoiler));
			length += strlen(spoiler);
			break;
		}
	}
	return length;
}

/* Answers to `length` bytes and the end, on a connection of its own. */
static void ask(struct fixture *f, const char *request, size_t length)
{
	buffer_clear(&f->received);
	EXPECT_OK(connect_client(f, 0));
	client_sends(f, 0, request, length);
	shutdown(f->clients[0], SHUT_WR);
	EXPECT(client_reads(f, 0, "never said", 1));
	f->clients[0] = fd_close(f->clients[0]);
}

static void ask_text(struct fixture *f, const char *request)
{
	ask(f, request, strlen(request));
}

static uint64_t refused_in_all(const struct fixture *f)
{
	uint64_t sum = 0;

	for (enum http_refusal i = 0; i < HTTP_REFUSAL_COUNT; i++)
		sum += refused(f, i);
	return sum;
}

TEST(of_10_000_spoiled_requests_each_is_answered_and_the_server_goes_on)
{
	struct fixture *f = *state;
	uint32_t random = 1;
	uint64_t bad = 0, kinds = 0;

	for (int i = 0; i < 10000; i++) {
		char request[512];
		const size_t length = spoil(&random, request);
		const uint64_t before = refused_in_all(f);
		const char *answer;

		ask(f, request, length);
		answer = buffer_string(&f->received);
		if (strncmp(answer, "HTTP/1.1 ", 9) != 0)
			fail_msg("'%.*s' is answered by '%s'", (int)length, request, answer);
		bad += refused_in_all(f) > before;
	}
	for (enum http_refusal i = 0; i < HTTP_REFUSAL_COUNT; i++)
		kinds += refused(f, i) > 0;
	EXPECT(bad > 5000);
	EXPECT(kinds >= 15);
	EXPECT_EQ(http_server_totals(f->server).open, 0);
	EXPECT_CONTAINS(answer_to(f, GET("/alive")), "200 OK");
}

TEST(what_follows_a_refused_request_is_not_looked_at)
{
	struct fixture *f = *state;
	static const char *const tries[] = {
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 40\r\n\r\n" GET("/smuggled"),
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
		"POST / HTTP/1.1\r\n" HOST "A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
		"POST / HTTP/1.1\r\n" HOST "A: b\nContent-Length: 40\r\n\r\n" GET("/smuggled"),
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab0\r\n\r\n" GET("/smuggled"),
		"GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" GET("/smuggled"),
		"CONNECT weft:1 HTTP/1.1\r\n" HOST "\r\n" GET("/smuggled"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(tries); i++)
		if (strstr(answer_to(f, tries[i]), "smuggled"))
			fail_msg("'%s' is answered by '%s'", tries[i], buffer_string(&f->received));
}

/* ---- too slowly, too much ---- */

TEST(clients_that_send_a_byte_now_and_then_do_not_keep_others_out_for_long)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		EXPECT_OK(connect_client(f, i));
		client_says(f, i, "GET / HTTP/1.1\r\n" HOST "X: ");
	}
	EXPECT_OK(connect_client(f, CONNECTIONS_MAX));
	client_says(f, CONNECTIONS_MAX, GET("/other"));
	for (int s = 0; s < 9; s++) {
		clock_skip(NSEC_PER_SEC);
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			client_says(f, i, "x");
	}
	turns(f);
	EXPECT_EQ(f->calls, 0);
	clock_skip(2 * NSEC_PER_SEC);
	turns(f);
	EXPECT_EQ(refused(f, HTTP_SLOW_HEAD), CONNECTIONS_MAX);
	clock_skip(3 * NSEC_PER_SEC); /* they were told, and are gone */
	EXPECT(!client_reads(f, CONNECTIONS_MAX, "/other", 1));
}

TEST(an_idle_connection_makes_room_and_one_between_two_requests_does_not)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		EXPECT_OK(connect_client(f, i));
	turns(f);
	clock_skip(5 * NSEC_PER_SEC);
	client_says(f, 0, GET("/first"));
	EXPECT(!client_reads(f, 0, "/first", 1));
	EXPECT_OK(connect_client(f, CONNECTIONS_MAX));
	client_says(f, CONNECTIONS_MAX, GET("/new"));
	EXPECT(!client_reads(f, CONNECTIONS_MAX, "/new", 1));
	EXPECT_EQ(refused(f, HTTP_GAVE_WAY), 1);
	EXPECT(client_reads(f, 1, "never said", 1)); /* the one that had been idle the longest */
	client_says(f, 0, GET("/second"));
	EXPECT(!client_reads(f, 0, "/second", 1));
}

TEST(a_client_that_pipelines_and_does_not_read_is_not_read_from)
{
	struct fixture *f = *state;
	_cleanup_(buffer_done) struct buffer requests = {};
	const uint64_t end_ns = test_now_ns() + 10 * NSEC_PER_SEC;
	size_t sent = 0;
	int quiet = 0, calls;

	for (int i = 0; i < 2000; i++)
		buffer_add(&requests, GET("/?large=3000"));
	EXPECT_OK(connect_client(f, 0));
	while (quiet < 20) { /* turns in which nothing goes on */
		ssize_t n = send(f->clients[0], requests.data + sent % requests.length, requests.length - sent % requests.length, MSG_NOSIGNAL);

		calls = f->calls;
		turns(f);
		sent += n > 0 ? (size_t)n : 0;
		quiet = n > 0 || f->calls > calls ? 0 : quiet + 1;
		EXPECT(test_now_ns() < end_ns);
	}
	/* What is answered fits into socket buffers and 64 KiB, what is asked into those and 64 KiB. */
	EXPECT(f->calls > 20 && f->calls < 1000);
	clock_skip(31 * NSEC_PER_SEC);
	turns(f);
	EXPECT_EQ(refused(f, HTTP_SLOW_READER), 1);
	EXPECT_EQ(http_server_totals(f->server).open, 0);
}

TEST(a_request_that_waits_for_its_answer_keeps_a_bounded_part_of_what_follows)
{
	struct fixture *f = *state;
	_cleanup_(buffer_done) struct buffer requests = {};
	size_t sent = 0;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, GET("/later"));
	for (int i = 0; i < 20000; i++)
		buffer_printf(&requests, "GET /%d HTTP/1.1\r\n" HOST "\r\n", i);
	for (int i = 0; i < 50; i++) {
		ssize_t n = send(f->clients[0], requests.data + sent, requests.length - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		turns(f);
	}
	EXPECT(sent < requests.length);
	EXPECT_EQ(f->calls, 1);
	http_reply(f->waiting, 200, NULL, NULL, 0);
	client_sends(f, 0, requests.data + sent, 0);
	for (int i = 0; f->calls == 1 || i < 100; i++)
		EXPECT(!client_receives(f, 0));
	EXPECT_CONTAINS(buffer_string(&f->received), "\"path\":\"/0\"");
	EXPECT_CONTAINS(buffer_string(&f->received), "\"path\":\"/100\"");
}

TEST(a_client_that_pipelines_thousands_of_requests_does_not_keep_others_waiting)
{
	struct fixture *f = *state;
	_cleanup_(buffer_done) struct buffer requests = {};

	for (int i = 0; i < 2000; i++)
		buffer_add(&requests, GET("/"));
	EXPECT_OK(connect_client(f, 0));
	EXPECT_OK(connect_client(f, 1));
	turns(f);
	EXPECT(send(f->clients[0], requests.data, requests.length, MSG_NOSIGNAL) > 1000 * (ssize_t)strlen(GET("/")));
	EXPECT_OK(loop_turn(f->loop, 0));
	EXPECT(f->calls > 0 && f->calls <= 100);
	EXPECT_EQ(send(f->clients[1], GET("/other"), strlen(GET("/other")), MSG_NOSIGNAL), strlen(GET("/other")));
	EXPECT(!client_reads(f, 1, "/other", 1));
	EXPECT(f->calls < 500);
	buffer_clear(&f->received);
	while (f->calls < 1000)
		EXPECT(!client_receives(f, 0));
}

TEST(a_body_that_waits_behind_a_request_is_taken_when_its_turn_comes)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, GET("/later") "PUT /next HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n01234");
	turns(f);
	client_says(f, 0, "56789" GET("/last"));
	turns(f);
	EXPECT_EQ(f->calls, 1);
	http_reply(f->waiting, 200, "text/plain", "x", 1);
	EXPECT(!client_reads(f, 0, "/last", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "\"path\":\"/next\",\"bytes\":10,\"body\":\"0123456789\"");
}

/* ---- handlers ---- */

static const char *header_name, *header_value, *content_type;

static void answer_badly(struct http_exchange *exchange, void *arg)
{
	const struct http_header header = { span_of(header_name), span_of(header_value) };

	(void)arg;
	http_answer(exchange, &(struct http_answer){ .status = 200, .content_type = content_type, .headers = &header, .header_count = 1, .body = SPAN("body\n") });
}

static const struct http_service bad_service = { .name = "bad", .handler = answer_badly, .connections_max = 8 };

TEST(a_header_that_would_break_the_answer_is_not_sent_and_counted)
{
	struct fixture *f = *state;
	static const struct {
		const char *name, *value, *type;
	} bad[] = {
		{ "X-A", "b\r\nSet-Cookie: c", "text/plain" }, { "X-A", "b\nc", "text/plain" }, { "X-A", "b\rc", "text/plain" },
		{ "X-A", "\x01", "text/plain" },	       { "X-A", "\x7f", "text/plain" }, { "X-A\r\nX-B", "c", "text/plain" },
		{ "X A", "b", "text/plain" },		       { "", "b", "text/plain" },	{ "X-A:", "b", "text/plain" },
		{ "X-A", "b", "text/plain\r\nX-B: c" },	       { "Content-Length", "0", "text/plain" }, { "transfer-encoding", "chunked", "text/plain" },
	};

	world_serve(f, &bad_service);
	header_name = "X-A", header_value = "b\tc \xc3\xa9", content_type = "text/plain";
	ask_text(f, GET("/"));
	EXPECT_STR(without_date(&f->received),
		   "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX-A: b\tc \xc3\xa9\r\n\r\nbody\n");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		header_name = bad[i].name, header_value = bad[i].value, content_type = bad[i].type;
		ask_text(f, GET("/"));
		EXPECT_STR(without_date(&f->received),
			   "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
			   "{\"error\":\"a header of the answer cannot be sent\"}\n");
	}
	EXPECT_EQ(refused(f, HTTP_BAD_ANSWER), ARRAY_SIZE(bad));
}

static struct buffer seen;

static void look(struct http_exchange *exchange, void *arg)
{
	const struct http_head *head = http_head(exchange);

	(void)arg;
	buffer_printf(&seen, "%s|%.*s", head->method, (int)head->target.length, head->target.data);
	for (size_t i = 0; i < head->header_count; i++)
		buffer_printf(&seen, "|%.*s=%.*s", (int)head->headers[i].name.length, head->headers[i].name.data,
			      (int)head->headers[i].value.length, head->headers[i].value.data);
	http_reply(exchange, 204, NULL, NULL, 0);
}

static void word(enum http_refusal refusal, struct http_answer *answer, void *arg)
{
	static const struct http_header type = { { "x-amzn-ErrorType", 16 }, { "BadRequest", 10 } };

	(void)arg;
	(void)refusal;
	answer->headers = &type;
	answer->header_count = 1;
	answer->body = SPAN("{}");
}

static const struct http_service raw_service = { .name = "raw", .handler = look, .refuse = word, .connections_max = 8, .body_limit_bytes = 8 };

TEST(a_handler_sees_the_bytes_of_the_head_and_a_service_words_its_refusals)
{
	struct fixture *f = *state;

	world_serve(f, &raw_service);
	ask_text(f, "PATCH /a%20b//../?z=1&a=%2f+ HTTP/1.1\r\nhost: weft\r\nX-Amz-Date:  1  2 \r\nx-amz-date: 3\r\n\r\n");
	EXPECT_STR(without_date(&f->received), "HTTP/1.1 204 No Content\r\n\r\n");
	EXPECT_STR(buffer_string(&seen), "PATCH|/a%20b//../?z=1&a=%2f+|host=weft|X-Amz-Date=1  2|x-amz-date=3");
	buffer_done(&seen);
	ask_text(f, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n");
	EXPECT_STR(without_date(&f->received), "HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
					       "Connection: close\r\nx-amzn-ErrorType: BadRequest\r\n\r\n{}");
	EXPECT_EQ(refused(f, HTTP_LARGE_BODY), 1);
}

/* ---- the end ---- */

static void count(void *arg)
{
	++*(int *)arg;
}

TEST(a_server_that_drains_answers_what_it_was_asked_and_lets_nobody_in)
{
	struct fixture *f = *state;
	int drained = 0;

	EXPECT_OK(connect_client(f, 0)); /* idle */
	EXPECT_OK(connect_client(f, 1));
	client_says(f, 1, GET("/later"));
	EXPECT_OK(connect_client(f, 2));
	client_says(f, 2, "PUT /half HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\na");
	turns(f);
	http_server_drain(f->server, count, &drained);
	EXPECT_EQ(drained, 0);
	EXPECT_EQ(connect_client(f, 3), -ECONNREFUSED);
	EXPECT(client_reads(f, 0, "never said", 1));
	EXPECT_EQ(f->received.length, 0);
	client_says(f, 2, "b");
	EXPECT(client_reads(f, 2, "never said", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "Connection: close");
	EXPECT_CONTAINS(buffer_string(&f->received), "\"body\":\"ab\"");
	f->clients[2] = fd_close(f->clients[2]);
	EXPECT_EQ(drained, 0);
	buffer_clear(&f->received);
	http_reply(f->waiting, 200, "text/plain", "late", 4);
	EXPECT(client_reads(f, 1, "never said", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "late");
	f->clients[1] = fd_close(f->clients[1]);
	turns(f);
	turns(f);
	EXPECT_EQ(drained, 1);
}

TEST(a_server_without_connections_is_drained_at_once_though_not_within_the_call)
{
	struct fixture *f = *state;
	int drained = 0;

	http_server_drain(f->server, count, &drained);
	EXPECT_EQ(drained, 0);
	turns(f);
	EXPECT_EQ(drained, 1);
}

#define ON_SERVER(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_SERVER(of_10_000_spoiled_requests_each_is_answered_and_the_server_goes_on),
		ON_SERVER(what_follows_a_refused_request_is_not_looked_at),
		ON_SERVER(clients_that_send_a_byte_now_and_then_do_not_keep_others_out_for_long),
		ON_SERVER(an_idle_connection_makes_room_and_one_between_two_requests_does_not),
		ON_SERVER(a_client_that_pipelines_and_does_not_read_is_not_read_from),
		ON_SERVER(a_request_that_waits_for_its_answer_keeps_a_bounded_part_of_what_follows),
		ON_SERVER(a_client_that_pipelines_thousands_of_requests_does_not_keep_others_waiting),
		ON_SERVER(a_body_that_waits_behind_a_request_is_taken_when_its_turn_comes),
		ON_SERVER(a_header_that_would_break_the_answer_is_not_sent_and_counted),
		ON_SERVER(a_handler_sees_the_bytes_of_the_head_and_a_service_words_its_refusals),
		ON_SERVER(a_server_that_drains_answers_what_it_was_asked_and_lets_nobody_in),
		ON_SERVER(a_server_without_connections_is_drained_at_once_though_not_within_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
