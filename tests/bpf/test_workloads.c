/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads from enrolment to their end. */
#include <bpf/bpf.h>

#include "tests/bpf/workloads_world.h"

/* ---- what an enrolled workload is ---- */

TEST(a_cgroup_in_a_shared_namespace_acts_once_it_is_enrolled)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	const struct workload *workload;

	cgroup_make(w, "shared", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);

	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 2);
	EXPECT(has_address(w, cookie_of(p), "127.0.0.1"));
	EXPECT(has_address(w, cookie_of(p), "::1"));
	EXPECT_EQ(ADDRESS_COUNT(w), 2);
	EXPECT_EQ(w->changed_calls, 1);
	workload = workloads_get(w->workloads, w->id);
	EXPECT(workload);
	EXPECT_STR(workload->node, NODE_A);
	EXPECT_STR(workload->cgroup, cgroup + strlen(w->root));
	EXPECT_EQ(workload->cgroup_id, id_of(cgroup));
	EXPECT_EQ(workload->netns_cookie, cookie_of(p));
	EXPECT_EQ(workload->pid, p->pid);
	EXPECT_EQ(workload->earlier_sockets, 0);
	EXPECT(workloads_by_netns(w->workloads, cookie_of(p)) == workload);
}

TEST(a_namespace_of_its_own_acts_as_the_node_without_cgroup_entries)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;

	cgroup_make(w, "own", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_B, cgroup, p, true);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 2, 0);
	EXPECT_EQ(CGROUP_COUNT(w), 0);
	EXPECT_EQ(w->config.cgroup_depths, 0);
}

TEST(a_process_in_a_cgroup_below_the_asked_one_is_in_it)
{
	struct world *w = given_world();
	char cgroup[512], below[512];
	struct process *p;

	cgroup_make(w, "pod", cgroup, sizeof(cgroup));
	cgroup_make(w, "pod/container", below, sizeof(below));
	p = given_apart(w, below);
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(nodes_that_got_new_ids_are_written_again)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, two);
	given_enrolled(w, NODE_A, one, p, false);
	given_enrolled(w, NODE_B, two, q, true);
	w->node_offset = 100;
	EXPECT_OK(workloads_refresh(w->workloads));
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 101, 0);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), 102, 0);
}

/* ---- refusals ---- */

TEST(a_second_node_in_a_namespace_is_refused_by_name_and_changes_nothing)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	given_enrolled(w, NODE_A, one, p, true);

	request = request_for(NODE_B, one, p);
	request.own_netns = true;
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	request.own_netns = false; /* nor may cgroups share it */
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 1, 0);
	EXPECT_EQ(NETNS_COUNT(w), 1);
	EXPECT_EQ(CGROUP_COUNT(w), 0);
	EXPECT_EQ(workload_count(w), 1);
}

TEST(a_shared_namespace_cannot_become_one_nodes_own)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	request = request_for(NODE_B, cgroup, p);
	request.own_netns = true;
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
}

TEST(a_cgroup_acts_as_one_node_only)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	request = request_for(NODE_B, cgroup, p);
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
}

TEST(what_is_not_there_cannot_be_enrolled)
{
	struct world *w = given_world();
	char cgroup[512], other[512], missing[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	cgroup_make(w, "other", other, sizeof(other));
	snprintf(missing, sizeof(missing), "%s/missing", w->base);
	p = given_apart(w, cgroup);

	request = request_for(NODE_A, missing, p);
	EXPECT_EQ(enrol(w, &request), -ENOENT);
	EXPECT_CONTAINS(w->err.message, "missing");
	request = request_for(NODE_A, other, p); /* the process is elsewhere */
	EXPECT_EQ(enrol(w, &request), -ENOENT);
	EXPECT_CONTAINS(w->err.message, "not in the cgroup");
	request = request_for(NODE_A, "/proc", p);
	EXPECT_EQ(enrol(w, &request), -EINVAL);
	request = request_for(NODE_A, w->root, p); /* everything */
	EXPECT_EQ(enrol(w, &request), -EINVAL);
	request = request_for(NODE_A, cgroup, p);
	request.pid = 0x7fffffff;
	EXPECT_EQ(enrol(w, &request), -ENOENT);
	request.pid = 0;
	EXPECT_EQ(enrol(w, &request), -EINVAL);
	EXPECT(nothing_is_left(w));
}

TEST(an_enrolment_that_does_not_fit_into_a_table_leaves_nothing)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;
	int *const fds[] = { &w->kernel.cgroup_fd, &w->kernel.netns_fd, &w->kernel.own_address_fd };

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	request = request_for(NODE_A, cgroup, p);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		const struct netns_address key = {};
		const struct owner value = {};
		int whole = *fds[i];

		*fds[i] = hash_map(i == 2 ? sizeof(key) : 8, i == 2 ? 1 : sizeof(value), 1);
		EXPECT_OK(bpf_map_update_elem(*fds[i], &key, &value, BPF_ANY));
		EXPECT_EQ(enrol(w, &request), -E2BIG);
		EXPECT_CONTAINS(w->err.message, "full");
		close(*fds[i]);
		*fds[i] = whole;
		EXPECT(nothing_is_left(w));
	}
	EXPECT_OK(enrol(w, &request), &w->err);
}

