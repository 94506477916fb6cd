/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health/check.h"

void check_adopt(struct check_history *h, enum health health)
{
	if (health == HEALTH_UP || health == HEALTH_DOWN)
		h->health = health;
}

static bool is_known(const struct check_history *h)
{
	return h->health == HEALTH_UP || h->health == HEALTH_DOWN;
}

bool check_add(struct check_history *h, const struct check_thresholds *thresholds, const struct check_result *result)
{
	const bool passed = result->outcome == CHECK_PASSED;
	const enum health means = passed ? HEALTH_UP : HEALTH_DOWN;

	h->last = *result;
	if (result->outcome == CHECK_NOT_RUN) {
		h->not_run++;
		return false;
	}
	h->in_a_row = h->row == result->outcome ? h->in_a_row + 1 : 1;
	h->row = result->outcome;
	h->checks++;
	h->failures += !passed;
	if (h->health == means)
		return false;
	if (is_known(h) && h->in_a_row < (passed ? thresholds->healthy : thresholds->unhealthy))
		return false;
	h->health = means;
	h->changed_ns = result->at_ns;
	return true;
}

/* Uniform in 0..span-1. */
static uint64_t part_of(uint64_t span, uint32_t random)
{
	return (uint64_t)((unsigned __int128)span * random >> 32);
}

uint64_t check_first_delay_ns(uint64_t interval_ns, uint32_t random)
{
	return part_of(interval_ns / 10, random);
}

uint64_t check_delay_ns(uint64_t interval_ns, uint32_t random)
{
	return interval_ns - interval_ns / 10 + part_of(interval_ns / 5, random);
}
