/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* An endpoint of a target: of two random picks the one with fewer open connections. Where a pick cannot be used the whole list
 * is read: a usable endpoint is never missed, and where fewer than the panic threshold are healthy all of them are used. */
#pragma once

#include "bpf.h"
#include "maps/abi/decision.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/record.h"

enum fitness {
	FITNESS_ABSENT, /* not offered to this caller, or no such place */
	FITNESS_DOWN,
	FITNESS_USABLE,
};

struct candidate {
	const struct endpoint_ref *ref;
	__u64 open;
	enum fitness fitness;
};

static __always_inline struct candidate candidate_at(__u32 place, __u64 netns_cookie)
{
	struct candidate c = { .ref = bpf_map_lookup_elem(&w_ref, &place) };
	const struct endpoint *endpoint;
	__u32 slot;

	if (!c.ref || (c.ref->netns_cookie && c.ref->netns_cookie != netns_cookie))
		return c;
	slot = c.ref->slot;
	endpoint = bpf_map_lookup_elem(&w_endpoint, &slot);
	if (!endpoint)
		return c;
	c.open = READ_ONCE(endpoint->open);
	c.fitness = READ_ONCE(endpoint->health) >= HEALTH_DOWN ? FITNESS_DOWN : FITNESS_USABLE;
	return c;
}

struct scan {
	__u64 netns_cookie;
	__u32 first;
	__u32 offered;
	__u32 usable;
	/* second reading: */
	__u32 wanted; /* take the one after so many that are good enough */
	__u32 found; /* its place, or the last one that was good enough */
	enum fitness good_enough;
	bool any;
};

static long scan_count(__u32 index, void *arg)
{
	struct scan *scan = arg;
	const struct candidate c = candidate_at(scan->first + index, scan->netns_cookie);

	scan->offered += c.fitness != FITNESS_ABSENT;
	scan->usable += c.fitness == FITNESS_USABLE;
	return 0;
}

static long scan_take(__u32 index, void *arg)
{
	struct scan *scan = arg;
	const struct candidate c = candidate_at(scan->first + index, scan->netns_cookie);

	if (c.fitness < scan->good_enough)
		return 0;
	scan->found = scan->first + index;
	scan->any = true;
	return !scan->wanted--;
}

/* NULL: none can be used. `ret_panic`: all of the list were candidates, healthy or not. */
static __always_inline const struct endpoint_ref *pick(__u32 first, __u32 count, __u32 panic_pct, __u64 netns_cookie,
						       const struct draw *draw, bool *ret_panic)
{
	const struct candidate a = candidate_at(first + scale(draw->first, count), netns_cookie);
	const struct candidate b = candidate_at(first + scale(draw->second, count), netns_cookie);
	struct scan scan = { .netns_cookie = netns_cookie, .first = first, .good_enough = FITNESS_USABLE };

	if (a.fitness != FITNESS_USABLE || b.fitness != FITNESS_USABLE) {
		bpf_loop(count, scan_count, &scan, 0);
		if ((__u64)scan.usable * 100 < (__u64)scan.offered * panic_pct) {
			scan.good_enough = FITNESS_DOWN;
			*ret_panic = true;
		}
	}
	if (a.fitness >= scan.good_enough && b.fitness >= scan.good_enough)
		return a.open <= b.open ? a.ref : b.ref;
	if (a.fitness >= scan.good_enough)
		return a.ref;
	if (b.fitness >= scan.good_enough)
		return b.ref;
	scan.wanted = scale(draw->rest, *ret_panic ? scan.offered : scan.usable);
	bpf_loop(count, scan_take, &scan, 0);
	return scan.any ? bpf_map_lookup_elem(&w_ref, &scan.found) : NULL;
}
