/* SPDX-License-Identifier: Apache-2.0 */
/* Services with their routes, the nodes that call them, and the rows where the calls are counted. */
#include "agent/compile/encode_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/current.h"
#include "base/cleanup.h"

/* --- rows -------------------------------------------------------------------------------------------------------------- */

void row_set_head(const struct encoder *encoder, uint32_t row, uint32_t target)
{
	struct row *head = &encoder->memory->rows[row];

	if (head->target == target)
		return;
	assert(!head->target);
	generations_id_hold(encoder->generations, target);
	__atomic_store_n(&head->target, target, __ATOMIC_RELAXED); /* a reading on the offload thread may be under way */
}

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
			return encode_no_memory(run);
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
		return encode_no_memory(run);
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
	const struct placed *placed = encode_placed(run, OBJECT_SERVICE, service);

	return placed ? placed->ref : current_ref(run->encoder, run->encoding->now.ids[OBJECT_SERVICE][service]);
}

int encode_service(struct run *run, struct placed *placed)
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
			encode_kept(run, OBJECT_SERVICE, placed);
			return 0;
		}
	}
	place = generations_alloc_service(encoder->generations);
	if (place < 0)
		return encode_no_room(run, "services", 1);
	first_route = generations_alloc_routes(encoder->generations, record.port_count);
	if (first_route < 0)
		return encode_no_room(run, "routes", record.port_count);
	record.first_route = (uint32_t)first_route;
	memcpy(&encoder->memory->routes[first_route], routes, routes_bytes);
	encoder->memory->services[place] = record;
	return encode_written(run, OBJECT_SERVICE, placed, place);
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

static bool same_l7_ports(const struct plan_node *node, const struct node_record *current)
{
	if (current->l7_port_count != node->l7_port_count)
		return false;
	for (size_t i = 0; i < node->l7_port_count; i++)
		if (current->l7_ports[i] != htons(node->l7_ports[i]))
			return false;
	return true;
}

/* The node's backends in order of service id, with the rows that they have and keep; row_count is 0 where they need new
 * ones. Returns whether that is what the current record says. */
static bool draft_backends(struct run *run, const struct plan_node *node, const struct node_record *current)
{
	const uint32_t *service_ids = run->encoding->now.ids[OBJECT_SERVICE];
	const struct backend *there = current ? &run->encoder->memory->backends[current->first_backend] : NULL;
	const struct backend *end = current ? there + current->backend_count : NULL;
	bool same = current && current->backend_count == node->backend_count && current->flags == node->flags &&
		    same_l7_ports(node, current);

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

static int new_block(struct run *run, uint32_t source, uint32_t ref, struct backend *backend)
{
	const struct kernel_memory *memory = run->encoder->memory;
	const struct service_record *service = &memory->services[ref & REF_INDEX_MASK];
	const uint8_t count = block_rows(run, ref);
	const int64_t first = generations_alloc_rows(run->encoder->generations, count);

	if (first < 0)
		return encode_no_room(run, "rows", count);
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
				row_set_head(run->encoder, backend->row + route->row_offset[t], route->target[t]);
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
	return run->order && run->backends ? 0 : encode_no_memory(run);
}

int encode_node(struct run *run, struct placed *placed)
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
		encode_kept(run, OBJECT_NODE, placed);
		return 0;
	}
	place = generations_alloc_node(encoder->generations);
	if (place < 0)
		return encode_no_room(run, "nodes", 1);
	first = generations_alloc_backends(encoder->generations, (uint32_t)node->backend_count);
	if (first < 0)
		return encode_no_room(run, "backends", (uint32_t)node->backend_count);
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
		.l7_port_count = (uint32_t)node->l7_port_count,
	};
	for (size_t i = 0; i < node->l7_port_count; i++)
		encoder->memory->nodes[place].l7_ports[i] = htons(node->l7_ports[i]);
	return encode_written(run, OBJECT_NODE, placed, place);
}

int encode_renewed(struct run *run)
{
	int r = 0;

	for (uint32_t place = 0; run->renewed_count && r == 0 && place < run->plan->node_count; place++) {
		struct placed placed = { .place = place, .was = place, .id = run->encoding->now.ids[OBJECT_NODE][place] };

		if (run->plan->nodes[place] && !encode_placed(run, OBJECT_NODE, place) && has_renewed(run, run->plan->nodes[place]))
			r = encode_node(run, &placed);
	}
	return r;
}
