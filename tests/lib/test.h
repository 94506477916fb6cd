/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka in the words of our tests. A program lists its tests in main():
 *
 *   TEST(an_empty_buffer_reads_as_the_empty_string) { … }
 *   int main(void)
 *   {
 *           const struct CMUnitTest tests[] = { cmocka_unit_test(an_empty_buffer_reads_as_the_empty_string) };
 *           return cmocka_run_group_tests(tests, NULL, NULL);
 *   }
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/error.h"

#define TEST(name) static void name(void **state __attribute__((unused)))

#define EXPECT(condition)                                                                                                     \
	do {                                                                                                                   \
		if (!(condition))                                                                                              \
			fail_msg("expected: %s", #condition);                                                                  \
	} while (0)

/* Integers of any width and sign, enums, booleans. */
#define EXPECT_EQ(actual, expected)                                                                                           \
	do {                                                                                                                   \
		const long long _actual = (long long)(actual), _expected = (long long)(expected);                              \
		if (_actual != _expected)                                                                                      \
			fail_msg("%s is %lld (0x%llx), expected %s = %lld (0x%llx)", #actual, _actual, _actual, #expected,     \
				 _expected, _expected);                                                                        \
	} while (0)

/* Strings; NULL equals NULL only. */
#define EXPECT_STR(actual, expected)                                                                                          \
	do {                                                                                                                   \
		const char *_actual = (actual), *_expected = (expected);                                                       \
		if (!_actual || !_expected ? _actual != _expected : strcmp(_actual, _expected) != 0)                           \
			fail_msg("%s is \"%s\", expected \"%s\"", #actual, _actual ? _actual : "(null)",                       \
				 _expected ? _expected : "(null)");                                                            \
	} while (0)

/* `haystack` contains `needle`. */
#define EXPECT_CONTAINS(haystack, needle)                                                                                     \
	do {                                                                                                                   \
		const char *_haystack = (haystack), *_needle = (needle);                                                       \
		if (!_haystack || !strstr(_haystack, _needle))                                                                 \
			fail_msg("%s is \"%s\", without \"%s\"", #haystack, _haystack ? _haystack : "(null)", _needle);        \
	} while (0)

/* A call that returns 0 or more, and fails with a negative errno. With an error: EXPECT_OK(f(…, &err), &err). */
#define EXPECT_OK(...) EXPECT_OK_(__VA_ARGS__, NULL, )
#define EXPECT_OK_(call, err, ...) expect_ok((call), (err), #call, __FILE__, __LINE__)

static inline void expect_ok(long long r, const struct error *err, const char *call, const char *file, int line)
{
	if (r >= 0)
		return;
	print_error("%s returned %lld: %s%s%s\n", call, r, err ? err->field : "", err && err->field[0] ? ": " : "",
		    err && err->message[0] ? err->message : strerror((int)-r));
	_fail(file, line);
}

/* How many times slower than usual this machine is said to be, by WEFT_TEST_SLOWNESS: 1, or what tests/kernels/run sets for an
 * emulated one. Deadlines are so much later. */
static inline uint64_t test_slowness(void)
{
	const char *text = getenv("WEFT_TEST_SLOWNESS");

	return text && atoi(text) > 1 ? (uint64_t)atoi(text) : 1;
}

/* Until a condition holds: true; or `deadline_ns` from now has passed: false. Looks every millisecond. */
#define WAITED_FOR(condition, deadline_ns)                                                                                    \
	({                                                                                                                     \
		const uint64_t _end_ns = test_now_ns() + (deadline_ns) * test_slowness();                                      \
		bool _holds;                                                                                                   \
		while (!(_holds = (condition)) && test_now_ns() <= _end_ns)                                                    \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                                             \
		_holds;                                                                                                        \
	})

/* Likewise; a test that waits in vain fails with the condition's text. */
#define WAIT_FOR(condition, deadline_ns)                                                                                      \
	do {                                                                                                                   \
		if (!WAITED_FOR(condition, deadline_ns))                                                                       \
			fail_msg("waited %llu ms in vain for: %s", (unsigned long long)(deadline_ns) / 1000000, #condition);   \
	} while (0)

static inline uint64_t test_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}
