/* SPDX-License-Identifier: Apache-2.0 */
/* Every back end passes the same tests. */
#include <errno.h>
#include <unistd.h>

#include "agent/store/store.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct fixture {
	const char *backend;
	struct store *store;
};

static int open_memory(struct fixture *f)
{
	return store_open_memory(&f->store);
}

static const struct backend {
	const char *name;
	int (*open)(struct fixture *f);
} backends[] = {
	{ "memory", open_memory },
};

static int setup(void **state)
{
	const struct backend *backend = *state;
	struct fixture *f = calloc(1, sizeof(*f));

	f->backend = backend->name;
	*state = f;
	return backend->open(f);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	free(f);
	return 0;
}

static struct store *store_of(void **state)
{
	return ((struct fixture *)*state)->store;
}

/* ---- given, then ---- */

static void put(struct store *store, const char *key, const char *value)
{
	struct error err = {};

	EXPECT_OK(store_put(store, key, value, strlen(value), &err), &err);
}

/* The value as text, "-" where there is none. */
static const char *value_of(struct store *store, const char *key)
{
	static char text[256];
	void *value;
	size_t bytes;
	int r = store_get(store, key, &value, &bytes, NULL);

	if (r == -ENOENT)
		return "-";
	EXPECT_OK(r);
	snprintf(text, sizeof(text), "%s", (char *)value);
	EXPECT_EQ(strlen(text), bytes);
	free(value);
	return text;
}

static uint64_t revision_of(struct store *store, const char *key)
{
	uint64_t revision = 0;
	void *value;
	size_t bytes;
	int r = store_get(store, key, &value, &bytes, &revision);

	if (r == 0)
		free(value);
	return revision;
}

struct listing {
	char text[1024];
	struct store *store; /* where the callback writes, for the tests that do */
	int calls;
};

static int note_entry(const struct store_entry *entry, void *arg)
{
	struct listing *l = arg;
	size_t used = strlen(l->text);

	snprintf(l->text + used, sizeof(l->text) - used, "%s%s=%.*s", used ? " " : "", entry->key, (int)entry->value_bytes,
		 (const char *)entry->value);
	l->calls++;
	return 0;
}

static const char *listed(struct store *store, const char *prefix, const char *after, size_t limit)
{
	static struct listing l;

	l = (struct listing){};
	EXPECT_OK(store_list(store, prefix, after, limit, note_entry, &l, NULL));
	return l.text;
}

static uint64_t store_revision(struct store *store)
{
	struct listing l = {};
	uint64_t revision;

	EXPECT_OK(store_list(store, "no such key", NULL, 0, note_entry, &l, &revision));
	return revision;
}

/* ---- get, put, delete ---- */

TEST(a_put_value_is_read_back_with_the_revision_that_wrote_it)
{
	struct store *store = store_of(state);

	EXPECT_STR(value_of(store, "a"), "-");
	EXPECT_EQ(store_revision(store), 0);
	put(store, "a", "one");
	put(store, "b", "two");
	EXPECT_STR(value_of(store, "a"), "one");
	EXPECT_EQ(revision_of(store, "a"), 1);
	EXPECT_EQ(revision_of(store, "b"), 2);
	put(store, "a", "three");
	EXPECT_STR(value_of(store, "a"), "three");
	EXPECT_EQ(revision_of(store, "a"), 3);
	EXPECT_EQ(revision_of(store, "b"), 2);
}

TEST(values_are_bytes_also_none_at_all)
{
	struct store *store = store_of(state);
	const char bytes[] = { 0, 1, (char)0xff, 0, 'x' };
	void *value;
	size_t length;

	EXPECT_OK(store_put(store, "bytes", bytes, sizeof(bytes), NULL));
	EXPECT_OK(store_put(store, "empty", NULL, 0, NULL));
	EXPECT_OK(store_get(store, "bytes", &value, &length, NULL));
	EXPECT_EQ(length, sizeof(bytes));
	assert_memory_equal(value, bytes, sizeof(bytes));
	EXPECT_EQ(((char *)value)[length], '\0');
	free(value);
	EXPECT_OK(store_get(store, "empty", &value, &length, NULL));
	EXPECT_EQ(length, 0);
	EXPECT_STR(value, "");
	free(value);
}

