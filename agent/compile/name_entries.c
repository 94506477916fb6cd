/* SPDX-License-Identifier: Apache-2.0 */
#include "name_entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "maps/proxy.h"

/* --- the table --------------------------------------------------------------------------------------------------------- */

struct entry {
	struct name_key key;
	struct name_entry value;
	uint32_t next; /* in the bucket, place + 1 */
	bool wanted;
};

struct name_entries {
	const struct apply_kernel *kernel;
	struct generations *generations;
	uint32_t count; /* places used, from the front */
	uint32_t unwanted; /* how many of these */
	struct entry entries[MAX_NAMES];
	uint32_t buckets[MAX_NAMES]; /* place + 1 of the first entry, chained */
};

static uint32_t *bucket_of(struct name_entries *entries, const struct name_key *key)
{
	return &entries->buckets[key->hash[0] % MAX_NAMES];
}

static struct entry *find(struct name_entries *entries, const struct name_key *key)
{
	for (uint32_t at = *bucket_of(entries, key); at; at = entries->entries[at - 1].next)
		if (memcmp(&entries->entries[at - 1].key, key, sizeof(*key)) == 0)
			return &entries->entries[at - 1];
	return NULL;
}

static void want(struct name_entries *entries, struct entry *entry, bool wanted)
{
	entries->unwanted += (uint32_t)entry->wanted - (uint32_t)wanted;
	entry->wanted = wanted;
}

static void add(struct name_entries *entries, const struct name_key *key, const struct name_entry *value, bool wanted)
{
	uint32_t *bucket = bucket_of(entries, key);

	entries->entries[entries->count] = (struct entry){ *key, *value, *bucket, wanted };
	entries->unwanted += !wanted;
	*bucket = ++entries->count;
	generations_id_hold(entries->generations, value->service);
}

/* The last entry moves into the place of the one that goes. */
static void take_out(struct name_entries *entries, struct entry *entry)
{
	struct entry *last = &entries->entries[entries->count - 1];
	const uint32_t place = (uint32_t)(entry - entries->entries) + 1;
	uint32_t *link;

	generations_id_release(entries->generations, entry->value.service);
	entries->unwanted -= !entry->wanted;
	for (link = bucket_of(entries, &entry->key); *link != place;)
		link = &entries->entries[*link - 1].next;
	*link = entry->next;
	if (last != entry) {
		for (link = bucket_of(entries, &last->key); *link != entries->count;)
			link = &entries->entries[*link - 1].next;
		*link = place;
		*entry = *last;
	}
	entries->count--;
}

static int take_up(const struct name_key *key, const struct name_entry *value, void *arg)
{
	struct name_entries *entries = arg;

	if (!value->service || value->service >= entries->kernel->memory->limits.objects || entries->count == MAX_NAMES)
		return -EPROTO;
	if (!find(entries, key)) /* a walk may show an entry twice */
		add(entries, key, value, false);
	return 0;
}

int name_entries_new(const struct apply_kernel *kernel, struct generations *generations, struct name_entries **ret_entries,
		     struct error *err)
{
	_cleanup_free_ struct name_entries *entries = calloc(1, sizeof(*entries));
	int r;

	if (!entries)
		return error_set(err, -ENOMEM, "no memory for the copy of the table of names");
	entries->kernel = kernel;
	entries->generations = generations;
	r = kernel->name_each(kernel->arg, take_up, entries);
	if (r < 0)
		return error_set(err, r, "cannot read the table of names");
	*ret_entries = TAKE_PTR(entries);
	return 0;
}

struct name_entries *name_entries_free(struct name_entries *entries)
{
	free(entries);
	return NULL;
}

static void remove_unwanted(struct name_entries *entries)
{
	for (uint32_t i = entries->count; entries->unwanted && i > 0; i--) { /* what moves into a gap was looked at already */
		struct entry *entry = &entries->entries[i - 1];

		if (!entry->wanted && entries->kernel->name_remove(entries->kernel->arg, &entry->key) == 0)
			take_out(entries, entry);
	}
}

/* --- two plans compared ------------------------------------------------------------------------------------------------ */

/* One name of a plan. */
struct place {
	const struct planned *planned;
	const struct plan_scope *scope;
	uint32_t service;
};

static const struct plan_service *service_in(const struct planned *planned, uint32_t place)
{
	return planned->plan && place < planned->plan->service_count ? planned->plan->services[place] : NULL;
}

static const struct plan_service *service_at(const struct place *place)
{
	return service_in(place->planned, place->service);
}

static struct name_entry value_at(const struct place *place)
{
	const struct plan_service *service = service_at(place);

	return (struct name_entry){
		.vip4 = service->v4 ? service->vip4 : (struct ip){},
		.vip6 = service->v6 ? service->vip6 : (struct ip){},
		.service = place->planned->ids[OBJECT_SERVICE][place->service],
	};
}

static bool same_value(const struct name_entry *a, const struct name_entry *b)
{
	return memcmp(a, b, sizeof(*a)) == 0; /* no padding */
}

/* The scope of that name, mostly at that place. */
static const struct plan_scope *find_scope(const struct plan *plan, size_t place, const char *name)
{
	if (!plan)
		return NULL;
	if (place < plan->scope_count && plan->scopes[place] && strcmp(plan->scopes[place]->name, name) == 0)
		return plan->scopes[place];
	for (size_t i = 0; i < plan->scope_count; i++)
		if (plan->scopes[i] && strcmp(plan->scopes[i]->name, name) == 0)
			return plan->scopes[i];
	return NULL;
}

