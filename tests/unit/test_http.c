/* SPDX-License-Identifier: Apache-2.0 */
/* The server: real sockets, the loop turned by the test. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/http/http.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"
#include "tests/unit/clock.h"
#include "tests/unit/http_answer.h"
#include "tests/unit/http_world.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)

TEST(a_request_is_handed_over_whole_and_answered)
{
	struct fixture *f = *state;

	answer_to(f, "PUT /v1/x%20y?a=b HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
	EXPECT_STR(without_date(&f->received),
		   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 59\r\n\r\n"
			   "{\"method\":\"PUT\",\"path\":\"/v1/x y\",\"bytes\":5,\"body\":\"hello\"}\n");
	EXPECT_EQ(f->peer_pid, getpid());
}

TEST(a_connection_carries_many_requests_also_sent_at_once)
{
	struct fixture *f = *state;
	_cleanup_(buffer_done) struct buffer requests = {};

	EXPECT_OK(connect_client(f, 0));
	for (int i = 0; i < 1000; i++)
		buffer_printf(&requests,
			      "POST /%d HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", i);
	client_sends(f, 0, requests.data, requests.length);
	EXPECT(!client_reads(f, 0, "HTTP/1.1 200 OK", 1000));
	EXPECT(!client_reads(f, 0, "\"path\":\"/999\"", 1)); /* nothing but these, and in their order */
	for (const char *p = buffer_string(&f->received), *last = p; (p = strstr(p, "\"path\":\"/")); last = p++)
		EXPECT(last == f->received.data || strtol(p + 9, NULL, 10) == strtol(last + 9, NULL, 10) + 1);

	buffer_clear(&f->received);
	client_says(f, 0, "GET /again HTTP/1.1\r\n" HOST "\r\n");
	EXPECT(!client_reads(f, 0, "/again", 1));
	EXPECT_EQ(f->calls, 1001);
}

