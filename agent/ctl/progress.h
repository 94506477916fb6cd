/* SPDX-License-Identifier: Apache-2.0 */
/* How far a command is, where there is much to do and a person watches: one line on stderr that is written over, and gone at the end. */
#pragma once

#include <stddef.h>

/* `total` 0: not known. Nothing is shown before PROGRESS_AFTER_NS, or where stderr is no terminal. */
#define PROGRESS_AFTER_NS (500 * NSEC_PER_MSEC)
void progress_show(const char *what, size_t done, size_t total);
/* Before anything else is written, and at the end. */
void progress_clear(void);
