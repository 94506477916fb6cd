/* SPDX-License-Identifier: Apache-2.0 */
/* What a test of generations knows of memory: every record that was ever committed, by which generations it is named, who reads in one,
 * and which connections are open. It holds the memory to that. */
#pragma once

#include "maps/generation.h"
#include "tests/lib/memory.h"
#include "tests/lib/test.h"

enum { SERVICES = 9, TARGETS = 8, NODES = 5, OBJECTS = SERVICES + TARGETS + NODES };
enum { PLACES = 4, ROWS = 3, CHANGES = 4, READERS = 24, CONNECTIONS = 48, VERSIONS = 4096 };

/* One place of a record's range, and what it names: an id; a slot, or `count` rows. */
struct element {
	uint32_t id;
	uint32_t index;
	uint32_t count;
	uint32_t incarnations[ROWS];
};

/* One record, as written. */
struct version {
	uint64_t first, last; /* generations that name it */
	unsigned object;
	uint32_t ref;
	uint32_t tag; /* in the record and in each place of its ranges */
	uint32_t range[LIST_COUNT], range_count[LIST_COUNT];
	struct element elements[LIST_COUNT][PLACES];
};

/* In the kernel since `born`, with the generation that was current then. */
struct reader {
	uint64_t generation;
	uint64_t born;
};

struct world {
	struct test_memory memory;
	struct generations *g;
	unsigned seed;
	uint64_t random, step;

	uint32_t ids[OBJECTS];
	struct version versions[VERSIONS];
	unsigned version_count;
	struct version pending[CHANGES];
	unsigned pending_count;
	bool removed[CHANGES];
	bool prepared;

	struct reader readers[READERS];
	unsigned reader_count;
	struct account connections[CONNECTIONS];
	unsigned connection_count;
	uint64_t closes, folded; /* connections closed; those of them in rows that were retired */
	uint32_t folding; /* row told last, and what it had */
	uint64_t folding_count;

	bool in_grace;
	uint64_t ticket, grace_born, passed;
	bool swept; /* by this agent */
	bool sweeping, seen, exact;

	unsigned crashes, sweeps, commits, retired, refused;
};

#define CHECK(w, condition)                                                                                                   \
	do {                                                                                                                   \
		if (!(condition))                                                                                              \
			fail_msg("seed %u, step %llu: expected %s", (w)->seed, (unsigned long long)(w)->step, #condition);    \
	} while (0)

uint32_t model_draw(struct world *w, uint32_t below);
bool model_chance(struct world *w, unsigned pct);

enum object_kind model_kind(unsigned object);
const char *model_name(unsigned object);
unsigned model_lists(enum object_kind kind);

/* What a generation names the object's; NULL: nothing. */
const struct version *model_version(const struct world *w, unsigned object, uint64_t generation);
/* Writes the record to the memory. */
void model_write(struct world *w, const struct version *v);
void model_forget_unreadable(struct world *w);

/* What a reader of the generation finds is what was committed; and for all that can be read, and the change at hand. */
void model_check(struct world *w, uint64_t generation, unsigned object);
void model_check_all(struct world *w);

enum array { RECORD, RANGE, SLOT, ROW };

/* One byte an entry of MAX_ENDPOINT_REFS: is it named by a generation that can be read, the change at hand, or a connection? Returns how
 * many are. Slots are those of targets, rows those of nodes. */
uint32_t model_named(const struct world *w, enum object_kind kind, enum array array, uint8_t *named);
/* One of so many is. */
bool model_is_named(const struct world *w, enum object_kind kind, enum array array, uint32_t first, uint32_t count);
