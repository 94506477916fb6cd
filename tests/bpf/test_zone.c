/* SPDX-License-Identifier: Apache-2.0 */
/* Which zones' endpoints get connections, by what of them can be used at the moment. */
#include <stdlib.h>

#include "agent/compile/zones.h"
#include "base/cleanup.h"
#include "tests/bpf/fixture.h"
#include "tests/lib/test.h"

#define PORT 8080
#define DECISIONS 200000
#define OWN 1
#define MOST_ZONES 9

/* A target whose endpoint i is in zone_of[i]; the callers are in zone OWN. */
struct zoned {
	struct fixture f;
	unsigned count;
	uint16_t zone_of[64]; /* by slot, less that of the first */
};

static void zoned_done(struct zoned *z)
{
	fixture_done(&z->f);
}

/* So many endpoints in zone 1, 2 …, as compile() would have them. */
static void given_zones(struct zoned *z, const unsigned counts[], unsigned zones)
{
	_cleanup_free_ struct plan_endpoint *endpoints = calloc(64, sizeof(*endpoints));
	struct plan_target plan = { .zone = OWN, .endpoints = endpoints };
	struct target_record *target;

	assert_non_null(endpoints);
	fixture_init(&z->f);
	z->count = 0;
	for (unsigned zone = 0; zone < zones; zone++)
		for (unsigned i = 0; i < counts[zone]; i++)
			z->zone_of[z->count++] = (uint16_t)(zone + 1);
	given_node(&z->f, NODE_DROP_ALL, (uint32_t[]){ SERVICE, 0 });
	given_service(&z->f, SERVICE, PORT, 1, (unsigned[]){ 1 });
	given_target(&z->f, TARGET, z->count, 0);
	for (unsigned i = 0; i < z->count; i++)
		endpoints[i] = (struct plan_endpoint){ .address = ref_of(&z->f, TARGET, i)->address, .zone = z->zone_of[i] };
	plan.endpoint_count = z->count;
	EXPECT_OK(zones_arrange(&plan));
	target = target_of(&z->f, TARGET);
	target->panic_pct = 0;
	memcpy(target->zone_count, plan.zone_count, sizeof(target->zone_count));
	memcpy(target->zones, plan.zones, sizeof(target->zones));
	for (unsigned i = 0; i < z->count; i++) {
		ref_of(&z->f, TARGET, i)->run = endpoints[i].run;
		ref_of(&z->f, TARGET, i)->zone = z->zone_of[i] = endpoints[i].zone;
	}
}
#define WITH_ZONES(...)                                                                                                       \
	_cleanup_(zoned_done) struct zoned z;                                                                                  \
	given_zones(&z, (unsigned[]){ __VA_ARGS__ }, sizeof((unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned))

static void given_down(struct zoned *z, uint16_t zone, unsigned count)
{
	for (unsigned i = 0; i < z->count; i++)
		if (z->zone_of[i] == zone)
			endpoint_of(&z->f, TARGET, i)->health = count && count-- ? HEALTH_DOWN : HEALTH_UP;
}

/* Shares of zone 1, 2 … in thousandths, 6 more or less: five standard deviations. Nobody who cannot be used gets any, and of one
 * zone all that can be get the same, a tenth more or less. */
static void expect_shares(struct zoned *z, const unsigned shares[], unsigned zones)
{
	const struct tally tally = decide_many(&z->f, flow_to_service(SERVICE, PORT), DECISIONS);
	uint64_t got[MOST_ZONES + 1] = {}, usable[MOST_ZONES + 1] = {};

	EXPECT_EQ(tally.by_reason[REASON_ROUTED], DECISIONS);
	for (unsigned i = 0; i < z->count; i++) {
		const uint64_t count = tally.by_slot[ref_of(&z->f, TARGET, i)->slot];

		got[z->zone_of[i]] += count;
		if (endpoint_of(&z->f, TARGET, i)->health == HEALTH_DOWN)
			EXPECT_EQ(count, 0);
		else
			usable[z->zone_of[i]]++;
	}
	for (unsigned zone = 1; zone <= zones; zone++) {
		const int64_t off = (int64_t)(got[zone] * 1000 / DECISIONS) - (int64_t)shares[zone - 1];

		EXPECT_EQ(off >= -6 && off <= 6, true);
		if (!shares[zone - 1])
			EXPECT_EQ(got[zone], 0);
	}
	for (unsigned i = 0; i < z->count; i++) {
		const uint16_t zone = z->zone_of[i];
		const uint64_t count = tally.by_slot[ref_of(&z->f, TARGET, i)->slot];

		if (endpoint_of(&z->f, TARGET, i)->health != HEALTH_DOWN && got[zone] > 10000)
			EXPECT_EQ(count * usable[zone] * 10 > got[zone] * 9 && count * usable[zone] * 10 < got[zone] * 11, true);
	}
}
#define EXPECT_SHARES(...)                                                                                                    \
	expect_shares(&z, (unsigned[]){ __VA_ARGS__ }, sizeof((unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned))

TEST(the_own_zone_gets_all_while_it_can_carry_its_part)
{
	WITH_ZONES(4, 4, 4);

	EXPECT_SHARES(1000, 0, 0);
	given_down(&z, 2, 2);
	EXPECT_SHARES(1000, 0, 0);
	given_down(&z, 2, 4);
	given_down(&z, 3, 4);
	EXPECT_SHARES(1000, 0, 0);
}

TEST(what_the_own_zone_is_short_of_goes_to_the_others)
{
	WITH_ZONES(10, 10, 10);

	given_down(&z, 1, 5);
	EXPECT_SHARES(600, 200, 200); /* 5 of 25 are three fifths of a third */
	given_down(&z, 1, 9);
	EXPECT_SHARES(142, 428, 428);
	given_down(&z, 2, 8);
	EXPECT_SHARES(230, 0, 769); /* zone 2, with 2 of 13, has less than its part as well */
	given_down(&z, 1, 0);
	given_down(&z, 2, 0);
	EXPECT_SHARES(1000, 0, 0);
}

TEST(other_zones_get_all_when_the_own_one_has_none)
{
	WITH_ZONES(5, 10, 20);

	given_down(&z, 1, 5);
	EXPECT_SHARES(0, 0, 1000); /* of 30, zone 2 has just its third */
	given_down(&z, 3, 8);
	EXPECT_SHARES(0, 363, 636); /* 10 and 12 of 22: by what is over 7 1/3 */
	given_down(&z, 3, 20);
	EXPECT_SHARES(0, 1000, 0);
}

TEST(a_zone_that_never_had_any_is_one_of_those_that_are_called_from)
{
	WITH_ZONES(0, 5, 15);

	EXPECT_SHARES(0, 0, 1000);
	given_down(&z, 3, 10);
	EXPECT_SHARES(0, 500, 500);
}

TEST(a_small_zone_of_ones_own_is_not_overrun)
{
	WITH_ZONES(1, 9);

	EXPECT_SHARES(200, 800);
	given_down(&z, 2, 4);
	EXPECT_SHARES(333, 666); /* 1 of 6, times two zones */
	given_down(&z, 2, 9);
	EXPECT_SHARES(1000, 0);
}

/* The worst that there is: 38 of 100 are here and the other zone has as many left. No pick fails of 0.24 x (38 / 62)^2 of all draws,
 * which the record gives the other zone. */
TEST(of_what_the_own_zone_could_carry_at_most_a_tenth_goes_elsewhere)
{
	WITH_ZONES(19, 31);
	uint64_t other = 0;

	given_down(&z, 2, 12);
	const struct tally tally = decide_many(&z.f, flow_to_service(SERVICE, PORT), DECISIONS);

	for (unsigned i = 19; i < 50; i++)
		other += tally.by_slot[ref_of(&z.f, TARGET, i)->slot];
	EXPECT_EQ(other > DECISIONS / 1000 * 84 && other < DECISIONS / 1000 * 96, true);
}

TEST(an_endpoint_without_room_is_missing_from_its_zone)
{
	WITH_ZONES(4, 4);

	target_of(&z.f, TARGET)->max_connections = 7;
	for (unsigned i = 0; i < 3; i++)
		endpoint_of(&z.f, TARGET, i)->open = 7;
	const struct tally tally = decide_many(&z.f, flow_to_service(SERVICE, PORT), DECISIONS);

	EXPECT_EQ(z.zone_of[3], OWN);
	EXPECT_EQ(tally.by_slot[ref_of(&z.f, TARGET, 3)->slot] > DECISIONS / 1000 * 394 &&
			  tally.by_slot[ref_of(&z.f, TARGET, 3)->slot] < DECISIONS / 1000 * 406, true); /* 1 of 5, times two */
	EXPECT_EQ(tally.by_slot[ref_of(&z.f, TARGET, 0)->slot], 0);
}

TEST(in_panic_zones_make_no_difference)
{
	WITH_ZONES(10, 10);
	uint64_t other = 0;

	given_down(&z, 1, 10);
	given_down(&z, 2, 9);
	target_of(&z.f, TARGET)->panic_pct = 50;
	const struct tally tally = decide_many(&z.f, flow_to_service(SERVICE, PORT), DECISIONS);

	EXPECT_EQ(tally.by_reason[REASON_PANIC], DECISIONS);
	for (unsigned i = 10; i < 20; i++)
		other += tally.by_slot[ref_of(&z.f, TARGET, i)->slot];
	EXPECT_EQ(other > DECISIONS / 100 * 49 && other < DECISIONS / 100 * 51, true);
}

TEST(more_zones_than_are_told_apart_share_what_is_left)
{
	WITH_ZONES(1, 10, 9, 8, 7, 6, 5, 2, 1);
	const struct tally before = decide_many(&z.f, flow_to_service(SERVICE, PORT), DECISIONS);
	uint64_t last = 0;

	EXPECT_EQ(before.by_reason[REASON_ROUTED], DECISIONS);
	for (uint16_t zone = 2; zone <= 7; zone++)
		given_down(&z, zone, 10);
	const struct tally after = decide_many(&z.f, flow_to_service(SERVICE, PORT), DECISIONS);

	EXPECT_EQ(after.by_reason[REASON_ROUTED], DECISIONS);
	for (unsigned i = 0; i < z.count; i++)
		if (z.zone_of[i] >= 8)
			last += after.by_slot[ref_of(&z.f, TARGET, i)->slot];
	EXPECT_EQ(last, 0); /* the own one carries its eighth of 4 alone */
	given_down(&z, 1, 1);
	EXPECT_EQ(decide_in_kernel(&z.f, flow_to_service(SERVICE, PORT)).reason, REASON_ROUTED);
}

TEST(the_only_endpoint_that_can_be_used_is_found_in_any_zone)
{
	WITH_ZONES(20, 20, 20);

	for (unsigned usable = 0; usable < 60; usable += 7) {
		for (unsigned i = 0; i < 60; i++)
			endpoint_of(&z.f, TARGET, i)->health = i == usable ? HEALTH_UP : HEALTH_PENDING;
		const struct tally tally = decide_many(&z.f, flow_to_service(SERVICE, PORT), 2000);

		EXPECT_EQ(tally.by_slot[ref_of(&z.f, TARGET, usable)->slot], 2000);
	}
	endpoint_of(&z.f, TARGET, 56)->health = HEALTH_DOWN;
	EXPECT_EQ(decide_in_kernel(&z.f, flow_to_service(SERVICE, PORT)).reason, REASON_NO_ENDPOINT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_own_zone_gets_all_while_it_can_carry_its_part),
		cmocka_unit_test(what_the_own_zone_is_short_of_goes_to_the_others),
		cmocka_unit_test(other_zones_get_all_when_the_own_one_has_none),
		cmocka_unit_test(a_zone_that_never_had_any_is_one_of_those_that_are_called_from),
		cmocka_unit_test(a_small_zone_of_ones_own_is_not_overrun),
		cmocka_unit_test(of_what_the_own_zone_could_carry_at_most_a_tenth_goes_elsewhere),
		cmocka_unit_test(an_endpoint_without_room_is_missing_from_its_zone),
		cmocka_unit_test(in_panic_zones_make_no_difference),
		cmocka_unit_test(more_zones_than_are_told_apart_share_what_is_left),
		cmocka_unit_test(the_only_endpoint_that_can_be_used_is_found_in_any_zone),
	};

	return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
