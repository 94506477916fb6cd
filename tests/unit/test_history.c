/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/history/history.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* A history, and the resources in force, whose changes it is told of. */
struct fixture {
	struct state *state;
	struct history *history;
	struct resources resources;
	uint64_t generation;
};

static void fixture_begin(struct fixture *f)
{
	struct error err = {};

	if (!f->state)
		EXPECT_OK(state_open_memory(&f->state));
	resources_init(&f->resources);
	EXPECT_OK(history_open(f->state, &f->history, NULL, &err), &err);
}

static void fixture_end(struct fixture *f)
{
	f->history = history_close(f->history);
	resources_done(&f->resources);
}

static void fixture_done(struct fixture *f)
{
	fixture_end(f);
	state_close(f->state);
}
#define FIXTURE(f)                                          \
	_cleanup_(fixture_done) struct fixture f = {};      \
	fixture_begin(&f)

static void note(const struct resource *before, const struct resource *now, void *arg)
{
	EXPECT_OK(history_note(((struct fixture *)arg)->history, before, now));
}

static void commit(struct fixture *f)
{
	struct error err = {};

	EXPECT_OK(resources_check(&f->resources, &err), &err);
	resources_commit(&f->resources, note, f);
}

/* A service without a provider, told apart by a tag. */
static void put(struct fixture *f, const char *name, const char *tag)
{
	_cleanup_json_ json_t *document = json_pack("{s:s, s:s, s:{}, s:[{s:s, s:s}]}", "meshName", "m", "virtualServiceName", name, "spec",
						    "tags", "key", "v", "value", tag);
	struct resource *resource;
	struct error err = {};

	EXPECT_OK(resource_new(document, NULL, NULL, &resource, &err), &err);
	EXPECT_OK(resources_put(&f->resources, resource));
	resource_unref(resource);
}

static void remove_service(struct fixture *f, const char *name)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];

	EXPECT_OK(resource_full_name(full_name, sizeof(full_name), "m", RESOURCE_VIRTUAL_SERVICE, NULL, name));
	EXPECT_OK(resources_remove(&f->resources, full_name));
}

static void in_force(struct fixture *f, uint64_t generation)
{
	struct error err = {};

	commit(f);
	EXPECT_OK(history_generation(f->history, generation, generation * 1000, &err), &err);
	f->generation = generation;
}

static int append_service(const struct resource *resource, void *arg)
{
	_cleanup_json_ json_t *tags = resource_tags(resource);
	char *text = arg;

	sprintf(text + strlen(text), "%s%s=%s", *text ? " " : "", resource->name, json_path_string(json_array_get(tags, 0), "value"));
	return 0;
}

static const char *services(const struct fixture *f, char text[256])
{
	*text = '\0';
	EXPECT_OK(resources_each(&f->resources, append_service, text));
	return text;
}
#define SERVICES(f) services(f, (char[256]){})

static void go_back(struct fixture *f, uint64_t generation)
{
	struct error err = {};

	EXPECT_OK(history_undo(f->history, generation, &f->resources, &err), &err);
}

static void start_again(struct fixture *f)
{
	fixture_end(f);
	fixture_begin(f);
}

/* Three generations that change resources, 10, 11 and 13, and two that do not. */
static void given_generations(struct fixture *f)
{
	put(f, "a", "1");
	put(f, "b", "1");
	in_force(f, 10);
	put(f, "a", "2");
	put(f, "c", "1");
	in_force(f, 11);
	in_force(f, 12);
	remove_service(f, "b");
	put(f, "a", "3");
	in_force(f, 13);
	in_force(f, 14);
}

TEST(each_generation_is_told_with_what_it_changed)
{
	FIXTURE(f);
	const struct history_entry *entry;

	given_generations(&f);

	EXPECT_EQ(history_count(f.history), 5);
	EXPECT_EQ(history_oldest(f.history), 10);
	EXPECT_EQ(history_newest(f.history), 14);
	EXPECT_EQ(history_at(f.history, 0)->cause, HISTORY_START);
	entry = history_at(f.history, 1);
	EXPECT_EQ(entry->cause, HISTORY_RESOURCES);
	EXPECT_EQ(entry->first, 11);
	EXPECT_EQ(entry->wall_ns, 11000);
	EXPECT_EQ(entry->change_count, 2);
	EXPECT_STR(entry->changes[0].before->name, "a");
	EXPECT_STR(entry->changes[0].now->name, "a");
	EXPECT(!entry->changes[1].before);
	EXPECT_STR(entry->changes[1].now->name, "c");
	EXPECT_EQ(history_at(f.history, 2)->cause, HISTORY_PLACES);
	EXPECT_EQ(history_at(f.history, 3)->change_count, 2);
	EXPECT_EQ(history_at(f.history, 4)->last, 14);
}

