/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

static inline bool utf8_valid(const char *text, size_t length)
{
	while (length > 0) {
		size_t sequence = utf8_sequence(text, length);

		if (sequence == 0)
			return false;
		text += sequence;
		length -= sequence;
	}
	return true;
}
