/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/drain/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define WORD_BITS 64
#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

struct change_watch {
	bool looked; /* and the records of then cannot have been reused since */
	uint64_t generation; /* of the last look */
	uint32_t objects, slot_words;
	uint32_t *refs; /* the directory, as it was */
	uint32_t *flags; /* see flags_of() */
	bool handed_over; /* in the look at hand: connections that weft-proxy has may be concerned */
	bool filters; /* likewise: connections that left a mesh */
	bool *changed; /* in the look at hand: what may matter to connections of the object */
	uint64_t *listed; /* slots in some list */
};

int change_watch_new(const struct kernel_limits *limits, struct change_watch **ret_watch)
{
	struct change_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->objects = limits->objects;
	watch->slot_words = limits->endpoints / WORD_BITS;
	watch->refs = calloc(watch->objects, sizeof(*watch->refs));
	watch->flags = calloc(watch->objects, sizeof(*watch->flags));
	watch->changed = calloc(watch->objects, sizeof(*watch->changed));
	watch->listed = calloc(watch->slot_words, sizeof(*watch->listed));
	if (!watch->refs || !watch->flags || !watch->changed || !watch->listed) {
		change_watch_free(watch);
		return -ENOMEM;
	}
	*ret_watch = watch;
	return 0;
}

struct change_watch *change_watch_free(struct change_watch *watch)
{
	if (!watch)
		return NULL;
	free(watch->refs);
	free(watch->flags);
	free(watch->changed);
	free(watch->listed);
	free(watch);
	return NULL;
}

static bool is_target(const struct kernel_memory *memory, uint32_t ref)
{
	return ref >> REF_KIND_SHIFT == OBJECT_TARGET && (ref & REF_INDEX_MASK) < memory->limits.targets;
}

static bool is_kind(uint32_t ref, enum object_kind kind)
{
	return ref >> REF_KIND_SHIFT == kind;
}

static bool any_l7(const struct kernel_memory *memory, const struct service_record *service)
{
	for (uint32_t i = 0; i < MIN(service->port_count, MAX_SERVICE_PORTS); i++)
		if ((uint64_t)service->first_route + i < memory->limits.routes && memory->routes[service->first_route + i].flags & ROUTE_L7)
			return true;
	return false;
}

/* Of a target and a node their own, of a service whether connections to it are handed to weft-proxy: those have no row that would tell of
 * them. */
static uint32_t flags_of(const struct kernel_memory *memory, uint32_t ref)
{
	const uint32_t index = ref & REF_INDEX_MASK;

	if (is_target(memory, ref))
		return memory->targets[index].flags;
	if (is_kind(ref, OBJECT_NODE))
		return index < memory->limits.nodes ? memory->nodes[index].flags : 0;
	return is_kind(ref, OBJECT_SERVICE) && index < memory->limits.services && any_l7(memory, &memory->services[index]);
}

/* Takes up what the id names. Of a target its lists do not matter by themselves, for each endpoint has its slot. */
static bool note_object(struct change_watch *watch, const struct kernel_memory *memory, uint32_t id, uint32_t ref)
{
	const uint32_t flags = flags_of(memory, ref);
	const bool matters = !is_target(memory, ref) || !is_target(memory, watch->refs[id]) || flags != watch->flags[id];

	watch->filters |= is_kind(ref, OBJECT_NODE) && flags & NODE_DROP_ALL &&
			  (!watch->looked || !is_kind(watch->refs[id], OBJECT_NODE) || flags != watch->flags[id]);
	watch->handed_over |= (is_kind(ref, OBJECT_SERVICE) && flags) || (is_kind(watch->refs[id], OBJECT_SERVICE) && watch->flags[id]);
	watch->refs[id] = ref;
	watch->flags[id] = flags;
	return matters;
}

/* Whether in that generation, which nobody looked at, a node was otherwise than it is now, with the filter closed. A slice that another
 * generation has meanwhile says too much at worst. */
static bool filters_between(const struct change_watch *watch, const struct kernel_memory *memory, uint64_t generation)
{
	for (uint32_t id = 0; id < watch->objects; id++) {
		const uint32_t ref = watch->refs[id];

		if (is_kind(ref, OBJECT_NODE) && watch->flags[id] & NODE_DROP_ALL) {
			const uint32_t was = LOAD(*kernel_memory_ref(memory, generation, id));

			if (was != ref && is_kind(was, OBJECT_NODE) && flags_of(memory, was) != watch->flags[id])
				return true;
		}
	}
	return false;
}