TEST(generations_that_only_move_endpoints_are_one_entry)
{
	FIXTURE(f);

	put(&f, "a", "1");
	for (uint64_t g = 1; g <= 500; g++)
		in_force(&f, g);
	EXPECT_EQ(history_count(f.history), 2);
	EXPECT_EQ(history_at(f.history, 1)->first, 2);
	EXPECT_EQ(history_at(f.history, 1)->last, 500);
}

TEST(the_resources_of_any_known_generation_come_back)
{
	static const struct {
		uint64_t generation;
		const char *services;
	} known[] = {
		{ 10, "a=1 b=1" }, { 11, "a=2 b=1 c=1" }, { 12, "a=2 b=1 c=1" }, { 13, "a=3 c=1" }, { 14, "a=3 c=1" },
	};
	FIXTURE(f);

	given_generations(&f);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		go_back(&f, known[i].generation);
		EXPECT_STR(SERVICES(&f), known[i].services);
		resources_rollback(&f.resources);
	}
}

TEST(going_back_is_a_generation_that_can_be_gone_back_from)
{
	FIXTURE(f);

	given_generations(&f);
	go_back(&f, 10);
	history_because(f.history, HISTORY_ROLLBACK, 10);
	in_force(&f, 15);
	EXPECT_EQ(history_at(f.history, 5)->cause, HISTORY_ROLLBACK);
	EXPECT_EQ(history_at(f.history, 5)->asked, 10);
	EXPECT_EQ(history_at(f.history, 5)->change_count, 3);

	go_back(&f, 14);
	EXPECT_STR(SERVICES(&f), "a=3 c=1");
}

TEST(a_generation_out_of_reach_is_refused_by_its_number)
{
	FIXTURE(f);
	struct error err = {};

	EXPECT_EQ(history_undo(f.history, 1, &f.resources, &err), -ERANGE);
	given_generations(&f);
	EXPECT_EQ(history_undo(f.history, 9, &f.resources, &err), -ERANGE);
	EXPECT_STR(err.field, "generation");
	EXPECT_STR(err.message, "9 is not known: those from 10 to 14 are");
	EXPECT_EQ(history_undo(f.history, 15, &f.resources, &err), -ERANGE);
}

TEST(the_generation_before_a_change_is_the_last_that_had_not_seen_it)
{
	FIXTURE(f);
	uint64_t before;

	given_generations(&f);
	EXPECT_OK(history_before(f.history, 14, &before));
	EXPECT_EQ(before, 12);
	EXPECT_OK(history_before(f.history, 12, &before));
	EXPECT_EQ(before, 10);
	EXPECT_EQ(history_before(f.history, 10, &before), -ENOENT);
}

TEST(what_failed_to_come_into_force_is_undone_as_well)
{
	FIXTURE(f);

	given_generations(&f);
	put(&f, "bad", "1");
	put(&f, "a", "4");
	commit(&f); /* and no generation comes */
	put(&f, "a", "5");
	commit(&f);
	go_back(&f, 13);
	EXPECT_STR(SERVICES(&f), "a=3 c=1");
}

TEST(a_change_and_its_opposite_between_two_generations_are_none)
{
	FIXTURE(f);

	given_generations(&f);
	for (int i = 0; i < 100; i++) {
		put(&f, "a", "4");
		put(&f, "d", "1");
		commit(&f);
		put(&f, "a", "3");
		remove_service(&f, "d");
		commit(&f);
	}
	EXPECT_OK(history_generation(f.history, 15, 15000, NULL));
	EXPECT_EQ(history_at(f.history, history_count(f.history) - 1)->cause, HISTORY_PLACES);
}

TEST(a_change_without_effect_on_this_node_comes_with_the_generation_in_force)
{
	FIXTURE(f);

	given_generations(&f);
	put(&f, "elsewhere", "1");
	in_force(&f, 14);
	EXPECT_EQ(history_at(f.history, history_count(f.history) - 1)->first, 14);
	EXPECT_EQ(history_at(f.history, history_count(f.history) - 1)->change_count, 1);
	go_back(&f, 13);
	EXPECT_STR(SERVICES(&f), "a=3 c=1");
}

