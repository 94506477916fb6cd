/* SPDX-License-Identifier: Apache-2.0 */
/* weftd's side of weft-proxy: starts it where none runs, adopts the one that does (by pidfd, whoever started it), starts it again when it
 * ends, or leaves its seat to end later, ends it when its heartbeat stops for 5 s though it lives, and replaces one of another build by its successor (which takes over).
 * Tells it which workloads there are, and what of the configuration is weft-proxy's. weft-proxy outlives weftd. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/compile/apply.h"
#include "agent/identity/workloads.h"
#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/kernel.h"

enum supervision {
	SUPERVISION_START, /* starts it, from beside weftd's own executable */
	SUPERVISION_EXTERNAL, /* a unit or container of its own: only connects */
	SUPERVISION_OFF, /* no names: queries go where they were meant to; one that an earlier weftd started is ended */
};
/* "start", "external", "off". -EINVAL. */
int supervision_by_name(const char *name, enum supervision *ret_supervision);

struct supervisor;
struct supervisor_options {
	const char *instance;
	enum supervision supervision;
	const char *log_level, *log_format; /* of a weft-proxy that is started */
	uint64_t drain_max_ns; /* likewise */
	uint32_t (*node_id)(const char *node, void *arg); /* 0: none can be had */
	void (*serves)(void *arg); /* supervisor_serves() may have become true somewhere */
	void *arg;
	struct apply *apply; /* whose configuration it is told */
};
/* Borrows `workloads`, `kernel`, `apply` and the strings. Connects or starts from the loop's next turn on, not from inside this call. */
int supervisor_new(struct loop *loop, struct kernel *kernel, struct workloads *workloads, const struct supervisor_options *options,
		   struct supervisor **ret_supervisor, struct error *err);
/* weft-proxy goes on; who waits is told -ECANCELED. Before `workloads` and `apply` are freed. NULL is fine. */
struct supervisor *supervisor_free(struct supervisor *supervisor);

/* Workloads or the namespaces they act in, or ids of nodes, have changed: tells the difference, soon. Cheap. NULL is fine. */
void supervisor_changed(struct supervisor *supervisor);
/* Another plan is in force: tells what differs, before this returns unless weft-proxy has not answered the last time yet. NULL is fine. */
void supervisor_configured(struct supervisor *supervisor);
/* Whether weft-proxy has said that it knows the configuration in force, and that it has taken a workload in the namespace: what comes in
 * there may be given to it. NULL is fine. */
bool supervisor_serves(const struct supervisor *supervisor, uint64_t netns_cookie);

/* {"state": "running"|"starting"|"external, not there"|"off", "pid", "version", "startedAt", "adopted": true, "restarts": n, "hung": n of
 * them, "lastEnd": null or "killed by signal 9", "beatAgeNs", "configuration": {"generation": what it has or null, "whole", "changes", "stale",
 * "refused": how often it was told, "lastNs": how long that took, to the answer, "lastRefusal"}}. New reference. */
json_t *supervisor_json(const struct supervisor *supervisor);
/* Appends what a person should know about names on this node: strings. */
void supervisor_warnings(const struct supervisor *supervisor, json_t *list);
/* Asks weft-proxy; `done` comes once, never from inside this call unless memory is out, with its answer and the memory file that came
 * along, or -1 (both borrowed), or an error (-ENOTCONN: it is not there; -ETIMEDOUT after 2 s). Steals `request`. */
typedef void supervisor_done_fn(const json_t *answer, int fd, const struct error *err, void *arg);
void supervisor_ask(struct supervisor *supervisor, json_t *request, supervisor_done_fn *done, void *arg);
/* Calls `done` once, never from inside this call, when the names of the workload are the mesh's in every namespace it acts in; after a
 * second at the latest, or where nobody answers names. For who starts a program that will ask at once. */
typedef void supervisor_ready_fn(void *arg);
void supervisor_await(struct supervisor *supervisor, uint64_t workload, supervisor_ready_fn *done, void *arg);
