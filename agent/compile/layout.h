/* SPDX-License-Identifier: Apache-2.0 */
/* Where the counters of a service's targets are. Every source that may call a service has a block of rows for it, and a
 * target has the same offset in all of them: route_record.row_offset. An offset that counted for one target is never
 * given to another within a block, since that would mix their counts. */
#pragma once

#include "agent/compile/encode.h"

/* A service's targets by offset: object ids, 0 where none is. */
struct layout {
	uint32_t target[MAX_SERVICE_ROWS];
};

void layout_read(struct layout *layout, const struct route_record *routes, size_t count);
int layout_find(const struct layout *layout, uint32_t target); /* its offset, or -1 */

/* One source's rows for a service. */
struct block {
	uint32_t row;
	uint32_t row_count;
};

/* Adds targets (any may be named twice) at offsets that every block has and none has counted at for another target; one
 * that was there before gets its rows back. False when there is no such place for all: nothing has changed then. */
bool layout_place_in_blocks(struct layout *layout, const struct kernel_memory *memory, const struct block *blocks,
			    size_t block_count, const uint32_t *targets, size_t count);
/* Adds targets at free offsets, for new blocks. False when there are more than MAX_SERVICE_ROWS. */
bool layout_place(struct layout *layout, const uint32_t *targets, size_t count);

/* The blocks of one service in the current directory, of sources that are in the plan. */
struct blocks {
	struct block *list;
	size_t count, capacity;
};
/* `nodes`: ids of the sources, 0 for none. Uses `blocks` again. 0 or -ENOMEM. */
int blocks_find(struct blocks *blocks, const struct encoder *encoder, const uint32_t *nodes, size_t node_count, uint32_t service);
void blocks_done(struct blocks *blocks);
