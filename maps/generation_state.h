/* SPDX-License-Identifier: Apache-2.0 */
/* What generation.c and sweep.c share, and nobody else sees. */
#pragma once

#include "maps/area.h"
#include "maps/generation.h"

/* X(symbol, name for people, size) */
#define AREAS(X)                                                                                                              \
	X(SERVICE, "services", MAX_SERVICES)                                                                                   \
	X(ROUTE, "routes", MAX_ROUTES)                                                                                         \
	X(TARGET, "targets", MAX_TARGETS)                                                                                      \
	X(REF, "endpoint-refs", MAX_ENDPOINT_REFS)                                                                             \
	X(NODE, "nodes", MAX_NODES)                                                                                            \
	X(BACKEND, "backends", MAX_BACKENDS)                                                                                   \
	X(ENDPOINT, "endpoints", MAX_ENDPOINTS)                                                                                \
	X(ROW, "rows", MAX_ROWS)                                                                                               \
	X(OBJECT, "objects", MAX_OBJECTS)
enum area_id {
#define X(symbol, name, size) AREA_##symbol,
	AREAS(X)
#undef X
	AREA_COUNT,
};

#define NAME_BUCKETS (2 * MAX_OBJECTS) /* a power of two, half empty at least */

struct generations {
	struct kernel_memory *memory;
	uint64_t current;
	uint64_t passed; /* nobody reads a generation below this one: it was the root's when the last grace period began */
	uint64_t begun; /* the same for the grace period under way */
	struct area areas[AREA_COUNT];
	uint32_t holds[MAX_OBJECTS];
	uint16_t names[NAME_BUCKETS]; /* open addressing: ids by the name in w_object; 0: empty */
	bool sweeping;
	uint64_t ignored;
};

static inline struct directory *generation_slice(const struct generations *g, uint64_t generation)
{
	return &g->memory->directories[generation % RING_DIRECTORIES];
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
