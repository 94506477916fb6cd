/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_load ADDRESS:PORT|NAME:PORT: measures connections to a bench/tcp_server, a sample for each line of its input, and answers each with
 * a line of JSON. One process takes all samples of a contestant, so none of them pays for starting it. A sample ends after
 * COUNT or SECONDS, whichever is first; whatever fails ends the program: a figure with failures in it is no figure.
 *
 *     connect COUNT SECONDS        connect, 64 B echo, close, 32 at once
 *     pingpong COUNT SECONDS       64 B there and back on one connection
 *     bulk BYTES SECONDS           one stream, until the server has read it all
 *     switch FROM TO TAG SECONDS   renames FROM to TO, then connects until the server with this tag answers */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"
#include "bench/tcp.h"

enum { AT_ONCE = 32, PINGPONG_MAX = 1000000 };

static struct sockaddr_storage server;
static socklen_t server_length;
static char message[TCP_BULK_BYTES];

static uint64_t span_ns(double seconds)
{
	return (uint64_t)(seconds * (double)NSEC_PER_SEC);
}

static int socket_open(int flags)
{
	int fd = socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0 || (connect(fd, (struct sockaddr *)&server, server_length) < 0 && errno != EINPROGRESS))
		err(1, "cannot connect");
	return fd;
}

static void message_send(int fd, size_t length)
{
	ssize_t sent = send(fd, message, length, MSG_NOSIGNAL);

	if (sent < 0)
		err(1, "cannot send");
	if ((size_t)sent != length)
		errx(1, "sent %zd of %zu bytes", sent, length);
}

static void message_receive(int fd, size_t length)
{
	static char answer[TCP_MESSAGE_BYTES];
	ssize_t received = recv(fd, answer, length, MSG_WAITALL);

	if (received < 0)
		err(1, "cannot receive");
	if ((size_t)received != length)
		errx(1, "the server closed after %zd of %zu bytes", received, length);
}

/* Opens a connection that is heard of when it may be written to, and once more when the echo is there. */
static void begin(int epoll)
{
	int fd = socket_open(SOCK_NONBLOCK);

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd,
		      &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd }) < 0)
		err(1, "cannot watch a connection");
}

static void sample_connect(uint64_t count, uint64_t limit_ns)
{
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[AT_ONCE];
	uint64_t begun = 0, done = 0, start_ns = time_now_ns(), took_ns;

	message[0] = TCP_ECHO;
	while (begun < AT_ONCE && begun < count) {
		begin(epoll);
		begun++;
	}
	while (done < begun) {
		int ready = epoll_wait(epoll, events, AT_ONCE, -1);

		for (int i = 0; i < ready; i++) {
			const int fd = events[i].data.fd;

			if (events[i].events & (EPOLLERR | EPOLLHUP))
				errx(1, "a connection failed");
			if (!(events[i].events & EPOLLIN)) {
				message_send(fd, TCP_MESSAGE_BYTES);
				continue;
			}
			message_receive(fd, TCP_MESSAGE_BYTES);
			close(fd);
			done++;
			if (begun < count && time_now_ns() - start_ns < limit_ns) {
				begin(epoll);
				begun++;
			}
		}
	}
	took_ns = time_now_ns() - start_ns;
	printf("{\"per_second\": %.1f, \"count\": %" PRIu64 ", \"seconds\": %.6f}\n",
	       (double)done * (double)NSEC_PER_SEC / (double)took_ns, done, (double)took_ns / (double)NSEC_PER_SEC);
}

