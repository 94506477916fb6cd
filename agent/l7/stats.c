/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/stats.h"

#include "agent/l7/route_names.h"

void stats_done(struct stats *stats)
{
	rows_done(&stats->rows);
	rows_done(&stats->routes);
}

struct stats_row *stats_row_get(struct stats *stats, uint32_t source, uint32_t service, uint32_t target)
{
	static const struct rows_kind kind = {
		.key_bytes = offsetof(struct stats_row, target) + sizeof(uint32_t),
		.row_bytes = sizeof(struct stats_row),
		.max = STATS_ROWS_MAX,
	};
	const uint32_t key[] = { source, service, target };

	return rows_get(&stats->rows, &kind, key) ?: &stats->others;
}

struct stats_route *stats_route_get(struct stats *stats, uint32_t source, uint32_t service, uint32_t route)
{
	static const struct rows_kind kind = {
		.key_bytes = offsetof(struct stats_route, route) + sizeof(uint32_t),
		.row_bytes = sizeof(struct stats_route),
		.max = STATS_ROWS_MAX,
	};
	const uint32_t key[] = { source, service, route };

	return (route == ROUTE_NUMBER_OTHER ? NULL : rows_get(&stats->routes, &kind, key)) ?: &stats->other_routes;
}
