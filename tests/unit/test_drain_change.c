/* SPDX-License-Identifier: Apache-2.0 */
/* Which changes of the kernel's records open connections have to be asked about, on plain memory. */
#include "agent/drain/change.h"
#include "base/cleanup.h"
#include "tests/lib/memory.h"
#include "tests/lib/test.h"

enum { NODE = 1, SERVICE = 2, TARGET = 3, OTHER_SERVICE = 4, OTHER_TARGET = 5 };
enum { SLOT = 70, OTHER_SLOT = 140 };

/* NODE calls SERVICE, which leads to TARGET with SLOT; one connection is open. OTHER_TARGET has OTHER_SLOT, and no connection. */
struct scene {
	struct test_memory memory;
	struct kernel_memory *m;
	struct change_watch *watch;
};

static void scene_done(struct scene *s)
{
	change_watch_free(s->watch);
	test_memory_done(&s->memory);
}

static void publish(struct scene *s, uint32_t id, uint32_t ref)
{
	const uint64_t now = s->m->root->generation;

	s->m->directories[(now + 1) % RING_DIRECTORIES] = s->m->directories[now % RING_DIRECTORIES];
	s->m->directories[(now + 1) % RING_DIRECTORIES].refs[id] = ref;
	s->m->root->generation = now + 1;
}

static uint32_t list(struct scene *s, uint32_t record, uint32_t slot, uint32_t count)
{
	s->m->targets[record] = (struct target_record){ .first = { record * 10 }, .count = { count } };
	s->m->refs[record * 10] = (struct endpoint_ref){ .slot = slot, .incarnation = s->m->endpoints[slot].incarnation };
	return REF(OBJECT_TARGET, record);
}

static bool look(struct scene *s)
{
	return change_watch_look(s->watch, &s->memory.arrays);
}

static void given_scene(struct scene *s)
{
	test_memory_init(&s->memory);
	s->m = &s->memory.arrays;
	EXPECT_OK(change_watch_new(&s->m->limits, &s->watch));
	s->m->root->generation = 100;
	s->m->endpoints[SLOT] = (struct endpoint){ .incarnation = 1, .open = 1 };
	s->m->endpoints[OTHER_SLOT] = (struct endpoint){ .incarnation = 7 };
	s->m->rows[9] = (struct row){ .incarnation = 1, .source = NODE, .service = SERVICE, .target = TARGET, .open = 1 };
	publish(s, NODE, REF(OBJECT_NODE, 1));
	publish(s, SERVICE, REF(OBJECT_SERVICE, 1));
	publish(s, OTHER_SERVICE, REF(OBJECT_SERVICE, 2));
	publish(s, TARGET, list(s, 1, SLOT, 1));
	publish(s, OTHER_TARGET, list(s, 2, OTHER_SLOT, 1));
}

TEST(the_first_look_asks_about_whatever_is_open)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	EXPECT(look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 0);
	EXPECT(!look(&s));
}

TEST(where_nothing_is_open_nobody_is_asked)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	s.m->rows[9].open = s.m->endpoints[SLOT].open = 0;
	EXPECT(!look(&s));
	publish(&s, NODE, 0);
	publish(&s, TARGET, 0);
	EXPECT(!look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 1);
}

TEST(a_change_concerns_the_connections_of_its_objects_alone)
{
	static const struct {
		uint32_t id, ref;
		bool concerns;
	} changes[] = {
		{ NODE, REF(OBJECT_NODE, 7), true },
		{ SERVICE, REF(OBJECT_SERVICE, 7), true },
		{ SERVICE, 0, true },
		{ OTHER_SERVICE, REF(OBJECT_SERVICE, 8), false },
		{ OTHER_SERVICE, 0, false },
		{ OTHER_TARGET, 0, false },
		{ 20, REF(OBJECT_NODE, 9), false },
	};
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		publish(&s, changes[i].id, changes[i].ref);
		EXPECT_EQ(look(&s), changes[i].concerns);
		EXPECT(!look(&s));
	}
}