TEST(http_1_0_and_connection_close_end_the_connection_after_the_answer)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET /one HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /two HTTP/1.1\r\n" HOST "\r\n");
	EXPECT(client_reads(f, 0, "never said", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "Connection: close");
	EXPECT_EQ(f->calls, 1);

	buffer_clear(&f->received);
	EXPECT_OK(connect_client(f, 1));
	client_says(f, 1, "GET /one HTTP/1.0\r\n\r\n");
	EXPECT(client_reads(f, 1, "never said", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "Connection: close");

	buffer_clear(&f->received);
	EXPECT_OK(connect_client(f, 2));
	client_says(f, 2, "GET /one HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	EXPECT(!client_reads(f, 2, "/one", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "Connection: keep-alive");
	client_says(f, 2, "GET /two HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	EXPECT(!client_reads(f, 2, "/two", 1));
}

TEST(a_client_that_expects_it_is_told_to_continue)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	EXPECT(!client_reads(f, 0, "100 Continue\r\n\r\n", 1));
	EXPECT_STR(buffer_string(&f->received), "HTTP/1.1 100 Continue\r\n\r\n");
	client_says(f, 0, "ab");
	EXPECT(!client_reads(f, 0, "\"body\":\"ab\"", 1));

	buffer_clear(&f->received);
	client_says(f, 0, "PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
	EXPECT(client_reads(f, 0, "never said", 1)); /* and is told that it need not send it */
	EXPECT_EQ(strncmp(f->received.data, "HTTP/1.1 413 Content Too Large", 30), 0);
}

static const struct {
	const char *request, *answer;
} refusals[] = {
	{ "HELLO\r\n\r\n", "HTTP/1.1 400 Bad Request" },
	{ "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request" },
	{ "GET / HTTP/1.1\r\n" HOST HOST "\r\n", "HTTP/1.1 400 Bad Request" },
	{ "GET /#a HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 Bad Request" },
	{ "GET weft:1 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 Bad Request" },
	{ "GET / HTTP/2.0\r\n" HOST "\r\n", "HTTP/1.1 505 HTTP Version" },
	{ "GET / HTTP/1.1\r\n" HOST "Expect: wonders\r\n\r\n", "HTTP/1.1 417 Expectation" },
	{ "PATCH / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab", "HTTP/1.1 405 Method" },
	{ "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 405 Method" },
	{ "CONNECT weft:1 HTTP/1.1\r\n" HOST "\r\n\1\2", "HTTP/1.1 405 Method" },
};

TEST(what_cannot_be_a_request_here_is_refused_as_json)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const char *answer = answer_to(f, refusals[i].request), *body = strstr(answer, "\r\n\r\n");
		_cleanup_json_ json_t *json = NULL;

		if (strncmp(answer, refusals[i].answer, strlen(refusals[i].answer)) != 0)
			fail_msg("'%s' is answered by: %s", refusals[i].request, answer);
		EXPECT_CONTAINS(answer, "Connection: close");
		EXPECT_OK(json_parse(body, strlen(body), &json, NULL));
		EXPECT(json_path_string(json, "error"));
	}
	EXPECT_CONTAINS(answer_to(f, "PATCH / HTTP/1.1\r\n" HOST "\r\n"), "Allow: GET, PUT, POST, DELETE\r\n");
	EXPECT_STR(strstr(answer_to(f, "HEAD / HTTP/1.1\r\n" HOST "\r\n"), "\r\n\r\n"), "\r\n\r\n");
	EXPECT_EQ(f->calls, 0);
}

TEST(a_target_whose_escapes_give_no_text_is_for_the_handler_to_refuse_and_the_connection_goes_on)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET /%00 HTTP/1.1\r\n" HOST "\r\nGET /fine HTTP/1.1\r\n" HOST "\r\n");
	EXPECT(!client_reads(f, 0, "/fine", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "HTTP/1.1 400 Bad Request");
	EXPECT_EQ(refused(f, HTTP_BAD_TARGET), 1);
	EXPECT_EQ(http_server_totals(f->server).counters.requests, 2);
}

static void send_body(struct fixture *f, size_t bytes, bool chunked)
{
	_cleanup_(buffer_done) struct buffer request = {};

	buffer_printf(&request, "PUT / HTTP/1.1\r\n" HOST);
	if (!chunked)
		buffer_printf(&request, "Content-Length: %zu\r\n\r\n", bytes);
	else
		buffer_add(&request, "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t sent = 0; sent < bytes;) {
		size_t piece = MIN(bytes - sent, (size_t)8000);

		if (chunked)
			buffer_printf(&request, "%zx\r\n", piece);
		buffer_printf(&request, "%0*d%s", (int)piece, 0, chunked ? "\r\n" : "");
		sent += piece;
	}
	if (chunked)
		buffer_add(&request, "0\r\n\r\n");
	buffer_clear(&f->received);
	EXPECT_OK(connect_client(f, 0));
	client_sends(f, 0, request.data, request.length);
	client_reads(f, 0, "}\n", 1);
	f->clients[0] = fd_close(f->clients[0]);
}

TEST(bodies_up_to_the_limit_are_taken_and_larger_ones_refused)
{
	struct fixture *f = *state;

	for (int chunked = 0; chunked < 2; chunked++) {
		send_body(f, BODY_LIMIT_BYTES, chunked);
		EXPECT_CONTAINS(buffer_string(&f->received), "\"bytes\":1048576");
		send_body(f, BODY_LIMIT_BYTES + 1, chunked);
		EXPECT_CONTAINS(buffer_string(&f->received), "HTTP/1.1 413 ");
	}
	EXPECT_EQ(f->calls, 2);
}

TEST(heads_larger_than_16_kib_are_refused)
{
	struct fixture *f = *state;
	char request[HTTP_HEAD_LIMIT_BYTES + 64];

	snprintf(request, sizeof(request), "GET /%0*d HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_LIMIT_BYTES, 0);
	EXPECT_CONTAINS(answer_to(f, request), "HTTP/1.1 414 URI Too Long");
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\n" HOST "A: %0*d\r\n\r\n", HTTP_HEAD_LIMIT_BYTES, 0);
	EXPECT_CONTAINS(answer_to(f, request), "HTTP/1.1 431 Request Header Fields Too Large");
	EXPECT_EQ(refused(f, HTTP_LONG_TARGET), 1);
	EXPECT_EQ(refused(f, HTTP_LARGE_HEAD), 1);
}

TEST(an_error_becomes_a_status_and_names_its_field)
{
	struct fixture *f = *state;
	static const struct {
		int code, status;
	} cases[] = { { EINVAL, 400 }, { ENOENT, 404 },     { EEXIST, 409 }, { EBUSY, 409 },
		      { E2BIG, 413 },  { EOPNOTSUPP, 501 }, { ENOSPC, 507 }, { EIO, 500 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char request[128], expected[32];
		const char *answer;

		snprintf(request, sizeof(request), "GET /error?code=%d HTTP/1.1\r\n" HOST "\r\n", cases[i].code);
		snprintf(expected, sizeof(expected), "HTTP/1.1 %d ", cases[i].status);
		answer = answer_to(f, request);
		EXPECT_EQ(strncmp(answer, expected, strlen(expected)), 0);
		EXPECT_CONTAINS(answer, "{\"error\":\"no \\\"good\\\"\",\"field\":\"spec.listeners\"}\n");
	}
}

TEST(an_answer_may_come_later_and_the_next_request_waits_for_it)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET /later HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n" HOST "\r\n");
	turns(f);
	EXPECT_EQ(f->calls, 1);
	clock_skip(600 * NSEC_PER_SEC); /* as late as it likes */
	turns(f);
	http_reply(f->waiting, 202, "text/plain", "late", 4);
	EXPECT(!client_reads(f, 0, "/next", 1));
	EXPECT_EQ(strncmp(f->received.data, "HTTP/1.1 202 Accepted", 21), 0);
	EXPECT_EQ(f->calls, 2);
}

TEST(an_exchange_outlives_its_client)
{
	struct fixture *f = *state;
	struct http_exchange *waiting;
	size_t bytes;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "PUT /later?x=y HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
	turns(f);
	waiting = f->waiting;
	EXPECT(waiting != NULL);
	f->clients[0] = fd_close(f->clients[0]);
	turns(f);
	EXPECT_STR(http_query(waiting, "x"), "y");
	EXPECT_STR(http_body(waiting, &bytes), "ab");
	http_reply_json(waiting, 200, json_object());
	turns(f);
	EXPECT_CONTAINS(answer_to(f, "GET /alive HTTP/1.1\r\n" HOST "\r\n"), "200 OK");
}

TEST(an_exchange_outlives_the_server)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET /later HTTP/1.1\r\n" HOST "\r\n");
	turns(f);
	f->server = http_server_free(f->server);
	EXPECT_EQ(access(f->path, F_OK), -1);
	EXPECT(client_reads(f, 0, "never said", 1));
	http_reply_json(f->waiting, 200, json_object());
	turns(f);
}

TEST(a_handler_may_free_the_server)
{
	struct fixture *f = *state;

	f->free_server = true;
	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET /one HTTP/1.1\r\n" HOST "\r\nGET /two HTTP/1.1\r\n" HOST "\r\n");
	EXPECT(client_reads(f, 0, "never said", 1));
	EXPECT_EQ(f->calls, 1);
}

TEST(a_large_answer_waits_for_its_reader_and_for_30_seconds_without_one)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET /?large=8000000 HTTP/1.1\r\n" HOST "\r\n");
	turns(f);
	clock_skip(29 * NSEC_PER_SEC);
	turns(f);
	while (f->received.length < 1000000)
		EXPECT(!client_receives(f, 0));
	clock_skip(29 * NSEC_PER_SEC); /* what was taken has begun the time anew */
	client_says(f, 0, "GET /next HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	EXPECT(client_reads(f, 0, "never said", 1));
	EXPECT(f->received.length > 8000000);
	EXPECT_CONTAINS(f->received.data + f->received.length - 40, "/next");

	buffer_clear(&f->received);
	EXPECT_OK(connect_client(f, 1));
	client_says(f, 1, "GET /?large=8000000 HTTP/1.1\r\n" HOST "\r\n");
	turns(f);
	clock_skip(31 * NSEC_PER_SEC);
	turns(f);
	EXPECT(client_reads(f, 1, "never said", 1));
	EXPECT(f->received.length < 8000000);
}

TEST(a_silent_connection_is_closed_after_30_seconds)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	turns(f);
	clock_skip(29 * NSEC_PER_SEC);
	client_says(f, 0, "GET / HTTP/1.1\r\n" HOST "\r\n");
	EXPECT(!client_reads(f, 0, "200 OK", 1));
	clock_skip(29 * NSEC_PER_SEC);
	client_says(f, 0, "GET / HTTP/1.1\r\n" HOST "\r\n");
	EXPECT(!client_reads(f, 0, "200 OK", 2));
	clock_skip(31 * NSEC_PER_SEC);
	EXPECT(client_reads(f, 0, "200 OK", 3));
}