TEST(deleting_counts_as_a_change_only_where_something_was)
{
	struct store *store = store_of(state);

	put(store, "a", "one");
	EXPECT_OK(store_delete(store, "a", NULL));
	EXPECT_STR(value_of(store, "a"), "-");
	EXPECT_EQ(store_revision(store), 2);
	EXPECT_OK(store_delete(store, "a", NULL));
	EXPECT_EQ(store_revision(store), 2);
}

/* ---- list ---- */

TEST(a_list_has_the_keys_of_the_prefix_in_byte_order)
{
	struct store *store = store_of(state);

	put(store, "reg/b", "2");
	put(store, "reg/a", "1");
	put(store, "reg", "0");
	put(store, "reg/\xc3\xa9", "4"); /* é sorts after ASCII */
	put(store, "reg/B", "3");
	put(store, "reg0", "5"); /* '0' follows '/' */
	EXPECT_STR(listed(store, "reg/", NULL, 0), "reg/B=3 reg/a=1 reg/b=2 reg/\xc3\xa9=4");
	EXPECT_STR(listed(store, "", NULL, 2), "reg=0 reg/B=3");
	EXPECT_STR(listed(store, "nothing", NULL, 0), "");
}

TEST(a_list_goes_on_after_a_key_that_may_be_gone)
{
	struct store *store = store_of(state);

	put(store, "k/1", "1");
	put(store, "k/2", "2");
	put(store, "k/3", "3");
	put(store, "l", "4");
	EXPECT_STR(listed(store, "k/", "k/1", 0), "k/2=2 k/3=3");
	EXPECT_STR(listed(store, "k/", "k/1", 1), "k/2=2");
	EXPECT_STR(listed(store, "k/", "k/10", 0), "k/2=2 k/3=3");
	EXPECT_STR(listed(store, "k/", "k/3", 0), "");
	EXPECT_STR(listed(store, "k/", "z", 0), "");
	EXPECT_STR(listed(store, "k/", "a", 0), "k/1=1 k/2=2 k/3=3");
}

static int write_while_listing(const struct store_entry *entry, void *arg)
{
	struct listing *l = arg;

	EXPECT_OK(store_delete(l->store, "k/2", NULL));
	put(l->store, "k/3", "changed");
	put(l->store, "k/4", "new");
	return note_entry(entry, l);
}

TEST(a_list_shows_one_state_while_its_callback_writes)
{
	struct store *store = store_of(state);
	struct listing l = { .store = store };
	uint64_t revision;

	put(store, "k/1", "1");
	put(store, "k/2", "2");
	put(store, "k/3", "3");
	EXPECT_OK(store_list(store, "k/", NULL, 0, write_while_listing, &l, &revision));
	EXPECT_STR(l.text, "k/1=1 k/2=2 k/3=3");
	EXPECT_EQ(revision, 3);
	EXPECT_STR(listed(store, "k/", NULL, 0), "k/1=1 k/3=changed k/4=new");
}

static int stop_at_second(const struct store_entry *entry, void *arg)
{
	note_entry(entry, arg);
	return ((struct listing *)arg)->calls == 2 ? -ECONNRESET : 0;
}

TEST(a_callback_ends_the_list_with_its_own_error)
{
	struct store *store = store_of(state);
	struct listing l = {};

	put(store, "k/1", "1");
	put(store, "k/2", "2");
	put(store, "k/3", "3");
	EXPECT_EQ(store_list(store, "k/", NULL, 0, stop_at_second, &l, NULL), -ECONNRESET);
	EXPECT_STR(l.text, "k/1=1 k/2=2");
}

/* ---- transactions ---- */

TEST(a_transaction_changes_all_its_keys_with_one_revision)
{
	struct store *store = store_of(state);
	const struct store_op ops[] = { { "c", "3", 1 }, { "a", NULL, 0 }, { "b", "2", 1 }, { "absent", NULL, 0 } };
	uint64_t revision;

	put(store, "a", "1");
	EXPECT_OK(store_txn(store, NULL, 0, ops, ARRAY_SIZE(ops), &revision, NULL));
	EXPECT_EQ(revision, 2);
	EXPECT_EQ(revision_of(store, "b"), 2);
	EXPECT_EQ(revision_of(store, "c"), 2);
	EXPECT_STR(listed(store, "", NULL, 0), "b=2 c=3");
}

