/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"
#include "base/log.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14; not in the C library's headers yet */
#endif

int netns_within(int netns_fd, int (*fn)(void *arg), void *arg)
{
	_cleanup_close_ int own_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (own_fd < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	r = fn(arg);
	if (setns(own_fd, CLONE_NEWNET) < 0) {
		/* Whatever this thread does next would be done in somebody else's network. */
		log_error("cannot return to the own network namespace", LOG_F("errno", LOG_INT(errno)));
		abort();
	}
	return r;
}

struct socket_wanted {
	int domain, type, protocol;
};

static int socket_open(void *arg)
{
	const struct socket_wanted *wanted = arg;
	const int fd = socket(wanted->domain, wanted->type, wanted->protocol);

	return fd < 0 ? -errno : fd;
}

int netns_socket(int netns_fd, int domain, int type, int protocol)
{
	return netns_within(netns_fd, socket_open, &(struct socket_wanted){ domain, type, protocol });
}

int netns_cookie_of_socket(int fd, uint64_t *ret_cookie)
{
	uint64_t cookie;
	socklen_t length = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0)
		return -errno;
	*ret_cookie = cookie;
	return 0;
}

int netns_cookie(int netns_fd, uint64_t *ret_cookie)
{
	_cleanup_close_ int fd = netns_socket(netns_fd, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? fd : netns_cookie_of_socket(fd, ret_cookie);
}
