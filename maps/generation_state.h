/* SPDX-License-Identifier: Apache-2.0 */
/* What generation.c and sweep.c share, and nobody else sees. */
#pragma once

#include "maps/area.h"
#include "maps/generation.h"

/* X(symbol, name for people, member of struct kernel_limits); by KERNEL_ARRAY() */
#define AREAS(X)                                                                                                              \
	X(SERVICE, "services", services)                                                                                   \
	X(ROUTE, "routes", routes)                                                                                         \
	X(TARGET, "targets", targets)                                                                                      \
	X(REF, "endpoint-refs", refs)                                                                             \
	X(NODE, "nodes", nodes)                                                                                            \
	X(BACKEND, "backends", backends)                                                                                   \
	X(ENDPOINT, "endpoints", endpoints)                                                                                \
	X(ROW, "rows", rows)                                                                                               \
	X(OBJECT, "objects", objects)
enum area_id {
#define X(symbol, name, member) AREA_##symbol = KERNEL_ARRAY(member),
	AREAS(X)
#undef X
	AREA_COUNT = KERNEL_DIRECTORIES,
};

struct generations {
	struct kernel_memory *memory;
	uint64_t current;
	uint64_t passed; /* nobody reads a generation below this one: it was the root's when the last grace period began */
	uint64_t begun; /* the same for the grace period under way */
	struct area areas[AREA_COUNT];
	uint32_t *holds; /* by id */
	uint32_t *names; /* open addressing: ids by the name in w_object; 0: empty */
	uint32_t name_buckets; /* half of them empty at least */
	bool sweeping;
	uint64_t ignored;
};

static inline uint32_t object_count(const struct generations *g)
{
	return g->memory->limits.objects;
}

/* The oldest generation whose slice is not overwritten once `generation` is written. */
static inline uint64_t generation_floor(uint64_t generation)
{
	return generation < RING_DIRECTORIES ? 0 : generation - RING_DIRECTORIES + 1;
}

/* Where the record is that `ref` names; NULL when there can be none. */
struct area *generation_ref_area(struct generations *g, uint32_t ref);

bool generation_name_empty(const struct object_name *name);
void generation_index_names(struct generations *g);

/* Incarnations: odd while in use. Both clear what the kernel counted. */
void generation_row_retire(struct row *row);
void generation_slot_retire(struct endpoint *slot);
