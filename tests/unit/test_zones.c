/* SPDX-License-Identifier: Apache-2.0 */
/* Zones of a target: the order of its lists, and each zone's share while all endpoints can be used. */
#include "agent/compile/zones.h"

#include <stdlib.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

#define OWN 5

struct given {
	uint16_t zone;
	unsigned count;
};

static void given_add(struct plan_target *target, const char *prefix, const struct given *zones, size_t count)
{
	for (size_t z = 0; z < count; z++)
		for (unsigned i = 0; i < zones[z].count; i++) {
			struct plan_endpoint *endpoint = &target->endpoints[target->endpoint_count++];

			*endpoint = (struct plan_endpoint){ .zone = zones[z].zone, .port = htons(80) };
			assert_int_equal(ip_parse(prefix, &endpoint->address), 0);
			endpoint->address.bytes[14] = (uint8_t)i;
			endpoint->address.bytes[15] = (uint8_t)z;
		}
}

/* Endpoints of IPv4 of these zones, arranged. */
static void given_zones(struct plan_target *target, uint16_t own, const struct given *zones, size_t count)
{
	*target = (struct plan_target){ .zone = own, .endpoints = calloc(1000, sizeof(*target->endpoints)) };
	assert_non_null(target->endpoints);
	given_add(target, "10.0.0.0", zones, count);
	EXPECT_OK(zones_arrange(target));
}
#define GIVEN(target, own, ...)                                                                                               \
	given_zones(target, own, (const struct given[]){ __VA_ARGS__ }, sizeof((const struct given[]){ __VA_ARGS__ }) / sizeof(struct given))

static void done(struct plan_target *target)
{
	free(target->zones);
	free(target->endpoints);
}

static void expect_runs(const struct plan_target *target, int list, size_t count, const unsigned counts[], const unsigned shares[])
{
	unsigned below = 0;

	EXPECT_EQ(target->zone_count[list], count);
	for (size_t z = 0; z < count; z++) {
		const struct zone_run *run = &target->zones[list][z];

		EXPECT_EQ(run->count, counts[z]);
		EXPECT_EQ((run->below - below) * 1000ull / SHARE_ALL, shares[z]);
		below = run->below;
	}
	EXPECT_EQ(below, SHARE_ALL);
}
#define EXPECT_RUNS(target, counts, shares)                                                                                   \
	expect_runs(target, LIST_V4, sizeof((unsigned[])counts) / sizeof(unsigned), (unsigned[])counts, (unsigned[])shares)
#define LIST(...) { __VA_ARGS__ }

TEST(the_callers_own_zone_comes_first_and_each_run_holds_its_zone)
{
	_cleanup_(done) struct plan_target t;

	GIVEN(&t, OWN, { 9, 2 }, { OWN, 2 }, { 3, 4 });
	EXPECT_EQ(t.zone_count[LIST_V4], 3);
	for (size_t i = 0; i < t.endpoint_count; i++) {
		const uint16_t zone = i < 2 ? OWN : i < 6 ? 3 : 9;

		EXPECT_EQ(t.endpoints[i].zone, zone);
		EXPECT_EQ(t.endpoints[i].run, zone == OWN ? 0 : zone == 3 ? 1 : 2);
	}
}

TEST(a_zone_that_has_its_part_keeps_all_connections_of_its_own)
{
	_cleanup_(done) struct plan_target even, more;

	GIVEN(&even, OWN, { OWN, 2 }, { 3, 2 });
	EXPECT_RUNS(&even, LIST(2, 2), LIST(1000, 0));
	GIVEN(&more, OWN, { OWN, 20 }, { 3, 2 }, { 4, 2 });
	EXPECT_RUNS(&more, LIST(20, 2, 2), LIST(1000, 0, 0));
}

