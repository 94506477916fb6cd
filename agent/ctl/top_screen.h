/* SPDX-License-Identifier: Apache-2.0 */
/* The live view of `weft top`: what keys do to it, and what is drawn. No terminal. */
#pragma once

#include "agent/ctl/top.h"

#define TOP_FILTER_BYTES 64

enum { TOP_KEY_ENTER = '\n', TOP_KEY_ESCAPE = 27, TOP_KEY_BACKSPACE = 127 };

struct top_screen {
	struct top_view view; /* without `filter` */
	char filter[TOP_FILTER_BYTES];
	const char *instance;
	bool typing; /* the filter */
	bool paused, help, quit;
};

/* A byte from the keyboard: s r f o e p q ?, and the text of a filter once f was typed, up to Enter or Escape. */
void top_screen_key(struct top_screen *screen, int key);
/* Lines up to the height of the view, at least 1; the first may be longer than the width. `trouble`: what is wrong now, NULL for nothing. 0 or -ENOMEM. */
int top_screen_draw(const struct top_screen *screen, const struct top *top, const char *trouble, struct buffer *out);