TEST(a_lost_compare_changes_nothing)
{
	struct store *store = store_of(state);
	const struct store_op op = { "b", "2", 1 };
	uint64_t revision = 77;
	struct error err = {};

	put(store, "a", "1");
	put(store, "a", "2");
	EXPECT_EQ(store_txn(store, &(struct store_compare){ "a", 1 }, 1, &op, 1, &revision, &err), -ECANCELED);
	EXPECT_CONTAINS(err.message, "'a'");
	EXPECT_EQ(store_txn(store, &(struct store_compare){ "a", 0 }, 1, &op, 1, &revision, NULL), -ECANCELED);
	EXPECT_EQ(store_txn(store, &(struct store_compare){ "absent", 2 }, 1, &op, 1, &revision, NULL), -ECANCELED);
	EXPECT_EQ(revision, 77);
	EXPECT_EQ(store_revision(store), 2);
	EXPECT_STR(value_of(store, "b"), "-");
}

TEST(a_compare_holds_for_the_last_revision_or_for_absence)
{
	struct store *store = store_of(state);
	const struct store_compare compares[] = { { "a", 2 }, { "b", 0 } };
	const struct store_op op = { "b", "2", 1 };

	put(store, "a", "1");
	put(store, "a", "2");
	EXPECT_OK(store_txn(store, compares, 2, &op, 1, NULL, NULL));
	EXPECT_EQ(store_txn(store, compares, 2, &op, 1, NULL, NULL), -ECANCELED); /* b is there now */
	EXPECT_OK(store_delete(store, "b", NULL));
	EXPECT_OK(store_txn(store, compares, 2, &op, 1, NULL, NULL)); /* and absent again */
}

TEST(a_transaction_of_compares_alone_tells_the_revision)
{
	struct store *store = store_of(state);
	uint64_t revision;

	put(store, "a", "1");
	EXPECT_OK(store_txn(store, &(struct store_compare){ "a", 1 }, 1, NULL, 0, &revision, NULL));
	EXPECT_EQ(revision, 1);
}

