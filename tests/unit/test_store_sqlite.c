/* SPDX-License-Identifier: Apache-2.0 */
/* What is special about a store in a file: who may open it, what is kept when the process, the disk or the power fails. The
 * behaviour that all back ends share is in test_store.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/state/state.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/unit/power_vfs.h"
#include "tests/unit/store_world.h"

static void reopen(struct store_world *w)
{
	struct error err = {};

	w->store = store_close(w->store);
	EXPECT_OK(store_open_sqlite(w->loop, w->path, &w->store, &err), &err);
}

static int setup(void **state)
{
	struct store_world *w = calloc(1, sizeof(*w));

	store_world_init(w);
	reopen(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	store_world_done(*state);
	free(*state);
	return 0;
}

static int open_again(struct store_world *w, struct error *err)
{
	w->store = store_close(w->store);
	*err = (struct error){};
	return store_open_sqlite(w->loop, w->path, &w->store, err);
}

/* ---- the file ---- */

TEST(what_was_written_is_there_after_reopening_with_its_history)
{
	struct store_world *w = *state;
	struct watcher watcher = {};

	put(w, "a", "1");
	put(w, "b", "2");
	erase(w, "b");
	reopen(w);
	EXPECT_STR(LISTED(w, ""), "a=1@1");
	EXPECT_STR(LISTED(w, "", .revision = 2), "a=1@1 b=2@2");
	EXPECT_OK(store_watch(w->store, "", 1, on_watch, &watcher, &watcher.watch, NULL));
	EXPECT_EQ(put(w, "c", "3"), 4);
	EXPECT_STR(watcher.text, "[2: b=2] [3: b=-] [4: c=3]");
	store_unwatch(watcher.watch);
}

