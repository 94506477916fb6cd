/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "agent/net/queue.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct pair {
	int from, to;
};

static struct pair pair_make(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int)), 0);
	return (struct pair){ fds[0], fds[1] };
}

static void pair_done(struct pair *pair)
{
	fd_close(pair->from);
	fd_close(pair->to);
}

/* The stream is 0, 1, 2 … in bytes of that value modulo 251. */
static void append(struct queue *queue, size_t *said, size_t length)
{
	while (length-- > 0)
		buffer_append(&queue->bytes, &(char){ (char)((*said)++ % 251) }, 1);
}

static size_t take(int fd, size_t *heard, size_t length)
{
	char bytes[4096];
	const ssize_t n = recv(fd, bytes, MIN(length, sizeof(bytes)), 0);

	for (ssize_t i = 0; i < n; i++)
		EXPECT_EQ((unsigned char)bytes[i], (*heard)++ % 251);
	return n > 0 ? (size_t)n : 0;
}

TEST(what_the_socket_takes_is_sent_and_the_rest_waits)
{
	_cleanup_(pair_done) struct pair pair = pair_make();
	_cleanup_(queue_done) struct queue queue = {};
	size_t said = 0, heard = 0;

	append(&queue, &said, 100000);
	EXPECT_OK(queue_send(&queue, pair.from, (struct span){}));
	EXPECT(queue_length(&queue) > 0 && queue_length(&queue) < 100000);
	while (heard < said) {
		EXPECT(take(pair.to, &heard, 4096) > 0);
		EXPECT_OK(queue_send(&queue, pair.from, (struct span){}));
	}
	EXPECT_EQ(queue_length(&queue), 0);
	EXPECT(queue.bytes.capacity <= 16 * 1024);
}

TEST(what_is_given_along_goes_behind_what_waits)
{
	_cleanup_(pair_done) struct pair pair = pair_make();
	_cleanup_(queue_done) struct queue queue = {};
	char more[50000];
	size_t said = 0, heard = 0;

	append(&queue, &said, 3000);
	for (size_t i = 0; i < sizeof(more); i++)
		more[i] = (char)((said + i) % 251);
	said += sizeof(more);
	EXPECT_OK(queue_send(&queue, pair.from, (struct span){ more, sizeof(more) }));
	memset(more, 0xff, sizeof(more)); /* what waits is a copy */
	while (heard < said) {
		EXPECT(take(pair.to, &heard, 4096) > 0);
		EXPECT_OK(queue_send(&queue, pair.from, (struct span){}));
	}
}

TEST(a_queue_that_never_empties_needs_no_more_memory_than_what_waits)
{
	_cleanup_(pair_done) struct pair pair = pair_make();
	_cleanup_(queue_done) struct queue queue = {};
	size_t said = 0, heard = 0;

	append(&queue, &said, 64 * 1024);
	while (said < 8 * 1024 * 1024) {
		EXPECT_OK(queue_send(&queue, pair.from, (struct span){}));
		if (queue_length(&queue) < 64 * 1024)
			append(&queue, &said, 4096);
		take(pair.to, &heard, 1024);
		EXPECT(queue_length(&queue) > 0);
		EXPECT(queue.bytes.capacity <= 256 * 1024);
	}
}

TEST(a_socket_that_is_closed_is_an_error)
{
	_cleanup_(pair_done) struct pair pair = pair_make();
	_cleanup_(queue_done) struct queue queue = {};

	pair.to = fd_close(pair.to);
	EXPECT_EQ(queue_send(&queue, pair.from, SPAN("x")), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_socket_takes_is_sent_and_the_rest_waits),
		cmocka_unit_test(what_is_given_along_goes_behind_what_waits),
		cmocka_unit_test(a_queue_that_never_empties_needs_no_more_memory_than_what_waits),
		cmocka_unit_test(a_socket_that_is_closed_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