TEST(a_head_that_is_not_whole_10_seconds_after_its_first_byte_gets_408)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "GET / HTT");
	turns(f);
	clock_skip(6 * NSEC_PER_SEC);
	client_says(f, 0, "P/1.1\r\n");
	turns(f);
	EXPECT_EQ(recv(f->clients[0], (char[1]){}, 1, 0), -1); /* still open */
	EXPECT_EQ(errno, EAGAIN);
	clock_skip(6 * NSEC_PER_SEC);
	EXPECT(client_reads(f, 0, "never said", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "HTTP/1.1 408 Request Timeout");
	EXPECT_CONTAINS(buffer_string(&f->received), "Connection: close");
	EXPECT_EQ(refused(f, HTTP_SLOW_HEAD), 1);
}

TEST(a_body_may_take_60_seconds_and_then_gets_408)
{
	struct fixture *f = *state;

	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n");
	for (int i = 0; i < 5; i++) {
		client_says(f, 0, "a");
		turns(f);
		clock_skip(11 * NSEC_PER_SEC);
		turns(f);
	}
	EXPECT_EQ(recv(f->clients[0], (char[1]){}, 1, 0), -1);
	EXPECT_EQ(errno, EAGAIN);
	clock_skip(6 * NSEC_PER_SEC);
	EXPECT(client_reads(f, 0, "never said", 1));
	EXPECT_CONTAINS(buffer_string(&f->received), "HTTP/1.1 408 Request Timeout");
	EXPECT_EQ(refused(f, HTTP_SLOW_BODY), 1);
}

