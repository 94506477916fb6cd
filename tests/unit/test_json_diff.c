/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/json_diff.h"
#include "tests/unit/test_spec.h"

static void append(const char *path, const json_t *before, const json_t *after, void *arg)
{
	_cleanup_free_ char *old = before ? json_dumps(before, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	_cleanup_free_ char *new = after ? json_dumps(after, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	buffer_printf(arg, "%s: %s > %s; ", path, old ?: "-", new ?: "-");
}

TEST(what_differs_is_told_member_by_member)
{
	static const struct {
		const char *before, *after, *differences;
	} cases[] = {
		{ "{'a': 1}", "{'a': 1}", "" },
		{ "{'a': 1, 'b': {'c': 2}}", "{'b': {'c': 3}, 'd': []}", "s.a: 1 > -; s.b.c: 2 > 3; s.d: - > []; " },
		{ "{'a': 1}", "{'a': '1'}", "s.a: 1 > \"1\"; " },
		{ "{'a': {}}", "{'a': []}", "s.a: {} > []; " },
		{ "[1, 2, 3]", "[1, 3]", "s[1]: 2 > -; " },
		{ "[1, 3]", "[1, 2, 3]", "s[1]: - > 2; " },
		{ "[{'w': 90}, {'w': 10}]", "[{'w': 50}, {'w': 50}]", "s[0].w: 90 > 50; s[1].w: 10 > 50; " },
		{ "[1, 1]", "[1]", "s[1]: 1 > -; " },
		{ "{}", "{}", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *before = json_of(cases[i].before), *after = json_of(cases[i].after);
		_cleanup_(buffer_done) struct buffer text = {};

		EXPECT_OK(json_diff("s", before, after, append, &text));
		EXPECT_STR(buffer_string(&text), cases[i].differences);
	}
}

TEST(what_came_or_went_whole_is_one_difference)
{
	_cleanup_json_ json_t *value = json_of("{'a': 1}");
	_cleanup_(buffer_done) struct buffer text = {};

	EXPECT_OK(json_diff("", NULL, value, append, &text));
	EXPECT_OK(json_diff("x", value, NULL, append, &text));
	EXPECT_STR(buffer_string(&text), ": - > {\"a\":1}; x: {\"a\":1} > -; ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_differs_is_told_member_by_member),
		cmocka_unit_test(what_came_or_went_whole_is_one_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
