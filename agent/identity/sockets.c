/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/sockets.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/net/netlink.h"

#define OPEN_STATES (1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT)
#define REPLY_BYTES 32768 /* what the kernel puts into one message of a dump, at most */

struct filter {
	const uint64_t *cgroup_ids;
	size_t cgroup_count;
};

static int request_dump(int fd, int family)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 diag;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.diag = { .sdiag_family = (__u8)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = OPEN_STATES },
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

/* 1: counts, 0: does not, -EOPNOTSUPP: the kernel does not say which cgroup the socket is of. */
static int passes(const struct filter *filter, const struct nlmsghdr *message)
{
	const struct inet_diag_msg *socket = NLMSG_DATA(message);
	const struct rtattr *attribute = (const void *)(socket + 1);
	int length = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof(*socket)));
	uint64_t id;

	if (filter->cgroup_count == 0)
		return 1;
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
		if (attribute->rta_type != INET_DIAG_CGROUP_ID || RTA_PAYLOAD(attribute) != sizeof(id))
			continue;
		memcpy(&id, RTA_DATA(attribute), sizeof(id));
		for (size_t i = 0; i < filter->cgroup_count; i++)
			if (filter->cgroup_ids[i] == id)
				return 1;
		return 0;
	}
	return -EOPNOTSUPP;
}

static int count_family(int fd, int family, const struct filter *filter, uint32_t *count)
{
	char buffer[REPLY_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	int r = request_dump(fd, family);

	while (r >= 0) {
		ssize_t received = netlink_receive(fd, buffer, sizeof(buffer));
		struct nlmsghdr *message = (struct nlmsghdr *)buffer;

		if (received < 0 && errno == EINTR)
			continue;
		if (received <= 0)
			return received < 0 ? -errno : -EPROTO;
		for (size_t left = (size_t)received; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			if (message->nlmsg_type == NLMSG_DONE)
				return *(const int *)NLMSG_DATA(message);
			if (message->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
			if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
				return -EPROTO;
			r = passes(filter, message);
			if (r < 0)
				return r;
			*count += (uint32_t)r;
		}
	}
	return r;
}

uint32_t sockets_count(int diag_fd, const uint64_t *cgroup_ids, size_t cgroup_count)
{
	const struct filter filter = { .cgroup_ids = cgroup_ids, .cgroup_count = cgroup_count };
	uint32_t count = 0;

	if (count_family(diag_fd, AF_INET, &filter, &count) < 0 || count_family(diag_fd, AF_INET6, &filter, &count) < 0)
		return SOCKETS_UNKNOWN;
	return count;
}
