/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/store/attempt.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/unit/store_world.h"

struct world {
	struct store_world w;
	struct mirror *mirror;
	struct attempts *attempts;
	struct buffer order; /* who was built and who was done: "b1 d1 b2 ..." */
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	const struct mirror_callbacks none = {};

	store_world_init(&world->w);
	EXPECT_OK(store_open_memory(world->w.loop, &world->w.store, NULL));
	EXPECT_OK(mirror_new(world->w.store, "c/", &none, &world->mirror, NULL));
	EXPECT_OK(attempts_new(world->w.store, world->mirror, &world->attempts));
	TURN_UNTIL(&world->w, mirror_ready(world->mirror));
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	attempts_free(world->attempts);
	mirror_free(world->mirror);
	store_world_done(&world->w);
	buffer_done(&world->order);
	free(world);
	return 0;
}

/* One attempt that adds 1 to the number at "c/n", or does as `build` says. */
struct addition {
	struct world *world;
	int name;
	struct outcome outcome;
	int builds, interferences;
};

static int add(struct txn *txn, void *arg, struct error *err)
{
	struct addition *a = arg;
	const struct store_entry *n = mirror_get(a->world->mirror, "c/n");
	char text[16];

	(void)err;
	a->builds++;
	buffer_printf(&a->world->order, "b%d ", a->name);
	snprintf(text, sizeof(text), "%d", n ? atoi(n->value) + 1 : 1);
	txn_put(txn, "c/n", text, strlen(text));
	return 0;
}

static void added(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct addition *a = arg;

	on_done(result, revision, err, &a->outcome);
	buffer_printf(&a->world->order, "d%d ", a->name);
}

static void run_with(struct addition *a, const char *guard, attempt_build_fn *build)
{
	struct error err = {};

	EXPECT_OK(attempt_run(a->world->attempts, guard, build, added, a, &err), &err);
	EXPECT_EQ(a->builds, 0); /* never from inside the call */
}

static const char *value_at(struct world *world, const char *key)
{
	const struct store_entry *entry = mirror_get(world->mirror, key);

	return entry ? entry->value : "-";
}

TEST(an_attempt_writes_what_it_built_and_the_guard)
{
	struct world *world = *state;
	struct addition a = { world };

	run_with(&a, "c/guard", add);
	TURN_UNTIL(&world->w, a.outcome.done);
	EXPECT_OK(a.outcome.result, &a.outcome.err);
	EXPECT_EQ(a.outcome.revision, 1);
	EXPECT_STR(value_at(world, "c/n"), "1");
	EXPECT_EQ(mirror_revision_of(world->mirror, "c/guard"), 1);
}

TEST(attempts_on_one_guard_take_turns_and_none_loses)
{
	struct world *world = *state;
	struct addition a[10];

	for (int i = 0; i < 10; i++) {
		a[i] = (struct addition){ world, i };
		run_with(&a[i], "c/guard", add);
	}
	TURN_UNTIL(&world->w, a[9].outcome.done);
	EXPECT_STR(value_at(world, "c/n"), "10");
	EXPECT_STR(buffer_string(&world->order), "b0 d0 b1 d1 b2 d2 b3 d3 b4 d4 b5 d5 b6 d6 b7 d7 b8 d8 b9 d9 ");
	EXPECT_EQ(attempt_count(world->attempts, ATTEMPT_COUNT_DONE), 10);
	EXPECT_EQ(attempt_count(world->attempts, ATTEMPT_COUNT_RETRIES), 0);
}

TEST(attempts_on_other_guards_do_not_wait)
{
	struct world *world = *state;
	struct addition a = { world, 1 }, b = { world, 2 }, c = { world, 3 };

	run_with(&a, "c/guard/a", add);
	run_with(&b, "c/guard/b", add);
	run_with(&c, NULL, add);
	TURN_UNTIL(&world->w, a.outcome.done && b.outcome.done && c.outcome.done);
	EXPECT_STR(value_at(world, "c/n"), "1"); /* they had no guard in common, so each met the same */
	EXPECT_STR(buffer_string(&world->order), "b1 b2 b3 d1 d2 d3 ");
}

static void ignore(int result, uint64_t revision, const struct error *err, void *arg)
{
	(void)revision;
	(void)arg;
	EXPECT_OK(result, err);
}

/* As another writer of the store that is faster. */
static int add_late(struct txn *txn, void *arg, struct error *err)
{
	struct addition *a = arg;
	const struct store_op ops[] = { { "c/guard", "", 0 }, { "c/n", "40", 2 } };

	if (a->interferences-- > 0)
		EXPECT_OK(store_txn(a->world->w.store, NULL, 0, ops, 2, ignore, NULL, NULL));
	return add(txn, arg, err);
}

TEST(who_lost_builds_again_by_what_the_other_wrote)
{
	struct world *world = *state;
	struct addition a = { world, 1, .interferences = 2 };

	run_with(&a, "c/guard", add_late);
	TURN_UNTIL(&world->w, a.outcome.done);
	EXPECT_OK(a.outcome.result, &a.outcome.err);
	EXPECT_EQ(a.builds, 3);
	EXPECT_STR(value_at(world, "c/n"), "41");
	EXPECT_EQ(attempt_count(world->attempts, ATTEMPT_COUNT_RETRIES), 2);
}