TEST(half_a_request_before_the_end_is_refused)
{
	struct fixture *f = *state;

	EXPECT_CONTAINS(answer_to(f, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab"), "HTTP/1.1 400 Bad Request");
	EXPECT_EQ(f->calls, 0);
	EXPECT_EQ(refused(f, HTTP_CUT_OFF), 1);
	EXPECT_STR(answer_to(f, "\r\n"), ""); /* nothing was asked */
}

TEST(more_clients_than_connections_are_served_as_others_leave)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < CLIENTS; i++)
		EXPECT_OK(connect_client(f, i));
	for (size_t i = 0; i < CLIENTS; i++) {
		client_says(f, i, "GET / HTTP/1.1\r\n" HOST "\r\n");
		buffer_clear(&f->received);
		if (i >= CONNECTIONS_MAX) {
			EXPECT_EQ(f->calls, i);
			f->clients[i - CONNECTIONS_MAX] = fd_close(f->clients[i - CONNECTIONS_MAX]);
		}
		EXPECT(!client_reads(f, i, "200 OK", 1));
	}
}

TEST(out_of_descriptors_the_server_waits_and_goes_on)
{
	struct fixture *f = *state;
	struct rlimit limit, none;

	EXPECT_OK(connect_client(f, 0));
	EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	turns(f);
	setrlimit(RLIMIT_NOFILE, &limit);
	client_says(f, 0, "GET / HTTP/1.1\r\n" HOST "\r\n");
	turns(f);
	EXPECT_EQ(f->calls, 0); /* it does not spin */
	clock_skip(2 * NSEC_PER_SEC);
	EXPECT(!client_reads(f, 0, "200 OK", 1));
}

