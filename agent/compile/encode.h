/* SPDX-License-Identifier: Apache-2.0 */
/* Plan -> records. Compares each object that is another one than in the plan before with its record in the current directory and writes
 * records, lists, rows and slots for those that differ, in memory that no directory names yet. What running programs would see at once
 * (heads of rows that are counted in already, health) waits for encoding_publish(). Thread: the loop's. */
#pragma once

#include "agent/compile/names.h"
#include "agent/compile/plan.h"
#include "agent/compile/slots.h"
#include "base/error.h"
#include "maps/generation.h"

struct encoder { /* pointers are borrowed */
	struct generations *generations;
	const struct kernel_memory *memory;
	struct names *names;
	struct slots *slots;
	bool sweeping; /* between generations_sweep_begin() and _end(): slots that no current list names may be freed by the end */
};

#define OBJECT_KINDS (OBJECT_NODE + 1) /* arrays by enum object_kind; OBJECT_NONE's place is empty */

/* A plan, and the ids of its objects by their places. All zero: no plan. */
struct planned {
	struct plan *plan;
	uint32_t *ids[OBJECT_KINDS];
};
void planned_done(struct planned *planned); /* frees both */

/* What apply.h lends. */
struct in_force {
	unsigned holders;
	uint64_t generation;
	struct planned planned;
};

struct row_head {
	uint32_t row;
	uint32_t target;
};

/* An object that is not the one that was at its place before. */
struct placed {
	uint32_t place;
	uint32_t id;
	uint32_t was; /* place of the same name in the plan before; PLAN_NONE: it is new */
	uint32_t ref; /* its record, as it will be */
};

struct encoding {
	struct planned now; /* its plan is the caller's until it takes it */
	struct placed *placed[OBJECT_KINDS]; /* in order of place */
	size_t placed_count[OBJECT_KINDS];
	struct change *changes; /* none: the current directory says it all already */
	size_t change_count, change_capacity;
	struct row_head *heads; /* rows of blocks in use that get a target */
	size_t head_count, head_capacity;
	struct placed **touched; /* targets whose endpoints, or their health, may differ */
	size_t touched_count;
	bool l7_differs; /* what weft-proxy is told of an object whose record stays */
	uint32_t *gone; /* places in the plan before whose services are in this one no more, or elsewhere */
	size_t gone_count;
};
void encoding_done(struct encoding *encoding); /* the plan stays the caller's */

/* `before` is what the current directory was made from; without a plan, the directory itself tells what is there. -ENOSPC
 * names the table that is full; -E2BIG: a service has too many targets; -ENOMEM. After a failure the caller abandons the
 * change. */
int encode(const struct encoder *encoder, const struct planned *before, struct plan *plan, struct encoding *ret_encoding,
	   struct error *err);

/* Right before the commit, or instead of one where nothing but health changed. */
void encoding_publish(const struct encoder *encoder, const struct encoding *encoding);

/* Rows hold the id of their target, which no directory may name any more while its counts are live. encoder_adopt_rows()
 * does that for rows that are there at the start, encoder_row_retired() lets go. */
void encoder_adopt_rows(const struct encoder *encoder);
void encoder_row_retired(const struct encoder *encoder, const struct row *row);
/* Takes up which endpoints the slots named by kept directories stand for. */
void encoder_adopt_slots(const struct encoder *encoder);