TEST(who_loses_again_and_again_gives_up)
{
	struct world *world = *state;
	struct addition a = { world, 1, .interferences = 100 }, b = { world, 2 };

	run_with(&a, "c/guard", add_late);
	run_with(&b, "c/guard", add);
	TURN_UNTIL(&world->w, b.outcome.done);
	EXPECT_EQ(a.outcome.result, -EAGAIN);
	EXPECT_CONTAINS(a.outcome.err.message, "8 times");
	EXPECT_EQ(a.builds, ATTEMPT_TRIES);
	EXPECT_EQ(attempt_count(world->attempts, ATTEMPT_COUNT_GAVE_UP), 1);
	EXPECT_STR(value_at(world, "c/n"), "41"); /* and the next one is not hindered */
}

static int refuse(struct txn *txn, void *arg, struct error *err)
{
	txn_put(txn, "c/n", "never", 5);
	(void)arg;
	return error_set_field(err, -EINVAL, "spec.field", "is wrong");
}

TEST(a_refusal_is_handed_on_and_writes_nothing)
{
	struct world *world = *state;
	struct addition a = { world, 1 }, b = { world, 2 };

	run_with(&a, "c/guard", refuse);
	run_with(&b, "c/guard", add);
	TURN_UNTIL(&world->w, b.outcome.done);
	EXPECT_EQ(a.outcome.result, -EINVAL);
	EXPECT_STR(a.outcome.err.field, "spec.field");
	EXPECT_STR(value_at(world, "c/n"), "1");
	EXPECT_EQ(attempt_count(world->attempts, ATTEMPT_COUNT_REFUSED), 1);
}

static int add_nothing(struct txn *txn, void *arg, struct error *err)
{
	(void)txn;
	(void)arg;
	(void)err;
	return 0;
}

static int add_compare(struct txn *txn, void *arg, struct error *err)
{
	(void)arg;
	(void)err;
	txn_compare(txn, "c/n", 0);
	return 0;
}

TEST(an_attempt_with_nothing_to_write_leaves_the_guard_alone)
{
	struct world *world = *state;
	struct addition a = { world, 1 }, b = { world, 2 };

	run_with(&a, "c/guard", add_nothing);
	run_with(&b, "c/guard", add_compare);
	TURN_UNTIL(&world->w, a.outcome.done && b.outcome.done);
	EXPECT_OK(a.outcome.result);
	EXPECT_OK(b.outcome.result);
	EXPECT_EQ(revision_now(&world->w), 0);
}

static int put_large(struct txn *txn, void *arg, struct error *err)
{
	char *large = calloc(1, STORE_VALUE_LIMIT_BYTES);

	(void)arg;
	(void)err;
	txn_put(txn, "c/a", large, STORE_VALUE_LIMIT_BYTES);
	txn_put(txn, "c/b", large, STORE_VALUE_LIMIT_BYTES);
	free(large);
	return 0;
}

static int put_many(struct txn *txn, void *arg, struct error *err)
{
	char key[16];

	(void)arg;
	(void)err;
	for (int i = 0; i < STORE_TXN_LIMIT; i++) { /* with the guard, one too many */
		snprintf(key, sizeof(key), "c/%d", i);
		txn_put(txn, key, "", 0);
	}
	return 0;
}

TEST(a_change_that_is_too_large_is_refused_whole)
{
	struct world *world = *state;
	struct addition a = { world, 1 }, b = { world, 2 };

	run_with(&a, "c/guard", put_large);
	run_with(&b, "c/guard", put_many);
	TURN_UNTIL(&world->w, b.outcome.done);
	EXPECT_EQ(a.outcome.result, -E2BIG);
	EXPECT_EQ(b.outcome.result, -E2BIG);
	EXPECT_EQ(revision_now(&world->w), 0);
}

TEST(attempts_that_wait_are_bounded)
{
	struct world *world = *state;
	struct addition *a = calloc(ATTEMPT_WAITING_LIMIT, sizeof(*a));
	struct error err = {};

	for (int i = 0; i < ATTEMPT_WAITING_LIMIT; i++) {
		a[i] = (struct addition){ world, i };
		run_with(&a[i], "c/guard", add);
	}
	EXPECT_EQ(attempt_run(world->attempts, NULL, add, added, a, &err), -EAGAIN);
	EXPECT_CONTAINS(err.message, "1024");
	EXPECT_EQ(attempt_count(world->attempts, ATTEMPT_COUNT_BUSY), 1);
	TURN_UNTIL(&world->w, a[ATTEMPT_WAITING_LIMIT - 1].outcome.done);
	EXPECT_STR(value_at(world, "c/n"), "1024");
	free(a);
}

TEST(what_waits_at_the_end_is_told_so)
{
	struct world *world = *state;
	struct addition a[3] = { { world, 0 }, { world, 1 }, { world, 2 } };

	for (int i = 0; i < 3; i++)
		run_with(&a[i], i < 2 ? "c/guard" : NULL, add);
	TURN_UNTIL(&world->w, a[0].builds && a[2].builds); /* two are under way, one waits */
	world->attempts = attempts_free(world->attempts);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(a[i].outcome.result, -ESHUTDOWN);
	put(&world->w, "c/after", "1"); /* what was under way comes back to nobody */
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_attempt_writes_what_it_built_and_the_guard),
		T(attempts_on_one_guard_take_turns_and_none_loses),
		T(attempts_on_other_guards_do_not_wait),
		T(who_lost_builds_again_by_what_the_other_wrote),
		T(who_loses_again_and_again_gives_up),
		T(a_refusal_is_handed_on_and_writes_nothing),
		T(an_attempt_with_nothing_to_write_leaves_the_guard_alone),
		T(a_change_that_is_too_large_is_refused_whole),
		T(attempts_that_wait_are_bounded),
		T(what_waits_at_the_end_is_told_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
