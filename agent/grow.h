/* SPDX-License-Identifier: Apache-2.0 */
/* Larger tables for a plan that does not fit: the agent stops, weft-loader makes them, and the agent begins again, as after any
 * restart. The kernel decides and counts all the time. */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Runs the weft-loader beside this program, which may talk on standard error. Blocks; nothing of the agent may be left in the kernel's
 * memory. -ETIMEDOUT; -EIO: it failed, and has said why. */
int grow_tables(const char *instance, uint32_t services, struct error *err);
/* This program again, with `more` behind its arguments (NULL: nothing). Returns where that is impossible: -errno. */
int grow_restart(int argc, char *const argv[], char *more);