/* Calls `fn` for each name of `planned` that `other` has not, has with another value, or has at another place. */
typedef int difference_fn(struct name_entries *entries, const struct place *place, struct error *err);
struct comparison {
	struct name_entries *entries;
	const struct planned *planned, *other;
	difference_fn *fn;
	struct error *err;
};

static int compare(const struct comparison *c, const struct plan_scope *scope, const struct plan_scope *there, uint32_t service)
{
	const struct plan_service *a = service_in(c->planned, service), *b = service_in(c->other, service);
	const struct place here = { c->planned, scope, service }, other = { c->other, there, service };
	struct name_entry value, before;

	if (there && b && plan_scope_has(there, service) && (a == b || strcmp(a->name, b->name) == 0)) {
		value = value_at(&here);
		before = value_at(&other);
		if (same_value(&value, &before))
			return 0;
	}
	return c->fn(c->entries, &here, c->err);
}

static int each_of_scope(const struct comparison *c, size_t place)
{
	const struct plan_scope *scope = c->planned->plan->scopes[place], *there = find_scope(c->other->plan, place, scope->name);
	int r = 0;

	if (scope == there) { /* then only what services are may differ */
		for (uint32_t i = 0; r >= 0 && i < c->planned->plan->service_count; i++)
			if (service_in(c->planned, i) != service_in(c->other, i) && plan_scope_has(scope, i))
				r = compare(c, scope, there, i);
		return r;
	}
	for (size_t i = 0; r >= 0 && i < scope->service_count; i++)
		r = compare(c, scope, there, scope->services[i]);
	return r;
}

static int each_difference(struct name_entries *entries, const struct planned *planned, const struct planned *other,
			   difference_fn *fn, struct error *err)
{
	const struct comparison c = { entries, planned, other, fn, err };
	int r = 0;

	for (size_t i = 0; r >= 0 && planned->plan && i < planned->plan->scope_count; i++)
		if (planned->plan->scopes[i])
			r = each_of_scope(&c, i);
	return r;
}

static int make_key(const struct place *place, struct name_key *ret_key)
{
	return name_key_make(place->scope->name, plan_service_name(service_at(place)), ret_key);
}

static int enter(struct name_entries *entries, const struct place *place, struct error *err)
{
	const struct name_entry value = value_at(place);
	struct name_key key;
	struct entry *entry;
	int r;

	if (make_key(place, &key) < 0)
		return 0;
	entry = find(entries, &key);
	if (entry && same_value(&entry->value, &value)) {
		want(entries, entry, true);
		return 0;
	}
	if (!entry && entries->count == MAX_NAMES)
		return error_set(err, -ENOSPC, "the table of names is full: %d of %d are used", MAX_NAMES, MAX_NAMES);
	r = entries->kernel->name_set(entries->kernel->arg, &key, &value);
	if (r < 0)
		return error_set(err, r == -E2BIG ? -ENOSPC : r, "cannot enter the name of %s, with %u of %d in the table",
				 service_at(place)->name, entries->count, MAX_NAMES);
	if (!entry) {
		add(entries, &key, &value, true);
		return 0;
	}
	generations_id_release(entries->generations, entry->value.service);
	generations_id_hold(entries->generations, value.service);
	entry->value = value;
	want(entries, entry, true);
	return 0;
}

/* Unless it has another value by now: that of a plan that is to stay. */
static int unwant(struct name_entries *entries, const struct place *place, struct error *err __attribute__((unused)))
{
	const struct name_entry value = value_at(place);
	struct name_key key;
	struct entry *entry;

	if (make_key(place, &key) < 0)
		return 0;
	entry = find(entries, &key);
	if (entry && same_value(&entry->value, &value))
		want(entries, entry, false);
	return 0;
}

/* What has moved to another place has been unwanted as what it was, and is wanted. */
static int rewant(struct name_entries *entries, const struct place *place, struct error *err __attribute__((unused)))
{
	const struct name_entry value = value_at(place);
	struct name_key key;
	struct entry *entry = make_key(place, &key) < 0 ? NULL : find(entries, &key);

	if (entry && same_value(&entry->value, &value))
		want(entries, entry, true);
	return 0;
}

int name_entries_enter(struct name_entries *entries, const struct planned *now, const struct planned *before, struct error *err)
{
	return each_difference(entries, now, before, enter, err);
}

void name_entries_leave(struct name_entries *entries, const struct planned *before, const struct planned *now)
{
	each_difference(entries, before, now, unwant, NULL);
	if (entries->unwanted)
		each_difference(entries, now, before, rewant, NULL);
	remove_unwanted(entries);
}

void name_entries_restore(struct name_entries *entries, const struct planned *now, const struct planned *before)
{
	struct error err = {};

	if (!before->plan) { /* of an agent before: nothing says what an entry was, and the next plan takes up from there */
		each_difference(entries, now, before, unwant, NULL);
		return;
	}
	if (each_difference(entries, before, now, enter, &err) < 0)
		log_warn("a name was not put back", LOG_F("error", LOG_STR(err.message)));
	name_entries_leave(entries, now, before);
}
