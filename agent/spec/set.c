/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of resources. Each name that a resource has, or that one refers to, is an entry; a reference is an edge between two. What an
 * entry held before the changes at hand is kept beside it, with its edges, so that going back cannot fail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spec/graph.h"
#include "base/cleanup.h"

struct entry;

struct edge { /* a reference of a resource */
	struct entry *from, *to;
	struct list link; /* in to->referrers, while the set holds the resource; alone otherwise */
};

struct held { /* a resource and its references; all zero: none */
	const struct resource *resource;
	struct edge *edges;
	size_t edge_count;
};

struct entry {
	struct table_node node; /* of set->entries */
	struct held now;
	struct touch *touch; /* NULL: it is as the last commit left it */
	struct list referrers; /* edges */
	unsigned uses; /* edges that lead here, linked or not */
	bool queued; /* for the check at hand */
	char name[];
};

struct touch { /* a change since the last commit */
	struct list link; /* of set->touched */
	struct entry *entry;
	struct held before; /* what the last commit left */
};

static struct entry *entry_of(const struct resources *set, const char *name)
{
	struct table_node *node = table_get(&set->entries, name);

	return node ? container_of(node, struct entry, node) : NULL;
}

/* 0 or -ENOMEM. */
static int entry_make(struct resources *set, const char *name, struct entry **ret_entry)
{
	struct entry *entry = entry_of(set, name);
	const size_t size = strlen(name) + 1;

	if (!entry) {
		entry = calloc(1, sizeof(*entry) + size);
		if (!entry)
			return -ENOMEM;
		memcpy(entry->name, name, size);
		list_init(&entry->referrers);
		if (table_add(&set->entries, &entry->node, entry->name) < 0) {
			free(entry);
			return -ENOMEM;
		}
	}
	*ret_entry = entry;
	return 0;
}

static void entry_free_if_unused(struct resources *set, struct entry *entry)
{
	if (entry->now.resource || entry->touch || entry->uses)
		return;
	table_remove(&set->entries, &entry->node);
	free(entry);
}

/* --- what an entry holds ----------------------------------------------------------------------------------------------- */

static void held_link(const struct held *held)
{
	for (size_t i = 0; i < held->edge_count; i++)
		list_append(&held->edges[i].to->referrers, &held->edges[i].link);
}

static void held_unlink(const struct held *held)
{
	for (size_t i = 0; i < held->edge_count; i++)
		list_remove(&held->edges[i].link);
}

static void held_free(struct resources *set, struct held *held)
{
	for (size_t i = 0; i < held->edge_count; i++) {
		struct edge *edge = &held->edges[i];

		list_remove(&edge->link);
		edge->to->uses--;
		if (edge->to != edge->from)
			entry_free_if_unused(set, edge->to);
	}
	free(held->edges);
	resource_unref(held->resource);
	*held = (struct held){};
}

struct making { /* of edges */
	struct resources *set;
	struct entry *from;
	struct held *held; /* none is linked */
	size_t capacity;
	int r;
};

static void make_edge(const char *field, const char *full_name, void *arg)
{
	struct making *making = arg;
	struct held *held = making->held;
	struct entry *to;

	(void)field;
	if (making->r == 0 && held->edge_count == making->capacity) {
		const size_t capacity = making->capacity ? 2 * making->capacity : 4;
		struct edge *edges = reallocarray(held->edges, capacity, sizeof(*edges));

		making->r = edges ? 0 : -ENOMEM;
		held->edges = edges ?: held->edges;
		making->capacity = edges ? capacity : making->capacity;
	}
	if (making->r == 0)
		making->r = entry_make(making->set, full_name, &to);
	if (making->r < 0)
		return;
	held->edges[held->edge_count++] = (struct edge){ .from = making->from, .to = to };
	to->uses++;
}

/* They stay where they are from now on, with no room for more. */
static void edges_settle(struct held *held)
{
	struct edge *edges = held->edge_count ? reallocarray(held->edges, held->edge_count, sizeof(*edges)) : NULL;

	held->edges = edges ?: held->edges;
	for (size_t i = 0; i < held->edge_count; i++)
		list_init(&held->edges[i].link);
}

/* 0 or -ENOMEM. */
static int touch(struct resources *set, struct entry *entry)
{
	if (entry->touch)
		return 0;
	entry->touch = malloc(sizeof(*entry->touch));
	if (!entry->touch)
		return -ENOMEM;
	*entry->touch = (struct touch){ .entry = entry, .before = entry->now };
	list_append(&set->touched, &entry->touch->link);
	held_unlink(&entry->now);
	if (entry->now.resource)
		set->count--;
	entry->now = (struct held){};
	return 0;
}

/* Of one that is touched. */
static void hold(struct resources *set, struct entry *entry, const struct held *held)
{
	const bool was = entry->now.resource != NULL;

	held_free(set, &entry->now);
	entry->now = *held;
	held_link(&entry->now);
	set->count += (size_t)(held->resource != NULL) - (size_t)was;
	free(set->ordered);
	set->ordered = NULL;
}

