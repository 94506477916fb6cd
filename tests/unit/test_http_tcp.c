/* SPDX-License-Identifier: Apache-2.0 */
/* The server over TCP: what is not the same as on a Unix socket (test_http.c). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/http/http.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"
#include "tests/unit/http_answer.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)
#define CONNECTIONS_MAX 32
#define CLIENTS (CONNECTIONS_MAX + 3)

struct fixture {
	struct loop *loop;
	struct http_server *server;
	struct sockaddr_in6 address; /* its length tells the family */
	socklen_t address_bytes;
	char text[64];
	char method[8];
	struct http_peer peer;
	int calls;
	int clients[CLIENTS];
	struct buffer received;
};

static void handle(struct http_exchange *exchange, void *arg)
{
	struct fixture *f = arg;

	f->calls++;
	f->peer = *http_peer(exchange);
	snprintf(f->method, sizeof(f->method), "%s", http_method(exchange));
	http_reply(exchange, 200, "text/plain", "hello\n", 6);
}

static const struct http_service service = {
	.name = "test",
	.handler = handle,
	.methods = "GET, HEAD",
	.connections_max = CONNECTIONS_MAX,
};

/* A port that nobody has at the moment; a listener may take it at once, for nothing was ever connected there. */
static void serve(struct fixture *f, int family)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&f->address;
	_cleanup_close_ int probe = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct error err = {};

	f->address_bytes = family == AF_INET ? sizeof(*v4) : sizeof(f->address);
	f->address = (struct sockaddr_in6){};
	if (family == AF_INET)
		*v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	else
		f->address = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	EXPECT_OK(bind(probe, (struct sockaddr *)&f->address, f->address_bytes));
	EXPECT_OK(getsockname(probe, (struct sockaddr *)&f->address, &f->address_bytes));
	probe = fd_close(probe);
	snprintf(f->text, sizeof(f->text), family == AF_INET ? "127.0.0.1:%u" : "[::1]:%u",
		 ntohs(family == AF_INET ? v4->sin_port : f->address.sin6_port));
	EXPECT_OK(http_server_new(f->loop, f->text, &service, f, &f->server, &err), &err);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(f->clients, -1, sizeof(f->clients));
	EXPECT_OK(loop_new(&f->loop));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < CLIENTS; i++)
		fd_close(f->clients[i]);
	http_server_free(f->server);
	loop_free(f->loop);
	buffer_done(&f->received);
	free(f);
	return 0;
}