TEST(the_file_and_its_log_are_ours_alone_and_the_log_goes_when_it_is_closed)
{
	struct store_world *w = *state;
	const mode_t mask = umask(0);
	char log[128];
	struct stat st;

	w->store = store_close(w->store);
	unlink(w->path);
	reopen(w);
	umask(mask);
	put(w, "a", "1");
	EXPECT_EQ(stat(w->path, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0600);
	snprintf(log, sizeof(log), "%s-wal", w->path);
	EXPECT_EQ(stat(log, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0600);
	w->store = store_close(w->store);
	EXPECT_EQ(stat(log, &st), -1);
}

TEST(the_log_does_not_grow_without_bound)
{
	struct store_world *w = *state;
	char *large = calloc(1, STORE_VALUE_LIMIT_BYTES), log[128];
	struct stat st;

	snprintf(log, sizeof(log), "%s-wal", w->path);
	for (int i = 0; i < 40; i++)
		put_bytes(w, "large", large, STORE_VALUE_LIMIT_BYTES);
	EXPECT_EQ(stat(log, &st), 0);
	EXPECT(st.st_size < 12 * 1024 * 1024);
	free(large);
}

TEST(a_second_user_of_the_file_is_told_so)
{
	struct store_world *w = *state;
	struct store *second;
	struct error err = {};
	int status;
	pid_t pid;

	EXPECT_EQ(store_open_sqlite(w->loop, w->path, &second, &err), -EBUSY);
	EXPECT_CONTAINS(err.message, w->path);
	EXPECT_CONTAINS(err.message, "another process has it open");
	pid = fork();
	if (pid == 0) {
		struct loop *loop;

		_exit(loop_new(&loop) < 0 || store_open_sqlite(loop, w->path, &second, &err) != -EBUSY);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	put(w, "a", "1");
}

static void execute(const char *path, const char *sql)
{
	sqlite3 *db;

	EXPECT_EQ(sqlite3_open(path, &db), SQLITE_OK);
	EXPECT_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* The bytes of the file as a hash. */
static uint64_t file_hash(const char *path)
{
	uint64_t hash = 14695981039346656037ull;
	FILE *file = fopen(path, "r");
	int c;

	EXPECT(file);
	while ((c = fgetc(file)) != EOF)
		hash = (hash ^ (uint64_t)c) * 1099511628211ull;
	fclose(file);
	return hash;
}

static void expect_refused(struct store_world *w, int code, const char *words)
{
	const uint64_t before = file_hash(w->path);
	struct error err;

	EXPECT_EQ(open_again(w, &err), code);
	EXPECT_CONTAINS(err.message, w->path);
	EXPECT_CONTAINS(err.message, words);
	EXPECT(file_hash(w->path) == before);
	w->store = NULL;
}

TEST(a_file_of_another_kind_or_version_is_refused_and_left_as_it_is)
{
	struct store_world *w = *state;
	struct state *node_state;
	struct error err;
	FILE *file;

	put(w, "a", "1");
	w->store = store_close(w->store);
	execute(w->path, "PRAGMA user_version = 7");
	expect_refused(w, -EPROTO, "version 7, this program reads 1");

	unlink(w->path);
	EXPECT_OK(state_open_sqlite(w->path, &node_state, NULL));
	EXPECT_OK(state_put(node_state, "a", "1", 1, NULL));
	state_close(node_state);
	expect_refused(w, -EPROTO, "no store file of weft");

	unlink(w->path);
	execute(w->path, "CREATE TABLE theirs (x)");
	expect_refused(w, -EPROTO, "no store file of weft");

	file = fopen(w->path, "w");
	for (int i = 0; i < 200; i++)
		fputs("no database, but text\n", file);
	fclose(file);
	expect_refused(w, -EPROTO, "not a database");

	unlink(w->path);
	EXPECT_EQ(mkdir(w->path, 0700), 0);
	EXPECT(open_again(w, &err) < 0);
	EXPECT_EQ(rmdir(w->path), 0);
	EXPECT_EQ(store_open_sqlite(w->loop, "/no/such/directory/store.db", &w->store, &err), -ENOENT);
	w->store = NULL;
}

static void fill(struct store_world *w, int count)
{
	char key[32], value[2048];

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "c/%05d", i);
		put_bytes(w, key, value, sizeof(value));
	}
}

TEST(a_damaged_file_is_named_and_not_written_to)
{
	struct store_world *w = *state;
	const char *text;
	char junk[4096];
	uint64_t before;
	struct stat st;
	int fd;

	fill(w, 100);
	w->store = store_close(w->store);
	EXPECT_EQ(stat(w->path, &st), 0);
	memset(junk, 0x5a, sizeof(junk));
	fd = open(w->path, O_WRONLY | O_CLOEXEC);
	for (off_t at = 4 * 4096; at < st.st_size; at += 2 * 4096) /* the first pages, with the schema, stay */
		EXPECT_EQ(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
	fd_close(fd);
	before = file_hash(w->path);
	reopen(w);
	text = LISTED(w, "c/");
	EXPECT_STR(text, "EUCLEAN");
	EXPECT_EQ(store_count(w->store, STORE_COUNT_FAILED), 1);
	w->store = store_close(w->store);
	EXPECT(file_hash(w->path) == before);

	EXPECT_EQ(truncate(w->path, 4096 + 100), 0); /* not even the tables are whole */
	expect_refused(w, -EUCLEAN, "malformed");
}

/* ---- disks ---- */

/* Runs `fn` in a process with a file system of its own, 4 MiB in memory, at the directory. */
static void with_disk(struct store_world *w, void (*fn)(struct store_world *w))
{
	int status;
	pid_t pid;

	w->store = store_close(w->store);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("disk", w->directory, "tmpfs", 0, "size=4m") < 0)
			_exit(77);
		w->loop = loop_free(w->loop);
		EXPECT_OK(loop_new(&w->loop));
		fn(w);
		_exit(0);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* no mount namespaces for this user */
	EXPECT_EQ(status, 0);
}

#define CHILD_EXPECT(condition)                                                                                               \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: expected: %s\n", __FILE__, __LINE__, #condition);                              \
			_exit(1);                                                                                              \
		}                                                                                                              \
	} while (0)

/* A file that takes the rest of the disk. */
static void leave_room(struct store_world *w, size_t bytes)
{
	char path[96];
	struct statfs fs;
	int fd;

	CHILD_EXPECT(statfs(w->directory, &fs) == 0);
	snprintf(path, sizeof(path), "%s/ballast", w->directory);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHILD_EXPECT(posix_fallocate(fd, 0, (off_t)(fs.f_bavail * (size_t)fs.f_bsize - bytes)) == 0);
	fd_close(fd);
}

