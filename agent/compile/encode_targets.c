/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/compile/encode_internal.h"

#include <string.h>

#include "agent/compile/current.h"
#include "base/address.h"
#include "base/hash.h"
#include "maps/endpoint.h"

static int list_of(const struct ip *ip)
{
	return ip_is_v4(ip) ? LIST_V4 : LIST_V6;
}

/* All of a target's record but where its lists are. */
static struct target_record target_head(const struct plan_target *target)
{
	struct target_record record = {
		.flags = target->flags,
		.panic_pct = target->panic_pct,
		.max_connections = target->max_connections,
		.max_errors = target->outlier.max_errors,
		.interval_ns = target->outlier.interval_ns,
		.base_ejection_ns = target->outlier.base_ejection_ns,
		.max_ejection_pct = target->outlier.max_ejection_pct,
	};

	memcpy(record.zone_count, target->zone_count, sizeof(record.zone_count));
	if (target->zones)
		memcpy(record.zones, target->zones, sizeof(record.zones));
	for (size_t i = 0; i < target->endpoint_count; i++)
		record.count[list_of(&target->endpoints[i].address)]++;
	return record;
}

/* Padding of endpoints may differ without need: then the records are compared. */
static bool same_target(const struct plan_target *a, const struct plan_target *b)
{
	const struct target_record x = target_head(a), y = target_head(b);

	return memcmp(&x, &y, sizeof(x)) == 0 &&
	       (!a->endpoint_count || memcmp(a->endpoints, b->endpoints, a->endpoint_count * sizeof(*a->endpoints)) == 0);
}

static bool same_lists(const struct run *run, const struct target_record *record, const struct plan_target *target)
{
	const struct kernel_memory *memory = run->encoder->memory;
	uint32_t filled[LIST_COUNT] = {};

	for (size_t i = 0; i < target->endpoint_count; i++) {
		const struct plan_endpoint *endpoint = &target->endpoints[i];
		const int list = list_of(&endpoint->address);
		const struct endpoint_ref *ref = &memory->refs[record->first[list] + filled[list]];

		if (filled[list]++ == record->count[list] || !ip_equal(&ref->address, &endpoint->address) ||
		    ref->port != endpoint->port || ref->netns_cookie != endpoint->netns_cookie || ref->zone != endpoint->zone ||
		    ref->run != endpoint->run || ref->slot >= memory->limits.endpoints ||
		    memory->endpoints[ref->slot].incarnation != ref->incarnation)
			return false;
	}
	return filled[LIST_V4] == record->count[LIST_V4] && filled[LIST_V6] == record->count[LIST_V6];
}

static struct slot_identity ref_identity(const struct endpoint_ref *ref, uint64_t node)
{
	return (struct slot_identity){ ref->address, node, ref->netns_cookie, ref->port };
}

/* What an agent before gave to the endpoints of a target, now that the target's name is known. */
static void adopt_list(const struct encoder *encoder, const struct target_record *record, uint64_t node, uint32_t target)
{
	for (int list = 0; list < LIST_COUNT; list++)
		for (uint32_t i = 0; i < record->count[list]; i++) {
			const struct endpoint_ref *ref = &encoder->memory->refs[record->first[list] + i];
			const struct slot_identity identity = ref_identity(ref, node);

			if (ref->slot < encoder->memory->limits.endpoints && encoder->memory->endpoints[ref->slot].incarnation == ref->incarnation)
				slots_set(encoder->slots, ref->slot, &identity, target);
		}
}

static bool is_listed(const struct run *run, const struct target_record *current, int64_t slot)
{
	for (int list = 0; current && list < LIST_COUNT; list++)
		for (uint32_t i = 0; i < current->count[list]; i++)
			if (run->encoder->memory->refs[current->first[list] + i].slot == slot)
				return true;
	return false;
}

static int64_t endpoint_slot(const struct run *run, const struct target_record *current,
			     const struct slot_identity *identity, uint32_t target)
{
	int64_t slot = slots_find(run->encoder->slots, identity);

	if (slot < 0 || (run->encoder->sweeping && !is_listed(run, current, slot)))
		slot = generations_alloc_slot(run->encoder->generations);
	if (slot >= 0)
		slots_set(run->encoder->slots, (uint32_t)slot, identity, target);
	return slot;
}

