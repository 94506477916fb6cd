/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/json_place.h"
#include "tests/lib/test.h"

static const char document[] = "{\n"
			       "  \"meshName\": \"a \\\"{[,\\\" name\",\n"
			       "  \"z\xc3\xbcrich\": 1, \"after\": 2,\n"
			       "  \"spec\": {\n"
			       "    \"listeners\": [\n"
			       "      {\"port\": 1},\n"
			       "\t{ \"port\": 70000, \"tls\": [[], [3, {\"x\": null}]] }\n"
			       "    ],\n"
			       "    \"l\\u0069st\": []\n"
			       "  }\n"
			       "}\n";

static void expect_place(const char *path, unsigned int line, unsigned int column)
{
	struct json_place place;

	json_place_find(document, strlen(document), 0, path, NULL, &place);
	if (place.line != line || place.column != column)
		fail_msg("%s is at %u:%u, expected %u:%u", path, place.line, place.column, line, column);
}

TEST(a_member_stands_where_its_name_begins_and_an_element_where_it_does)
{
	expect_place("", 1, 1);
	expect_place("meshName", 2, 3);
	expect_place("spec", 4, 3);
	expect_place("spec.listeners", 5, 5);
	expect_place("spec.listeners[0]", 6, 7);
	expect_place("spec.listeners[0].port", 6, 8);
	expect_place("spec.listeners[1].port", 7, 4);
	expect_place("spec.listeners[1].tls[1][1].x", 7, 36);
}

TEST(columns_are_characters_and_names_may_have_escapes)
{
	expect_place("after", 3, 16);
	expect_place("spec.list", 9, 5);
}

TEST(what_is_not_there_stands_where_the_nearest_thing_above_it_does)
{
	expect_place("spec.listeners[1].protocol", 7, 2);
	expect_place("spec.listeners[2]", 5, 5);
	expect_place("spec.listeners[]", 5, 5);
	expect_place("spec.listeners.port", 5, 5);
	expect_place("spec.list[0]", 9, 5);
	expect_place("spec[0]", 4, 3);
	expect_place("virtualNodeName", 1, 1);
	expect_place("mesh", 1, 1); /* not a part of meshName */
	expect_place("spec.lis...", 4, 3); /* cut off by an error's bounds */
}

TEST(a_value_that_begins_later_in_the_text_has_its_own_members)
{
	static const char text[] = "{\"a\": 1}\n  {\"a\": 2}";
	struct json_place place;

	json_place_find(text, strlen(text), 8, "a", NULL, &place);
	EXPECT_EQ(place.line, 2);
	EXPECT_EQ(place.column, 4);
	json_place_find(text, strlen(text), 1000, "a", NULL, &place); /* behind its end */
	EXPECT_EQ(place.line, 2);
	EXPECT_EQ(place.column, 11);
}

TEST(what_is_remembered_of_one_look_up_does_not_change_the_next)
{
	static const char *const paths[] = {
		"spec.listeners[1].tls[1][1].x", "spec.listeners[0].port", "spec.listeners[1].port", "spec.listeners[1].tls[1][0]", "after",
		"spec.listeners[1].tls[0]", "spec.listeners[2]", "", "spec.list[0]", "spec.listeners[1].tls[1][1].x", "spec.listeners[0]",
	};
	static const size_t offsets[] = { 0, 1, 0, 60 };
	struct json_place_memory memory = {};

	for (size_t n = 0; n < ARRAY_SIZE(offsets); n++)
		for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
			struct json_place with, without;

			json_place_find(document, strlen(document), offsets[n], paths[i], &memory, &with);
			json_place_find(document, strlen(document), offsets[n], paths[i], NULL, &without);
			EXPECT_EQ(with.line, without.line);
			EXPECT_EQ(with.column, without.column);
		}
}

TEST(places_in_a_long_list_are_found_in_their_order_without_beginning_again)
{
	enum { COUNT = 100000 };
	_cleanup_(buffer_done) struct buffer text = {};
	struct json_place_memory memory = {};
	const uint64_t before_ns = test_now_ns();
	struct json_place place;
	char path[32];

	buffer_add(&text, "{\"list\": [\n");
	for (int i = 0; i < COUNT; i++)
		buffer_printf(&text, "  {\"number\": %d, \"x\": [{}]}%s\n", i, i + 1 < COUNT ? "," : "]}");
	for (int i = 0; i < COUNT; i++) {
		snprintf(path, sizeof(path), "list[%d].x[0]", i);
		json_place_find(text.data, text.length, 0, path, &memory, &place);
		EXPECT_EQ(place.line, i + 2);
	}
	/* from the beginning each time it would be some 2 * 10^11 bytes: minutes */
	EXPECT(test_now_ns() - before_ns < 60 * 1000000000ull * test_slowness());
}

TEST(text_that_is_no_json_has_places_too)
{
	static const char *const texts[] = { "", "{", "{\"a", "{\"a\"", "{\"a\":", "[", "[1,", "{\"a\\", "}}]]", "{\"a\":}", "\"" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct json_place place = {};

		json_place_find(texts[i], strlen(texts[i]), 0, "a[0].b", NULL, &place);
		EXPECT_EQ(place.line, 1);
		json_place_find(texts[i], strlen(texts[i]), 0, "[1].b", NULL, &place);
		EXPECT_EQ(place.line, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_stands_where_its_name_begins_and_an_element_where_it_does),
		cmocka_unit_test(columns_are_characters_and_names_may_have_escapes),
		cmocka_unit_test(what_is_not_there_stands_where_the_nearest_thing_above_it_does),
		cmocka_unit_test(a_value_that_begins_later_in_the_text_has_its_own_members),
		cmocka_unit_test(what_is_remembered_of_one_look_up_does_not_change_the_next),
		cmocka_unit_test(places_in_a_long_list_are_found_in_their_order_without_beginning_again),
		cmocka_unit_test(text_that_is_no_json_has_places_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
