/* SPDX-License-Identifier: Apache-2.0 */
/* What results add up to, without any endpoint. */
#include "agent/health/check.h"

#include "base/time.h"
#include "tests/lib/test.h"

static const struct check_thresholds two_three = { .healthy = 2, .unhealthy = 3 };

/* Takes results as letters: + passed, - failed, x not run. Returns how often the health changed. */
static unsigned add(struct check_history *h, const struct check_thresholds *thresholds, const char *results)
{
	unsigned changes = 0;

	for (; *results; results++) {
		static uint64_t now_ns = 1;
		const struct check_result result = {
			.outcome = *results == '+' ? CHECK_PASSED : *results == '-' ? CHECK_FAILED : CHECK_NOT_RUN,
			.at_ns = now_ns++,
			.text = "told",
		};

		changes += check_add(h, thresholds, &result);
	}
	return changes;
}

TEST(the_first_result_alone_decides)
{
	struct check_history up = {}, down = {};

	EXPECT_EQ(add(&up, &two_three, "+"), 1);
	EXPECT_EQ(up.health, HEALTH_UP);
	EXPECT_EQ(add(&down, &two_three, "-"), 1);
	EXPECT_EQ(down.health, HEALTH_DOWN);
	EXPECT_STR(down.last.text, "told");
	EXPECT_EQ(down.changed_ns, down.last.at_ns);
}

TEST(after_that_it_takes_exactly_the_threshold_in_a_row)
{
	for (uint32_t threshold = 2; threshold <= 10; threshold++) {
		const struct check_thresholds healthy = { threshold, 10 }, unhealthy = { 10, threshold };
		struct check_history h = {};

		add(&h, &unhealthy, "+");
		for (uint32_t i = 1; i < threshold; i++)
			EXPECT_EQ(add(&h, &unhealthy, "-"), 0);
		EXPECT_EQ(h.health, HEALTH_UP);
		EXPECT_EQ(add(&h, &unhealthy, "-"), 1);
		EXPECT_EQ(h.health, HEALTH_DOWN);
		EXPECT_EQ(h.in_a_row, threshold);
		for (uint32_t i = 1; i < threshold; i++)
			EXPECT_EQ(add(&h, &healthy, "+"), 0);
		EXPECT_EQ(h.health, HEALTH_DOWN);
		EXPECT_EQ(add(&h, &healthy, "+"), 1);
		EXPECT_EQ(h.health, HEALTH_UP);
	}
}

TEST(flapping_below_the_thresholds_changes_nothing)
{
	struct check_history up = {}, down = {};

	EXPECT_EQ(add(&up, &two_three, "+"), 1);
	EXPECT_EQ(add(&up, &two_three, "--+--+-+--+"), 0);
	EXPECT_EQ(up.health, HEALTH_UP);
	EXPECT_EQ(add(&down, &two_three, "-"), 1);
	EXPECT_EQ(add(&down, &two_three, "+-+--+---+-"), 0);
	EXPECT_EQ(down.health, HEALTH_DOWN);
	EXPECT_EQ(down.checks, 12);
	EXPECT_EQ(down.failures, 8);
}

TEST(more_of_the_same_is_no_change)
{
	struct check_history h = {};

	EXPECT_EQ(add(&h, &two_three, "++++++"), 1);
	EXPECT_EQ(h.in_a_row, 6);
	EXPECT_EQ(add(&h, &two_three, "------"), 1);
	EXPECT_EQ(h.in_a_row, 6);
}

TEST(what_was_not_run_says_nothing_of_the_endpoint)
{
	struct check_history h = {};

	EXPECT_EQ(add(&h, &two_three, "xxxx"), 0);
	EXPECT_EQ(h.health, HEALTH_UNCHECKED);
	EXPECT_EQ(h.checks, 0);
	EXPECT_EQ(h.not_run, 4);
	EXPECT_STR(h.last.text, "told");
	EXPECT_EQ(add(&h, &two_three, "+-x-"), 1);
	EXPECT_EQ(h.in_a_row, 2);
	EXPECT_EQ(add(&h, &two_three, "x-"), 1);
	EXPECT_EQ(h.health, HEALTH_DOWN);
}

TEST(what_was_known_before_is_changed_by_thresholds_alone)
{
	struct check_history h = {};

	check_adopt(&h, HEALTH_UP);
	EXPECT_EQ(h.changed_ns, 0);
	EXPECT_EQ(add(&h, &two_three, "--"), 0);
	EXPECT_EQ(h.health, HEALTH_UP);
	EXPECT_EQ(add(&h, &two_three, "-"), 1);
	EXPECT_EQ(h.health, HEALTH_DOWN);
}

TEST(pending_and_unchecked_are_no_knowledge)
{
	struct check_history h = {};

	check_adopt(&h, HEALTH_PENDING);
	check_adopt(&h, HEALTH_UNCHECKED);
	EXPECT_EQ(add(&h, &two_three, "-"), 1);
	EXPECT_EQ(h.health, HEALTH_DOWN);
}

TEST(the_first_check_comes_within_a_tenth_and_the_next_ones_a_tenth_around_the_interval)
{
	const uint64_t interval_ns = 300 * NSEC_PER_SEC;

	EXPECT_EQ(check_first_delay_ns(interval_ns, 0), 0);
	EXPECT(check_first_delay_ns(interval_ns, UINT32_MAX) < interval_ns / 10);
	EXPECT(check_first_delay_ns(interval_ns, UINT32_MAX) > interval_ns / 11);
	EXPECT_EQ(check_delay_ns(interval_ns, 0), interval_ns / 10 * 9);
	EXPECT_EQ(check_delay_ns(interval_ns, 1u << 31), interval_ns);
	EXPECT(check_delay_ns(interval_ns, UINT32_MAX) < interval_ns / 10 * 11);
	EXPECT(check_delay_ns(interval_ns, UINT32_MAX) > interval_ns / 100 * 109);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_result_alone_decides),
		cmocka_unit_test(after_that_it_takes_exactly_the_threshold_in_a_row),
		cmocka_unit_test(flapping_below_the_thresholds_changes_nothing),
		cmocka_unit_test(more_of_the_same_is_no_change),
		cmocka_unit_test(what_was_not_run_says_nothing_of_the_endpoint),
		cmocka_unit_test(what_was_known_before_is_changed_by_thresholds_alone),
		cmocka_unit_test(pending_and_unchecked_are_no_knowledge),
		cmocka_unit_test(the_first_check_comes_within_a_tenth_and_the_next_ones_a_tenth_around_the_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
