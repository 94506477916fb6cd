/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that several processes have a part of. One that opens the file twice is two of them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/l7/ledger.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

#define POOL "1a 3 901f any"

struct side {
	struct ledger *ledger;
	struct ledger_row *row;
	uint32_t own[LEDGER_KINDS];
};

struct world {
	char path[64];
	struct side sides[LEDGER_COLUMNS];
};

static void open_side(struct world *w, struct side *side)
{
	struct error err = {};

	*side = (struct side){};
	EXPECT_OK(ledger_open(w->path, &side->ledger, &err), &err);
	side->row = ledger_get(side->ledger, POOL);
	EXPECT(side->row);
}

static struct world given_sides(size_t count)
{
	struct world w = {};

	snprintf(w.path, sizeof(w.path), "/tmp/weft-ledger-%d", getpid());
	unlink(w.path);
	for (size_t i = 0; i < count; i++)
		open_side(&w, &w.sides[i]);
	return w;
}

static void close_side(struct side *side)
{
	if (side->row)
		ledger_put(side->ledger, side->row);
	ledger_close(side->ledger);
	*side = (struct side){};
}

static void world_done(struct world *w)
{
	for (size_t i = 0; i < LEDGER_COLUMNS; i++)
		close_side(&w->sides[i]);
	unlink(w->path);
}
#define _cleanup_world_ _cleanup_(world_done)

static bool enter(struct side *side, enum ledger_kind kind, uint32_t max)
{
	const bool entered = ledger_enter(side->ledger, side->row, kind, side->own[kind], max);

	side->own[kind] += entered;
	return entered;
}

static void leave(struct side *side, enum ledger_kind kind)
{
	ledger_leave(side->ledger, side->row, kind, --side->own[kind]);
}

