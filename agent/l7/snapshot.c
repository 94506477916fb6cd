/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/route_names.h"
#include "agent/l7/snapshot_internal.h"
#include "agent/l7/snapshot_text.h"
#include "base/cleanup.h"

struct snapshots {
	struct snapshot *now;
	struct route_names *route_names;
	uint64_t lineages; /* that there were */
};

/* --- sharing ------------------------------------------------------------------------------------------------------------- */

static void ref(uint32_t *refs)
{
	__atomic_add_fetch(refs, 1, __ATOMIC_RELAXED);
}

/* True: that was the last. */
static bool unref(uint32_t *refs)
{
	return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL) == 0;
}

static void object_unref(enum snapshot_kind kind, struct snapshot_object *object)
{
	if (!object || !unref(&object->refs))
		return;
	free(object->text);
	snapshot_kinds[kind].free(object);
}

static void page_unref(enum snapshot_kind kind, struct snapshot_page *page)
{
	if (!page || !unref(&page->refs))
		return;
	for (size_t i = 0; i < SNAPSHOT_PAGE; i++)
		object_unref(kind, page->objects[i]);
	free(page);
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	ref(&snapshot->refs);
	return snapshot;
}

struct snapshot *snapshot_unref(struct snapshot *snapshot)
{
	if (!snapshot || !unref(&snapshot->refs))
		return NULL;
	for (enum snapshot_kind kind = 0; kind < SNAPSHOT_KINDS; kind++) {
		for (size_t i = 0; i < snapshot->kinds[kind].page_count; i++)
			page_unref(kind, snapshot->kinds[kind].pages[i]);
		free(snapshot->kinds[kind].pages);
	}
	free(snapshot);
	return NULL;
}

static void cleanup_snapshot(struct snapshot **snapshot)
{
	snapshot_unref(*snapshot);
}

/* --- reading ------------------------------------------------------------------------------------------------------------- */

uint64_t snapshot_generation(const struct snapshot *snapshot)
{
	return snapshot->generation;
}

uint32_t snapshot_slots(const struct snapshot *snapshot)
{
	return snapshot->slots;
}

size_t snapshot_ids(const struct snapshot *snapshot, enum snapshot_kind kind)
{
	return snapshot->kinds[kind].page_count * SNAPSHOT_PAGE;
}

static struct snapshot_object *object_of(const struct snapshot *snapshot, enum snapshot_kind kind, uint32_t id)
{
	const struct snapshot_index *index = &snapshot->kinds[kind];
	const size_t place = id / SNAPSHOT_PAGE;

	return place < index->page_count && index->pages[place] ? index->pages[place]->objects[id % SNAPSHOT_PAGE] : NULL;
}

const struct service *snapshot_service(const struct snapshot *snapshot, uint32_t id)
{
	return (const struct service *)object_of(snapshot, SNAPSHOT_SERVICE, id);
}

const struct target *snapshot_target(const struct snapshot *snapshot, uint32_t id)
{
	return (const struct target *)object_of(snapshot, SNAPSHOT_TARGET, id);
}

const struct caller *snapshot_caller(const struct snapshot *snapshot, uint32_t id)
{
	return (const struct caller *)object_of(snapshot, SNAPSHOT_NODE, id);
}

const struct gateway *snapshot_gateway(const struct snapshot *snapshot, uint32_t id)
{
	return (const struct gateway *)object_of(snapshot, SNAPSHOT_GATEWAY, id);
}

const struct snapshot_object *snapshot_named(const struct snapshot *snapshot, enum snapshot_kind kind, const char *name)
{
	const size_t ids = snapshot_ids(snapshot, kind);

	for (uint32_t id = 1; id < ids; id++) {
		const struct snapshot_object *object = object_of(snapshot, kind, id);

		if (object && !strcmp(object->name, name))
			return object;
	}
	return NULL;
}

const struct service_port *service_port_find(const struct service *service, uint16_t port)
{
	for (size_t i = 0; i < service->port_count; i++)
		if (service->ports[i].port == port)
			return &service->ports[i];
	return NULL;
}

const struct service_port *service_port_handed(const struct service *service, uint16_t port)
{
	const struct service_port *found = service_port_find(service, port);

	return found && !found->for_gateways ? found : NULL;
}

