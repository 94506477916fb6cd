/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoints' requests are told by themselves, and what the others come to. */
#include "agent/telemetry/endpoint_series.h"
#include "tests/lib/test.h"

static void cleanup_series(struct endpoint_series **series)
{
	endpoint_series_free(*series);
}
#define GIVEN_SERIES                                                                                                          \
	__attribute__((cleanup(cleanup_series))) struct endpoint_series *series = endpoint_series_new();                       \
	assert_non_null(series)

static bool take(struct endpoint_series *series, uint32_t slot, uint32_t incarnation, uint64_t requests, uint64_t failures)
{
	return endpoint_series_take(series, slot,
				    &(struct endpoint){ .incarnation = incarnation, .requests = requests, .request_failures = failures });
}

/* A reading of so many slots from `first` on, each with so many requests. */
static size_t read_slots(struct endpoint_series *series, uint32_t first, uint32_t count, uint64_t requests, uint64_t *ret_others)
{
	size_t own = 0;

	endpoint_series_begin(series);
	for (uint32_t i = 0; i < count; i++)
		own += take(series, first + i, 1, requests, 0);
	*ret_others = endpoint_series_end(series).requests;
	return own;
}

TEST(as_many_as_there_is_room_for_are_told_by_themselves_and_the_others_grow_together)
{
	GIVEN_SERIES;
	uint64_t others;

	EXPECT_EQ(read_slots(series, 1, ENDPOINT_SERIES_MAX + 10, 5, &others), ENDPOINT_SERIES_MAX);
	EXPECT_EQ(others, 50);
	EXPECT_EQ(read_slots(series, 1, ENDPOINT_SERIES_MAX + 10, 7, &others), ENDPOINT_SERIES_MAX);
	EXPECT_EQ(others, 70);
}

TEST(one_that_goes_gives_its_place_and_the_others_never_go_back)
{
	GIVEN_SERIES;
	uint64_t others;

	read_slots(series, 1, ENDPOINT_SERIES_MAX + 10, 5, &others);
	EXPECT_EQ(read_slots(series, ENDPOINT_SERIES_MAX + 1, 5, 6, &others), 0); /* those that were among the others stay there */
	EXPECT_EQ(others, 55);
	EXPECT_EQ(read_slots(series, 1, ENDPOINT_SERIES_MAX, 1, &others), ENDPOINT_SERIES_MAX); /* they are new ones */
	EXPECT_EQ(others, 55);
}

TEST(one_without_requests_takes_no_place)
{
	GIVEN_SERIES;
	uint64_t others;

	EXPECT_EQ(read_slots(series, 1, 2 * ENDPOINT_SERIES_MAX, 0, &others), 0);
	EXPECT_EQ(read_slots(series, 5000, 1, 1, &others), 1);
	EXPECT_EQ(others, 0);
}

TEST(a_slot_that_is_given_to_another_endpoint_begins_anew)
{
	GIVEN_SERIES;
	uint64_t others;

	read_slots(series, 1, ENDPOINT_SERIES_MAX, 5, &others);
	endpoint_series_begin(series);
	EXPECT(!take(series, 9000, 1, 100, 40));
	EXPECT(!take(series, 9000, 1, 100, 40)); /* of two targets */
	EXPECT(!take(series, 9000, 3, 10, 4));
	for (uint32_t i = 1; i <= ENDPOINT_SERIES_MAX; i++)
		EXPECT(take(series, i, 3, 1, 1));
	EXPECT_EQ(endpoint_series_end(series).failures, 44);
	endpoint_series_begin(series);
	EXPECT(!take(series, 1, 5, 0, 0)); /* has had none */
	EXPECT(take(series, 1, 5, 1, 0));
	EXPECT_EQ(endpoint_series_end(series).requests, 110);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_as_there_is_room_for_are_told_by_themselves_and_the_others_grow_together),
		cmocka_unit_test(one_that_goes_gives_its_place_and_the_others_never_go_back),
		cmocka_unit_test(one_without_requests_takes_no_place),
		cmocka_unit_test(a_slot_that_is_given_to_another_endpoint_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