static void fill_the_disk(struct store_world *w)
{
	char ballast[96], key[16], *value = calloc(1, 100000);
	struct outcome outcome = {};
	struct error err = {};
	int written = 0;

	snprintf(ballast, sizeof(ballast), "%s/ballast", w->directory);
	leave_room(w, 2 * 1024 * 1024);
	CHILD_EXPECT(store_open_sqlite(w->loop, w->path, &w->store, &err) == 0);
	while (outcome.result == 0 && written < 100) {
		snprintf(key, sizeof(key), "%03d", written);
		const struct store_op op = { key, value, 100000 };

		if (txn(w, NULL, 0, &op, 1, &outcome) == 0)
			written++;
	}
	CHILD_EXPECT(outcome.result == -ENOSPC && written > 5);
	CHILD_EXPECT(strstr(outcome.err.message, "disk is full"));
	CHILD_EXPECT(revision_now(w) == (uint64_t)written);
	CHILD_EXPECT(!strcmp(value_of(w, key), "-"));
	/* when there is room again, it goes on, and nothing is missing */
	CHILD_EXPECT(unlink(ballast) == 0);
	CHILD_EXPECT(put(w, "small", "1") == (uint64_t)written + 1);
	w->store = store_close(w->store);
	CHILD_EXPECT(store_open_sqlite(w->loop, w->path, &w->store, &err) == 0);
	for (int i = 0; i < written; i++) {
		snprintf(key, sizeof(key), "%03d", i);
		CHILD_EXPECT(revision_of(w, key) == (uint64_t)i + 1);
	}
	w->store = store_close(w->store);
}

TEST(a_full_disk_fails_what_does_not_fit_and_nothing_else)
{
	with_disk(*state, fill_the_disk);
}

static void group_on_a_full_disk(struct store_world *w)
{
	char *value = calloc(1, STORE_VALUE_LIMIT_BYTES);
	struct outcome outcomes[9] = {};
	char keys[9][8];
	struct error err = {};

	CHILD_EXPECT(store_open_sqlite(w->loop, w->path, &w->store, &err) == 0);
	put_bytes(w, "there", value, STORE_VALUE_LIMIT_BYTES);
	leave_room(w, 700 * 1024);
	for (int i = 0; i < 9; i++) { /* the fifth is too large, and they all wait at once */
		snprintf(keys[i], sizeof(keys[i]), "%d", i);
		const struct store_op op = { keys[i], value, i == 4 ? STORE_VALUE_LIMIT_BYTES : 100 };
		const struct store_op both[] = { op, { "there", value, 200000 } };

		CHILD_EXPECT(store_txn(w->store, NULL, 0, i == 4 ? both : &op, i == 4 ? 2 : 1, on_done, &outcomes[i], NULL) == 0);
	}
	TURN_UNTIL(w, outcomes[8].done);
	for (int i = 0; i < 9; i++)
		CHILD_EXPECT(outcomes[i].result == (i == 4 ? -ENOSPC : 0));
	CHILD_EXPECT(revision_now(w) == 9);
	CHILD_EXPECT(revision_of(w, "8") == 9 && revision_of(w, "4") == 0 && revision_of(w, "there") == 1);
	w->store = store_close(w->store);
}

TEST(a_transaction_that_does_not_fit_takes_no_other_of_its_group_with_it)
{
	with_disk(*state, group_on_a_full_disk);
}

