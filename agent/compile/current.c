/* SPDX-License-Identifier: Apache-2.0 */
#include "current.h"

#include <stdlib.h>

uint32_t current_ref(const struct encoder *encoder, uint32_t id)
{
	return generations_ref(encoder->generations, generations_current(encoder->generations), id);
}

static bool is_record(uint32_t ref, enum object_kind kind, uint32_t size)
{
	return ref >> REF_KIND_SHIFT == kind && (ref & REF_INDEX_MASK) < size;
}

static bool is_range(uint32_t first, uint32_t count, uint32_t size)
{
	return first <= size && count <= size - first;
}

static bool is_route(const struct encoder *encoder, const struct route_record *route)
{
	if (route->target_count > MAX_ROUTE_TARGETS)
		return false;
	for (size_t t = 0; t < route->target_count; t++)
		if (route->row_offset[t] >= MAX_SERVICE_ROWS || route->target[t] >= encoder->memory->limits.objects)
			return false;
	return true;
}

const struct service_record *current_service(const struct encoder *encoder, uint32_t id)
{
	const uint32_t ref = current_ref(encoder, id);
	const struct service_record *service = &encoder->memory->services[ref & REF_INDEX_MASK];
	const struct kernel_limits *limits = &encoder->memory->limits;

	if (!is_record(ref, OBJECT_SERVICE, limits->services) || service->port_count > MAX_SERVICE_PORTS ||
	    !is_range(service->first_route, service->port_count, limits->routes))
		return NULL;
	for (size_t p = 0; p < service->port_count; p++)
		if (!is_route(encoder, &encoder->memory->routes[service->first_route + p]))
			return NULL;
	return service;
}

const struct target_record *target_at(const struct encoder *encoder, uint32_t ref)
{
	const struct target_record *target = &encoder->memory->targets[ref & REF_INDEX_MASK];

	if (!is_record(ref, OBJECT_TARGET, encoder->memory->limits.targets))
		return NULL;
	for (int list = 0; list < LIST_COUNT; list++)
		if (!is_range(target->first[list], target->count[list], encoder->memory->limits.refs))
			return NULL;
	return target;
}

const struct target_record *current_target(const struct encoder *encoder, uint32_t id)
{
	return target_at(encoder, current_ref(encoder, id));
}

static bool is_backend(const struct encoder *encoder, const struct backend *backend)
{
	const struct kernel_limits *limits = &encoder->memory->limits;

	return is_range(backend->row, backend->row_count, limits->rows) && backend->row_count <= MAX_SERVICE_ROWS &&
	       backend->service < limits->objects;
}

/* But for what its backends say. */
static const struct node_record *node_of(const struct encoder *encoder, uint32_t id)
{
	const uint32_t ref = current_ref(encoder, id);
	const struct node_record *node = &encoder->memory->nodes[ref & REF_INDEX_MASK];
	const struct kernel_limits *limits = &encoder->memory->limits;

	return is_record(ref, OBJECT_NODE, limits->nodes) && is_range(node->first_backend, node->backend_count, limits->backends) ? node :
																    NULL;
}

const struct node_record *current_node(const struct encoder *encoder, uint32_t id)
{
	const struct node_record *node = node_of(encoder, id);

	for (uint32_t i = 0; node && i < node->backend_count; i++)
		if (!is_backend(encoder, &encoder->memory->backends[node->first_backend + i]))
			return NULL;
	return node;
}

static int by_service(const void *id, const void *backend)
{
	const uint32_t service = ((const struct backend *)backend)->service;

	return (*(const uint32_t *)id > service) - (*(const uint32_t *)id < service);
}

const struct backend *current_backend(const struct encoder *encoder, uint32_t id, uint32_t service)
{
	const struct node_record *node = node_of(encoder, id);
	const struct backend *backend =
		node && node->backend_count ?
			bsearch(&service, &encoder->memory->backends[node->first_backend], node->backend_count, sizeof(*backend), by_service) :
			NULL;

	return backend && is_backend(encoder, backend) ? backend : NULL;
}