static int client(struct fixture *f)
{
	int fd = socket(f->address.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(fd >= 0);
	EXPECT_OK(connect(fd, (struct sockaddr *)&f->address, f->address_bytes)); /* the kernel's backlog takes it */
	return fd;
}

static void say(int fd, const char *text)
{
	EXPECT_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything up to the end of the connection, or `needle`. */
static const char *hear(struct fixture *f, int fd, const char *needle)
{
	const uint64_t end_ns = test_now_ns() + DEADLINE_NS;

	buffer_clear(&f->received);
	for (;;) {
		char *room = buffer_reserve(&f->received, 4096);
		ssize_t n = recv(fd, room, 4096, MSG_DONTWAIT);

		if (n > 0)
			f->received.length += (size_t)n;
		if (n == 0 || (needle && strstr(buffer_string(&f->received), needle)))
			return buffer_string(&f->received);
		if (test_now_ns() > end_ns)
			fail_msg("waited in vain for '%s' in: %s", needle ?: "the end", buffer_string(&f->received));
		EXPECT_OK(loop_turn(f->loop, NSEC_PER_MSEC));
	}
}

static const char *answer_to(struct fixture *f, const char *request)
{
	_cleanup_close_ int fd = client(f);

	say(fd, request);
	shutdown(fd, SHUT_WR);
	return hear(f, fd, NULL);
}

#define HOST "Host: weft\r\n"

TEST(ipv4_and_ipv6_addresses_are_served)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		serve(f, families[i]);
		answer_to(f, "GET / HTTP/1.1\r\n" HOST "\r\n");
		EXPECT_STR(without_date(&f->received), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n");
		EXPECT(!f->peer.local && f->peer.port && ip_is_loopback(&f->peer.address));
		f->server = http_server_free(f->server);
	}
}

TEST(a_head_comes_like_a_get_and_its_answer_has_no_body)
{
	struct fixture *f = *state;

	serve(f, AF_INET);
	answer_to(f, "HEAD /metrics HTTP/1.1\r\n" HOST "\r\n");
	EXPECT_STR(without_date(&f->received), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n");
	EXPECT_STR(f->method, "HEAD");
}

TEST(methods_that_change_something_never_come_to_the_handler)
{
	static const char *const methods[] = { "PUT", "POST", "DELETE", "PATCH", "OPTIONS" };
	struct fixture *f = *state;

	serve(f, AF_INET);
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		char request[128];

		snprintf(request, sizeof(request), "%s /metrics HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab", methods[i]);
		EXPECT_CONTAINS(answer_to(f, request), "HTTP/1.1 405 Method Not Allowed\r\n");
		EXPECT_CONTAINS(buffer_string(&f->received), "\r\nAllow: GET, HEAD\r\n");
	}
	EXPECT_CONTAINS(answer_to(f, "\x16\x03\x01\x02\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n"); /* somebody speaks TLS */
	EXPECT_EQ(f->calls, 0);
}

TEST(clients_beyond_the_limit_wait_until_others_leave)
{
	struct fixture *f = *state;

	serve(f, AF_INET);
	for (size_t i = 0; i < CLIENTS; i++) { /* each asks, and stays */
		f->clients[i] = client(f);
		say(f->clients[i], "GET / HTTP/1.1\r\n" HOST "\r\n");
	}
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		EXPECT_CONTAINS(hear(f, f->clients[i], "hello"), "200 OK");
	for (int i = 0; i < 5; i++)
		EXPECT_OK(loop_turn(f->loop, 0));
	EXPECT_EQ(f->calls, CONNECTIONS_MAX);

	for (size_t i = CONNECTIONS_MAX; i < CLIENTS; i++) {
		f->clients[i - CONNECTIONS_MAX] = fd_close(f->clients[i - CONNECTIONS_MAX]);
		EXPECT_CONTAINS(hear(f, f->clients[i], "hello"), "200 OK");
	}
	EXPECT_EQ(f->calls, CLIENTS);
}

TEST(an_address_that_was_just_left_is_taken_again_and_one_in_use_is_not)
{
	struct fixture *f = *state;
	struct http_server *second = NULL;
	struct error err = {};

	serve(f, AF_INET);
	EXPECT_EQ(http_server_new(f->loop, f->text, &service, f, &second, &err), -EADDRINUSE);
	EXPECT_CONTAINS(err.message, f->text);
	f->clients[0] = client(f);
	say(f->clients[0], "GET / HTTP/1.1\r\n" HOST "\r\n");
	hear(f, f->clients[0], "hello");
	f->server = http_server_free(f->server); /* closes first: the address is in TIME_WAIT */

	EXPECT_OK(http_server_new(f->loop, f->text, &service, f, &f->server, &err), &err);
}

TEST(what_is_no_address_and_port_is_refused_with_an_example)
{
	static const char *const texts[] = { "", "9090", ":9090", "localhost:9090", "::1:9090", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct error err = {};

		EXPECT_EQ(http_server_new(f->loop, texts[i], &service, f, &f->server, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, "[fd00::1]:9090");
	}
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(ipv4_and_ipv6_addresses_are_served),
		ON_LOOP(a_head_comes_like_a_get_and_its_answer_has_no_body),
		ON_LOOP(methods_that_change_something_never_come_to_the_handler),
		ON_LOOP(clients_beyond_the_limit_wait_until_others_leave),
		ON_LOOP(an_address_that_was_just_left_is_taken_again_and_one_in_use_is_not),
		ON_LOOP(what_is_no_address_and_port_is_refused_with_an_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
