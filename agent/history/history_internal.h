/* SPDX-License-Identifier: Apache-2.0 */
/* What history.c keeps, and history_state.c writes and reads. */
#pragma once

#include "agent/history/history.h"

struct history_record { /* an entry, and where it is in the state */
	struct history_entry entry;
	uint64_t sequence; /* of its keys; 0: memory only */
	uint64_t digest; /* of the resources that it left */
};

struct history {
	struct state *state;
	struct history_record *records; /* oldest first */
	size_t count, capacity;
	size_t changes; /* in all of them */
	uint64_t newest; /* generation */
	uint64_t sequence; /* last given out */
	struct history_change *noted; /* since the last generation, some names more than once */
	size_t noted_count, noted_capacity;
	uint64_t note_sequence;
	enum history_cause cause; /* of the next generation; HISTORY_CAUSE_COUNT: not said */
	uint64_t asked;
	uint64_t digest; /* of what was noted in all: the resources that will be in force */
	bool started;
	struct history_hold hold;
	size_t held_count; /* resources */
};

void history_change_done(struct history_change *change);
/* Takes the changes of `record`. -ENOMEM, and they are the caller's still. */
int history_append(struct history *history, const struct history_record *record);
/* The oldest `count` records go, from memory. */
void history_forget(struct history *history, size_t count);

/* The newest record goes to the state, and the oldest `forgotten` ones go from it: they are still in memory. */
int history_write(struct history *history, size_t forgotten, struct error *err);
int history_read(struct history *history, size_t *ret_refused);
