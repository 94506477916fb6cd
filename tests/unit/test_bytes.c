/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

TEST(an_empty_buffer_reads_as_the_empty_string_and_can_be_taken)
{
	struct buffer b = {};
	_cleanup_free_ char *taken = NULL;

	EXPECT_STR(buffer_string(&b), "");
	taken = buffer_take(&b);
	EXPECT_STR(taken, "");
	EXPECT(!b.data && !b.length && !b.capacity);
}

TEST(appends_of_every_kind_grow_one_string)
{
	_cleanup_(buffer_done) struct buffer b = {};

	buffer_add(&b, "one ");
	buffer_append(&b, "two and more", 3);
	buffer_printf(&b, " %d", 3);
	buffer_append(&b, NULL, 0);
	EXPECT_STR(buffer_string(&b), "one two 3");
	EXPECT_EQ(b.length, 9);
	EXPECT(!buffer_failed(&b));
}

TEST(thousands_of_appends_lose_nothing_and_stay_terminated)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (int i = 0; i < 5000; i++) {
		buffer_printf(&b, "%04d", i);
		EXPECT_EQ(b.data[b.length], '\0');
		EXPECT(b.capacity > b.length);
	}
	EXPECT_EQ(b.length, 20000);
	for (int i = 0; i < 5000; i++) {
		char expected[5];

		snprintf(expected, sizeof(expected), "%04d", i);
		EXPECT(!memcmp(b.data + 4 * i, expected, 4));
	}
}

TEST(bytes_may_contain_zeros)
{
	_cleanup_(buffer_done) struct buffer b = {};

	buffer_append(&b, "a\0b", 3);
	buffer_add(&b, "c");
	EXPECT_EQ(b.length, 4);
	EXPECT(!memcmp(b.data, "a\0bc", 5));
}

TEST(bytes_written_after_a_reservation_count_when_the_length_says_so)
{
	_cleanup_(buffer_done) struct buffer b = {};
	char *to;

	buffer_add(&b, "x");
	to = buffer_reserve(&b, 1000);
	memset(to, 'y', 1000);
	b.length += 5;
	EXPECT_STR(buffer_string(&b), "xyyyyy");
}

TEST(consuming_moves_the_rest_to_the_front)
{
	_cleanup_(buffer_done) struct buffer b = {};

	buffer_consume(&b, 0);
	buffer_add(&b, "GET /index");
	buffer_consume(&b, 4);
	EXPECT_STR(buffer_string(&b), "/index");
	buffer_consume(&b, 6);
	EXPECT_STR(buffer_string(&b), "");
	EXPECT_EQ(b.length, 0);
}

TEST(a_cleared_buffer_keeps_its_memory)
{
	_cleanup_(buffer_done) struct buffer b = {};
	size_t capacity;

	buffer_reserve(&b, 3000);
	capacity = b.capacity;
	buffer_add(&b, "something");
	buffer_clear(&b);
	EXPECT_STR(buffer_string(&b), "");
	EXPECT_EQ(b.capacity, capacity);
}

TEST(an_impossible_size_is_remembered_until_the_buffer_is_cleared)
{
	_cleanup_(buffer_done) struct buffer b = {};

	buffer_add(&b, "kept");
	EXPECT(!buffer_reserve(&b, SIZE_MAX - 2));
	EXPECT(buffer_failed(&b));
	buffer_add(&b, " lost");
	buffer_printf(&b, "%s", " lost");
	EXPECT_STR(buffer_string(&b), "kept");
	EXPECT(!buffer_reserve(&b, 0));

	buffer_clear(&b);
	buffer_add(&b, "again");
	EXPECT(!buffer_failed(&b));
	EXPECT_STR(buffer_string(&b), "again");
}

TEST(what_failed_cannot_be_taken)
{
	struct buffer b = {};

	buffer_add(&b, "half");
	buffer_reserve(&b, SIZE_MAX / 2 + 2);
	EXPECT(!buffer_take(&b));
	EXPECT(!b.data && !b.failed);
}

TEST(numbers_of_any_size_are_added_in_decimal)
{
	struct buffer b = {};

	buffer_add_i64(&b, 0);
	buffer_add_i64(&b, -1);
	buffer_add_i64(&b, INT64_MAX);
	buffer_add_i64(&b, INT64_MIN);
	EXPECT_STR(buffer_string(&b), "0-19223372036854775807-9223372036854775808");
	buffer_done(&b);
}

TEST(what_is_printed_may_be_of_any_length)
{
	char text[400];

	memset(text, 'x', sizeof(text));
	for (size_t length = 100; length < sizeof(text); length++) {
		struct buffer b = {};

		buffer_printf(&b, "<%.*s>", (int)length, text);
		EXPECT_EQ(b.length, length + 2);
		EXPECT_EQ(strlen(b.data), length + 2);
		EXPECT_EQ(b.data[length + 1], '>');
		buffer_done(&b);
	}
}

