/* SPDX-License-Identifier: Apache-2.0 */
/* Names of routes as numbers. */
#include <stdio.h>

#include "agent/l7/route_names.h"
#include "tests/lib/test.h"

TEST(a_name_keeps_its_number)
{
	struct route_names *names = route_names_new();
	const uint32_t a = route_names_number(names, "a"), b = route_names_number(names, "b");

	EXPECT(a && b && a != b);
	EXPECT_EQ(route_names_number(names, "a"), a);
	EXPECT_STR(route_names_text(names, a), "a");
	EXPECT_STR(route_names_text(names, b), "b");
	EXPECT_EQ(route_names_number(names, NULL), 0);
	EXPECT_STR(route_names_text(names, 0), NULL);
	EXPECT_STR(route_names_text(names, b + 1), NULL);
	route_names_free(names);
}

TEST(names_beyond_the_limit_are_all_others)
{
	struct route_names *names = route_names_new();
	char text[16];

	for (uint32_t i = 1; i <= ROUTE_NAMES_MAX; i++) {
		snprintf(text, sizeof(text), "r%u", i);
		EXPECT_EQ(route_names_number(names, text), i);
	}
	EXPECT_EQ(route_names_number(names, "more"), ROUTE_NUMBER_OTHER);
	EXPECT_STR(route_names_text(names, ROUTE_NUMBER_OTHER), NULL);
	EXPECT_EQ(route_names_number(names, "r7"), 7);
	route_names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_keeps_its_number),
		cmocka_unit_test(names_beyond_the_limit_are_all_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
