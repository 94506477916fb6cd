/* SPDX-License-Identifier: Apache-2.0 */
/* A line of plans: the objects that are planned now, by place, and the plans that were made of them. What an object's successor
 * replaces lives on for as long as a plan that has it. Thread: the loop's. */
#pragma once

#include "agent/compile/plan.h"

struct plan_places {
	struct plan_object **objects; /* NULL: nothing, or not yet */
	size_t count, capacity;
	uint32_t *vacant; /* places that can be given out again, then those that were left since the newest plan */
	size_t vacant_count, left_count, vacant_capacity;
};

struct plan_line {
	struct plan_places places[PLAN_KINDS];
	struct plan *oldest, *newest; /* plans that are not freed */
	struct plan_object *dead[PLAN_KINDS]; /* since the newest plan */
	char **zones;
	size_t zone_count, zone_capacity;
	bool changed; /* since the newest plan */
};

void line_init(struct plan_line *line);
/* After all its plans. */
void line_done(struct plan_line *line);

int line_take(struct plan_line *line, enum plan_kind kind, uint32_t *ret_place); /* a vacant place: 0 or -ENOMEM */
/* What was there goes. Vacant again once there was a plan without it: who names things by place, and sees the same places, can be left
 * as it is. */
void line_leave(struct plan_line *line, enum plan_kind kind, uint32_t place);
/* The line owns `object` from now on; what was there goes. */
void line_set(struct plan_line *line, enum plan_kind kind, uint32_t place, void *object);
/* Keeps a zone's name; NULL and "": nothing to keep. 0 or -ENOMEM. */
int line_zone(struct plan_line *line, const char *zone);

int line_plan(struct plan_line *line, struct plan **ret_plan); /* of what there is now: 0 or -ENOMEM */
void line_forget(struct plan_line *line, struct plan *plan); /* for plan_free() */
