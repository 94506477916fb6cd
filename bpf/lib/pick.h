/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* An endpoint of a target. A zone is drawn by the shares that the record has for the case that every endpoint can be used, and of
 * two random picks in it the one with fewer open connections. Where a pick cannot be used the whole list is read: a usable
 * endpoint is never missed, and where fewer than the panic threshold are healthy all are used, whatever their zone. An ejected
 * endpoint counts as unhealthy; one without room as healthy, but it is never used.
 *
 * Reading gives each zone what is still due to it, so that over all draws its share is that of the endpoints that can be used. No
 * state is kept for it. A draw that no pick fails of cannot be taken back: where other zones have lost endpoints, up to a tenth
 * of connections goes there still that the own one could carry. */
#pragma once

#include "eject.h"
#include "ip.h"
#include "maps/abi/decision.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/record.h"

/* What an endpoint is good for; none of these: it is not offered to this caller. */
enum fitness {
	FIT_OFFERED = 1,
	FIT_HEALTHY = 2, /* and not ejected */
	FIT_ROOMY = 4,
	FIT_IN_PANIC = FIT_OFFERED | FIT_ROOMY,
	FIT_ALL = FIT_OFFERED | FIT_HEALTHY | FIT_ROOMY,
};
_Static_assert(HEALTH_UNCHECKED < 2 && HEALTH_UP < 2 && HEALTH_DOWN >= 2 && HEALTH_PENDING >= 2, "see candidate_at()");

struct candidate {
	__u64 open;
	__u32 run;
	__u32 fitness; /* FIT_* */
};

struct scan {
	__u64 netns_cookie;
	__u64 now_ns;
	__u64 most_open; /* connections to an endpoint that has room for one more */
	__u64 ejects; /* all ones, or 0: the target has no outlier detection */
	__u32 first, size; /* of the list, later of a zone in it */
	__u32 offered, healthy, roomy, usable;
	__u32 usable_in[MAX_TARGET_ZONES];
	__u32 need; /* FIT_* of who is taken: */
	__u32 wanted; /* the one after so many that fit */
	__s64 found; /* its place, or that of the last one that fits; -1: none does */
	/* choice of a zone: */
	const struct zone_run *runs;
	struct zone_split split;
	__u32 due; /* in all zones, in SHARE_ALLths */
	__u32 drawn; /* below that */
};

/* Without branches where that can be, here and in scan_count(): the verifier walks both ways of each, in each loop. */
static __always_inline struct candidate candidate_at(__u32 place, const struct scan *scan)
{
	const struct endpoint_ref *ref = bpf_map_lookup_elem(&w_ref, &place);
	const struct endpoint *endpoint;
	struct candidate c = {};
	__u64 healthy, ejected, roomy;
	__u32 slot;

	if (!ref || (ref->netns_cookie && ref->netns_cookie != scan->netns_cookie))
		return c;
	slot = ref->slot;
	endpoint = bpf_map_lookup_elem(&w_endpoint, &slot);
	if (!endpoint)
		return c;
	c.run = ref->run;
	c.open = READ_ONCE(endpoint->open);
	healthy = ~READ_ONCE(endpoint->health) >> 1 & 1;
	ejected = (scan->now_ns - (READ_ONCE(endpoint->ejected_until_ns) & scan->ejects)) >> 63;
	roomy = (scan->most_open - c.open) >> 63 ^ 1;
	c.fitness = FIT_OFFERED | (healthy & ~ejected) * FIT_HEALTHY | roomy * FIT_ROOMY;
	return c;
}

static long scan_count(__u32 index, void *arg)
{
	struct scan *scan = arg;
	const struct candidate c = candidate_at(scan->first + index, scan);
	const __u32 usable = (c.fitness + 1) / (FIT_ALL + 1);

	scan->offered += c.fitness & FIT_OFFERED;
	scan->healthy += (c.fitness & FIT_HEALTHY) / FIT_HEALTHY;
	scan->roomy += (c.fitness & FIT_ROOMY) / FIT_ROOMY;
	scan->usable += usable;
	scan->usable_in[masked(c.run, MAX_TARGET_ZONES)] += usable;
	return 0;
}