static void make_edges(struct making *making, const char *references)
{
	for (; *references; references += strlen(references) + 1)
		make_edge(NULL, references, making);
}

/* `references` NULL: they are in its spec. */
static int put(struct resources *set, const struct resource *resource, const char *references)
{
	struct held held = { .resource = resource };
	struct making making = { .set = set, .held = &held };
	int r = entry_make(set, resource->full_name, &making.from);

	if (r < 0)
		return r;
	making.from->uses++; /* until it holds something */
	if (references)
		make_edges(&making, references);
	else
		graph_references(resource, make_edge, &making);
	making.from->uses--;
	resource_ref(resource);
	edges_settle(&held);
	if (making.r == 0)
		making.r = touch(set, making.from);
	if (making.r < 0) {
		held_free(set, &held);
		entry_free_if_unused(set, making.from);
		return making.r;
	}
	hold(set, making.from, &held);
	return 0;
}

int resources_put(struct resources *set, const struct resource *resource)
{
	return put(set, resource, NULL);
}

static int add(struct resources *set, const struct resource *resource, const char *references, struct error *err)
{
	const struct resource *other = resources_get(set, resource->full_name);
	int r;

	if (other)
		return error_set_field(err, -EEXIST, resource_kinds[resource->kind].name_member, "%s is defined twice: in '%s' and in '%s'",
				       resource->full_name, other->source ?: "(no file)", resource->source ?: "(no file)");
	r = put(set, resource, references);
	return r < 0 ? error_set(err, r, "no memory for a resource") : 0;
}

int resources_add(struct resources *set, const struct resource *resource, struct error *err)
{
	return add(set, resource, NULL, err);
}

int resources_add_parsed(struct resources *set, const struct resource *resource, const char *references, struct error *err)
{
	return add(set, resource, references, err);
}

int resources_add_json(struct resources *set, const json_t *document, const char *source, struct error *err)
{
	struct resource *resource;
	int r = resource_new(document, NULL, source, &resource, err);

	if (r < 0)
		return r;
	r = resources_add(set, resource, err);
	resource_unref(resource);
	return r;
}

int resources_remove(struct resources *set, const char *full_name)
{
	struct entry *entry = entry_of(set, full_name);

	if (!entry || !entry->now.resource)
		return -ENOENT;
	if (touch(set, entry) < 0)
		return -ENOMEM;
	hold(set, entry, &(struct held){});
	return 0;
}

/* --- the changes at hand ------------------------------------------------------------------------------------------------- */

struct queue { /* resources to be checked */
	struct entry **entries;
	size_t count, capacity;
	int r;
};

static void queue_done(struct queue *queue)
{
	for (size_t i = 0; i < queue->count; i++)
		queue->entries[i]->queued = false;
	free(queue->entries);
}

static void queue_add(struct queue *queue, struct entry *entry)
{
	if (entry->queued || !entry->now.resource)
		return;
	if (queue->count == queue->capacity) {
		const size_t capacity = queue->capacity ? 2 * queue->capacity : 16;
		struct entry **entries = reallocarray(queue->entries, capacity, sizeof(struct entry *));

		if (!entries) {
			queue->r = -ENOMEM;
			return;
		}
		queue->entries = entries;
		queue->capacity = capacity;
	}
	entry->queued = true;
	queue->entries[queue->count++] = entry;
}

/* A gateway route looks through its virtual service at the service's provider. */
static void queue_touched(struct queue *queue, struct entry *entry)
{
	queue_add(queue, entry);
	if (!entry->now.resource || entry->now.resource->kind == RESOURCE_MESH)
		return; /* nothing is at fault for want of something, and no rule is about meshes */
	list_for_each(it, &entry->referrers) {
		struct entry *from = container_of(it, struct edge, link)->from;

		queue_add(queue, from);
		if (from->now.resource->kind != RESOURCE_VIRTUAL_SERVICE)
			continue;
		list_for_each(further, &from->referrers)
			queue_add(queue, container_of(further, struct edge, link)->from);
	}
}

static int entry_order(const void *a, const void *b)
{
	return strcmp((*(struct entry *const *)a)->name, (*(struct entry *const *)b)->name);
}

int resources_check(struct resources *set, struct error *err)
{
	_cleanup_(queue_done) struct queue queue = {};
	int r;

	list_for_each(it, &set->touched)
		queue_touched(&queue, container_of(it, struct touch, link)->entry);
	if (queue.r < 0)
		return error_set(err, queue.r, "no memory to check the resources");
	if (queue.count > 1)
		qsort(queue.entries, queue.count, sizeof(struct entry *), entry_order);
	for (size_t i = 0; i < queue.count; i++) {
		const struct resource *resource = queue.entries[i]->now.resource;

		r = resource_check(set, resource, err);
		if (r == 0)
			continue;
		if (resource->source)
			error_prefix(err, "'%s': %s", resource->source, resource->full_name);
		else
			error_prefix(err, "%s", resource->full_name);
		return r;
	}
	return 0;
}

