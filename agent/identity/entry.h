/* SPDX-License-Identifier: Apache-2.0 */
/* One workload from its request to its end, and what all of them share. Internal to agent/identity.
 *
 * pending: a probe is under way, or the addresses of a namespace are awaited. Nothing is in the kernel yet.
 * running: stored, in the kernel, watched. lost: found in the state, but ended meanwhile; told in the loop's first turn. */
#pragma once

#include <limits.h>

#include "agent/identity/liveness.h"
#include "agent/identity/namespaces.h"
#include "agent/identity/patterns.h"
#include "agent/identity/record.h"
#include "agent/identity/removal.h"
#include "agent/identity/workloads.h"
#include "maps/abi/limits.h"

struct workloads {
	struct loop *loop;
	struct offload *offload;
	struct kernel *kernel;
	struct state *state;
	struct workloads_callbacks callbacks;
	char root[PATH_MAX]; /* of the cgroup2 hierarchy, without '/' at the end */
	char boot[BOOT_ID_BYTES];
	uint64_t next_id;
	unsigned depths[MAX_CGROUP_DEPTH]; /* cgroup entries at each depth */
	struct list pending, running, lost;
	struct list probes; /* that the offload thread has */
	struct namespaces namespaces;
	struct liveness *liveness;
	struct patterns *patterns;
	struct removals removals;
	struct loop_timer *settle_timer; /* the first turn, after adoption */
	struct redirect_rounds *redirect_rounds;
};

struct entry {
	struct list node;
	struct workloads *all;
	struct record record;
	int depth;
	bool in_kernel; /* has its cgroup entry */
	bool running;
	bool confirmed; /* by a pattern of this run's configuration */
	struct list places; /* the namespaces it acts in */
	struct life *life;
	struct loop_timer *timer; /* looks again */
	struct look *look; /* under way */
	bool look_again;
	workload_done_fn *done; /* NULL once told */
	void *arg;
};

/* Copies the strings. The entry is in no list yet. */
int entry_new(struct workloads *all, const struct workload_request *request, bool pattern, struct entry **ret_entry);
int entry_from_record(struct workloads *all, struct record *record, struct entry **ret_entry); /* takes the record's content */
/* Leaves kernel and state as they are. */
void entry_free(struct entry *entry);

/* pending -> running, or `done` with an error. */
void entry_enrol(struct entry *entry);
/* Some namespace's addresses are known: goes on if that was it. */
void entry_proceed(struct entry *entry);
/* Takes a stored one up again: -ENOENT when its cgroup is not there or holds no process any more, or another errno. */
int entry_adopt(struct entry *entry);
/* running or lost -> gone: kernel, state, cgroup, callbacks. Frees it. */
void entry_end(struct entry *entry);
/* Looks which namespaces its processes are in by now. */
void entry_look(struct entry *entry);
/* Writes its kernel entries again. */
int entry_refresh(struct entry *entry);
/* Another node or zone by the configuration at hand. */
int entry_reassign(struct entry *entry, const struct pattern *pattern);
/* The one that acts by this cgroup, running or pending. NULL: none but `except`. */
struct entry *entry_of_cgroup(const struct workloads *all, uint64_t cgroup_id, const struct entry *except);
bool entry_in_netns(const struct entry *entry, uint64_t cookie);
/* Probes that are under way lose their entry, and end by themselves. */
void entry_forget_looks(struct workloads *all);

/* adopt.c: takes up what the state has, and removes kernel entries that nothing explains. */
int workloads_adopt(struct workloads *all, struct error *err);