static int compare_spans(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sample_pingpong(uint64_t count, uint64_t limit_ns)
{
	static uint32_t spans_ns[PINGPONG_MAX];
	_cleanup_close_ int fd = socket_open(0);
	uint64_t start_ns = time_now_ns(), before_ns = start_ns, now_ns;
	size_t done = 0;

	message[0] = TCP_ECHO;
	do {
		message_send(fd, TCP_MESSAGE_BYTES);
		message_receive(fd, TCP_MESSAGE_BYTES);
		now_ns = time_now_ns();
		spans_ns[done++] = (uint32_t)(now_ns - before_ns);
		before_ns = now_ns;
	} while (done < MIN(count, (uint64_t)PINGPONG_MAX) && now_ns - start_ns < limit_ns);
	qsort(spans_ns, done, sizeof(*spans_ns), compare_spans);
	printf("{\"p50_us\": %.3f, \"p99_us\": %.3f, \"count\": %zu}\n", spans_ns[done / 2] / 1e3, spans_ns[done * 99 / 100] / 1e3,
	       done);
}

static void sample_bulk(uint64_t bytes, uint64_t limit_ns)
{
	_cleanup_close_ int fd = socket_open(0);
	uint64_t start_ns = time_now_ns(), sent = 0, took_ns;
	char end;

	message[0] = TCP_SINK;
	do {
		message_send(fd, sizeof(message));
		sent += sizeof(message);
	} while (sent < bytes && time_now_ns() - start_ns < limit_ns);
	if (shutdown(fd, SHUT_WR) < 0 || recv(fd, &end, 1, 0) != 0)
		err(1, "the server did not take the stream to its end");
	took_ns = time_now_ns() - start_ns;
	printf("{\"gbit_per_second\": %.4f, \"bytes\": %" PRIu64 "}\n", (double)sent * 8 / (double)took_ns, sent);
}

static void sample_switch(const char *from, const char *to, char tag, uint64_t limit_ns)
{
	uint64_t start_ns = time_now_ns(), asked = 0;
	char answer = 0;

	message[0] = TCP_TAG;
	if (rename(from, to) < 0)
		err(1, "cannot rename %s to %s", from, to);
	do {
		_cleanup_close_ int fd = socket_open(0);

		message_send(fd, 1);
		if (recv(fd, &answer, 1, 0) != 1)
			err(1, "no tag from the server");
		asked++;
		if (time_now_ns() - start_ns > limit_ns)
			errx(1, "tag '%c' never answered", tag);
	} while (answer != tag);
	printf("{\"ms\": %.4f, \"connections\": %" PRIu64 "}\n", (double)(time_now_ns() - start_ns) / (double)NSEC_PER_MSEC, asked);
}

/* "10.0.0.1:80", or "NAME:80" by its first IPv4 address. The address's length, or -EINVAL. */
static int server_find(const char *text, struct sockaddr_storage *ret_address)
{
	const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	struct addrinfo *found;
	char name[256];
	int r;

	r = tcp_address_parse(text, ret_address);
	if (r > 0 || !colon)
		return r;
	snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
	r = getaddrinfo(name, colon + 1, &hints, &found);
	if (r)
		return -EINVAL;
	r = (int)found->ai_addrlen;
	memcpy(ret_address, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return r;
}

int main(int argc, char *argv[])
{
	char line[8192], from[4096], to[4096], tag;
	uint64_t count;
	double seconds;
	int r;

	if (argc != 2)
		errx(2, "usage: tcp_load ADDRESS:PORT|NAME:PORT");
	r = server_find(argv[1], &server);
	if (r < 0)
		errx(2, "'%s' is not ADDRESS:PORT, and no name with an address", argv[1]);
	server_length = (socklen_t)r;
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "connect %" SCNu64 " %lf", &count, &seconds) == 2)
			sample_connect(count, span_ns(seconds));
		else if (sscanf(line, "pingpong %" SCNu64 " %lf", &count, &seconds) == 2)
			sample_pingpong(count, span_ns(seconds));
		else if (sscanf(line, "bulk %" SCNu64 " %lf", &count, &seconds) == 2)
			sample_bulk(count, span_ns(seconds));
		else if (sscanf(line, "switch %4095s %4095s %c %lf", from, to, &tag, &seconds) == 4)
			sample_switch(from, to, tag, span_ns(seconds));
		else
			errx(2, "no such sample: %s", line);
		fflush(stdout);
	}
	return 0;
}
