/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/store/backend.h"
#include "agent/store/mirror.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/unit/store_world.h"

struct world {
	struct store_world w;
	struct mirror *mirror;
	struct buffer told;
	uint64_t settled;
	int failures;
};

static void note_change(const struct store_entry *before, const struct store_entry *after, void *arg)
{
	struct world *world = arg;
	const char *key = (after ? after : before)->key;

	EXPECT_STR(before ? before->key : key, key);
	EXPECT(mirror_get(world->mirror, key) == after); /* it is there already */
	buffer_printf(&world->told, "%s:%s>%s ", key, before ? (const char *)before->value : "", after ? (const char *)after->value : "");
}

static void note_settled(uint64_t revision, void *arg)
{
	struct world *world = arg;

	EXPECT(revision >= world->settled);
	EXPECT_EQ(mirror_revision(world->mirror), revision);
	world->settled = revision;
	buffer_printf(&world->told, "[%d] ", (int)revision);
}

static void note_failed(int result, const struct error *err, void *arg)
{
	struct world *world = arg;

	EXPECT(result < 0);
	EXPECT(err->message[0]);
	world->failures++;
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	store_world_init(&world->w);
	EXPECT_OK(store_open_memory(world->w.loop, &world->w.store, NULL));
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	mirror_free(world->mirror);
	store_world_done(&world->w);
	buffer_done(&world->told);
	free(world);
	return 0;
}

static void given_mirror(struct world *world, const char *prefix)
{
	const struct mirror_callbacks callbacks = { note_change, note_settled, note_failed, world };
	struct error err = {};

	EXPECT_OK(mirror_new(world->w.store, prefix, &callbacks, &world->mirror, &err), &err);
	EXPECT(!mirror_ready(world->mirror));
	TURN_UNTIL(&world->w, mirror_ready(world->mirror));
}

static const char *told(struct world *world)
{
	return buffer_string(&world->told);
}

static const char *mirrored(struct world *world, const char *prefix, const char *after, size_t limit)
{
	static char text[1024];
	const struct mirror_view view = mirror_list(world->mirror, prefix, after, limit);
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < view.count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s=%s", i ? " " : "", view.entries[i]->key,
					 (const char *)view.entries[i]->value);
	if (view.more)
		strcat(text, " ...");
	return text;
}

TEST(a_mirror_begins_with_what_is_there_and_says_when_it_has_it)
{
	struct world *world = *state;

	put(&world->w, "c/b", "2");
	put(&world->w, "c/a", "1");
	put(&world->w, "d", "3");
	given_mirror(world, "c/");
	EXPECT_STR(told(world), "c/a:>1 c/b:>2 [3] ");
	EXPECT_EQ(mirror_count(world->mirror), 2);
	EXPECT_STR(mirrored(world, "c/", NULL, 0), "c/a=1 c/b=2");
	EXPECT_STR(mirror_get(world->mirror, "c/b")->value, "2");
	EXPECT_EQ(mirror_revision_of(world->mirror, "c/b"), 1);
	EXPECT(!mirror_get(world->mirror, "d"));
	EXPECT_EQ(mirror_revision_of(world->mirror, "c/x"), 0);
}

TEST(an_empty_prefix_is_ready_as_well)
{
	struct world *world = *state;

	given_mirror(world, "c/");
	EXPECT_EQ(mirror_count(world->mirror), 0);
	EXPECT_STR(mirrored(world, "c/", NULL, 0), "");
	put(&world->w, "c/a", "1");
	EXPECT_STR(told(world), "[0] c/a:>1 [1] ");
}

struct reader {
	struct world *world;
	const char *expected;
	bool done;
};

static void expect_mirrored(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct reader *reader = arg;

	EXPECT_OK(result, err);
	EXPECT_EQ(mirror_revision(reader->world->mirror), revision);
	EXPECT_STR(mirrored(reader->world, "c/", NULL, 0), reader->expected);
	reader->done = true;
}

TEST(a_write_is_in_the_mirror_before_its_caller_is_told)
{
	struct world *world = *state;
	struct reader reader = { world, "c/a=3 c/c=4" };
	const struct store_op ops[] = { { "c/a", "3", 1 }, { "c/b", NULL, 0 }, { "c/c", "4", 1 } };

	put(&world->w, "c/a", "1");
	put(&world->w, "c/b", "2");
	given_mirror(world, "c/");
	buffer_clear(&world->told);
	EXPECT_OK(store_txn(world->w.store, NULL, 0, ops, 3, expect_mirrored, &reader, NULL));
	TURN_UNTIL(&world->w, reader.done);
	EXPECT_STR(told(world), "c/a:1>3 c/b:2> c/c:>4 [3] ");
}

