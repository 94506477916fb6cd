/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that the egress filter let out of their mesh, with real sockets: who may go on when it does not any more. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/drain/destroy.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/bpf/hooks_world.h"
#include "tests/bpf/last_flow.h"
#include "tests/lib/socket.h"

enum { PORT = 9100, OTHER_PORT = 9101 };

static struct node_record *node(void)
{
	return &world.kernel.memory.nodes[WORLD_NODE_INDEX];
}

/* In a mesh with ALLOW_ALL. */
static int set_up(void **state __attribute__((unused)))
{
	world_enter();
	node()->flags = 0;
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	memset(world.kernel.memory.config->ignored_ports, 0, sizeof(world.kernel.memory.config->ignored_ports));
	world_leave();
	return 0;
}

/* --- connections ---------------------------------------------------------------------------------------------------------------- */

struct pair {
	int listener, client, server;
};

static void pair_close(struct pair *pair)
{
	fd_close(pair->client);
	fd_close(pair->server);
	fd_close(pair->listener);
}

static struct pair connected_at(int family, const char *address, uint16_t port)
{
	const struct ip to = ip(address);
	struct pair pair = { .listener = listening(ip_is_v4(&to) ? AF_INET : AF_INET6, address, port), .client = new_socket(family, SOCK_STREAM) };

	EXPECT_OK(connect_to(pair.client, family, address, port));
	pair.server = accept(pair.listener, NULL, NULL);
	EXPECT(pair.server >= 0);
	return pair;
}

static struct pair connected(const char *address)
{
	return connected_at(AF_INET, address, PORT);
}

#define EXPECT_CLOSED(pair)                                                                                                    \
	do {                                                                                                                   \
		EXPECT_EQ(state_of((pair).client), ECONNABORTED);                                                              \
		EXPECT(readable((pair).server, WAIT_MS));                                                                      \
		EXPECT_EQ(state_of((pair).server), ECONNRESET);                                                                \
	} while (0)

/* --- the change ----------------------------------------------------------------------------------------------------------------- */

static unsigned end_here(void)
{
	_cleanup_close_ int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct destroyed destroyed = {};

	EXPECT_OK(destroy_in_netns(&world.kernel, here, &destroyed));
	EXPECT_EQ(destroyed.failed + destroyed.drained, 0);
	return destroyed.policy_changed;
}

static void drop_all(void)
{
	node()->flags = NODE_DROP_ALL;
}

TEST(what_left_the_mesh_is_closed_when_the_filter_does_not_let_it_out_any_more)
{
	static const struct {
		int family;
		const char *address;
	} ways[] = { { AF_INET, "10.96.0.10" }, { AF_INET6, "10.96.0.10" }, { AF_INET6, "fd00::53" } };

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct counts before = counts_now();
		_cleanup_(pair_close) struct pair pair = connected_at(ways[i].family, ways[i].address, PORT);
		const uint64_t changed = stat_now(STAT_POLICY_CHANGED);
		const struct ip address = ip(ways[i].address);
		struct flow_record record;

		EXPECT_COUNTED(before, REASON_ALLOW_ALL, 1);
		EXPECT_EQ(write(pair.client, "out", 3), 3);
		EXPECT_EQ(end_here(), 0);
		EXPECT_EQ(state_of(pair.client), EAGAIN);

		drop_all();
		EXPECT_EQ(end_here(), 1);
		EXPECT_EQ(state_of(pair.client), ECONNABORTED);
		EXPECT_EQ(end_here(), 0); /* though the program has its socket still */
		EXPECT_EQ(stat_now(STAT_POLICY_CHANGED), changed + 1);
		record = last_flow(world.kernel.flow_fd);
		EXPECT_EQ(record.close, FLOW_POLICY_CHANGED);
		EXPECT_EQ(record.reason, REASON_ALLOW_ALL);
		EXPECT_EQ(record.source, WORLD_NODE);
		EXPECT_EQ(record.service, 0);
		EXPECT_EQ(ip_equal(&record.asked, &address), true);
		EXPECT_EQ(record.asked_port, htons(PORT));
		EXPECT_EQ(record.bytes_sent, 3);
		EXPECT_EQ(record.pid, getpid());
		EXPECT(record.duration_ns > 0 && record.end_ns <= time_now_ns());
		node()->flags = 0;
	}
}

/* --- who stays ------------------------------------------------------------------------------------------------------------------ */

static void nothing(void)
{
}

