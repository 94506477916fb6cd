/* SPDX-License-Identifier: Apache-2.0 */
/* The same choice as the kernel's for connections (bpf/lib/pick.h), but by requests under way: a zone by its share, two endpoints of it at
 * random, the less busy one; where a pick cannot be used the whole list is read, so that a usable endpoint is never missed; and where
 * fewer than the panic threshold are healthy, all are used. */
#include "agent/l7/internal.h"
#include "maps/abi/endpoint.h"

/* In words of 32 bits, of which some may be used up. */
static uint32_t below(const struct choice *c, uint32_t limit)
{
	return (uint32_t)((random_next(c->random) >> 32) * limit >> 32);
}

enum fit choice_fit(const struct choice *c, const struct target_endpoint *e)
{
	const struct endpoint *slot = l7_slot(c->l7, e);

	if (!slot || (e->netns_cookie && e->netns_cookie != c->netns_cookie))
		return FIT_NONE; /* the next snapshot has another slot for it, or does not have it */
	if (__atomic_load_n(&slot->health, __ATOMIC_RELAXED) >= HEALTH_DOWN)
		return FIT_OFFERED;
	return c->target->max_errors && outlier_is_out(slot, c->now_ns) ? FIT_OFFERED : FIT_USABLE;
}

static bool was_tried(const struct choice *c, const struct target_endpoint *e)
{
	for (uint32_t i = 0; i < MIN(c->tries, L7_TRIED_MAX); i++)
		if (c->tried[i] == e->slot)
			return true;
	return false;
}

static uint32_t load_of(const struct choice *c, const struct target_endpoint *e)
{
	return __atomic_load_n(&c->l7->active[e->slot], __ATOMIC_RELAXED);
}

/* Part of the list, a zone's where zones make a difference. */
static void zone_draw(const struct choice *c, const struct target_list *list, size_t *first, size_t *count)
{
	const uint32_t drawn = list->zone_count ? below(c, SHARE_ALL) : 0;

	*first = 0;
	*count = list->count;
	for (size_t z = 0; z < list->zone_count; z++) {
		*count = list->zones[z].count;
		if (drawn < list->zones[z].below)
			break;
		*first += *count;
	}
}

bool choice_panics(const struct choice *c, const struct target_list *list)
{
	size_t offered = 0, usable = 0;

	for (size_t i = 0; i < list->count; i++) {
		const enum fit fit = choice_fit(c, &list->endpoints[i]);

		offered += fit >= FIT_OFFERED;
		usable += fit == FIT_USABLE;
	}
	return usable * 100 < offered * c->target->panic_pct;
}

/* Of those that will do: 2 where it was not tried yet, and 1 where it is of the caller's zone, which in panic makes no difference. -1: it will
 * not do. */
static int rank_of(const struct choice *c, const struct target_list *list, const struct target_endpoint *e, bool panic)
{
	if (choice_fit(c, e) < (panic ? FIT_OFFERED : FIT_USABLE))
		return -1;
	return (was_tried(c, e) ? 0 : 2) + (!panic && list->zone_count && e->run == 0);
}

/* Without two usable ones at once: reads all, and takes one of those with the highest rank. */
static const struct target_endpoint *read_list(const struct choice *c, const struct target_list *list)
{
	const bool panic = choice_panics(c, list);
	size_t fitting = 0, wanted;
	int highest = 0;

	for (size_t i = 0; i < list->count; i++) {
		const int rank = rank_of(c, list, &list->endpoints[i], panic);

		fitting = rank > highest ? 1 : fitting + (rank == highest);
		highest = MAX(highest, rank);
	}
	if (!fitting)
		return NULL;
	wanted = below(c, (uint32_t)fitting);
	for (size_t i = 0; i < list->count; i++)
		if (rank_of(c, list, &list->endpoints[i], panic) == highest && wanted-- == 0)
			return &list->endpoints[i];
	return NULL; /* health has changed in between */
}

const struct target_endpoint *choice_draw(const struct choice *c, const struct target_list *list)
{
	const struct target_endpoint *a, *b;
	size_t first, count;

	if (!list->count)
		return NULL;
	zone_draw(c, list, &first, &count);
	for (int pick = 0; count && pick <= (c->tries ? L7_REPICKS : 0); pick++) {
		a = &list->endpoints[first + below(c, (uint32_t)count)];
		b = &list->endpoints[first + below(c, (uint32_t)count)];
		if (choice_fit(c, a) != FIT_USABLE || choice_fit(c, b) != FIT_USABLE)
			break;
		if (load_of(c, b) < load_of(c, a))
			a = b;
		if (!was_tried(c, a))
			return a;
	}
	return read_list(c, list);
}

const struct target_endpoint *choose_endpoint(struct request *request, const struct target *target)
{
	const bool v6 = !ip_is_v4(&request->downstream->handover.destination);
	const struct choice c = {
		.l7 = request->worker->l7,
		.target = target,
		.netns_cookie = request->downstream->place->place->netns_cookie,
		.now_ns = time_now_ns(),
		.random = request->worker->random,
		.tried = request->tried,
		.tries = request->tries,
	};

	for (int i = 0; i < LIST_COUNT; i++) {
		const struct target_list *list = &target->lists[choice_family(v6, i)];
		const struct target_endpoint *found = choice_draw(&c, list);

		request->probe_ns = 0;
		if (found && target->max_errors && !outlier_begin(&c.l7->kernel.endpoints[found->slot], c.now_ns, &request->probe_ns)) {
			found = read_list(&c, list); /* another one probes it: it is out by now */
			request->probe_ns = 0;
		}
		if (found)
			return found;
	}
	return NULL;
}
