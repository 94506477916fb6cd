/* SPDX-License-Identifier: Apache-2.0 */
#include "base/in_order.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/thread.h"

#define THREADS_MAX 4
#define BATCH 16 /* items that a thread works at before it looks for more */
#define BATCHES_AHEAD (IN_ORDER_AHEAD / BATCH)
#define THREAD_ITEMS 256 /* below that another thread is not worth its start */

struct run {
	const struct in_order *job;
	size_t count, batches;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t room, worked;
	size_t next, taken; /* batches: the first that nobody works at, and the first that is not taken */
	bool done[BATCHES_AHEAD]; /* the work at a batch from `taken` on, modulo their number */
	bool over;
};

static size_t batch_end(const struct run *run, size_t batch)
{
	return MIN((batch + 1) * BATCH, run->count);
}

static bool has_room(const struct run *run)
{
	return run->next < run->batches && run->next - run->taken < BATCHES_AHEAD;
}

/* With the lock, which it gives up meanwhile. There is room. */
static void work_at_next(struct run *run)
{
	const size_t batch = run->next++;

	pthread_mutex_unlock(&run->lock);
	for (size_t i = batch * BATCH; i < batch_end(run, batch); i++)
		run->job->work(i, run->job->arg);
	pthread_mutex_lock(&run->lock);
	run->done[batch % BATCHES_AHEAD] = true;
	pthread_cond_signal(&run->worked);
}

static void *work(void *arg)
{
	struct run *run = arg;

	pthread_mutex_lock(&run->lock);
	while (!run->over && run->next < run->batches) {
		if (has_room(run))
			work_at_next(run);
		else
			pthread_cond_wait(&run->room, &run->lock);
	}
	pthread_mutex_unlock(&run->lock);
	return NULL;
}

static int take(const struct run *run, size_t batch)
{
	int r = 0;

	for (size_t i = batch * BATCH; r >= 0 && i < batch_end(run, batch); i++)
		r = run->job->take(i, run->job->arg);
	return r;
}

/* The caller's part: what can be taken comes first, then it works as well. */
static int take_all(struct run *run)
{
	int r = 0;

	pthread_mutex_lock(&run->lock);
	while (r >= 0 && run->taken < run->batches) {
		bool *done = &run->done[run->taken % BATCHES_AHEAD];

		if (*done) {
			*done = false;
			pthread_mutex_unlock(&run->lock);
			r = take(run, run->taken); /* which nobody else changes */
			pthread_mutex_lock(&run->lock);
			run->taken++;
			pthread_cond_signal(&run->room);
		} else if (has_room(run)) {
			work_at_next(run);
		} else {
			pthread_cond_wait(&run->worked, &run->lock);
		}
	}
	run->over = true;
	pthread_cond_broadcast(&run->room);
	pthread_mutex_unlock(&run->lock);
	return MIN(r, 0);
}

static size_t threads_for(size_t count)
{
	cpu_set_t cpus;
	const size_t usable = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (size_t)CPU_COUNT(&cpus) : 1;

	return MIN(MIN(usable, count / THREAD_ITEMS), THREADS_MAX);
}

int in_order_run(const struct in_order *job, size_t count)
{
	struct run run = { .job = job, .count = count, .batches = (count + BATCH - 1) / BATCH, .lock = PTHREAD_MUTEX_INITIALIZER,
			   .room = PTHREAD_COND_INITIALIZER, .worked = PTHREAD_COND_INITIALIZER };
	const size_t wanted = threads_for(count);
	pthread_t threads[THREADS_MAX];
	size_t others = 0;
	int r;

	while (others + 1 < wanted && thread_start(&threads[others], NULL, NULL, work, &run) == 0)
		others++;
	r = take_all(&run);
	while (others > 0)
		pthread_join(threads[--others], NULL);
	return r;
}
