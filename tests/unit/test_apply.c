/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan becomes in the maps. test_apply_life.c has what happens over time. */
#include <arpa/inet.h>
#include <errno.h>

#include "base/address.h"
#include "tests/unit/apply_world.h"

/* --- what a plan becomes ----------------------------------------------------------------------------------------------- */

TEST(a_first_plan_becomes_one_generation_with_all_that_a_hook_looks_up)
{
	WORLD(w);
	const struct backend *backend;
	const struct route_record *route;
	const struct target_record *v1;

	EXPECT_EQ(in_force(&w, canary(90, 10)), 1);
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), id_of(&w, OBJECT_SERVICE, M "virtualService/payment"));
	EXPECT_EQ(service_of(&w, M "virtualService/payment")->port_count, 1);
	EXPECT_EQ(service_of(&w, M "virtualService/payment")->ports[0], htons(8080));
	route = route_of(&w, M "virtualService/payment");
	EXPECT_EQ(route->target_count, 2);
	EXPECT_EQ(route->cumulative[0], 90);
	EXPECT_EQ(route->cumulative[1], 100);
	EXPECT_EQ(route->target[0], id_of(&w, OBJECT_TARGET, M "virtualNode/v1:8080"));
	EXPECT_EQ(route->target[1], id_of(&w, OBJECT_TARGET, M "virtualNode/v2:8080"));
	v1 = target_of(&w, M "virtualNode/v1:8080");
	EXPECT_EQ(v1->count[LIST_V4], 2);
	EXPECT_EQ(v1->count[LIST_V6], 1);
	EXPECT_EQ(v1->panic_pct, 50);
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80") >= 0);
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "[fd00::1]:80") >= 0);
	EXPECT_EQ(node_of(&w, M "virtualNode/client")->flags, NODE_DROP_ALL);
	backend = backend_of(&w, M "virtualNode/client", M "virtualService/payment");
	EXPECT_EQ(backend->row_count, 2);
	EXPECT(route->row_offset[0] != route->row_offset[1]);
	EXPECT_EQ(w.memory.arrays.rows[backend->row + route->row_offset[1]].target, route->target[1]);
	EXPECT_EQ(apply_current(w.apply)->service_count, 1);
}

TEST(the_same_plan_again_commits_and_allocates_nothing)
{
	WORLD(w);
	uint32_t refs, rows;

	in_force(&w, canary(90, 10));
	refs = used(&w, "endpoint-refs");
	rows = used(&w, "rows");
	EXPECT_EQ(in_force(&w, canary(90, 10)), 1);
	EXPECT_EQ(used(&w, "endpoint-refs"), refs);
	EXPECT_EQ(used(&w, "rows"), rows);
}

TEST(a_shift_of_weights_writes_one_record)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	EXPECT_EQ(in_force(&w, canary(50, 50)), before + 1);
	EXPECT_EQ(changed_since(&w, before), 1);
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[0], 50);
}

TEST(backends_are_in_order_of_service_id_whatever_the_names)
{
	WORLD(w);
	struct plan *plan = plan_new();
	const struct node_record *node;

	/* "z" has the lowest id, "a" the highest. */
	SERVICE(plan, "z", "240.240.0.26", { PLAN_NONE, 1 });
	in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "a", "240.240.0.1", { PLAN_NONE, 1 });
	SERVICE(plan, "z", "240.240.0.26", { PLAN_NONE, 1 });
	add_node(plan, "client");
	plan->nodes[0]->backends[0].tls_ports = 1;
	in_force(&w, plan);
	node = node_of(&w, M "virtualNode/client");
	EXPECT_EQ(node->backend_count, 2);
	EXPECT(w.memory.arrays.backends[node->first_backend].service < w.memory.arrays.backends[node->first_backend + 1].service);
	EXPECT_EQ(backend_of(&w, M "virtualNode/client", M "virtualService/a")->tls_ports, 1);
	EXPECT_EQ(backend_of(&w, M "virtualNode/client", M "virtualService/z")->tls_ports, 0);
	EXPECT_EQ(route_of(&w, M "virtualService/a")->target[0], 0);
}