/* ---- the end ---- */

TEST(within_a_second_of_the_last_process_nothing_is_left_of_a_namespace)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p;
	char cgroup[512], command[128];

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", p->pid);
	tell(outside, command);
	given_enrolled(w, NODE_A, cgroup, p, true);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 1);
	EXPECT_EQ(w->gone_id, w->id);
	/* A veth goes with its peer's namespace: so nobody holds that any more. */
	WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
}

TEST(a_namespace_that_two_workloads_act_as_goes_with_the_last_of_them)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;
	uint64_t cookie;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_beside(w, two, p);
	cookie = cookie_of(p);
	EXPECT_EQ(cookie_of(q), cookie);
	given_enrolled(w, NODE_A, one, p, true);
	given_enrolled(w, NODE_A, two, q, true);
	EXPECT_EQ(NETNS_COUNT(w), 1);

	process_end(p);
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT_OWNER(w->kernel.netns_fd, cookie, 1, 0);
	EXPECT(has_address(w, cookie, "127.0.0.1"));
	process_end(q);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(a_shared_namespace_stays_shared_until_its_last_cgroup_ends)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_beside(w, two, p);
	given_enrolled(w, NODE_A, one, p, false);
	given_enrolled(w, NODE_B, two, q, false);
	EXPECT_EQ(CGROUP_COUNT(w), 2);
	process_end(p);
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT_EQ(CGROUP_COUNT(w), 1);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), 0, OWNER_SHARED);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 2); /* of the other one */
	process_end(q);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(a_cgroup_that_was_made_for_the_workload_is_removed_with_it)
{
	struct world *w = given_world();
	char cgroup[512], below[512];
	struct workload_request request;
	struct process *p;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cgroup_make(w, "one/delegated", below, sizeof(below));
	request = request_for(NODE_A, cgroup, p);
	request.remove_cgroup = true;
	EXPECT_OK(enrol(w, &request), &w->err);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	WAIT_FOR((turn(w), access(cgroup, F_OK) < 0), PROMPTLY);
}

TEST(a_cgroup_whose_enrolment_fails_is_removed_when_its_process_leaves)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct workload_request request;
	struct process *p, *q;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_beside(w, two, p);
	given_enrolled(w, NODE_A, one, p, true);
	request = request_for(NODE_B, two, q);
	request.own_netns = request.remove_cgroup = true;
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	turn(w);
	EXPECT_EQ(access(two, F_OK), 0);
	process_end(q);
	WAIT_FOR((turn(w), access(two, F_OK) < 0), PROMPTLY);
}

TEST(a_workload_ends_also_when_its_cgroup_goes_right_after_its_process)
{
	struct world *w = given_world();
	char cgroup[512];

	/* The kernel tells of "populated 0" at most every 10 ms, and not at all once the directory has gone. */
	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int i = 1; i <= 20; i++) {
		struct process *p = given_apart(w, cgroup);

		given_enrolled(w, NODE_A, cgroup, p, i % 2);
		process_end(p);
		WAIT_FOR(rmdir(cgroup) == 0, DEADLINE);
		cgroup_make(w, "one", cgroup, sizeof(cgroup)); /* the name means another one now */
		WAIT_FOR((turn(w), w->gone_calls == i && nothing_is_left(w)), PROMPTLY);
	}
}

