/* SPDX-License-Identifier: Apache-2.0 */
/* A process of a workload, and its rights over files, taken on by the calling thread for a while. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct process {
	int proc_fd; /* /proc/PID, of this very process as long as it lives */
	uid_t uid; /* by which it opens files, as the next two */
	gid_t gid;
	gid_t *groups;
	size_t group_count;
	uint64_t capabilities; /* effective, where it is in our user namespace; else it has none that count here */
};

/* -ESRCH: it has ended. */
int process_read(int pidfd, struct process *ret_process, struct error *err);
void process_done(struct process *process);
/* Whether it has not ended. What was read in /proc by its id before this is true is about it. */
bool process_lives(int pidfd);

struct process_rights { /* what the thread had */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t group_count;
	uint64_t capabilities;
	bool changed;
};
/* From here on the thread opens files as the process does; process_leave() follows, also on failure. -EPERM: this process may not. */
int process_become(const struct process *process, struct process_rights *ret_before);
void process_leave(struct process_rights *before);
