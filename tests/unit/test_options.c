/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/time.h"
#include "tests/lib/test.h"

struct settings {
	bool audit;
	const char *state_dir;
	struct option_strings vips, whole;
	uint32_t port;
	uint32_t any;
	uint64_t wait_ns;
	const char *config;
};

static const struct option table[] = {
	{ "audit", OPTION_FLAG, OPTION(struct settings, audit), .help = "only count" },
	{ "state-dir", OPTION_STRING, OPTION(struct settings, state_dir), "DIR", "where state lives", .required = true },
	{ "vips", OPTION_STRINGS, OPTION(struct settings, vips), "PREFIX", "prefixes of VIPs" },
	{ "whole", OPTION_STRINGS, OPTION(struct settings, whole), "TEXT", "texts", .whole = true },
	{ "port", OPTION_U32, OPTION(struct settings, port), "PORT", "where to listen", .min = 1, .max = 65535 },
	{ "any", OPTION_U32, OPTION(struct settings, any), "N", "a number", .letter = 'n' },
	{ "wait", OPTION_SPAN, OPTION(struct settings, wait_ns), "TIME", "how long" },
	{ "config", OPTION_STRING, OPTION(struct settings, config), "FILE", "this file", .command_line_only = true },
	{},
};

#define PARSE(settings, rest, err, ...)                                                                                       \
	({                                                                                                                     \
		char *_argv[] = { "weftd", ##__VA_ARGS__ };                                                                    \
		options_parse(table, settings, ARRAY_SIZE(_argv), _argv, rest, err);                                           \
	})

/* Reads the options from a file with this text. */
static int read_text(const char *text, struct settings *settings, options_extra_fn *extra, void *arg, struct error *err)
{
	_cleanup_close_ int fd = memfd_create("options", MFD_CLOEXEC);
	char path[64];

	EXPECT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return options_read_file(table, settings, path, extra, arg, err);
}

TEST(a_comma_is_part_of_a_value_where_the_option_says_so)
{
	struct settings s = {};
	struct error err = {};
	int rest;

	EXPECT_OK(PARSE(&s, &rest, &err, "--whole", "a,b", "--whole=c"), &err);
	EXPECT_EQ(s.whole.count, 2);
	EXPECT_STR(s.whole.values[0], "a,b");
	EXPECT_STR(s.whole.values[1], "c");
}

TEST(an_option_with_a_letter_is_read_by_it_too)
{
	struct settings s = {};
	struct error err = {};
	int rest;

	EXPECT_OK(PARSE(&s, &rest, &err, "-n", "7", "-"), &err);
	EXPECT_EQ(s.any, 7);
	EXPECT_EQ(rest, 3); /* a dash alone is a word */
	EXPECT_EQ(PARSE(&s, &rest, &err, "-n"), -EINVAL);
	EXPECT_STR(err.field, "-n");
	EXPECT_EQ(PARSE(&s, &rest, &err, "-n7"), -EINVAL);
}

TEST(every_type_is_read_from_the_command_line)
{
	struct settings s = {};
	struct error err = {};
	int rest;

	EXPECT_OK(PARSE(&s, &rest, &err, "--audit", "--state-dir", "/var/lib/weft", "--vips=a", "--port", "80", "--any=4294967295",
			"--wait=500ms"),
		  &err);
	EXPECT_EQ(rest, 9);
	EXPECT(s.audit);
	EXPECT_STR(s.state_dir, "/var/lib/weft");
	EXPECT_EQ(s.vips.count, 1);
	EXPECT_STR(s.vips.values[0], "a");
	EXPECT_EQ(s.port, 80);
	EXPECT_EQ(s.any, UINT32_MAX);
	EXPECT_EQ(s.wait_ns, 500 * NSEC_PER_MSEC);
}

TEST(what_is_not_given_keeps_its_default)
{
	struct settings s = { .port = 7, .state_dir = "x", .vips = { 1, { "default" } } };
	int rest;

	EXPECT_OK(PARSE(&s, &rest, NULL, "--any", "1"));
	EXPECT_EQ(s.port, 7);
	EXPECT_STR(s.state_dir, "x");
	EXPECT_STR(s.vips.values[0], "default");
	EXPECT(!s.audit);
}

TEST(options_end_at_the_first_other_word_or_after_two_dashes)
{
	struct settings s = {};
	int rest;

	EXPECT_OK(PARSE(&s, &rest, NULL, "--audit", "run", "--port", "80"));
	EXPECT_EQ(rest, 2);
	EXPECT_EQ(s.port, 0);
	EXPECT_OK(PARSE(&s, &rest, NULL, "--audit", "--", "--port"));
	EXPECT_EQ(rest, 3);
	EXPECT_OK(PARSE(&s, &rest, NULL, "-"));
	EXPECT_EQ(rest, 1);
	EXPECT_OK(PARSE(&s, &rest, NULL));
	EXPECT_EQ(rest, 1);
}

TEST(a_value_may_look_like_an_option_or_be_empty_or_contain_equals_signs)
{
	struct settings s = {};
	int rest;

	EXPECT_OK(PARSE(&s, &rest, NULL, "--state-dir", "--audit"));
	EXPECT_STR(s.state_dir, "--audit");
	EXPECT(!s.audit);
	EXPECT_OK(PARSE(&s, &rest, NULL, "--state-dir="));
	EXPECT_STR(s.state_dir, "");
	EXPECT_OK(PARSE(&s, &rest, NULL, "--state-dir=a=b"));
	EXPECT_STR(s.state_dir, "a=b");
}

TEST(strings_gather_over_repetition_and_commas_and_replace_the_default)
{
	struct settings s = { .vips = { 1, { "default" } } };
	int rest;

	EXPECT_OK(PARSE(&s, &rest, NULL, "--vips", "a,bb", "--vips=c"));
	EXPECT_EQ(s.vips.count, 3);
	EXPECT_STR(s.vips.values[0], "a");
	EXPECT_STR(s.vips.values[1], "bb");
	EXPECT_STR(s.vips.values[2], "c");
}

TEST(a_bad_command_line_is_refused_with_the_option_named)
{
	static const struct {
		char *word, *value;
		const char *text;
	} cases[] = {
		{ "--nope", NULL, "--nope: unknown option" },
		{ "--nope=1", NULL, "--nope: unknown option" },
		{ "--stat", NULL, "--stat: unknown option" },
		{ "--state-dir-x=1", NULL, "--state-dir-x: unknown option" },
		{ "-p", NULL, "-p: unknown option" },
		{ "-port", NULL, "-port: unknown option" },
		{ "--port", NULL, "--port: needs a value: PORT" },
		{ "--audit=yes", NULL, "--audit: takes no value" },
		{ "--port", "0", "--port: '0' is not a number from 1 to 65535" },
		{ "--port", "65536", "--port: '65536' is not a number from 1 to 65535" },
		{ "--port", "-1", "--port: '-1' is not" },
		{ "--port", "+1", "--port: '+1' is not" },
		{ "--port", " 1", "--port: ' 1' is not" },
		{ "--port", "1x", "--port: '1x' is not" },
		{ "--port", "", "--port: '' is not" },
		{ "--any", "4294967296", "--any: '4294967296' is not a number from 0 to 4294967295" },
		{ "--any", "99999999999999999999", "--any: '99999999999999999999' is not" },
		{ "--wait", "10", "--wait: '10' is not a time" },
		{ "--vips", "a,,b", "--vips: must not be empty" },
		{ "--vips", "", "--vips: must not be empty" },
	};
	char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[] = { "weftd", cases[i].word, cases[i].value };
		struct settings s = {};
		struct error err = {};
		int rest = 77;

		EXPECT_EQ(options_parse(table, &s, cases[i].value ? 3 : 2, argv, &rest, &err), -EINVAL);
		EXPECT_CONTAINS(error_text(&err, text, sizeof(text)), cases[i].text);
		EXPECT_EQ(rest, 77);
	}
}