TEST(a_process_that_ends_while_it_is_enrolled_leaves_nothing)
{
	struct world *w = given_world();
	char cgroup[512];
	int early = 0;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int i = 0; i < 40; i++) {
		struct process *p = given_apart(w, cgroup);
		struct workload_request request = request_for(NODE_A, cgroup, p);
		const int done = w->done_calls, gone = w->gone_calls;

		request.own_netns = i % 2;
		workloads_enrol(w->workloads, &request, on_done, w);
		for (int turns = i / 8; turns > 0; turns--)
			turn(w);
		process_end(p);
		WAIT_FOR((turn(w), w->done_calls > done), DEADLINE);
		if (w->r < 0) {
			EXPECT_EQ(w->r, -ENOENT);
			EXPECT_EQ(w->gone_calls, gone);
			early++;
		} else {
			WAIT_FOR((turn(w), w->gone_calls > gone), PROMPTLY);
		}
		WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	}
	print_message("  %d of 40 had ended before they were looked at\n", early);
}

TEST(a_namespace_goes_when_its_last_process_does_though_the_workload_lives_on_elsewhere)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p, *q;
	char cgroup[512], command[128];
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	q = given_apart(w, cgroup);
	snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", q->pid);
	tell(outside, command);
	cookie = cookie_of(q);
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_EQ(NETNS_COUNT(w), 2);
	EXPECT(has_address(w, cookie, "127.0.0.1"));

	process_end(q);
	WAIT_FOR((turn(w), NETNS_COUNT(w) == 1), PROMPTLY);
	EXPECT(!has_address(w, cookie, "127.0.0.1"));
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
	EXPECT_EQ(w->gone_calls, 0);
	WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
}

TEST(another_process_in_the_namespace_keeps_it_when_the_first_one_ends)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p, *q;
	uint64_t until_ns;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int own = 0; own < 2; own++) {
		p = given_apart(w, cgroup);
		q = given_beside(w, cgroup, p);
		given_enrolled(w, NODE_A, cgroup, p, own);
		process_end(p);
		for (until_ns = time_now_ns() + NSEC_PER_SEC / 2; time_now_ns() < until_ns; turn(w))
			EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), own, own ? 0 : OWNER_SHARED);
		process_end(q);
		WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_cgroup_in_a_shared_namespace_acts_once_it_is_enrolled, world_done),
		cmocka_unit_test_teardown(a_namespace_of_its_own_acts_as_the_node_without_cgroup_entries, world_done),
		cmocka_unit_test_teardown(a_process_in_a_cgroup_below_the_asked_one_is_in_it, world_done),
		cmocka_unit_test_teardown(nodes_that_got_new_ids_are_written_again, world_done),
		cmocka_unit_test_teardown(a_second_node_in_a_namespace_is_refused_by_name_and_changes_nothing, world_done),
		cmocka_unit_test_teardown(a_shared_namespace_cannot_become_one_nodes_own, world_done),
		cmocka_unit_test_teardown(a_cgroup_acts_as_one_node_only, world_done),
		cmocka_unit_test_teardown(what_is_not_there_cannot_be_enrolled, world_done),
		cmocka_unit_test_teardown(an_enrolment_that_does_not_fit_into_a_table_leaves_nothing, world_done),
		cmocka_unit_test_teardown(within_a_second_of_the_last_process_nothing_is_left_of_a_namespace, world_done),
		cmocka_unit_test_teardown(a_namespace_that_two_workloads_act_as_goes_with_the_last_of_them, world_done),
		cmocka_unit_test_teardown(a_shared_namespace_stays_shared_until_its_last_cgroup_ends, world_done),
		cmocka_unit_test_teardown(a_cgroup_that_was_made_for_the_workload_is_removed_with_it, world_done),
		cmocka_unit_test_teardown(a_cgroup_whose_enrolment_fails_is_removed_when_its_process_leaves, world_done),
		cmocka_unit_test_teardown(a_workload_ends_also_when_its_cgroup_goes_right_after_its_process, world_done),
		cmocka_unit_test_teardown(a_process_that_ends_while_it_is_enrolled_leaves_nothing, world_done),
		cmocka_unit_test_teardown(a_namespace_goes_when_its_last_process_does_though_the_workload_lives_on_elsewhere, world_done),
		cmocka_unit_test_teardown(another_process_in_the_namespace_keeps_it_when_the_first_one_ends, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
