/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/loop/loop.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"
#include "tests/unit/clock.h"

static struct loop *given_loop(void)
{
	struct loop *loop = NULL;

	EXPECT_OK(loop_new(&loop));
	return loop;
}

static void turns(struct loop *loop, int count)
{
	while (count-- > 0)
		EXPECT_OK(loop_turn(loop, 0));
}

/* ---- io ---- */

struct pipe_pair {
	int fds[2];
	struct loop_io *io, *other;
	int calls;
	uint32_t events;
};

static void given_pair(struct pipe_pair *p)
{
	*p = (struct pipe_pair){};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fds), 0);
}

static void pair_done(struct pipe_pair *p)
{
	fd_close(p->fds[0]);
	fd_close(p->fds[1]);
}

static void count_events(struct loop_io *io, uint32_t events, void *arg)
{
	struct pipe_pair *p = arg;

	EXPECT(io == p->io || io == p->other);
	p->calls++;
	p->events |= events;
}

TEST(io_is_called_with_the_events_it_asked_for)
{
	struct loop *loop = given_loop();
	struct pipe_pair p;

	given_pair(&p);
	EXPECT_OK(loop_io_add(loop, p.fds[0], EPOLLIN, count_events, &p, &p.io));
	turns(loop, 2);
	EXPECT_EQ(p.calls, 0); /* writable, but nobody asked */

	assert_int_equal(write(p.fds[1], "x", 1), 1);
	turns(loop, 1);
	EXPECT_EQ(p.calls, 1);
	EXPECT_EQ(p.events, EPOLLIN);

	EXPECT_OK(loop_io_events(p.io, EPOLLOUT));
	p.events = 0;
	turns(loop, 1);
	EXPECT_EQ(p.events, EPOLLOUT);

	p.io = loop_io_remove(p.io);
	EXPECT(p.io == NULL);
	p.calls = 0;
	turns(loop, 2);
	EXPECT_EQ(p.calls, 0);
	pair_done(&p);
	loop_free(loop);
}

static void remove_both(struct loop_io *io, uint32_t events, void *arg)
{
	struct pipe_pair *p = arg;

	(void)io;
	(void)events;
	p->calls++;
	p->io = loop_io_remove(p->io);
	p->other = loop_io_remove(p->other);
}

TEST(an_io_removed_in_the_same_turn_is_not_called_any_more)
{
	struct loop *loop = given_loop();
	struct pipe_pair p;

	given_pair(&p);
	EXPECT_OK(loop_io_add(loop, p.fds[0], EPOLLOUT, remove_both, &p, &p.io));
	EXPECT_OK(loop_io_add(loop, p.fds[1], EPOLLOUT, remove_both, &p, &p.other));
	turns(loop, 2);
	EXPECT_EQ(p.calls, 1); /* whichever came first removed itself and the other */
	pair_done(&p);
	loop_free(loop);
}

TEST(adding_a_descriptor_twice_or_a_regular_file_is_an_error)
{
	struct loop *loop = given_loop();
	struct loop_io *again;
	struct pipe_pair p;
	FILE *file = tmpfile();

	given_pair(&p);
	EXPECT_OK(loop_io_add(loop, p.fds[0], EPOLLIN, count_events, &p, &p.io));
	EXPECT_EQ(loop_io_add(loop, p.fds[0], EPOLLIN, count_events, &p, &again), -EEXIST);
	EXPECT_EQ(loop_io_add(loop, fileno(file), EPOLLIN, count_events, &p, &again), -EPERM);
	fclose(file);
	loop_free(loop); /* with an io that is still there */
	pair_done(&p);
}

/* ---- timers ---- */

#define ORDER_MAX 20000
struct order {
	size_t count;
	struct loop_timer *timers[ORDER_MAX];
};

static void note_order(struct loop_timer *timer, void *arg)
{
	struct order *o = arg;

	o->timers[o->count++] = timer;
}

TEST(timers_fire_in_the_order_of_their_times_and_equal_ones_as_they_were_armed)
{
	struct loop *loop = given_loop();
	const uint64_t now_ns = loop_now_ns(loop);
	struct loop_timer *timers[4];
	struct order o = {};

	for (int i = 0; i < 4; i++)
		EXPECT_OK(loop_timer_new(loop, note_order, &o, &timers[i]));
	loop_timer_arm(timers[0], now_ns + 20 * NSEC_PER_SEC);
	loop_timer_arm(timers[1], now_ns + 10 * NSEC_PER_SEC);
	loop_timer_arm(timers[2], now_ns + 20 * NSEC_PER_SEC);
	loop_timer_arm(timers[3], now_ns + 40 * NSEC_PER_SEC);

	turns(loop, 1);
	EXPECT_EQ(o.count, 0);
	clock_skip(20 * NSEC_PER_SEC);
	turns(loop, 2);
	EXPECT_EQ(o.count, 3); /* one shot each */
	EXPECT(o.timers[0] == timers[1] && o.timers[1] == timers[0] && o.timers[2] == timers[2]);

	loop_timer_disarm(timers[3]);
	loop_timer_disarm(timers[3]);
	clock_skip(60 * NSEC_PER_SEC);
	turns(loop, 1);
	EXPECT_EQ(o.count, 3);
	for (int i = 0; i < 4; i++)
		timers[i] = loop_timer_free(timers[i]);
	loop_free(loop);
}

