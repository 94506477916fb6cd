/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/current.h"
#include "agent/compile/layout.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "maps/endpoint.h"

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

static void run_done(struct run *run)
{
	blocks_done(&run->blocks);
	free(run->renewed);
	free(run->order);
	free(run->backends);
}

static int no_room(const struct run *run, const char *table, uint32_t count)
{
	struct generations_fill fill[16];
	const size_t fill_count = generations_fill(run->encoder->generations, fill, ARRAY_SIZE(fill));

	for (size_t i = 0; i < fill_count; i++)
		if (strcmp(fill[i].name, table) == 0)
			return error_set(run->err, -ENOSPC, "the table of %s is full: %u of %u are used, and %u more are needed", table,
					 fill[i].used, fill[i].size, count);
	assert(!"a table by this name");
	return -ENOSPC;
}

static int no_memory(const struct run *run)
{
	return error_set(run->err, -ENOMEM, "no memory to apply the configuration");
}

static int change(struct run *run, uint32_t id, uint32_t ref)
{
	struct encoding *e = run->encoding;

	if (e->change_count == e->change_capacity) {
		const size_t capacity = e->change_capacity ? 2 * e->change_capacity : 16;
		struct change *changes = reallocarray(e->changes, capacity, sizeof(*changes));

		if (!changes)
			return no_memory(run);
		e->changes = changes;
		e->change_capacity = capacity;
	}
	e->changes[e->change_count++] = (struct change){ id, ref };
	return 0;
}

static int publish_object(struct run *run, enum object_kind kind, struct placed *placed, int64_t record)
{
	placed->ref = REF(kind, record);
	return change(run, placed->id, placed->ref);
}

/* The record in the current directory serves on. */
static void keep_object(const struct run *run, struct placed *placed)
{
	placed->ref = current_ref(run->encoder, placed->id);
}

/* --- which object is which --------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return (x->place > y->place) - (x->place < y->place);
}

static void sort(struct placed *placed, size_t count, int (*order)(const void *, const void *))
{
	if (count > 1)
		qsort(placed, count, sizeof(*placed), order);
}

struct differences { /* places where the plans have not the same object; those of either side */
	struct placed *now, *before;
	size_t now_count, before_count;
};

static void differences_done(struct differences *d)
{
	free(d->now);
	free(d->before);
}

static int count_differences(const struct plan_side *now, const struct plan_side *before, struct differences *d)
{
	size_t now_count = 0, before_count = 0;

	for (size_t i = 0; i < MAX(now->count, before->count); i++) {
		const struct plan_object *a = i < now->count ? now->objects[i] : NULL, *b = i < before->count ? before->objects[i] : NULL;

		now_count += a != b && a;
		before_count += a != b && b;
	}
	d->now = calloc(now_count + 1, sizeof(*d->now));
	d->before = calloc(before_count + 1, sizeof(*d->before));
	return d->now && d->before ? 0 : -ENOMEM;
}

static void list_differences(const struct plan_side *now, const struct plan_side *before, const uint32_t *ids_before,
			     struct differences *d)
{
	for (uint32_t i = 0; i < MAX(now->count, before->count); i++) {
		const struct plan_object *a = i < now->count ? now->objects[i] : NULL, *b = i < before->count ? before->objects[i] : NULL;

		if (a != b && a)
			d->now[d->now_count++] = (struct placed){ .place = i, .was = PLAN_NONE };
		if (a != b && b)
			d->before[d->before_count++] = (struct placed){ .place = i, .id = ids_before[i] };
	}
}

static int name_objects(struct run *run, enum object_kind kind, const struct plan_side *now, const struct plan_side *before,
			struct differences *d)
{
	for (size_t i = 0; i < d->now_count; i++) {
		struct placed *placed = &d->now[i];
		const struct plan_object *object = now->objects[placed->place],
					 *there = placed->place < before->count ? before->objects[placed->place] : NULL;
		int r;

		/* mostly: the same one, changed */
		if (there && strcmp(there->name, object->name) == 0) {
			placed->id = run->before->ids[kind][placed->place];
			continue;
		}
		r = names_make(run->encoder->names, kind, object->name, &placed->id);
		if (r == -ENOSPC)
			return no_room(run, "objects", 1);
		if (r < 0)
			return error_set(run->err, r, "cannot give an id to %s", object->name);
	}
	return 0;
}

