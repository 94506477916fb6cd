/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy has counted, over all workers, by the names that the current configuration has for ids. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "agent/l7/internal.h"

static uint64_t of_all(const struct l7 *l7, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < l7->worker_count; i++)
		sum += __atomic_load_n((const uint64_t *)((const char *)&l7->workers[i]->stats + offset), __ATOMIC_RELAXED);
	return sum;
}
#define OF_ALL(l7, member) of_all(l7, offsetof(struct stats, member))

/* --- rows ---------------------------------------------------------------------------------------------------------------- */

struct rows {
	struct stats_row *all;
	size_t count;
};

static int row_order(const void *a, const void *b)
{
	const struct stats_row *x = a, *y = b;

	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	return (x->target > y->target) - (x->target < y->target);
}

static void row_add(struct stats_row *to, const struct stats_row *from)
{
	const uint64_t *words = (const uint64_t *)((const char *)from + offsetof(struct stats_row, requests));
	uint64_t *sums = (uint64_t *)((char *)to + offsetof(struct stats_row, requests));

	for (size_t i = 0; i < (sizeof(*to) - offsetof(struct stats_row, requests)) / sizeof(uint64_t); i++)
		sums[i] += __atomic_load_n(&words[i], __ATOMIC_RELAXED);
}

static size_t rows_of_worker(const struct stats *stats, struct stats_row *rows, size_t room)
{
	const size_t buckets = __atomic_load_n(&stats->bucket_count, __ATOMIC_ACQUIRE);
	struct stats_row *const *table = __atomic_load_n(&stats->buckets, __ATOMIC_ACQUIRE);
	size_t count = 0;

	for (size_t i = 0; i < buckets && count < room; i++) {
		const struct stats_row *row = __atomic_load_n(&table[i], __ATOMIC_ACQUIRE);

		if (!row)
			continue;
		rows[count] = (struct stats_row){ .source = row->source, .service = row->service, .target = row->target };
		row_add(&rows[count++], row);
	}
	return count;
}

static int rows_read(const struct l7 *l7, struct rows *ret_rows)
{
	size_t room = 1, count = 0, merged = 0;
	struct stats_row *rows;

	for (unsigned int i = 0; i < l7->worker_count; i++)
		room += 1 + __atomic_load_n(&l7->workers[i]->stats.row_count, __ATOMIC_RELAXED);
	rows = calloc(room, sizeof(*rows));
	if (!rows)
		return -1;
	for (unsigned int i = 0; i < l7->worker_count; i++) {
		count += rows_of_worker(&l7->workers[i]->stats, rows + count, room - count - 1);
		row_add(&rows[room - 1], &l7->workers[i]->stats.others);
	}
	if (rows[room - 1].requests)
		rows[count++] = rows[room - 1];
	qsort(rows, count, sizeof(*rows), row_order);
	for (size_t i = 0; i < count; i++) {
		if (merged && row_order(&rows[merged - 1], &rows[i]) == 0)
			row_add(&rows[merged - 1], &rows[i]);
		else
			rows[merged++] = rows[i];
	}
	*ret_rows = (struct rows){ rows, merged };
	return 0;
}

static json_t *row_json(const struct snapshot *snapshot, const struct stats_row *row)
{
	const struct caller *caller = snapshot_caller(snapshot, row->source);
	const struct gateway *gateway = snapshot_gateway(snapshot, row->source);
	const struct service *service = snapshot_service(snapshot, row->service);
	const struct target *target = snapshot_target(snapshot, row->target);
	json_t *codes = json_object(), *times = json_array();
	char name[] = "0xx";

	for (size_t i = 0; i < ARRAY_SIZE(row->codes); i++) {
		name[0] = (char)('0' + i);
		json_object_set_new(codes, i ? name : "none", json_integer((json_int_t)row->codes[i]));
	}
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		json_array_append_new(times, json_integer((json_int_t)row->time_ns[i]));
	return json_pack("{s:s?, s:s?, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "source",
			 caller ? caller->object.name : gateway ? gateway->object.name : NULL, "service", service ? service->object.name : NULL, "target",
			 target ? target->object.name : NULL, "sourceId", (json_int_t)row->source, "serviceId", (json_int_t)row->service,
			 "targetId", (json_int_t)row->target, "requests", (json_int_t)row->requests, "retries", (json_int_t)row->retries,
			 "bytesReceived", (json_int_t)row->bytes_received, "bytesSent", (json_int_t)row->bytes_sent, "codes", codes,
			 "timeNsSum", (json_int_t)row->time_ns_sum, "timeNs", times);
}

/* --- places and totals --------------------------------------------------------------------------------------------------- */

static json_t *place_json(const struct l7_place *place)
{
	static const char *const roles[] = { [L7_OUTBOUND] = "outbound", [L7_INBOUND] = "inbound", [L7_GATEWAY] = "gateway" };

	return json_pack("{s:I, s:s, s:i, s:s, s:s?}", "netnsCookie", (json_int_t)place->netns_cookie, "role", roles[place->role], "port",
			 (int)place->port, "family", place->family == LIST_V4 ? "IPv4" : "IPv6", "why",
			 place->listen_fd >= 0 ? NULL : strerror(-place->why));
}

static json_t *totals_json(const struct l7 *l7)
{
	json_t *replies = json_object(), *retries = json_object();

	for (size_t i = 0; i < L7_REPLY_COUNT; i++)
		json_object_set_new(replies, l7_replies[i].name, json_integer((json_int_t)OF_ALL(l7, replies[i])));
	for (size_t i = 0; i <= RETRY_NO_TIME; i++)
		json_object_set_new(retries, retry_verdict_name((enum retry_verdict)i), json_integer((json_int_t)OF_ALL(l7, verdicts[i])));
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "connections", (json_int_t)OF_ALL(l7, connections), "open",
			 (json_int_t)OF_ALL(l7, open), "requests", (json_int_t)OF_ALL(l7, requests), "requestsActive",
			 (json_int_t)__atomic_load_n(&l7->requests_active, __ATOMIC_RELAXED), "upstreamConnections",
			 (json_int_t)OF_ALL(l7, upstream_connections), "upstreamOpen", (json_int_t)OF_ALL(l7, upstream_open), "resent",
			 (json_int_t)OF_ALL(l7, resent), "noHandover", (json_int_t)OF_ALL(l7, no_handover), "acceptFailed",
			 (json_int_t)OF_ALL(l7, accept_failed), "replies", replies, "retries", retries);
}

json_t *l7_json(const struct l7 *l7)
{
	const struct snapshot *snapshot = snapshots_now(l7->snapshots);
	json_t *places = json_array(), *list = json_array();
	struct rows rows = {};

	list_for_each(it, &l7->places)
		json_array_append_new(places, place_json(container_of(it, struct l7_place, node)));
	if (rows_read(l7, &rows) == 0)
		for (size_t i = 0; i < rows.count; i++)
			json_array_append_new(list, row_json(snapshot, &rows.all[i]));
	free(rows.all);
	return json_pack("{s:I, s:i, s:o, s:o, s:o}", "generation", (json_int_t)snapshot_generation(snapshot), "workers",
			 (int)l7->worker_count, "places", places, "totals", totals_json(l7), "rows", list);
}