/* A process of its own that takes so many, and stays until it is killed. */
static pid_t given_process(const struct world *w, uint32_t count)
{
	int ready[2];
	char byte;
	pid_t pid;

	EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct side side = {};

		if (ledger_open(w->path, &side.ledger, NULL) < 0)
			_exit(1);
		side.row = ledger_get(side.ledger, POOL);
		while (side.row && side.own[LEDGER_CONNECTIONS] < count && enter(&side, LEDGER_CONNECTIONS, count + 100))
			;
		if (write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	EXPECT_EQ(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void kill_process(pid_t pid)
{
	kill(pid, SIGKILL);
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(a_limit_holds_for_all_processes_together)
{
	_cleanup_world_ struct world w = given_sides(3);

	EXPECT(enter(&w.sides[0], LEDGER_CONNECTIONS, 3) && enter(&w.sides[1], LEDGER_CONNECTIONS, 3) &&
	       enter(&w.sides[2], LEDGER_CONNECTIONS, 3));
	for (size_t i = 0; i < 3; i++)
		EXPECT(!enter(&w.sides[i], LEDGER_CONNECTIONS, 3));
	EXPECT_EQ(ledger_others(w.sides[0].ledger, w.sides[0].row, LEDGER_CONNECTIONS), 2);
	leave(&w.sides[1], LEDGER_CONNECTIONS);
	EXPECT(enter(&w.sides[0], LEDGER_CONNECTIONS, 3));
	EXPECT(!enter(&w.sides[1], LEDGER_CONNECTIONS, 3));
	EXPECT(enter(&w.sides[1], LEDGER_CONNECTIONS, 4));
}

TEST(connections_and_requests_that_wait_are_counted_apart)
{
	_cleanup_world_ struct world w = given_sides(2);

	EXPECT(enter(&w.sides[0], LEDGER_CONNECTIONS, 1));
	EXPECT(enter(&w.sides[1], LEDGER_PENDING, 1));
	EXPECT(!enter(&w.sides[0], LEDGER_PENDING, 1));
	leave(&w.sides[0], LEDGER_CONNECTIONS);
	EXPECT(!enter(&w.sides[0], LEDGER_PENDING, 1));
	EXPECT(enter(&w.sides[1], LEDGER_CONNECTIONS, 1));
}

TEST(more_than_a_column_has_room_for_is_counted_by_its_process)
{
	_cleanup_world_ struct world w = given_sides(2);
	struct side *many = &w.sides[0];

	while (many->own[LEDGER_PENDING] < 70000)
		EXPECT(enter(many, LEDGER_PENDING, UINT32_MAX));
	EXPECT(!enter(many, LEDGER_PENDING, 70000));
	EXPECT_EQ(ledger_others(w.sides[1].ledger, w.sides[1].row, LEDGER_PENDING), UINT16_MAX);
	EXPECT_EQ(ledger_others(many->ledger, many->row, LEDGER_PENDING), 0);
	while (many->own[LEDGER_PENDING] > 2)
		leave(many, LEDGER_PENDING);
	EXPECT_EQ(ledger_others(w.sides[1].ledger, w.sides[1].row, LEDGER_PENDING), 2);
}

TEST(what_a_process_had_that_was_killed_comes_back)
{
	_cleanup_world_ struct world w = given_sides(1);
	struct side *side = &w.sides[0];
	const pid_t pid = given_process(&w, 3);
	const uint64_t now_ns = time_now_ns();

	EXPECT_EQ(ledger_others(side->ledger, side->row, LEDGER_CONNECTIONS), 3);
	ledger_sweep(side->ledger, now_ns);
	ledger_sweep(side->ledger, now_ns + LEDGER_DEAD_NS);
	EXPECT_EQ(ledger_others(side->ledger, side->row, LEDGER_CONNECTIONS), 3); /* it lives */
	EXPECT(ledger_is_shared(side->ledger, side->row));
	kill_process(pid);
	ledger_sweep(side->ledger, now_ns);
	ledger_sweep(side->ledger, now_ns + LEDGER_DEAD_NS - 1);
	EXPECT(!enter(side, LEDGER_CONNECTIONS, 3)); /* its connections may not be closed yet */
	ledger_sweep(side->ledger, now_ns + LEDGER_DEAD_NS);
	EXPECT(enter(side, LEDGER_CONNECTIONS, 1));
	EXPECT(!ledger_is_shared(side->ledger, side->row));
}

TEST(the_next_process_takes_back_what_the_last_one_left)
{
	_cleanup_world_ struct world w = given_sides(0);

	for (int i = 0; i < 2 * LEDGER_COLUMNS; i++) /* each leaves a column */
		kill_process(given_process(&w, 2));
	open_side(&w, &w.sides[0]);
	ledger_sweep(w.sides[0].ledger, time_now_ns() + LEDGER_DEAD_NS);
	EXPECT_EQ(ledger_others(w.sides[0].ledger, w.sides[0].row, LEDGER_CONNECTIONS), 0);
	EXPECT(!ledger_is_shared(w.sides[0].ledger, w.sides[0].row));
}

TEST(a_process_that_ends_leaves_nothing)
{
	_cleanup_world_ struct world w = given_sides(2);

	EXPECT(enter(&w.sides[1], LEDGER_CONNECTIONS, 1) && enter(&w.sides[1], LEDGER_PENDING, 1));
	close_side(&w.sides[1]);
	EXPECT(enter(&w.sides[0], LEDGER_CONNECTIONS, 1) && enter(&w.sides[0], LEDGER_PENDING, 1));
	EXPECT(!ledger_is_shared(w.sides[0].ledger, w.sides[0].row));
}

static void *close_one(void *arg)
{
	close_side(arg);
	return NULL;
}

TEST(of_more_processes_than_columns_the_last_waits_for_one)
{
	_cleanup_world_ struct world w = given_sides(LEDGER_COLUMNS);
	struct side more = {};
	pthread_t thread;

	EXPECT_EQ(pthread_create(&thread, NULL, close_one, &w.sides[1]), 0);
	open_side(&w, &more);
	pthread_join(thread, NULL);
	EXPECT(enter(&w.sides[0], LEDGER_CONNECTIONS, 2) && enter(&more, LEDGER_CONNECTIONS, 2));
	EXPECT(!enter(&w.sides[2], LEDGER_CONNECTIONS, 2));
	close_side(&more);
}

/* What each of several does at the same time: it never sees more inside than there may be. */
static int contend(const struct world *w, uint32_t *inside, uint32_t max)
{
	struct side side = {};
	uint32_t entered = 0;

	if (ledger_open(w->path, &side.ledger, NULL) < 0)
		return 2;
	side.row = ledger_get(side.ledger, POOL);
	for (int i = 0; i < 20000; i++) {
		while (side.own[LEDGER_CONNECTIONS] < 2 && enter(&side, LEDGER_CONNECTIONS, max)) {
			entered++;
			if (__atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST) > max)
				return 1;
		}
		while (side.own[LEDGER_CONNECTIONS]) {
			__atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
			leave(&side, LEDGER_CONNECTIONS);
		}
	}
	close_side(&side);
	return entered ? 0 : 3;
}

TEST(processes_at_the_same_time_never_exceed_the_limit)
{
	_cleanup_world_ struct world w = given_sides(0);
	uint32_t *inside = mmap(NULL, sizeof(*inside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[3];
	int status;

	for (size_t i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(contend(&w, inside, 3));
	}
	for (size_t i = 0; i < 3; i++) {
		EXPECT_EQ(waitpid(pids[i], &status, 0), pids[i]);
		EXPECT_EQ(status, 0);
	}
	munmap(inside, sizeof(*inside));
}

TEST(those_that_wait_elsewhere_count_for_as_long_as_they_say_so)
{
	_cleanup_world_ struct world w = given_sides(2);
	struct side *a = &w.sides[0], *b = &w.sides[1];
	const uint64_t now_ns = time_now_ns();

	EXPECT(enter(b, LEDGER_PENDING, 5) && enter(b, LEDGER_PENDING, 5));
	EXPECT_EQ(ledger_others_wait(a->ledger, a->row, now_ns), 0);
	ledger_wait(b->ledger, b->row, now_ns);
	EXPECT_EQ(ledger_others_wait(a->ledger, a->row, now_ns), 2);
	EXPECT_EQ(ledger_others_wait(a->ledger, a->row, now_ns - NSEC_PER_MSEC), 2); /* its clock was read before */
	EXPECT_EQ(ledger_others_wait(b->ledger, b->row, now_ns), 0);
	EXPECT_EQ(ledger_others_wait(a->ledger, a->row, now_ns + LEDGER_WAITS_NS), 0); /* it hangs */
	leave(b, LEDGER_PENDING);
	leave(b, LEDGER_PENDING);
	EXPECT_EQ(ledger_others_wait(a->ledger, a->row, now_ns), 0);
}

TEST(a_pool_is_one_by_its_key_for_as_long_as_somebody_has_it)
{
	_cleanup_world_ struct world w = given_sides(2);
	struct side *a = &w.sides[0], *b = &w.sides[1];

	EXPECT(enter(a, LEDGER_CONNECTIONS, 9));
	ledger_say(a->row, LEDGER_CONNECTIONS, 9);
	EXPECT_EQ(ledger_said(b->row, LEDGER_CONNECTIONS), 9);
	leave(a, LEDGER_CONNECTIONS);
	ledger_put(a->ledger, a->row);
	a->row = ledger_get(a->ledger, "another one");
	EXPECT_EQ(ledger_said(a->row, LEDGER_CONNECTIONS), 0);
	EXPECT(enter(a, LEDGER_CONNECTIONS, 1) && enter(b, LEDGER_CONNECTIONS, 1));
	EXPECT_EQ(ledger_said(b->row, LEDGER_CONNECTIONS), 9);
	leave(b, LEDGER_CONNECTIONS);
	ledger_put(b->ledger, b->row);
	b->row = ledger_get(b->ledger, POOL);
	EXPECT_EQ(ledger_said(b->row, LEDGER_CONNECTIONS), 0); /* it is a new one */
}

TEST(pools_beyond_the_table_are_counted_by_each_process_alone)
{
	_cleanup_world_ struct world w = given_sides(1);
	struct ledger *ledger = w.sides[0].ledger;
	static struct ledger_row *rows[LEDGER_ROWS];
	char key[32];

	for (size_t i = 0; i < LEDGER_ROWS; i++) {
		snprintf(key, sizeof(key), "pool %zu", i);
		rows[i] = ledger_get(ledger, key);
		EXPECT(rows[i]);
	}
	EXPECT_EQ(ledger_alone(ledger), 1);
	EXPECT(ledger_enter(ledger, rows[LEDGER_ROWS - 1], LEDGER_CONNECTIONS, 0, 1));
	EXPECT(!ledger_enter(ledger, rows[LEDGER_ROWS - 1], LEDGER_CONNECTIONS, 1, 1));
	for (size_t i = 0; i < LEDGER_ROWS; i++)
		ledger_put(ledger, rows[i]);
	rows[0] = ledger_get(ledger, "pool 1"); /* there is room again */
	open_side(&w, &w.sides[1]);
	rows[1] = ledger_get(w.sides[1].ledger, "pool 1");
	EXPECT(ledger_enter(ledger, rows[0], LEDGER_CONNECTIONS, 0, 1));
	EXPECT(!ledger_enter(w.sides[1].ledger, rows[1], LEDGER_CONNECTIONS, 0, 1));
	ledger_put(ledger, rows[0]);
	ledger_put(w.sides[1].ledger, rows[1]);
}

TEST(without_a_file_nobody_else_counts)
{
	struct side side = {};

	EXPECT_OK(ledger_open(NULL, &side.ledger, NULL));
	side.row = ledger_get(side.ledger, POOL);
	EXPECT_EQ(ledger_alone(side.ledger), 1);
	EXPECT(enter(&side, LEDGER_CONNECTIONS, 1));
	EXPECT(!enter(&side, LEDGER_CONNECTIONS, 1));
	ledger_sweep(side.ledger, time_now_ns());
	EXPECT(!ledger_is_shared(side.ledger, side.row));
	leave(&side, LEDGER_CONNECTIONS);
	EXPECT(enter(&side, LEDGER_CONNECTIONS, 1));
	close_side(&side);
}

TEST(a_file_that_is_something_else_is_refused_and_not_touched)
{
	_cleanup_world_ struct world w = given_sides(0);
	_cleanup_close_ int fd = open(w.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct ledger *ledger = NULL;
	struct error err = {};
	char text[8] = "";

	EXPECT_EQ(write(fd, "theirs", 6), 6);
	EXPECT_EQ(ledger_open(w.path, &ledger, &err), -EPROTO);
	EXPECT(strstr(err.message, w.path));
	EXPECT(!ledger);
	EXPECT_EQ(pread(fd, text, sizeof(text), 0), 6);
	EXPECT_STR(text, "theirs");
	EXPECT_EQ(ledger_open("/nowhere/pools", &ledger, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_holds_for_all_processes_together),
		cmocka_unit_test(connections_and_requests_that_wait_are_counted_apart),
		cmocka_unit_test(more_than_a_column_has_room_for_is_counted_by_its_process),
		cmocka_unit_test(what_a_process_had_that_was_killed_comes_back),
		cmocka_unit_test(the_next_process_takes_back_what_the_last_one_left),
		cmocka_unit_test(a_process_that_ends_leaves_nothing),
		cmocka_unit_test(of_more_processes_than_columns_the_last_waits_for_one),
		cmocka_unit_test(processes_at_the_same_time_never_exceed_the_limit),
		cmocka_unit_test(those_that_wait_elsewhere_count_for_as_long_as_they_say_so),
		cmocka_unit_test(a_pool_is_one_by_its_key_for_as_long_as_somebody_has_it),
		cmocka_unit_test(pools_beyond_the_table_are_counted_by_each_process_alone),
		cmocka_unit_test(without_a_file_nobody_else_counts),
		cmocka_unit_test(a_file_that_is_something_else_is_refused_and_not_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