/* Of connections that weft-proxy has there is no row. */
TEST(a_change_of_a_service_that_is_handed_over_or_of_any_node_beside_one_asks)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	s.m->rows[9].open = s.m->endpoints[SLOT].open = 0;
	EXPECT(!look(&s));
	s.m->services[8] = (struct service_record){ .first_route = 90, .port_count = 2 };
	s.m->routes[91].flags = ROUTE_L7;
	publish(&s, OTHER_SERVICE, REF(OBJECT_SERVICE, 8));
	EXPECT(look(&s));
	EXPECT(!look(&s));
	publish(&s, TARGET, 0);
	publish(&s, SERVICE, REF(OBJECT_SERVICE, 7));
	EXPECT(!look(&s));
	publish(&s, NODE, REF(OBJECT_NODE, 7));
	EXPECT(look(&s));
	publish(&s, OTHER_SERVICE, REF(OBJECT_SERVICE, 2)); /* not any more */
	EXPECT(look(&s));
	publish(&s, NODE, 0);
	EXPECT(!look(&s));
	s.m->services[9] = (struct service_record){ .first_route = MAX_ROUTES - 1, .port_count = UINT16_MAX }; /* makes no sense */
	publish(&s, OTHER_SERVICE, REF(OBJECT_SERVICE, 9));
	EXPECT(!look(&s));
}

TEST(a_target_matters_by_its_endpoints_and_by_what_it_demands)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	publish(&s, TARGET, list(&s, 11, SLOT, 1)); /* a new record with the same endpoint */
	EXPECT(!look(&s));
	publish(&s, TARGET, list(&s, 12, SLOT, 1));
	s.m->targets[12].flags = TARGET_NEEDS_TLS;
	EXPECT(look(&s));
	publish(&s, TARGET, list(&s, 13, SLOT, 1)); /* and as it was */
	EXPECT(look(&s));
	publish(&s, TARGET, list(&s, 15, SLOT, 0));
	EXPECT(look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 1);
	publish(&s, TARGET, list(&s, 14, SLOT, 1));
	EXPECT(look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 0);
	EXPECT_EQ(s.m->endpoints[OTHER_SLOT].gone, 0);
}

TEST(what_came_and_went_between_two_looks_is_seen_as_it_is)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	for (unsigned i = 0; i < 3 * RING_DIRECTORIES; i++)
		publish(&s, TARGET, i % 2 ? list(&s, 1, SLOT, 1) : 0);
	EXPECT(!look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 0);
}

TEST(an_endpoint_that_came_and_went_between_two_looks_is_gone)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	s.m->endpoints[SLOT + 1] = (struct endpoint){ .incarnation = 1 };
	publish(&s, OTHER_TARGET, list(&s, 30, SLOT + 1, 1));
	s.m->endpoints[SLOT + 1].open = 1;
	publish(&s, OTHER_TARGET, list(&s, 31, SLOT + 1, 0));
	EXPECT(look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT + 1].gone, 1);
}

TEST(a_record_that_was_reused_since_is_not_taken_for_the_same)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	publish(&s, TARGET, list(&s, 1, SLOT, 0)); /* in the place of the old one, which was let go */
	s.m->root->oldest = s.m->root->generation;
	EXPECT(look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 1);
	EXPECT(!look(&s));
}

TEST(the_next_agent_finds_slots_as_the_last_one_left_them)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	publish(&s, TARGET, 0);
	s.m->endpoints[OTHER_SLOT].gone = 1; /* came back while nobody looked */
	change_watch_free(s.watch);
	EXPECT_OK(change_watch_new(&s.m->limits, &s.watch));
	EXPECT(look(&s));
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 1);
	EXPECT_EQ(s.m->endpoints[OTHER_SLOT].gone, 0);
}

TEST(a_slot_that_was_given_to_another_is_not_listed_by_its_old_name)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	look(&s);
	s.m->endpoints[SLOT].incarnation = 3; /* but the list says 1 */
	publish(&s, OTHER_TARGET, 0);
	look(&s);
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 1);
	s.m->endpoints[OTHER_SLOT] = (struct endpoint){ .incarnation = 8 }; /* free */
	publish(&s, OTHER_TARGET, REF(OBJECT_TARGET, 2));
	look(&s);
	EXPECT_EQ(s.m->endpoints[OTHER_SLOT].gone, 0);
}