TEST(before_anything_was_in_force_there_is_no_history)
{
	FIXTURE(f);
	uint64_t before;

	in_force(&f, 0);
	EXPECT_EQ(history_count(f.history), 0);
	EXPECT_EQ(history_oldest(f.history), 0);
	put(&f, "a", "1");
	in_force(&f, 1);
	EXPECT_EQ(history_oldest(f.history), 1);
	EXPECT_EQ(history_before(f.history, 1, &before), -ENOENT);
}

TEST(an_agent_that_starts_with_the_same_resources_goes_on_with_the_chain)
{
	FIXTURE(f);

	given_generations(&f);
	start_again(&f);
	put(&f, "c", "1");
	put(&f, "a", "3");
	in_force(&f, 14);
	EXPECT_EQ(history_oldest(f.history), 10);
	go_back(&f, 11);
	EXPECT_STR(SERVICES(&f), "a=2 b=1 c=1");
}

TEST(an_agent_that_starts_with_other_resources_begins_a_new_chain)
{
	FIXTURE(f);

	given_generations(&f);
	start_again(&f);
	put(&f, "a", "3");
	in_force(&f, 15);
	EXPECT_EQ(history_oldest(f.history), 15);
	EXPECT_EQ(history_count(f.history), 1);
	start_again(&f);
	EXPECT_EQ(history_count(f.history), 1);
}

TEST(the_oldest_changes_are_forgotten_beyond_the_limit_in_memory_and_in_the_state)
{
	FIXTURE(f);
	char tag[16];

	put(&f, "a", "0");
	in_force(&f, 1);
	for (unsigned g = 2; g <= HISTORY_ENTRIES + 50; g++) {
		snprintf(tag, sizeof(tag), "%u", g);
		put(&f, "a", tag);
		in_force(&f, g);
	}
	EXPECT_EQ(history_count(f.history), HISTORY_ENTRIES);
	EXPECT_EQ(history_oldest(f.history), 51);
	start_again(&f);
	put(&f, "a", tag);
	in_force(&f, f.generation);
	EXPECT_EQ(history_count(f.history), HISTORY_ENTRIES);
	go_back(&f, 51);
	EXPECT_STR(SERVICES(&f), "a=51");
}

TEST(a_change_too_large_for_the_state_can_be_undone_until_the_agent_ends)
{
	FIXTURE(f);
	char name[32];

	put(&f, "a", "1");
	in_force(&f, 1);
	put(&f, "a", "2");
	in_force(&f, 2);
	for (int i = 0; i < 2001; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		put(&f, name, "1");
	}
	in_force(&f, 3);
	go_back(&f, 1);
	EXPECT_STR(SERVICES(&f), "a=1");
	resources_rollback(&f.resources);

	start_again(&f);
	EXPECT_EQ(history_count(f.history), 1);
	EXPECT_EQ(history_oldest(f.history), 3);
}

static void damage(struct fixture *f, const char *key, const char *value)
{
	EXPECT_OK(state_put(f->state, key, value, strlen(value), NULL));
}

/* The digest was once another one, of 32 digits. */
#define OLD_FORM                                                                                                       \
	"{\"generation\": 11, \"at\": 11000, \"cause\": \"resources\", \"asked\": 0, \"changes\": 2, "                    \
	"\"digest\": \"00112233445566778899aabbccddeeff\"}"

