/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/abi/directory.h"
#include "maps/limits.h"
#include "tests/lib/test.h"

TEST(arrays_made_for_so_many_services_are_enough_for_them)
{
	for (uint32_t services = 1; services <= MAX_SERVICES; services += 97) {
		struct kernel_limits limits;

		kernel_limits_for(services, &limits);
		EXPECT(kernel_limits_services(&limits) >= services);
		EXPECT(kernel_limits_services(&limits) < services + SERVICES_STEP);
	}
}

TEST(the_directory_has_a_page_for_each_id_and_every_bitmap_whole_words)
{
	for (uint32_t services = SERVICES_STEP; services <= MAX_SERVICES; services *= 2) {
		struct kernel_limits limits;

		kernel_limits_for(services, &limits);
		EXPECT_EQ(limits.objects % DIRECTORY_PAGE_IDS, 0);
		EXPECT_EQ(kernel_limits_entries(&limits, "w_directory"), directory_page(RING_DIRECTORIES - 1, limits.objects - 1) + 1);
		EXPECT_EQ(limits.nodes % 64, 0);
		EXPECT_EQ(limits.rows % 64, 0);
	}
}

TEST(few_services_may_have_many_callers)
{
	struct kernel_limits limits;

	kernel_limits_for(25, &limits);
	EXPECT(limits.rows >= 25 * 25);
	EXPECT(limits.backends >= 2 * 25 * 25); /* those of a change and those before it */
}

TEST(the_smallest_array_decides)
{
	struct kernel_limits limits;

	kernel_limits_for(1024, &limits);
	limits.endpoints /= 4;
	EXPECT_EQ(kernel_limits_services(&limits), 256);
}

TEST(a_map_whose_size_does_not_follow_services_has_none_here)
{
	struct kernel_limits limits;

	kernel_limits_for(256, &limits);
	EXPECT_EQ(kernel_limits_entries(&limits, "w_service"), limits.services);
	EXPECT_EQ(kernel_limits_entries(&limits, "w_vip"), 0);
	EXPECT_EQ(kernel_limits_entries(&limits, "w_edge"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_made_for_so_many_services_are_enough_for_them),
		cmocka_unit_test(the_directory_has_a_page_for_each_id_and_every_bitmap_whole_words),
		cmocka_unit_test(few_services_may_have_many_callers),
		cmocka_unit_test(the_smallest_array_decides),
		cmocka_unit_test(a_map_whose_size_does_not_follow_services_has_none_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