static void untouch(struct resources *set, struct touch *touch)
{
	struct entry *entry = touch->entry;

	entry->touch = NULL;
	list_remove(&touch->link);
	free(touch);
	entry_free_if_unused(set, entry);
}

static bool differ(const struct resource *before, const struct resource *now)
{
	return !before || !now ? before != now : !resource_equal(before, now);
}

void resources_commit(struct resources *set, resources_changed_fn *fn, void *arg)
{
	list_for_each(it, &set->touched) {
		const struct touch *touch = container_of(it, struct touch, link);

		if (fn && differ(touch->before.resource, touch->entry->now.resource))
			fn(touch->before.resource, touch->entry->now.resource, arg);
	}
	list_for_each_safe(it, &set->touched) {
		struct touch *touch = container_of(it, struct touch, link);

		held_free(set, &touch->before);
		untouch(set, touch);
	}
}

void resources_rollback(struct resources *set)
{
	list_for_each_safe(it, &set->touched) {
		struct touch *touch = container_of(it, struct touch, link);

		hold(set, touch->entry, &touch->before);
		untouch(set, touch);
	}
}

/* --- the set ----------------------------------------------------------------------------------------------------------- */

void resources_init(struct resources *set)
{
	*set = (struct resources){};
	list_init(&set->touched);
}

void resources_done(struct resources *set)
{
	for (struct table_node *node = table_first(&set->entries); node; node = table_next(&set->entries, node))
		container_of(node, struct entry, node)->uses++; /* so that none is freed on the way */
	for (struct table_node *node = table_first(&set->entries); node; node = table_next(&set->entries, node)) {
		struct entry *entry = container_of(node, struct entry, node);

		if (entry->touch)
			held_free(set, &entry->touch->before);
		free(entry->touch);
		held_free(set, &entry->now);
	}
	for (struct table_node *node = table_first(&set->entries), *next; node; node = next) {
		next = table_next(&set->entries, node);
		table_remove(&set->entries, node);
		free(container_of(node, struct entry, node));
	}
	table_done(&set->entries);
	free(set->ordered);
	resources_init(set);
}

const struct resource *resources_get(const struct resources *set, const char *full_name)
{
	const struct entry *entry = entry_of(set, full_name);

	return entry ? entry->now.resource : NULL;
}

const struct resource *resources_sibling(const struct resources *set, const struct resource *of, enum resource_kind kind,
					 const char *parent, const char *name)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];
	const size_t scope_length = strlen(of->scope);

	strcpy(full_name, of->scope); /* which of->full_name begins with */
	if (resource_full_name(full_name + scope_length, sizeof(full_name) - scope_length, of->mesh, kind, parent, name) < 0)
		return NULL; /* longer than any name in a set */
	return resources_get(set, full_name);
}

static int name_order(const void *a, const void *b)
{
	return strcmp((*(const struct resource *const *)a)->full_name, (*(const struct resource *const *)b)->full_name);
}

/* Kept until a resource comes, goes or is replaced. */
static int put_in_order(struct resources *set)
{
	size_t count = 0;

	if (set->ordered)
		return 0;
	set->ordered = calloc(set->count + 1, sizeof(*set->ordered));
	if (!set->ordered)
		return -ENOMEM;
	for (struct table_node *node = table_first(&set->entries); node; node = table_next(&set->entries, node)) {
		const struct entry *entry = container_of(node, struct entry, node);

		if (entry->now.resource)
			set->ordered[count++] = entry->now.resource;
	}
	qsort(set->ordered, count, sizeof(*set->ordered), name_order);
	return 0;
}

int resources_each(const struct resources *set, resources_each_fn *fn, void *arg)
{
	int r = put_in_order((struct resources *)set);

	for (size_t i = 0; r >= 0 && i < set->count; i++)
		r = fn(set->ordered[i], arg);
	return MIN(r, 0);
}

void resources_referrers(const struct resources *set, const char *full_name, resources_referrer_fn *fn, void *arg)
{
	const struct entry *entry = entry_of(set, full_name);

	if (!entry)
		return;
	list_for_each(it, &entry->referrers)
		fn(container_of(it, struct edge, link)->from->now.resource, arg);
}

struct missing_visit {
	const struct resources *set;
	const struct resource *from;
	resources_unresolved_fn *fn;
	void *arg;
};

static void tell_missing(const char *field, const char *full_name, void *arg)
{
	const struct missing_visit *visit = arg;

	if (!resources_get(visit->set, full_name))
		visit->fn(visit->from, field, full_name, visit->arg);
}

/* Of what the set holds. */
static bool is_resolved(const struct resources *set, const struct resource *resource)
{
	const struct entry *entry = entry_of(set, resource->full_name);

	if (!entry || entry->now.resource != resource)
		return false;
	for (size_t i = 0; i < entry->now.edge_count; i++)
		if (!entry->now.edges[i].to->now.resource)
			return false;
	return true;
}

void resources_unresolved(const struct resources *set, const struct resource *from, resources_unresolved_fn *fn, void *arg)
{
	if (is_resolved(set, from))
		return;
	graph_references(from, tell_missing, &(struct missing_visit){ set, from, fn, arg });
}
