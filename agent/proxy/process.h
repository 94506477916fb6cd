/* SPDX-License-Identifier: Apache-2.0 */
/* A process that is watched by its pidfd: a child, or somebody else's. It goes on when the watch is freed. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/loop/loop.h"
#include "base/error.h"

struct process {
	pid_t pid;
	int pidfd;
	bool child;
	uint64_t since_ns; /* when it was started, or first seen */
	struct loop_io *io;
	void (*ended)(struct process *process, const char *how, void *arg);
	void *arg;
};

/* Both are told of the end once: "killed by signal 9", "exited with status 1", or, of somebody else's, "ended". `ended` frees it. */
typedef void process_ended_fn(struct process *process, const char *how, void *arg);
/* Starts argv[0], a path, in a session of its own, with /dev/null as input, our standard error as output and error, and signals as a
 * new program expects them. argv ends with NULL. `cgroup_fd` is the directory of a cgroup2 that it begins in, -1: in ours, as where the kernel
 * starts nothing in that one. -errno of the start. */
int process_spawn(struct loop *loop, const char *const argv[], int cgroup_fd, process_ended_fn *ended, void *arg,
		  struct process **ret_process, struct error *err);
/* -ESRCH: it is gone. */
int process_adopt(struct loop *loop, pid_t pid, process_ended_fn *ended, void *arg, struct process **ret_process, struct error *err);
int process_signal(const struct process *process, int signal); /* by the pidfd: never another one that has its pid by now */
struct process *process_free(struct process *process); /* NULL is fine */
