/* SPDX-License-Identifier: Apache-2.0 */
/* The same choice as the kernel's for connections (bpf/lib/pick.h), but by requests under way: a zone by its share, two endpoints of it at
 * random, the less busy one; where a pick cannot be used the whole list is read, so that a usable endpoint is never missed; and where
 * fewer than the panic threshold are healthy, all are used. */
#include "agent/l7/internal.h"
#include "maps/abi/endpoint.h"

enum fit {
	FIT_NONE, /* not offered to this namespace */
	FIT_OFFERED,
	FIT_USABLE, /* healthy, and not ejected */
};

struct chooser {
	struct l7 *l7;
	const struct request *request;
	const struct target *target;
	const struct target_list *list;
	uint64_t netns_cookie, now_ns;
};

/* In words of 32 bits, of which some may be used up. */
static uint32_t below(struct worker *worker, uint32_t limit)
{
	return (uint32_t)((worker_random(worker) >> 32) * limit >> 32);
}

static enum fit fit_of(const struct chooser *c, const struct target_endpoint *e)
{
	const struct endpoint *slot = l7_slot(c->l7, e);

	if (!slot || (e->netns_cookie && e->netns_cookie != c->netns_cookie))
		return FIT_NONE; /* the next snapshot has another slot for it, or does not have it */
	if (__atomic_load_n(&slot->health, __ATOMIC_RELAXED) >= HEALTH_DOWN)
		return FIT_OFFERED;
	return c->target->max_errors && outlier_is_out(slot, c->now_ns) ? FIT_OFFERED : FIT_USABLE;
}

static bool was_tried(const struct request *request, const struct target_endpoint *e)
{
	for (uint32_t i = 0; i < MIN(request->tries, L7_TRIED_MAX); i++)
		if (request->tried[i] == e->slot)
			return true;
	return false;
}

static uint32_t load_of(const struct chooser *c, const struct target_endpoint *e)
{
	return __atomic_load_n(&c->l7->active[e->slot], __ATOMIC_RELAXED);
}

/* Part of the list, a zone's where zones make a difference. */
static void zone_draw(const struct chooser *c, size_t *first, size_t *count)
{
	const uint32_t drawn = c->list->zone_count ? below(c->request->worker, SHARE_ALL) : 0;

	*first = 0;
	*count = c->list->count;
	for (size_t z = 0; z < c->list->zone_count; z++) {
		*count = c->list->zones[z].count;
		if (drawn < c->list->zones[z].below)
			break;
		*first += *count;
	}
}

/* Without two usable ones at once: reads all. Of the caller's zone where that has some, of those not tried where there are. */
static const struct target_endpoint *read_list(const struct chooser *c)
{
	size_t offered = 0, usable = 0, fitting = 0, wanted;
	bool own_zone = false, fresh = false, panic;
	enum fit need = FIT_USABLE;

	for (size_t i = 0; i < c->list->count; i++) {
		const struct target_endpoint *e = &c->list->endpoints[i];
		const enum fit fit = fit_of(c, e);

		offered += fit >= FIT_OFFERED;
		usable += fit == FIT_USABLE;
		own_zone |= fit == FIT_USABLE && c->list->zone_count && e->run == 0;
		fresh |= fit == FIT_USABLE && !was_tried(c->request, e);
	}
	panic = usable * 100 < offered * c->target->panic_pct;
	if (panic) {
		need = FIT_OFFERED;
		own_zone = false;
	}
#define FITS(e)                                                                                                               \
	(fit_of(c, e) >= need && (!own_zone || (e)->run == 0 || fresh) && (!fresh || panic || !was_tried(c->request, e)))
	for (size_t i = 0; i < c->list->count; i++)
		fitting += FITS(&c->list->endpoints[i]);
	if (!fitting)
		return NULL;
	wanted = below(c->request->worker, (uint32_t)fitting);
	for (size_t i = 0; i < c->list->count; i++)
		if (FITS(&c->list->endpoints[i]) && wanted-- == 0)
			return &c->list->endpoints[i];
#undef FITS
	return NULL; /* health has changed in between */
}

static const struct target_endpoint *choose_in(const struct chooser *c)
{
	const struct target_endpoint *a, *b;
	size_t first, count;

	if (!c->list->count)
		return NULL;
	zone_draw(c, &first, &count);
	for (int pick = 0; count && pick <= (c->request->tries ? L7_REPICKS : 0); pick++) {
		a = &c->list->endpoints[first + below(c->request->worker, (uint32_t)count)];
		b = &c->list->endpoints[first + below(c->request->worker, (uint32_t)count)];
		if (fit_of(c, a) != FIT_USABLE || fit_of(c, b) != FIT_USABLE)
			break;
		if (load_of(c, b) < load_of(c, a))
			a = b;
		if (!was_tried(c->request, a))
			return a;
	}
	return read_list(c);
}

const struct target_endpoint *choose_endpoint(struct request *request, const struct target *target)
{
	const bool v6 = !ip_is_v4(&request->downstream->handover.destination);
	struct chooser c = {
		.l7 = request->worker->l7,
		.request = request,
		.target = target,
		.netns_cookie = request->downstream->place->place->netns_cookie,
		.now_ns = time_now_ns(),
	};

	/* The family that the program asked for first: there is surely a way. */
	for (int i = 0; i < LIST_COUNT; i++) {
		const struct target_endpoint *found;

		c.list = &target->lists[v6 ^ i ? LIST_V6 : LIST_V4];
		found = choose_in(&c);
		request->probe = false;
		if (found && target->max_errors && !outlier_begin(&c.l7->kernel.endpoints[found->slot], c.now_ns, &request->probe)) {
			found = read_list(&c); /* another one probes it: it is out by now */
			request->probe = false;
		}
		if (found)
			return found;
	}
	return NULL;
}