TEST(what_is_too_much_for_the_own_zone_goes_to_those_that_have_more_than_their_part)
{
	_cleanup_(done) struct plan_target two, three;

	GIVEN(&two, OWN, { OWN, 1 }, { 3, 9 });
	EXPECT_RUNS(&two, LIST(1, 9), LIST(199, 800)); /* of two zones' callers half each: the one endpoint gets its tenth */
	GIVEN(&three, OWN, { OWN, 2 }, { 3, 4 }, { 4, 6 });
	EXPECT_RUNS(&three, LIST(2, 6, 4), LIST(500, 500, 0)); /* four of twelve are just the part of a third */
}

TEST(a_zone_without_endpoints_leaves_all_to_the_others)
{
	_cleanup_(done) struct plan_target t;

	GIVEN(&t, OWN, { 3, 5 }, { 4, 15 });
	EXPECT_RUNS(&t, LIST(0, 15, 5), LIST(0, 1000, 0));
}

TEST(zones_make_no_difference_where_there_is_one_or_the_callers_have_none)
{
	_cleanup_(done) struct plan_target one, other, none;

	GIVEN(&one, OWN, { OWN, 3 });
	EXPECT_EQ(one.zone_count[LIST_V4], 0);
	GIVEN(&other, OWN, { 9, 3 });
	EXPECT_EQ(other.zone_count[LIST_V4], 0);
	GIVEN(&none, 0, { 9, 3 }, { 8, 3 });
	EXPECT_EQ(none.zone_count[LIST_V4], 0);
	EXPECT_EQ(none.endpoints[3].zone, 8); /* as they were */
}

TEST(the_smallest_of_too_many_zones_count_as_one)
{
	_cleanup_(done) struct plan_target t;

	GIVEN(&t, OWN, { OWN, 1 }, { 11, 9 }, { 12, 8 }, { 13, 7 }, { 14, 6 }, { 15, 5 }, { 16, 4 }, { 17, 2 }, { 18, 1 }, { 19, 1 });
	EXPECT_EQ(t.zone_count[LIST_V4], MAX_TARGET_ZONES);
	EXPECT_EQ(t.zones[LIST_V4][1].count, 9);
	EXPECT_EQ(t.zones[LIST_V4][7].count, 4);
	EXPECT_EQ(t.endpoints[t.endpoint_count - 1].run, 7);
	EXPECT_EQ(t.zones[LIST_V4][7].below, SHARE_ALL);
}

TEST(families_are_arranged_each_for_itself)
{
	_cleanup_(done) struct plan_target t = { .zone = OWN, .endpoints = calloc(100, sizeof(*t.endpoints)) };

	assert_non_null(t.endpoints);
	given_add(&t, "10.0.0.0", (const struct given[]){ { 9, 2 }, { OWN, 1 } }, 2);
	given_add(&t, "fd00::", (const struct given[]){ { 9, 3 } }, 1);
	EXPECT_OK(zones_arrange(&t));
	EXPECT_EQ(t.zone_count[LIST_V4], 2);
	EXPECT_EQ(t.zone_count[LIST_V6], 0);
	EXPECT_EQ(t.endpoints[0].zone, OWN);
	EXPECT_EQ(ip_is_v4(&t.endpoints[2].address), true);
	EXPECT_EQ(ip_is_v4(&t.endpoints[3].address), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_callers_own_zone_comes_first_and_each_run_holds_its_zone),
		cmocka_unit_test(a_zone_that_has_its_part_keeps_all_connections_of_its_own),
		cmocka_unit_test(what_is_too_much_for_the_own_zone_goes_to_those_that_have_more_than_their_part),
		cmocka_unit_test(a_zone_without_endpoints_leaves_all_to_the_others),
		cmocka_unit_test(zones_make_no_difference_where_there_is_one_or_the_callers_have_none),
		cmocka_unit_test(the_smallest_of_too_many_zones_count_as_one),
		cmocka_unit_test(families_are_arranged_each_for_itself),
	};

	return cmocka_run_group_tests_name("zones", tests, NULL, NULL);
}