static long scan_take(__u32 index, void *arg)
{
	struct scan *scan = arg;
	const __u32 place = scan->first + index;
	const struct candidate c = candidate_at(place, scan);

	if ((c.fitness & scan->need) != scan->need)
		return 0;
	scan->found = place;
	return !scan->wanted--;
}

/* More random bits of the two words that the picks were drawn with: what those used of them is gone. */
static __always_inline __u32 remix(const struct draw *draw, __u32 salt)
{
	__u32 h = (draw->first ^ salt) * 0x9e3779b1u ^ draw->second;

	h = (h ^ h >> 15) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return h ^ h >> 16;
}

/* What is left for a zone to get where a pick has failed, so that over all draws it gets its share: draws that the record gave it,
 * and that met two endpoints that can be used, stood. */
static __always_inline __u32 zone_due(const struct scan *scan, __u32 zone)
{
	const struct zone_run *run = &scan->runs[masked(zone, MAX_TARGET_ZONES)];
	const __u32 usable = scan->usable_in[masked(zone, MAX_TARGET_ZONES)];
	const __u32 share = zone_share(&scan->split, scan->usable_in[0], zone, usable);
	__u64 stood = run->below;

	if (!run->count)
		return 0;
	if (zone)
		stood -= scan->runs[masked(zone - 1, MAX_TARGET_ZONES)].below;
	stood = stood * usable / run->count * usable / run->count;
	return share > stood ? share - stood : 0;
}

static long zone_sum_excess(__u32 zone, void *arg)
{
	struct scan *scan = arg;

	if (zone)
		scan->split.excess += zone_excess(&scan->split, scan->usable_in[masked(zone, MAX_TARGET_ZONES)]);
	return 0;
}

static long zone_sum_due(__u32 zone, void *arg)
{
	struct scan *scan = arg;

	scan->due += zone_due(scan, zone);
	return 0;
}

static long zone_take(__u32 zone, void *arg)
{
	struct scan *scan = arg;
	const __u32 due = zone_due(scan, zone);

	scan->size = scan->runs[masked(zone, MAX_TARGET_ZONES)].count;
	scan->wanted = scan->usable_in[masked(zone, MAX_TARGET_ZONES)];
	if (scan->drawn < due)
		return 1;
	scan->drawn -= due;
	scan->first += scan->size;
	return 0;
}

/* Narrows the scan from the whole list to one zone, drawn by what is due to each. Steps by bpf_loop(), which has the verifier look at
 * each of them once, and in a frame of its own. */
static __always_inline void choose_zone(struct scan *scan, const struct draw *draw)
{
	scan->split.usable = scan->usable;
	bpf_loop(MAX_TARGET_ZONES, zone_sum_excess, scan, 0);
	bpf_loop(MAX_TARGET_ZONES, zone_sum_due, scan, 0);
	scan->drawn = scale(remix(draw, 1), scan->due);
	bpf_loop(MAX_TARGET_ZONES, zone_take, scan, 0);
}

/* Where a pick has failed: finds another one, in scan->found. Without zones the first pick stands if it will do. */
static __always_inline void read_list(struct scan *scan, const struct target_record *target, const struct draw *draw,
				      __u32 first_fitness)
{
	bpf_loop(scan->size, scan_count, scan, 0);
	scan->wanted = scan->usable;
	if ((__u64)scan->healthy * 100 < (__u64)scan->offered * target->panic_pct) {
		scan->need = FIT_IN_PANIC;
		scan->wanted = scan->roomy;
	} else if (scan->split.zones && scan->usable) {
		choose_zone(scan, draw);
	}
	if (!scan->split.zones && (first_fitness & scan->need) == scan->need) {
		scan->found = scan->first + scale(draw->first, scan->size);
		return;
	}
	scan->wanted = scale(remix(draw, 2), scan->wanted);
	bpf_loop(scan->size, scan_take, scan, 0);
}

/* Part of a list. */
struct span {
	__u32 first, size;
};