TEST(a_service_that_comes_between_others_changes_nothing_of_theirs)
{
	WORLD(w);
	struct plan *plan = plan_new();
	uint64_t before;

	SERVICE(plan, "a", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	SERVICE(plan, "c", "240.240.0.3", { 0, 1 });
	add_node(plan, "client");
	before = in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "a", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	SERVICE(plan, "b", "240.240.0.2", { 0, 1 });
	SERVICE(plan, "c", "240.240.0.3", { 0, 1 });
	add_node(plan, "client");
	in_force(&w, plan);
	EXPECT_EQ(changed_since(&w, before), 2); /* b, and the client's list */
}

TEST(a_service_in_the_place_of_another_one_is_the_backend_from_then_on)
{
	WORLD(w);
	struct plan *plan = plan_new();

	SERVICE(plan, "a", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_node(plan, "client");
	in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "b", "240.240.0.2", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_node(plan, "client");
	in_force(&w, plan);
	EXPECT_EQ(node_of(&w, M "virtualNode/client")->backend_count, 1);
	EXPECT(backend_of(&w, M "virtualNode/client", M "virtualService/b"));
}

/* --- endpoints --------------------------------------------------------------------------------------------------------- */

TEST(endpoints_that_stay_keep_their_slots_when_others_come_and_go)
{
	WORLD(w);
	int slot;

	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80");
	in_force(&w, ENDPOINTS("10.0.0.2:80", "10.0.0.3:80", "[fd00::1]:80"));
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80"), slot);
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), -1);
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.3:80") != slot);
}

TEST(an_endpoint_that_flaps_takes_one_slot)
{
	WORLD(w);
	uint32_t slots;
	int slot;

	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80");
	slots = used(&w, "endpoints");
	for (int i = 0; i < 10; i++) {
		in_force(&w, ENDPOINTS("10.0.0.2:80"));
		in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	}
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), slot);
	EXPECT_EQ(used(&w, "endpoints"), slots);
}

TEST(an_endpoint_that_comes_back_during_a_sweep_has_a_slot_that_survives_it)
{
	WORLD(w);
	struct plan *plan;
	unsigned begun;
	uint32_t slot;

	/* given an endpoint whose slot no directory names any more, and that was not freed yet */
	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	slot = (uint32_t)slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80");
	for (uint16_t i = 0; i <= RING_DIRECTORIES; i++) {
		plan = ENDPOINTS("10.0.0.2:80");
		plan->targets[0]->panic_pct = i;
		in_force(&w, plan);
	}
	wait_idle(&w);
	EXPECT(w.memory.arrays.endpoints[slot].incarnation & 1);
	begun = w.fake.readings_begun;

	/* when it comes back while a sweep is under way, since the slots were running short */
	w.fake.accounts_gated = true;
	plan = long_list("crowd", MAX_ENDPOINTS / 5 * 4, 0);
	TARGET(plan, "v1", "10.0.0.2:80");
	in_force(&w, plan);
	TURN_UNTIL(&w, w.fake.readings_begun > begun);
	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	w.fake.accounts_gated = false;
	sem_post(&w.fake.gate);
	wait_idle(&w);

	/* then its slot is in use afterwards, which slot_of() looks at */
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80") >= 0);
	EXPECT(!(w.memory.arrays.endpoints[slot].incarnation & 1));
}

TEST(the_same_address_of_another_node_or_in_another_namespace_is_another_endpoint)
{
	WORLD(w);
	struct plan *plan = plan_new();

	TARGET(plan, "v1", "127.0.0.1:80", "127.0.0.1:80");
	plan->targets[0]->endpoints[0].netns_cookie = 7;
	plan->targets[0]->endpoints[1].netns_cookie = 8;
	TARGET(plan, "v2", "127.0.0.1:80");
	in_force(&w, plan);
	EXPECT_EQ(used(&w, "endpoints"), 3);
}

