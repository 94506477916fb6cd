/* SPDX-License-Identifier: Apache-2.0 */
/* Where something is in a sorted list, or belongs. */
#pragma once

#include <stddef.h>

/* The first place of `count` whose element is not before what is looked for; `count`: all are. `is_before` is an expression of `i`, a place:
 * SORTED_PLACE(count, i, strcmp(items[i]->name, name) < 0). */
#define SORTED_PLACE(count, i, is_before)                                                                                     \
	({                                                                                                                     \
		size_t _low = 0, _high = (count);                                                                              \
                                                                                                                               \
		while (_low < _high) {                                                                                         \
			const size_t i = _low + (_high - _low) / 2;                                                            \
                                                                                                                               \
			if (is_before)                                                                                         \
				_low = i + 1;                                                                                  \
			else                                                                                                   \
				_high = i;                                                                                     \
		}                                                                                                              \
		_low;                                                                                                          \
	})
