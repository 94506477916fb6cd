/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/compile/current.h"
#include "base/cleanup.h"

void layout_read(struct layout *layout, const struct route_record *routes, size_t count)
{
	for (size_t p = 0; p < count; p++)
		for (size_t t = 0; t < routes[p].target_count; t++)
			if (routes[p].target[t])
				layout->target[routes[p].row_offset[t]] = routes[p].target[t];
}

int layout_find(const struct layout *layout, uint32_t target)
{
	for (int offset = 0; offset < MAX_SERVICE_ROWS; offset++)
		if (layout->target[offset] == target)
			return offset;
	return -1;
}

/* The first of `size` offsets that is free in both; `size` when there is none. */
static uint32_t free_offset(const struct layout *a, const struct layout *b, uint32_t size)
{
	uint32_t offset = 0;

	while (offset < size && (a->target[offset] || b->target[offset]))
		offset++;
	return offset;
}

bool layout_place_in_blocks(struct layout *layout, const struct kernel_memory *memory, const struct block *blocks,
			    size_t block_count, const uint32_t *targets, size_t count)
{
	struct layout used = {}, placed = *layout;
	uint32_t size = MAX_SERVICE_ROWS;

	for (size_t b = 0; b < block_count; b++) {
		size = MIN(size, blocks[b].row_count);
		for (uint32_t i = 0; i < blocks[b].row_count; i++)
			if (memory->rows[blocks[b].row + i].target)
				used.target[i] = memory->rows[blocks[b].row + i].target;
	}
	for (size_t i = 0; i < count; i++) {
		const int earlier = layout_find(&used, targets[i]);
		uint32_t offset;

		if (layout_find(&placed, targets[i]) >= 0)
			continue;
		offset = earlier >= 0 ? (uint32_t)earlier : free_offset(&used, &placed, size);
		if (offset >= size || placed.target[offset])
			return false;
		placed.target[offset] = targets[i];
	}
	*layout = placed;
	return true;
}

bool layout_place(struct layout *layout, const uint32_t *targets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t offset;

		if (layout_find(layout, targets[i]) >= 0)
			continue;
		offset = free_offset(layout, layout, MAX_SERVICE_ROWS);
		if (offset == MAX_SERVICE_ROWS)
			return false;
		layout->target[offset] = targets[i];
	}
	return true;
}

typedef void block_fn(struct blocks *index, uint32_t service, struct block block);

static void each_block(const struct encoder *encoder, block_fn *fn, struct blocks *index)
{
	for (uint32_t id = 1; id < encoder->memory->limits.objects; id++) {
		const struct node_record *node = current_node(encoder, id);

		for (uint32_t i = 0; node && i < node->backend_count; i++) {
			const struct backend *backend = &encoder->memory->backends[node->first_backend + i];

			fn(index, backend->service, (struct block){ backend->row, backend->row_count });
		}
	}
}

static void count_block(struct blocks *index, uint32_t service, struct block block __attribute__((unused)))
{
	index->end[service]++;
}

static void place_block(struct blocks *index, uint32_t service, struct block block)
{
	index->blocks[index->end[service]++] = block;
}

int blocks_index(struct blocks *ret_blocks, const struct encoder *encoder)
{
	const uint32_t objects = encoder->memory->limits.objects;
	_cleanup_(blocks_done) struct blocks index = { .end = calloc(objects, sizeof(*index.end)) };
	uint32_t count = 0;

	if (!index.end)
		return -ENOMEM;
	each_block(encoder, count_block, &index);
	for (uint32_t id = 0; id < objects; id++) {
		const uint32_t blocks = index.end[id];

		index.end[id] = count; /* where its blocks begin: placing them moves it to their end */
		count += blocks;
	}
	index.blocks = calloc(count + 1, sizeof(*index.blocks));
	if (!index.blocks)
		return -ENOMEM;
	each_block(encoder, place_block, &index);
	*ret_blocks = index;
	index = (struct blocks){};
	return 0;
}

void blocks_done(struct blocks *blocks)
{
	free(blocks->blocks);
	free(blocks->end);
	*blocks = (struct blocks){};
}

size_t blocks_of(const struct blocks *blocks, uint32_t service, const struct block **ret_blocks)
{
	const uint32_t begin = blocks->end[service - 1];

	*ret_blocks = blocks->blocks + begin;
	return blocks->end[service] - begin;
}