/* Returns whether the lists of some target may be others. */
static bool note_objects(struct change_watch *watch, const struct kernel_memory *memory, uint64_t generation)
{
	bool lists = !watch->looked, l7 = false, nodes = false;

	watch->handed_over = watch->filters = false;
	for (uint32_t id = 0; id < watch->objects; id++) {
		const uint32_t ref = LOAD(*kernel_memory_ref(memory, generation, id));
		const bool differs = !watch->looked || ref != watch->refs[id];

		lists |= differs && (is_target(memory, ref) || is_target(memory, watch->refs[id]));
		nodes |= differs && (is_kind(ref, OBJECT_NODE) || is_kind(watch->refs[id], OBJECT_NODE));
		watch->changed[id] = differs && note_object(watch, memory, id, ref);
		l7 |= is_kind(ref, OBJECT_SERVICE) && watch->flags[id];
	}
	watch->handed_over |= nodes && l7;
	return lists;
}

static void list_slots(struct change_watch *watch, const struct kernel_memory *memory, const struct target_record *target)
{
	for (int list = 0; list < LIST_COUNT; list++) {
		const uint32_t first = target->first[list], count = target->count[list];

		if (first > memory->limits.refs || count > memory->limits.refs - first)
			continue;
		for (uint32_t i = first; i < first + count; i++) {
			const struct endpoint_ref *ref = &memory->refs[i];

			if (ref->slot < memory->limits.endpoints && LOAD(memory->endpoints[ref->slot].incarnation) == ref->incarnation)
				watch->listed[ref->slot / WORD_BITS] |= 1ull << ref->slot % WORD_BITS;
		}
	}
}

/* A slot that is free says nothing. */
static bool note_slot(const struct kernel_memory *memory, uint32_t slot, bool listed)
{
	struct endpoint *endpoint = &memory->endpoints[slot];
	const uint32_t gone = !listed;

	if (!(LOAD(endpoint->incarnation) & 1) || LOAD(endpoint->gone) == gone)
		return false;
	__atomic_store_n(&endpoint->gone, gone, __ATOMIC_RELEASE);
	return LOAD(endpoint->open) > 0;
}

/* Returns whether an endpoint that somebody is connected to went or came back. All slots are read: one may have been listed, and taken
 * off again, since the last look. */
static bool note_slots(struct change_watch *watch, const struct kernel_memory *memory)
{
	bool concerns = false;

	memset(watch->listed, 0, watch->slot_words * sizeof(*watch->listed));
	for (uint32_t id = 0; id < watch->objects; id++)
		if (is_target(memory, watch->refs[id]))
			list_slots(watch, memory, &memory->targets[watch->refs[id] & REF_INDEX_MASK]);
	for (uint32_t slot = 0; slot < watch->slot_words * WORD_BITS; slot++)
		concerns |= note_slot(memory, slot, watch->listed[slot / WORD_BITS] >> slot % WORD_BITS & 1);
	return concerns;
}

static bool has_changed(const struct change_watch *watch, uint32_t id)
{
	return id < watch->objects && watch->changed[id];
}

static bool rows_concerned(const struct change_watch *watch, const struct kernel_memory *memory)
{
	for (uint32_t i = 0; i < memory->limits.rows; i++) {
		const struct row *row = &memory->rows[i];

		if (LOAD(row->open) && (has_changed(watch, LOAD(row->source)) || has_changed(watch, LOAD(row->service)) ||
					has_changed(watch, LOAD(row->target))))
			return true;
	}
	return false;
}

bool change_watch_look(struct change_watch *watch, const struct kernel_memory *memory)
{
	const uint64_t generation = LOAD(memory->root->generation);
	bool lists, slots;

	watch->looked = watch->looked && watch->generation >= LOAD(memory->root->oldest);
	lists = note_objects(watch, memory, generation);
	for (uint64_t between = watch->generation + 1; watch->looked && !watch->filters && between < generation; between++)
		watch->filters = filters_between(watch, memory, between);
	slots = lists && note_slots(watch, memory);
	watch->looked = true;
	watch->generation = generation;
	return rows_concerned(watch, memory) || slots || watch->handed_over;
}

bool change_watch_filters(const struct change_watch *watch)
{
	return watch->filters;
}
