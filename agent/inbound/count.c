/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inbound/count.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "maps/serving.h"

#define READINGS_MAX 5

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