static struct plan *checked(struct plan *plan)
{
	for (size_t i = 0; i < plan->targets[0]->endpoint_count; i++)
		plan->targets[0]->endpoints[i].health = HEALTH_PENDING;
	return plan;
}

static uint32_t *health_of(struct world *w, const char *endpoint)
{
	return &w->memory.arrays.endpoints[slot_of(w, M "virtualNode/v1:8080", endpoint)].health;
}

TEST(a_new_endpoint_that_is_checked_is_pending_and_what_checks_found_stays)
{
	WORLD(w);

	in_force(&w, checked(ENDPOINTS("10.0.0.1:80")));
	EXPECT_EQ(*health_of(&w, "10.0.0.1:80"), HEALTH_PENDING);
	*health_of(&w, "10.0.0.1:80") = HEALTH_UP;
	in_force(&w, checked(ENDPOINTS("10.0.0.1:80", "10.0.0.2:80")));
	EXPECT_EQ(*health_of(&w, "10.0.0.1:80"), HEALTH_UP);
	EXPECT_EQ(*health_of(&w, "10.0.0.2:80"), HEALTH_PENDING);
	*health_of(&w, "10.0.0.2:80") = HEALTH_DOWN;

	in_force(&w, checked(ENDPOINTS("10.0.0.1:80"))); /* it flaps */
	in_force(&w, checked(ENDPOINTS("10.0.0.1:80", "10.0.0.2:80")));
	EXPECT_EQ(*health_of(&w, "10.0.0.2:80"), HEALTH_DOWN);

	agent_restart(&w);
	in_force(&w, checked(ENDPOINTS("10.0.0.1:80", "10.0.0.2:80")));
	EXPECT_EQ(*health_of(&w, "10.0.0.1:80"), HEALTH_UP);
	EXPECT_EQ(*health_of(&w, "10.0.0.2:80"), HEALTH_DOWN);
}

