/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes of an instance's arrays: what they should be (maps/abi/limits.h has the formula), and what they are. */
#pragma once

#include <stdint.h>

#include "maps/abi/limits.h"

struct kernel_limits {
#define X(symbol, member, map, per_service, multiple) uint32_t member;
	ARRAY_TABLES(X)
#undef X
};

/* Sizes for a mesh of `services`, 1 to MAX_SERVICES, rounded up. */
void kernel_limits_for(uint32_t services, struct kernel_limits *ret_limits);
/* The largest number of services that such arrays are enough for. */
uint32_t kernel_limits_services(const struct kernel_limits *limits);

/* How many entries the pinned map by this name has; 0: that does not follow from the limits. */
uint32_t kernel_limits_entries(const struct kernel_limits *limits, const char *map);
