/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a workload's namespace: its addresses, and sockets from before. */
#include <arpa/inet.h>

#include "tests/bpf/workloads_world.h"

TEST(own_addresses_follow_the_namespace)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip link add d0 type veth peer name d1; ip link set d0 up; ip addr add 10.1.2.3/24 dev d0; "
		"ip addr add fd00::1/64 dev d0 nodad; ip addr add 10.9.0.1 peer 10.9.0.2 dev d0");
	given_enrolled(w, NODE_A, cgroup, p, true);
	EXPECT(has_address(w, cookie, "10.1.2.3"));
	EXPECT(has_address(w, cookie, "fd00::1"));
	EXPECT(has_address(w, cookie, "10.9.0.1"));
	EXPECT(!has_address(w, cookie, "10.9.0.2")); /* that is the other end */

	tell(p, "ip addr add 10.1.2.4/32 dev lo; ip addr add fd00::2/128 dev lo; ip addr del 10.1.2.3/24 dev d0");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.1.2.4") && has_address(w, cookie, "fd00::2")), PROMPTLY);
	WAIT_FOR((turn(w), !has_address(w, cookie, "10.1.2.3")), PROMPTLY);
	tell(p, "ip link del d0");
	WAIT_FOR((turn(w), ADDRESS_COUNT(w) == 4), PROMPTLY);
	EXPECT(has_address(w, cookie, "10.1.2.4"));
}

TEST(an_address_is_its_own_until_the_last_interface_gives_it_up)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip link add d0 type veth peer name d1; ip addr add 10.1.2.3/32 dev d0; ip addr add 10.1.2.3/24 dev d0");
	given_enrolled(w, NODE_A, cgroup, p, true);
	tell(p, "ip addr add 10.1.2.3/32 dev lo; ip addr add 10.0.0.1/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.1")), PROMPTLY); /* so what came before has been seen as well */

	tell(p, "ip addr del 10.1.2.3/32 dev d0; ip addr add 10.0.0.2/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.2")), PROMPTLY);
	EXPECT(has_address(w, cookie, "10.1.2.3"));
	tell(p, "ip link del d0; ip addr add 10.0.0.3/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.3")), PROMPTLY);
	EXPECT(has_address(w, cookie, "10.1.2.3"));
	tell(p, "ip addr del 10.1.2.3/32 dev lo");
	WAIT_FOR((turn(w), !has_address(w, cookie, "10.1.2.3")), PROMPTLY);
}

TEST(an_address_that_stays_is_never_missing_while_others_come_and_go)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p, *churn;
	uint64_t cookie, until_ns;
	int seen = 0, changes = 0;
	bool was = false;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip addr add 10.0.0.1/32 dev lo; ip addr add fd00::1/128 dev lo");
	churn = given_beside(w, NULL, p);
	tell(churn, "(while :; do ip addr add 10.7.7.7/32 dev lo; ip addr add fd00::7/128 dev lo; ip addr del 10.7.7.7/32 dev lo; "
		    "ip addr del fd00::7/128 dev lo; done) & echo");
	given_enrolled(w, NODE_A, cgroup, p, true);
	for (until_ns = time_now_ns() + NSEC_PER_SEC * test_slowness(); time_now_ns() < until_ns; seen++) {
		EXPECT(has_address(w, cookie, "10.0.0.1"));
		EXPECT(has_address(w, cookie, "fd00::1"));
		changes += was != has_address(w, cookie, "10.7.7.7");
		was ^= was != has_address(w, cookie, "10.7.7.7");
		turn(w);
	}
	print_message("  looked %d times, %d changes\n", seen, changes);
	EXPECT(changes > 10);
	tell(churn, "kill $!; wait $! || true; ip addr del 10.7.7.7/32 dev lo || true; ip addr del fd00::7/128 dev lo || true");
	WAIT_FOR((turn(w), ADDRESS_COUNT(w) == 4), PROMPTLY);
}

