/* SPDX-License-Identifier: Apache-2.0 */
/* apply over time: the ring, tables that fill up, the next agent, open counts; and how long things take. */
#include <arpa/inet.h>
#include <errno.h>

#include "base/hash.h"
#include "tests/unit/apply_world.h"

/* --- the ring, and tables that fill up --------------------------------------------------------------------------------- */

TEST(plans_of_one_turn_count_as_the_last_one)
{
	WORLD(w);

	in_force(&w, canary(90, 10));
	apply_plan(w.apply, canary(1, 2));
	apply_plan(w.apply, canary(3, 4));
	EXPECT_EQ(in_force(&w, canary(5, 6)), 2);
	EXPECT_EQ(w.done_count, 2);
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[0], 5);
}

TEST(when_the_ring_would_catch_up_with_readers_the_last_plan_waits_for_a_grace_period)
{
	WORLD(w);
	uint64_t last = 0;
	unsigned done;

	/* given a grace period that does not end */
	in_force(&w, canary(1, 0));
	wait_idle(&w);
	w.fake.gated = true;
	for (uint16_t i = 2; last + 1 < RING_DIRECTORIES; i++)
		last = in_force(&w, canary(i, 0));

	/* when the ring is used up */
	done = w.done_count;
	apply_plan(w.apply, canary(100, 1));
	for (int i = 0; i < 20; i++)
		loop_turn(w.loop, NSEC_PER_MSEC);
	apply_plan(w.apply, canary(100, 2));
	for (int i = 0; i < 20; i++)
		loop_turn(w.loop, NSEC_PER_MSEC);
	EXPECT_EQ(w.done_count, done);

	/* then the last plan is in force once it has ended */
	w.fake.gated = false;
	sem_post(&w.fake.gate);
	TURN_UNTIL(&w, w.done_count > done);
	EXPECT_OK(w.err.code, &w.err);
	EXPECT_EQ(w.done_count, done + 1);
	EXPECT_EQ(w.generation, last + 1);
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[1], 102);
}

TEST(a_plan_that_does_not_fit_is_refused_with_the_tables_name_and_the_old_one_stays)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	EXPECT_EQ(decide(&w, long_list("v1", MAX_ENDPOINTS + 1, 1)), before);
	EXPECT_EQ(w.err.code, -ENOSPC);
	EXPECT_CONTAINS(w.err.message, "table of endpoints is full: 131072 of 131072 are used");
	EXPECT_STR(apply_current(w.apply)->services[0]->name, M "virtualService/payment");
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[0], 90);
	EXPECT_EQ(in_force(&w, canary(80, 20)), before + 1);
}

TEST(changes_go_on_while_old_generations_can_be_let_go)
{
	WORLD(w);

	for (uint16_t i = 1; i <= 12; i++) /* each takes a fourth of the table */
		EXPECT_EQ(in_force(&w, long_list("v1", MAX_ENDPOINT_REFS / 4, i)), i);
	EXPECT_EQ(w.memory.arrays.refs[target_of(&w, M "virtualNode/v1:8080")->first[LIST_V4]].zone, 12);
}

TEST(a_plan_that_needs_a_sweep_is_refused_while_accounts_cannot_be_read)
{
	WORLD(w);

	w.fake.account_result = -EOPNOTSUPP;
	decide(&w, canary(90, 10));
	EXPECT_EQ(w.err.code, -EOPNOTSUPP);
	EXPECT_CONTAINS(w.err.message, "cannot read which connections are open");
	EXPECT(!apply_current(w.apply));
	w.fake.account_result = 0;
	EXPECT_EQ(in_force(&w, canary(90, 10)), 1);
}

/* --- the next agent ---------------------------------------------------------------------------------------------------- */

TEST(the_next_agent_finds_the_same_plan_in_force)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	agent_restart(&w);
	EXPECT(!apply_current(w.apply));
	EXPECT_EQ(in_force(&w, canary(90, 10)), before);
	EXPECT_EQ(used(&w, "services"), 1);
	EXPECT_EQ(used(&w, "endpoint-refs"), 4);
}

TEST(the_next_agent_keeps_slots_and_rows_and_removes_what_the_plan_has_not)
{
	WORLD(w);
	struct plan *plan = plan_new();
	int slot, b;

	in_force(&w, one_service("ab", 1));
	slot = slot_of(&w, M "virtualNode/b:8080", "10.0.0.98:80");
	b = ROW(&w, 0, "b");
	agent_restart(&w);
	TARGET(plan, "b", "10.0.0.1:80", "10.0.0.98:80");
	TARGET(plan, "c", "10.0.0.2:80");
	SERVICE(plan, "s", "240.240.0.1", { 0, 1 });
	add_node(plan, "client-0");
	in_force(&w, plan);
	EXPECT_EQ(slot_of(&w, M "virtualNode/b:8080", "10.0.0.98:80"), slot);
	EXPECT_EQ(ROW(&w, 0, "b"), b);
	EXPECT_EQ(ref_of(&w, OBJECT_TARGET, M "virtualNode/a:8080"), 0);
	EXPECT(ref_of(&w, OBJECT_TARGET, M "virtualNode/c:8080") != 0);
}