TEST(a_check_that_comes_or_goes_changes_slots_and_no_generation)
{
	WORLD(w);
	const uint64_t before = in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));

	EXPECT_EQ(*health_of(&w, "10.0.0.1:80"), HEALTH_UNCHECKED);
	EXPECT_EQ(in_force(&w, checked(ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"))), before);
	EXPECT_EQ(*health_of(&w, "10.0.0.1:80"), HEALTH_PENDING);
	*health_of(&w, "10.0.0.1:80") = HEALTH_DOWN;
	EXPECT_EQ(in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80")), before);
	EXPECT_EQ(*health_of(&w, "10.0.0.1:80"), HEALTH_UNCHECKED);
	EXPECT_EQ(*health_of(&w, "10.0.0.2:80"), HEALTH_UNCHECKED);
}

TEST(an_endpoint_of_the_plan_in_force_tells_its_slot)
{
	WORLD(w);
	const struct plan_target *target;
	struct plan_endpoint other;

	in_force(&w, ENDPOINTS("10.0.0.1:80", "[fd00::1]:80"));
	target = apply_current(w.apply)->targets[0];
	EXPECT_EQ(apply_endpoint_slot(w.apply, target, &target->endpoints[0]), slot_of(&w, target->name, "10.0.0.1:80"));
	EXPECT_EQ(apply_endpoint_slot(w.apply, target, &target->endpoints[1]), slot_of(&w, target->name, "[fd00::1]:80"));
	other = target->endpoints[0];
	other.port = htons(81);
	EXPECT_EQ(apply_endpoint_slot(w.apply, target, &other), -ENOENT);
}

TEST(a_slot_tells_its_endpoint)
{
	WORLD(w);
	char buffer[ENDPOINT_TEXT_BYTES];
	struct ip address;
	__be16 port;

	in_force(&w, ENDPOINTS("10.0.0.1:80"));
	EXPECT(apply_slot_endpoint(w.apply, (uint32_t)slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), &address, &port));
	EXPECT_STR(ip_port_format(&address, port, buffer), "10.0.0.1:80");
	EXPECT(!apply_slot_endpoint(w.apply, 77, &address, &port));
	EXPECT(!apply_slot_endpoint(w.apply, MAX_ENDPOINTS, &address, &port));
}

/* --- rows -------------------------------------------------------------------------------------------------------------- */

TEST(a_target_that_fits_into_the_block_leaves_all_rows_where_they_are)
{
	WORLD(w);
	const uint64_t before = in_force(&w, one_service("abc", 2));
	const int a = ROW(&w, 1, "a"), c = ROW(&w, 1, "c");

	in_force(&w, one_service("abcd", 2));
	EXPECT_EQ(ROW(&w, 1, "a"), a);
	EXPECT_EQ(ROW(&w, 1, "c"), c);
	EXPECT(ROW(&w, 0, "d") >= 0 && ROW(&w, 1, "d") >= 0);
	EXPECT_EQ(changed_since(&w, before), 2); /* the service, and target d; no node */
}

TEST(a_service_that_outgrows_its_blocks_gets_new_ones_and_the_old_rows_stay)
{
	WORLD(w);
	uint64_t before;
	int a[2];

	before = in_force(&w, one_service("ab", 2));
	a[0] = ROW(&w, 0, "a");
	a[1] = ROW(&w, 1, "a");
	in_force(&w, one_service("abc", 2));
	for (unsigned client = 0; client < 2; client++)
		EXPECT(w.memory.arrays.rows[a[client]].incarnation & 1);
	EXPECT(ROW(&w, 0, "a") != a[0] && ROW(&w, 1, "a") != a[1]);
	EXPECT(ROW(&w, 0, "c") >= 0 && ROW(&w, 1, "c") >= 0);
	EXPECT_EQ(changed_since(&w, before), 4); /* the service, target c, two nodes */
}

TEST(a_place_in_a_block_is_not_given_to_another_target)
{
	WORLD(w);
	int b;

	in_force(&w, one_service("ab", 1));
	b = ROW(&w, 0, "b");
	w.memory.arrays.rows[b].attempts = 3;
	in_force(&w, one_service("ac", 1));
	EXPECT(ROW(&w, 0, "c") != b);
	EXPECT_EQ(w.memory.arrays.rows[b].attempts, 3);
	EXPECT_EQ(w.memory.arrays.rows[b].target, id_of(&w, OBJECT_TARGET, M "virtualNode/b:8080"));
}

TEST(a_target_that_comes_back_counts_where_it_did)
{
	WORLD(w);
	int b;

	in_force(&w, one_service("ab", 1));
	b = ROW(&w, 0, "b");
	in_force(&w, one_service("a", 1));
	EXPECT_EQ(ROW(&w, 0, "b"), -1);
	in_force(&w, one_service("ab", 1));
	EXPECT_EQ(ROW(&w, 0, "b"), b);
}

/* The service on target a, and 7,000 targets more. */
static struct plan *with_targets(char prefix)
{
	struct plan *plan = one_service("a", 1);

	while (plan->target_count < 7001) {
		char node[16];

		snprintf(node, sizeof(node), "%c-%05zu", prefix, plan->target_count);
		TARGET(plan, node);
	}
	return plan;
}

TEST(a_target_that_left_keeps_its_id_while_a_row_counts_for_it)
{
	WORLD(w);
	char name[] = M "virtualNode/w-00001:8080";
	uint32_t id;

	in_force(&w, one_service("ab", 1));
	id = id_of(&w, OBJECT_TARGET, M "virtualNode/b:8080");
	for (char prefix = 'w'; prefix <= 'z'; prefix++) /* until ids run short */
		in_force(&w, with_targets(prefix));
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_TARGET, name), 0);
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_TARGET, M "virtualNode/b:8080"), id);
}