TEST(the_errno_text_survives_printing_twice)
{
	_cleanup_(buffer_done) struct buffer b = {};

	errno = ENOENT;
	buffer_printf(&b, "%200s%m", ""); /* longer than what there is room for at first */
	EXPECT_STR(buffer_string(&b) + 200, "No such file or directory");
}

TEST(well_formed_utf8_is_measured_and_everything_else_is_not)
{
	static const struct {
		const char *text;
		size_t length;
	} cases[] = {
		{ "a", 1 },
		{ "\xc3\xa9", 2 },
		{ "\xe2\x82\xac", 3 },
		{ "\xf0\x9f\x8c\x8a", 4 },
		{ "\xf4\x8f\xbf\xbf", 4 }, /* U+10FFFF */
		{ "\xf4\x90\x80\x80", 0 }, /* past it */
		{ "\xc0\x80", 0 }, /* overlong */
		{ "\xe0\x9f\xbf", 0 }, /* overlong */
		{ "\xed\xa0\x80", 0 }, /* surrogate */
		{ "\x80", 0 },
		{ "\xc3", 0 },
		{ "\xe2\x82", 0 },
		{ "\xe2\x82z", 0 },
		{ "\xff", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_EQ(utf8_sequence(cases[i].text, strlen(cases[i].text)), cases[i].length);
	EXPECT_EQ(utf8_sequence("", 0), 0);
}

TEST(texts_are_put_one_behind_the_other_until_one_does_not_fit)
{
	char text[8], *end = text + sizeof(text), *at = text_put(text_put(text, end, "abc"), end, "defg");

	EXPECT(at == text + 7);
	EXPECT_STR(text, "abcdefg");
	EXPECT(text_put(at, end, "") == at);
	EXPECT(!text_put(at, end, "h"));
	EXPECT(!text_put(NULL, end, ""));
	EXPECT(!text_put(text, text, ""));
}

struct writing {
	int fd, r;
	char bytes[1 << 20];
};

static void *write_all(void *arg)
{
	struct writing *w = arg;

	w->r = fd_write(w->fd, w->bytes, sizeof(w->bytes));
	fd_close(w->fd);
	return NULL;
}

TEST(a_pipe_that_is_read_piece_by_piece_gets_all_of_it)
{
	_cleanup_free_ struct writing *w = malloc(sizeof(*w));
	pthread_t thread;
	char piece[4093];
	size_t length = 0;
	ssize_t n;
	int ends[2];

	EXPECT_OK(pipe(ends));
	w->fd = ends[1];
	for (size_t i = 0; i < sizeof(w->bytes); i++)
		w->bytes[i] = (char)(i * 7 >> 3);
	EXPECT_OK(pthread_create(&thread, NULL, write_all, w));
	for (; (n = read(ends[0], piece, sizeof(piece))) > 0; length += (size_t)n)
		EXPECT(length + (size_t)n <= sizeof(w->bytes) && !memcmp(piece, w->bytes + length, (size_t)n));
	EXPECT_OK(pthread_join(thread, NULL));
	EXPECT_OK(w->r);
	EXPECT_EQ(length, sizeof(w->bytes));
	fd_close(ends[0]);
}

TEST(what_nobody_reads_cannot_be_written)
{
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	EXPECT_OK(pipe(ends));
	fd_close(ends[0]);
	EXPECT_EQ(fd_write(ends[1], "x", 1), -EPIPE);
	EXPECT_OK(fd_write(ends[1], NULL, 0));
	fd_close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_reads_as_the_empty_string_and_can_be_taken),
		cmocka_unit_test(appends_of_every_kind_grow_one_string),
		cmocka_unit_test(thousands_of_appends_lose_nothing_and_stay_terminated),
		cmocka_unit_test(bytes_may_contain_zeros),
		cmocka_unit_test(bytes_written_after_a_reservation_count_when_the_length_says_so),
		cmocka_unit_test(consuming_moves_the_rest_to_the_front),
		cmocka_unit_test(a_cleared_buffer_keeps_its_memory),
		cmocka_unit_test(an_impossible_size_is_remembered_until_the_buffer_is_cleared),
		cmocka_unit_test(what_failed_cannot_be_taken),
		cmocka_unit_test(numbers_of_any_size_are_added_in_decimal),
		cmocka_unit_test(what_is_printed_may_be_of_any_length),
		cmocka_unit_test(the_errno_text_survives_printing_twice),
		cmocka_unit_test(texts_are_put_one_behind_the_other_until_one_does_not_fit),
		cmocka_unit_test(a_pipe_that_is_read_piece_by_piece_gets_all_of_it),
		cmocka_unit_test(what_nobody_reads_cannot_be_written),
		cmocka_unit_test(well_formed_utf8_is_measured_and_everything_else_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
