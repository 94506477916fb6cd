/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/generation_model.h"

#include <string.h>

uint32_t model_draw(struct world *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)(w->random >> 32) % below;
}

bool model_chance(struct world *w, unsigned pct)
{
	return model_draw(w, 100) < pct;
}

enum object_kind model_kind(unsigned object)
{
	return object < SERVICES ? OBJECT_SERVICE : object < SERVICES + TARGETS ? OBJECT_TARGET : OBJECT_NODE;
}

const char *model_name(unsigned object)
{
	static char name[16];

	snprintf(name, sizeof(name), "object %u", object);
	return name;
}

static bool kept(const struct world *w, uint64_t from, uint64_t to)
{
	return from <= w->memory.arrays.root->generation && to >= w->memory.arrays.root->oldest;
}

/* Some generation that names it can be read. */
static bool readable(const struct world *w, const struct version *v)
{
	if (kept(w, v->first, v->last))
		return true;
	for (unsigned i = 0; i < w->reader_count; i++)
		if (w->readers[i].generation >= v->first && w->readers[i].generation <= v->last)
			return true;
	return false;
}

const struct version *model_version(const struct world *w, unsigned object, uint64_t generation)
{
	for (unsigned i = w->version_count; i-- > 0;)
		if (w->versions[i].object == object && w->versions[i].first <= generation && w->versions[i].last >= generation)
			return &w->versions[i];
	return NULL;
}

void model_forget_unreadable(struct world *w)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w->version_count; i++)
		if (readable(w, &w->versions[i]))
			w->versions[count++] = w->versions[i];
	w->version_count = count;
}

unsigned model_lists(enum object_kind kind)
{
	return kind == OBJECT_TARGET ? LIST_COUNT : 1;
}

void model_write(struct world *w, const struct version *v)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const enum object_kind kind = model_kind(v->object);
	const uint32_t index = v->ref & REF_INDEX_MASK;

	if (kind == OBJECT_SERVICE)
		m->services[index] = (struct service_record){
			.first_route = v->range[0],
			.port_count = (uint16_t)v->range_count[0],
			.ports = { (__be16)v->tag, (__be16)(v->tag >> 16) },
		};
	if (kind == OBJECT_TARGET)
		m->targets[index] = (struct target_record){
			.first = { v->range[0], v->range[1] },
			.count = { v->range_count[0], v->range_count[1] },
			.flags = v->tag,
		};
	if (kind == OBJECT_NODE)
		m->nodes[index] = (struct node_record){
			.first_backend = v->range[0],
			.backend_count = v->range_count[0],
			.flags = v->tag,
		};
	for (unsigned list = 0; list < model_lists(kind); list++)
		for (uint32_t i = 0; i < v->range_count[list]; i++) {
			const struct element *e = &v->elements[list][i];
			const uint32_t place = v->range[list] + i;

			if (kind == OBJECT_SERVICE)
				m->routes[place] =
					(struct route_record){ .target_count = 1, .target = { e->id }, .pad3 = v->tag };
			if (kind == OBJECT_TARGET)
				m->refs[place] = (struct endpoint_ref){
					.slot = e->index,
					.incarnation = e->incarnations[0],
					.netns_cookie = v->tag,
				};
			if (kind == OBJECT_NODE)
				m->backends[place] = (struct backend){
					.service = e->id,
					.row = e->index,
					.row_count = (uint16_t)e->count,
					.tls_ports = v->tag,
				};
		}
}

/* The memory is what model_write() made of it, and the rows and slots it names have not changed hands. */
static bool version_intact(const struct world *w, const struct version *v)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const enum object_kind kind = model_kind(v->object);
	const uint32_t index = v->ref & REF_INDEX_MASK;
	bool intact = true;

	if (kind == OBJECT_SERVICE)
		intact &= m->services[index].first_route == v->range[0] && m->services[index].port_count == v->range_count[0] &&
			  m->services[index].ports[0] == (__be16)v->tag && m->services[index].ports[1] == (__be16)(v->tag >> 16);
	if (kind == OBJECT_TARGET)
		intact &= m->targets[index].flags == v->tag && m->targets[index].first[1] == v->range[1] &&
			  m->targets[index].count[1] == v->range_count[1];
	if (kind == OBJECT_NODE)
		intact &= m->nodes[index].flags == v->tag && m->nodes[index].first_backend == v->range[0];
	for (unsigned list = 0; list < model_lists(kind); list++)
		for (uint32_t i = 0; i < v->range_count[list]; i++) {
			const struct element *e = &v->elements[list][i];
			const uint32_t place = v->range[list] + i;

			if (kind == OBJECT_SERVICE)
				intact &= m->routes[place].pad3 == v->tag && m->routes[place].target[0] == e->id;
			if (kind == OBJECT_TARGET)
				intact &= m->refs[place].netns_cookie == v->tag && m->refs[place].slot == e->index &&
					  m->endpoints[e->index].incarnation == e->incarnations[0];
			if (kind == OBJECT_NODE)
				intact &= m->backends[place].tls_ports == v->tag && m->backends[place].row == e->index;
			for (uint32_t row = 0; kind == OBJECT_NODE && row < e->count; row++)
				intact &= m->rows[e->index + row].incarnation == e->incarnations[row];
		}
	return intact;
}

