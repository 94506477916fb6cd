/* SPDX-License-Identifier: Apache-2.0 */
/* A turn is: wait, take the time, then io callbacks, timers, posts. What is removed on the way stays allocated to the end of
 * the turn, for its event may be in the batch that epoll has given already. */
#include "agent/loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/loop/post.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/time.h"

#define EVENTS_PER_TURN 64
#define WAIT_FOREVER UINT64_MAX
#define NOT_ARMED SIZE_MAX

struct loop_io {
	struct list node; /* of loop->ios, or of loop->removed */
	struct loop *loop;
	int fd;
	loop_io_fn *fn; /* NULL once removed */
	void *arg;
};

struct loop_timer {
	struct list node;
	struct loop *loop;
	uint64_t at_ns;
	uint64_t sequence; /* of arming: the order among equal times */
	size_t position; /* in the heap, or NOT_ARMED */
	loop_timer_fn *fn;
	void *arg;
};

struct signal_handler {
	loop_signal_fn *fn;
	void *arg;
};

struct loop {
	int epoll_fd;
	uint64_t now_ns;
	bool in_turn;
	bool stopping;
	int result;

	struct list ios, removed;

	struct list timers; /* all of them */
	size_t timer_count;
	struct loop_timer **heap; /* the armed ones; room for all, so that arming cannot fail */
	size_t heap_count, heap_capacity;
	uint64_t sequence;

	int signal_fd; /* -1 until the first signal is added */
	sigset_t signals;
	struct signal_handler handlers[_NSIG];

	int wake_fd; /* eventfd: readable when `posts` got its first element */
	pthread_mutex_t lock; /* guards `posts` */
	struct post_queue posts;
};

static void on_wake(struct loop_io *io, uint32_t events, void *arg)
{
	struct loop *loop = arg;
	uint64_t count;

	(void)io;
	(void)events;
	/* Only resets the counter; the posts run at the end of the turn. Nothing to do about -EAGAIN. */
	if (read(loop->wake_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
}

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct loop_io *wake;
	int r;

	if (!loop)
		return -ENOMEM;
	list_init(&loop->ios);
	list_init(&loop->removed);
	list_init(&loop->timers);
	pthread_mutex_init(&loop->lock, NULL);
	sigemptyset(&loop->signals);
	loop->now_ns = time_now_ns();
	loop->signal_fd = -1;
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = loop->wake_fd < 0 ? -errno : loop_io_add(loop, loop->wake_fd, EPOLLIN, on_wake, loop, &wake);
	if (r < 0) {
		loop_free(loop);
		return r;
	}
	*ret_loop = loop;
	return 0;
}

static void free_removed(struct loop *loop)
{
	list_for_each_safe(it, &loop->removed)
		free(container_of(it, struct loop_io, node));
	list_init(&loop->removed);
}

struct loop *loop_free(struct loop *loop)
{
	struct post *post;

	if (!loop)
		return NULL;
	assert(!loop->in_turn);
	list_for_each_safe(it, &loop->ios)
		loop_io_remove(container_of(it, struct loop_io, node));
	free_removed(loop);
	list_for_each_safe(it, &loop->timers)
		free(container_of(it, struct loop_timer, node));
	free(loop->heap);
	while ((post = post_queue_take(&loop->posts)))
		free(post);
	fd_close(loop->signal_fd);
	fd_close(loop->wake_fd);
	fd_close(loop->epoll_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
	return NULL;
}

uint64_t loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

void loop_stop(struct loop *loop, int result)
{
	loop->stopping = true;
	loop->result = result;
}

/* ---- io ---- */

int loop_io_add(struct loop *loop, int fd, uint32_t events, loop_io_fn *fn, void *arg, struct loop_io **ret_io)
{
	struct loop_io *io = malloc(sizeof(*io));
	struct epoll_event event = { .events = events, .data.ptr = io };

	if (!io)
		return -ENOMEM;
	*io = (struct loop_io){ .loop = loop, .fd = fd, .fn = fn, .arg = arg };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		int r = -errno;

		free(io);
		return r;
	}
	list_append(&loop->ios, &io->node);
	*ret_io = io;
	return 0;
}

int loop_io_events(struct loop_io *io, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = io };

	return epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &event) < 0 ? -errno : 0;
}

struct loop_io *loop_io_remove(struct loop_io *io)
{
	if (!io)
		return NULL;
	assert(io->fn);
	epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	io->fn = NULL;
	list_remove(&io->node);
	list_append(&io->loop->removed, &io->node);
	return NULL;
}

/* ---- timers: a binary heap, earliest first ---- */

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void heap_place(struct loop *loop, size_t position, struct loop_timer *timer)
{
	loop->heap[position] = timer;
	timer->position = position;
}

