/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static json_t *parse(const char *text)
{
	struct error err = {};
	json_t *value;

	EXPECT_OK(json_parse(text, strlen(text), &value, &err), &err);
	return value;
}

/* A file in a directory of its own; both go with the scope. */
struct file {
	char directory[32], path[64];
};

static struct file file_with(const char *text)
{
	struct file f = { .directory = "/tmp/test-json-XXXXXX" };
	_cleanup_fclose_ FILE *out = NULL;

	EXPECT(mkdtemp(f.directory));
	snprintf(f.path, sizeof(f.path), "%s/x.json", f.directory);
	if (text) {
		out = fopen(f.path, "w");
		EXPECT(out && fputs(text, out) >= 0);
	}
	return f;
}

static void file_done(struct file *f)
{
	unlink(f->path);
	rmdir(f->directory);
}

TEST(any_json_value_parses_with_white_space_around_it)
{
	static const struct {
		const char *text;
		json_type type;
	} cases[] = {
		{ " {} ", JSON_OBJECT }, { "[1]\n", JSON_ARRAY }, { "\"x\"", JSON_STRING }, { "7", JSON_INTEGER },
		{ "7.0", JSON_REAL },	 { "true", JSON_TRUE },	  { "null", JSON_NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *value = parse(cases[i].text);

		EXPECT_EQ(json_typeof(value), cases[i].type);
	}
}

TEST(bad_text_is_refused_with_line_and_column)
{
	static const struct {
		const char *text, *where;
	} cases[] = {
		{ "{\n  \"a\": 1,\n  \"a\": 2\n}", "line 3, column 5: duplicate object key" },
		{ "{} {}", "line 1, column 4: end of file expected" },
		{ "{\"a\": }", "line 1, column 7:" },
		{ "", "line 1, column 0:" },
		{ "[1, 2", "line 1, column 5:" },
		{ "\"\xff\"", "line 1, column" },
		{ "99999999999999999999", "too big integer" },
	};
	struct error err;
	json_t *value = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		err = (struct error){};
		EXPECT_EQ(json_parse(cases[i].text, strlen(cases[i].text), &value, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, cases[i].where);
	}
	EXPECT(!value);
}

TEST(text_past_the_limit_is_refused_and_text_at_the_limit_is_read)
{
	_cleanup_free_ char *text = malloc(JSON_TEXT_LIMIT_BYTES + 1);
	_cleanup_json_ json_t *value = NULL;

	EXPECT(text);
	memset(text, ' ', JSON_TEXT_LIMIT_BYTES + 1);
	text[0] = '7';
	EXPECT_EQ(json_parse(text, JSON_TEXT_LIMIT_BYTES + 1, &value, NULL), -E2BIG);
	EXPECT_OK(json_parse(text, JSON_TEXT_LIMIT_BYTES, &value, NULL));
	EXPECT_EQ(json_integer_value(value), 7);
}

TEST(deep_nesting_is_an_error_and_no_crash)
{
	enum { DEPTH = 1000000 };
	_cleanup_free_ char *text = malloc(DEPTH);
	json_t *value;

	EXPECT(text);
	memset(text, '[', DEPTH);
	EXPECT_EQ(json_parse(text, DEPTH, &value, NULL), -EINVAL);
}

TEST(a_file_parses_as_a_whole)
{
	_cleanup_(file_done) struct file f = file_with("{\"meshName\": \"m\"}\n");
	_cleanup_json_ json_t *value = NULL;
	struct error err = {};

	EXPECT_OK(json_parse_file(f.path, &value, &err), &err);
	EXPECT_STR(json_path_string(value, "meshName"), "m");
}

TEST(a_bad_file_is_named_with_line_and_column)
{
	_cleanup_(file_done) struct file f = file_with("{\n\"a\" 1}");
	struct error err = {};
	json_t *value;

	EXPECT_EQ(json_parse_file(f.path, &value, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, f.path);
	EXPECT_CONTAINS(err.message, "line 2, column");
}

TEST(an_absent_file_says_so)
{
	struct error err = {};
	json_t *value;

	EXPECT_EQ(json_parse_file("/nonexistent/x.json", &value, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "'/nonexistent/x.json': No such file or directory");
}

TEST(what_is_no_regular_file_is_refused_without_waiting_for_it)
{
	_cleanup_(file_done) struct file f = file_with(NULL);
	json_t *value;

	EXPECT_OK(mkfifo(f.path, 0600));
	EXPECT_EQ(json_parse_file(f.path, &value, NULL), -EINVAL);
	EXPECT_EQ(json_parse_file(f.directory, &value, NULL), -EISDIR);
	EXPECT_EQ(json_parse_file("/dev/zero", &value, NULL), -EINVAL);
}

TEST(a_file_that_is_too_big_is_refused_after_reading_no_more_than_the_limit)
{
	_cleanup_(file_done) struct file f = file_with("");
	json_t *value;

	EXPECT_OK(truncate(f.path, 1ll << 40)); /* sparse */
	EXPECT_EQ(json_parse_file(f.path, &value, NULL), -E2BIG);
}

TEST(paths_reach_nested_members_of_the_right_type)
{
	_cleanup_json_ json_t *v =
		parse("{\"spec\": {\"type\": \"DROP_ALL\", \"port\": 8080, \"on\": true, \"list\": [1, 2]}, \"null\": null}");

	EXPECT_STR(json_path_string(v, "spec.type"), "DROP_ALL");
	EXPECT_EQ(json_path_int(v, "spec.port", -1), 8080);
	EXPECT_EQ(json_path_bool(v, "spec.on", false), true);
	EXPECT_EQ(json_path_count(v, "spec.list"), 2);
	EXPECT_EQ(json_integer_value(json_path_at(v, "spec.list", 1)), 2);
	EXPECT(json_path(v, "") == v);
	EXPECT(json_is_null(json_path(v, "null")));
}

TEST(steps_that_are_absent_or_of_another_type_give_the_fallback)
{
	_cleanup_json_ json_t *v = parse("{\"spec\": {\"type\": \"x\", \"port\": 80.5, \"list\": [1]}, \"text\": \"x\"}");

	EXPECT(!json_path(v, "spec.none"));
	EXPECT(!json_path(v, "none.type"));
	EXPECT(!json_path(v, "text.type"));
	EXPECT(!json_path(v, "spec.list.0"));
	EXPECT(!json_path(v, "spe"));
	EXPECT(!json_path(v, "specs"));
	EXPECT(!json_path(NULL, "spec"));
	EXPECT_STR(json_path_string(v, "spec.port"), NULL);
	EXPECT_EQ(json_path_int(v, "spec.port", -7), -7);
	EXPECT_EQ(json_path_int(v, "spec.type", -7), -7);
	EXPECT_EQ(json_path_bool(v, "spec.type", true), true);
	EXPECT_EQ(json_path_count(v, "spec.type"), 0);
	EXPECT(!json_path_at(v, "spec.list", 1));
	EXPECT(!json_path_at(v, "spec.none", 0));
}

TEST(what_is_equal_has_the_same_hash)
{
	static const char *const pairs[][2] = {
		{ "{\"a\": 1, \"b\": {\"c\": [], \"d\": \"x\"}}", "{\"b\": {\"d\": \"x\", \"c\": []}, \"a\": 1}" },
		{ "[0.0]", "[-0.0]" },
		{ "\"\\u00e9\"", "\"\xc3\xa9\"" },
		{ "1.5", "15e-1" },
		{ "{}", " { } " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_json_ json_t *one = parse(pairs[i][0]), *other = parse(pairs[i][1]);

		EXPECT(json_equal(one, other));
		EXPECT(json_hash(one) == json_hash(other));
	}
}

TEST(a_value_is_printed_as_the_library_prints_it)
{
	static const char *const texts[] = {
		"{}", "[]", "{\"b\":1,\"a\":{\"c\":[]}}", "[[],{},[null,true,false]]", "[0,-1,9223372036854775807,-9223372036854775808]",
		"[1.5,1e300,-0.0]", "\"\"", "[\"a\\\"b\\\\c\\/d\",\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\",\"\u00e9\u20ac\U0001f600\"]",
		"{\"k\\n\\\"\":\"v\"}", "null", "true", "7",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *value = parse(texts[i]);
		_cleanup_free_ char *by_library = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		_cleanup_(buffer_done) struct buffer text = {};

		json_print(value, &text);
		EXPECT_STR(buffer_string(&text), by_library);
	}
}

TEST(the_hash_tells_apart_what_differs_in_a_value_a_type_a_name_or_an_order)
{
	static const char *const texts[] = {
		"null", "true", "false", "0", "1", "-1", "256", "0.0", "1.0", "\"\"", "\"1\"", "\"null\"", "[]", "{}", "[0]", "[[]]", "[[], []]",
		"[1, 2]", "[2, 1]", "[[1], 2]", "[1, [2]]", "[1, 1]", "[1, 1, 1, 1]", "{\"a\": 1}", "{\"b\": 1}", "{\"a\": null}",
		"{\"a\": 1, \"b\": 2}", "{\"a\": 2, \"b\": 1}", "{\"a\": {\"b\": 1}}", "{\"b\": {\"a\": 1}}", "{\"a\": [1, 2]}",
		"{\"a\": 1, \"b\": 1}", "{\"c\": 1, \"d\": 1}", "[{\"a\": 1}, {\"b\": 2}]", "[{\"a\": 2}, {\"b\": 1}]",
	};
	uint64_t hashes[ARRAY_SIZE(texts) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *value = parse(texts[i]);

		hashes[i] = json_hash(value);
	}
	hashes[ARRAY_SIZE(texts)] = json_hash(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
		for (size_t j = 0; j < i; j++)
			if (hashes[i] == hashes[j])
				fail_msg("%s and %s have the same hash", i < ARRAY_SIZE(texts) ? texts[i] : "NULL", texts[j]);
}

/* It is kept in states. */
TEST(the_hash_is_the_same_in_every_build)
{
	_cleanup_json_ json_t *value = parse("{\"name\": \"x\", \"list\": [1, -2, 0.5, true, null]}");

	EXPECT(json_hash(value) == 0x65d62e9b83615602ull);
}

TEST(a_fault_is_told_in_utf8_whatever_was_met)
{
	static const char text[] = "{\"a\": \"\\\xc3\x91\"}";
	_cleanup_json_ json_t *value = NULL, *message = NULL;
	struct error err = {};

	EXPECT_EQ(json_parse(text, strlen(text), &value, &err), -EINVAL);
	message = json_string(err.message); /* refuses what is not UTF-8 */
	EXPECT(message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_equal_has_the_same_hash),
		cmocka_unit_test(a_value_is_printed_as_the_library_prints_it),
		cmocka_unit_test(the_hash_tells_apart_what_differs_in_a_value_a_type_a_name_or_an_order),
		cmocka_unit_test(the_hash_is_the_same_in_every_build),
		cmocka_unit_test(a_fault_is_told_in_utf8_whatever_was_met),
		cmocka_unit_test(any_json_value_parses_with_white_space_around_it),
		cmocka_unit_test(bad_text_is_refused_with_line_and_column),
		cmocka_unit_test(text_past_the_limit_is_refused_and_text_at_the_limit_is_read),
		cmocka_unit_test(deep_nesting_is_an_error_and_no_crash),
		cmocka_unit_test(a_file_parses_as_a_whole),
		cmocka_unit_test(a_bad_file_is_named_with_line_and_column),
		cmocka_unit_test(an_absent_file_says_so),
		cmocka_unit_test(what_is_no_regular_file_is_refused_without_waiting_for_it),
		cmocka_unit_test(a_file_that_is_too_big_is_refused_after_reading_no_more_than_the_limit),
		cmocka_unit_test(paths_reach_nested_members_of_the_right_type),
		cmocka_unit_test(steps_that_are_absent_or_of_another_type_give_the_fallback),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
