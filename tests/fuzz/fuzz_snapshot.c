/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration that weft-proxy is told, from bytes: read whole or refused with the member's name, and the one before stays. What is
 * read is asked for as requests ask; said once more as a change it is the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/snapshot.h"
#include "base/cleanup.h"

#define REQUIRE(condition)                                                                                                    \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

static const struct route_request asked = {
	.method = SPAN("GET"),
	.path = SPAN("/path/to/some"),
	.query = SPAN("a=b"),
	.scheme = SPAN("http"),
	.authority = SPAN("web.example.com"),
	.port = 8080,
};

static void use_service(const struct service *service)
{
	REQUIRE(service->host.length <= strlen(service->object.name));
	for (size_t i = 0; i < service->port_count; i++) {
		const struct route *route = route_table_find(&service->ports[i].table, &asked);

		REQUIRE(service_port_find(service, service->ports[i].port));
		REQUIRE(!route || route_pick(route, UINT32_MAX) < (int)route->target_count);
		REQUIRE(!route || route->retry.max_retries <= UINT32_MAX);
	}
}

static void use_list(const struct target_list *list)
{
	size_t covered = 0;

	REQUIRE(list->zone_count <= MAX_TARGET_ZONES);
	for (size_t z = 0; z < list->zone_count; z++)
		covered += list->zones[z].count;
	REQUIRE(!list->zone_count || (covered == list->count && list->zones[list->zone_count - 1].below == SHARE_ALL));
	for (size_t i = 0; i < list->count; i++)
		REQUIRE(list->endpoints[i].port && list->endpoints[i].text[0] && list->endpoints[i].run <= list->zone_count);
}

static void use(const struct snapshot *snapshot)
{
	for (uint32_t id = 0; id < snapshot_ids(snapshot, SNAPSHOT_SERVICE); id++)
		if (snapshot_service(snapshot, id))
			use_service(snapshot_service(snapshot, id));
	for (uint32_t id = 0; id < snapshot_ids(snapshot, SNAPSHOT_TARGET); id++)
		for (size_t l = 0; snapshot_target(snapshot, id) && l < LIST_COUNT; l++)
			use_list(&snapshot_target(snapshot, id)->lists[l]);
	for (uint32_t id = 0; id < snapshot_ids(snapshot, SNAPSHOT_NODE); id++)
		REQUIRE(!snapshot_caller(snapshot, id) || snapshot_caller(snapshot, id)->object.name);
	for (uint32_t id = 0; id < snapshot_ids(snapshot, SNAPSHOT_GATEWAY); id++)
		if (snapshot_gateway(snapshot, id))
			gateway_table_find(&snapshot_gateway(snapshot, id)->table, &asked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span text = { (const char *)data, size };
	struct snapshots *all;
	struct snapshot *held;
	struct error err = {};
	int r;

	REQUIRE(snapshots_new(&all) == 0);
	held = snapshot_ref(snapshots_now(all));
	r = snapshots_apply(all, 0, 1, text, &err);
	if (r < 0)
		REQUIRE(r == -EBADMSG && err.code == r && err.message[0] && snapshots_now(all) == held);
	else
		use(snapshots_now(all));
	if (r == 0) {
		REQUIRE(snapshots_apply(all, 1, 2, text, &err) == 0);
		use(snapshots_now(all));
		REQUIRE(snapshot_ids(snapshots_now(all), SNAPSHOT_TARGET) >= snapshot_ids(held, SNAPSHOT_TARGET));
	}
	snapshot_unref(held);
	snapshots_free(all);
	return 0;
}