TEST(records_that_make_no_sense_name_nothing)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	s.m->targets[2] = (struct target_record){ .first = { MAX_ENDPOINT_REFS - 1, UINT32_MAX }, .count = { 2, 1 } };
	s.m->refs[10].slot = UINT32_MAX;
	s.m->rows[10] = (struct row){ .incarnation = 1, .source = UINT32_MAX, .service = MAX_OBJECTS, .target = MAX_OBJECTS, .open = 1 };
	publish(&s, OTHER_SERVICE, REF(15, REF_INDEX_MASK));
	publish(&s, 21, REF(OBJECT_TARGET, REF_INDEX_MASK));
	look(&s);
	EXPECT_EQ(s.m->endpoints[SLOT].gone, 1);
	EXPECT_EQ(s.m->endpoints[OTHER_SLOT].gone, 1);
	publish(&s, 22, REF(OBJECT_NODE, 1));
	EXPECT(!look(&s));
}

static void node_with(struct scene *s, uint32_t record, uint32_t flags)
{
	s->m->nodes[record] = (struct node_record){ .flags = flags };
	publish(s, NODE, REF(OBJECT_NODE, record));
}

TEST(whoever_left_a_mesh_is_asked_about_when_its_filter_begins_or_is_audited_otherwise)
{
	static const struct {
		uint32_t flags;
		bool filters;
	} changes[] = {
		{ 0, false }, { NODE_AUDIT, false }, { NODE_DROP_ALL | NODE_AUDIT, true }, { NODE_DROP_ALL | NODE_AUDIT, false },
		{ NODE_DROP_ALL, true }, { NODE_DROP_ALL, false }, { 0, false }, { NODE_DROP_ALL, true },
	};
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	s.m->rows[9].open = s.m->endpoints[SLOT].open = 0; /* those that left are in no row */
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		node_with(&s, 3 + i % 2, changes[i].flags);
		look(&s);
		if (change_watch_filters(s.watch) != changes[i].filters)
			fail_msg("change %zu", i);
		look(&s); /* nothing changed since */
		EXPECT(!change_watch_filters(s.watch));
	}
	publish(&s, NODE, 0);
	look(&s);
	EXPECT(!change_watch_filters(s.watch));
	node_with(&s, 3, NODE_DROP_ALL);
	look(&s);
	EXPECT(change_watch_filters(s.watch));
}

TEST(a_filter_that_let_out_between_two_looks_is_one_that_closed)
{
	_cleanup_(scene_done) struct scene s = {};

	given_scene(&s);
	node_with(&s, 3, NODE_DROP_ALL);
	look(&s);
	node_with(&s, 4, 0);
	publish(&s, OTHER_TARGET, 0);
	node_with(&s, 5, NODE_DROP_ALL);
	publish(&s, OTHER_TARGET, REF(OBJECT_TARGET, 2));
	look(&s);
	EXPECT(change_watch_filters(s.watch));
	node_with(&s, 6, NODE_DROP_ALL);
	node_with(&s, 7, NODE_DROP_ALL);
	look(&s);
	EXPECT(!change_watch_filters(s.watch));
	s.m->root->oldest = s.m->root->generation + 1; /* those between are not known any more */
	node_with(&s, 8, NODE_DROP_ALL);
	look(&s);
	EXPECT(change_watch_filters(s.watch));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_look_asks_about_whatever_is_open),
		cmocka_unit_test(where_nothing_is_open_nobody_is_asked),
		cmocka_unit_test(a_change_concerns_the_connections_of_its_objects_alone),
		cmocka_unit_test(a_change_of_a_service_that_is_handed_over_or_of_any_node_beside_one_asks),
		cmocka_unit_test(a_target_matters_by_its_endpoints_and_by_what_it_demands),
		cmocka_unit_test(what_came_and_went_between_two_looks_is_seen_as_it_is),
		cmocka_unit_test(an_endpoint_that_came_and_went_between_two_looks_is_gone),
		cmocka_unit_test(a_record_that_was_reused_since_is_not_taken_for_the_same),
		cmocka_unit_test(the_next_agent_finds_slots_as_the_last_one_left_them),
		cmocka_unit_test(a_slot_that_was_given_to_another_is_not_listed_by_its_old_name),
		cmocka_unit_test(records_that_make_no_sense_name_nothing),
		cmocka_unit_test(whoever_left_a_mesh_is_asked_about_when_its_filter_begins_or_is_audited_otherwise),
		cmocka_unit_test(a_filter_that_let_out_between_two_looks_is_one_that_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