/* Of what was there, all that is elsewhere now has its place there told; the rest goes. */
static int match_differences(struct run *run, enum object_kind kind, struct differences *d)
{
	struct encoding *e = run->encoding;
	size_t n = 0;
	int r = 0;

	sort(d->now, d->now_count, by_id);
	sort(d->before, d->before_count, by_id);
	for (size_t b = 0; r == 0 && b < d->before_count; b++) {
		const struct placed *before = &d->before[b];
		bool same_place;

		while (n < d->now_count && d->now[n].id < before->id)
			n++;
		if (n == d->now_count || d->now[n].id != before->id) {
			r = change(run, before->id, 0);
			same_place = false;
		} else {
			d->now[n].was = before->place;
			same_place = d->now[n].place == before->place;
		}
		if (kind == OBJECT_SERVICE && !same_place)
			e->gone[e->gone_count++] = before->place;
	}
	sort(d->now, d->now_count, by_place);
	return r;
}

static int match(struct run *run, enum object_kind kind)
{
	const struct plan_side now = plan_side(run->plan, (enum plan_kind)kind),
			       before = plan_side(run->before->plan, (enum plan_kind)kind);
	_cleanup_(differences_done) struct differences d = {};
	struct encoding *e = run->encoding;
	uint32_t *ids = calloc(now.count + 1, sizeof(*ids));
	int r;

	e->now.ids[kind] = ids;
	if (!ids || count_differences(&now, &before, &d) < 0)
		return no_memory(run);
	if (run->before->plan)
		memcpy(ids, run->before->ids[kind], MIN(now.count, before.count) * sizeof(*ids));
	list_differences(&now, &before, run->before->ids[kind], &d);
	if (kind == OBJECT_SERVICE && !(e->gone = calloc(d.before_count + 1, sizeof(*e->gone))))
		return no_memory(run);
	r = name_objects(run, kind, &now, &before, &d);
	if (r >= 0)
		r = match_differences(run, kind, &d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d.now_count; i++)
		ids[d.now[i].place] = d.now[i].id;
	e->placed[kind] = TAKE_PTR(d.now);
	e->placed_count[kind] = d.now_count;
	return 0;
}

static struct placed *placed_at(const struct run *run, enum object_kind kind, uint32_t place)
{
	const struct encoding *e = run->encoding;

	return e->placed_count[kind] ? bsearch(&(struct placed){ .place = place }, e->placed[kind], e->placed_count[kind],
					       sizeof(struct placed), by_place) :
				       NULL;
}

/* Without a plan before, all that the directory has and the plan has not goes. */
static int remove_unplanned(struct run *run)
{
	const uint32_t objects = run->encoder->memory->limits.objects;
	_cleanup_free_ bool *planned = calloc(objects, sizeof(*planned));
	int r = 0;

	if (!planned)
		return no_memory(run);
	for (enum object_kind kind = OBJECT_SERVICE; kind < OBJECT_KINDS; kind++)
		for (size_t i = 0; i < run->encoding->placed_count[kind]; i++)
			planned[run->encoding->placed[kind][i].id] = true;
	for (uint32_t id = 1; r == 0 && id < objects; id++)
		if (!planned[id] && current_ref(run->encoder, id))
			r = change(run, id, 0);
	return r;
}

/* --- targets ----------------------------------------------------------------------------------------------------------- */

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
			return no_room(run, "endpoint-refs", record->count[list]);
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
			return no_room(run, "endpoints", (uint32_t)(target->endpoint_count - i));
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

static int encode_target(struct run *run, struct placed *placed)
{
	struct encoding *e = run->encoding;
	const struct plan_target *target = run->plan->targets[placed->place];
	const uint32_t was = placed->was, id = placed->id;
	const struct target_record *current = current_target(run->encoder, id);
	struct target_record record;
	int64_t place;
	int r;

	if (current && was != PLAN_NONE && same_target(run->before->plan->targets[was], target)) {
		keep_object(run, placed);
		return 0;
	}
	e->touched[e->touched_count++] = placed;
	if (current && was == PLAN_NONE)
		adopt_list(run->encoder, current, hash_string(target->node), id);
	record = target_head(target);
	if (current) {
		memcpy(record.first, current->first, sizeof(record.first));
		if (memcmp(&record, current, sizeof(record)) == 0 && same_lists(run, current, target)) {
			keep_object(run, placed);
			return 0;
		}
	}
	place = generations_alloc_target(run->encoder->generations);
	if (place < 0)
		return no_room(run, "targets", 1);
	r = write_lists(run, target, id, current, &record);
	if (r < 0)
		return r;
	run->encoder->memory->targets[place] = record;
	return publish_object(run, OBJECT_TARGET, placed, place);
}

