/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/top_screen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/time.h"

static void sort_next(struct top_screen *screen)
{
	screen->view.sort = (enum top_column)((screen->view.sort + 1) % TOP_COLUMN_COUNT);
}

static void reverse(struct top_screen *screen)
{
	screen->view.reverse = !screen->view.reverse;
}

static void type_filter(struct top_screen *screen)
{
	screen->typing = true;
}

static void show_routes(struct top_screen *screen)
{
	screen->view.routes = !screen->view.routes;
}

static void show_endpoints(struct top_screen *screen)
{
	screen->view.endpoints = !screen->view.endpoints;
}

static void pause_screen(struct top_screen *screen)
{
	screen->paused = !screen->paused;
}

static void show_help(struct top_screen *screen)
{
	screen->help = true;
}

static void quit(struct top_screen *screen)
{
	screen->quit = true;
}

static const struct {
	char key;
	void (*act)(struct top_screen *screen);
	const char *text;
} keys[] = {
	{ 's', sort_next, "sort by the next column" },
	{ 'r', reverse, "the other way round" },
	{ 'f', type_filter, "only what has this text in a name or address; Enter takes it, Escape all again" },
	{ 'o', show_routes, "requests by route, or by target" },
	{ 'e', show_endpoints, "with endpoints, or without" },
	{ 'p', pause_screen, "stand still, and go on" },
	{ 'q', quit, "quit" },
	{ '?', show_help, "this; any key goes back" },
};

static void filter_key(struct top_screen *screen, int key)
{
	size_t length = strlen(screen->filter);

	if (key == TOP_KEY_ENTER || key == TOP_KEY_ESCAPE || key == '\r') {
		screen->typing = false;
		if (key == TOP_KEY_ESCAPE)
			screen->filter[0] = '\0';
	} else if (key == TOP_KEY_BACKSPACE || key == '\b') {
		while (length && ((unsigned char)screen->filter[length - 1] & 0xc0) == 0x80)
			length--; /* what follows the first byte of a character */
		screen->filter[length ? length - 1 : 0] = '\0';
	} else if (key >= ' ' && length + 1 < sizeof(screen->filter)) {
		screen->filter[length] = (char)key;
		screen->filter[length + 1] = '\0';
	}
}

void top_screen_key(struct top_screen *screen, int key)
{
	if (screen->typing) {
		filter_key(screen, key);
		return;
	}
	if (screen->help) {
		screen->help = false;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].key == key)
			keys[i].act(screen);
}

static void add_status(const struct top_screen *screen, const struct top *top, const char *trouble, struct buffer *out)
{
	char span[TIME_TEXT_BYTES];

	buffer_printf(out, "weft top  %s  generation %llu  ", screen->instance, (unsigned long long)top->generation);
	if (trouble)
		buffer_printf(out, "%s%s%s", screen->view.bold, trouble, screen->view.plain);
	else if (top->interval_ns)
		buffer_printf(out, "last %s", time_format_span(top->interval_ns, span));
	else
		buffer_add(out, "first reading");
	buffer_printf(out, "  by %s%s%s%s", top_column_name(screen->view.sort), screen->view.reverse ? " reversed" : "",
		      screen->paused ? "  PAUSED" : "", top->open_known ? "" : "  open connections count when they close");
	if (screen->typing)
		buffer_printf(out, "  %sfilter: %s_%s", screen->view.bold, screen->filter, screen->view.plain);
	else if (screen->filter[0])
		buffer_printf(out, "  filter: %s", screen->filter);
	else
		buffer_add(out, "  ? for help");
	buffer_add(out, "\n");
}

int top_screen_draw(const struct top_screen *screen, const struct top *top, const char *trouble, struct buffer *out)
{
	struct top_view view = screen->view;

	add_status(screen, top, trouble, out);
	for (size_t i = 0; screen->help && i < ARRAY_SIZE(keys) && i + 1 < view.height; i++)
		buffer_printf(out, "  %c  %s\n", keys[i].key, keys[i].text);
	if (screen->help || view.height == 1)
		return buffer_failed(out) ? -ENOMEM : 0;
	view.filter = screen->filter;
	view.height--;
	return top_print(top, &view, out);
}
