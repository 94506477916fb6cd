/* SPDX-License-Identifier: Apache-2.0 */
/* Every back end passes the same tests. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/state/state.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct fixture {
	struct state *state;
	char directory[64], path[96];
};

static int open_memory(struct fixture *f)
{
	return state_open_memory(&f->state);
}

static int open_sqlite(struct fixture *f)
{
	struct error err = {};

	EXPECT_OK(state_open_sqlite(f->path, &f->state, &err), &err);
	return 0;
}

static int setup(void **state)
{
	int (*const *open)(struct fixture *f) = *state;
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->directory, "/tmp/weft-test-state-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/state.db", f->directory);
	*state = f;
	return (*open)(f);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	state_close(f->state);
	unlink(f->path);
	EXPECT_EQ(rmdir(f->directory), 0); /* no log file stays behind */
	free(f);
	return 0;
}

static struct state *state_of(void **state)
{
	return ((struct fixture *)*state)->state;
}

/* ---- given, then ---- */

static void put(struct state *s, const char *key, const char *value)
{
	struct error err = {};

	EXPECT_OK(state_put(s, key, value, strlen(value), &err), &err);
}

/* The value as text, "-" where there is none. */
static const char *value_of(struct state *s, const char *key)
{
	static char text[256];
	void *value;
	size_t bytes;
	int r = state_get(s, key, &value, &bytes, NULL);

	if (r == -ENOENT)
		return "-";
	EXPECT_OK(r);
	snprintf(text, sizeof(text), "%s", (char *)value);
	EXPECT_EQ(strlen(text), bytes);
	free(value);
	return text;
}

static uint64_t revision_of(struct state *s, const char *key)
{
	uint64_t revision = 0;
	void *value;
	size_t bytes;
	int r = state_get(s, key, &value, &bytes, &revision);

	if (r == 0)
		free(value);
	return revision;
}

struct listing {
	char text[1024];
	struct state *state; /* where the callback writes, for the tests that do */
	int calls;
};

static int note_entry(const struct state_entry *entry, void *arg)
{
	struct listing *l = arg;
	size_t used = strlen(l->text);

	snprintf(l->text + used, sizeof(l->text) - used, "%s%s=%.*s", used ? " " : "", entry->key, (int)entry->value_bytes,
		 (const char *)entry->value);
	l->calls++;
	return 0;
}

static const char *listed(struct state *s, const char *prefix, const char *after, size_t limit)
{
	static struct listing l;

	l = (struct listing){};
	EXPECT_OK(state_list(s, prefix, after, limit, note_entry, &l, NULL));
	return l.text;
}

static uint64_t state_revision(struct state *s)
{
	struct listing l = {};
	uint64_t revision;

	EXPECT_OK(state_list(s, "no such key", NULL, 0, note_entry, &l, &revision));
	return revision;
}

/* ---- get, put, delete ---- */

TEST(a_put_value_is_read_back_with_the_revision_that_wrote_it)
{
	struct state *s = state_of(state);

	EXPECT_STR(value_of(s, "a"), "-");
	EXPECT_EQ(state_revision(s), 0);
	put(s, "a", "one");
	put(s, "b", "two");
	EXPECT_STR(value_of(s, "a"), "one");
	EXPECT_EQ(revision_of(s, "a"), 1);
	EXPECT_EQ(revision_of(s, "b"), 2);
	put(s, "a", "three");
	EXPECT_STR(value_of(s, "a"), "three");
	EXPECT_EQ(revision_of(s, "a"), 3);
	EXPECT_EQ(revision_of(s, "b"), 2);
}

TEST(values_are_bytes_also_none_at_all)
{
	struct state *s = state_of(state);
	const char bytes[] = { 0, 1, (char)0xff, 0, 'x' };
	void *value;
	size_t length;

	EXPECT_OK(state_put(s, "bytes", bytes, sizeof(bytes), NULL));
	EXPECT_OK(state_put(s, "empty", NULL, 0, NULL));
	EXPECT_OK(state_get(s, "bytes", &value, &length, NULL));
	EXPECT_EQ(length, sizeof(bytes));
	assert_memory_equal(value, bytes, sizeof(bytes));
	EXPECT_EQ(((char *)value)[length], '\0');
	free(value);
	EXPECT_OK(state_get(s, "empty", &value, &length, NULL));
	EXPECT_EQ(length, 0);
	EXPECT_STR(value, "");
	free(value);
}