/* --- services ---------------------------------------------------------------------------------------------------------- */

/* The routes of a service but for row offsets, which are taken from the same place in the current routes. Returns whether
 * all of them were there. */
static bool fill_routes(const struct run *run, const struct plan_service *service, const struct service_record *current,
			struct route_record *routes)
{
	const uint32_t *target_ids = run->encoding->now.ids[OBJECT_TARGET];
	bool complete = true;

	for (size_t p = 0; p < service->port_count; p++) {
		const struct plan_port *port = &service->ports[p];
		const struct route_record *there = current && p < current->port_count ?
							   &run->encoder->memory->routes[current->first_route + p] :
							   NULL;
		struct route_record *route = &routes[p];
		uint16_t sum = 0;

		assert(port->target_count <= MAX_ROUTE_TARGETS);
		*route = (struct route_record){ .closed = port->closed, .flags = port->flags, .target_count = port->target_count };
		for (size_t t = 0; t < port->target_count; t++) {
			const struct plan_weighted *weighted = &port->targets[t];

			sum += weighted->weight;
			route->cumulative[t] = sum;
			route->target[t] = weighted->target == PLAN_NONE ? 0 : target_ids[weighted->target];
			if (there && there->target[t] == route->target[t])
				route->row_offset[t] = there->row_offset[t];
			else if (route->target[t])
				complete = false;
		}
	}
	return complete;
}

static int add_head(struct run *run, uint32_t row, uint32_t target)
{
	struct encoding *e = run->encoding;

	if (e->head_count == e->head_capacity) {
		const size_t capacity = e->head_capacity ? 2 * e->head_capacity : 64;
		struct row_head *heads = realloc(e->heads, capacity * sizeof(*heads));

		if (!heads)
			return no_memory(run);
		e->heads = heads;
		e->head_capacity = capacity;
	}
	e->heads[e->head_count++] = (struct row_head){ row, target };
	return 0;
}

/* Offsets for targets that are new in the service. Within the blocks that are there, where none of them has counted for
 * another target at that offset; else all sources get new blocks, and the targets that stay keep their offsets. */
static int place_targets(struct run *run, const struct placed *placed, struct layout *layout, const uint32_t *fresh,
			 size_t fresh_count)
{
	const struct kernel_memory *memory = run->encoder->memory;
	int r;

	r = blocks_find(&run->blocks, run->encoder, run->encoding->now.ids[OBJECT_NODE], run->plan->node_count, placed->id);
	if (r < 0)
		return no_memory(run);
	if (!layout_place_in_blocks(layout, memory, run->blocks.list, run->blocks.count, fresh, fresh_count)) {
		run->renewed[run->renewed_count++] = placed->place;
		if (!layout_place(layout, fresh, fresh_count))
			return error_set(run->err, -E2BIG, "%s has more than %d targets", run->plan->services[placed->place]->name,
					 MAX_SERVICE_ROWS);
		return 0;
	}
	for (size_t b = 0; b < run->blocks.count; b++)
		for (size_t f = 0; f < fresh_count; f++) {
			const uint32_t row = run->blocks.list[b].row + (uint32_t)layout_find(layout, fresh[f]);

			r = memory->rows[row].target == fresh[f] ? 0 : add_head(run, row, fresh[f]);
			if (r < 0)
				return r;
		}
	return 0;
}

static int assign_offsets(struct run *run, const struct placed *placed, const struct service_record *current, struct route_record *routes)
{
	const size_t port_count = run->plan->services[placed->place]->port_count;
	struct layout before = {}, now = {};
	uint32_t fresh[MAX_SERVICE_PORTS * MAX_ROUTE_TARGETS];
	size_t fresh_count = 0;

	if (current)
		layout_read(&before, &run->encoder->memory->routes[current->first_route], current->port_count);
	for (size_t p = 0; p < port_count; p++)
		for (size_t t = 0; t < routes[p].target_count; t++) {
			const uint32_t target = routes[p].target[t];
			const int offset = layout_find(&before, target);

			if (!target)
				continue;
			if (offset >= 0)
				now.target[offset] = target;
			else
				fresh[fresh_count++] = target;
		}
	if (fresh_count) {
		const int r = place_targets(run, placed, &now, fresh, fresh_count);

		if (r < 0)
			return r;
	}
	for (size_t p = 0; p < port_count; p++)
		for (size_t t = 0; t < routes[p].target_count; t++)
			if (routes[p].target[t])
				routes[p].row_offset[t] = (uint8_t)layout_find(&now, routes[p].target[t]);
	return 0;
}

