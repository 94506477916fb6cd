/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health/probe.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/cleanup.h"

struct tcp {
	struct probe probe; /* first */
	int fd;
	struct loop_io *io;
	probe_done_fn *done;
	void *arg;
};

/* EADDRNOTAVAIL: no local port is left. EPERM, EACCES: something here forbids it. */
static const int own_faults[] = { EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL, EPERM, EACCES };

enum check_outcome probe_outcome(int error, char text[CHECK_TEXT_BYTES])
{
	snprintf(text, CHECK_TEXT_BYTES, "%s", strerror(error));
	text[0] = (char)tolower((unsigned char)text[0]);
	for (size_t i = 0; i < ARRAY_SIZE(own_faults); i++)
		if (own_faults[i] == error)
			return CHECK_NOT_RUN;
	return CHECK_FAILED;
}

int probe_connect(int fd, const struct probe_request *request)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = request->port, .sin_addr.s_addr = request->address.words[3] };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = request->port };
	const bool is_v4 = ip_is_v4(&request->address);
	int r;

	memcpy(&v6.sin6_addr, &request->address, sizeof(v6.sin6_addr));
	r = is_v4 ? connect(fd, (const struct sockaddr *)&v4, sizeof(v4)) : connect(fd, (const struct sockaddr *)&v6, sizeof(v6));
	return r < 0 && errno != EINPROGRESS ? -errno : 0;
}

int probe_connect_error(int fd)
{
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) }) < 0)
		return errno;
	return error;
}

static void tcp_free(struct probe *probe)
{
	struct tcp *tcp = (struct tcp *)probe;

	loop_io_remove(tcp->io);
	fd_close(tcp->fd);
	free(tcp);
}

static void on_connected(struct loop_io *io, uint32_t events, void *arg)
{
	struct tcp *tcp = arg;
	char text[CHECK_TEXT_BYTES] = "connected";
	enum check_outcome outcome = CHECK_PASSED;
	int error;

	(void)events;
	tcp->io = loop_io_remove(io);
	error = probe_connect_error(tcp->fd);
	if (error)
		outcome = probe_outcome(error, text);
	tcp->done(outcome, text, tcp->arg);
}

int probe_tcp_start(struct loop *loop, const struct probe_request *request, int *fd, probe_done_fn *done, void *arg,
		    struct probe **ret_probe)
{
	_cleanup_close_ int socket = TAKE_FD(*fd);
	struct tcp *tcp = malloc(sizeof(*tcp));
	int r;

	if (!tcp)
		return -ENOMEM;
	*tcp = (struct tcp){ .probe.free = tcp_free, .fd = -1, .done = done, .arg = arg };
	r = probe_connect(socket, request);
	if (r == 0)
		r = loop_io_add(loop, socket, EPOLLOUT, on_connected, tcp, &tcp->io);
	if (r < 0) {
		free(tcp);
		return r;
	}
	tcp->fd = TAKE_FD(socket);
	*ret_probe = &tcp->probe;
	return 0;
}
