/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of a plan as they come up: listeners of virtual nodes, each once, with the endpoints that serve them. */
#pragma once

#include <stdint.h>

#include "agent/compile/compile.h"
#include "agent/compile/plan.h"

struct targets {
	const struct compile_input *input;
	struct table by_name;
	struct target_draft **drafts; /* by the index that targets_get() gives */
	size_t count, capacity;
	char **zones; /* names that endpoints gave, until targets_finish() */
	size_t zone_count;
};

void targets_init(struct targets *targets, const struct compile_input *input); /* borrows `input` */
void targets_done(struct targets *targets);

/* The index of a node's listener on `port`, planned now if it was not. -ENOENT: the node has no such listener; -ENOMEM. */
int targets_get(struct targets *targets, const struct resource *node, uint16_t port, uint32_t *ret_index);
const struct plan_target *targets_at(const struct targets *targets, uint32_t index); /* until targets_finish() */
uint16_t targets_port(const struct targets *targets, uint32_t index);
/* The port of a node that a weighted target means: `given`, or where that is 0 its only listener's. 0: it has none. Where there
 * are several, resources_check() demands that it is given. */
uint16_t targets_meant_port(const struct resource *node, uint16_t given);

/* Moves the targets into the plan, in order of name, and turns the indices in the plan's ports into places in it. */
int targets_finish(struct targets *targets, struct plan *plan); /* 0 or -ENOMEM */
