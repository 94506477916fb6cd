/* SPDX-License-Identifier: Apache-2.0 */
/* The environment that a process was started with, as /proc/PID/environ has it: strings, each with its NUL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/span.h"

#define ENVIRONMENT_MAX_BYTES (4 << 20) /* the kernel's limit for arguments and environment is 6 MiB (execve(2)) */

/* Appends it, or what can be read of it. Blocks as long as the process keeps its memory to itself: not on a loop. */
void environment_read(int pid, struct buffer *text);
/* The value of the first variable of that name, which is the one that counts (getenv(3)), without blanks around it. False: there is none,
 * or it is empty. */
bool environment_get(const char *environment, size_t bytes, const char *name, struct span *ret_value);
