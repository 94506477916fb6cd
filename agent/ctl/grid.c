/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/grid.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "agent/ctl/format.h"
#include "base/cleanup.h"

#define COLUMNS_MAX 16
#define GAP 2

void grid_init(struct grid *grid, const struct grid_column *columns)
{
	*grid = (struct grid){ .columns = columns };
}

void grid_done(struct grid *grid)
{
	buffer_done(&grid->cells);
}

void grid_add(struct grid *grid, const char *text)
{
	const char *shown = text && *text ? text : "-";

	buffer_append(&grid->cells, shown, strlen(shown) + 1);
	grid->cell_count++;
}

void grid_printf(struct grid *grid, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0) {
		text = NULL;
		grid->cells.failed = true;
	}
	va_end(arguments);
	grid_add(grid, text);
}

static size_t grid_width(const struct grid *grid)
{
	size_t n = 0;

	while (grid->columns[n].title)
		n++;
	assert(n && n <= COLUMNS_MAX);
	return n;
}

size_t grid_rows(const struct grid *grid)
{
	return grid->cell_count / grid_width(grid);
}

/* Code points, which is what a terminal shows a column for; of combining and wide characters there are few in names. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void cell_print(FILE *to, const char *text, size_t width, bool right, bool last)
{
	int padding = (int)(width - text_width(text));

	if (right)
		fprintf(to, "%*s%s", padding, "", text);
	else
		fprintf(to, "%s%*s", text, last ? 0 : padding, "");
	fprintf(to, "%*s", last ? 0 : GAP, "");
}

int grid_print(const struct grid *grid, FILE *to)
{
	const size_t columns = grid_width(grid);
	size_t widths[COLUMNS_MAX];
	const char *cell = grid->cells.data;

	if (buffer_failed(&grid->cells))
		return -ENOMEM;
	assert(grid->cell_count % columns == 0);
	for (size_t i = 0; i < columns; i++)
		widths[i] = text_width(grid->columns[i].title);
	for (size_t i = 0; i < grid->cell_count; i++, cell += strlen(cell) + 1)
		widths[i % columns] = MAX(widths[i % columns], text_width(cell));

	fputs(style(to, STYLE_BOLD), to);
	for (size_t i = 0; i < columns; i++)
		cell_print(to, grid->columns[i].title, widths[i], grid->columns[i].right, i == columns - 1);
	fprintf(to, "%s\n", style(to, STYLE_PLAIN));
	cell = grid->cells.data;
	for (size_t i = 0; i < grid->cell_count; i++, cell += strlen(cell) + 1) {
		const bool last = i % columns == columns - 1;

		cell_print(to, cell, widths[i % columns], grid->columns[i % columns].right, last);
		if (last)
			fputc('\n', to);
	}
	return 0;
}
