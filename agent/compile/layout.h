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

/* The blocks in the current directory, by service. */
struct blocks {
	struct block *blocks;
	uint32_t *end; /* by service id: its blocks lie between the end of the id before and this */
};
int blocks_index(struct blocks *ret_blocks, const struct encoder *encoder); /* 0 or -ENOMEM */
void blocks_done(struct blocks *blocks);
size_t blocks_of(const struct blocks *blocks, uint32_t service, const struct block **ret_blocks);