const struct listener *listener_find(const struct listener *listeners, size_t count, uint16_t port)
{
	for (size_t i = 0; i < count; i++)
		if (listeners[i].port == port)
			return &listeners[i];
	return NULL;
}

/* --- printing ------------------------------------------------------------------------------------------------------------ */

static void objects_print(const struct snapshot *snapshot, enum snapshot_kind kind, struct buffer *text)
{
	const size_t ids = snapshot_ids(snapshot, kind);
	const char *comma = "";

	buffer_printf(text, "\"%s\":{", snapshot_kinds[kind].member);
	for (uint32_t id = 0; id < ids; id++) {
		const struct snapshot_object *object = object_of(snapshot, kind, id);

		if (!object)
			continue;
		buffer_printf(text, "%s\"%" PRIu32 "\":", comma, id);
		buffer_add(text, object->text);
		comma = ",";
	}
	buffer_add(text, "}");
}

int snapshot_print(const struct snapshot *snapshot, struct buffer *text)
{
	for (enum snapshot_kind kind = 0; kind < SNAPSHOT_KINDS; kind++) {
		buffer_add(text, kind ? "," : "{");
		objects_print(snapshot, kind, text);
	}
	buffer_add(text, "}");
	return buffer_failed(text) ? -ENOMEM : 0;
}

/* --- making -------------------------------------------------------------------------------------------------------------- */

/* A draft has pages of its own (refs 1) and shared ones. `of` NULL: it is empty. */
static struct snapshot *draft_new(const struct snapshot *of, uint64_t generation)
{
	struct snapshot *draft = calloc(1, sizeof(*draft));

	if (!draft)
		return NULL;
	draft->refs = 1;
	draft->generation = generation;
	draft->slots = of ? of->slots : 0;
	for (size_t kind = 0; of && kind < SNAPSHOT_KINDS; kind++) {
		const struct snapshot_index *from = &of->kinds[kind];
		struct snapshot_page **pages = from->page_count ? calloc(from->page_count, sizeof(struct snapshot_page *)) : NULL;

		if (from->page_count && !pages)
			return snapshot_unref(draft);
		draft->kinds[kind] = (struct snapshot_index){ from->page_count, pages };
		for (size_t i = 0; i < from->page_count; i++) {
			pages[i] = from->pages[i];
			if (pages[i])
				ref(&pages[i]->refs);
		}
	}
	return draft;
}

static int index_reach(struct snapshot_index *index, size_t page_count)
{
	struct snapshot_page **pages;

	if (page_count <= index->page_count)
		return 0;
	pages = reallocarray(index->pages, page_count, sizeof(struct snapshot_page *));
	if (!pages)
		return -ENOMEM;
	memset(pages + index->page_count, 0, (page_count - index->page_count) * sizeof(struct snapshot_page *));
	*index = (struct snapshot_index){ page_count, pages };
	return 0;
}

/* The draft's own page, to be written to. NULL: no memory. */
static struct snapshot_page *page_own(struct snapshot *draft, enum snapshot_kind kind, size_t place)
{
	struct snapshot_page *shared = draft->kinds[kind].pages[place], *own;

	if (shared && __atomic_load_n(&shared->refs, __ATOMIC_ACQUIRE) == 1)
		return shared;
	own = calloc(1, sizeof(*own));
	if (!own)
		return NULL;
	own->refs = 1;
	for (size_t i = 0; shared && i < SNAPSHOT_PAGE; i++) {
		own->objects[i] = shared->objects[i];
		if (own->objects[i])
			ref(&own->objects[i]->refs);
	}
	page_unref(kind, shared);
	return draft->kinds[kind].pages[place] = own;
}

/* Takes the reference; NULL: nothing is there any more. */
static int draft_put(struct snapshot *draft, enum snapshot_kind kind, uint32_t id, struct snapshot_object *object)
{
	const size_t place = id / SNAPSHOT_PAGE;
	struct snapshot_page *page;
	int r = 0;

	if (!object && !object_of(draft, kind, id))
		return 0;
	r = index_reach(&draft->kinds[kind], place + 1);
	page = r == 0 ? page_own(draft, kind, place) : NULL;
	if (!page) {
		object_unref(kind, object);
		return -ENOMEM;
	}
	object_unref(kind, page->objects[id % SNAPSHOT_PAGE]);
	page->objects[id % SNAPSHOT_PAGE] = object;
	return 0;
}

