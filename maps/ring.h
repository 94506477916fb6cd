/* SPDX-License-Identifier: Apache-2.0 */
/* The reading end of a ring buffer (https://docs.kernel.org/bpf/ringbuf.html). libbpf's has all of it in the process's memory, twice, and
 * mmap() makes what it maps resident at once: this one maps what is unread, a window at a time, and lets go of it. One reader of a
 * ring at a time, in one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ring;

/* Borrows `map_fd`, which can be polled (EPOLLIN) for what the kernel wakes readers for. Goes on where the last reader stopped. 0 or -errno. */
int ring_new(int map_fd, struct ring **ret_ring);
struct ring *ring_free(struct ring *ring); /* NULL is fine */

/* All that is there, in order: 0, or -errno where it cannot be mapped. The record is borrowed for the call. */
typedef void ring_fn(const void *record, size_t bytes, void *arg);
int ring_read(struct ring *ring, ring_fn *fn, void *arg);
