/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces workloads act in, as others are told, and the descriptors of them. */
#include "tests/bpf/workloads_world.h"

struct seen_place {
	uint64_t workload, cookie;
};
struct seen_places {
	struct seen_place places[8];
	size_t count;
};

static int see_place(const struct workload *workload, uint64_t cookie, void *arg)
{
	struct seen_places *seen = arg;

	EXPECT(seen->count < ARRAY_SIZE(seen->places));
	seen->places[seen->count++] = (struct seen_place){ workload->id, cookie };
	return 0;
}

static struct seen_places places_of(const struct world *w)
{
	struct seen_places seen = {};

	EXPECT_OK(workloads_each_place(w->workloads, see_place, &seen));
	return seen;
}

static int cookie_by_descriptor(const struct world *w, uint64_t cookie, uint64_t *ret_cookie)
{
	_cleanup_close_ int fd = workloads_netns_fd(w->workloads, cookie);

	return fd < 0 ? fd : netns_cookie(fd, ret_cookie);
}

static void expect_descriptor(const struct world *w, uint64_t cookie)
{
	uint64_t found = 0;

	EXPECT_OK(cookie_by_descriptor(w, cookie, &found));
	EXPECT_EQ(found, cookie);
}

TEST(each_namespace_of_a_workload_is_told_with_a_descriptor_of_it)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q, *r;
	struct seen_places seen;
	uint64_t first, second, cookie;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, one);
	r = given_apart(w, two);
	first = given_enrolled(w, NODE_A, one, q, false); /* asked for q's namespace; p's is the other one */
	second = given_enrolled(w, NODE_B, two, r, true);

	seen = places_of(w);
	EXPECT_EQ(seen.count, 3);
	EXPECT_EQ(seen.places[0].workload, first);
	EXPECT_EQ(seen.places[0].cookie, cookie_of(q));
	EXPECT_EQ(seen.places[1].workload, first);
	EXPECT_EQ(seen.places[1].cookie, cookie_of(p));
	EXPECT_EQ(seen.places[2].workload, second);
	EXPECT_EQ(seen.places[2].cookie, cookie_of(r));
	for (size_t i = 0; i < seen.count; i++)
		expect_descriptor(w, seen.places[i].cookie);
	EXPECT_EQ(cookie_by_descriptor(w, own_cookie(), &cookie), -ENOENT);
	EXPECT_EQ(cookie_by_descriptor(w, 1, &cookie), -ENOENT);
}

TEST(an_enrolment_under_way_acts_nowhere_yet)
{
	struct world *w = given_world();
	char cgroup[512];
	struct workload_request request;
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	request = request_for(NODE_A, cgroup, p);
	workloads_enrol(w->workloads, &request, on_done, w);
	EXPECT_EQ(places_of(w).count, 0);
	EXPECT_EQ(cookie_by_descriptor(w, cookie_of(p), &cookie), -ENOENT);
	WAIT_FOR((turn(w), w->done_calls == 1), DEADLINE);
	EXPECT_EQ(places_of(w).count, 1);
}

static int refuse_place(const struct workload *workload, uint64_t cookie, void *arg)
{
	(void)workload;
	(void)cookie;
	(void)arg;
	return -E2BIG;
}

TEST(a_callback_that_fails_ends_the_telling)
{
	struct world *w = given_world();
	char cgroup[512];

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	given_enrolled(w, NODE_A, cgroup, given_apart(w, cgroup), false);
	EXPECT_EQ(workloads_each_place(w->workloads, refuse_place, NULL), -E2BIG);
}

TEST(a_change_is_told_when_a_namespace_comes_and_when_it_goes)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;
	int changed;

	cgroup_make(w, "pay", cgroup, sizeof(cgroup));
	given_pattern(w, "pay", NODE_A);
	WAIT_FOR((turn(w), places_of(w).count == 1), DEADLINE);
	EXPECT_EQ(places_of(w).places[0].cookie, own_cookie()); /* before its first process */
	expect_descriptor(w, own_cookie());

	for (int round = 0; round < 2; round++) {
		p = given_apart(w, NULL);
		cookie = cookie_of(p);
		turn(w);
		changed = w->changed_calls;
		cgroup_join(cgroup, p->pid);
		WAIT_FOR((turn(w), w->changed_calls > changed), PROMPTLY);
		EXPECT_EQ(places_of(w).count, 2);
		EXPECT_EQ(places_of(w).places[1].cookie, cookie);
		expect_descriptor(w, cookie);

		changed = w->changed_calls;
		process_end(p);
		WAIT_FOR((turn(w), w->changed_calls > changed), PROMPTLY);
		EXPECT_EQ(places_of(w).count, 1);
		EXPECT_EQ(cookie_by_descriptor(w, cookie, &cookie), -ENOENT);
	}
}

TEST(a_change_is_told_when_one_of_several_processes_takes_its_namespace_along)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p, *q;
	int changed;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	q = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_EQ(places_of(w).count, 2);
	changed = w->changed_calls;
	process_end(q);
	WAIT_FOR((turn(w), w->changed_calls > changed), PROMPTLY);
	EXPECT_EQ(places_of(w).count, 1);
	EXPECT_EQ(places_of(w).places[0].cookie, cookie_of(p));
}

TEST(the_next_agent_tells_adopted_places_at_once_and_again_when_it_is_in_there)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;
	int changed;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, true);
	stop_agent(w);
	start_agent(w);
	EXPECT_EQ(places_of(w).count, 1);
	EXPECT_EQ(places_of(w).places[0].cookie, cookie_of(p));
	EXPECT_EQ(cookie_by_descriptor(w, cookie_of(p), &cookie), -EAGAIN);
	changed = w->changed_calls;
	WAIT_FOR((turn(w), w->changed_calls > changed), PROMPTLY);
	expect_descriptor(w, cookie_of(p));
}

TEST(a_descriptor_outlives_the_process_that_the_namespace_was_found_by)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p, *q;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	q = given_beside(w, cgroup, p);
	cookie = cookie_of(p);
	given_enrolled(w, NODE_A, cgroup, p, true);
	process_end(p);
	turn(w);
	expect_descriptor(w, cookie);
	EXPECT_EQ(cookie_of(q), cookie);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_namespace_of_a_workload_is_told_with_a_descriptor_of_it, world_done),
		cmocka_unit_test_teardown(an_enrolment_under_way_acts_nowhere_yet, world_done),
		cmocka_unit_test_teardown(a_callback_that_fails_ends_the_telling, world_done),
		cmocka_unit_test_teardown(a_change_is_told_when_a_namespace_comes_and_when_it_goes, world_done),
		cmocka_unit_test_teardown(a_change_is_told_when_one_of_several_processes_takes_its_namespace_along, world_done),
		cmocka_unit_test_teardown(the_next_agent_tells_adopted_places_at_once_and_again_when_it_is_in_there, world_done),
		cmocka_unit_test_teardown(a_descriptor_outlives_the_process_that_the_namespace_was_found_by, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
