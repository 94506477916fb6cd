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

static int blocks_add(struct blocks *blocks, struct block block)
{
	if (blocks->count == blocks->capacity) {
		const size_t capacity = blocks->capacity ? 2 * blocks->capacity : 8;
		struct block *list = reallocarray(blocks->list, capacity, sizeof(*list));

		if (!list)
			return -ENOMEM;
		blocks->list = list;
		blocks->capacity = capacity;
	}
	blocks->list[blocks->count++] = block;
	return 0;
}

int blocks_find(struct blocks *blocks, const struct encoder *encoder, const uint32_t *nodes, size_t node_count, uint32_t service)
{
	int r = 0;

	blocks->count = 0;
	for (size_t i = 0; r == 0 && i < node_count; i++) {
		const struct backend *backend = nodes[i] ? current_backend(encoder, nodes[i], service) : NULL;

		if (backend)
			r = blocks_add(blocks, (struct block){ backend->row, backend->row_count });
	}
	return r;
}

void blocks_done(struct blocks *blocks)
{
	free(blocks->list);
	*blocks = (struct blocks){};
}