static void given_own_address(void)
{
	const struct ip address = ip("10.96.0.10");

	EXPECT_OK(kernel_own_address_set(&world.kernel, world.netns_cookie, &address));
}

static void gone_own_address(void)
{
	const struct ip address = ip("10.96.0.10");

	EXPECT_OK(kernel_own_address_remove(&world.kernel, world.netns_cookie, &address));
}

static void given_ignored_port(void)
{
	world.kernel.memory.config->ignored_ports[0] = htons(PORT);
}

static void exempt(enum reason reason, uint64_t until_ns)
{
	const struct ip address = ip("10.96.0.10");

	EXPECT_OK(kernel_exempt_set(&world.kernel, &address, &(struct exemption){ .until_ns = until_ns, .reason = reason }));
}

static void given_ignored_ip(void)
{
	exempt(REASON_IGNORED_IP, 0);
}

static void given_aws_address(void)
{
	exempt(REASON_AWS_ADDRESS, time_now_ns() + 3600 * NSEC_PER_SEC);
}

static void aged_aws_address(void)
{
	exempt(REASON_AWS_ADDRESS, time_now_ns() - 1);
}

static void not_exempt(void)
{
	const struct ip address = ip("10.96.0.10");

	EXPECT_OK(kernel_exempt_remove(&world.kernel, &address));
}

static void audit_mode(void)
{
	node()->flags = NODE_DROP_ALL | NODE_AUDIT;
}

static void node_is_gone(void)
{
	world.kernel.memory.directories[1].refs[WORLD_NODE] = 0;
}

static void workload_is_gone(void)
{
	EXPECT_OK(kernel_netns_remove(&world.kernel, world.netns_cookie));
}

static void another_acts_here(void)
{
	EXPECT_OK(kernel_netns_set(&world.kernel, world.netns_cookie, &(struct owner){ .node = WORLD_NODE + 1 }));
}

TEST(what_passed_for_another_reason_or_would_pass_for_one_now_stays)
{
	static const struct {
		const char *address;
		void (*given)(void), (*change)(void), (*undo)(void);
		enum reason passed;
	} rows[] = {
		{ "127.0.0.1", nothing, nothing, nothing, REASON_LOOPBACK },
		{ "10.96.0.10", given_own_address, gone_own_address, nothing, REASON_OWN_ADDRESS },
		{ "10.96.0.10", given_ignored_ip, not_exempt, nothing, REASON_IGNORED_IP },
		{ "10.96.0.10", given_ignored_port, nothing, nothing, REASON_IGNORED_PORT },
		{ "10.96.0.10", given_aws_address, aged_aws_address, not_exempt, REASON_AWS_ADDRESS },
		{ "10.96.0.11", nothing, given_own_address, gone_own_address, REASON_COUNT }, /* here it is denied: the table can fail */
		{ "10.96.0.10", nothing, given_own_address, gone_own_address, REASON_ALLOW_ALL },
		{ "10.96.0.10", nothing, given_ignored_ip, not_exempt, REASON_ALLOW_ALL },
		{ "10.96.0.10", nothing, node_is_gone, nothing, REASON_ALLOW_ALL },
		{ "10.96.0.10", nothing, workload_is_gone, nothing, REASON_ALLOW_ALL },
		{ "10.96.0.10", nothing, another_acts_here, nothing, REASON_ALLOW_ALL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct counts before = counts_now();
		const unsigned denied = rows[i].passed == REASON_COUNT;
		_cleanup_(pair_close) struct pair pair = { -1, -1, -1 };

		rows[i].given();
		pair = connected(rows[i].address);
		EXPECT_COUNTED(before, denied ? REASON_ALLOW_ALL : rows[i].passed, 1);
		drop_all();
		rows[i].change();
		if (end_here() != denied)
			fail_msg("row %zu", i);
		EXPECT_EQ(state_of(pair.client), denied ? ECONNABORTED : EAGAIN);
		rows[i].undo();
		tear_down(NULL);
		set_up(NULL);
	}
}

TEST(in_audit_mode_it_stays_and_is_counted_once)
{
	_cleanup_(pair_close) struct pair pair = connected("10.96.0.10"), audited;
	const uint64_t kept = stat_now(STAT_AUDIT_KEPT);

	audit_mode();
	audited = connected_at(AF_INET, "10.96.0.10", OTHER_PORT); /* counted in connect() */
	for (unsigned again = 0; again < 2; again++) {
		EXPECT_EQ(end_here(), 0);
		EXPECT_EQ(stat_now(STAT_AUDIT_KEPT), kept + 1);
	}
	EXPECT_OPEN(pair);
	drop_all(); /* audit mode is over */
	EXPECT_EQ(end_here(), 2);
	EXPECT_CLOSED(pair);
	EXPECT_CLOSED(audited);
	EXPECT_EQ(last_flow(world.kernel.flow_fd).close, FLOW_POLICY_CHANGED);
	pair_close(&audited);
}

/* A workload's server, and whoever was connected before it was a workload's, are nobody's to close. */
TEST(what_was_accepted_or_is_nobodys_stays)
{
	_cleanup_(pair_close) struct pair mine = connected("10.96.0.10"), nobodys;

	enter_cgroup(world.home_cgroup);
	nobodys = connected_at(AF_INET, "10.96.0.10", OTHER_PORT);
	enter_cgroup(world.cgroup);
	drop_all();
	EXPECT_EQ(end_here(), 1);
	EXPECT_CLOSED(mine); /* its server's end by the reset alone */
	EXPECT_OPEN(nobodys);
	pair_close(&nobodys);
}

TEST(a_socket_that_is_connected_elsewhere_since_stays)
{
	_cleanup_(pair_close) struct pair pair = connected("10.96.0.10");
	_cleanup_close_ int local = listening(AF_INET, "127.0.0.1", OTHER_PORT), taken = -1;
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	EXPECT_OK(connect(pair.client, &nobody, sizeof(nobody)));
	drop_all();
	EXPECT_OK(connect_to(pair.client, AF_INET, "127.0.0.1", OTHER_PORT));
	taken = accept(local, NULL, NULL);
	EXPECT_EQ(end_here(), 0);
	EXPECT_EQ(state_of(taken), EAGAIN);
}

TEST(one_that_is_not_answered_yet_is_ended_as_well)
{
	_cleanup_close_ int full = new_socket(AF_INET, SOCK_STREAM), first = new_socket(AF_INET, SOCK_STREAM);
	_cleanup_close_ int second = new_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);

	EXPECT_OK(bind_to(full, AF_INET, "10.96.0.10", PORT));
	EXPECT_OK(listen(full, 0));
	EXPECT_OK(connect_to(first, AF_INET, "10.96.0.10", PORT));
	EXPECT_EQ(connect_to(second, AF_INET, "10.96.0.10", PORT), -EINPROGRESS);
	drop_all();
	EXPECT_EQ(end_here(), 2);
	EXPECT_EQ(end_here(), 0);
	EXPECT_EQ(state_of(first), ECONNABORTED);
	EXPECT_EQ(state_of(second), ECONNABORTED);
}

