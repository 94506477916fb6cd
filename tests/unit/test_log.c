/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/time.h"
#include "tests/lib/test.h"

#define TIME_LENGTH 24 /* "2026-11-24T10:15:30.123Z" */

static char captured[1 << 20];
static int saved_stderr = -1, capture_fd = -1;

static void capture_begin(void)
{
	saved_stderr = dup(STDERR_FILENO);
	capture_fd = memfd_create("log", MFD_CLOEXEC);
	EXPECT(saved_stderr >= 0 && capture_fd >= 0);
	EXPECT_OK(fcntl(capture_fd, F_SETFL, O_APPEND)); /* unlike a file's, a memfd's position is not locked between threads */
	EXPECT_OK(dup2(capture_fd, STDERR_FILENO));
}

/* What was logged since capture_begin(). */
static const char *capture_end(void)
{
	ssize_t n = pread(capture_fd, captured, sizeof(captured) - 1, 0);

	EXPECT_OK(dup2(saved_stderr, STDERR_FILENO));
	saved_stderr = fd_close(saved_stderr);
	capture_fd = fd_close(capture_fd);
	EXPECT(n >= 0);
	captured[n] = '\0';
	return captured;
}

/* The line that logging one string as `value` gives, from the value on. */
static const char *logged_value(const char *value)
{
	const char *line;

	capture_begin();
	log_info("m", LOG_F("value", LOG_STR(value)));
	line = capture_end();
	EXPECT_CONTAINS(line, " value=");
	return strstr(line, " value=") + strlen(" value=");
}

static int setup(void **state __attribute__((unused)))
{
	log_setup(LOG_LEVEL_INFO, false);
	return 0;
}

TEST(a_text_line_has_time_level_message_and_fields)
{
	const char *line;

	capture_begin();
	log_warn("configuration in force", LOG_F("generation", LOG_U64(UINT64_MAX)), LOG_F("delta", LOG_INT(-3)),
		 LOG_F("name", LOG_STR("mesh/shop")));
	line = capture_end();
	EXPECT_STR(line + TIME_LENGTH, " warn  configuration in force generation=18446744073709551615 delta=-3 name=mesh/shop\n");
	EXPECT_EQ(line[10], 'T');
	EXPECT_EQ(line[TIME_LENGTH - 1], 'Z');
}

TEST(a_line_may_have_no_fields)
{
	capture_begin();
	log_error("stopped");
	EXPECT_STR(capture_end() + TIME_LENGTH, " error stopped\n");
}

TEST(lines_below_the_level_are_left_out)
{
	capture_begin();
	log_debug("hidden");
	EXPECT_STR(capture_end(), "");

	log_setup(LOG_LEVEL_DEBUG, false);
	capture_begin();
	log_debug("shown");
	EXPECT_STR(capture_end() + TIME_LENGTH, " debug shown\n");
}

TEST(values_are_quoted_only_where_a_reader_could_misread_them)
{
	EXPECT_STR(logged_value("10.0.0.1:80"), "10.0.0.1:80\n");
	EXPECT_STR(logged_value(NULL), "-\n");
	EXPECT_STR(logged_value(""), "\"\"\n");
	EXPECT_STR(logged_value("two words"), "\"two words\"\n");
	EXPECT_STR(logged_value("a=b"), "\"a=b\"\n");
	EXPECT_STR(logged_value("say \"x\\y\""), "\"say \\\"x\\\\y\\\"\"\n");
	EXPECT_STR(logged_value("caf\xc3\xa9"), "\"caf\xc3\xa9\"\n");
}

TEST(a_value_can_neither_end_the_line_nor_drive_a_terminal)
{
	EXPECT_STR(logged_value("a\nb\r\tc"), "\"a\\nb\\r\\tc\"\n");
	EXPECT_STR(logged_value("\x1b[31m"), "\"\\x1b[31m\"\n");
	EXPECT_STR(logged_value("\x7f"), "\"\\x7f\"\n");
	EXPECT_STR(logged_value("\xff\xc3"), "\"\\xff\\xc3\"\n");
	EXPECT_STR(logged_value("\xc2\x9b" "31m"), "\"\\xc2\\x9b31m\"\n"); /* CSI in one C1 character */
	EXPECT_STR(logged_value("\xc2\xa0"), "\"\xc2\xa0\"\n");
}

TEST(values_are_cut_at_256_bytes_between_characters)
{
	char text[300], expected[400];

	memset(text, 'x', sizeof(text));
	text[256] = '\0';
	snprintf(expected, sizeof(expected), "%s\n", text);
	EXPECT_STR(logged_value(text), expected);

	text[256] = 'x';
	text[257] = '\0';
	snprintf(expected, sizeof(expected), "\"%.256s...\"\n", text);
	EXPECT_STR(logged_value(text), expected);

	memcpy(text + 255, "\xc3\xa9", 3);
	snprintf(expected, sizeof(expected), "\"%.255s...\"\n", text);
	EXPECT_STR(logged_value(text), expected);

	memcpy(text + 254, "\xc3\xa9", 3);
	snprintf(expected, sizeof(expected), "\"%s\"\n", text);
	EXPECT_STR(logged_value(text), expected);
}

