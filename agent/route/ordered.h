/* SPDX-License-Identifier: Apache-2.0 */
/* Things in the order in which they are tried. */
#pragma once

#include <stddef.h>

struct ordered {
	void **items;
	size_t count, capacity;
};

/* Negative: `a` is tried first. */
typedef int ordered_fn(const void *a, const void *b);
/* Behind those that are equal. 0 or -ENOMEM. */
int ordered_insert(struct ordered *list, void *item, ordered_fn *order);
void ordered_done(struct ordered *list); /* the items are the caller's */
