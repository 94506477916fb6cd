/* SPDX-License-Identifier: Apache-2.0 */
#include "vip_entries.h"

#include <errno.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"

#define WANTED UINT64_MAX

struct vip_entry {
	struct ip vip;
	uint64_t last; /* the last generation that wanted it, or WANTED */
	uint32_t service; /* object id */
	uint32_t next; /* in the bucket, place + 1 */
};

struct vip_entries {
	const struct apply_kernel *kernel;
	struct generations *generations;
	uint32_t count; /* places used, from the front */
	struct vip_entry entries[MAX_VIPS];
	uint32_t buckets[MAX_VIPS]; /* place + 1 of the first entry, chained */
};

static uint32_t *bucket_of(struct vip_entries *entries, const struct ip *vip)
{
	return &entries->buckets[hash_bytes(vip, sizeof(*vip)) % MAX_VIPS];
}

static struct vip_entry *find(struct vip_entries *entries, const struct ip *vip)
{
	for (uint32_t at = *bucket_of(entries, vip); at; at = entries->entries[at - 1].next)
		if (ip_equal(&entries->entries[at - 1].vip, vip))
			return &entries->entries[at - 1];
	return NULL;
}

static void add(struct vip_entries *entries, const struct ip *vip, uint32_t service, uint64_t last)
{
	uint32_t *bucket = bucket_of(entries, vip);

	entries->entries[entries->count] = (struct vip_entry){ *vip, last, service, *bucket };
	*bucket = ++entries->count;
	generations_id_hold(entries->generations, service);
}

/* The last entry moves into the place of the one that goes. */
static void take_out(struct vip_entries *entries, struct vip_entry *entry)
{
	struct vip_entry *last = &entries->entries[entries->count - 1];
	const uint32_t place = (uint32_t)(entry - entries->entries) + 1;
	uint32_t *link;

	generations_id_release(entries->generations, entry->service);
	for (link = bucket_of(entries, &entry->vip); *link != place;)
		link = &entries->entries[*link - 1].next;
	*link = entry->next;
	if (last != entry) {
		for (link = bucket_of(entries, &last->vip); *link != entries->count;)
			link = &entries->entries[*link - 1].next;
		*link = place;
		*entry = *last;
	}
	entries->count--;
}

/* The last kept generation that has the service, or 0. */
static uint64_t last_with(const struct generations *generations, uint32_t service)
{
	const uint64_t oldest = generations_oldest(generations);
	uint64_t generation = generations_current(generations);

	while (generation > oldest && !generations_ref(generations, generation, service))
		generation--;
	return generations_ref(generations, generation, service) ? generation : 0;
}

static int take_up(const struct ip *vip, uint32_t service, void *arg)
{
	struct vip_entries *entries = arg;

	if (!service || service >= entries->kernel->memory->limits.objects || entries->count == MAX_VIPS)
		return -EPROTO;
	if (!find(entries, vip)) /* a walk may show an entry twice */
		add(entries, vip, service, last_with(entries->generations, service));
	return 0;
}

int vip_entries_new(const struct apply_kernel *kernel, struct generations *generations, struct vip_entries **ret_entries,
		    struct error *err)
{
	_cleanup_free_ struct vip_entries *entries = calloc(1, sizeof(*entries));
	int r;

	if (!entries)
		return error_set(err, -ENOMEM, "no memory for the copy of the VIP table");
	entries->kernel = kernel;
	entries->generations = generations;
	r = kernel->vip_each(kernel->arg, take_up, entries);
	if (r < 0)
		return error_set(err, r, "cannot read the VIP table");
	*ret_entries = TAKE_PTR(entries);
	return 0;
}

struct vip_entries *vip_entries_free(struct vip_entries *entries)
{
	free(entries);
	return NULL;
}

int vip_entries_set(struct vip_entries *entries, const struct ip *vip, uint32_t service, struct error *err)
{
	struct vip_entry *entry = find(entries, vip);
	char text[IP_TEXT_BYTES];
	int r;

	if (entry && entry->service == service) {
		entry->last = WANTED;
		return 0;
	}
	if (!entry && entries->count == MAX_VIPS)
		return error_set(err, -ENOSPC, "the table of VIPs is full: %d of %d are used", MAX_VIPS, MAX_VIPS);
	r = entries->kernel->vip_set(entries->kernel->arg, vip, service);
	if (r < 0)
		return error_set(err, r == -E2BIG ? -ENOSPC : r, "cannot enter VIP %s, with %u of %d in the table",
				 ip_format(vip, text), entries->count, MAX_VIPS);
	if (!entry) {
		add(entries, vip, service, WANTED);
		return 0;
	}
	generations_id_release(entries->generations, entry->service);
	generations_id_hold(entries->generations, service);
	entry->service = service;
	entry->last = WANTED;
	return 0;
}

void vip_entries_drop(struct vip_entries *entries, const struct ip *vip, uint32_t service, uint64_t last)
{
	struct vip_entry *entry = find(entries, vip);

	if (entry && entry->service == service)
		entry->last = last;
}

void vip_entries_sweep(struct vip_entries *entries, uint64_t oldest)
{
	for (uint32_t i = entries->count; i > 0; i--) { /* backwards: what moves into a gap was looked at already */
		struct vip_entry *entry = &entries->entries[i - 1];

		if (entry->last < oldest && entries->kernel->vip_remove(entries->kernel->arg, &entry->vip) == 0)
			take_out(entries, entry);
	}
}
