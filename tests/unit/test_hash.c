/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "tests/lib/test.h"

struct item {
	char name[16];
	struct table_node node;
	int visits;
};

static void item_name(struct item *item, int number)
{
	snprintf(item->name, sizeof(item->name), "item-%d", number);
}

/* Published vectors: http://www.isthe.com/chongo/src/fnv/test_fnv.c */
TEST(fnv_gives_the_published_values)
{
	EXPECT_EQ(hash_string(""), 0xcbf29ce484222325);
	EXPECT_EQ(hash_string("a"), 0xaf63dc4c8601ec8c);
	EXPECT_EQ(hash_string("foobar"), 0x85944171f73967e8);
	EXPECT_EQ(hash_bytes("foobarbaz", 6), 0x85944171f73967e8);
}

/* SHA-256 of "abc" in FIPS 180-4's examples begins with these 128 bits. */
TEST(a_name_hashes_to_the_front_of_its_sha256)
{
	uint64_t hash[2];

	hash_name("abc", 3, hash);
	EXPECT_EQ(hash[0], 0xba7816bf8f01cfea);
	EXPECT_EQ(hash[1], 0x414140de5dae2223);
	hash_name("", 0, hash);
	EXPECT_EQ(hash[0], 0xe3b0c44298fc1c14);
	EXPECT_EQ(hash[1], 0x9afbf4c8996fb924);
}

TEST(an_empty_table_finds_removes_and_visits_nothing)
{
	struct table t = {};
	struct item item = { .name = "a" };

	EXPECT(!table_get(&t, "a"));
	EXPECT(!table_first(&t));
	table_remove(&t, &item.node);
	table_done(&t);
}

TEST(a_thousand_elements_are_found_by_key_and_no_other_is)
{
	_cleanup_(table_done) struct table t = {};
	static struct item items[1000];
	struct item other;

	for (int i = 0; i < 1000; i++) {
		item_name(&items[i], i);
		EXPECT_OK(table_add(&t, &items[i].node, items[i].name));
	}
	EXPECT_EQ(t.count, 1000);
	for (int i = 0; i < 1000; i++)
		EXPECT(table_get(&t, items[i].name) == &items[i].node);
	for (int i = 1000; i < 2000; i++) {
		item_name(&other, i);
		EXPECT(!table_get(&t, other.name));
	}
}

TEST(a_key_that_is_taken_is_refused_and_nothing_changes)
{
	_cleanup_(table_done) struct table t = {};
	struct item first = { .name = "same" }, second = { .name = "same" };

	EXPECT_OK(table_add(&t, &first.node, first.name));
	EXPECT_EQ(table_add(&t, &second.node, second.name), -EEXIST);
	EXPECT(table_get(&t, "same") == &first.node);
	EXPECT_EQ(t.count, 1);
}

TEST(a_removed_element_is_gone_and_may_come_back)
{
	_cleanup_(table_done) struct table t = {};
	struct item a = { .name = "a" }, b = { .name = "b" };

	EXPECT_OK(table_add(&t, &a.node, a.name));
	EXPECT_OK(table_add(&t, &b.node, b.name));
	table_remove(&t, &a.node);
	table_remove(&t, &a.node);
	EXPECT(!table_get(&t, "a"));
	EXPECT(table_get(&t, "b") == &b.node);
	EXPECT_EQ(t.count, 1);
	EXPECT_OK(table_add(&t, &a.node, a.name));
	EXPECT(table_get(&t, "a") == &a.node);
}

TEST(iteration_meets_every_element_once_while_the_body_removes_the_one_at_hand)
{
	_cleanup_(table_done) struct table t = {};
	static struct item items[500];
	size_t left = 0;

	for (int i = 0; i < 500; i++) {
		item_name(&items[i], i);
		EXPECT_OK(table_add(&t, &items[i].node, items[i].name));
	}
	for (struct table_node *n = table_first(&t); n; n = table_next(&t, n)) {
		struct item *item = container_of(n, struct item, node);

		item->visits++;
		if ((item - items) % 2)
			table_remove(&t, n);
	}
	for (int i = 0; i < 500; i++) {
		EXPECT_EQ(items[i].visits, 1);
		EXPECT_EQ(!table_get(&t, items[i].name), i % 2);
	}
	for (struct table_node *n = table_first(&t); n; n = table_next(&t, n))
		left++;
	EXPECT_EQ(left, 250);
	EXPECT_EQ(t.count, 250);
}

TEST(the_next_element_is_known_before_the_one_at_hand_is_freed)
{
	_cleanup_(table_done) struct table t = {};

	for (int i = 0; i < 100; i++) {
		struct item *item = calloc(1, sizeof(*item));

		EXPECT(item);
		item_name(item, i);
		EXPECT_OK(table_add(&t, &item->node, item->name));
	}
	for (struct table_node *n = table_first(&t), *next; n; n = next) {
		next = table_next(&t, n);
		table_remove(&t, n);
		free(container_of(n, struct item, node));
	}
	EXPECT_EQ(t.count, 0);
	EXPECT(!table_first(&t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fnv_gives_the_published_values),
		cmocka_unit_test(a_name_hashes_to_the_front_of_its_sha256),
		cmocka_unit_test(an_empty_table_finds_removes_and_visits_nothing),
		cmocka_unit_test(a_thousand_elements_are_found_by_key_and_no_other_is),
		cmocka_unit_test(a_key_that_is_taken_is_refused_and_nothing_changes),
		cmocka_unit_test(a_removed_element_is_gone_and_may_come_back),
		cmocka_unit_test(iteration_meets_every_element_once_while_the_body_removes_the_one_at_hand),
		cmocka_unit_test(the_next_element_is_known_before_the_one_at_hand_is_freed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