TEST(the_socket_is_ours_alone_and_only_a_dead_one_is_replaced)
{
	struct fixture *f = *state;
	struct http_server *second;
	struct error err = {};
	struct stat st;

	EXPECT_EQ(stat(f->path, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0600);
	EXPECT_EQ(http_server_new(f->loop, f->path, &world_service, f, &second, &err), -EADDRINUSE);
	EXPECT_CONTAINS(err.message, f->path);
	turns(f);

	f->server = http_server_free(f->server);
	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	EXPECT_EQ(http_server_new(f->loop, f->path, &world_service, f, &second, &err), -EEXIST);
	EXPECT_EQ(access(f->path, F_OK), 0);
	unlink(f->path);

	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, f->path);
	EXPECT_EQ(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
	close(dead);
	EXPECT_EQ(access(f->path, F_OK), 0);
	EXPECT_OK(http_server_new(f->loop, f->path, &world_service, f, &f->server, &err), &err);
	EXPECT_CONTAINS(answer_to(f, "GET / HTTP/1.1\r\n" HOST "\r\n"), "200 OK");

	char long_path[200];

	snprintf(long_path, sizeof(long_path), "%s/%0120d", f->directory, 0);
	EXPECT_EQ(http_server_new(f->loop, long_path, &world_service, f, &second, &err), -ENAMETOOLONG);
}

static void read_pipe(struct loop_io *io, uint32_t events, void *arg)
{
	struct fixture *f = arg;

	(void)io;
	(void)events;
	buffer_reserve(&f->received, 4096);
}

TEST(curl_uploads_downloads_and_reuses_the_connection)
{
	struct fixture *f = *state;
	const uint64_t end_ns = test_now_ns() + DEADLINE_NS;
	struct loop_io *io;
	char command[1024];
	FILE *curl;
	ssize_t n;

	snprintf(command, sizeof(command),
		 "head -c 1000000 /dev/zero | "
		 "curl -sS --max-time 5 -w '%%{num_connects} ' --unix-socket %s -T - http://weft/up -: "
		 "-sS -w '%%{size_download} %%{num_connects} ' -o /dev/null --unix-socket %s 'http://weft/?large=3000000' -: "
		 "-sS -w '%%{http_code}' --http2 -X DELETE --unix-socket %s 'http://weft/v1/instances?id=a%%20b' 2>&1",
		 f->path, f->path, f->path);
	curl = popen(command, "re");
	EXPECT(curl != NULL);
	fcntl(fileno(curl), F_SETFL, O_NONBLOCK);
	EXPECT_OK(loop_io_add(f->loop, fileno(curl), EPOLLIN | EPOLLET, read_pipe, f, &io)); /* wakes the loop */
	do {
		char *room = buffer_reserve(&f->received, 4096);

		EXPECT_OK(loop_turn(f->loop, NSEC_PER_SEC));
		EXPECT(test_now_ns() < end_ns);
		n = read(fileno(curl), room, 4096);
		f->received.length += n > 0 ? (size_t)n : 0;
	} while (n != 0);
	loop_io_remove(io);
	EXPECT_EQ(pclose(curl), 0);
	EXPECT_CONTAINS(buffer_string(&f->received), "\"bytes\":1000000,");
	EXPECT_CONTAINS(buffer_string(&f->received), "1 3000000 0 "); /* the second on the connection of the first */
	EXPECT_CONTAINS(buffer_string(&f->received), "\"method\":\"DELETE\",\"path\":\"/v1/instances\"");
	EXPECT_CONTAINS(buffer_string(&f->received), "200");
	EXPECT_EQ(f->calls, 3);
}

#define ON_SERVER(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_SERVER(a_request_is_handed_over_whole_and_answered),
		ON_SERVER(a_connection_carries_many_requests_also_sent_at_once),
		ON_SERVER(http_1_0_and_connection_close_end_the_connection_after_the_answer),
		ON_SERVER(a_client_that_expects_it_is_told_to_continue),
		ON_SERVER(what_cannot_be_a_request_here_is_refused_as_json),
		ON_SERVER(a_target_whose_escapes_give_no_text_is_for_the_handler_to_refuse_and_the_connection_goes_on),
		ON_SERVER(bodies_up_to_the_limit_are_taken_and_larger_ones_refused),
		ON_SERVER(heads_larger_than_16_kib_are_refused),
		ON_SERVER(an_error_becomes_a_status_and_names_its_field),
		ON_SERVER(an_answer_may_come_later_and_the_next_request_waits_for_it),
		ON_SERVER(an_exchange_outlives_its_client),
		ON_SERVER(an_exchange_outlives_the_server),
		ON_SERVER(a_handler_may_free_the_server),
		ON_SERVER(a_large_answer_waits_for_its_reader_and_for_30_seconds_without_one),
		ON_SERVER(a_silent_connection_is_closed_after_30_seconds),
		ON_SERVER(a_head_that_is_not_whole_10_seconds_after_its_first_byte_gets_408),
		ON_SERVER(a_body_may_take_60_seconds_and_then_gets_408),
		ON_SERVER(half_a_request_before_the_end_is_refused),
		ON_SERVER(more_clients_than_connections_are_served_as_others_leave),
		ON_SERVER(out_of_descriptors_the_server_waits_and_goes_on),
		ON_SERVER(the_socket_is_ours_alone_and_only_a_dead_one_is_replaced),
		ON_SERVER(curl_uploads_downloads_and_reuses_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
