/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include "base/log.h"

ssize_t netlink_receive(int fd, void *buffer, size_t size)
{
	struct sockaddr_nl from = {};
	socklen_t length = sizeof(from);
	const ssize_t received = recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &length);

	if (received < 0 || !from.nl_pid)
		return received;
	log_limited(LOG_LEVEL_WARN, "what is not the kernel sends to a netlink socket of this program, which does not look at it",
		    LOG_F("port", LOG_U64(from.nl_pid)));
	return 0;
}