TEST(the_next_agent_keeps_slots_without_any_names)
{
	WORLD(w);
	int slot;

	in_force(&w, ENDPOINTS("10.0.0.1:80"));
	slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80");
	state_close(w.state);
	EXPECT_OK(state_open_memory(&w.state));
	agent_restart(&w);
	in_force(&w, ENDPOINTS("10.0.0.0:80", "10.0.0.1:80"));
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), slot);
}

TEST(the_next_agent_knows_names_that_left_the_plan)
{
	WORLD(w);
	uint32_t service;

	in_force(&w, one_service("a", 1));
	service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
	in_force(&w, other_service(0));
	agent_restart(&w);
	EXPECT_STR(apply_object_name(w.apply, service), M "virtualService/s");
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_SERVICE, M "virtualService/s"), service);
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_TARGET, M "virtualService/s"), 0);
	EXPECT_STR(apply_object_name(w.apply, MAX_OBJECTS), NULL);
}

TEST(a_name_that_the_maps_do_not_confirm_is_ignored)
{
	WORLD(w);
	uint32_t service;

	in_force(&w, one_service("a", 1));
	service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
	in_force(&w, other_service(0));
	agent_stop(&w);
	hash_name("other", 5, (uint64_t *)w.memory.arrays.objects[service].hash);
	agent_start(&w);
	EXPECT_STR(apply_object_name(w.apply, service), NULL);
	EXPECT_EQ(apply_misnamed(w.apply), 0);
}

static void scribble(struct world *w)
{
	for (uint32_t id = 0; id < w->memory.arrays.limits.objects; id++)
		hash_name(&id, sizeof(id), (uint64_t *)w->memory.arrays.objects[id].hash);
}

static void clear(struct world *w)
{
	memset(w->memory.arrays.objects, 0, w->memory.arrays.limits.objects * sizeof(*w->memory.arrays.objects));
}

/* A service and a target, whose ids others had before, beside names that nobody ever had. */
TEST(names_that_somebody_else_wrote_are_those_of_the_state_again)
{
	static void (*const harm[])(struct world *) = { scribble, clear };

	for (size_t i = 0; i < ARRAY_SIZE(harm); i++) {
		WORLD(w);
		uint32_t service, client;
		uint64_t generation;

		in_force(&w, other_service(0));
		generation = in_force(&w, one_service("ab", 1));
		service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
		client = apply_node_id(w.apply, M "virtualNode/client-0");
		agent_stop(&w);
		harm[i](&w);
		agent_start(&w);
		EXPECT_EQ(apply_misnamed(w.apply), 4);
		EXPECT_EQ(id_of(&w, OBJECT_SERVICE, M "virtualService/s"), service);
		EXPECT_STR(apply_object_name(w.apply, service), M "virtualService/s");
		EXPECT_EQ(apply_node_id(w.apply, M "virtualNode/client-0"), client);
		EXPECT(apply_node_id(w.apply, M "virtualNode/new") != 0);
		EXPECT_EQ(in_force(&w, one_service("ab", 1)), generation);
		agent_restart(&w);
		EXPECT_EQ(apply_misnamed(w.apply), 0);
	}
}

TEST(a_record_out_of_range_is_written_anew)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	((struct node_record *)node_of(&w, M "virtualNode/client"))->backend_count = MAX_BACKENDS + 1;
	((struct target_record *)target_of(&w, M "virtualNode/v1:8080"))->first[LIST_V6] = UINT32_MAX;
	((struct route_record *)route_of(&w, M "virtualService/payment"))->row_offset[0] = MAX_SERVICE_ROWS;
	agent_restart(&w);
	EXPECT_EQ(in_force(&w, canary(90, 10)), before + 1);
	EXPECT_EQ(node_of(&w, M "virtualNode/client")->backend_count, 1);
	EXPECT_EQ(target_of(&w, M "virtualNode/v1:8080")->count[LIST_V6], 1);
	EXPECT(route_of(&w, M "virtualService/payment")->row_offset[0] < 2);
}

TEST(a_workloads_node_has_an_id_and_a_name_without_being_in_a_plan)
{
	WORLD(w);
	uint32_t id;

	in_force(&w, canary(90, 10));
	id = apply_node_id(w.apply, M "virtualNode/unknown");
	EXPECT(id != 0);
	EXPECT_EQ(apply_node_id(w.apply, M "virtualNode/unknown"), id);
	EXPECT_EQ(apply_node_id(w.apply, M "virtualNode/client"), id_of(&w, OBJECT_NODE, M "virtualNode/client"));
	agent_restart(&w);
	EXPECT_STR(apply_object_name(w.apply, id), M "virtualNode/unknown");
}

