/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/area.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define WORD_BITS 64u

static inline bool bit_test(const uint64_t *words, uint32_t index)
{
	return words[index / WORD_BITS] >> index % WORD_BITS & 1;
}

static inline void bit_set(uint64_t *words, uint32_t index)
{
	words[index / WORD_BITS] |= 1ull << index % WORD_BITS;
}

/* The first bit of value `wanted` in from..end-1, or `end`. */
static uint32_t bit_find(const uint64_t *words, bool wanted, uint32_t from, uint32_t end)
{
	const uint64_t flip = wanted ? 0 : ~0ull;

	while (from < end) {
		const uint64_t rest = (words[from / WORD_BITS] ^ flip) >> from % WORD_BITS;

		if (rest)
			return MIN(from + (uint32_t)__builtin_ctzll(rest), end);
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return end;
}

int area_init(struct area *area, const char *name, uint32_t size)
{
	const size_t words = size / WORD_BITS;
	uint64_t *bits = calloc(3 * words, sizeof(*bits));

	assert(size % WORD_BITS == 0);
	if (!bits)
		return -ENOMEM;
	*area = (struct area){
		.name = name,
		.size = size,
		.used_count = size,
		.used = bits,
		.fresh = bits + words,
		.marked = bits + 2 * words,
	};
	memset(area->used, 0xff, words * sizeof(*bits));
	return 0;
}

void area_done(struct area *area)
{
	free(area->used);
	*area = (struct area){};
}

/* `count` unused neighbours within from..end-1: the first one, or -ENOSPC. */
static int64_t area_find(const struct area *area, uint32_t count, uint32_t from, uint32_t end)
{
	while (from + count <= end) {
		const uint32_t first = bit_find(area->used, false, from, end);
		uint32_t last;

		if (end - first < count)
			break;
		last = bit_find(area->used, true, first, first + count);
		if (last - first == count)
			return first;
		from = last;
	}
	return -ENOSPC;
}

void area_keep(struct area *area, uint32_t index)
{
	bit_set(area->used, index);
	bit_set(area->fresh, index);
	bit_set(area->marked, index);
}

int64_t area_alloc(struct area *area, uint32_t count)
{
	int64_t first = -ENOSPC;

	if (!count)
		return 0;
	if (count > area->size - area->used_count)
		return -ENOSPC;
	first = area_find(area, count, area->next, area->size);
	if (first < 0) /* from the front; a range may reach into what was searched already */
		first = area_find(area, count, 0, MIN(area->next + count - 1, area->size));
	if (first < 0)
		return -ENOSPC;
	for (uint32_t i = (uint32_t)first; i < (uint32_t)first + count; i++)
		area_keep(area, i);
	area->used_count += count;
	area->next = (uint32_t)first + count;
	return first;
}

bool area_is_crowded(const struct area *area)
{
	return area->used_count - area->swept_count > (area->size - area->swept_count) / 4 * 3;
}

void area_settle(struct area *area)
{
	memset(area->fresh, 0, area->size / 8);
}

void area_sweep_begin(struct area *area)
{
	memcpy(area->marked, area->fresh, area->size / 8);
}

bool area_mark(struct area *area, uint32_t index)
{
	const bool first = !bit_test(area->marked, index);

	bit_set(area->marked, index);
	return first;
}

bool area_contains(const struct area *area, uint32_t first, uint32_t count)
{
	return first <= area->size && count <= area->size - first;
}

uint32_t area_garbage(const struct area *area, uint32_t from)
{
	for (uint32_t word = from / WORD_BITS; word < area->size / WORD_BITS; word++) {
		uint64_t garbage = area->used[word] & ~area->marked[word];

		if (word == from / WORD_BITS)
			garbage &= ~0ull << from % WORD_BITS;
		if (garbage)
			return word * WORD_BITS + (uint32_t)__builtin_ctzll(garbage);
	}
	return area->size;
}

void area_sweep_end(struct area *area)
{
	area->used_count = 0;
	area->next = 0;
	for (uint32_t word = 0; word < area->size / WORD_BITS; word++) {
		area->used[word] = area->marked[word];
		area->used_count += (uint32_t)__builtin_popcountll(area->used[word]);
	}
	area->swept_count = area->used_count;
}

uint32_t area_end(const struct area *area)
{
	uint32_t word = area->size / WORD_BITS;

	while (word && !area->used[word - 1])
		word--;
	return word ? word * WORD_BITS - (uint32_t)__builtin_clzll(area->used[word - 1]) : 0;
}