/* Narrows `span` from a whole list to the zone in it that is drawn. Like policy.h's loops: global. */
__weak int pick_zone(const struct target_record *target, __u32 list, __u32 zone_draw, struct span *span)
{
	if (!target || !span)
		return -1;

	const struct zone_run *runs = list == LIST_V6 ? target->zones[LIST_V6] : target->zones[LIST_V4];
	const __u32 zones = list == LIST_V6 ? target->zone_count[LIST_V6] : target->zone_count[LIST_V4];

	for (__u32 z = 0; z < MAX_TARGET_ZONES && z < zones; z++) {
		span->size = runs[z].count;
		if (zone_draw < runs[z].below)
			break;
		span->first += span->size;
	}
	return 0;
}

/* Completes the decision for a target, and returns its reason. Not inlined, since a choice that was lost to others is made again, and
 * global, as above. */
__weak int pick(const struct target_record *target, const struct flow *flow, const struct draw *draw, __u64 now_ns, struct decision *d)
{
	if (!target || !flow || !draw || !d)
		return REASON_BAD_RECORD;

	const bool v6 = !ip_is_v4(&flow->destination);
	struct scan scan = {
		.netns_cookie = flow->netns_cookie,
		.now_ns = now_ns,
		.most_open = (target->max_connections ?: 1ull << 62) - 1,
		.ejects = target->max_errors ? ~0ull : 0,
		.first = v6 ? target->first[LIST_V6] : target->first[LIST_V4],
		.size = v6 ? target->count[LIST_V6] : target->count[LIST_V4],
		.need = FIT_ALL,
		.found = -1,
		.runs = v6 ? target->zones[LIST_V6] : target->zones[LIST_V4],
		.split.zones = v6 ? target->zone_count[LIST_V6] : target->zone_count[LIST_V4],
	};
	struct span zone = { scan.first, scan.size };
	__u32 place, slot;
	const struct endpoint_ref *ref;
	const struct endpoint *endpoint;
	struct candidate a, b;
	__u64 until_ns;

	if (!scan.size)
		return target->count[LIST_V4] | target->count[LIST_V6] ? REASON_NO_ENDPOINT_IN_FAMILY : REASON_NO_ENDPOINT;
	if (scan.split.zones)
		pick_zone(target, v6 ? LIST_V6 : LIST_V4, scale(draw->zone, SHARE_ALL), &zone);
	a = candidate_at(zone.first + scale(draw->first, zone.size), &scan);
	b = candidate_at(zone.first + scale(draw->second, zone.size), &scan);
	if ((a.fitness & b.fitness) == FIT_ALL)
		scan.found = zone.first + scale(a.open <= b.open ? draw->first : draw->second, zone.size);
	else
		read_list(&scan, target, draw, a.fitness);
	if (scan.found < 0)
		return scan.healthy || (scan.offered && scan.need == FIT_IN_PANIC) ? REASON_OVER_MAX_CONNECTIONS : REASON_NO_ENDPOINT;

	place = scan.found;
	ref = bpf_map_lookup_elem(&w_ref, &place);
	if (!ref)
		return REASON_BAD_RECORD;
	d->address = ref->address;
	d->port = ref->port;
	d->slot = ref->slot;
	d->slot_incarnation = ref->incarnation;
	d->max_connections = target->max_connections;
	d->flags &= ~(DECISION_PANIC | DECISION_PROBE);
	if (scan.need == FIT_IN_PANIC)
		d->flags |= DECISION_PANIC;
	if (scan.ejects) {
		slot = d->slot; /* of the stack: Linux 6.1 takes no key from a caller's memory */
		endpoint = bpf_map_lookup_elem(&w_endpoint, &slot);
		until_ns = endpoint ? READ_ONCE(endpoint->ejected_until_ns) : 0;
		if (until_ns && until_ns <= now_ns)
			d->flags |= DECISION_PROBE;
	}
	if (d->flags & DECISION_AUDIT)
		return REASON_AUDIT_NOT_A_BACKEND;
	return d->flags & DECISION_PANIC ? REASON_PANIC : REASON_ROUTED;
}