/* A power of two, so that a target more seldom needs new blocks. */
static uint8_t rows_needed(const struct route_record *routes, size_t port_count)
{
	uint8_t needed = 0, rows = 2;

	for (size_t p = 0; p < port_count; p++)
		for (size_t t = 0; t < routes[p].target_count; t++)
			if (routes[p].target[t])
				needed = MAX(needed, (uint8_t)(routes[p].row_offset[t] + 1));
	while (rows < needed)
		rows *= 2;
	return needed ? rows : 0;
}

/* How many rows one source needs for a service, whose record is written or stays. */
static uint8_t block_rows(const struct run *run, uint32_t ref)
{
	const struct service_record *record = &run->encoder->memory->services[ref & REF_INDEX_MASK];

	return rows_needed(&run->encoder->memory->routes[record->first_route], record->port_count);
}

static uint32_t service_ref(const struct run *run, uint32_t service)
{
	const struct placed *placed = placed_at(run, OBJECT_SERVICE, service);

	return placed ? placed->ref : current_ref(run->encoder, run->encoding->now.ids[OBJECT_SERVICE][service]);
}

static int encode_service(struct run *run, struct placed *placed)
{
	const struct encoder *encoder = run->encoder;
	const struct plan_service *service = run->plan->services[placed->place];
	const struct service_record *current = current_service(encoder, placed->id);
	struct service_record record = { .port_count = (uint16_t)service->port_count, .no_port = service->no_port };
	struct route_record routes[MAX_SERVICE_PORTS];
	const size_t routes_bytes = service->port_count * sizeof(*routes);
	int64_t place, first_route;
	int r;

	assert(service->port_count <= MAX_SERVICE_PORTS);
	for (size_t p = 0; p < service->port_count; p++)
		record.ports[p] = htons(service->ports[p].port);
	if (!fill_routes(run, service, current, routes)) {
		r = assign_offsets(run, placed, current, routes);
		if (r < 0)
			return r;
	}
	if (current) {
		record.first_route = current->first_route;
		if (memcmp(current, &record, sizeof(record)) == 0 &&
		    memcmp(&encoder->memory->routes[current->first_route], routes, routes_bytes) == 0) {
			keep_object(run, placed);
			return 0;
		}
	}
	place = generations_alloc_service(encoder->generations);
	if (place < 0)
		return no_room(run, "services", 1);
	first_route = generations_alloc_routes(encoder->generations, record.port_count);
	if (first_route < 0)
		return no_room(run, "routes", record.port_count);
	record.first_route = (uint32_t)first_route;
	memcpy(&encoder->memory->routes[first_route], routes, routes_bytes);
	encoder->memory->services[place] = record;
	return publish_object(run, OBJECT_SERVICE, placed, place);
}

/* --- nodes ------------------------------------------------------------------------------------------------------------- */

static bool is_renewed(const struct run *run, uint32_t service)
{
	for (size_t i = 0; i < run->renewed_count; i++) /* few */
		if (run->renewed[i] == service)
			return true;
	return false;
}

static int backend_order(const void *a, const void *b)
{
	const struct plan_backend *x = a, *y = b;

	return (x->service > y->service) - (x->service < y->service);
}

