/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out what is in use. Marked is what the kept directories name when the sweep begins, what the accounts name, and what was
 * or is allocated for a change; a commit meanwhile can name nothing else. That is enough: a program that is in the kernel now and
 * has no account yet took its decision from a directory that is kept, or else it ended before the grace period without which no
 * sweep begins. */
#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "maps/generation_state.h"

static void mark_id(struct generations *g, uint32_t id)
{
	if (id < object_count(g))
		area_mark(&g->areas[AREA_OBJECT], id);
	else
		g->ignored++;
}

/* Clips what is out of range to nothing. */
static uint32_t range_count(struct generations *g, enum area_id area, uint32_t first, uint32_t count)
{
	if (area_contains(&g->areas[area], first, count))
		return count;
	g->ignored++;
	return 0;
}

static void mark_service(struct generations *g, uint32_t index)
{
	const struct service_record *service = &g->memory->services[index];
	const uint32_t count = range_count(g, AREA_ROUTE, service->first_route, service->port_count);

	for (uint32_t i = 0; i < count; i++) {
		const struct route_record *route = &g->memory->routes[service->first_route + i];

		if (!area_mark(&g->areas[AREA_ROUTE], service->first_route + i))
			continue;
		if (route->target_count > MAX_ROUTE_TARGETS)
			g->ignored++;
		for (uint32_t t = 0; t < MIN(route->target_count, MAX_ROUTE_TARGETS); t++)
			mark_id(g, route->target[t]);
	}
}

static void mark_target(struct generations *g, uint32_t index)
{
	const struct target_record *target = &g->memory->targets[index];

	for (uint32_t list = 0; list < LIST_COUNT; list++) {
		const uint32_t first = target->first[list];
		const uint32_t count = range_count(g, AREA_REF, first, target->count[list]);

		for (uint32_t i = 0; i < count; i++)
			if (area_mark(&g->areas[AREA_REF], first + i) &&
			    range_count(g, AREA_ENDPOINT, g->memory->refs[first + i].slot, 1))
				area_mark(&g->areas[AREA_ENDPOINT], g->memory->refs[first + i].slot);
	}
}

static void mark_node(struct generations *g, uint32_t index)
{
	const struct node_record *node = &g->memory->nodes[index];
	const uint32_t count = range_count(g, AREA_BACKEND, node->first_backend, node->backend_count);

	for (uint32_t i = 0; i < count; i++) {
		const struct backend *backend = &g->memory->backends[node->first_backend + i];
		uint32_t rows;

		if (!area_mark(&g->areas[AREA_BACKEND], node->first_backend + i))
			continue;
		mark_id(g, backend->service);
		rows = range_count(g, AREA_ROW, backend->row, backend->row_count);
		for (uint32_t row = 0; row < rows; row++)
			area_mark(&g->areas[AREA_ROW], backend->row + row);
	}
}

/* What stands in the generation before as well needs no second look, unless this is the first one. */
static void mark_directory(struct generations *g, uint64_t generation, bool first)
{
	static void (*const mark[])(struct generations *, uint32_t) = {
		[OBJECT_SERVICE] = mark_service,
		[OBJECT_TARGET] = mark_target,
		[OBJECT_NODE] = mark_node,
	};

	for (uint32_t id = 0; id < object_count(g); id++) {
		const uint32_t ref = *kernel_memory_ref(g->memory, generation, id);
		struct area *area;

		if (!ref || (!first && ref == *kernel_memory_ref(g->memory, generation - 1, id)))
			continue;
		area = generation_ref_area(g, ref);
		if (!area || !id) {
			g->ignored++;
			continue;
		}
		area_mark(&g->areas[AREA_OBJECT], id);
		if (area_mark(area, ref & REF_INDEX_MASK))
			mark[ref >> REF_KIND_SHIFT](g, ref & REF_INDEX_MASK);
	}
}

int generations_sweep_begin(struct generations *g)
{
	const uint64_t oldest = generations_oldest(g);

	if (g->passed < oldest) /* somebody may still read what is no longer kept */
		return -EAGAIN;
	g->ignored = 0;
	for (size_t i = 0; i < AREA_COUNT; i++)
		area_sweep_begin(&g->areas[i]);
	for (uint64_t generation = oldest; generation <= g->current; generation++)
		mark_directory(g, generation, generation == oldest);
	g->sweeping = true;
	return 0;
}

/* An account names what had its incarnation then, and was in use. */
static bool same_owner(uint32_t incarnation, uint32_t incarnation_then)
{
	return incarnation == incarnation_then && incarnation & 1;
}

void generations_sweep_account(struct generations *g, const struct account *account)
{
	const struct kernel_memory *memory = g->memory;

	assert(g->sweeping);
	if (range_count(g, AREA_ROW, account->row, 1) &&
	    same_owner(memory->rows[account->row].incarnation, account->row_incarnation))
		area_mark(&g->areas[AREA_ROW], account->row);
	if (range_count(g, AREA_ENDPOINT, account->slot, 1) &&
	    same_owner(memory->endpoints[account->slot].incarnation, account->slot_incarnation))
		area_mark(&g->areas[AREA_ENDPOINT], account->slot);
	mark_id(g, account->source);
	mark_id(g, account->service);
	mark_id(g, account->target);
}

static void free_rows(struct generations *g, generations_retired_fn *retired, void *arg)
{
	struct area *area = &g->areas[AREA_ROW];

	for (uint32_t i = area_garbage(area, 0); i < area->size; i = area_garbage(area, i + 1)) {
		struct row *row = &g->memory->rows[i];

		if (!(row->incarnation & 1))
			continue;
		if (retired(i, row, arg) >= 0) {
			generation_row_retire(row);
			continue;
		}
		area_mark(area, i);
		mark_id(g, row->source);
		mark_id(g, row->service);
		mark_id(g, row->target);
	}
}

static void free_slots(struct generations *g)
{
	const struct area *area = &g->areas[AREA_ENDPOINT];

	for (uint32_t i = area_garbage(area, 0); i < area->size; i = area_garbage(area, i + 1))
		if (g->memory->endpoints[i].incarnation & 1)
			generation_slot_retire(&g->memory->endpoints[i]);
}

static void free_ids(struct generations *g)
{
	struct area *area = &g->areas[AREA_OBJECT];
	struct object_name *names = g->memory->objects;
	uint32_t nameless = area->size - area->used_count;

	area_mark(area, 0);
	for (uint32_t id = 0; id < area->size; id++)
		if (g->holds[id])
			area_mark(area, id);
	for (uint32_t id = area_garbage(area, 0); id < area->size; id = area_garbage(area, id + 1))
		nameless += generation_name_empty(&names[id]);
	for (uint32_t id = area_garbage(area, 0); id < area->size; id = area_garbage(area, id + 1)) {
		if (nameless < area->size / 4)
			names[id] = (struct object_name){};
		else if (!generation_name_empty(&names[id]))
			area_mark(area, id);
	}
	generation_index_names(g);
}

void generations_sweep_end(struct generations *g, generations_retired_fn *retired, void *arg)
{
	assert(g->sweeping);
	free_rows(g, retired, arg);
	free_slots(g);
	free_ids(g);
	for (size_t i = 0; i < AREA_COUNT; i++) {
		area_sweep_end(&g->areas[i]);
		kernel_memory_trim(g->memory, i, area_end(&g->areas[i]));
	}
	g->sweeping = false;
}

uint64_t generations_ignored(const struct generations *g)
{
	return g->ignored;
}
