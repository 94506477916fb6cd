/* SPDX-License-Identifier: Apache-2.0 */
/* Whose messages a netlink socket takes. NETLINK_USERSOCK lets anybody send to anybody, as CAP_NET_ADMIN does elsewhere. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "agent/net/netlink.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static int bound(int protocol, struct sockaddr_nl *ret_address)
{
	const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	socklen_t length = sizeof(address);

	EXPECT(fd >= 0);
	EXPECT_OK(bind(fd, (const struct sockaddr *)&address, sizeof(address)));
	EXPECT_OK(getsockname(fd, (struct sockaddr *)&address, &length));
	*ret_address = address;
	return fd;
}

TEST(what_another_process_sends_is_passed_over_and_what_the_kernel_answers_is_not)
{
	static const struct nlmsghdr forged[2] = { { .nlmsg_len = sizeof(forged[0]) + 1, .nlmsg_type = RTM_NEWADDR } };
	const struct {
		struct nlmsghdr header;
		struct rtgenmsg family;
	} question = { .header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	struct sockaddr_nl ours, theirs, of_routes;
	_cleanup_close_ int fd = bound(NETLINK_USERSOCK, &ours), other = bound(NETLINK_USERSOCK, &theirs), routes = bound(NETLINK_ROUTE, &of_routes);
	char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));

	EXPECT_EQ(sendto(other, forged, sizeof(forged[0]) + 1, 0, (const struct sockaddr *)&ours, sizeof(ours)), sizeof(forged[0]) + 1);
	EXPECT_EQ(netlink_receive(fd, buffer, sizeof(buffer)), 0);
	EXPECT_EQ(netlink_receive(fd, buffer, sizeof(buffer)), -1);
	EXPECT_EQ(errno, EAGAIN);

	EXPECT_EQ(send(routes, &question, sizeof(question), 0), sizeof(question));
	EXPECT(netlink_receive(routes, buffer, sizeof(buffer)) >= (ssize_t)sizeof(struct nlmsghdr));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_another_process_sends_is_passed_over_and_what_the_kernel_answers_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