TEST(deleting_counts_as_a_change_only_where_something_was)
{
	struct state *s = state_of(state);

	put(s, "a", "one");
	EXPECT_OK(state_delete(s, "a", NULL));
	EXPECT_STR(value_of(s, "a"), "-");
	EXPECT_EQ(state_revision(s), 2);
	EXPECT_OK(state_delete(s, "a", NULL));
	EXPECT_EQ(state_revision(s), 2);
}

/* ---- list ---- */

TEST(a_list_has_the_keys_of_the_prefix_in_byte_order)
{
	struct state *s = state_of(state);

	put(s, "reg/b", "2");
	put(s, "reg/a", "1");
	put(s, "reg", "0");
	put(s, "reg/\xc3\xa9", "4"); /* é sorts after ASCII */
	put(s, "reg/B", "3");
	put(s, "reg0", "5"); /* '0' follows '/' */
	EXPECT_STR(listed(s, "reg/", NULL, 0), "reg/B=3 reg/a=1 reg/b=2 reg/\xc3\xa9=4");
	EXPECT_STR(listed(s, "", NULL, 2), "reg=0 reg/B=3");
	EXPECT_STR(listed(s, "nothing", NULL, 0), "");
}

TEST(a_list_goes_on_after_a_key_that_may_be_gone)
{
	struct state *s = state_of(state);

	put(s, "k/1", "1");
	put(s, "k/2", "2");
	put(s, "k/3", "3");
	put(s, "l", "4");
	EXPECT_STR(listed(s, "k/", "k/1", 0), "k/2=2 k/3=3");
	EXPECT_STR(listed(s, "k/", "k/1", 1), "k/2=2");
	EXPECT_STR(listed(s, "k/", "k/10", 0), "k/2=2 k/3=3");
	EXPECT_STR(listed(s, "k/", "k/3", 0), "");
	EXPECT_STR(listed(s, "k/", "z", 0), "");
	EXPECT_STR(listed(s, "k/", "a", 0), "k/1=1 k/2=2 k/3=3");
}

static int write_while_listing(const struct state_entry *entry, void *arg)
{
	struct listing *l = arg;

	EXPECT_OK(state_delete(l->state, "k/2", NULL));
	put(l->state, "k/3", "changed");
	put(l->state, "k/4", "new");
	return note_entry(entry, l);
}

TEST(a_list_shows_one_state_while_its_callback_writes)
{
	struct state *s = state_of(state);
	struct listing l = { .state = s };
	uint64_t revision;

	put(s, "k/1", "1");
	put(s, "k/2", "2");
	put(s, "k/3", "3");
	EXPECT_OK(state_list(s, "k/", NULL, 0, write_while_listing, &l, &revision));
	EXPECT_STR(l.text, "k/1=1 k/2=2 k/3=3");
	EXPECT_EQ(revision, 3);
	EXPECT_STR(listed(s, "k/", NULL, 0), "k/1=1 k/3=changed k/4=new");
}

static int stop_at_second(const struct state_entry *entry, void *arg)
{
	note_entry(entry, arg);
	return ((struct listing *)arg)->calls == 2 ? -ECONNRESET : 0;
}

TEST(a_callback_ends_the_list_with_its_own_error)
{
	struct state *s = state_of(state);
	struct listing l = {};

	put(s, "k/1", "1");
	put(s, "k/2", "2");
	put(s, "k/3", "3");
	EXPECT_EQ(state_list(s, "k/", NULL, 0, stop_at_second, &l, NULL), -ECONNRESET);
	EXPECT_STR(l.text, "k/1=1 k/2=2");
}

/* ---- transactions ---- */

