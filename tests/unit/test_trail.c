/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/control/audit.h"
#include "agent/api/control/trail.h"
#include "base/time.h"
#include "tests/unit/store_world.h"

static int setup(void **state)
{
	struct store_world *w = calloc(1, sizeof(*w));

	store_world_init(w);
	EXPECT_OK(store_open_memory(w->loop, &w->store, NULL));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	store_world_done(*state);
	free(*state);
	return 0;
}

#define KEY_BYTES (AUDIT_KEY_BYTES + 16)

static const char *key_of(uint64_t wall_ns, int id, char key[KEY_BYTES])
{
	char time_key[AUDIT_KEY_BYTES];

	audit_time_key(wall_ns, time_key);
	snprintf(key, KEY_BYTES, "%s-%05d", time_key, id);
	return key;
}

static void given_records(struct store_world *w, int first, int count, uint64_t wall_ns)
{
	struct outcome *outcomes = calloc((size_t)count, sizeof(*outcomes));
	char key[KEY_BYTES];

	for (int i = 0; i < count; i++) {
		key_of(wall_ns + (uint64_t)(first + i), first + i, key);
		EXPECT_OK(store_txn(w->store, NULL, 0, &(struct store_op){ key, "x", 1 }, 1, on_done, &outcomes[i], NULL));
	}
	TURN_UNTIL(w, outcomes[count - 1].done);
	free(outcomes);
}

static struct trail *given_trail(struct store_world *w, size_t records, uint64_t age_ns)
{
	struct trail *trail;

	EXPECT_OK(trail_new(w->loop, w->store, &(struct trail_bounds){ records, age_ns }, &trail));
	return trail;
}

/* How many there are, and the oldest. */
static size_t count_records(struct store_world *w, char *ret_oldest)
{
	static const char *text;
	size_t count = 0;

	text = LISTED(w, AUDIT_PREFIX);
	for (const char *at = text; (at = strstr(at, AUDIT_PREFIX)); at++)
		count++;
	snprintf(ret_oldest, KEY_BYTES, "%.*s", (int)strcspn(text, "="), text);
	return count;
}

TEST(the_oldest_go_where_there_are_too_many)
{
	struct store_world *w = *state;
	const uint64_t now_ns = time_to_wall_ns(time_now_ns());
	char oldest[KEY_BYTES], expected[KEY_BYTES];
	struct trail *trail;

	given_records(w, 0, 500, now_ns);
	put(w, "audit", "no");
	put(w, "audit0", "no");
	trail = given_trail(w, 100, 3600 * NSEC_PER_SEC);
	TURN_UNTIL(w, trail_removed(trail) == 400);
	EXPECT_EQ(count_records(w, oldest), 100);
	EXPECT_STR(oldest, key_of(now_ns + 400, 400, expected));
	EXPECT_EQ(trail_records(trail), 100);
	/* a few more may stay, for a while */
	given_records(w, 500, TRAIL_SLACK, now_ns);
	EXPECT_EQ(trail_removed(trail), 400);
	given_records(w, 500 + TRAIL_SLACK, 1, now_ns);
	TURN_UNTIL(w, trail_removed(trail) == 401 + TRAIL_SLACK);
	EXPECT_EQ(count_records(w, oldest), 100);
	EXPECT_EQ(trail_failures(trail), 0);
	EXPECT_STR(value_of(w, "audit"), "no");
	EXPECT_STR(value_of(w, "audit0"), "no");
	trail_free(trail);
}

TEST(records_go_when_they_are_too_old)
{
	struct store_world *w = *state;
	const uint64_t now_ns = time_to_wall_ns(time_now_ns());
	char oldest[KEY_BYTES], expected[KEY_BYTES];
	struct trail *trail;

	given_records(w, 0, 200, now_ns - 7200 * NSEC_PER_SEC);
	given_records(w, 200, 50, now_ns - 60 * NSEC_PER_SEC);
	trail = given_trail(w, 100000, 3600 * NSEC_PER_SEC);
	TURN_UNTIL(w, trail_removed(trail) == 200);
	EXPECT_EQ(count_records(w, oldest), 50);
	EXPECT_STR(oldest, key_of(now_ns - 60 * NSEC_PER_SEC + 200, 200, expected));
	trail_free(trail);
}

TEST(it_may_end_at_any_time)
{
	struct store_world *w = *state;

	given_records(w, 0, 300, time_to_wall_ns(time_now_ns()));
	for (int turns = 0; turns < 8; turns++) {
		struct trail *trail = given_trail(w, 10, 3600 * NSEC_PER_SEC);

		for (int i = 0; i < turns; i++)
			EXPECT_OK(loop_turn(w->loop, 0));
		trail_free(trail);
	}
	put(w, "after", "1");
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_oldest_go_where_there_are_too_many),
		T(records_go_when_they_are_too_old),
		T(it_may_end_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
