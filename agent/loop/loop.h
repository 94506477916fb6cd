/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of a thread: epoll, timers, signals, posts from other threads; and the offload thread, for the few calls
 * that block in the kernel or on disk (membarrier, iterators, setns, fsync). All calls but loop_post() belong to the
 * loop's own thread. Callbacks may add and remove anything, also themselves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_io;
struct loop_timer;

int loop_new(struct loop **ret_loop); /* 0 or -errno */
struct loop *loop_free(struct loop *loop); /* everything still registered is dropped; NULL is fine */
/* Runs until loop_stop(); returns what that was given, or -errno of epoll. */
int loop_run(struct loop *loop);
/* The turn at hand is finished first. Before loop_run(): that returns at once. */
void loop_stop(struct loop *loop, int result);
/* One turn: waits at most `wait_ns` for something to happen, runs what is due, returns 0 or -errno. For tests, and for taking
 * up the last posts at the end. Not from a callback. */
int loop_turn(struct loop *loop, uint64_t wait_ns);
/* CLOCK_MONOTONIC at the start of this turn. */
uint64_t loop_now_ns(const struct loop *loop);

/* `events` are EPOLLIN, EPOLLOUT, EPOLLET…; EPOLLERR and EPOLLHUP always come. `fd` stays the caller's, who removes the io
 * before closing it. */
typedef void loop_io_fn(struct loop_io *io, uint32_t events, void *arg);
int loop_io_add(struct loop *loop, int fd, uint32_t events, loop_io_fn *fn, void *arg, struct loop_io **ret_io);
int loop_io_events(struct loop_io *io, uint32_t events);
struct loop_io *loop_io_remove(struct loop_io *io); /* no callback after this; NULL is fine */

/* One shot; arm again from the callback for a period. Timers run in the order of their time, equal ones as they were armed. */
typedef void loop_timer_fn(struct loop_timer *timer, void *arg);
int loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *arg, struct loop_timer **ret_timer);
void loop_timer_arm(struct loop_timer *timer, uint64_t at_ns); /* absolute; in the past: next turn */
void loop_timer_disarm(struct loop_timer *timer);
struct loop_timer *loop_timer_free(struct loop_timer *timer);

/* Blocks the signal in this thread (call before other threads start) and delivers it here; it stays blocked after
 * loop_free(), and in children until they reset their mask. */
typedef void loop_signal_fn(int signal, void *arg);
int loop_signal_add(struct loop *loop, int signal, loop_signal_fn *fn, void *arg);

/* From any thread: runs `fn` on the loop's thread, in order of posting. 0 or -ENOMEM. */
typedef void loop_post_fn(void *arg);
int loop_post(struct loop *loop, loop_post_fn *fn, void *arg);

/* One thread that runs closures in order, and posts `done` back to the loop. */
struct offload;
typedef void offload_fn(void *arg);
int offload_new(struct loop *loop, const char *thread_name, struct offload **ret_offload);
/* Waits for what was submitted; its `done` callbacks have been posted but may not have run. */
struct offload *offload_free(struct offload *offload);
/* `work` runs on the offload thread, then `done` (may be NULL) on the loop's. 0 or -ENOMEM. */
int offload_submit(struct offload *offload, offload_fn *work, loop_post_fn *done, void *arg);
