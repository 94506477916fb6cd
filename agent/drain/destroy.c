/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/drain/destroy.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/identity/cgroup.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"

/* Before Linux 6.17 the walk counts places within a bucket of the kernel's table: where sockets leave it under way, others are passed
 * over. So it is repeated until one finds nothing more. */
#define PASSES_MAX 16

struct run {
	struct kernel *kernel;
	struct destroyed *destroyed;
	int diag_fd; /* -1: not needed yet */
};

static void set_address(__be32 words[4], const struct ip *ip)
{
	if (ip_is_v4(ip))
		words[0] = ip->words[3];
	else
		memcpy(words, ip->words, sizeof(ip->words));
}

/* 0 once the kernel has closed it; -ENOENT: it is gone already. */
static int diag_destroy(int fd, const struct ended_connection *ended)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 diag;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DESTROY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.diag = {
			.sdiag_family = ip_is_v4(&ended->peer) ? AF_INET : AF_INET6,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = UINT32_MAX,
			.id = {
				.idiag_sport = ended->local_port,
				.idiag_dport = ended->peer_port,
				.idiag_if = ended->device,
				.idiag_cookie = { (__u32)ended->cookie, (__u32)(ended->cookie >> 32) },
			},
		},
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[sizeof(request)]; /* what was asked for, repeated */
	} answer;
	ssize_t received;

	set_address(request.diag.id.idiag_src, &ended->local);
	set_address(request.diag.id.idiag_dst, &ended->peer);
	if (send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	do
		received = recv(fd, &answer, sizeof(answer), 0);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -errno;
	if ((size_t)received < NLMSG_LENGTH(sizeof(answer.error)) || answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.error.error;
}

static int destroy_by_netlink(struct run *run, const struct ended_connection *ended)
{
	int r;

	if (run->diag_fd < 0)
		run->diag_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (run->diag_fd < 0)
		return -errno;
	r = diag_destroy(run->diag_fd, ended);
	return r == -ENOENT ? 0 : r;
}

static int take_ended(const struct ended_connection *ended, void *arg)
{
	struct run *run = arg;
	int r = ended->destroyed ? 0 : destroy_by_netlink(run, ended);

	if (r < 0) {
		run->destroyed->failed++;
		log_limited(LOG_LEVEL_WARN, "a connection cannot be closed", LOG_F("error", LOG_STR(strerror(-r))));
	} else if (ended->close == FLOW_DRAINED) {
		run->destroyed->drained++;
	} else {
		run->destroyed->policy_changed++;
	}
	return 0;
}

static size_t closed_count(const struct destroyed *destroyed)
{
	return destroyed->drained + destroyed->policy_changed;
}

static int destroy_here(void *arg)
{
	struct run *run = arg;
	unsigned passes = 0;
	size_t before;
	int r;

	do {
		before = closed_count(run->destroyed);
		r = kernel_ended_each(run->kernel, take_ended, run);
	} while (r == 0 && closed_count(run->destroyed) > before && ++passes < PASSES_MAX);
	fd_close(run->diag_fd);
	return r;
}

int destroy_in_netns(struct kernel *kernel, int netns_fd, struct destroyed *destroyed)
{
	return netns_within(netns_fd, destroy_here, &(struct run){ kernel, destroyed, -1 });
}
