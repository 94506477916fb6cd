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
	size_t index; /* into plan.names */
};

static const struct plan_name *name_at(const struct place *place)
{
	return &place->planned->plan->names[place->index];
}

static const struct plan_service *service_at(const struct place *place)
{
	return &place->planned->plan->services[name_at(place)->service];
}

static uint32_t id_at(const struct place *place)
{
	return place->planned->ids[OBJECT_SERVICE][name_at(place)->service];
}

static bool is_at_end(const struct place *place)
{
	return !place->planned->plan || place->index == place->planned->plan->name_count;
}

static struct name_entry value_at(const struct place *place)
{
	const struct plan_service *service = service_at(place);

	return (struct name_entry){
		.vip4 = service->v4 ? service->vip4 : (struct ip){},
		.vip6 = service->v6 ? service->vip6 : (struct ip){},
		.service = id_at(place),
	};
}

static bool same_value(const struct name_entry *a, const struct name_entry *b)
{
	return memcmp(a, b, sizeof(*a)) == 0; /* no padding */
}

/* A walk through the names of two plans, both in order. */
struct walk {
	struct place a, b;
	const char *scope_a, *scope_b; /* that `scopes` compares: names of a scope share its string */
	int scopes;
};

static int order_at(struct walk *walk)
{
	const char *scope_a, *scope_b;

	if (is_at_end(&walk->a) || is_at_end(&walk->b))
		return (int)is_at_end(&walk->a) - (int)is_at_end(&walk->b);
	scope_a = name_at(&walk->a)->scope;
	scope_b = name_at(&walk->b)->scope;
	if (scope_a != walk->scope_a || scope_b != walk->scope_b)
		walk->scopes = strcmp(scope_a, scope_b);
	walk->scope_a = scope_a;
	walk->scope_b = scope_b;
	if (walk->scopes)
		return walk->scopes;
	return id_at(&walk->a) == id_at(&walk->b) ? 0 : strcmp(service_at(&walk->a)->name, service_at(&walk->b)->name);
}

/* Calls `fn` for each name of `planned` that `other` has not, or has with another value. */
typedef int difference_fn(struct name_entries *entries, const struct place *place, struct error *err);
static int each_difference(struct name_entries *entries, const struct planned *planned, const struct planned *other,
			   difference_fn *fn, struct error *err)
{
	struct walk walk = { .a.planned = planned, .b.planned = other };

	while (!is_at_end(&walk.a)) {
		const int order = order_at(&walk);
		bool same = false;

		if (order == 0) {
			const struct name_entry a = value_at(&walk.a), b = value_at(&walk.b);

			same = same_value(&a, &b);
		}
		if (order <= 0 && !same) {
			const int r = fn(entries, &walk.a, err);

			if (r < 0)
				return r;
		}
		walk.a.index += order <= 0;
		walk.b.index += order >= 0;
	}
	return 0;
}

static int make_key(const struct place *place, struct name_key *ret_key)
{
	return name_key_make(name_at(place)->scope, plan_service_name(service_at(place)), ret_key);
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

int name_entries_enter(struct name_entries *entries, const struct planned *now, const struct planned *before, struct error *err)
{
	return each_difference(entries, now, before, enter, err);
}

void name_entries_leave(struct name_entries *entries, const struct planned *before, const struct planned *now)
{
	each_difference(entries, before, now, unwant, NULL);
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