TEST(lists_have_a_beginning_and_a_limit)
{
	struct world *world = *state;

	for (int i = 0; i < 4; i++)
		put(&world->w, (const char *[]){ "c/1", "c/2", "c/3", "ca" }[i], "v");
	given_mirror(world, "c");
	EXPECT_STR(mirrored(world, "c/", NULL, 2), "c/1=v c/2=v ...");
	EXPECT_STR(mirrored(world, "c/", "c/1", 2), "c/2=v c/3=v");
	EXPECT_STR(mirrored(world, "c/", "c/25", 0), "c/3=v");
	EXPECT_STR(mirrored(world, "x", NULL, 0), "");
	EXPECT_STR(mirrored(world, "", NULL, 3), "c/1=v c/2=v c/3=v ...");
}

TEST(what_is_written_while_it_loads_is_missed_by_none)
{
	struct world *world = *state;
	const struct mirror_callbacks callbacks = { note_change, note_settled, note_failed, world };
	struct outcome *outcomes = calloc(5000, sizeof(*outcomes));
	char keys[2500][16];
	uint64_t sum = 0;

	/* when a list of three pages meets writers */
	for (int i = 0; i < 2500; i++) {
		snprintf(keys[i], sizeof(keys[i]), "c/%04d", i);
		EXPECT_OK(store_txn(world->w.store, NULL, 0, &(struct store_op){ keys[i], "1", 1 }, 1, on_done, &outcomes[i], NULL));
	}
	TURN_UNTIL(&world->w, outcomes[2499].done);
	EXPECT_OK(mirror_new(world->w.store, "c/", &callbacks, &world->mirror, NULL));
	for (int i = 0; i < 2500; i++) {
		const struct store_op op = { keys[(i * 7) % 2500], i % 5 ? "2" : NULL, 1 };

		EXPECT_OK(store_txn(world->w.store, NULL, 0, &op, 1, on_done, &outcomes[2500 + i], NULL));
		if (i % 100 == 0)
			EXPECT_OK(loop_turn(world->w.loop, 0));
	}
	TURN_UNTIL(&world->w, outcomes[4999].done && mirror_ready(world->mirror) && world->settled == 5000);
	/* then it has what the store has */
	EXPECT_EQ(mirror_count(world->mirror), 2000);
	for (int i = 0; i < 2500; i++)
		sum += mirror_get(world->mirror, keys[i]) ? (uint64_t)atoi(mirror_get(world->mirror, keys[i])->value) : 0;
	EXPECT_EQ(sum, 4000);
	EXPECT_EQ(world->failures, 0);
	free(outcomes);
}

TEST(a_mirror_may_go_while_it_loads)
{
	struct world *world = *state;
	const struct mirror_callbacks callbacks = { note_change, note_settled, note_failed, world };

	put(&world->w, "c/a", "1");
	for (int turns = 0; turns < 4; turns++) {
		EXPECT_OK(mirror_new(world->w.store, "c/", &callbacks, &world->mirror, NULL));
		for (int i = 0; i < turns; i++)
			EXPECT_OK(loop_turn(world->w.loop, 0));
		world->mirror = mirror_free(world->mirror);
	}
	put(&world->w, "c/a", "2");
	EXPECT(!strstr(told(world), ">2"));
}

/* ---- a store that fails ---- */

/* A back end of which the test says what becomes of each list and watch, as of one that is elsewhere. */
struct remote {
	struct store store;
	struct list requests;
	int watches;
};

static void remote_submit(struct store *store, struct store_request *request)
{
	list_append(&((struct remote *)store)->requests, &request->node);
}

static int remote_watch(struct store *store, struct store_watch *watch)
{
	(void)watch;
	((struct remote *)store)->watches++;
	return 0;
}

static void remote_close(struct store *store)
{
	struct remote *remote = (struct remote *)store;

	while (!list_empty(&remote->requests)) {
		struct store_request *request = container_of(remote->requests.next, struct store_request, node);

		list_remove(&request->node);
		store_complete(store, request);
	}
	list_for_each(it, &store->watches)
		container_of(it, struct store_watch, node)->fn = NULL;
	store_watches_sweep(store);
	free(remote);
}

static const struct store_backend remote_backend = { remote_submit, remote_watch, remote_close };

static struct remote *given_remote(struct world *world)
{
	const struct mirror_callbacks callbacks = { note_change, note_settled, note_failed, world };
	struct remote *remote = calloc(1, sizeof(*remote));