TEST(many_timers_armed_moved_and_freed_at_random_fire_sorted_and_once)
{
	struct loop *loop = given_loop();
	const uint64_t now_ns = loop_now_ns(loop);
	static struct loop_timer *timers[ORDER_MAX];
	static uint64_t at_ns[ORDER_MAX];
	static struct order o;
	size_t expected = 0;

	srandom(7);
	o.count = 0;
	for (int i = 0; i < ORDER_MAX; i++) {
		EXPECT_OK(loop_timer_new(loop, note_order, &o, &timers[i]));
		loop_timer_arm(timers[i], now_ns + (uint64_t)random() % NSEC_PER_SEC);
	}
	for (int i = 0; i < ORDER_MAX; i++) {
		switch (random() % 4) {
		case 0:
			timers[i] = loop_timer_free(timers[i]);
			break;
		case 1:
			loop_timer_disarm(timers[i]);
			at_ns[i] = 0;
			break;
		default:
			at_ns[i] = now_ns + 1 + (uint64_t)random() % NSEC_PER_SEC;
			loop_timer_arm(timers[i], at_ns[i]);
			expected++;
		}
	}
	clock_skip(2 * NSEC_PER_SEC);
	turns(loop, 1);
	EXPECT_EQ(o.count, expected);
	for (size_t fired = 0, last = 0; fired < o.count; fired++) {
		size_t i = 0;

		while (timers[i] != o.timers[fired])
			i++;
		EXPECT(at_ns[i] != 0 && at_ns[i] >= last);
		last = at_ns[i];
		at_ns[i] = 0; /* a second time would fail */
		timers[i] = loop_timer_free(timers[i]); /* and makes the search short */
		if (fired == 500)
			break; /* the search is quadratic; these are enough to see an order */
	}
	loop_free(loop); /* with the timers that are left */
}

struct rearm {
	struct loop *loop;
	int calls;
};

static void rearm_in_the_past(struct loop_timer *timer, void *arg)
{
	struct rearm *r = arg;

	r->calls++;
	loop_timer_arm(timer, 0);
}

TEST(a_timer_armed_in_the_past_by_its_own_callback_fires_once_a_turn)
{
	struct loop *loop = given_loop();
	struct rearm r = { .loop = loop };
	struct loop_timer *timer;

	EXPECT_OK(loop_timer_new(loop, rearm_in_the_past, &r, &timer));
	loop_timer_arm(timer, 0);
	turns(loop, 5);
	EXPECT_EQ(r.calls, 5);
	loop_free(loop);
}

static void free_timer(struct loop_timer *timer, void *arg)
{
	loop_timer_free(timer);
	*(int *)arg += 1;
}

TEST(a_timer_may_free_itself)
{
	struct loop *loop = given_loop();
	struct loop_timer *timer;
	int calls = 0;

	EXPECT_OK(loop_timer_new(loop, free_timer, &calls, &timer));
	loop_timer_arm(timer, 0);
	turns(loop, 2);
	EXPECT_EQ(calls, 1);
	loop_free(loop);
}

static void stop_seven(struct loop_timer *timer, void *arg)
{
	(void)timer;
	loop_stop(arg, 7);
}

TEST(run_wakes_for_a_timer_and_returns_what_stop_was_given)
{
	struct loop *loop = given_loop();
	const uint64_t begin_ns = time_now_ns();
	struct loop_timer *timer;

	EXPECT_OK(loop_timer_new(loop, stop_seven, loop, &timer));
	loop_timer_arm(timer, begin_ns + 20 * NSEC_PER_MSEC);
	EXPECT_EQ(loop_run(loop), 7);
	EXPECT(time_now_ns() - begin_ns >= 20 * NSEC_PER_MSEC);
	EXPECT(loop_now_ns(loop) >= begin_ns + 20 * NSEC_PER_MSEC);

	loop_stop(loop, 3); /* before it runs */
	EXPECT_EQ(loop_run(loop), 3);
	loop_free(loop);
}

/* ---- signals ---- */

static void note_signal(int signal, void *arg)
{
	*(int *)arg = signal;
}

TEST(a_signal_arrives_in_the_loop_and_not_in_the_process)
{
	struct loop *loop = given_loop();
	int got = 0, got_other = 0;

	EXPECT_OK(loop_signal_add(loop, SIGUSR1, note_signal, &got));
	EXPECT_OK(loop_signal_add(loop, SIGUSR2, note_signal, &got_other));
	EXPECT_EQ(loop_signal_add(loop, SIGUSR1, note_signal, &got), -EEXIST);
	EXPECT_EQ(loop_signal_add(loop, SIGKILL, note_signal, &got), -EINVAL);
	EXPECT_EQ(loop_signal_add(loop, 1000, note_signal, &got), -EINVAL);
	kill(getpid(), SIGUSR1); /* unblocked it would end the test */
	kill(getpid(), SIGUSR2);
	turns(loop, 1);
	EXPECT_EQ(got, SIGUSR1);
	EXPECT_EQ(got_other, SIGUSR2);
	loop_free(loop);
}

