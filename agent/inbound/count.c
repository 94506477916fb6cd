/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inbound/count.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"
#include "maps/serving.h"

#define READINGS_MAX 5
#define PASSES_MAX 16 /* as in agent/drain/destroy.c: before Linux 6.17 a walk may pass some over */

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

struct place_count {
	uint32_t incarnation;
	uint64_t open, accepted;
	int64_t held;
	bool settled;
};

static int add_served(const struct served *served, void *arg)
{
	struct place_count *counts = arg;

	if (served->place < MAX_SERVINGS && counts[served->place].incarnation == served->incarnation)
		counts[served->place].held++;
	return 0;
}

static void counts_begin(struct place_count *counts, const struct serving *servings)
{
	for (uint32_t i = 0; i < MAX_SERVINGS; i++) {
		counts[i].incarnation = LOAD(servings[i].incarnation);
		counts[i].accepted = LOAD(servings[i].accepted);
		counts[i].open = LOAD(servings[i].open);
		counts[i].held = 0;
		counts[i].settled |= !(counts[i].incarnation & 1);
	}
}

/* How many are not settled yet. */
static size_t counts_end(struct place_count *counts, struct serving *servings, int *corrected)
{
	size_t left = 0;

	for (uint32_t i = 0; i < MAX_SERVINGS; i++) {
		struct place_count *count = &counts[i];
		const bool stayed = LOAD(servings[i].accepted) == count->accepted && LOAD(servings[i].open) == count->open &&
				    LOAD(servings[i].incarnation) == count->incarnation;

		if (!count->settled && stayed && count->held != (int64_t)count->open) {
			__atomic_fetch_add(&servings[i].open, (uint64_t)count->held - count->open, __ATOMIC_RELAXED);
			++*corrected;
		}
		count->settled |= stayed;
		left += !count->settled;
	}
	return left;
}

int inbound_count_correct(struct kernel *kernel, int (*grace_wait)(void))
{
	_cleanup_free_ struct place_count *counts = calloc(MAX_SERVINGS, sizeof(*counts));
	int corrected = 0;

	if (!counts)
		return -ENOMEM;
	for (int i = 0; i < READINGS_MAX; i++) {
		int r;

		counts_begin(counts, kernel->servings);
		if ((r = grace_wait()) < 0 || (r = served_each(kernel, add_served, counts)) < 0 || (r = grace_wait()) < 0)
			return r;
		if (!counts_end(counts, kernel->servings, &corrected))
			break;
	}
	return corrected;
}

struct earlier_walk {
	struct kernel *kernel;
	struct earlier_count *total, pass;
};

static int earlier_add(const struct earlier_connection *earlier, void *arg)
{
	struct earlier_walk *walk = arg;

	walk->pass.counted += earlier->outcome == EARLIER_COUNTED;
	walk->pass.uncountable += earlier->outcome == EARLIER_UNCOUNTABLE;
	return 0;
}

static int earlier_walk(void *arg)
{
	struct earlier_walk *walk = arg;
	int r = 0;

	for (int i = 0; r == 0 && i < PASSES_MAX; i++) {
		walk->pass = (struct earlier_count){};
		r = serving_earlier_count(walk->kernel, earlier_add, walk);
		walk->total->counted += walk->pass.counted;
		walk->total->uncountable = walk->pass.uncountable;
		if (!walk->pass.counted)
			break;
	}
	return r;
}

int inbound_count_earlier(struct kernel *kernel, int netns_fd, struct earlier_count *ret_count)
{
	struct earlier_count count = {};
	int r = netns_within(netns_fd, earlier_walk, &(struct earlier_walk){ .kernel = kernel, .total = &count });

	if (r == 0)
		*ret_count = count;
	return r;
}
