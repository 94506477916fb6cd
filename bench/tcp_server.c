/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_server ADDRESS:PORT TAG: the far end of bench/tcp_load. One thread; prints "ready" when it listens, ends at the end of its
 * input, so that it never outlives who started it. */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench/tcp.h"

enum { BACKLOG = 4096, EVENTS = 64, FDS_MAX = 4096 };

static char wishes[FDS_MAX]; /* by file descriptor; 0: nothing read yet */
static char buffer[TCP_BULK_BYTES];

static int listen_on(const char *text)
{
	struct sockaddr_storage address;
	int length = tcp_address_parse(text, &address), fd;

	if (length < 0)
		errx(2, "'%s' is not ADDRESS:PORT", text);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, (socklen_t)length) < 0 || listen(fd, BACKLOG) < 0)
		err(1, "cannot listen on %s", text);
	return fd;
}

static void watch(int epoll, int fd)
{
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.fd = fd }) < 0)
		err(1, "cannot watch a file descriptor");
}

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (fd >= FDS_MAX) {
			close(fd);
			continue;
		}
		wishes[fd] = 0;
		watch(epoll, fd);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		err(1, "cannot accept");
}

/* False: the connection is over. */
static bool serve(int fd, char tag)
{
	ssize_t length = recv(fd, buffer, sizeof(buffer), 0);

	if (length <= 0)
		return length < 0 && errno == EAGAIN;
	if (!wishes[fd])
		wishes[fd] = buffer[0];
	switch (wishes[fd]) {
	case TCP_ECHO: /* messages are small, and the client waits for each: they fit */
		return send(fd, buffer, (size_t)length, MSG_NOSIGNAL) == length;
	case TCP_TAG:
		return send(fd, &tag, 1, MSG_NOSIGNAL) == 1;
	case TCP_SINK:
		return true;
	default:
		return false;
	}
}

int main(int argc, char *argv[])
{
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC), listener = -1;
	struct epoll_event events[EVENTS];

	if (argc != 3 || strlen(argv[2]) != 1)
		errx(2, "usage: tcp_server ADDRESS:PORT TAG, where TAG is one character");
	if (epoll < 0 || setrlimit(RLIMIT_NOFILE, &(struct rlimit){ FDS_MAX, FDS_MAX }) < 0)
		err(1, "cannot start");
	listener = listen_on(argv[1]);
	watch(epoll, listener);
	watch(epoll, STDIN_FILENO);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			const int fd = events[i].data.fd;

			if (fd == listener)
				accept_all(epoll, listener);
			else if (fd == STDIN_FILENO)
				return 0;
			else if (!serve(fd, argv[2][0]))
				close(fd);
		}
	}
}