static uint32_t slots_of(const struct target *target)
{
	uint32_t slots = 0;

	for (int l = 0; l < LIST_COUNT; l++)
		for (size_t i = 0; i < target->lists[l].count; i++)
			slots = MAX(slots, target->lists[l].endpoints[i].slot + 1);
	return slots;
}

static uint64_t lineage_of(struct snapshots *all, const struct snapshot_object *object, const struct snapshot_object *before)
{
	return before && !strcmp(before->name, object->name) ? before->lineage : ++all->lineages;
}

static void number_routes(struct snapshots *all, enum snapshot_kind kind, struct snapshot_object *object)
{
	struct service *service = kind == SNAPSHOT_SERVICE ? (struct service *)object : NULL;
	struct gateway *gateway = kind == SNAPSHOT_GATEWAY ? (struct gateway *)object : NULL;

	for (size_t p = 0; service && p < service->port_count; p++)
		for (size_t i = 0; i < service->ports[p].table.routes.count; i++) {
			struct route *route = service->ports[p].table.routes.items[i];

			route->number = route_names_number(all->route_names, route->name);
		}
	for (size_t i = 0; gateway && i < gateway->table.routes.count; i++) {
		struct gateway_route *route = gateway->table.routes.items[i];

		route->number = route_names_number(all->route_names, route->name);
	}
}

struct reading {
	struct snapshots *all;
	struct snapshot *draft;
};

static int draft_read_one(enum snapshot_kind kind, uint32_t id, const json_t *json, struct span text, void *arg, struct error *err)
{
	const struct reading *reading = arg;
	struct snapshot_object *object = NULL;
	struct error inner = {};
	int r = json ? snapshot_kinds[kind].read(json, &object, &inner) : 0;

	if (r < 0)
		return error_set(err, r, "%" PRIu32 ": %s: %s", id, inner.field, inner.message);
	if (object) {
		object->refs = 1;
		object->id = id;
		if (kind == SNAPSHOT_TARGET)
			reading->draft->slots = MAX(reading->draft->slots, slots_of((const struct target *)object));
		object->lineage = lineage_of(reading->all, object, object_of(reading->all->now, kind, id));
		number_routes(reading->all, kind, object);
		object->text = strndup(text.data, text.length);
		if (!object->text) {
			object_unref(kind, object);
			return error_set(err, -ENOMEM, "out of memory");
		}
	}
	r = draft_put(reading->draft, kind, id, object);
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

int snapshots_apply(struct snapshots *all, uint64_t base, uint64_t generation, struct span text, struct error *err)
{
	_cleanup_(cleanup_snapshot) struct snapshot *draft = NULL;
	int r;

	if (base && base != all->now->generation)
		return error_set(err, -ESTALE, "there is generation %" PRIu64 ", not %" PRIu64, all->now->generation, base);
	draft = draft_new(base ? all->now : NULL, generation);
	if (!draft)
		return error_set(err, -ENOMEM, "out of memory");
	r = snapshot_text_each(text, draft_read_one, &(struct reading){ all, draft }, err);
	if (r < 0)
		return r;
	snapshot_unref(all->now);
	all->now = TAKE_PTR(draft);
	return 0;
}

struct snapshot *snapshots_now(const struct snapshots *all)
{
	return all->now;
}

const char *snapshots_route_name(const struct snapshots *all, uint32_t number)
{
	return route_names_text(all->route_names, number);
}

int snapshots_new(struct snapshots **ret_snapshots)
{
	struct snapshots *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->now = draft_new(NULL, 0);
	all->route_names = route_names_new();
	if (!all->now || !all->route_names) {
		snapshots_free(all);
		return -ENOMEM;
	}
	*ret_snapshots = all;
	return 0;
}

struct snapshots *snapshots_free(struct snapshots *all)
{
	if (!all)
		return NULL;
	snapshot_unref(all->now);
	route_names_free(all->route_names);
	free(all);
	return NULL;
}
