/* SPDX-License-Identifier: Apache-2.0 */
#include "base/in_order.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

/* A list of numbers whose squares are taken. */
struct squares {
	uint64_t *found;
	unsigned *worked; /* how often each was */
	size_t taken;
	size_t refused_at; /* of these `take` ends it */
	pthread_t caller;
	bool elsewhere, signals_open;
};

static struct squares squares_of(size_t count)
{
	struct squares s = { .found = calloc(count, sizeof(*s.found)), .worked = calloc(count, sizeof(*s.worked)), .refused_at = SIZE_MAX };

	EXPECT(s.found && s.worked);
	s.caller = pthread_self();
	return s;
}

static void squares_done(struct squares *s)
{
	free(s->found);
	free(s->worked);
}

static void square(size_t index, void *arg)
{
	struct squares *s = arg;
	sigset_t blocked;

	s->found[index] = index * index;
	s->worked[index]++;
	if (pthread_equal(pthread_self(), s->caller))
		return;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (!sigismember(&blocked, SIGTERM))
		__atomic_store_n(&s->signals_open, true, __ATOMIC_RELAXED);
	__atomic_store_n(&s->elsewhere, true, __ATOMIC_RELAXED);
}

static int take_square(size_t index, void *arg)
{
	struct squares *s = arg;

	EXPECT(pthread_equal(pthread_self(), s->caller));
	EXPECT_EQ(index, s->taken);
	EXPECT_EQ(s->worked[index], 1);
	EXPECT_EQ(s->found[index], index * index);
	if (index == s->refused_at)
		return -ECANCELED;
	s->taken++;
	return 0;
}

static int run(struct squares *s, size_t count)
{
	return in_order_run(&(struct in_order){ .work = square, .take = take_square, .arg = s }, count);
}

TEST(every_item_is_worked_at_once_and_taken_in_order)
{
	static const size_t counts[] = { 0, 1, 15, 16, 17, IN_ORDER_AHEAD, IN_ORDER_AHEAD + 1, 511, 512, 513, 10000 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		_cleanup_(squares_done) struct squares s = squares_of(counts[i] + 1);

		EXPECT_OK(run(&s, counts[i]));
		EXPECT_EQ(s.taken, counts[i]);
		EXPECT_EQ(s.worked[counts[i]], 0);
	}
}

TEST(what_take_refuses_ends_it_and_little_behind_has_been_worked_at)
{
	static const size_t places[] = { 0, 1, 16, 300, 9999 };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_(squares_done) struct squares s = squares_of(10000);

		s.refused_at = places[i];
		EXPECT_EQ(run(&s, 10000), -ECANCELED);
		EXPECT_EQ(s.taken, places[i]);
		for (size_t at = places[i] + IN_ORDER_AHEAD + 1; at < 10000; at++)
			EXPECT_EQ(s.worked[at], 0);
	}
}

/* The work at the first item ends after that at one far behind it: another thread's. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t far = PTHREAD_COND_INITIALIZER;
static bool is_far;

static void square_in_company(size_t index, void *arg)
{
	square(index, arg);
	pthread_mutex_lock(&lock);
	if (index == IN_ORDER_AHEAD / 2) {
		is_far = true;
		pthread_cond_broadcast(&far);
	}
	while (index == 0 && !is_far)
		pthread_cond_wait(&far, &lock);
	pthread_mutex_unlock(&lock);
}

TEST(threads_work_ahead_with_signals_blocked)
{
	_cleanup_(squares_done) struct squares s = squares_of(10000);
	cpu_set_t cpus;

	EXPECT_EQ(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	if (CPU_COUNT(&cpus) < 2)
		skip();
	EXPECT_OK(in_order_run(&(struct in_order){ .work = square_in_company, .take = take_square, .arg = &s }, 10000));
	EXPECT_EQ(s.taken, 10000);
	EXPECT(s.elsewhere);
	EXPECT(!s.signals_open);
}

TEST(who_may_use_one_cpu_works_alone)
{
	_cleanup_(squares_done) struct squares s = squares_of(10000);
	cpu_set_t cpus, one;
	int cpu = 0;

	EXPECT_EQ(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	while (!CPU_ISSET(cpu, &cpus))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	EXPECT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	EXPECT_OK(run(&s, 10000));
	EXPECT_EQ(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
	EXPECT_EQ(s.taken, 10000);
	EXPECT(!s.elsewhere);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_is_worked_at_once_and_taken_in_order),
		cmocka_unit_test(what_take_refuses_ends_it_and_little_behind_has_been_worked_at),
		cmocka_unit_test(threads_work_ahead_with_signals_blocked),
		cmocka_unit_test(who_may_use_one_cpu_works_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