TEST(a_transaction_changes_all_its_keys_with_one_revision)
{
	struct state *s = state_of(state);
	const struct state_op ops[] = { { "c", "3", 1 }, { "a", NULL, 0 }, { "b", "2", 1 }, { "absent", NULL, 0 } };
	uint64_t revision;

	put(s, "a", "1");
	EXPECT_OK(state_txn(s, NULL, 0, ops, ARRAY_SIZE(ops), &revision, NULL));
	EXPECT_EQ(revision, 2);
	EXPECT_EQ(revision_of(s, "b"), 2);
	EXPECT_EQ(revision_of(s, "c"), 2);
	EXPECT_STR(listed(s, "", NULL, 0), "b=2 c=3");
}

TEST(a_lost_compare_changes_nothing)
{
	struct state *s = state_of(state);
	const struct state_op op = { "b", "2", 1 };
	uint64_t revision = 77;
	struct error err = {};

	put(s, "a", "1");
	put(s, "a", "2");
	EXPECT_EQ(state_txn(s, &(struct state_compare){ "a", 1 }, 1, &op, 1, &revision, &err), -ECANCELED);
	EXPECT_CONTAINS(err.message, "'a'");
	EXPECT_EQ(state_txn(s, &(struct state_compare){ "a", 0 }, 1, &op, 1, &revision, NULL), -ECANCELED);
	EXPECT_EQ(state_txn(s, &(struct state_compare){ "absent", 2 }, 1, &op, 1, &revision, NULL), -ECANCELED);
	EXPECT_EQ(revision, 77);
	EXPECT_EQ(state_revision(s), 2);
	EXPECT_STR(value_of(s, "b"), "-");
}

TEST(a_compare_holds_for_the_last_revision_or_for_absence)
{
	struct state *s = state_of(state);
	const struct state_compare compares[] = { { "a", 2 }, { "b", 0 } };
	const struct state_op op = { "b", "2", 1 };

	put(s, "a", "1");
	put(s, "a", "2");
	EXPECT_OK(state_txn(s, compares, 2, &op, 1, NULL, NULL));
	EXPECT_EQ(state_txn(s, compares, 2, &op, 1, NULL, NULL), -ECANCELED); /* b is there now */
	EXPECT_OK(state_delete(s, "b", NULL));
	EXPECT_OK(state_txn(s, compares, 2, &op, 1, NULL, NULL)); /* and absent again */
}

TEST(a_transaction_of_compares_alone_tells_the_revision)
{
	struct state *s = state_of(state);
	uint64_t revision;

	put(s, "a", "1");
	EXPECT_OK(state_txn(s, &(struct state_compare){ "a", 1 }, 1, NULL, 0, &revision, NULL));
	EXPECT_EQ(revision, 1);
}