	store_close(world->w.store);
	store_init(&remote->store, world->w.loop, &remote_backend);
	list_init(&remote->requests);
	world->w.store = &remote->store;
	EXPECT_OK(mirror_new(world->w.store, "c/", &callbacks, &world->mirror, NULL));
	return remote;
}

/* Waits for a list, and answers it: "a=1" and so on, at the revision. */
static void answer_list(struct world *world, struct remote *remote, int result, uint64_t revision, int count,
			const char *const pairs[][2])
{
	struct store_request *request;

	TURN_UNTIL(&world->w, !list_empty(&remote->requests));
	request = container_of(remote->requests.next, struct store_request, node);
	list_remove(&request->node);
	EXPECT_EQ(request->kind, STORE_LIST);
	request->result = result;
	request->revision = revision;
	if (result < 0)
		error_set(&request->err, result, "the test says no");
	for (int i = 0; i < count; i++)
		store_records_add(&request->found, &store_record_new(pairs[i][0], pairs[i][1], strlen(pairs[i][1]),
								     (uint64_t)atoi(pairs[i][1]))->entry);
	store_complete(&remote->store, request);
}

static struct store_watch *the_watch(struct remote *remote)
{
	EXPECT(!list_empty(&remote->store.watches));
	return container_of(remote->store.watches.next, struct store_watch, node);
}

TEST(a_list_that_fails_is_tried_again)
{
	struct world *world = *state;
	struct remote *remote = given_remote(world);
	static const char *const pairs[][2] = { { "c/a", "1" } };

	answer_list(world, remote, -EIO, 0, 0, NULL);
	EXPECT_EQ(world->failures, 1);
	EXPECT(!mirror_ready(world->mirror));
	answer_list(world, remote, -ESTALE, 0, 0, NULL);
	EXPECT_EQ(world->failures, 2);
	answer_list(world, remote, 0, 7, 1, pairs);
	EXPECT(mirror_ready(world->mirror));
	EXPECT_STR(told(world), "c/a:>1 [7] ");
	EXPECT_EQ(mirror_relists(world->mirror), 2);
}

TEST(a_watch_that_ends_is_replaced_by_a_list_and_the_difference_is_told)
{
	struct world *world = *state;
	struct remote *remote = given_remote(world);
	static const char *const before[][2] = { { "c/a", "1" }, { "c/b", "2" }, { "c/c", "3" } },
				 *const after[][2] = { { "c/0", "9" }, { "c/b", "2" }, { "c/c", "8" }, { "c/d", "7" } };
	struct error err = { .code = -ESTALE, .message = "compacted" };

	answer_list(world, remote, 0, 3, 3, before);
	buffer_clear(&world->told);
	store_watch_fail(the_watch(remote), -ESTALE, &err);
	EXPECT_STR(mirrored(world, "c/", NULL, 0), "c/a=1 c/b=2 c/c=3"); /* meanwhile as it was */
	answer_list(world, remote, 0, 9, 4, after);
	EXPECT_STR(told(world), "c/0:>9 c/a:1> c/c:3>8 c/d:>7 [9] ");
	EXPECT_STR(mirrored(world, "c/", NULL, 0), "c/0=9 c/b=2 c/c=8 c/d=7");
	EXPECT_EQ(mirror_relists(world->mirror), 1);
	EXPECT_EQ(world->failures, 0);
	EXPECT_EQ(remote->watches, 2);
}

TEST(a_watch_that_fails_is_told_of_and_begun_again)
{
	struct world *world = *state;
	struct remote *remote = given_remote(world);
	static const char *const pairs[][2] = { { "c/a", "1" } };
	struct error err = { .code = -EIO, .message = "unreachable" };

	answer_list(world, remote, 0, 1, 1, pairs);
	store_watch_fail(the_watch(remote), -EIO, &err);
	EXPECT_EQ(world->failures, 1);
	EXPECT_STR(mirrored(world, "c/", NULL, 0), "c/a=1");
	answer_list(world, remote, 0, 4, 1, pairs);
	EXPECT_STR(told(world), "c/a:>1 [1] [4] ");
	EXPECT_EQ(remote->watches, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_mirror_begins_with_what_is_there_and_says_when_it_has_it, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_prefix_is_ready_as_well, setup, teardown),
		cmocka_unit_test_setup_teardown(a_write_is_in_the_mirror_before_its_caller_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_have_a_beginning_and_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_written_while_it_loads_is_missed_by_none, setup, teardown),
		cmocka_unit_test_setup_teardown(a_mirror_may_go_while_it_loads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_list_that_fails_is_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_that_ends_is_replaced_by_a_list_and_the_difference_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_that_fails_is_told_of_and_begun_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
