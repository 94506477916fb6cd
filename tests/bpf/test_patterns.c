/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads that a pattern finds. */
#include "tests/bpf/workloads_world.h"

TEST(cgroups_that_match_a_pattern_act_from_their_mkdir_on)
{
	struct world *w = given_world();
	char there[512], later[512], other[512];
	const struct workload *workload;

	cgroup_make(w, "pay-1.service", there, sizeof(there));
	cgroup_make(w, "other.service", other, sizeof(other));
	given_pattern(w, "pay-*.service", NODE_A);
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 1), DEADLINE);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(there), 1, 0);
	EXPECT_OWNER(w->kernel.netns_fd, own_cookie(), 0, OWNER_SHARED);

	cgroup_make(w, "pay-2.service", later, sizeof(later));
	cgroup_make(w, "pay-3.scope", other, sizeof(other));
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 2), PROMPTLY);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(later), 1, 0);
	workload = workloads_by_netns(w->workloads, own_cookie());
	EXPECT(workload);
	EXPECT_CONTAINS(workload->origin, "pay-*.service");
	EXPECT_STR(workload->zone, "zone-p");

	rmdir(there);
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 1), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 1);
	rmdir(later);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(none_of_many_cgroups_made_on_several_levels_at_once_is_missed)
{
	struct world *w = given_world();
	char path[512];

	given_pattern(w, "slice-*/deep/pod-*", NODE_B);
	for (int slice = 0; slice < 20; slice++) {
		snprintf(path, sizeof(path), "%s/slice-%d", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
		snprintf(path, sizeof(path), "%s/slice-%d/deep", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
		for (int pod = 0; pod < 10; pod++) {
			snprintf(path, sizeof(path), "%s/slice-%d/deep/pod-%d", w->base, slice, pod);
			EXPECT_OK(mkdir(path, 0755));
			if (pod % 3 == 0)
				turn(w);
		}
	}
	WAIT_FOR((turn(w), workload_count(w) == 200), DEADLINE);
	EXPECT_EQ(CGROUP_COUNT(w), 200);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 4);

	/* Away and back under the same names. */
	for (int slice = 0; slice < 20; slice++) {
		snprintf(path, sizeof(path), "%s/slice-%d", w->base, slice);
		EXPECT_OK(cgroup_remove(path));
		EXPECT_OK(mkdir(path, 0755));
		snprintf(path, sizeof(path), "%s/slice-%d/deep", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
		snprintf(path, sizeof(path), "%s/slice-%d/deep/pod-1", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
	}
	WAIT_FOR((turn(w), workload_count(w) == 20 && w->gone_calls == 200), DEADLINE);
	EXPECT_EQ(CGROUP_COUNT(w), 20);
}

TEST(a_patterns_cgroup_acts_where_its_processes_are_and_holds_no_namespace_without_them)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p;
	char cgroup[512], command[128];
	uint64_t cookie;

	cgroup_make(w, "pay", cgroup, sizeof(cgroup));
	given_pattern(w, "pay", NODE_A);
	WAIT_FOR((turn(w), NETNS_COUNT(w) == 1), DEADLINE);
	for (int round = 0; round < 2; round++) {
		p = given_apart(w, NULL);
		cookie = cookie_of(p);
		snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", p->pid);
		tell(outside, command);
		cgroup_join(cgroup, p->pid);
		WAIT_FOR((turn(w), NETNS_COUNT(w) == 2), PROMPTLY);
		EXPECT_OWNER(w->kernel.netns_fd, cookie, 0, OWNER_SHARED);
		EXPECT(has_address(w, cookie, "127.0.0.1"));
		process_end(p);
		WAIT_FOR((turn(w), NETNS_COUNT(w) == 1), PROMPTLY);
		EXPECT_OWNER(w->kernel.netns_fd, own_cookie(), 0, OWNER_SHARED);
		WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
	}
	EXPECT_EQ(CGROUP_COUNT(w), 1);
	EXPECT_EQ(w->gone_calls, 0);
}

TEST(a_pattern_leaves_alone_what_was_enrolled_by_hand)
{
	struct world *w = given_world();
	char cgroup[512], other[512];
	struct process *p;

	cgroup_make(w, "run-1", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	given_pattern(w, "run-*", NODE_B);
	cgroup_make(w, "run-2", other, sizeof(other));
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 2), PROMPTLY);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(other), 2, 0);
	EXPECT_EQ(workload_count(w), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(cgroups_that_match_a_pattern_act_from_their_mkdir_on, world_done),
		cmocka_unit_test_teardown(none_of_many_cgroups_made_on_several_levels_at_once_is_missed, world_done),
		cmocka_unit_test_teardown(a_patterns_cgroup_acts_where_its_processes_are_and_holds_no_namespace_without_them, world_done),
		cmocka_unit_test_teardown(a_pattern_leaves_alone_what_was_enrolled_by_hand, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
