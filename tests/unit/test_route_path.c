/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/path.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static void expect(const char *target, const char *path, const char *query)
{
	struct buffer buffer = {};
	struct route_target read;
	char text[256];

	EXPECT_OK(route_target_read(span_of(target), &buffer, &read));
	snprintf(text, sizeof(text), "%.*s", (int)read.path.length, read.path.data);
	EXPECT_STR(text, path);
	snprintf(text, sizeof(text), "%s%.*s", read.has_query ? "?" : "", (int)read.query.length, read.query.data);
	EXPECT_STR(text, query);
	buffer_done(&buffer);
}

TEST(a_path_is_cut_from_its_query)
{
	expect("/", "/", "");
	expect("/a/b", "/a/b", "");
	expect("/a?b=c&d", "/a", "?b=c&d");
	expect("/a?", "/a", "?");
	expect("/a?/../b//c%41", "/a", "?/../b//c%41");
}

TEST(a_path_with_nothing_to_normalise_is_not_copied)
{
	static const char target[] = "/a.b/c..d/e-f_~?x";
	struct buffer buffer = {};
	struct route_target read;

	EXPECT_OK(route_target_read(span_of(target), &buffer, &read));
	EXPECT(read.path.data == target);
	EXPECT(!buffer.data);
}

TEST(dot_segments_are_removed)
{
	static const struct {
		const char *target, *path;
	} paths[] = {
		{ "/.", "/" },	       { "/..", "/" },	      { "/a/.", "/a/" },      { "/a/..", "/" },	      { "/a/./b", "/a/b" },
		{ "/a/../b", "/b" },   { "/../../a", "/a" },  { "/a/b/../../c", "/c" }, { "/a/...", "/a/..." }, { "/.a/..b", "/.a/..b" },
		{ "/a/%2e%2E/b", "/b" }, { "/a/%2e/b", "/a/b" }, { "/a/.%2e", "/" },	{ "/a/b/..", "/a/" },  { "/./a", "/a" },
		{ "/a/../../b/./c/.", "/b/c/" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		expect(paths[i].target, paths[i].path, "");
}

TEST(slashes_in_a_row_are_one_once_the_dots_are_gone)
{
	expect("//", "/", "");
	expect("//a///b//", "/a/b/", "");
	expect("/a//../b", "/a/b", "");
	expect("/a\\b\\..\\c", "/a/c", "");
}

TEST(escapes_of_unreserved_characters_are_undone_and_others_stay)
{
	expect("/%41%7a%30%2D%5f%7E", "/Az0-_~", "");
	expect("/a%2Fb%2f..%5c", "/a%2Fb%2f..%5c", "");
	expect("/%20%25%00", "/%20%25%00", "");
	expect("/%4", "/%4", "");
	expect("/%zz%", "/%zz%", "");
	expect("/%6%65", "/%6%65", ""); /* "%6e" would be one */
	expect("/%%36e/%%%36%31", "/%%36e/%%%361", "");
	expect("/%2f%61", "/%2fa", "");
	expect("/%252e%252e/", "/%252e%252e/", ""); /* undone once, not twice */
}

TEST(what_is_no_path_is_refused)
{
	static const char *const targets[] = { "", "a", "*", "http://x/", "?", "/a#b", "/a?b#c" };

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct buffer buffer = {};
		struct route_target read;

		EXPECT_EQ(route_target_read(span_of(targets[i]), &buffer, &read), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_cut_from_its_query),
		cmocka_unit_test(a_path_with_nothing_to_normalise_is_not_copied),
		cmocka_unit_test(dot_segments_are_removed),
		cmocka_unit_test(slashes_in_a_row_are_one_once_the_dots_are_gone),
		cmocka_unit_test(escapes_of_unreserved_characters_are_undone_and_others_stay),
		cmocka_unit_test(what_is_no_path_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