TEST(an_agent_may_go_while_a_job_is_under_way)
{
	WORLD(w);
	const unsigned graces = w.fake.graces;

	in_force(&w, canary(90, 10));
	wait_idle(&w);
	w.fake.gated = true;
	agent_stop(&w);
	agent_start(&w);
	loop_turn(w.loop, NSEC_PER_MSEC); /* begins with a grace period */
	apply_plan(w.apply, canary(80, 20));
	w.apply = apply_free(w.apply);
	sem_post(&w.fake.gate);
	TURN_UNTIL(&w, w.fake.graces > graces + 1);
	EXPECT_EQ(w.done_count, 1);
	EXPECT_EQ(w.memory.arrays.root->generation, 1);
}

/* --- open counts ------------------------------------------------------------------------------------------------------- */

/* The canary's service by another name, with `count` accounts of client-0 that go to target a. */
static int open_connections(struct world *w, size_t count)
{
	int row, slot;

	in_force(w, one_service("a", 1));
	wait_idle(w);
	row = ROW(w, 0, "a");
	slot = slot_of(w, M "virtualNode/a:8080", "10.0.0.97:80");
	for (size_t i = 0; i < count; i++)
		w->fake.open[i] = (struct account){
			.held = 1,
			.row = (uint32_t)row,
			.row_incarnation = w->memory.arrays.rows[row].incarnation,
			.slot = (uint32_t)slot,
			.slot_incarnation = w->memory.arrays.endpoints[slot].incarnation,
		};
	w->fake.open_count = count;
	w->memory.arrays.rows[row].open = count;
	w->memory.arrays.rows[row].attempts = 100;
	w->memory.arrays.endpoints[slot].open = count;
	return row;
}

TEST(a_wrong_open_count_is_corrected_after_three_readings_that_agree)
{
	WORLD(w);
	const int row = open_connections(&w, 2);
	const int slot = slot_of(&w, M "virtualNode/a:8080", "10.0.0.97:80");
	unsigned readings = w.fake.readings;

	w.memory.arrays.rows[row].open = 5;
	w.memory.arrays.endpoints[slot].open = 1;
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(w.memory.arrays.rows[row].open, 2);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].open, 2);
	EXPECT_EQ(w.fake.readings - readings, 1 + 3); /* the sweep's, and three */
}

TEST(right_open_counts_take_one_reading_and_stay)
{
	WORLD(w);
	const int row = open_connections(&w, 2);
	unsigned readings = w.fake.readings;

	w.fake.open_count = 1;
	w.memory.arrays.rows[row].open = 1;
	w.memory.arrays.endpoints[w.fake.open[0].slot].open = 1;
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(w.memory.arrays.rows[row].open, 1);
	EXPECT_EQ(w.fake.readings - readings, 2);
}

/* One connection ends and another one begins: the count is what it was, and neither account was seen. */
static void one_comes_one_goes(struct kernel_memory *memory)
{
	for (uint32_t i = 0; i < MAX_ROWS; i++)
		if (memory->rows[i].target && memory->rows[i].attempts)
			memory->rows[i].attempts++;
}

TEST(a_count_that_moves_while_accounts_are_read_is_left_alone)
{
	WORLD(w);
	const int row = open_connections(&w, 2);
	const uint32_t slot = w.fake.open[0].slot;

	w.fake.open_count = 1;
	w.fake.during_accounts = one_comes_one_goes;
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(w.memory.arrays.rows[row].open, 2);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].open, 2);
}

/* --- size -------------------------------------------------------------------------------------------------------------- */

#define MANY 10000

/* Services of a target each, with ten endpoints each, all called by one node. */
static struct plan *many(uint32_t count, uint16_t weight)
{
	struct plan *plan = plan_new();

