/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sorted.h"

#include "base/cleanup.h"
#include "tests/lib/test.h"

static const int numbers[] = { 2, 4, 4, 4, 7 };

static size_t place_of(size_t count, int number)
{
	return SORTED_PLACE(count, i, numbers[i] < number);
}

TEST(what_is_there_is_found_where_it_begins)
{
	EXPECT_EQ(place_of(5, 2), 0);
	EXPECT_EQ(place_of(5, 4), 1);
	EXPECT_EQ(place_of(5, 7), 4);
	EXPECT_EQ(place_of(1, 2), 0);
}

TEST(what_is_not_there_has_the_place_where_it_belongs)
{
	EXPECT_EQ(place_of(0, 3), 0);
	EXPECT_EQ(place_of(5, 1), 0);
	EXPECT_EQ(place_of(5, 3), 1);
	EXPECT_EQ(place_of(5, 5), 4);
	EXPECT_EQ(place_of(5, 8), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_is_found_where_it_begins),
		cmocka_unit_test(what_is_not_there_has_the_place_where_it_belongs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
