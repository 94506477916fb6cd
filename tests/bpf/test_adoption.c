/* SPDX-License-Identifier: Apache-2.0 */
/* What the next agent makes of the workloads that it finds. */
#include <bpf/bpf.h>
#include <inttypes.h>

#include "tests/bpf/workloads_world.h"

TEST(the_next_agent_takes_workloads_up_again_without_a_gap)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p, *q;
	char one[512], two[512], command[128];
	uint64_t first, second;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, two);
	snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", p->pid);
	tell(outside, command);
	tell(p, "ip addr add 10.0.0.1/32 dev lo");
	first = given_enrolled(w, NODE_A, one, p, true);
	second = given_enrolled(w, NODE_B, two, q, false);

	stop_agent(w);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 1, 0);
	EXPECT_EQ(CGROUP_COUNT(w), 1);
	EXPECT(has_address(w, cookie_of(p), "10.0.0.1"));
	tell(p, "ip addr del 10.0.0.1/32 dev lo; ip addr add 10.0.0.2/32 dev lo");
	start_agent(w);
	EXPECT_EQ(workload_count(w), 2); /* at once */
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 1, 0);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), 0, OWNER_SHARED);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(two), 2, 0);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 2);
	EXPECT_STR(workloads_get(w->workloads, first)->node, NODE_A);
	EXPECT_STR(workloads_get(w->workloads, second)->node, NODE_B);
	WAIT_FOR((turn(w), has_address(w, cookie_of(p), "10.0.0.2") && !has_address(w, cookie_of(p), "10.0.0.1")), PROMPTLY);
	EXPECT(has_address(w, cookie_of(p), "127.0.0.1"));

	process_end(p);
	process_end(q);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 2);
	WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
}

TEST(the_next_agent_says_who_ended_meanwhile_and_removes_what_nothing_explains)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;
	struct workload_request request;
	struct netns_address address = { .netns_cookie = 1ull << 40 };
	const struct owner owner = { .node = 9 };
	uint64_t first, stray = 1ull << 40;
	uint8_t byte = 1;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, two);
	request = request_for(NODE_A, one, p);
	request.remove_cgroup = true;
	EXPECT_OK(enrol(w, &request), &w->err);
	first = w->id;
	given_enrolled(w, NODE_A, two, q, true);
	stop_agent(w);
	process_end(p);
	EXPECT_OK(bpf_map_update_elem(w->kernel.netns_fd, &stray, &owner, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(w->kernel.cgroup_fd, &stray, &owner, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(w->kernel.own_address_fd, &address, &byte, BPF_ANY));
	w->config.cgroup_depths |= 1 << 9;

	start_agent(w);
	EXPECT_EQ(workload_count(w), 1);
	EXPECT_EQ(CGROUP_COUNT(w), 0);
	EXPECT_EQ(NETNS_COUNT(w), 1);
	EXPECT_EQ(ADDRESS_COUNT(w), 2);
	EXPECT_EQ(w->config.cgroup_depths, 0);
	EXPECT_EQ(w->gone_calls, 0);
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT_EQ(w->gone_id, first);
	WAIT_FOR((turn(w), access(one, F_OK) < 0), PROMPTLY);
	stop_agent(w);
	start_agent(w); /* told once */
	turn(w);
	EXPECT_EQ(w->gone_calls, 1);
}

static int forget_boot(const struct state_entry *entry, void *arg)
{
	_cleanup_json_ json_t *record = NULL;

	if (!strcmp(entry->key, "workloads/next"))
		return 0;
	EXPECT_OK(json_parse(entry->value, entry->value_bytes, &record, NULL));
	json_object_set_new(record, "boot", json_string("another"));
	*(char **)arg = json_dumps(record, 0);
	return 0;
}

TEST(workloads_of_another_boot_are_forgotten_and_their_ids_not_given_again)
{
	struct world *w = given_world();
	char cgroup[512], key[64];
	_cleanup_free_ char *record = NULL;
	struct process *p;
	uint64_t first;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	first = given_enrolled(w, NODE_A, cgroup, p, false);
	stop_agent(w);
	EXPECT_OK(state_list(w->state, "workloads/", NULL, 0, forget_boot, &record, NULL));
	snprintf(key, sizeof(key), "workloads/%" PRIu64, first);
	EXPECT_OK(state_put(w->state, key, record, strlen(record), NULL));

	start_agent(w);
	EXPECT(nothing_is_left(w));
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT(given_enrolled(w, NODE_A, cgroup, p, false) > first);
}

TEST(an_id_is_not_given_again_after_its_workload_ended)
{
	struct world *w = given_world();
	char cgroup[512];
	uint64_t last = 0;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int i = 0; i < 3; i++) {
		struct process *p = given_apart(w, cgroup);
		const uint64_t id = given_enrolled(w, NODE_A, cgroup, p, false);

		EXPECT(id > last);
		last = id;
		process_end(p);
		WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
		stop_agent(w);
		start_agent(w);
	}
}

TEST(pattern_workloads_are_taken_up_again_while_their_pattern_is_configured)
{
	struct world *w = given_world();
	char one[512];
	struct process *p;
	uint64_t id, cookie;

	cgroup_make(w, "pay", one, sizeof(one));
	p = given_apart(w, one);
	cookie = cookie_of(p);
	given_pattern(w, "pay*", NODE_A);
	WAIT_FOR((turn(w), NETNS_COUNT(w) == 2), PROMPTLY);
	id = workloads_by_netns(w->workloads, cookie)->id;

	stop_agent(w);
	start_agent(w);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 1, 0);
	given_pattern(w, "pay*", NODE_B); /* the same pattern, for another node by now */
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 2, 0);
	for (int i = 0; i < 20; i++)
		turn(w);
	EXPECT_EQ(workload_count(w), 1);
	EXPECT_STR(workloads_get(w->workloads, id)->node, NODE_B);
	EXPECT_OWNER(w->kernel.netns_fd, cookie, 0, OWNER_SHARED);
	EXPECT(has_address(w, cookie, "127.0.0.1"));

	stop_agent(w);
	start_agent(w); /* and not at all */
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 2, 0);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 1);
}

TEST(an_enrolment_under_way_is_cancelled_when_the_agent_stops)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	request = request_for(NODE_A, cgroup, p);
	workloads_enrol(w->workloads, &request, on_done, w);
	stop_agent(w);
	EXPECT_EQ(w->done_calls, 1);
	EXPECT_EQ(w->r, -ECANCELED);
	start_agent(w);
	EXPECT(nothing_is_left(w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_next_agent_takes_workloads_up_again_without_a_gap, world_done),
		cmocka_unit_test_teardown(the_next_agent_says_who_ended_meanwhile_and_removes_what_nothing_explains, world_done),
		cmocka_unit_test_teardown(workloads_of_another_boot_are_forgotten_and_their_ids_not_given_again, world_done),
		cmocka_unit_test_teardown(an_id_is_not_given_again_after_its_workload_ended, world_done),
		cmocka_unit_test_teardown(pattern_workloads_are_taken_up_again_while_their_pattern_is_configured, world_done),
		cmocka_unit_test_teardown(an_enrolment_under_way_is_cancelled_when_the_agent_stops, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
