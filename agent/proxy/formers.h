/* SPDX-License-Identifier: Apache-2.0 */
/* Weft-proxies that had the seat before this one and still serve what they have (agent/proxy/retire.h), as they tell it: at most two, the
 * eldest is ended. Each is known by its connection to the control socket. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/proxy/retire.h"
#include "base/error.h"
#include "base/json.h"
#include "base/list.h"
#include "maps/abi/proxy.h"

#define FORMERS_MAX PROXY_FORMERS_MAX

struct former;
struct formers {
	struct list all;
	bool left;
	uint64_t ends[RETIRE_REASON_COUNT];
};

void formers_init(struct formers *formers);
/* Tells one to end, by its connection. */
typedef void former_end_fn(void *arg);
/* Says "retiring" (`message`): the eldest of too many is told to end. -EINVAL names the member; -ENOMEM. */
int former_new(struct formers *formers, pid_t pid, const json_t *message, former_end_fn *end, void *arg, struct former **ret_former,
	       struct error *err);
/* Says "retired". -EINVAL. */
int former_retired(struct former *former, const json_t *message, struct error *err);
/* Its connection has ended, and it with it. NULL is fine. */
struct former *former_free(struct former *former);
/* They tell who comes next: none of them is gone because its connection here ends. */
void formers_leave(struct formers *formers);
/* Now and then: one that was told to end and does not is killed. */
void formers_look(struct formers *formers, uint64_t now_ns);
/* {"now": [{"pid", "since", "requests", "connections"}, …], "ends": {"drained": n, …}}: new reference. */
json_t *formers_json(const struct formers *formers);
