/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of an encoding share: which objects differ (encode.c), records of targets (encode_targets.c), and those of
 * services and nodes (encode_services.c). Thread: the loop's. */
#pragma once

#include "agent/compile/encode.h"
#include "agent/compile/layout.h"

/* One run of encode(). */
struct run {
	const struct encoder *encoder;
	const struct planned *before;
	const struct plan *plan;
	struct encoding *encoding;
	struct error *err;
	struct blocks blocks; /* of the service at hand */
	uint32_t *renewed; /* places of services whose blocks must be new ones, in order */
	size_t renewed_count;
	size_t backend_capacity;
	uint64_t *order; /* scratch: backends of one node by service id */
	struct backend *backends; /* scratch: the same, as they will be */
};

/* The error of a run. Each returns its code. */
int encode_no_room(const struct run *run, const char *table, uint32_t count); /* `table`: a name of generations_fill() */
int encode_no_memory(const struct run *run);

/* What becomes of an object that differs: its record is written, at that place; or the one in the current directory serves on. */
int encode_written(struct run *run, enum object_kind kind, struct placed *placed, int64_t record); /* 0 or -ENOMEM */
void encode_kept(struct run *run, enum object_kind kind, struct placed *placed);
/* NULL: the object at this place does not differ. */
struct placed *encode_placed(const struct run *run, enum object_kind kind, uint32_t place);

/* One object that differs, whose kind's turn it is: targets before services before nodes. As encode(). */
int encode_target(struct run *run, struct placed *placed);
int encode_service(struct run *run, struct placed *placed);
int encode_node(struct run *run, struct placed *placed);
/* Nodes that are as before, but for where the rows of a backend are. */
int encode_renewed(struct run *run);

/* What running programs see at once. What checks found stays in the slot, and ejections do: all that is published of a target
 * is that there is a check, or none, and that there is no outlier detection. */
void target_publish_state(const struct kernel_memory *memory, const struct plan_target *target,
			  const struct target_record *record);
/* The row counts for this target, whose id is held from now on (encoder_row_retired()). It counted for none before, or for this. */
void row_set_head(const struct encoder *encoder, uint32_t row, uint32_t target);
