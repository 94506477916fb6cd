/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* One for each slot, by its index; zero pages until used. Chained by index + 1, so that 0 ends a chain. */
struct slot {
	struct slot_identity identity;
	uint32_t incarnation; /* w_endpoint's when the identity was set: another one means the slot was freed */
	uint32_t target;
	uint32_t next;
};

struct slots {
	const struct kernel_memory *memory;
	uint32_t count; /* of slots, and of buckets */
	struct slot *slots;
	uint32_t *buckets;
};

int slots_new(const struct kernel_memory *memory, struct slots **ret_slots)
{
	struct slots *slots = calloc(1, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	slots->memory = memory;
	slots->count = memory->limits.endpoints;
	slots->slots = calloc(slots->count, sizeof(*slots->slots));
	slots->buckets = calloc(slots->count, sizeof(*slots->buckets));
	if (!slots->slots || !slots->buckets) {
		slots_free(slots);
		return -ENOMEM;
	}
	*ret_slots = slots;
	return 0;
}

struct slots *slots_free(struct slots *slots)
{
	if (!slots)
		return NULL;
	free(slots->slots);
	free(slots->buckets);
	free(slots);
	return NULL;
}

static bool is_current(const struct slots *slots, uint32_t slot)
{
	const uint32_t incarnation = slots->memory->endpoints[slot].incarnation;

	return incarnation & 1 && incarnation == slots->slots[slot].incarnation;
}

/* Fields one by one: the struct has padding. */
static bool same(const struct slot_identity *a, const struct slot_identity *b)
{
	return a->address.halves[0] == b->address.halves[0] && a->address.halves[1] == b->address.halves[1] &&
	       a->node == b->node && a->netns_cookie == b->netns_cookie && a->port == b->port;
}

static uint32_t bucket_of(const struct slots *slots, const struct slot_identity *identity)
{
	const uint64_t words[] = { identity->address.halves[0], identity->address.halves[1], identity->node,
				   identity->netns_cookie, identity->port };

	return (uint32_t)(hash_bytes(words, sizeof(words)) % slots->count);
}

int64_t slots_find(const struct slots *slots, const struct slot_identity *identity)
{
	for (uint32_t at = slots->buckets[bucket_of(slots, identity)]; at; at = slots->slots[at - 1].next)
		if (same(&slots->slots[at - 1].identity, identity) && is_current(slots, at - 1))
			return at - 1;
	return -ENOENT;
}

static void unlink_slot(struct slots *slots, uint32_t slot)
{
	uint32_t *link = &slots->buckets[bucket_of(slots, &slots->slots[slot].identity)];

	while (*link && *link != slot + 1)
		link = &slots->slots[*link - 1].next;
	if (*link)
		*link = slots->slots[slot].next;
}

void slots_set(struct slots *slots, uint32_t slot, const struct slot_identity *identity, uint32_t target)
{
	struct slot *s = &slots->slots[slot];
	uint32_t *bucket = &slots->buckets[bucket_of(slots, identity)];

	if (is_current(slots, slot) && same(&s->identity, identity)) {
		if (s->target != target)
			s->target = 0;
		return;
	}
	if (s->identity.node)
		unlink_slot(slots, slot);
	*s = (struct slot){ *identity, slots->memory->endpoints[slot].incarnation, target, 0 };
	if (identity->node) {
		s->next = *bucket;
		*bucket = slot + 1;
	}
}

const struct slot_identity *slots_get(const struct slots *slots, uint32_t slot)
{
	return slot < slots->count && is_current(slots, slot) ? &slots->slots[slot].identity : NULL;
}

uint32_t slots_target(const struct slots *slots, uint32_t slot)
{
	return is_current(slots, slot) ? slots->slots[slot].target : 0;
}