TEST(in_a_shared_namespace_it_is_the_cgroups_node_that_counts)
{
	struct stat st;
	struct owner owner = { .node = WORLD_NODE };
	_cleanup_(pair_close) struct pair pair = { -1, -1, -1 };

	EXPECT_OK(stat(world.cgroup, &st));
	EXPECT_OK(kernel_netns_set(&world.kernel, world.netns_cookie, &(struct owner){ .flags = OWNER_SHARED }));
	EXPECT_OK(kernel_cgroup_set(&world.kernel, st.st_ino, &owner));
	world.kernel.memory.config->cgroup_depths = ~0ull;
	pair = connected("10.96.0.10");
	drop_all();
	owner.node++;
	EXPECT_OK(kernel_cgroup_set(&world.kernel, st.st_ino, &owner));
	EXPECT_EQ(end_here(), 0);
	owner.node--;
	EXPECT_OK(kernel_cgroup_set(&world.kernel, st.st_ino, &owner));
	EXPECT_EQ(end_here(), 1);
	EXPECT_CLOSED(pair);
	EXPECT_OK(kernel_cgroup_remove(&world.kernel, st.st_ino));
	world.kernel.memory.config->cgroup_depths = 0;
}

TEST(a_connection_that_is_over_is_not_met)
{
	struct pair pair = connected("10.96.0.10");

	drop_all();
	pair_close(&pair);
	EXPECT_EQ(end_here(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_left_the_mesh_is_closed_when_the_filter_does_not_let_it_out_any_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_passed_for_another_reason_or_would_pass_for_one_now_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_audit_mode_it_stays_and_is_counted_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_accepted_or_is_nobodys_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_socket_that_is_connected_elsewhere_since_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_not_answered_yet_is_ended_as_well, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_a_shared_namespace_it_is_the_cgroups_node_that_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_connection_that_is_over_is_not_met, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