/* Puts `timer` where it belongs, starting from the free place `i`. */
static void heap_settle(struct loop *loop, size_t i, struct loop_timer *timer)
{
	while (i > 0 && timer_before(timer, loop->heap[(i - 1) / 2])) {
		heap_place(loop, i, loop->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < loop->heap_count && timer_before(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (child >= loop->heap_count || !timer_before(loop->heap[child], timer))
			break;
		heap_place(loop, i, loop->heap[child]);
		i = child;
	}
	heap_place(loop, i, timer);
}

int loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *arg, struct loop_timer **ret_timer)
{
	struct loop_timer *timer;

	if (loop->timer_count == loop->heap_capacity) {
		size_t capacity = loop->heap_capacity ? 2 * loop->heap_capacity : 16;
		struct loop_timer **heap = reallocarray(loop->heap, capacity, sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		loop->heap = heap;
		loop->heap_capacity = capacity;
	}
	timer = malloc(sizeof(*timer));
	if (!timer)
		return -ENOMEM;
	*timer = (struct loop_timer){ .loop = loop, .position = NOT_ARMED, .fn = fn, .arg = arg };
	list_append(&loop->timers, &timer->node);
	loop->timer_count++;
	*ret_timer = timer;
	return 0;
}

void loop_timer_arm(struct loop_timer *timer, uint64_t at_ns)
{
	struct loop *loop = timer->loop;

	loop_timer_disarm(timer);
	/* Later than this turn, so that a callback that arms itself in the past does not keep the others waiting. */
	timer->at_ns = MAX(at_ns, loop->now_ns + 1);
	timer->sequence = loop->sequence++;
	heap_settle(loop, loop->heap_count++, timer);
}

void loop_timer_disarm(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	size_t position = timer->position;
	struct loop_timer *last;

	if (position == NOT_ARMED)
		return;
	timer->position = NOT_ARMED;
	last = loop->heap[--loop->heap_count];
	if (last != timer)
		heap_settle(loop, position, last);
}

struct loop_timer *loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return NULL;
	loop_timer_disarm(timer);
	list_remove(&timer->node);
	timer->loop->timer_count--;
	free(timer);
	return NULL;
}

static void run_timers(struct loop *loop)
{
	while (loop->heap_count > 0 && loop->heap[0]->at_ns <= loop->now_ns) {
		struct loop_timer *timer = loop->heap[0];

		loop_timer_disarm(timer);
		timer->fn(timer, timer->arg); /* may free it */
	}
}

/* ---- signals ---- */

static void on_signal(struct loop_io *io, uint32_t events, void *arg)
{
	struct loop *loop = arg;
	struct signalfd_siginfo info;

	(void)io;
	(void)events;
	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		const struct signal_handler *handler = &loop->handlers[info.ssi_signo];

		handler->fn((int)info.ssi_signo, handler->arg);
	}
}

int loop_signal_add(struct loop *loop, int signal, loop_signal_fn *fn, void *arg)
{
	sigset_t signals = loop->signals, one;
	struct loop_io *io;
	int fd, r;

	sigemptyset(&one);
	if (sigaddset(&one, signal) < 0 || signal == SIGKILL || signal == SIGSTOP)
		return -EINVAL;
	if (loop->handlers[signal].fn)
		return -EEXIST;
	sigaddset(&signals, signal);
	fd = signalfd(loop->signal_fd, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (loop->signal_fd < 0) {
		r = loop_io_add(loop, fd, EPOLLIN, on_signal, loop, &io);
		if (r < 0) {
			fd_close(fd);
			return r;
		}
		loop->signal_fd = fd;
	}
	loop->signals = signals;
	loop->handlers[signal] = (struct signal_handler){ .fn = fn, .arg = arg };
	pthread_sigmask(SIG_BLOCK, &one, NULL); /* fails only for a wrong `how` */
	return 0;
}

/* ---- posts ---- */

void loop_post_allocated(struct loop *loop, struct post *post)
{
	const uint64_t one = 1;
	bool first;

	pthread_mutex_lock(&loop->lock);
	first = !loop->posts.head;
	post_queue_add(&loop->posts, post);
	/* Under the lock: once it is released the loop may run the post, and with it end. The counter cannot overflow. */
	if (first && write(loop->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	pthread_mutex_unlock(&loop->lock);
}

int loop_post(struct loop *loop, loop_post_fn *fn, void *arg)
{
	struct post *post = malloc(sizeof(*post));

	if (!post)
		return -ENOMEM;
	*post = (struct post){ .fn = fn, .arg = arg };
	loop_post_allocated(loop, post);
	return 0;
}

static void run_posts(struct loop *loop)
{
	struct post_queue posts;
	struct post *post;

	/* What they post themselves waits for the next turn: io and timers come first. */
	pthread_mutex_lock(&loop->lock);
	posts = loop->posts;
	loop->posts = (struct post_queue){};
	pthread_mutex_unlock(&loop->lock);
	while ((post = post_queue_take(&posts))) {
		post->fn(post->arg);
		free(post);
	}
}

/* ---- turns ---- */

static int wait_for_events(struct loop *loop, struct epoll_event *events, uint64_t wait_ns)
{
	struct timespec timeout;
	int n;

	if (loop->heap_count > 0) {
		uint64_t now_ns = time_now_ns(), at_ns = loop->heap[0]->at_ns;

		wait_ns = MIN(wait_ns, at_ns > now_ns ? at_ns - now_ns : 0);
	}
	timeout = (struct timespec){ .tv_sec = (time_t)(wait_ns / NSEC_PER_SEC), .tv_nsec = (long)(wait_ns % NSEC_PER_SEC) };
	n = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_TURN, wait_ns == WAIT_FOREVER ? NULL : &timeout, NULL);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n;
}

int loop_turn(struct loop *loop, uint64_t wait_ns)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int n;

	assert(!loop->in_turn);
	n = wait_for_events(loop, events, wait_ns);
	if (n < 0)
		return n;
	loop->in_turn = true;
	loop->now_ns = time_now_ns();
	for (int i = 0; i < n; i++) {
		struct loop_io *io = events[i].data.ptr;

		if (io->fn)
			io->fn(io, events[i].events, io->arg);
	}
	run_timers(loop);
	run_posts(loop);
	free_removed(loop);
	loop->in_turn = false;
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!loop->stopping) {
		int r = loop_turn(loop, WAIT_FOREVER);

		if (r < 0)
			return r;
	}
	loop->stopping = false;
	return loop->result;
}