TEST(what_does_not_read_is_left_out_with_all_before_it)
{
	static const struct {
		const char *key, *value;
		size_t left;
	} damages[] = {
		{ "history/000000000002", "{", 1 },
		{ "history/000000000002", "{\"generation\": -1, \"changes\": 2}", 1 },
		{ "history/000000000002/000001", "{}", 1 },
		{ "history/000000000002/000001", "{\"before\": null, \"now\": {\"document\": {\"meshName\": 1}}}", 1 },
		{ "history/000000000002", OLD_FORM, 1 },
		{ "history/000000000001", "", 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		FIXTURE(f);
		size_t refused = 0;

		given_generations(&f);
		damage(&f, damages[i].key, damages[i].value);
		history_close(f.history);
		EXPECT_OK(history_open(f.state, &f.history, &refused, NULL));
		EXPECT_EQ(history_count(f.history), damages[i].left);
		EXPECT(refused > 0);
		history_close(f.history);
		EXPECT_OK(history_open(f.state, &f.history, &refused, NULL));
		EXPECT_EQ(refused, 0); /* it went from the state */
		EXPECT_EQ(history_count(f.history), damages[i].left);
	}
}

TEST(a_change_that_is_missing_in_the_state_breaks_the_chain_there)
{
	FIXTURE(f);
	size_t refused = 0;

	given_generations(&f);
	EXPECT_OK(state_delete(f.state, "history/000000000002/000001", NULL));
	history_close(f.history);
	EXPECT_OK(history_open(f.state, &f.history, &refused, NULL));
	EXPECT_EQ(history_count(f.history), 1);
	EXPECT_EQ(refused, 2);
}

TEST(what_is_held_outlives_the_agent_until_it_is_let_go)
{
	FIXTURE(f);
	const struct history_hold hold = { .generation = 11, .since_wall_ns = 99 };

	given_generations(&f);
	EXPECT_EQ(history_held(f.history)->generation, 0);
	go_back(&f, 11);
	commit(&f);
	EXPECT_OK(history_hold(f.history, &hold, &f.resources, NULL));
	start_again(&f);
	EXPECT_EQ(history_held(f.history)->generation, 11);
	EXPECT_EQ(history_held(f.history)->since_wall_ns, 99);
	EXPECT_OK(history_held_resources(f.history, &f.resources, NULL));
	EXPECT_STR(SERVICES(&f), "a=2 b=1 c=1");

	EXPECT_OK(history_release(f.history, NULL));
	EXPECT_EQ(history_held(f.history)->generation, 0);
	start_again(&f);
	EXPECT_EQ(history_held(f.history)->generation, 0);
}

TEST(holding_fewer_resources_leaves_none_of_those_before)
{
	FIXTURE(f);

	given_generations(&f);
	EXPECT_OK(history_hold(f.history, &(struct history_hold){ 14, 1 }, &f.resources, NULL));
	remove_service(&f, "c");
	EXPECT_OK(history_hold(f.history, &(struct history_hold){ 15, 1 }, &f.resources, NULL));
	start_again(&f);
	EXPECT_OK(history_held_resources(f.history, &f.resources, NULL));
	EXPECT_STR(SERVICES(&f), "a=3");
}

TEST(held_resources_that_do_not_read_are_refused_as_a_whole)
{
	FIXTURE(f);
	struct error err = {};

	given_generations(&f);
	EXPECT_OK(history_hold(f.history, &(struct history_hold){ 14, 1 }, &f.resources, NULL));
	damage(&f, "held/000001", "{\"document\": {}}");
	start_again(&f);
	EXPECT_EQ(history_held_resources(f.history, &f.resources, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "'held/000001'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_generation_is_told_with_what_it_changed),
		cmocka_unit_test(generations_that_only_move_endpoints_are_one_entry),
		cmocka_unit_test(the_resources_of_any_known_generation_come_back),
		cmocka_unit_test(going_back_is_a_generation_that_can_be_gone_back_from),
		cmocka_unit_test(a_generation_out_of_reach_is_refused_by_its_number),
		cmocka_unit_test(the_generation_before_a_change_is_the_last_that_had_not_seen_it),
		cmocka_unit_test(what_failed_to_come_into_force_is_undone_as_well),
		cmocka_unit_test(a_change_and_its_opposite_between_two_generations_are_none),
		cmocka_unit_test(a_change_without_effect_on_this_node_comes_with_the_generation_in_force),
		cmocka_unit_test(before_anything_was_in_force_there_is_no_history),
		cmocka_unit_test(an_agent_that_starts_with_the_same_resources_goes_on_with_the_chain),
		cmocka_unit_test(an_agent_that_starts_with_other_resources_begins_a_new_chain),
		cmocka_unit_test(the_oldest_changes_are_forgotten_beyond_the_limit_in_memory_and_in_the_state),
		cmocka_unit_test(a_change_too_large_for_the_state_can_be_undone_until_the_agent_ends),
		cmocka_unit_test(what_does_not_read_is_left_out_with_all_before_it),
		cmocka_unit_test(a_change_that_is_missing_in_the_state_breaks_the_chain_there),
		cmocka_unit_test(what_is_held_outlives_the_agent_until_it_is_let_go),
		cmocka_unit_test(holding_fewer_resources_leaves_none_of_those_before),
		cmocka_unit_test(held_resources_that_do_not_read_are_refused_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