TEST(a_source_that_comes_later_has_the_offsets_of_the_others)
{
	WORLD(w);

	in_force(&w, one_service("ab", 1));
	in_force(&w, one_service("b", 2));
	EXPECT(ROW(&w, 1, "b") >= 0);
	in_force(&w, one_service("bc", 2)); /* offset 0 is free in the newer block, not in the older one */
	EXPECT(ROW(&w, 0, "c") >= 0 && ROW(&w, 1, "c") >= 0);
	EXPECT(ROW(&w, 0, "c") != ROW(&w, 1, "c"));
}

static int sum_totals(const char *source, const char *service, const char *target, const struct row *sums, void *arg)
{
	EXPECT_STR(source, M "virtualNode/client-0");
	EXPECT_STR(service, M "virtualService/s");
	EXPECT_STR(target, M "virtualNode/b:8080");
	*(struct row *)arg = *sums;
	return 0;
}

TEST(a_row_that_nothing_names_any_more_is_added_to_the_totals_once)
{
	WORLD(w);
	struct row sums = {}, row;
	int b;

	/* given a counted row that left the ring */
	in_force(&w, one_service("ab", 1));
	b = ROW(&w, 0, "b");
	w.memory.arrays.rows[b].attempts = 5;
	w.memory.arrays.rows[b].connect_ns[HISTOGRAM_BUCKETS - 1] = 4;
	row = w.memory.arrays.rows[b];
	turn_the_ring(&w, other_service);
	EXPECT(w.memory.arrays.rows[b].incarnation & 1);

	/* when an agent sweeps, and is killed between the state's commit and the clearing of the row */
	agent_restart(&w);
	in_force(&w, other_service(0));
	test_memory_reach(&w.memory);
	EXPECT(!(w.memory.arrays.rows[b].incarnation & 1));
	w.memory.arrays.rows[b] = row;
	agent_restart(&w);
	in_force(&w, other_service(1));

	/* then the next one does not count it again */
	test_memory_reach(&w.memory);
	EXPECT(!(w.memory.arrays.rows[b].incarnation & 1));
	EXPECT_OK(apply_totals_each(w.apply, sum_totals, &sums));
	EXPECT_EQ(sums.attempts, 5);
	EXPECT_EQ(sums.connect_ns[HISTOGRAM_BUCKETS - 1], 4);
	EXPECT_EQ(sums.target, 0);

	/* and what the row counts in a later life is added */
	row.incarnation += 2;
	row.attempts = 2;
	w.memory.arrays.rows[b] = row;
	agent_restart(&w);
	in_force(&w, other_service(2));
	EXPECT_OK(apply_totals_each(w.apply, sum_totals, &sums));
	EXPECT_EQ(sums.attempts, 7);
}

TEST(what_open_connections_name_is_not_reused)
{
	WORLD(w);
	int row, slot;

	in_force(&w, one_service("ab", 1));
	row = ROW(&w, 0, "a");
	slot = slot_of(&w, M "virtualNode/a:8080", "10.0.0.97:80");
	turn_the_ring(&w, other_service);
	w.fake.open[0] = (struct account){
		.held = 1,
		.row = (uint32_t)row,
		.row_incarnation = w.memory.arrays.rows[row].incarnation,
		.slot = (uint32_t)slot,
		.slot_incarnation = w.memory.arrays.endpoints[slot].incarnation,
	};
	w.fake.open_count = 1;
	agent_restart(&w);
	in_force(&w, other_service(0));
	EXPECT_EQ(w.memory.arrays.rows[row].incarnation, w.fake.open[0].row_incarnation);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].incarnation, w.fake.open[0].slot_incarnation);
	wait_idle(&w);
	w.fake.open_count = 0;
	agent_restart(&w);
	in_force(&w, other_service(1));
	EXPECT(!(w.memory.arrays.rows[row].incarnation & 1));
	EXPECT(!(w.memory.arrays.endpoints[slot].incarnation & 1));
}

/* --- VIPs -------------------------------------------------------------------------------------------------------------- */

