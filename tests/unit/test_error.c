/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>

#include "base/bytes.h"
#include "tests/lib/test.h"

TEST(setting_an_error_returns_its_code_so_that_one_line_reports_and_leaves)
{
	struct error err = {};
	char text[128];

	EXPECT_EQ(error_set(&err, -ENOENT, "no route '%s'", "r1"), -ENOENT);
	EXPECT_EQ(err.code, -ENOENT);
	EXPECT_STR(err.field, "");
	EXPECT_STR(error_text(&err, text, sizeof(text)), "no route 'r1'");
}

TEST(without_an_error_to_fill_the_code_still_returns)
{
	EXPECT_EQ(error_set(NULL, -EINVAL, "lost"), -EINVAL);
	EXPECT_EQ(error_set_field(NULL, -EINVAL, "spec", "lost"), -EINVAL);
	EXPECT_EQ(error_prefix(NULL, "file"), 0);
}

TEST(a_field_comes_before_the_message_and_a_later_error_forgets_it)
{
	struct error err = {};
	char text[128];

	error_set_field(&err, -EINVAL, "spec.listeners[0]", "must be %d", 1);
	EXPECT_STR(error_text(&err, text, sizeof(text)), "spec.listeners[0]: must be 1");
	error_set(&err, -EIO, "broken");
	EXPECT_STR(error_text(&err, text, sizeof(text)), "broken");
}

TEST(an_error_of_which_nothing_was_said_reads_as_its_errno)
{
	struct error err = { .code = -ENOENT };
	struct error odd = { .code = -99999 };
	char text[128];

	EXPECT_STR(error_text(&err, text, sizeof(text)), "No such file or directory");
	EXPECT_STR(error_text(&odd, text, sizeof(text)), "unknown error");
}

TEST(a_prefix_keeps_code_field_and_message)
{
	struct error err = {};
	char text[128];

	error_set_field(&err, -EINVAL, "spec", "is missing");
	EXPECT_EQ(error_prefix(&err, "file '%s'", "a.json"), -EINVAL);
	EXPECT_STR(error_text(&err, text, sizeof(text)), "spec: file 'a.json': is missing");
}

TEST(a_prefix_explains_an_errno_without_message)
{
	struct error err = { .code = -EACCES };

	error_prefix(&err, "open");
	EXPECT_STR(err.message, "open: Permission denied");
}

TEST(an_error_may_be_set_from_its_own_text)
{
	struct error err = {};

	error_set_field(&err, -EINVAL, "a.b", "old");
	error_set_field(&err, -EIO, err.field, "was: %s", err.message);
	EXPECT_STR(err.field, "a.b");
	EXPECT_STR(err.message, "was: old");
}

TEST(the_errno_text_of_a_failed_call_reaches_the_message)
{
	struct error err = {};

	errno = EMFILE;
	error_set(&err, -errno, "cannot open: %m");
	EXPECT_STR(err.message, "cannot open: Too many open files");
}

TEST(a_message_that_fits_to_the_byte_is_whole_and_one_more_is_cut_with_a_mark)
{
	struct error err = {};
	char longest[ERROR_MESSAGE_BYTES + 1];

	memset(longest, 'x', sizeof(longest));
	longest[ERROR_MESSAGE_BYTES - 1] = '\0';
	error_set(&err, -EINVAL, "%s", longest);
	EXPECT_STR(err.message, longest);

	longest[ERROR_MESSAGE_BYTES - 1] = 'x';
	longest[ERROR_MESSAGE_BYTES] = '\0';
	error_set(&err, -EINVAL, "%s", longest);
	EXPECT_EQ(strlen(err.message), ERROR_MESSAGE_BYTES - 1);
	EXPECT_STR(err.message + ERROR_MESSAGE_BYTES - 5, "x...");
}

TEST(a_cut_never_splits_a_character)
{
	struct error err = {};
	char text[ERROR_MESSAGE_BYTES * 2];

	for (size_t shift = 0; shift < 4; shift++) {
		size_t length = shift;

		memset(text, 'a', shift);
		while (length + 4 < sizeof(text)) {
			memcpy(text + length, "\xf0\x9f\x8c\x8a", 4);
			length += 4;
		}
		text[length] = '\0';
		error_set_field(&err, -EINVAL, text, "%s", text);
		for (size_t at = 0, n; err.message[at]; at += n)
			EXPECT((n = utf8_sequence(err.message + at, strlen(err.message + at))) > 0);
		for (size_t at = 0, n; err.field[at]; at += n)
			EXPECT((n = utf8_sequence(err.field + at, strlen(err.field + at))) > 0);
		EXPECT_STR(err.field + strlen(err.field) - 3, "...");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_an_error_returns_its_code_so_that_one_line_reports_and_leaves),
		cmocka_unit_test(without_an_error_to_fill_the_code_still_returns),
		cmocka_unit_test(a_field_comes_before_the_message_and_a_later_error_forgets_it),
		cmocka_unit_test(an_error_of_which_nothing_was_said_reads_as_its_errno),
		cmocka_unit_test(a_prefix_keeps_code_field_and_message),
		cmocka_unit_test(a_prefix_explains_an_errno_without_message),
		cmocka_unit_test(an_error_may_be_set_from_its_own_text),
		cmocka_unit_test(the_errno_text_of_a_failed_call_reaches_the_message),
		cmocka_unit_test(a_message_that_fits_to_the_byte_is_whole_and_one_more_is_cut_with_a_mark),
		cmocka_unit_test(a_cut_never_splits_a_character),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