static bool has_renewed(const struct run *run, const struct plan_node *node)
{
	for (size_t i = 0; node->backend_count && i < run->renewed_count; i++)
		if (bsearch(&(struct plan_backend){ .service = run->renewed[i] }, node->backends, node->backend_count, sizeof(*node->backends),
			    backend_order))
			return true;
	return false;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The node's backends in order of service id, with the rows that they have and keep; row_count is 0 where they need new
 * ones. Returns whether that is what the current record says. */
static bool draft_backends(struct run *run, const struct plan_node *node, const struct node_record *current)
{
	const uint32_t *service_ids = run->encoding->now.ids[OBJECT_SERVICE];
	const struct backend *there = current ? &run->encoder->memory->backends[current->first_backend] : NULL;
	const struct backend *end = current ? there + current->backend_count : NULL;
	bool same = current && current->backend_count == node->backend_count && current->flags == node->flags;

	for (size_t i = 0; i < node->backend_count; i++)
		run->order[i] = (uint64_t)service_ids[node->backends[i].service] << 32 | i;
	if (node->backend_count > 1)
		qsort(run->order, node->backend_count, sizeof(*run->order), by_value);
	for (size_t i = 0; i < node->backend_count; i++) {
		const struct plan_backend *planned = &node->backends[(uint32_t)run->order[i]];
		struct backend *backend = &run->backends[i];

		*backend = (struct backend){
			.service = service_ids[planned->service],
			.tls_ports = planned->tls_ports,
			.flags = (uint16_t)planned->flags,
		};
		while (there < end && there->service < backend->service)
			there++;
		if (there < end && there->service == backend->service && !is_renewed(run, planned->service) &&
		    there->row_count >= block_rows(run, service_ref(run, planned->service))) {
			backend->row = there->row;
			backend->row_count = there->row_count;
			same = same && memcmp(backend, there, sizeof(*backend)) == 0;
		} else {
			same = false;
		}
	}
	return same;
}

static void set_head(const struct encoder *encoder, uint32_t row, uint32_t target)
{
	struct row *head = &encoder->memory->rows[row];

	if (head->target == target)
		return;
	assert(!head->target);
	generations_id_hold(encoder->generations, target);
	__atomic_store_n(&head->target, target, __ATOMIC_RELAXED); /* a reading on the offload thread may be under way */
}

static int new_block(struct run *run, uint32_t source, uint32_t ref, struct backend *backend)
{
	const struct kernel_memory *memory = run->encoder->memory;
	const struct service_record *service = &memory->services[ref & REF_INDEX_MASK];
	const uint8_t count = block_rows(run, ref);
	const int64_t first = generations_alloc_rows(run->encoder->generations, count);

	if (first < 0)
		return no_room(run, "rows", count);
	backend->row = (uint32_t)first;
	backend->row_count = count;
	for (uint32_t i = 0; i < count; i++) {
		memory->rows[first + i].source = source;
		memory->rows[first + i].service = backend->service;
	}
	for (uint32_t p = 0; p < service->port_count; p++) {
		const struct route_record *route = &memory->routes[service->first_route + p];

		for (uint32_t t = 0; t < route->target_count; t++)
			if (route->target[t])
				set_head(run->encoder, backend->row + route->row_offset[t], route->target[t]);
	}
	return 0;
}

static int reserve_backends(struct run *run, size_t count)
{
	if (count < run->backend_capacity)
		return 0;
	free(run->order);
	free(run->backends);
	run->order = calloc(count + 1, sizeof(*run->order));
	run->backends = calloc(count + 1, sizeof(*run->backends));
	run->backend_capacity = count + 1;
	return run->order && run->backends ? 0 : no_memory(run);
}

static int encode_node(struct run *run, struct placed *placed)
{
	const struct encoder *encoder = run->encoder;
	const struct plan_node *node = run->plan->nodes[placed->place];
	const struct node_record *current = current_node(encoder, placed->id);
	int64_t place, first;
	int r;

	r = reserve_backends(run, node->backend_count);
	if (r < 0)
		return r;
	if (draft_backends(run, node, current)) {
		keep_object(run, placed);
		return 0;
	}
	place = generations_alloc_node(encoder->generations);
	if (place < 0)
		return no_room(run, "nodes", 1);
	first = generations_alloc_backends(encoder->generations, (uint32_t)node->backend_count);
	if (first < 0)
		return no_room(run, "backends", (uint32_t)node->backend_count);
	for (size_t i = 0; i < node->backend_count; i++) {
		const uint32_t ref = service_ref(run, node->backends[(uint32_t)run->order[i]].service);

		if (run->backends[i].row_count || !block_rows(run, ref))
			continue;
		r = new_block(run, placed->id, ref, &run->backends[i]);
		if (r < 0)
			return r;
	}
	if (node->backend_count)
		memcpy(&encoder->memory->backends[first], run->backends, node->backend_count * sizeof(*run->backends));
	encoder->memory->nodes[place] = (struct node_record){
		.first_backend = (uint32_t)first,
		.backend_count = (uint32_t)node->backend_count,
		.flags = node->flags,
	};
	return publish_object(run, OBJECT_NODE, placed, place);
}

/* Nodes that are as before, but for where the rows of a backend are. */
static int encode_renewed(struct run *run)
{
	int r = 0;

	for (uint32_t place = 0; run->renewed_count && r == 0 && place < run->plan->node_count; place++) {
		struct placed placed = { .place = place, .id = run->encoding->now.ids[OBJECT_NODE][place] };

		if (run->plan->nodes[place] && !placed_at(run, OBJECT_NODE, place) && has_renewed(run, run->plan->nodes[place]))
			r = encode_node(run, &placed);
	}
	return r;
}

/* --- the whole --------------------------------------------------------------------------------------------------------- */

static int prepare(struct run *run)
{
	struct encoding *e = run->encoding;

	e->touched = calloc(e->placed_count[OBJECT_TARGET] + 1, sizeof(struct placed *));
	run->renewed = calloc(e->placed_count[OBJECT_SERVICE] + 1, sizeof(*run->renewed));
	return e->touched && run->renewed ? 0 : no_memory(run);
}

int encode(const struct encoder *encoder, const struct planned *before, struct plan *plan, struct encoding *ret_encoding,
	   struct error *err)
{
	/* Services name targets and nodes name services, and each looks at what was written for those. */
	static const struct {
		enum object_kind kind;
		int (*encode)(struct run *run, struct placed *placed);
	} steps[] = {
		{ OBJECT_TARGET, encode_target },
		{ OBJECT_SERVICE, encode_service },
		{ OBJECT_NODE, encode_node },
	};
	_cleanup_(encoding_done) struct encoding encoding = {};
	_cleanup_(run_done) struct run run = {
		.encoder = encoder, .before = before, .plan = plan, .encoding = &encoding, .err = err
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
		r = match(&run, steps[i].kind);
	if (r >= 0)
		r = prepare(&run);
	if (r >= 0 && !before->plan)
		r = remove_unplanned(&run);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
		for (size_t n = 0; r >= 0 && n < encoding.placed_count[steps[i].kind]; n++)
			r = steps[i].encode(&run, &encoding.placed[steps[i].kind][n]);
	if (r >= 0)
		r = encode_renewed(&run);
	if (r < 0)
		return r;
	encoding.now.plan = plan;
	*ret_encoding = encoding;
	encoding = (struct encoding){};
	return 0;
}

/* What checks found stays in the slot, and ejections do: all that is published is that there is a check, or none, and that there is
 * no outlier detection. */
static void publish_state(const struct kernel_memory *memory, const struct plan_target *target,
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

void encoding_publish(const struct encoder *encoder, const struct encoding *encoding)
{
	for (size_t i = 0; i < encoding->head_count; i++)
		set_head(encoder, encoding->heads[i].row, encoding->heads[i].target);
	for (size_t i = 0; i < encoding->touched_count; i++)
		publish_state(encoder->memory, encoding->now.plan->targets[encoding->touched[i]->place],
			      &encoder->memory->targets[encoding->touched[i]->ref & REF_INDEX_MASK]);
}

void planned_done(struct planned *planned)
{
	plan_free(planned->plan);
	for (size_t kind = 0; kind < OBJECT_KINDS; kind++)
		free(planned->ids[kind]);
	*planned = (struct planned){};
}

void encoding_done(struct encoding *e)
{
	for (size_t kind = 0; kind < OBJECT_KINDS; kind++) {
		free(e->now.ids[kind]);
		free(e->placed[kind]);
	}
	free(e->changes);
	free(e->heads);
	free(e->touched);
	free(e->gone);
	*e = (struct encoding){};
}

/* --- adoption ---------------------------------------------------------------------------------------------------------- */

void encoder_adopt_rows(const struct encoder *encoder)
{
	for (uint32_t i = 0; i < encoder->memory->limits.rows; i++) {
		const struct row *row = &encoder->memory->rows[i];

		if (row->incarnation & 1 && row->target && row->target < encoder->memory->limits.objects)
			generations_id_hold(encoder->generations, row->target);
	}
}

void encoder_row_retired(const struct encoder *encoder, const struct row *row)
{
	if (row->target && row->target < encoder->memory->limits.objects)
		generations_id_release(encoder->generations, row->target);
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
