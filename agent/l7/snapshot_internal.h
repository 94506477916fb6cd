/* SPDX-License-Identifier: Apache-2.0 */
/* Between snapshot.c (what is shared, and how it changes) and snapshot_read.c (objects from JSON). */
#pragma once

#include "agent/l7/snapshot.h"

#define SNAPSHOT_PAGE 64

struct snapshot_page {
	uint32_t refs; /* atomic */
	struct snapshot_object *objects[SNAPSHOT_PAGE];
};

struct snapshot_index {
	size_t page_count;
	struct snapshot_page **pages; /* NULL: nothing there */
};

struct snapshot {
	uint32_t refs; /* atomic */
	uint64_t generation;
	uint32_t slots;
	struct snapshot_index kinds[SNAPSHOT_KINDS];
};

/* snapshot_read.c: -EBADMSG names the member, below the object; -ENOMEM. */
typedef int snapshot_read_fn(const json_t *json, struct snapshot_object **ret_object, struct error *err);
typedef void snapshot_free_fn(struct snapshot_object *object); /* NULL is fine */

struct snapshot_kind_row {
	const char *member; /* of the message */
	snapshot_read_fn *read;
	snapshot_free_fn *free;
};
extern const struct snapshot_kind_row snapshot_kinds[SNAPSHOT_KINDS];