void model_check(struct world *w, uint64_t generation, unsigned object)
{
	const struct version *v = model_version(w, object, generation);
	const uint32_t ref = *kernel_memory_ref(&w->memory.arrays, generation, w->ids[object]);

	CHECK(w, w->ids[object] || !v);
	CHECK(w, ref == (v ? v->ref : 0));
	CHECK(w, !v || version_intact(w, v));
}

void model_check_all(struct world *w)
{
	const struct root *root = w->memory.arrays.root;

	for (unsigned object = 0; object < OBJECTS; object++) {
		for (uint64_t generation = root->oldest; generation <= root->generation; generation++)
			model_check(w, generation, object);
		for (unsigned i = 0; i < w->reader_count; i++)
			model_check(w, w->readers[i].generation, object);
	}
	for (unsigned i = 0; i < w->pending_count; i++)
		CHECK(w, w->removed[i] || version_intact(w, &w->pending[i]));
}

/* --- what is named -------------------------------------------------------------------------------------------------------- */

struct span {
	uint32_t first, count;
};

/* What a version names in one array of its own kind; slots are those of targets, rows those of nodes. */
static unsigned version_spans(const struct version *v, enum object_kind kind, enum array array, struct span *ret_spans)
{
	unsigned count = 0;

	if (model_kind(v->object) != kind)
		return 0;
	if (array == RECORD)
		ret_spans[count++] = (struct span){ v->ref & REF_INDEX_MASK, 1 };
	for (unsigned list = 0; list < model_lists(kind); list++) {
		if (array == RANGE)
			ret_spans[count++] = (struct span){ v->range[list], v->range_count[list] };
		for (uint32_t i = 0; array >= SLOT && i < v->range_count[list]; i++)
			ret_spans[count++] = (struct span){ v->elements[list][i].index, v->elements[list][i].count };
	}
	return count;
}

uint32_t model_named(const struct world *w, enum object_kind kind, enum array array, uint8_t *named)
{
	struct span spans[LIST_COUNT * PLACES];
	uint32_t total = 0;

	memset(named, 0, MAX_ENDPOINT_REFS);
	for (unsigned i = 0; i < w->version_count + w->pending_count; i++) {
		const bool committed = i < w->version_count;
		const struct version *v = committed ? &w->versions[i] : &w->pending[i - w->version_count];
		unsigned count = 0;

		if (committed ? readable(w, v) : !w->removed[i - w->version_count])
			count = version_spans(v, kind, array, spans);
		for (unsigned k = 0; k < count; k++)
			memset(named + spans[k].first, 1, spans[k].count);
	}
	for (unsigned i = 0; i < w->connection_count; i++) {
		if (array == SLOT)
			named[w->connections[i].slot] = 1;
		if (array == ROW)
			named[w->connections[i].row] = 1;
	}
	for (uint32_t i = 0; i < MAX_ENDPOINT_REFS; i++)
		total += named[i];
	return total;
}

static bool overlaps(const struct version *v, enum object_kind kind, enum array array, uint32_t first, uint32_t count)
{
	struct span spans[LIST_COUNT * PLACES];
	const unsigned span_count = version_spans(v, kind, array, spans);

	for (unsigned i = 0; i < span_count; i++)
		if (spans[i].first < first + count && first < spans[i].first + spans[i].count)
			return true;
	return false;
}

bool model_is_named(const struct world *w, enum object_kind kind, enum array array, uint32_t first, uint32_t count)
{
	for (unsigned i = 0; i < w->version_count; i++)
		if (overlaps(&w->versions[i], kind, array, first, count) && readable(w, &w->versions[i]))
			return true;
	for (unsigned i = 0; i < w->pending_count; i++)
		if (!w->removed[i] && overlaps(&w->pending[i], kind, array, first, count))
			return true;
	for (unsigned i = 0; i < w->connection_count; i++) {
		const struct account *a = &w->connections[i];

		if ((array == SLOT && a->slot - first < count) || (array == ROW && a->row - first < count))
			return true;
	}
	return false;
}
