/* SPDX-License-Identifier: Apache-2.0 */
/* Every back end passes the same tests. What is special about one file is in test_store_sqlite.c. */
#include <errno.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/unit/store_world.h"

static void open_memory(struct store_world *w)
{
	struct error err = {};

	EXPECT_OK(store_open_memory(w->loop, &w->store, &err), &err);
}

static void open_sqlite(struct store_world *w)
{
	struct error err = {};

	EXPECT_OK(store_open_sqlite(w->loop, w->path, &w->store, &err), &err);
}

static int setup(void **state)
{
	void (*const *open)(struct store_world *w) = *state;
	struct store_world *w = calloc(1, sizeof(*w));

	store_world_init(w);
	(*open)(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	store_world_done(*state);
	free(*state);
	return 0;
}

/* ---- one key ---- */

TEST(a_put_value_is_read_back_with_the_revision_that_wrote_it)
{
	struct store_world *w = *state;

	EXPECT_STR(value_of(w, "a"), "-");
	EXPECT_EQ(revision_now(w), 0);
	EXPECT_EQ(put(w, "a", "one"), 1);
	EXPECT_EQ(put(w, "b", "two"), 2);
	EXPECT_STR(value_of(w, "a"), "one");
	EXPECT_EQ(revision_of(w, "a"), 1);
	EXPECT_EQ(put(w, "a", "three"), 3);
	EXPECT_STR(value_of(w, "a"), "three");
	EXPECT_EQ(revision_of(w, "a"), 3);
	EXPECT_EQ(revision_of(w, "b"), 2);
}

static void keep_value(int result, const struct store_entry *entry, uint64_t revision, const struct error *err, void *arg)
{
	struct buffer *value = arg;

	(void)revision;
	EXPECT_OK(result, err);
	buffer_append(value, entry->value, entry->value_bytes + 1);
}

TEST(values_are_bytes_also_none_at_all)
{
	struct store_world *w = *state;
	const char bytes[] = { 0, 1, (char)0xff, 0, 'x', 0 };
	_cleanup_(buffer_done) struct buffer value = {};

	put_bytes(w, "bytes", bytes, 5);
	put_bytes(w, "empty", "", 0);
	EXPECT_OK(store_get(w->store, "bytes", keep_value, &value, NULL));
	TURN_UNTIL(w, value.length);
	EXPECT_EQ(value.length, 6);
	assert_memory_equal(value.data, bytes, 6);
	EXPECT_STR(value_of(w, "empty"), "");
}

TEST(deleting_counts_as_a_change_only_where_something_was)
{
	struct store_world *w = *state;

	put(w, "a", "one");
	EXPECT_EQ(erase(w, "a"), 2);
	EXPECT_STR(value_of(w, "a"), "-");
	EXPECT_EQ(erase(w, "a"), 2);
	EXPECT_EQ(erase(w, "b"), 2);
	EXPECT_EQ(revision_now(w), 2);
}

/* ---- lists ---- */

TEST(a_list_has_the_keys_of_the_prefix_in_byte_order)
{
	struct store_world *w = *state;

	put(w, "reg/b", "2");
	put(w, "reg/a", "1");
	put(w, "reg", "0");
	put(w, "reg/\xc3\xa9", "4"); /* é sorts after ASCII */
	put(w, "reg/B", "3");
	put(w, "reg0", "5"); /* '0' follows '/' */
	EXPECT_STR(LISTED(w, "reg/"), "reg/B=3@5 reg/a=1@2 reg/b=2@1 reg/\xc3\xa9=4@4");
	EXPECT_STR(LISTED(w, "reg/", .descending = true), "reg/\xc3\xa9=4@4 reg/b=2@1 reg/a=1@2 reg/B=3@5");
	EXPECT_STR(LISTED(w, "", .limit = 2), "reg=0@3 reg/B=3@5 ...");
}

TEST(a_prefix_that_is_no_text_is_refused)
{
	struct store_world *w = *state;
	struct error err = {};

	EXPECT_EQ(store_list(w->store, &(struct store_range){ .prefix = "reg\xc3" }, NULL, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "UTF-8");
	EXPECT_EQ(store_count(w->store, STORE_COUNT_INVALID), 1);
}

TEST(a_list_goes_on_after_a_key_that_may_be_gone_and_ends_before_another)
{
	struct store_world *w = *state;

	put(w, "k/1", "1");
	put(w, "k/2", "2");
	put(w, "k/3", "3");
	put(w, "l", "4");
	EXPECT_STR(LISTED(w, "k/", .after = "k/1"), "k/2=2@2 k/3=3@3");
	EXPECT_STR(LISTED(w, "k/", .after = "k/1", .limit = 1), "k/2=2@2 ...");
	EXPECT_STR(LISTED(w, "k/", .after = "k/2", .limit = 1), "k/3=3@3");
	EXPECT_STR(LISTED(w, "k/", .after = "k/10"), "k/2=2@2 k/3=3@3");
	EXPECT_STR(LISTED(w, "k/", .after = "k/3"), "");
	EXPECT_STR(LISTED(w, "k/", .after = "z"), "");
	EXPECT_STR(LISTED(w, "k/", .after = "a"), "k/1=1@1 k/2=2@2 k/3=3@3");
	EXPECT_STR(LISTED(w, "k/", .before = "k/3"), "k/1=1@1 k/2=2@2");
	EXPECT_STR(LISTED(w, "k/", .before = "a"), "");
	EXPECT_STR(LISTED(w, "k/", .after = "k/2", .before = "k/2"), "");
	EXPECT_STR(LISTED(w, "k/", .before = "zz", .descending = true, .limit = 2), "k/3=3@3 k/2=2@2 ...");
	EXPECT_STR(LISTED(w, "k/", .before = "k/2", .descending = true, .limit = 2), "k/1=1@1");
	EXPECT_STR(LISTED(w, "k/", .keys_only = true), "k/1=@1 k/2=@2 k/3=@3");
}

TEST(pages_show_the_revision_that_they_are_asked_for)
{
	struct store_world *w = *state;

	put(w, "k/1", "1");
	put(w, "k/2", "2");
	put(w, "k/3", "3");
	erase(w, "k/2");
	put(w, "k/3", "changed");
	put(w, "k/15", "new");
	put(w, "k/2", "again");
	EXPECT_STR(LISTED(w, "k/", .revision = 3, .limit = 2), "k/1=1@1 k/2=2@2 ...");
	EXPECT_STR(LISTED(w, "k/", .revision = 3, .after = "k/2"), "k/3=3@3");
	EXPECT_STR(LISTED(w, "k/", .revision = 4), "k/1=1@1 k/3=3@3");
	EXPECT_STR(LISTED(w, "k/", .revision = 4, .descending = true), "k/3=3@3 k/1=1@1");
	EXPECT_STR(LISTED(w, "k/", .revision = 1), "k/1=1@1");
	EXPECT_STR(LISTED(w, "k/"), "k/1=1@1 k/15=new@6 k/2=again@7 k/3=changed@5");
	EXPECT_STR(LISTED(w, "k/", .revision = 8), "ESTALE");
	EXPECT_EQ(store_count(w->store, STORE_COUNT_STALE), 1);
}

TEST(a_page_ends_at_its_limits_in_entries_and_in_bytes)
{
	struct store_world *w = *state;
	char *large = calloc(1, STORE_VALUE_LIMIT_BYTES);
	char key[16];
	struct outcome outcomes[STORE_PAGE_LIMIT + 1] = {};

	memset(large, 'v', STORE_VALUE_LIMIT_BYTES - 1);
	for (int i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "large/%d", i);
		put(w, key, large);
	}
	for (int i = 0; i <= STORE_PAGE_LIMIT; i++) {
		snprintf(key, sizeof(key), "small/%04d", i);
		EXPECT_OK(store_txn(w->store, NULL, 0, &(struct store_op){ key, "", 0 }, 1, on_done, &outcomes[i], NULL));
	}
	TURN_UNTIL(w, outcomes[STORE_PAGE_LIMIT].done);
	EXPECT_CONTAINS(LISTED(w, "large/"), "large/4=");
	EXPECT_CONTAINS(LISTED(w, "large/"), "@5 ...");
	EXPECT_CONTAINS(LISTED(w, "large/", .after = "large/4"), "large/5=");
	EXPECT_CONTAINS(LISTED(w, "small/", .limit = 5000), "small/0999=@1006 ...");
	EXPECT_STR(LISTED(w, "small/", .after = "small/0999"), "small/1000=@1007");
	free(large);
}

/* ---- transactions ---- */

TEST(a_transaction_changes_all_its_keys_with_one_revision)
{
	struct store_world *w = *state;
	const struct store_op ops[] = { { "c", "3", 1 }, { "a", NULL, 0 }, { "b", "2", 1 }, { "absent", NULL, 0 } };
	struct outcome outcome;

	put(w, "a", "1");
	EXPECT_OK(txn(w, NULL, 0, ops, ARRAY_SIZE(ops), &outcome));
	EXPECT_EQ(outcome.revision, 2);
	EXPECT_STR(LISTED(w, ""), "b=2@2 c=3@2");
}

TEST(a_lost_compare_changes_nothing_and_tells_how_far_the_store_is)
{
	struct store_world *w = *state;
	const struct store_op op = { "b", "2", 1 };
	struct outcome outcome;

	put(w, "a", "1");
	put(w, "a", "2");
	EXPECT_EQ(txn(w, &(struct store_compare){ "a", 1 }, 1, &op, 1, &outcome), -ECANCELED);
	EXPECT_CONTAINS(outcome.err.message, "'a'");
	EXPECT_EQ(outcome.revision, 2);
	EXPECT_EQ(txn(w, &(struct store_compare){ "a", 0 }, 1, &op, 1, NULL), -ECANCELED);
	EXPECT_EQ(txn(w, &(struct store_compare){ "absent", 2 }, 1, &op, 1, NULL), -ECANCELED);
	EXPECT_EQ(revision_now(w), 2);
	EXPECT_STR(value_of(w, "b"), "-");
	EXPECT_EQ(store_count(w->store, STORE_COUNT_LOST), 3);
}

TEST(a_compare_holds_for_the_last_revision_or_for_absence)
{
	struct store_world *w = *state;
	const struct store_compare compares[] = { { "a", 2 }, { "b", 0 } };
	const struct store_op op = { "b", "2", 1 };

	put(w, "a", "1");
	put(w, "a", "2");
	EXPECT_OK(txn(w, compares, 2, &op, 1, NULL));
	EXPECT_EQ(txn(w, compares, 2, &op, 1, NULL), -ECANCELED); /* b is there now */
	erase(w, "b");
	EXPECT_OK(txn(w, compares, 2, &op, 1, NULL)); /* and absent again */
}

TEST(a_transaction_of_compares_alone_tells_the_revision)
{
	struct store_world *w = *state;
	struct outcome outcome;

	put(w, "a", "1");
	EXPECT_OK(txn(w, &(struct store_compare){ "a", 1 }, 1, NULL, 0, &outcome));
	EXPECT_EQ(outcome.revision, 1);
}

TEST(bad_input_is_refused_by_name_and_changes_nothing)
{
	struct store_world *w = *state;
	char *large = calloc(1, STORE_VALUE_LIMIT_BYTES + 1);
	char long_key[STORE_KEY_LIMIT_BYTES + 2] = "", keys[STORE_TXN_LIMIT + 1][8];
	struct store_op ops[] = { { "good", "1", 1 }, { "", "1", 1 } }, many[STORE_TXN_LIMIT + 1];
	struct outcome outcome;

	memset(long_key, 'k', sizeof(long_key) - 1);
	EXPECT_EQ(txn(w, NULL, 0, ops, 2, &outcome), -EINVAL);
	EXPECT_CONTAINS(outcome.err.message, "empty");
	ops[1].key = long_key;
	EXPECT_EQ(txn(w, NULL, 0, ops, 2, &outcome), -EINVAL);
	EXPECT_CONTAINS(outcome.err.message, "1024");
	ops[1].key = "bad\xc0\xaf";
	EXPECT_EQ(txn(w, NULL, 0, ops, 2, &outcome), -EINVAL);
	EXPECT_CONTAINS(outcome.err.message, "UTF-8");
	ops[1].key = "good";
	EXPECT_EQ(txn(w, NULL, 0, ops, 2, &outcome), -EINVAL);
	EXPECT_CONTAINS(outcome.err.message, "'good'");
	ops[1] = (struct store_op){ "large", large, STORE_VALUE_LIMIT_BYTES + 1 };
	EXPECT_EQ(txn(w, NULL, 0, ops, 2, &outcome), -E2BIG);
	EXPECT_CONTAINS(outcome.err.message, "'large'");
	EXPECT_EQ(txn(w, &(struct store_compare){ "", 0 }, 1, ops, 1, NULL), -EINVAL);
	ops[0] = (struct store_op){ "a", large, STORE_VALUE_LIMIT_BYTES };
	ops[1] = (struct store_op){ "b", large, STORE_TXN_LIMIT_BYTES - STORE_VALUE_LIMIT_BYTES };
	EXPECT_EQ(txn(w, NULL, 0, ops, 2, &outcome), -E2BIG);
	for (int i = 0; i <= STORE_TXN_LIMIT; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%03d", i);
		many[i] = (struct store_op){ keys[i], "", 0 };
	}
	EXPECT_EQ(txn(w, NULL, 0, many, STORE_TXN_LIMIT + 1, &outcome), -E2BIG);
	EXPECT_EQ(revision_now(w), 0);
	EXPECT_STR(LISTED(w, ""), "");
	EXPECT_EQ(store_count(w->store, STORE_COUNT_INVALID), 8);

	long_key[STORE_KEY_LIMIT_BYTES] = '\0'; /* the largest that are allowed */
	put_bytes(w, long_key, large, STORE_VALUE_LIMIT_BYTES);
	EXPECT_OK(txn(w, NULL, 0, many, STORE_TXN_LIMIT, &outcome), &outcome.err);
	free(large);
}

TEST(input_is_copied)
{
	struct store_world *w = *state;
	char key[] = "key", value[] = "value";
	struct store_compare compare = { key, 0 };
	struct store_op op = { key, value, 5 };
	struct outcome outcome = {};

	EXPECT_OK(store_txn(w->store, &compare, 1, &op, 1, on_done, &outcome, NULL));
	memset(key, 'x', 3);
	memset(value, 'x', 5);
	TURN_UNTIL(w, outcome.done);
	EXPECT_OK(outcome.result, &outcome.err);
	EXPECT_STR(LISTED(w, ""), "key=value@1");
}

TEST(transactions_are_done_in_their_order)
{
	struct store_world *w = *state;
	struct outcome outcomes[20] = {};

	for (int i = 0; i < 20; i++)
		EXPECT_OK(store_txn(w->store, &(struct store_compare){ "n", (uint64_t)i }, 1, &(struct store_op){ "n", "", 0 }, 1, on_done,
				    &outcomes[i], NULL));
	TURN_UNTIL(w, outcomes[19].done);
	for (int i = 0; i < 20; i++) {
		EXPECT_OK(outcomes[i].result, &outcomes[i].err); /* each meets what the one before it wrote */
		EXPECT_EQ(outcomes[i].revision, i + 1);
	}
	EXPECT_EQ(store_count(w->store, STORE_COUNT_TXNS), 20);
	EXPECT(store_count(w->store, STORE_COUNT_GROUPS) < 20);
}

TEST(what_waits_is_bounded)
{
	struct store_world *w = *state;
	const struct store_op op = { "a", "1", 1 };
	struct outcome *outcomes = calloc(STORE_WAITING_LIMIT, sizeof(*outcomes));
	struct error err = {};
	int r = 0, accepted = 0;

	while (r == 0) /* the loop does not turn, so none of them is done */
		if ((r = store_txn(w->store, NULL, 0, &op, 1, on_done, &outcomes[MIN(accepted, STORE_WAITING_LIMIT - 1)], &err)) == 0)
			accepted++;
	EXPECT_EQ(r, -EAGAIN);
	EXPECT_EQ(accepted, STORE_WAITING_LIMIT);
	EXPECT_CONTAINS(err.message, "too much waits");
	EXPECT_EQ(store_count(w->store, STORE_COUNT_BUSY), 1);
	TURN_UNTIL(w, outcomes[accepted - 1].done);
	EXPECT_EQ(put(w, "a", "2"), (uint64_t)accepted + 1);
	free(outcomes);
}

TEST(bytes_that_wait_are_bounded)
{
	struct store_world *w = *state;
	char *large = calloc(1, STORE_VALUE_LIMIT_BYTES);
	const struct store_op op = { "a", large, STORE_VALUE_LIMIT_BYTES };
	struct outcome outcomes[65] = {};
	int r = 0, accepted = 0;

	while (r == 0 && accepted < 65)
		if ((r = store_txn(w->store, NULL, 0, &op, 1, on_done, &outcomes[accepted], NULL)) == 0)
			accepted++;
	EXPECT_EQ(r, -EAGAIN);
	EXPECT_EQ(accepted, 63);
	TURN_UNTIL(w, outcomes[accepted - 1].done);
	free(large);
}

TEST(closing_finishes_what_waits)
{
	struct store_world *w = *state;
	struct outcome outcomes[300] = {};

	for (int i = 0; i < 300; i++)
		EXPECT_OK(store_txn(w->store, NULL, 0, &(struct store_op){ "a", "1", 1 }, 1, on_done, &outcomes[i], NULL));
	w->store = store_close(w->store);
	for (int i = 0; i < 300; i++) {
		EXPECT(outcomes[i].done);
		EXPECT_EQ(outcomes[i].revision, i + 1);
	}
}

struct relay {
	struct store_world *w;
	int r;
};

static void write_again(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct relay *relay = arg;

	(void)revision;
	EXPECT_OK(result, err);
	relay->r = store_txn(relay->w->store, NULL, 0, &(struct store_op){ "b", "1", 1 }, 1, write_again, relay, NULL);
}

TEST(a_store_that_is_closing_takes_nothing_new)
{
	struct store_world *w = *state;
	struct relay relay = { w };

	EXPECT_OK(store_txn(w->store, NULL, 0, &(struct store_op){ "a", "1", 1 }, 1, write_again, &relay, NULL));
	w->store = store_close(w->store);
	EXPECT_EQ(relay.r, -ESHUTDOWN);
}

/* ---- watches ---- */

static void watch(struct store_world *w, struct watcher *watcher, const char *prefix, uint64_t from)
{
	struct error err = {};

	watcher->w = w;
	watcher->revision = from;
	EXPECT_OK(store_watch(w->store, prefix, from, on_watch, watcher, &watcher->watch, &err), &err);
	EXPECT_EQ(watcher->calls, 0); /* never from inside the call */
}

TEST(a_watch_is_told_of_what_was_written_under_its_prefix)
{
	struct store_world *w = *state;
	const struct store_op ops[] = { { "w/b", "2", 1 }, { "w/a", NULL, 0 }, { "x", "3", 1 }, { "w/absent", NULL, 0 } };
	struct watcher watcher = {};

	put(w, "w/a", "before");
	watch(w, &watcher, "w/", 1);
	EXPECT_OK(txn(w, NULL, 0, ops, ARRAY_SIZE(ops), NULL));
	EXPECT_STR(watcher.text, "[2: w/a=- w/b=2]");
	EXPECT_EQ(txn(w, &(struct store_compare){ "w/b", 1 }, 1, ops, 1, NULL), -ECANCELED);
	erase(w, "w/a");
	EXPECT_STR(watcher.text, "[2: w/a=- w/b=2]"); /* nothing was changed, nothing is told */
	put(w, "x", "4");
	EXPECT_STR(watcher.text, "[2: w/a=- w/b=2] [3:]"); /* but that the revision has passed */

	watcher.watch = store_unwatch(watcher.watch);
	put(w, "w/c", "5");
	EXPECT_EQ(watcher.calls, 2);
}

TEST(a_watch_begins_with_what_came_after_its_revision)
{
	struct store_world *w = *state;
	struct watcher watchers[3] = {};

	put(w, "a", "1");
	put(w, "a", "2");
	put(w, "b", "3");
	erase(w, "a");
	watch(w, &watchers[0], "a", 0);
	watch(w, &watchers[1], "", 2);
	watch(w, &watchers[2], "", 4);
	put(w, "c", "5"); /* while they begin */
	EXPECT_STR(watchers[0].text, "[1: a=1] [2: a=2] [4: a=-] [5:]");
	EXPECT_STR(watchers[1].text, "[3: b=3] [4: a=-] [5: c=5]");
	EXPECT_STR(watchers[2].text, "[5: c=5]");
	for (int i = 0; i < 3; i++)
		store_unwatch(watchers[i].watch);
}

TEST(a_watch_from_a_revision_that_is_not_there_ends)
{
	struct store_world *w = *state;
	struct watcher watcher = {};

	put(w, "a", "1");
	watch(w, &watcher, "", 2);
	TURN_UNTIL(w, watcher.calls);
	EXPECT_EQ(watcher.result, -ESTALE);
	EXPECT_CONTAINS(watcher.err.message, "revision 2 is not there");
	put(w, "a", "2");
	put(w, "a", "3");
	EXPECT_EQ(watcher.calls, 1);
	store_unwatch(watcher.watch);
	EXPECT_EQ(store_count(w->store, STORE_COUNT_STALE), 1);
}

static void expect_done(int result, uint64_t revision, const struct error *err, void *arg)
{
	(void)revision;
	(void)arg;
	EXPECT_OK(result, err);
}

static void write_on_change(int result, const struct store_entry *const *entries, size_t count, uint64_t revision,
			    const struct error *err, void *arg)
{
	struct watcher *watcher = arg;

	on_watch(result, entries, count, revision, err, watcher);
	if (revision < 3)
		EXPECT_OK(store_txn(watcher->w->store, NULL, 0, &(struct store_op){ "w", "again", 5 }, 1, expect_done, NULL, NULL));
}

TEST(what_a_watch_writes_is_told_to_all_in_the_order_of_revisions)
{
	struct store_world *w = *state;
	struct watcher writer = { .w = w }, reader = {};

	EXPECT_OK(store_watch(w->store, "w", 0, write_on_change, &writer, &writer.watch, NULL));
	watch(w, &reader, "w", 0);
	put(w, "w", "first");
	TURN_UNTIL(w, writer.revision == 3 && reader.revision == 3);
	EXPECT_STR(writer.text, "[1: w=first] [2: w=again] [3: w=again]");
	EXPECT_STR(reader.text, writer.text);
	store_unwatch(writer.watch);
	store_unwatch(reader.watch);
}

static void exchange_watches(int result, const struct store_entry *const *entries, size_t count, uint64_t revision,
			     const struct error *err, void *arg)
{
	struct watcher *watchers = arg;

	on_watch(result, entries, count, revision, err, &watchers[0]);
	watchers[0].watch = store_unwatch(watchers[0].watch);
	watchers[1].watch = store_unwatch(watchers[1].watch);
	watch(watchers[0].w, &watchers[2], "", revision);
}

TEST(watches_may_come_and_go_while_they_are_told)
{
	struct store_world *w = *state;
	struct watcher watchers[3] = { { .w = w } };

	EXPECT_OK(store_watch(w->store, "", 0, exchange_watches, watchers, &watchers[0].watch, NULL));
	watch(w, &watchers[1], "", 0);
	put(w, "a", "1");
	put(w, "a", "2");
	EXPECT_STR(watchers[0].text, "[1: a=1]");
	EXPECT_STR(watchers[1].text, "");
	EXPECT_STR(watchers[2].text, "[2: a=2]");
	store_unwatch(watchers[2].watch);
}

struct told_first {
	struct watcher watcher;
	int txns;
};

static void expect_told(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct told_first *first = arg;

	EXPECT(result == 0 || result == -ECANCELED);
	(void)err;
	EXPECT_EQ(first->watcher.revision, revision);
	first->txns++;
}

TEST(watches_are_told_before_the_caller_is_also_of_what_a_lost_compare_met)
{
	struct store_world *w = *state;
	struct told_first first = {};

	watch(w, &first.watcher, "", 0);
	for (uint64_t i = 0; i < 10; i++) /* every other one loses */
		EXPECT_OK(store_txn(w->store, &(struct store_compare){ "a", i / 2 }, 1, &(struct store_op){ "a", "", 0 }, 1, expect_told, &first,
				    NULL));
	TURN_UNTIL(w, first.txns == 10);
	EXPECT_EQ(first.watcher.revision, 5);
	store_unwatch(first.watcher.watch);
}

/* ---- history ---- */

/* Puts "hot" until the revision; the last outcome is waited for. */
static void write_until(struct store_world *w, uint64_t revision)
{
	struct outcome last = {}, *others = calloc(revision, sizeof(*others));

	for (uint64_t at = revision_now(w); at < revision; at++) {
		struct outcome *outcome = at + 1 < revision ? &others[at] : &last;
		char value[24];

		snprintf(value, sizeof(value), "%d", (int)at + 1);
		while (store_txn(w->store, NULL, 0, &(struct store_op){ "hot", value, strlen(value) }, 1, on_done, outcome, NULL) == -EAGAIN)
			EXPECT_OK(loop_turn(w->loop, 1000000));
	}
	TURN_UNTIL(w, last.done);
	EXPECT_OK(last.result, &last.err);
	free(others);
}

TEST(history_is_kept_for_a_while_and_what_is_in_force_for_ever)
{
	struct store_world *w = *state;
	const uint64_t far = 3 * STORE_HISTORY_REVISIONS;
	struct watcher late = {}, early = {};
	char wanted[64];

	put(w, "cold", "1");
	put(w, "gone", "2");
	erase(w, "gone");
	put(w, "hot", "4");
	write_until(w, far);
	snprintf(wanted, sizeof(wanted), "cold=1@1 hot=%d@%d", (int)far, (int)far);
	EXPECT_STR(LISTED(w, ""), wanted);
	EXPECT_STR(LISTED(w, "", .revision = 5), "ESTALE");
	snprintf(wanted, sizeof(wanted), "cold=1@1 hot=%d@%d", (int)far - STORE_HISTORY_REVISIONS, (int)far - STORE_HISTORY_REVISIONS);
	EXPECT_STR(LISTED(w, "", .revision = far - STORE_HISTORY_REVISIONS), wanted);

	watch(w, &early, "", 5);
	TURN_UNTIL(w, early.calls);
	EXPECT_EQ(early.result, -ESTALE);
	EXPECT_CONTAINS(early.err.message, "no longer kept");
	watch(w, &late, "none", far - STORE_HISTORY_REVISIONS);
	TURN_UNTIL(w, late.revision == far);
	EXPECT_EQ(late.result, 0);
	store_unwatch(early.watch);
	store_unwatch(late.watch);
	EXPECT_EQ(txn(w, &(struct store_compare){ "cold", 1 }, 1, NULL, 0, NULL), 0);
}

struct counter {
	uint64_t revision;
	int result;
};

static void count_revisions(int result, const struct store_entry *const *entries, size_t count, uint64_t revision,
			    const struct error *err, void *arg)
{
	struct counter *counter = arg;

	(void)err;
	counter->result = result;
	EXPECT_EQ(revision, counter->revision + 1);
	EXPECT_EQ(count, 1);
	EXPECT_EQ(entries[0]->revision, revision);
	counter->revision = revision;
}

TEST(a_watch_from_far_back_misses_nothing_while_others_write)
{
	struct store_world *w = *state;
	struct counter counter = {};
	struct store_watch *watch;

	write_until(w, 2500); /* more than a page */
	EXPECT_OK(store_watch(w->store, "", 0, count_revisions, &counter, &watch, NULL));
	write_until(w, 3500);
	TURN_UNTIL(w, counter.revision == 3500);
	EXPECT_EQ(counter.result, 0);
	store_unwatch(watch);
}

static void (*const on_memory)(struct store_world *w) = open_memory, (*const on_sqlite)(struct store_world *w) = open_sqlite;

#define ON_EACH(test)                                                                                                         \
	{ #test " (memory)", test, setup, teardown, (void *)&on_memory },                                                      \
	{                                                                                                                      \
		#test " (sqlite)", test, setup, teardown, (void *)&on_sqlite                                                   \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_EACH(a_put_value_is_read_back_with_the_revision_that_wrote_it),
		ON_EACH(values_are_bytes_also_none_at_all),
		ON_EACH(deleting_counts_as_a_change_only_where_something_was),
		ON_EACH(a_list_has_the_keys_of_the_prefix_in_byte_order),
		ON_EACH(a_prefix_that_is_no_text_is_refused),
		ON_EACH(a_list_goes_on_after_a_key_that_may_be_gone_and_ends_before_another),
		ON_EACH(pages_show_the_revision_that_they_are_asked_for),
		ON_EACH(a_page_ends_at_its_limits_in_entries_and_in_bytes),
		ON_EACH(a_transaction_changes_all_its_keys_with_one_revision),
		ON_EACH(a_lost_compare_changes_nothing_and_tells_how_far_the_store_is),
		ON_EACH(a_compare_holds_for_the_last_revision_or_for_absence),
		ON_EACH(a_transaction_of_compares_alone_tells_the_revision),
		ON_EACH(bad_input_is_refused_by_name_and_changes_nothing),
		ON_EACH(input_is_copied),
		ON_EACH(transactions_are_done_in_their_order),
		ON_EACH(what_waits_is_bounded),
		ON_EACH(bytes_that_wait_are_bounded),
		ON_EACH(closing_finishes_what_waits),
		ON_EACH(a_store_that_is_closing_takes_nothing_new),
		ON_EACH(a_watch_is_told_of_what_was_written_under_its_prefix),
		ON_EACH(a_watch_begins_with_what_came_after_its_revision),
		ON_EACH(a_watch_from_a_revision_that_is_not_there_ends),
		ON_EACH(what_a_watch_writes_is_told_to_all_in_the_order_of_revisions),
		ON_EACH(watches_may_come_and_go_while_they_are_told),
		ON_EACH(watches_are_told_before_the_caller_is_also_of_what_a_lost_compare_met),
		ON_EACH(history_is_kept_for_a_while_and_what_is_in_force_for_ever),
		ON_EACH(a_watch_from_far_back_misses_nothing_while_others_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