static int write_lists(struct run *run, const struct plan_target *target, uint32_t id, const struct target_record *current,
		       struct target_record *record)
{
	const struct encoder *encoder = run->encoder;
	const uint64_t node = hash_string(target->node);
	uint32_t filled[LIST_COUNT] = {};

	for (int list = 0; list < LIST_COUNT; list++) {
		const int64_t first = generations_alloc_refs(encoder->generations, record->count[list]);

		if (first < 0)
			return encode_no_room(run, "endpoint-refs", record->count[list]);
		record->first[list] = (uint32_t)first;
	}
	for (size_t i = 0; i < target->endpoint_count; i++) {
		const struct plan_endpoint *endpoint = &target->endpoints[i];
		const int list = list_of(&endpoint->address);
		const int64_t slot = endpoint_slot(run, current,
						   &(struct slot_identity){ endpoint->address, node, endpoint->netns_cookie,
									    endpoint->port },
						   id);

		if (slot < 0)
			return encode_no_room(run, "endpoints", (uint32_t)(target->endpoint_count - i));
		encoder->memory->refs[record->first[list] + filled[list]++] = (struct endpoint_ref){
			.address = endpoint->address,
			.netns_cookie = endpoint->netns_cookie,
			.port = endpoint->port,
			.zone = endpoint->zone,
			.slot = (uint32_t)slot,
			.incarnation = encoder->memory->endpoints[slot].incarnation,
			.run = endpoint->run,
		};
	}
	return 0;
}

int encode_target(struct run *run, struct placed *placed)
{
	struct encoding *e = run->encoding;
	const struct plan_target *target = run->plan->targets[placed->place];
	const uint32_t was = placed->was, id = placed->id;
	const struct target_record *current = current_target(run->encoder, id);
	struct target_record record;
	int64_t place;
	int r;

	if (current && was != PLAN_NONE && same_target(run->before->plan->targets[was], target)) {
		encode_kept(run, OBJECT_TARGET, placed);
		return 0;
	}
	e->touched[e->touched_count++] = placed;
	if (current && was == PLAN_NONE)
		adopt_list(run->encoder, current, hash_string(target->node), id);
	record = target_head(target);
	if (current) {
		memcpy(record.first, current->first, sizeof(record.first));
		if (memcmp(&record, current, sizeof(record)) == 0 && same_lists(run, current, target)) {
			encode_kept(run, OBJECT_TARGET, placed);
			return 0;
		}
	}
	place = generations_alloc_target(run->encoder->generations);
	if (place < 0)
		return encode_no_room(run, "targets", 1);
	r = write_lists(run, target, id, current, &record);
	if (r < 0)
		return r;
	run->encoder->memory->targets[place] = record;
	return encode_written(run, OBJECT_TARGET, placed, place);
}

void target_publish_state(const struct kernel_memory *memory, const struct plan_target *target,
			  const struct target_record *record)
{
	uint32_t at[LIST_COUNT] = { record->first[LIST_V4], record->first[LIST_V6] };

	for (size_t i = 0; i < target->endpoint_count; i++) {
		const struct plan_endpoint *endpoint = &target->endpoints[i];
		const uint32_t slot = memory->refs[at[list_of(&endpoint->address)]++].slot;

		if ((memory->endpoints[slot].health == HEALTH_UNCHECKED) != (endpoint->health == HEALTH_UNCHECKED))
			__atomic_store_n(&memory->endpoints[slot].health, endpoint->health, __ATOMIC_RELAXED);
		if (!record->max_errors)
			endpoint_readmit(&memory->endpoints[slot], 0);
	}
}

void encoder_adopt_slots(const struct encoder *encoder)
{
	const uint64_t current = generations_current(encoder->generations);

	for (uint64_t generation = generations_oldest(encoder->generations); generation <= current; generation++)
		for (uint32_t id = 1; id < encoder->memory->limits.objects; id++) {
			const uint32_t ref = generations_ref(encoder->generations, generation, id);
			const struct target_record *target;

			if (ref == generations_ref(encoder->generations, generation - 1, id))
				continue; /* the same record was looked at there */
			target = target_at(encoder, ref);
			if (target)
				adopt_list(encoder, target, 0, id);
		}
}
