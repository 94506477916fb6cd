/* SPDX-License-Identifier: Apache-2.0 */
/* What BPF iterators write (Documentation/bpf/bpf_iterators.rst). */
#pragma once

#include <stddef.h>

/* Runs the iterator once and calls `fn` for each record of `bytes` that it writes, until one returns negative, which is returned.
 * Blocks. -EOPNOTSUPP for a negative `link_fd`. */
int iterator_each(int link_fd, size_t bytes, int (*fn)(const void *record, void *arg), void *arg);