static void open_read_only(struct store_world *w)
{
	struct error err = {};

	CHILD_EXPECT(store_open_sqlite(w->loop, w->path, &w->store, &err) == 0);
	put(w, "a", "1");
	w->store = store_close(w->store);
	CHILD_EXPECT(mount("disk", w->directory, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHILD_EXPECT(store_open_sqlite(w->loop, w->path, &w->store, &err) == -EROFS);
	CHILD_EXPECT(strstr(err.message, w->path) && strstr(err.message, "read-only"));
	strcat(w->path, "-new");
	CHILD_EXPECT(store_open_sqlite(w->loop, w->path, &w->store, &err) == -EROFS);
	CHILD_EXPECT(strstr(err.message, "cannot create"));
}

TEST(a_read_only_file_system_is_said_to_be_one_when_it_is_opened)
{
	with_disk(*state, open_read_only);
}

/* ---- death in the middle of writes ---- */

#define CLIENTS 8

struct client {
	struct store_world *w;
	int index, fd;
	uint32_t next;
	uint64_t revision; /* of its counter */
};

struct acknowledged {
	uint32_t client, number;
};

static void write_next(struct client *c);

static void written(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct client *c = arg;
	const struct acknowledged told = { (uint32_t)c->index, c->next };

	(void)err;
	if (result < 0 || write(c->fd, &told, sizeof(told)) != sizeof(told))
		_exit(1);
	c->revision = revision;
	c->next++;
	write_next(c);
}

/* A resource, a counter that every transaction compares, and a record of it, as the API writes them. */
static void write_next(struct client *c)
{
	char counter[32], resource[32], audit[32], number[16], value[600];
	const struct store_compare compare = { counter, c->revision };
	const struct store_op ops[] = {
		{ counter, number, 8 },
		{ resource, value, 100 + c->next % 500 },
		{ audit, number, 8 },
	};

	snprintf(counter, sizeof(counter), "counter/%d", c->index);
	snprintf(number, sizeof(number), "%08u", c->next);
	snprintf(resource, sizeof(resource), "resource/%d/%s", c->index, number);
	snprintf(audit, sizeof(audit), "audit/%s/%d", number, c->index);
	memset(value, '0' + c->index, sizeof(value));
	if (store_txn(c->w->store, &compare, 1, ops, ARRAY_SIZE(ops), written, c, NULL) < 0)
		_exit(1);
}

static void write_for_ever(struct store_world *w, int fd, unsigned int power_seed)
{
	struct client clients[CLIENTS];

	if (power_seed)
		power_vfs_install(power_seed);
	if (loop_new(&w->loop) < 0 || store_open_sqlite(w->loop, w->path, &w->store, NULL) < 0)
		_exit(1);
	for (int i = 0; i < CLIENTS; i++) {
		char counter[32];
		const char *value;

		snprintf(counter, sizeof(counter), "counter/%d", i);
		value = value_of(w, counter);
		clients[i] = (struct client){ w, i, fd, value[0] == '-' ? 0 : (uint32_t)atoi(value) + 1, revision_of(w, counter) };
	}
	for (int i = 0; i < CLIENTS; i++)
		write_next(&clients[i]);
	loop_run(w->loop);
	_exit(1);
}

/* Returns how many there are, all from 0 on; those before `from` were looked at in an earlier round. */
static uint32_t expect_whole(struct store_world *w, int client, uint32_t from)
{
	char key[32];
	uint32_t count;
	const char *value;

	snprintf(key, sizeof(key), "counter/%d", client);
	value = value_of(w, key);
	count = value[0] == '-' ? 0 : (uint32_t)atoi(value) + 1;
	EXPECT(count >= from);
	for (uint32_t i = from; i <= count; i++) {
		uint64_t revision;

		snprintf(key, sizeof(key), "resource/%d/%08u", client, i);
		revision = revision_of(w, key);
		EXPECT_EQ(revision != 0, i < count);
		snprintf(key, sizeof(key), "audit/%08u/%d", i, client);
		EXPECT_EQ(revision_of(w, key), revision);
	}
	return count;
}

static void survive_kills(struct store_world *w, int rounds, bool power)
{
	uint32_t total = 0, counts[CLIENTS] = {};

	w->store = store_close(w->store);
	for (int round = 0; round < rounds; round++) {
		/* Where no disk is waited for, enough that the log goes into the database several times. */
		uint32_t last[CLIENTS] = {}, wanted = 5 + (uint32_t)round * (power ? 50 : 7) % (power ? 1000 : 100), told = 0;
		struct acknowledged next;
		int fds[2], status;
		pid_t pid;

		EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0)
			write_for_ever(w, fds[1], power ? (unsigned int)round + 1 : 0);
		close(fds[1]);
		while (told < wanted && read(fds[0], &next, sizeof(next)) == sizeof(next)) {
			last[next.client] = next.number + 1;
			told++;
		}
		kill(pid, SIGKILL);
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT(WIFSIGNALED(status));
		while (read(fds[0], &next, sizeof(next)) == sizeof(next))
			last[next.client] = next.number + 1;
		close(fds[0]);
		reopen(w);
		total = 0;
		for (int i = 0; i < CLIENTS; i++) {
			counts[i] = expect_whole(w, i, counts[i]);
			EXPECT(counts[i] >= last[i]);
			total += counts[i];
		}
		EXPECT_EQ(revision_now(w), total);
		w->store = store_close(w->store);
	}
	EXPECT(total > (uint32_t)rounds * 5);
}

TEST(kill_9_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_written)
{
	survive_kills(*state, 20, /* power= */ false);
}

TEST(a_power_loss_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_written)
{
	survive_kills(*state, 20, /* power= */ true);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_written_is_there_after_reopening_with_its_history),
		T(the_file_and_its_log_are_ours_alone_and_the_log_goes_when_it_is_closed),
		T(the_log_does_not_grow_without_bound),
		T(a_second_user_of_the_file_is_told_so),
		T(a_file_of_another_kind_or_version_is_refused_and_left_as_it_is),
		T(a_damaged_file_is_named_and_not_written_to),
		T(a_full_disk_fails_what_does_not_fit_and_nothing_else),
		T(a_transaction_that_does_not_fit_takes_no_other_of_its_group_with_it),
		T(a_read_only_file_system_is_said_to_be_one_when_it_is_opened),
		T(kill_9_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_written),
		T(a_power_loss_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
