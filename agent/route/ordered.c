/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/ordered.h"

#include <errno.h>
#include <stdlib.h>

int ordered_insert(struct ordered *list, void *item, ordered_fn *order)
{
	size_t at;

	if (list->count == list->capacity) {
		const size_t capacity = list->capacity ? list->capacity * 2 : 4;
		void **grown = realloc(list->items, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->items = grown;
		list->capacity = capacity;
	}
	for (at = list->count++; at > 0 && order(item, list->items[at - 1]) < 0; at--)
		list->items[at] = list->items[at - 1];
	list->items[at] = item;
	return 0;
}

void ordered_done(struct ordered *list)
{
	free(list->items);
	*list = (struct ordered){};
}
