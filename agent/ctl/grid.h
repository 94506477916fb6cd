/* SPDX-License-Identifier: Apache-2.0 */
/* A table with aligned columns, for people. Cells are copied, row by row; an empty one prints as "-". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

struct grid_column {
	const char *title; /* NULL ends the list */
	bool right; /* numbers */
};
struct grid {
	const struct grid_column *columns; /* borrowed */
	struct buffer cells; /* strings, each with its NUL */
	size_t cell_count;
};

void grid_init(struct grid *grid, const struct grid_column *columns);
void grid_done(struct grid *grid);
void grid_add(struct grid *grid, const char *text); /* NULL: empty */
void grid_printf(struct grid *grid, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t grid_rows(const struct grid *grid);
/* Two spaces between columns, none after the last. Titles are bold on terminals. 0 or -ENOMEM: then nothing was printed. */
int grid_print(const struct grid *grid, FILE *to);
