/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/limits.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *map;
	size_t member;
	uint32_t per_service;
} arrays[] = {
#define X(symbol, member, map, per_service, multiple) { map, offsetof(struct kernel_limits, member), per_service },
	ARRAY_TABLES(X)
#undef X
};

static uint32_t entries_of(const struct kernel_limits *limits, size_t array)
{
	return *(const uint32_t *)((const char *)limits + arrays[array].member);
}

void kernel_limits_for(uint32_t services, struct kernel_limits *ret_limits)
{
	const uint32_t count = (services + SERVICES_STEP - 1) / SERVICES_STEP * SERVICES_STEP;

	*ret_limits = (struct kernel_limits){
#define X(symbol, member, map, per_service, multiple) .member = ARRAY_ENTRIES(per_service, multiple, count),
		ARRAY_TABLES(X)
#undef X
	};
}

uint32_t kernel_limits_services(const struct kernel_limits *limits)
{
	uint32_t services = UINT32_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		services = MIN(services, entries_of(limits, i) / arrays[i].per_service);
	return services;
}

uint32_t kernel_limits_entries(const struct kernel_limits *limits, const char *map)
{
	if (!strcmp(map, "w_directory"))
		return limits->objects / DIRECTORY_PAGE_IDS * RING_DIRECTORIES;
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		if (!strcmp(map, arrays[i].map))
			return entries_of(limits, i);
	return 0;
}
