/* SPDX-License-Identifier: Apache-2.0 */
/* One look at whom the processes of a workload ask: the resolv.conf in each file system that they see. Blocks, for the files belong to
 * workloads: all of this runs on the offload thread. A file system that hangs (NFS, FUSE) holds up the looks at others, and nothing else.
 * Internal to agent/dns. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/dns/resolv_watch.h"

#define LOOK_FILE_SYSTEMS_MAX 8
#define LOOK_PROCESSES_MAX 4096 /* two stat(2) each: 10 to 100 ms */

/* Something that may change what was found: an event of this inotify watch, where `name` is given about this name in it. */
struct resolv_hint {
	int wd;
	char *name; /* NULL: any event */
};

struct resolv_hints {
	struct resolv_hint *list;
	size_t count;
};
void resolv_hints_done(struct resolv_hints *hints); /* leaves the inotify watches; NULL members are fine */

struct resolv_look {
	/* asked */
	char cgroup[PATH_MAX]; /* absolute */
	uint64_t netns_inode; /* 0: any */
	bool stand_in; /* where no process counts, process 1 does, or else this one, if it is in that namespace */
	int inotify_fd;

	/* found */
	bool any; /* some process counted */
	bool stood_in; /* and it was none of the workload's */
	struct resolv_found found; /* only then */
	struct resolv_hints hints; /* each wd may be there several times */
	size_t unwatched; /* what inotify had no watch for */
};

/* 0, or an -errno that says nothing about the files (out of descriptors, memory…): what was found before is still the best answer. A
 * file that is missing, or is no file, is an empty one. What is "found" is zero before; the caller calls resolv_look_done() in any
 * case. */
int resolv_look_run(struct resolv_look *look);
void resolv_look_done(struct resolv_look *look);
