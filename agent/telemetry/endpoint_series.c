/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/endpoint_series.h"

#include <stdlib.h>
#include <string.h>

struct known { /* a slot, as it was when it was last taken */
	uint32_t incarnation; /* 0: it never was, or was free then */
	uint32_t reading;
	bool own, decided;
	struct endpoint_requests last;
};

struct endpoint_series {
	uint32_t reading;
	size_t slot_count, own_count;
	struct known *slots;
	uint32_t own[ENDPOINT_SERIES_MAX]; /* slots that are told of by themselves */
	struct endpoint_requests others;
};

struct endpoint_series *endpoint_series_new(void)
{
	return calloc(1, sizeof(struct endpoint_series));
}

struct endpoint_series *endpoint_series_free(struct endpoint_series *series)
{
	if (series)
		free(series->slots);
	free(series);
	return NULL;
}

void endpoint_series_begin(struct endpoint_series *series)
{
	series->reading++;
}

static struct known *known_get(struct endpoint_series *series, uint32_t slot)
{
	if (slot >= series->slot_count) {
		const size_t count = 2 * ((size_t)slot + 32);
		struct known *more = reallocarray(series->slots, count, sizeof(*more));

		if (!more)
			return NULL;
		memset(more + series->slot_count, 0, (count - series->slot_count) * sizeof(*more));
		series->slots = more;
		series->slot_count = count;
	}
	return &series->slots[slot];
}

static uint64_t growth(uint64_t *last, uint64_t now)
{
	const uint64_t grown = now > *last ? now - *last : 0;

	*last = now;
	return grown;
}

bool endpoint_series_take(struct endpoint_series *series, uint32_t slot, const struct endpoint *state)
{
	struct known *known = known_get(series, slot);
	struct endpoint_requests more;

	if (!known)
		return false;
	if (known->incarnation != state->incarnation)
		*known = (struct known){ .incarnation = state->incarnation, .own = known->own, .decided = known->own };
	known->reading = series->reading;
	if (!known->decided && state->requests) {
		known->decided = true;
		known->own = series->own_count < ENDPOINT_SERIES_MAX;
		if (known->own)
			series->own[series->own_count++] = slot;
	}
	more.requests = growth(&known->last.requests, state->requests);
	more.failures = growth(&known->last.failures, state->request_failures);
	if (!known->own) {
		series->others.requests += more.requests;
		series->others.failures += more.failures;
	}
	return known->own && state->requests;
}

struct endpoint_requests endpoint_series_end(struct endpoint_series *series)
{
	size_t kept = 0;

	for (size_t i = 0; i < series->own_count; i++) {
		struct known *known = &series->slots[series->own[i]];

		if (known->reading == series->reading)
			series->own[kept++] = series->own[i];
		else
			*known = (struct known){}; /* it is gone: its place is for another one */
	}
	series->own_count = kept;
	return series->others;
}
