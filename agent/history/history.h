/* SPDX-License-Identifier: Apache-2.0 */
/* What changed with each generation, so that a person can see it and go back.
 *
 * A generation changes resources, or only where they lead: endpoints, workloads, exposed services. Entries of the first kind hold
 * each resource before and after, in memory and in the state; those of the second kind are told in memory alone, as one while
 * no other comes between. Undone newest first, the entries after a generation lead from the resources in force to those
 * that were in force at its end: where endpoints are is never undone.
 *
 * The chain is unbroken as long as the resources in force are those that the last entry left. An agent that starts with others (files
 * changed while it was away) begins a new chain, and so does a change too large for the state. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/spec/resource.h"
#include "agent/state/state.h"
#include "base/error.h"

#define HISTORY_ENTRIES 1000 /* of changes to resources; the oldest are forgotten beyond that */
#define HISTORY_CHANGES 20000 /* in all entries */

enum history_cause {
	HISTORY_START, /* the agent started with other resources than the last one left */
	HISTORY_RESOURCES, /* they changed at their source */
	HISTORY_PLACES, /* endpoints, workloads, exposed services */
	HISTORY_ROLLBACK,
	HISTORY_RESUME,
	HISTORY_CAUSE_COUNT,
};
const char *history_cause_name(enum history_cause cause); /* "start", "resources", "endpoints", "rollback", "resume" */

struct history_change { /* held by the entry; one of them may be NULL, not both */
	const struct resource *before, *now;
	uint64_t sequence; /* in the order they were noted */
};

struct history_entry {
	uint64_t first, last; /* generations: the same but for HISTORY_PLACES */
	uint64_t wall_ns; /* of the last */
	enum history_cause cause;
	uint64_t asked; /* HISTORY_ROLLBACK: the generation that was gone back to */
	struct history_change *changes; /* none for HISTORY_START and HISTORY_PLACES */
	size_t change_count;
};

struct history;

/* Reads what earlier agents kept in the state. What does not read is left out, and all before it; *ret_refused says how many
 * entries that were (NULL allowed). -ENOMEM, -EIO. */
int history_open(struct state *state, struct history **ret_history, size_t *ret_refused, struct error *err);
struct history *history_close(struct history *history);

/* One resource of those that the next generation will have is another. -ENOMEM: the chain ends with it. */
int history_note(struct history *history, const struct resource *before, const struct resource *now);
/* Why the next generation comes, until one has come; without it, because of what was noted or else of places. */
void history_because(struct history *history, enum history_cause cause, uint64_t asked);
/* The generation is in force, with all that was noted since the last call; the first one ends the start (0, before anything ever was in
 * force, is none). What changes resources without
 * any effect on this node comes with the number of the generation that is in force already. 0, or -errno of the state: the chain then
 * reaches back to here after a restart. */
int history_generation(struct history *history, uint64_t generation, uint64_t now_wall_ns, struct error *err);

size_t history_count(const struct history *history);
const struct history_entry *history_at(const struct history *history, size_t index); /* 0: the oldest. Borrowed until the next call that changes it */
/* Generations from the oldest to the newest can be gone back to; 0: none yet. */
uint64_t history_oldest(const struct history *history);
uint64_t history_newest(const struct history *history);
/* The last generation before the resources became what they were at `generation`. -ENOENT: it is not known. */
int history_before(const struct history *history, uint64_t generation, uint64_t *ret_generation);

/* Makes `resources`, which are those in force, those of a generation, without committing it. -ERANGE: not one of oldest..newest. On
 * failure the caller rolls them back. */
int history_undo(const struct history *history, uint64_t generation, struct resources *resources, struct error *err);

/* --- held resources, which outlive the agent ---------------------------------------------------------------------------------- */

struct history_hold {
	uint64_t generation; /* that was gone back to; 0: nothing is held */
	uint64_t since_wall_ns;
};
/* Keeps what is in force, until history_release(). */
int history_hold(struct history *history, const struct history_hold *hold, const struct resources *resources, struct error *err);
int history_release(struct history *history, struct error *err);
const struct history_hold *history_held(const struct history *history);
/* Fills an empty set with what is held, uncommitted. -EPROTO: one does not read, which `err` names. */
int history_held_resources(const struct history *history, struct resources *resources, struct error *err);