TEST(a_json_line_is_valid_whatever_bytes_it_carries)
{
	log_setup(LOG_LEVEL_INFO, true);
	for (int byte = 1; byte < 256; byte++) {
		_cleanup_json_ json_t *line = NULL;
		char text[] = { 'a', (char)byte, 'b', (char)byte, '\0' };
		struct error err = {};
		const char *logged;

		capture_begin();
		log_info("he said \"x\"", LOG_F("value", LOG_STR(text)), LOG_F("count", LOG_INT(-1)), LOG_F("none", LOG_STR(NULL)));
		logged = capture_end();
		EXPECT_EQ(strchr(logged, '\n') - logged + 1, strlen(logged));
		EXPECT_OK(json_parse(logged, strlen(logged), &line, &err), &err);
		EXPECT_STR(json_path_string(line, "message"), "he said \"x\"");
		EXPECT_STR(json_path_string(line, "level"), "info");
		EXPECT_EQ(strlen(json_path_string(line, "time")), TIME_LENGTH);
		EXPECT_EQ(json_path_int(line, "count", 0), -1);
		EXPECT(json_is_null(json_path(line, "none")));
		if (byte < 0x80)
			EXPECT_STR(json_path_string(line, "value"), text);
	}
}

TEST(logging_keeps_errno)
{
	capture_begin();
	errno = EPIPE;
	log_info("x");
	EXPECT_EQ(errno, EPIPE);
	capture_end();
}

enum { THREADS = 4, LINES = 500 };

static void *log_many(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("from a thread", LOG_F("thread", LOG_STR(arg)), LOG_F("line", LOG_INT(i)));
	return NULL;
}

TEST(lines_of_several_threads_never_mix)
{
	static char *const names[THREADS] = { "one", "two", "three", "four" };
	size_t count[THREADS] = {};
	pthread_t threads[THREADS];
	char *at, *line;

	capture_begin();
	for (int i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	capture_end();

	for (line = strtok_r(captured, "\n", &at); line; line = strtok_r(NULL, "\n", &at))
		for (int i = 0; i < THREADS; i++) {
			char expected[80];

			snprintf(expected, sizeof(expected), " info  from a thread thread=%s line=%zu", names[i], count[i]);
			if (!strcmp(line + TIME_LENGTH, expected)) {
				count[i]++;
				break;
			}
			if (i == THREADS - 1)
				fail_msg("'%s' is no line of any thread, or out of order", line);
		}
	for (int i = 0; i < THREADS; i++)
		EXPECT_EQ(count[i], LINES);
}

TEST(within_a_second_only_the_first_passes_and_the_next_says_how_many_did_not)
{
	struct log_limit limit = {};
	uint64_t suppressed = 99;

	EXPECT(log_limit_pass(&limit, &suppressed));
	EXPECT_EQ(suppressed, 0);
	for (int i = 0; i < 7; i++)
		EXPECT(!log_limit_pass(&limit, &suppressed));
	limit.next_ns = time_now_ns(); /* the second is over */
	EXPECT(log_limit_pass(&limit, &suppressed));
	EXPECT_EQ(suppressed, 7);
	EXPECT(!log_limit_pass(&limit, &suppressed));
}

static struct log_limit shared;

/* How many lines are written or told of. */
static void *try_it(void *arg)
{
	uint64_t *ret_told = arg, suppressed;

	for (int i = 0; i < 1000; i++)
		if (log_limit_pass(&shared, &suppressed))
			*ret_told += 1 + suppressed;
	return NULL;
}

TEST(several_threads_lose_no_line_that_is_left_out)
{
	pthread_t threads[4];
	uint64_t told[4] = {}, suppressed, sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		EXPECT_OK(pthread_create(&threads[i], NULL, try_it, &told[i]));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		EXPECT_OK(pthread_join(threads[i], NULL));
		sum += told[i];
	}
	shared.next_ns = 0;
	EXPECT(log_limit_pass(&shared, &suppressed));
	EXPECT_EQ(sum + suppressed, 4 * 1000);
}

TEST(a_limited_line_carries_its_fields_and_the_count)
{
	const char *logged;

	capture_begin();
	for (int i = 0; i < 10; i++)
		log_limited(LOG_LEVEL_WARN, "refused", LOG_F("i", LOG_INT(i)));
	logged = capture_end();
	EXPECT_STR(logged + TIME_LENGTH, " warn  refused i=0 suppressed=0\n");
}

TEST(levels_and_formats_have_names_and_others_are_refused_by_their_option)
{
	struct error err = {};
	const char *logged;

	EXPECT_OK(log_setup_named("warn", "json", &err), &err);
	capture_begin();
	log_info("left out");
	log_warn("there");
	logged = capture_end();
	EXPECT_CONTAINS(logged, "{");
	EXPECT_CONTAINS(logged, "there");
	EXPECT(!strstr(logged, "left out"));

	EXPECT_EQ(log_setup_named("loud", "text", &err), -EINVAL);
	EXPECT_STR(err.field, "log-level");
	EXPECT_EQ(log_setup_named("info", "xml", &err), -EINVAL);
	EXPECT_STR(err.field, "log-format");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_text_line_has_time_level_message_and_fields, setup),
		cmocka_unit_test_setup(a_line_may_have_no_fields, setup),
		cmocka_unit_test_setup(lines_below_the_level_are_left_out, setup),
		cmocka_unit_test_setup(values_are_quoted_only_where_a_reader_could_misread_them, setup),
		cmocka_unit_test_setup(a_value_can_neither_end_the_line_nor_drive_a_terminal, setup),
		cmocka_unit_test_setup(values_are_cut_at_256_bytes_between_characters, setup),
		cmocka_unit_test_setup(a_json_line_is_valid_whatever_bytes_it_carries, setup),
		cmocka_unit_test_setup(logging_keeps_errno, setup),
		cmocka_unit_test_setup(lines_of_several_threads_never_mix, setup),
		cmocka_unit_test_setup(within_a_second_only_the_first_passes_and_the_next_says_how_many_did_not, setup),
		cmocka_unit_test_setup(several_threads_lose_no_line_that_is_left_out, setup),
		cmocka_unit_test_setup(a_limited_line_carries_its_fields_and_the_count, setup),
		cmocka_unit_test_setup(levels_and_formats_have_names_and_others_are_refused_by_their_option, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