TEST(more_strings_than_there_is_room_for_are_refused)
{
	struct settings s = {};
	struct error err = {};
	char list[2 * OPTION_STRINGS_MAX + 2];
	int rest;

	for (size_t i = 0; i < sizeof(list); i++)
		list[i] = i % 2 ? ',' : 'x';
	list[2 * OPTION_STRINGS_MAX - 1] = '\0';
	EXPECT_OK(PARSE(&s, &rest, &err, "--vips", list), &err);
	EXPECT_EQ(s.vips.count, OPTION_STRINGS_MAX);
	list[2 * OPTION_STRINGS_MAX - 1] = ',';
	list[2 * OPTION_STRINGS_MAX + 1] = '\0';
	EXPECT_EQ(PARSE(&s, &rest, &err, "--vips", list), -EINVAL);
	EXPECT_STR(err.field, "--vips");
}

TEST(every_type_is_read_from_a_file)
{
	struct settings s = { .vips = { 1, { "default" } } };
	struct error err = {};

	EXPECT_OK(read_text("{\"audit\": true, \"state-dir\": \"/s\", \"vips\": [\"a\", \"b,c\"], \"port\": 65535, \"wait\": \"2s\"}", &s,
			    NULL, NULL, &err),
		  &err);
	EXPECT(s.audit);
	EXPECT_STR(s.state_dir, "/s");
	EXPECT_EQ(s.vips.count, 2);
	EXPECT_STR(s.vips.values[1], "b,c");
	EXPECT_EQ(s.port, 65535);
	EXPECT_EQ(s.wait_ns, 2 * NSEC_PER_SEC);

	EXPECT_OK(read_text("{\"audit\": false, \"vips\": \"d,e\"}", &s, NULL, NULL, &err), &err);
	EXPECT(!s.audit);
	EXPECT_EQ(s.vips.count, 2);
	EXPECT_STR(s.vips.values[0], "d");
}

