/* SPDX-License-Identifier: Apache-2.0 */
/* Runs code that dies at a store. One at a time, from one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define IMMORTAL UINT32_MAX

typedef int mortal_fn(void *arg);

/* The function's result, or -EINTR: it died, by a jump out of it, before its first store to the n-th page, counted from 0, of this
 * memory (whole pages, writable, which it is again afterwards). A page counts again when it was left for two others, and none does that the
 * function itself maps. */
int run_mortal(const struct iovec *memory, size_t count, uint32_t pages, mortal_fn *fn, void *arg);
