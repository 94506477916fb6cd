/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <errno.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

TEST(the_clock_is_monotonic_and_never_goes_back)
{
	uint64_t before = time_now_ns(), after = time_now_ns();
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	EXPECT(before <= after);
	EXPECT(after <= (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec);
}

TEST(now_on_the_wall_is_now_and_a_second_ago_is_a_second_before)
{
	uint64_t now = time_now_ns(), wall = time_to_wall_ns(now), earlier = time_to_wall_ns(now - 1000 * NSEC_PER_MSEC);
	int64_t off = (int64_t)wall / (int64_t)NSEC_PER_SEC - time(NULL);

	EXPECT(off >= -5 && off <= 5);
	EXPECT(wall - earlier > 900 * NSEC_PER_MSEC && wall - earlier < 6000 * NSEC_PER_MSEC);
}

TEST(instants_print_in_utc_with_milliseconds)
{
	char text[TIME_TEXT_BYTES];

	EXPECT_STR(time_format(0, text), "1970-01-01T00:00:00.000Z");
	EXPECT_STR(time_format(1790331330123456789, text), "2026-09-25T10:15:30.123Z");
	EXPECT_STR(time_format(951827696999999999, text), "2000-02-29T12:34:56.999Z");
	EXPECT_EQ(strlen(time_format(UINT64_MAX, text)), 24);
}

TEST(spans_print_with_three_digits_and_the_unit_that_fits)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0ns" },
		{ 999, "999ns" },
		{ 1000, "1us" },
		{ 1200, "1.2us" },
		{ 12345, "12.3us" },
		{ 123456, "123us" },
		{ 999499, "999us" },
		{ 999500, "1ms" },
		{ 340000000, "340ms" },
		{ 999999999, "1s" },
		{ 15 * NSEC_PER_SEC, "15s" },
		{ 59940 * NSEC_PER_MSEC, "59.9s" },
		{ 59999 * NSEC_PER_MSEC, "60s" },
		{ 60 * NSEC_PER_SEC, "1m" },
		{ 90 * NSEC_PER_SEC, "1.5m" },
		{ 3600 * NSEC_PER_SEC, "1h" },
		{ 36 * 3600 * NSEC_PER_SEC, "1.5d" },
		{ 1000 * 86400 * NSEC_PER_SEC, "1000d" },
		{ UINT64_MAX, "213504d" },
	};
	char text[TIME_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_STR(time_format_span(cases[i].ns, text), cases[i].text);
}

TEST(spans_parse_in_every_unit)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{ "0s", 0 },
		{ "7ns", 7 },
		{ "20us", 20000 },
		{ "500ms", 500000000 },
		{ "90s", 90 * NSEC_PER_SEC },
		{ "5m", 300 * NSEC_PER_SEC },
		{ "2h", 7200 * NSEC_PER_SEC },
		{ "1d", 86400 * NSEC_PER_SEC },
		{ "18446744073709551615ns", UINT64_MAX },
	};
	uint64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_OK(time_parse_span(cases[i].text, &ns));
		EXPECT_EQ(ns, cases[i].ns);
	}
}

TEST(what_is_no_span_is_refused_and_leaves_the_value_alone)
{
	static const char *const texts[] = { "", "s", "10", "-1s", "+1s", " 1s", "1 s", "1s ", "1.5s", "1S", "1x", "0x1s",
					     "18446744073709551616ns", "213504d", "99999999999999999999s" };
	uint64_t ns = 42;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (time_parse_span(texts[i], &ns) != -EINVAL)
			fail_msg("'%s' was accepted", texts[i]);
	EXPECT_EQ(ns, 42);
}

TEST(instants_are_read_as_tools_of_aws_print_them)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: none */
	} cases[] = {
		{ "2022-05-05T23:12:34Z", 1651792354000 },	     { "2022-05-05T18:12:34.012000-05:00", 1651792354012 },
		{ "2022-05-06T00:12:34.1+0100", 1651792354100 }, { "2022-05-05T23:12:34", 1651792354000 },
		{ "1970-01-01T00:00:00Z", 0 },		     { "1969-12-31T23:59:59Z", -1 },
		{ "2022-05-05", -1 },			     { "2022-05-05T23:12:34X", -1 },
		{ "2022-05-05T23:12:34Z ", -1 },		     { "2022-13-05T23:12:34Z", -1 },
		{ "99999-05-05T23:12:34Z", -1 },		     { "2022-05-05T23:12:34+01", -1 },
		{ "", -1 },				     { "1651792354", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns = 0;
		const int r = time_parse_wall(cases[i].text, &ns);

		EXPECT_EQ(r, cases[i].ms < 0 ? -EINVAL : 0);
		EXPECT_EQ(r < 0 ? -1 : (int64_t)(ns / NSEC_PER_MSEC), cases[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instants_are_read_as_tools_of_aws_print_them),
		cmocka_unit_test(the_clock_is_monotonic_and_never_goes_back),
		cmocka_unit_test(now_on_the_wall_is_now_and_a_second_ago_is_a_second_before),
		cmocka_unit_test(instants_print_in_utc_with_milliseconds),
		cmocka_unit_test(spans_print_with_three_digits_and_the_unit_that_fits),
		cmocka_unit_test(spans_parse_in_every_unit),
		cmocka_unit_test(what_is_no_span_is_refused_and_leaves_the_value_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
