/* SPDX-License-Identifier: Apache-2.0 */
/* weftd's side of weft-proxy: starts it where none runs, adopts the one that does (by pidfd, whoever started it), starts it again when it
 * ends, ends it when its heartbeat stops for 5 s though it lives, and replaces one of another build by its successor (which takes over).
 * Tells it which workloads there are. weft-proxy outlives weftd. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/identity/workloads.h"
#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/kernel.h"

enum supervision {
	SUPERVISION_START, /* starts it, from beside weftd's own executable */
	SUPERVISION_EXTERNAL, /* a unit or container of its own: only connects */
	SUPERVISION_OFF, /* no names: queries go where they were meant to */
};

struct supervisor;
struct supervisor_options {
	const char *instance;
	enum supervision supervision;
	uint32_t (*node_id)(const char *node, void *arg);
	void *arg;
};
/* Borrows `workloads` and `kernel`. Connects or starts from the loop's next turn on, not from inside this call. */
int supervisor_new(struct loop *loop, struct kernel *kernel, struct workloads *workloads, const struct supervisor_options *options,
		   struct supervisor **ret_supervisor, struct error *err);
struct supervisor *supervisor_free(struct supervisor *supervisor); /* weft-proxy goes on. NULL is fine */

/* Workloads or the namespaces they act in have changed: tells the difference, soon. Cheap. */
void supervisor_changed(struct supervisor *supervisor);

/* {"state": "running"|"starting"|"external, not there"|"off", "pid", "version", "startedAt", "adopted": true, "restarts": n,
 * "lastEnd": null or "killed by signal 9", "beatAgeNs"}. New reference. */
json_t *supervisor_json(const struct supervisor *supervisor);
/* Asks weft-proxy; `done` comes once, with its answer (borrowed) or an error (-ENOTCONN: it is not there; -ETIMEDOUT after 2 s). Steals
 * `request`. */
typedef void supervisor_done_fn(const json_t *answer, const struct error *err, void *arg);
void supervisor_ask(struct supervisor *supervisor, json_t *request, supervisor_done_fn *done, void *arg);