TEST(changes_that_the_socket_could_not_hold_are_made_up_for)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip addr add 10.0.0.1/32 dev lo");
	given_enrolled(w, NODE_A, cgroup, p, true);
	/* Nobody reads meanwhile: 212,992 bytes hold some 250 messages. The last ones tell of a removal and an addition. */
	tell(p, "for i in $(seq 4); do seq 250 | sed 's|.*|addr add 10.5.0.&/32 dev lo|' | ip -batch -; "
		"seq 250 | sed 's|.*|addr del 10.5.0.&/32 dev lo|' | ip -batch -; done; "
		"ip addr del 10.0.0.1/32 dev lo; ip addr add 10.0.0.2/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.2") && ADDRESS_COUNT(w) == 3), DEADLINE);
	EXPECT(!has_address(w, cookie, "10.0.0.1"));
}

TEST(a_thousand_addresses_are_known_before_enrolment_is_done)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	tell(p, "for a in 1 2 3 4; do seq 250 | sed \"s|.*|addr add 10.5.$a.&/32 dev lo|\" | ip -batch -; done");
	given_enrolled(w, NODE_A, cgroup, p, true);
	EXPECT_EQ(ADDRESS_COUNT(w), 1002);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

/* ---- sockets from before ---- */

static int connected_pair(int netns_fd, int ret_fds[3])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);

	ret_fds[0] = netns_socket(netns_fd, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret_fds[1] = netns_socket(netns_fd, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EXPECT_OK(bind(ret_fds[0], (struct sockaddr *)&address, sizeof(address)));
	EXPECT_OK(listen(ret_fds[0], 1));
	EXPECT_OK(getsockname(ret_fds[0], (struct sockaddr *)&address, &length));
	EXPECT_OK(connect(ret_fds[1], (struct sockaddr *)&address, sizeof(address)));
	ret_fds[2] = accept(ret_fds[0], NULL, NULL);
	EXPECT(ret_fds[2] >= 0);
	return 0;
}

TEST(sockets_from_before_are_counted_by_namespace_or_by_cgroup)
{
	struct world *w = given_world();
	char cgroup[512], below[512], ours[256], path[512];
	struct process *p;
	int elsewhere[3], inside[3];

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	cgroup_make(w, "one/below", below, sizeof(below));
	p = given_apart(w, cgroup);
	EXPECT_OK(cgroup_of_pid(getpid(), ours, sizeof(ours)));
	snprintf(path, sizeof(path), "%s%s", w->root, ours);
	{
		_cleanup_close_ int netns_fd = netns_of(p);

		connected_pair(netns_fd, elsewhere); /* two ends that are established, and a listener, by a process outside */
		cgroup_join(below, getpid());
		connected_pair(netns_fd, inside);
		cgroup_join(path, getpid());
	}
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_EQ(workloads_get(w->workloads, w->id)->earlier_sockets, 2);
	for (size_t i = 0; i < 3; i++)
		close(inside[i]);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);

	p = given_apart(w, cgroup);
	{
		_cleanup_close_ int netns_fd = netns_of(p);

		connected_pair(netns_fd, inside);
	}
	given_enrolled(w, NODE_A, cgroup, p, true);
	EXPECT_EQ(workloads_get(w->workloads, w->id)->earlier_sockets, 2);
	for (size_t i = 0; i < 3; i++) {
		close(inside[i]);
		close(elsewhere[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(own_addresses_follow_the_namespace, world_done),
		cmocka_unit_test_teardown(an_address_is_its_own_until_the_last_interface_gives_it_up, world_done),
		cmocka_unit_test_teardown(an_address_that_stays_is_never_missing_while_others_come_and_go, world_done),
		cmocka_unit_test_teardown(changes_that_the_socket_could_not_hold_are_made_up_for, world_done),
		cmocka_unit_test_teardown(a_thousand_addresses_are_known_before_enrolment_is_done, world_done),
		cmocka_unit_test_teardown(sockets_from_before_are_counted_by_namespace_or_by_cgroup, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
