/* SPDX-License-Identifier: Apache-2.0 */
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

	json_place_find(document, strlen(document), 0, path, &place);
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

	json_place_find(text, strlen(text), 8, "a", &place);
	EXPECT_EQ(place.line, 2);
	EXPECT_EQ(place.column, 4);
	json_place_find(text, strlen(text), 1000, "a", &place); /* behind its end */
	EXPECT_EQ(place.line, 2);
	EXPECT_EQ(place.column, 11);
}

TEST(text_that_is_no_json_has_places_too)
{
	static const char *const texts[] = { "", "{", "{\"a", "{\"a\"", "{\"a\":", "[", "[1,", "{\"a\\", "}}]]", "{\"a\":}", "\"" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct json_place place = {};

		json_place_find(texts[i], strlen(texts[i]), 0, "a[0].b", &place);
		EXPECT_EQ(place.line, 1);
		json_place_find(texts[i], strlen(texts[i]), 0, "[1].b", &place);
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
		cmocka_unit_test(text_that_is_no_json_has_places_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