TEST(bad_input_is_refused_by_name_and_changes_nothing)
{
	struct store *store = store_of(state);
	char *large = calloc(1, STORE_VALUE_LIMIT_BYTES + 1);
	char long_key[STORE_KEY_LIMIT_BYTES + 2] = "";
	struct store_op ops[] = { { "good", "1", 1 }, { "", "1", 1 } };
	struct error err = {};

	memset(long_key, 'k', sizeof(long_key) - 1);
	EXPECT_EQ(store_txn(store, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	ops[1].key = long_key;
	EXPECT_EQ(store_txn(store, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "1024");
	ops[1].key = "bad\xc0\xaf";
	EXPECT_EQ(store_txn(store, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "UTF-8");
	ops[1].key = "good";
	EXPECT_EQ(store_txn(store, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "'good'");
	ops[1] = (struct store_op){ "large", large, STORE_VALUE_LIMIT_BYTES + 1 };
	EXPECT_EQ(store_txn(store, NULL, 0, ops, 2, NULL, &err), -E2BIG);
	EXPECT_CONTAINS(err.message, "'large'");
	EXPECT_EQ(store_txn(store, &(struct store_compare){ "", 0 }, 1, ops, 1, NULL, &err), -EINVAL);
	EXPECT_EQ(store_revision(store), 0);
	EXPECT_STR(listed(store, "", NULL, 0), "");

	long_key[STORE_KEY_LIMIT_BYTES] = '\0'; /* the largest that are allowed */
	EXPECT_OK(store_put(store, long_key, large, STORE_VALUE_LIMIT_BYTES, &err), &err);
	free(large);
}

/* ---- watches ---- */

struct watcher {
	char text[1024];
	struct store *store;
	struct store_watch *watch, *other;
	struct watcher *other_watcher;
};

static void note_change(const struct store_entry *entry, void *arg)
{
	struct watcher *w = arg;
	size_t used = strlen(w->text);

	snprintf(w->text + used, sizeof(w->text) - used, "%s%s=%.*s@%d", used ? " " : "", entry->key, (int)entry->value_bytes,
		 entry->value ? (const char *)entry->value : "", (int)entry->revision);
	if (!entry->value)
		strcat(w->text, "!");
}

TEST(a_watch_is_told_of_what_was_written_under_its_prefix)
{
	struct store *store = store_of(state);
	const struct store_op ops[] = { { "w/b", "2", 1 }, { "w/a", NULL, 0 }, { "x", "3", 1 }, { "w/absent", NULL, 0 } };
	struct watcher w = {};

	put(store, "w/a", "before");
	EXPECT_OK(store_watch_add(store, "w/", note_change, &w, &w.watch));
	EXPECT_OK(store_txn(store, NULL, 0, ops, ARRAY_SIZE(ops), NULL, NULL));
	EXPECT_STR(w.text, "w/a=@2! w/b=2@2");
	EXPECT_EQ(store_txn(store, &(struct store_compare){ "w/b", 1 }, 1, ops, 1, NULL, NULL), -ECANCELED);
	EXPECT_OK(store_delete(store, "w/a", NULL));
	EXPECT_STR(w.text, "w/a=@2! w/b=2@2"); /* nothing was changed, nothing is told */

	w.watch = store_watch_remove(w.watch);
	put(store, "w/c", "4");
	EXPECT_STR(w.text, "w/a=@2! w/b=2@2");
}

static void write_on_change(const struct store_entry *entry, void *arg)
{
	struct watcher *w = arg;

	note_change(entry, w);
	if (entry->revision < 3)
		put(w->store, "w", "again");
}

TEST(what_a_watch_writes_is_told_to_all_in_the_order_of_revisions)
{
	struct store *store = store_of(state);
	struct watcher writer = { .store = store }, reader = {};

	EXPECT_OK(store_watch_add(store, "w", write_on_change, &writer, &writer.watch));
	EXPECT_OK(store_watch_add(store, "w", note_change, &reader, &reader.watch));
	put(store, "w", "first");
	EXPECT_STR(writer.text, "w=first@1 w=again@2 w=again@3");
	EXPECT_STR(reader.text, "w=first@1 w=again@2 w=again@3");
}

static void exchange_watches(const struct store_entry *entry, void *arg)
{
	struct watcher *w = arg;

	note_change(entry, w);
	w->watch = store_watch_remove(w->watch);
	w->other_watcher->watch = store_watch_remove(w->other_watcher->watch);
	EXPECT_OK(store_watch_add(w->store, "", note_change, w, &w->other));
}

TEST(watches_may_come_and_go_while_they_are_told)
{
	struct store *store = store_of(state);
	struct watcher second = {}, first = { .store = store, .other_watcher = &second };

	EXPECT_OK(store_watch_add(store, "", exchange_watches, &first, &first.watch));
	EXPECT_OK(store_watch_add(store, "", note_change, &second, &second.watch));
	put(store, "a", "1");
	EXPECT_STR(first.text, "a=1@1"); /* not again by the new watch, which came after it */
	EXPECT_STR(second.text, "");
	put(store, "a", "2");
	EXPECT_STR(first.text, "a=1@1 a=2@2");
	EXPECT_STR(second.text, "");
}

#define ON_EACH(test)                                                                                                         \
	{ #test, test, setup, teardown, (void *)&backends[0] }

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_EACH(a_put_value_is_read_back_with_the_revision_that_wrote_it),
		ON_EACH(values_are_bytes_also_none_at_all),
		ON_EACH(deleting_counts_as_a_change_only_where_something_was),
		ON_EACH(a_list_has_the_keys_of_the_prefix_in_byte_order),
		ON_EACH(a_list_goes_on_after_a_key_that_may_be_gone),
		ON_EACH(a_list_shows_one_state_while_its_callback_writes),
		ON_EACH(a_callback_ends_the_list_with_its_own_error),
		ON_EACH(a_transaction_changes_all_its_keys_with_one_revision),
		ON_EACH(a_lost_compare_changes_nothing),
		ON_EACH(a_compare_holds_for_the_last_revision_or_for_absence),
		ON_EACH(a_transaction_of_compares_alone_tells_the_revision),
		ON_EACH(bad_input_is_refused_by_name_and_changes_nothing),
		ON_EACH(a_watch_is_told_of_what_was_written_under_its_prefix),
		ON_EACH(what_a_watch_writes_is_told_to_all_in_the_order_of_revisions),
		ON_EACH(watches_may_come_and_go_while_they_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