TEST(the_command_line_wins_over_the_file)
{
	struct settings s = {};
	int rest;

	EXPECT_OK(read_text("{\"state-dir\": \"/file\", \"vips\": [\"f\"], \"port\": 1}", &s, NULL, NULL, NULL));
	EXPECT_OK(PARSE(&s, &rest, NULL, "--state-dir=/line", "--vips=l"));
	EXPECT_STR(s.state_dir, "/line");
	EXPECT_EQ(s.vips.count, 1);
	EXPECT_STR(s.vips.values[0], "l");
	EXPECT_EQ(s.port, 1);
}

TEST(a_bad_file_is_refused_with_the_member_named)
{
	static const struct {
		const char *file, *field, *message;
	} cases[] = {
		{ "{\"nope\": 1}", "nope", "unknown option" },
		{ "{\"audit\": 1}", "audit", "must be true or false" },
		{ "{\"audit\": \"true\"}", "audit", "must be true or false" },
		{ "{\"port\": \"80\"}", "port", "must be a number" },
		{ "{\"port\": 80.5}", "port", "must be a number" },
		{ "{\"port\": 0}", "port", "'0' is not a number from 1 to 65535" },
		{ "{\"port\": -1}", "port", "'-1' is not" },
		{ "{\"state-dir\": 1}", "state-dir", "must be a string" },
		{ "{\"state-dir\": [\"x\"]}", "state-dir", "must be a string" },
		{ "{\"wait\": 10}", "wait", "must be a string with a time" },
		{ "{\"wait\": \"10\"}", "wait", "'10' is not a time" },
		{ "{\"vips\": [\"a\", 1]}", "vips[1]", "must be a string" },
		{ "{\"vips\": [\"\"]}", "vips[0]", "must not be empty" },
		{ "{\"vips\": 1}", "vips", "must be a string or an array" },
		{ "{\"config\": \"x\"}", "config", "is for the command line only" },
		{ "[]", "", "must be a JSON object" },
		{ "{", "", "line 1, column" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct settings s = {};
		struct error err = {};

		EXPECT_EQ(read_text(cases[i].file, &s, NULL, NULL, &err), -EINVAL);
		EXPECT_STR(err.field, cases[i].field);
		EXPECT_CONTAINS(err.message, cases[i].message);
		EXPECT_CONTAINS(err.message, "'/proc/self/fd/");
	}
}

static int take_meshes(const char *name, void *json_value, void *arg, struct error *err)
{
	if (strcmp(name, "meshes"))
		return error_set_field(err, -EINVAL, name, "is neither an option nor meshes");
	*(size_t *)arg = json_array_size(json_value);
	return 0;
}

TEST(members_that_are_no_options_go_to_the_caller_who_may_refuse_them)
{
	struct settings s = {};
	struct error err = {};
	size_t meshes = 0;

	EXPECT_OK(read_text("{\"port\": 5, \"meshes\": [1, 2, 3]}", &s, take_meshes, &meshes, &err), &err);
	EXPECT_EQ(meshes, 3);
	EXPECT_EQ(s.port, 5);
	EXPECT_EQ(read_text("{\"mesh\": []}", &s, take_meshes, &meshes, &err), -EINVAL);
	EXPECT_STR(err.field, "mesh");
}

TEST(a_required_option_that_nobody_gave_is_named)
{
	struct settings s = {};
	struct error err = {};
	char text[128];

	EXPECT_EQ(options_check(table, &s, &err), -EINVAL);
	EXPECT_STR(error_text(&err, text, sizeof(text)), "--state-dir: is required");
	s.state_dir = "x";
	EXPECT_OK(options_check(table, &s, &err));
}

TEST(help_prints_two_columns)
{
	static const struct option two[] = {
		{ "audit", OPTION_FLAG, 0, .help = "only count" },
		{ "state-dir", OPTION_STRING, 0, "DIR", "where state lives", .required = true },
		{},
	};
	_cleanup_close_ int fd = memfd_create("help", MFD_CLOEXEC), saved = -1;
	char text[256];
	ssize_t n;

	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	EXPECT(fd >= 0 && saved >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
	options_print(two);
	fflush(stdout);
	EXPECT_OK(dup2(saved, STDOUT_FILENO));
	n = pread(fd, text, sizeof(text) - 1, 0);
	EXPECT(n >= 0);
	text[n] = '\0';
	EXPECT_STR(text, "  --audit          only count\n"
			 "  --state-dir DIR  where state lives (required)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_comma_is_part_of_a_value_where_the_option_says_so),
		cmocka_unit_test(an_option_with_a_letter_is_read_by_it_too),
		cmocka_unit_test(every_type_is_read_from_the_command_line),
		cmocka_unit_test(what_is_not_given_keeps_its_default),
		cmocka_unit_test(options_end_at_the_first_other_word_or_after_two_dashes),
		cmocka_unit_test(a_value_may_look_like_an_option_or_be_empty_or_contain_equals_signs),
		cmocka_unit_test(strings_gather_over_repetition_and_commas_and_replace_the_default),
		cmocka_unit_test(a_bad_command_line_is_refused_with_the_option_named),
		cmocka_unit_test(more_strings_than_there_is_room_for_are_refused),
		cmocka_unit_test(every_type_is_read_from_a_file),
		cmocka_unit_test(the_command_line_wins_over_the_file),
		cmocka_unit_test(a_bad_file_is_refused_with_the_member_named),
		cmocka_unit_test(members_that_are_no_options_go_to_the_caller_who_may_refuse_them),
		cmocka_unit_test(a_required_option_that_nobody_gave_is_named),
		cmocka_unit_test(help_prints_two_columns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