TEST(a_vip_stays_until_the_last_directory_with_its_service_has_left_the_ring)
{
	WORLD(w);
	uint32_t service;

	in_force(&w, one_service("a", 1));
	service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
	in_force(&w, other_service(0));
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), service);
	agent_restart(&w);
	in_force(&w, other_service(1));
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), service);
	turn_the_ring(&w, other_service);
	agent_restart(&w);
	in_force(&w, other_service(0));
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), 0);
	EXPECT(vip_service(&w, "240.240.0.9") != 0);
}

TEST(a_vip_that_another_service_gets_is_overwritten)
{
	WORLD(w);
	struct plan *plan = plan_new();

	in_force(&w, one_service("a", 1));
	SERVICE(plan, "t", "240.240.0.1", { TARGET(plan, "z", "10.0.0.9:80"), 1 });
	in_force(&w, plan);
	EXPECT_EQ(w.fake.vip_count, 1);
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), id_of(&w, OBJECT_SERVICE, M "virtualService/t"));
}

TEST(a_full_vip_table_refuses_the_plan_and_puts_back_what_was_there)
{
	WORLD(w);
	struct plan *plan;
	uint64_t before;

	before = in_force(&w, one_service("a", 1));
	w.fake.vip_room = 1;
	plan = plan_new();
	SERVICE(plan, "t", "240.240.0.1", { PLAN_NONE, 1 });
	SERVICE(plan, "u", "240.240.0.2", { PLAN_NONE, 1 });
	EXPECT_EQ(decide(&w, plan), before);
	EXPECT_EQ(w.err.code, -ENOSPC);
	EXPECT_CONTAINS(w.err.message, "240.240.0.2");
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), id_of(&w, OBJECT_SERVICE, M "virtualService/s"));
	EXPECT_STR(apply_current(w.apply)->services[0]->name, M "virtualService/s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_plan_becomes_one_generation_with_all_that_a_hook_looks_up),
		cmocka_unit_test(the_same_plan_again_commits_and_allocates_nothing),
		cmocka_unit_test(a_shift_of_weights_writes_one_record),
		cmocka_unit_test(backends_are_in_order_of_service_id_whatever_the_names),
		cmocka_unit_test(a_service_that_comes_between_others_changes_nothing_of_theirs),
		cmocka_unit_test(a_service_in_the_place_of_another_one_is_the_backend_from_then_on),
		cmocka_unit_test(endpoints_that_stay_keep_their_slots_when_others_come_and_go),
		cmocka_unit_test(an_endpoint_that_flaps_takes_one_slot),
		cmocka_unit_test(an_endpoint_that_comes_back_during_a_sweep_has_a_slot_that_survives_it),
		cmocka_unit_test(the_same_address_of_another_node_or_in_another_namespace_is_another_endpoint),
		cmocka_unit_test(a_new_endpoint_that_is_checked_is_pending_and_what_checks_found_stays),
		cmocka_unit_test(a_check_that_comes_or_goes_changes_slots_and_no_generation),
		cmocka_unit_test(an_endpoint_of_the_plan_in_force_tells_its_slot),
		cmocka_unit_test(a_slot_tells_its_endpoint),
		cmocka_unit_test(a_target_that_fits_into_the_block_leaves_all_rows_where_they_are),
		cmocka_unit_test(a_service_that_outgrows_its_blocks_gets_new_ones_and_the_old_rows_stay),
		cmocka_unit_test(a_place_in_a_block_is_not_given_to_another_target),
		cmocka_unit_test(a_target_that_comes_back_counts_where_it_did),
		cmocka_unit_test(a_target_that_left_keeps_its_id_while_a_row_counts_for_it),
		cmocka_unit_test(a_source_that_comes_later_has_the_offsets_of_the_others),
		cmocka_unit_test(a_row_that_nothing_names_any_more_is_added_to_the_totals_once),
		cmocka_unit_test(what_open_connections_name_is_not_reused),
		cmocka_unit_test(a_vip_stays_until_the_last_directory_with_its_service_has_left_the_ring),
		cmocka_unit_test(a_vip_that_another_service_gets_is_overwritten),
		cmocka_unit_test(a_full_vip_table_refuses_the_plan_and_puts_back_what_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
