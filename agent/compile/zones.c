/* SPDX-License-Identifier: Apache-2.0 */
#include "zones.h"

#include <errno.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/cleanup.h"

/* One zone of a list, and how many endpoints are in it. */
struct zone {
	uint16_t number;
	uint32_t count;
};

static int list_of(const struct plan_endpoint *endpoint)
{
	return ip_is_v4(&endpoint->address) ? LIST_V4 : LIST_V6;
}

static int by_number(const void *a, const void *b)
{
	return (int)((const struct zone *)a)->number - (int)((const struct zone *)b)->number;
}

/* The largest first: when there are more than a record tells apart, it is the smallest that count as one. */
static int by_size(const void *a, const void *b)
{
	const struct zone *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return by_number(a, b);
}

/* The zones of a list but the callers' own. `zones` has room for one of each endpoint. */
static size_t zones_of(const struct plan_target *target, int list, struct zone *zones)
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < target->endpoint_count; i++)
		if (list_of(&target->endpoints[i]) == list && target->endpoints[i].zone != target->zone)
			zones[count++] = (struct zone){ target->endpoints[i].zone, 1 };
	qsort(zones, count, sizeof(*zones), by_number);
	for (size_t i = 0; i < count; i++)
		if (kept && zones[kept - 1].number == zones[i].number)
			zones[kept - 1].count++;
		else
			zones[kept++] = zones[i];
	qsort(zones, kept, sizeof(*zones), by_size);
	return kept;
}

static uint16_t run_of(const struct plan_target *target, const struct zone *zones, size_t count, uint16_t number)
{
	uint16_t run = 1;

	if (number == target->zone)
		return 0;
	while (run < MAX_TARGET_ZONES - 1 && run < count && zones[run - 1].number != number)
		run++;
	return run;
}

static void set_shares(struct plan_target *target, int list)
{
	const uint8_t count = target->zone_count[list];
	struct zone_run *runs = target->zones[list];
	struct zone_split split = { .zones = count };
	uint32_t below = 0;

	for (uint8_t z = 0; z < count; z++)
		split.usable += runs[z].count;
	for (uint8_t z = 1; z < count; z++)
		split.excess += zone_excess(&split, runs[z].count);
	for (uint8_t z = 0; z < count; z++)
		runs[z].below = below += zone_share(&split, runs[0].count, z, runs[z].count);
	/* what was lost by rounding goes to the last that gets anything */
	for (uint8_t z = count; z-- > 0 && runs[z].below == below;)
		runs[z].below = SHARE_ALL;
}

static int by_place(const void *a, const void *b)
{
	const struct plan_endpoint *x = a, *y = b;

	if (list_of(x) != list_of(y))
		return list_of(x) - list_of(y);
	return x->run != y->run ? (int)x->run - (int)y->run : plan_endpoint_order(x, y);
}

int zones_arrange(struct plan_target *target)
{
	_cleanup_free_ struct zone *zones = NULL;
	bool any = false;

	for (size_t i = 0; i < target->endpoint_count && !any; i++)
		any = target->zone && target->endpoints[i].zone != target->endpoints[0].zone;
	if (!any)
		return 0;
	zones = calloc(target->endpoint_count, sizeof(*zones));
	if (!zones)
		return -ENOMEM;
	for (int list = 0; list < LIST_COUNT; list++) {
		const size_t others = zones_of(target, list, zones);
		size_t own = 0;

		for (size_t i = 0; i < target->endpoint_count; i++)
			own += list_of(&target->endpoints[i]) == list && target->endpoints[i].zone == target->zone;
		if (others + (own > 0) < 2)
			continue;
		if (!target->zones)
			target->zones = calloc(LIST_COUNT, sizeof(*target->zones));
		if (!target->zones)
			return -ENOMEM;
		target->zone_count[list] = others + 1 < MAX_TARGET_ZONES ? (uint8_t)(others + 1) : MAX_TARGET_ZONES;
		for (size_t i = 0; i < target->endpoint_count; i++) {
			struct plan_endpoint *endpoint = &target->endpoints[i];

			if (list_of(endpoint) != list)
				continue;
			endpoint->run = run_of(target, zones, others, endpoint->zone);
			target->zones[list][endpoint->run].count++;
		}
		set_shares(target, list);
	}
	qsort(target->endpoints, target->endpoint_count, sizeof(*target->endpoints), by_place);
	return 0;
}