/* ---- posts, offload ---- */

#define POSTS 10000
struct sequence {
	struct loop *loop;
	struct offload *offload;
	pthread_t loop_thread;
	atomic_int worked; /* by the offload thread */
	int done;
	bool in_order;
};
struct step {
	struct sequence *sequence;
	int number;
};

static void take_step(void *arg)
{
	struct step *step = arg;
	struct sequence *s = step->sequence;

	s->in_order &= step->number == s->done && pthread_equal(pthread_self(), s->loop_thread);
	if (++s->done == POSTS)
		loop_stop(s->loop, 0);
}

static struct step steps[POSTS];

static void given_steps(struct sequence *s, struct loop *loop)
{
	*s = (struct sequence){ .loop = loop, .loop_thread = pthread_self(), .in_order = true };
	for (int i = 0; i < POSTS; i++)
		steps[i] = (struct step){ s, i };
}

static void *post_all(void *arg)
{
	struct sequence *s = arg;

	for (int i = 0; i < POSTS; i++)
		if (loop_post(s->loop, take_step, &steps[i]) < 0)
			abort();
	return NULL;
}

TEST(posts_from_another_thread_run_in_order_on_the_loops_thread)
{
	struct loop *loop = given_loop();
	struct sequence s;
	pthread_t thread;

	given_steps(&s, loop);
	EXPECT_EQ(pthread_create(&thread, NULL, post_all, &s), 0);
	EXPECT_OK(loop_run(loop));
	pthread_join(thread, NULL);
	EXPECT_EQ(s.done, POSTS);
	EXPECT(s.in_order);
	loop_free(loop);
}

static void post_again(void *arg)
{
	struct rearm *r = arg;

	r->calls++;
	EXPECT_OK(loop_post(r->loop, post_again, r));
}

TEST(a_post_that_posts_itself_does_not_starve_the_turn)
{
	struct loop *loop = given_loop();
	struct rearm r = { .loop = loop };

	EXPECT_OK(loop_post(loop, post_again, &r));
	turns(loop, 3);
	EXPECT_EQ(r.calls, 3);
	loop_free(loop); /* drops the fourth */
}

static void work_step(void *arg)
{
	struct step *step = arg;
	struct sequence *s = step->sequence;

	if (pthread_equal(pthread_self(), s->loop_thread) || atomic_fetch_add(&s->worked, 1) != step->number)
		abort();
}

TEST(offloaded_work_runs_in_order_on_its_own_thread_and_is_done_on_the_loops)
{
	struct loop *loop = given_loop();
	struct sequence s;

	given_steps(&s, loop);
	EXPECT_OK(offload_new(loop, "test-offload", &s.offload));
	for (int i = 0; i < POSTS; i++)
		EXPECT_OK(offload_submit(s.offload, work_step, take_step, &steps[i]));
	EXPECT_OK(loop_run(loop));
	EXPECT_EQ(s.done, POSTS);
	EXPECT(s.in_order);
	offload_free(s.offload);
	loop_free(loop);
}

TEST(freeing_the_offload_waits_for_its_work_whose_ends_are_posted)
{
	struct loop *loop = given_loop();
	struct sequence s;

	given_steps(&s, loop);
	EXPECT_OK(offload_new(loop, "a name that is longer than a thread's can be", &s.offload));
	for (int i = 0; i < 100; i++)
		EXPECT_OK(offload_submit(s.offload, work_step, i < 50 ? take_step : NULL, &steps[i]));
	s.offload = offload_free(s.offload);
	EXPECT_EQ(s.worked, 100);
	EXPECT_EQ(s.done, 0);
	turns(loop, 1);
	EXPECT_EQ(s.done, 50);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(io_is_called_with_the_events_it_asked_for),
		cmocka_unit_test(an_io_removed_in_the_same_turn_is_not_called_any_more),
		cmocka_unit_test(adding_a_descriptor_twice_or_a_regular_file_is_an_error),
		cmocka_unit_test(timers_fire_in_the_order_of_their_times_and_equal_ones_as_they_were_armed),
		cmocka_unit_test(many_timers_armed_moved_and_freed_at_random_fire_sorted_and_once),
		cmocka_unit_test(a_timer_armed_in_the_past_by_its_own_callback_fires_once_a_turn),
		cmocka_unit_test(a_timer_may_free_itself),
		cmocka_unit_test(run_wakes_for_a_timer_and_returns_what_stop_was_given),
		cmocka_unit_test(a_signal_arrives_in_the_loop_and_not_in_the_process),
		cmocka_unit_test(posts_from_another_thread_run_in_order_on_the_loops_thread),
		cmocka_unit_test(a_post_that_posts_itself_does_not_starve_the_turn),
		cmocka_unit_test(offloaded_work_runs_in_order_on_its_own_thread_and_is_done_on_the_loops),
		cmocka_unit_test(freeing_the_offload_waits_for_its_work_whose_ends_are_posted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