	for (uint32_t i = 0; i < count; i++) {
		struct plan_target *target = ADD(plan, targets, target_count);
		struct plan_service *service = ADD(plan, services, service_count);

		if (asprintf(&target->name, M "virtualNode/service-%05u:8080", i) < 0 ||
		    asprintf(&target->node, M "virtualNode/service-%05u", i) < 0 ||
		    asprintf(&service->name, M "virtualService/service-%05u.production.local", i) < 0)
			fail_msg("no memory");
		target->endpoint_count = 10;
		target->endpoints = calloc(target->endpoint_count, sizeof(*target->endpoints));
		for (uint32_t e = 0; e < target->endpoint_count; e++) {
			target->endpoints[e].address.words[2] = htonl(0xffff);
			target->endpoints[e].address.words[3] = htonl(0x0a000000 + i * 16 + e);
			target->endpoints[e].port = htons(8080);
		}
		service->vip4.words[2] = htonl(0xffff);
		service->vip4.words[3] = htonl(0xf0000000 + i);
		service->ports = calloc(1, sizeof(*service->ports));
		service->port_count = 1;
		service->ports[0] = (struct plan_port){ .port = 8080, .target_count = 1, .targets = { { i, 1 } } };
	}
	plan->services[count / 2]->ports[0].targets[0].weight = weight;
	ADD(plan, nodes, node_count);
	plan->nodes[0]->name = text(M "virtualNode/%s", "zz-client");
	plan->nodes[0]->backend_count = count;
	plan->nodes[0]->backends = calloc(count, sizeof(*plan->nodes[0]->backends));
	for (uint32_t i = 0; i < count; i++)
		plan->nodes[0]->backends[i].service = i;
	return plan;
}

static uint64_t decide_timed(struct world *w, struct plan *plan)
{
	const uint64_t start_ns = test_now_ns();

	in_force(w, plan);
	return test_now_ns() - start_ns;
}

static int count_total(const char *source, const char *service, const char *target, const struct row *sums, void *arg)
{
	(void)source;
	(void)service;
	(void)target;
	*(uint64_t *)arg += sums->attempts;
	return 0;
}

TEST(many_retired_rows_are_added_to_the_totals_over_several_sweeps)
{
	WORLD(w);
	const unsigned count = 1200;
	uint64_t attempts = 0;

	in_force(&w, many(count, 1));
	for (uint32_t i = 0; i < MAX_ROWS; i++)
		if (w.memory.arrays.rows[i].target)
			w.memory.arrays.rows[i].attempts = 1;
	turn_the_ring(&w, other_service);
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(used(&w, "rows"), 0);
	EXPECT_OK(apply_totals_each(w.apply, count_total, &attempts));
	EXPECT_EQ(attempts, count);
}

TEST(ten_thousand_services_are_loaded_and_one_of_them_changes_alone)
{
	WORLD(w);
	char load[TIME_TEXT_BYTES], change[TIME_TEXT_BYTES];
	uint64_t load_ns, best_ns = UINT64_MAX;

	wait_idle(&w);
	load_ns = decide_timed(&w, many(MANY, 1));
	for (uint16_t weight = 2; weight < 12; weight++) {
		struct plan *plan = many(MANY, weight);
		uint64_t ns = decide_timed(&w, plan);

		best_ns = MIN(best_ns, ns);
		EXPECT_EQ(changed_since(&w, w.generation - 1), 1);
	}
	EXPECT_EQ(used(&w, "endpoints"), MANY * 10);
	EXPECT_EQ(used(&w, "rows"), MANY * 2);
	print_message("%d services loaded in %s, the weights of one changed in %s\n", MANY, time_format_span(load_ns, load),
		      time_format_span(best_ns, change));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_of_one_turn_count_as_the_last_one),
		cmocka_unit_test(when_the_ring_would_catch_up_with_readers_the_last_plan_waits_for_a_grace_period),
		cmocka_unit_test(a_plan_that_does_not_fit_is_refused_with_the_tables_name_and_the_old_one_stays),
		cmocka_unit_test(changes_go_on_while_old_generations_can_be_let_go),
		cmocka_unit_test(a_plan_that_needs_a_sweep_is_refused_while_accounts_cannot_be_read),
		cmocka_unit_test(the_next_agent_finds_the_same_plan_in_force),
		cmocka_unit_test(the_next_agent_keeps_slots_and_rows_and_removes_what_the_plan_has_not),
		cmocka_unit_test(the_next_agent_keeps_slots_without_any_names),
		cmocka_unit_test(the_next_agent_knows_names_that_left_the_plan),
		cmocka_unit_test(names_that_somebody_else_wrote_are_those_of_the_state_again),
		cmocka_unit_test(a_name_that_the_maps_do_not_confirm_is_ignored),
		cmocka_unit_test(a_record_out_of_range_is_written_anew),
		cmocka_unit_test(a_workloads_node_has_an_id_and_a_name_without_being_in_a_plan),
		cmocka_unit_test(an_agent_may_go_while_a_job_is_under_way),
		cmocka_unit_test(a_wrong_open_count_is_corrected_after_three_readings_that_agree),
		cmocka_unit_test(right_open_counts_take_one_reading_and_stay),
		cmocka_unit_test(a_count_that_moves_while_accounts_are_read_is_left_alone),
		cmocka_unit_test(many_retired_rows_are_added_to_the_totals_over_several_sweeps),
		cmocka_unit_test(ten_thousand_services_are_loaded_and_one_of_them_changes_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
