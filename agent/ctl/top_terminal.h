/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal as `weft top` needs it: its other screen, keys one by one, its size. Plain ANSI sequences. The terminal is as it was
 * again after terminal_leave(), after a signal that ends the process (SIGINT, SIGTERM, SIGHUP, SIGQUIT, which still do), and while
 * the process is stopped (SIGTSTP). One in a process. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
	TERMINAL_TIME = -1, /* it is time */
	TERMINAL_DRAW = -2, /* resized, or continued: draw again */
	TERMINAL_CLOSED = -3, /* nobody types any more */
};

int terminal_enter(struct error *err);
void terminal_leave(void);
void terminal_size(size_t *ret_width, size_t *ret_height);
/* Lines, each with a line feed, over what was there. */
void terminal_draw(const char *text);
/* A key (a byte; those of arrows and the like are left out), or one of the above. */
int terminal_wait(uint64_t until_ns);