TEST(bad_input_is_refused_by_name_and_changes_nothing)
{
	struct state *s = state_of(state);
	char *large = calloc(1, STATE_VALUE_LIMIT_BYTES + 1);
	char long_key[STATE_KEY_LIMIT_BYTES + 2] = "";
	struct state_op ops[] = { { "good", "1", 1 }, { "", "1", 1 } };
	struct error err = {};

	memset(long_key, 'k', sizeof(long_key) - 1);
	EXPECT_EQ(state_txn(s, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	ops[1].key = long_key;
	EXPECT_EQ(state_txn(s, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "1024");
	ops[1].key = "bad\xc0\xaf";
	EXPECT_EQ(state_txn(s, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "UTF-8");
	ops[1].key = "good";
	EXPECT_EQ(state_txn(s, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "'good'");
	ops[1] = (struct state_op){ "large", large, STATE_VALUE_LIMIT_BYTES + 1 };
	EXPECT_EQ(state_txn(s, NULL, 0, ops, 2, NULL, &err), -E2BIG);
	EXPECT_CONTAINS(err.message, "'large'");
	EXPECT_EQ(state_txn(s, &(struct state_compare){ "", 0 }, 1, ops, 1, NULL, &err), -EINVAL);
	EXPECT_EQ(state_revision(s), 0);
	EXPECT_STR(listed(s, "", NULL, 0), "");

	long_key[STATE_KEY_LIMIT_BYTES] = '\0'; /* the largest that are allowed */
	EXPECT_OK(state_put(s, long_key, large, STATE_VALUE_LIMIT_BYTES, &err), &err);
	free(large);
}

/* ---- watches ---- */

struct watcher {
	char text[1024];
	struct state *state;
	struct state_watch *watch, *other;
	struct watcher *other_watcher;
};

static void note_change(const struct state_entry *entry, void *arg)
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
	struct state *s = state_of(state);
	const struct state_op ops[] = { { "w/b", "2", 1 }, { "w/a", NULL, 0 }, { "x", "3", 1 }, { "w/absent", NULL, 0 } };
	struct watcher w = {};

	put(s, "w/a", "before");
	EXPECT_OK(state_watch_add(s, "w/", note_change, &w, &w.watch));
	EXPECT_OK(state_txn(s, NULL, 0, ops, ARRAY_SIZE(ops), NULL, NULL));
	EXPECT_STR(w.text, "w/a=@2! w/b=2@2");
	EXPECT_EQ(state_txn(s, &(struct state_compare){ "w/b", 1 }, 1, ops, 1, NULL, NULL), -ECANCELED);
	EXPECT_OK(state_delete(s, "w/a", NULL));
	EXPECT_STR(w.text, "w/a=@2! w/b=2@2"); /* nothing was changed, nothing is told */

	w.watch = state_watch_remove(w.watch);
	put(s, "w/c", "4");
	EXPECT_STR(w.text, "w/a=@2! w/b=2@2");
}

static void write_on_change(const struct state_entry *entry, void *arg)
{
	struct watcher *w = arg;

	note_change(entry, w);
	if (entry->revision < 3)
		put(w->state, "w", "again");
}

TEST(what_a_watch_writes_is_told_to_all_in_the_order_of_revisions)
{
	struct state *s = state_of(state);
	struct watcher writer = { .state = s }, reader = {};

	EXPECT_OK(state_watch_add(s, "w", write_on_change, &writer, &writer.watch));
	EXPECT_OK(state_watch_add(s, "w", note_change, &reader, &reader.watch));
	put(s, "w", "first");
	EXPECT_STR(writer.text, "w=first@1 w=again@2 w=again@3");
	EXPECT_STR(reader.text, "w=first@1 w=again@2 w=again@3");
}

static void exchange_watches(const struct state_entry *entry, void *arg)
{
	struct watcher *w = arg;

	note_change(entry, w);
	w->watch = state_watch_remove(w->watch);
	w->other_watcher->watch = state_watch_remove(w->other_watcher->watch);
	EXPECT_OK(state_watch_add(w->state, "", note_change, w, &w->other));
}

TEST(watches_may_come_and_go_while_they_are_told)
{
	struct state *s = state_of(state);
	struct watcher second = {}, first = { .state = s, .other_watcher = &second };

	EXPECT_OK(state_watch_add(s, "", exchange_watches, &first, &first.watch));
	EXPECT_OK(state_watch_add(s, "", note_change, &second, &second.watch));
	put(s, "a", "1");
	EXPECT_STR(first.text, "a=1@1"); /* not again by the new watch, which came after it */
	EXPECT_STR(second.text, "");
	put(s, "a", "2");
	EXPECT_STR(first.text, "a=1@1 a=2@2");
	EXPECT_STR(second.text, "");
}

/* ---- both at once ---- */

static int append_entry(const struct state_entry *entry, void *arg)
{
	struct buffer *text = arg;

	buffer_printf(text, "%s=%.*s@%d ", entry->key, (int)entry->value_bytes, (const char *)entry->value,
		      (int)entry->revision);
	return 0;
}

/* Up to three operations on, and two compares of, keys that are few enough to meet. */
static int random_txn(struct state *s, unsigned int *seed)
{
	char keys[5][8], value[16];
	struct state_compare compares[2];
	struct state_op ops[3];
	size_t compare_count = (size_t)rand_r(seed) % 3, op_count = (size_t)rand_r(seed) % 4;

	for (size_t i = 0; i < 5; i++)
		snprintf(keys[i], sizeof(keys[i]), "%.*s%d", rand_r(seed) % 3, "k/", rand_r(seed) % 12);
	snprintf(value, sizeof(value), "%d", rand_r(seed));
	for (size_t i = 0; i < 2; i++)
		compares[i] = (struct state_compare){ keys[i], rand_r(seed) % 2 ? 0 : revision_of(s, keys[i]) };
	for (size_t i = 0; i < 3; i++)
		ops[i] = rand_r(seed) % 3 ? (struct state_op){ keys[2 + i], value, strlen(value) } :
					    (struct state_op){ .key = keys[2 + i] };
	return state_txn(s, compares, compare_count, ops, op_count, NULL, NULL);
}

TEST(any_transactions_leave_the_same_in_memory_as_in_sqlite)
{
	static const char *const prefixes[] = { "", "k", "k/", "k/1", "1", "x" }, *const afters[] = { NULL, "k/1", "5", "zz" };
	struct fixture *f = *state;
	_cleanup_(buffer_done) struct buffer a = {}, b = {};
	struct state *memory;
	int outcomes[3] = {};

	EXPECT_OK(state_open_memory(&memory));
	for (unsigned int i = 0; i < 3000; i++) {
		unsigned int seed = i * 2654435761u, again = seed;
		int r = random_txn(f->state, &seed);
		uint64_t revisions[2];

		EXPECT_EQ(random_txn(memory, &again), r);
		outcomes[r == 0 ? 0 : r == -ECANCELED ? 1 : 2]++;
		buffer_clear(&a);
		buffer_clear(&b);
		EXPECT_OK(state_list(f->state, prefixes[i % 6], afters[i % 4], i % 5, append_entry, &a, &revisions[0]));
		EXPECT_OK(state_list(memory, prefixes[i % 6], afters[i % 4], i % 5, append_entry, &b, &revisions[1]));
		EXPECT_STR(buffer_string(&a), buffer_string(&b));
		EXPECT_EQ(revisions[0], revisions[1]);
	}
	EXPECT(outcomes[0] > 300 && outcomes[1] > 300 && outcomes[2] > 30); /* done, compare lost, key twice */
	state_close(memory);
}

/* ---- SQLite: the file ---- */

TEST(what_was_written_is_there_after_reopening_and_revisions_go_on)
{
	struct fixture *f = *state;

	put(f->state, "a", "1");
	put(f->state, "b", "2");
	EXPECT_OK(state_delete(f->state, "b", NULL));
	f->state = state_close(f->state);
	open_sqlite(f);
	EXPECT_STR(listed(f->state, "", NULL, 0), "a=1");
	EXPECT_EQ(state_revision(f->state), 3);
	put(f->state, "c", "3");
	EXPECT_EQ(revision_of(f->state, "c"), 4);
}

TEST(the_file_and_its_log_are_ours_alone)
{
	struct fixture *f = *state;
	const mode_t mask = umask(0);
	char log[128];
	struct stat st;

	f->state = state_close(f->state);
	unlink(f->path);
	open_sqlite(f);
	umask(mask);
	put(f->state, "a", "1");
	EXPECT_EQ(stat(f->path, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0600);
	snprintf(log, sizeof(log), "%s-wal", f->path);
	EXPECT_EQ(stat(log, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0600);
}

TEST(a_second_user_of_the_file_is_told_so)
{
	struct fixture *f = *state;
	struct state *second;
	struct error err = {};

	EXPECT_EQ(state_open_sqlite(f->path, &second, &err), -EBUSY);
	EXPECT_CONTAINS(err.message, f->path);
	EXPECT_CONTAINS(err.message, "another process");
	put(f->state, "a", "1");
}

static void execute(const char *path, const char *sql)
{
	sqlite3 *db;

	EXPECT_EQ(sqlite3_open(path, &db), SQLITE_OK);
	EXPECT_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

TEST(a_file_of_another_kind_or_version_is_refused_and_left_as_it_is)
{
	struct fixture *f = *state;
	struct state *s;
	struct error err = {};
	FILE *file;

	f->state = state_close(f->state);
	execute(f->path, "PRAGMA user_version = 7");
	EXPECT_EQ(state_open_sqlite(f->path, &s, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "version 7");

	unlink(f->path);
	execute(f->path, "CREATE TABLE theirs (x)");
	EXPECT_EQ(state_open_sqlite(f->path, &s, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "no state file of weft");
	execute(f->path, "INSERT INTO theirs VALUES (1)");

	file = fopen(f->path, "w");
	for (int i = 0; i < 200; i++)
		fputs("no database, but text\n", file);
	fclose(file);
	EXPECT_EQ(state_open_sqlite(f->path, &s, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "not a database");

	unlink(f->path);
	EXPECT_EQ(mkdir(f->path, 0700), 0);
	EXPECT(state_open_sqlite(f->path, &s, &err) < 0);
	EXPECT_EQ(rmdir(f->path), 0);
	EXPECT_EQ(state_open_sqlite("/no/such/directory/state.db", &s, &err), -ENOENT);
}

/* Writes until it is killed; tells of each key that was acknowledged. */
static void write_for_ever(const char *path, int fd)
{
	struct state *s;

	if (state_open_sqlite(path, &s, NULL) < 0)
		_exit(1);
	for (uint32_t i = 0;; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%08u", i);
		if (state_put(s, key, key, 8, NULL) < 0 || write(fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

TEST(kill_9_loses_nothing_that_was_acknowledged)
{
	struct fixture *f = *state;

	f->state = state_close(f->state);
	for (int round = 0; round < 5; round++) {
		uint32_t last = 0, wanted = 40u << round, next;
		int fds[2], status;
		char key[16];
		pid_t pid;

		EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0)
			write_for_ever(f->path, fds[1]);
		close(fds[1]);
		while (last < wanted && read(fds[0], &next, sizeof(next)) == sizeof(next))
			last = next;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		EXPECT(WIFSIGNALED(status));
		while (read(fds[0], &next, sizeof(next)) == sizeof(next))
			last = next;
		close(fds[0]);
		open_sqlite(f);
		snprintf(key, sizeof(key), "%08u", last);
		EXPECT_STR(value_of(f->state, key), key);
		EXPECT(state_revision(f->state) >= last + 1);
		f->state = state_close(f->state);
	}
}

TEST(a_disk_that_takes_no_more_fails_the_transaction_whole)
{
	struct fixture *f = *state;
	char *large = calloc(1, STATE_VALUE_LIMIT_BYTES);
	const struct state_op ops[] = { { "a", "2", 1 }, { "large", large, STATE_VALUE_LIMIT_BYTES } };
	struct rlimit limit, small;
	struct error err = {};

	put(f->state, "a", "1");
	signal(SIGXFSZ, SIG_IGN);
	EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){ .rlim_cur = 256 * 1024, .rlim_max = limit.rlim_max };
	setrlimit(RLIMIT_FSIZE, &small);
	EXPECT_EQ(state_txn(f->state, NULL, 0, ops, ARRAY_SIZE(ops), NULL, &err), -EIO);
	setrlimit(RLIMIT_FSIZE, &limit);
	EXPECT_STR(listed(f->state, "", NULL, 0), "a=1");
	EXPECT_EQ(state_revision(f->state), 1);
	EXPECT_OK(state_txn(f->state, NULL, 0, ops, ARRAY_SIZE(ops), NULL, &err), &err);
	EXPECT_STR(value_of(f->state, "a"), "2");
	free(large);
}

static int (*const on_memory)(struct fixture *f) = open_memory;
static int (*const on_sqlite)(struct fixture *f) = open_sqlite;

#define ON_SQLITE(test)                                                                                                       \
	{ #test, test, setup, teardown, (void *)&on_sqlite }
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
		ON_SQLITE(any_transactions_leave_the_same_in_memory_as_in_sqlite),
		ON_SQLITE(what_was_written_is_there_after_reopening_and_revisions_go_on),
		ON_SQLITE(the_file_and_its_log_are_ours_alone),
		ON_SQLITE(a_second_user_of_the_file_is_told_so),
		ON_SQLITE(a_file_of_another_kind_or_version_is_refused_and_left_as_it_is),
		ON_SQLITE(kill_9_loses_nothing_that_was_acknowledged),
		ON_SQLITE(a_disk_that_takes_no_more_fails_the_transaction_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
