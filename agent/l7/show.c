/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy has counted, over all workers. It is written as text, without a tree of JSON in between: who looks asks each second, and
 * the thread that tells also answers names. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/internal.h"
#include "agent/l7/ledger.h"
#include "base/bytes.h"
#include "base/decimal.h"

uint64_t l7_counted(const struct l7 *l7, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < l7->worker_count; i++)
		sum += __atomic_load_n((const uint64_t *)((const char *)&l7->workers[i]->stats + offset), __ATOMIC_RELAXED);
	return sum;
}

/* --- rows ---------------------------------------------------------------------------------------------------------------- */

/* A kind of rows, each of which is three ids, and then counts. */
struct kind {
	size_t rows, others; /* in struct stats */
	size_t words; /* of counts */
	void (*write)(const struct l7 *l7, const void *row, struct buffer *text);
};
#define IDS 3
#define FIRST_COUNT 16 /* where they begin */
#define WORDS(type) ((sizeof(struct type) - FIRST_COUNT) / sizeof(uint64_t))
_Static_assert(offsetof(struct stats_row, requests) == FIRST_COUNT && offsetof(struct stats_route, codes) == FIRST_COUNT, "see struct kind");

struct all_rows { /* of all workers, in order of their ids */
	const void **all;
	size_t count, room;
};

static int row_order(const void *a, const void *b)
{
	const uint32_t *x = *(const uint32_t *const *)a, *y = *(const uint32_t *const *)b;

	for (size_t i = 0; i < IDS; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

static int rows_append(struct all_rows *rows, const void *row)
{
	const void **more;

	if (rows->count == rows->room) {
		rows->room = rows->room ? 2 * rows->room : 256;
		more = reallocarray(rows->all, rows->room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		rows->all = more;
	}
	rows->all[rows->count++] = row;
	return 0;
}

static uint64_t word_of(const void *row, size_t i)
{
	return __atomic_load_n((const uint64_t *)((const char *)row + FIRST_COUNT) + i, __ATOMIC_RELAXED);
}

static bool has_any(const void *row, size_t words)
{
	for (size_t i = 0; i < words; i++)
		if (word_of(row, i))
			return true;
	return false;
}

static int rows_of_worker(const struct stats *stats, const struct kind *kind, struct all_rows *rows)
{
	struct rows_walk walk = rows_walk((const struct rows *)((const char *)stats + kind->rows));
	const void *others = (const char *)stats + kind->others, *row;
	int r = 0;

	while (r == 0 && (row = rows_next(&walk)))
		r = rows_append(rows, row);
	if (r == 0 && has_any(others, kind->words))
		r = rows_append(rows, others);
	return r;
}

static void all_rows_done(struct all_rows *rows)
{
	free(rows->all);
}

/* Rows stay where they are until the workers end, so that pointers to them are enough. */
static int rows_find(const struct l7 *l7, const struct kind *kind, struct all_rows *rows)
{
	int r = 0;

	for (unsigned int i = 0; i < l7->worker_count && r == 0; i++)
		r = rows_of_worker(&l7->workers[i]->stats, kind, rows);
	if (r == 0 && rows->count > 1)
		qsort(rows->all, rows->count, sizeof(*rows->all), row_order);
	return r;
}

/* --- rows as text -------------------------------------------------------------------------------------------------------- */

/* Into room that is there: appended piece by piece, most of the time of many rows would be the appending's. */
static char *put_number(char *to, uint64_t number)
{
	return to + decimal_write(to, number);
}

static char *put_text(char *to, const char *text)
{
	const size_t length = strlen(text);

	memcpy(to, text, length);
	return to + length;
}

static char *put_list(char *to, const char *name, const uint64_t *numbers, size_t count)
{
	to = put_text(to, name);
	for (size_t i = 0; i < count; i++) {
		if (i)
			*to++ = ',';
		to = put_number(to, numbers[i]);
	}
	*to++ = ']';
	return to;
}

#define TEXT_BYTES(type) (256 + (IDS + WORDS(type)) * 21) /* names of members; numbers and commas */

static void row_write(const struct l7 *l7, const void *sum, struct buffer *text)
{
	const struct stats_row *row = sum;
	const struct {
		const char *before;
		uint64_t number;
	} members[] = {
		{ "{\"source\":", row->source },
		{ ",\"service\":", row->service },
		{ ",\"target\":", row->target },
		{ ",\"requests\":", row->requests },
		{ ",\"retries\":", row->retries },
		{ ",\"bytesReceived\":", row->bytes_received },
		{ ",\"bytesSent\":", row->bytes_sent },
		{ ",\"timeNsSum\":", row->time_ns_sum },
		{ ",\"active\":", row->active },
	};
	char *const begin = buffer_reserve(text, TEXT_BYTES(stats_row)), *to = begin;
	size_t buckets = HISTOGRAM_BUCKETS;

	(void)l7;
	if (!begin)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		to = put_number(put_text(to, members[i].before), members[i].number);
	while (buckets && !row->time_ns[buckets - 1])
		buckets--;
	to = put_list(to, ",\"codes\":[", row->codes, ARRAY_SIZE(row->codes));
	to = put_list(to, ",\"timeNs\":[", row->time_ns, buckets);
	*to++ = '}';
	text->length += (size_t)(to - begin);
}

static void add_name(const char *name, struct buffer *text)
{
	_cleanup_json_ json_t *json = name ? json_string(name) : NULL;

	json_print(json, text);
}

static void route_write(const struct l7 *l7, const void *sum, struct buffer *text)
{
	const struct stats_route *row = sum;
	char *begin, *to;

	buffer_printf(text, "{\"source\":%" PRIu32 ",\"service\":%" PRIu32 ",\"id\":%" PRIu32 ",\"route\":", row->source, row->service, row->route);
	add_name(snapshots_route_name(l7->snapshots, row->route), text);
	begin = to = buffer_reserve(text, TEXT_BYTES(stats_route));
	if (!begin)
		return;
	to = put_number(put_text(to, ",\"retries\":"), row->retries);
	to = put_number(put_text(to, ",\"timeouts\":"), row->timeouts);
	to = put_list(to, ",\"codes\":[", row->codes, ARRAY_SIZE(row->codes));
	*to++ = '}';
	text->length += (size_t)(to - begin);
}

static const struct kind targets = { offsetof(struct stats, rows), offsetof(struct stats, others), WORDS(stats_row), row_write };
static const struct kind routes = { offsetof(struct stats, routes), offsetof(struct stats, other_routes), WORDS(stats_route), route_write };

static int rows_write(const struct l7 *l7, const struct kind *kind, struct buffer *text)
{
	_cleanup_(all_rows_done) struct all_rows rows = {};
	int r = rows_find(l7, kind, &rows);

	for (size_t i = 0; r == 0 && i < rows.count;) {
		union { /* of any kind */
			struct stats_row row;
			struct stats_route route;
		} sum = {};

		memcpy(&sum, rows.all[i], IDS * sizeof(uint32_t));
		buffer_add(text, i ? "," : "");
		for (const void **first = &rows.all[i]; i < rows.count && row_order(first, &rows.all[i]) == 0; i++)
			for (size_t w = 0; w < kind->words; w++)
				((uint64_t *)((char *)&sum + FIRST_COUNT))[w] += word_of(rows.all[i], w);
		kind->write(l7, &sum, text);
	}
	return r;
}

/* --- places and totals --------------------------------------------------------------------------------------------------- */

const char *const l7_role_names[] = { [L7_OUTBOUND] = "outbound", [L7_INBOUND] = "inbound", [L7_GATEWAY] = "gateway" };
const char *const l7_family_names[] = { [LIST_V4] = "IPv4", [LIST_V6] = "IPv6" };

static json_t *place_json(const struct l7_place *place)
{
	return json_pack("{s:I, s:s, s:i, s:s, s:s?}", "netnsCookie", (json_int_t)place->netns_cookie, "role", l7_role_names[place->role],
			 "port", (int)place->port, "family", l7_family_names[place->family], "why",
			 place->listen_fd >= 0 ? NULL : place->why ? strerror(-place->why) : "nothing is accepted there");
}

static const struct {
	const char *name;
	size_t offset; /* in struct stats */
} words[] = {
	{ "connections", offsetof(struct stats, connections) },
	{ "open", offsetof(struct stats, open) },
	{ "requests", offsetof(struct stats, requests) },
	{ "requestsActive", offsetof(struct stats, requests_active) },
	{ "upstreamConnections", offsetof(struct stats, upstream_connections) },
	{ "upstreamOpen", offsetof(struct stats, upstream_open) },
	{ "resent", offsetof(struct stats, resent) },
	{ "noHandover", offsetof(struct stats, no_handover) },
	{ "acceptFailed", offsetof(struct stats, accept_failed) },
	{ "tooLate", offsetof(struct stats, too_late) },
	{ "given", offsetof(struct stats, given) },
};

static json_t *totals_json(const struct l7 *l7)
{
	const struct access_log_totals logs = access_logs_totals(l7->logs);
	json_t *json, *replies = json_object(), *retries = json_object(), *drops = json_object();

	for (size_t i = 0; i < L7_REPLY_COUNT; i++)
		json_object_set_new(replies, l7_replies[i].name, json_integer((json_int_t)L7_COUNTED(l7, replies[i])));
	for (size_t i = 0; i <= RETRY_NO_TIME; i++)
		json_object_set_new(retries, retry_verdict_name((enum retry_verdict)i), json_integer((json_int_t)L7_COUNTED(l7, verdicts[i])));
	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		json_object_set_new(drops, access_log_drop_name((enum access_log_drop)i), json_integer((json_int_t)logs.dropped[i]));
	json = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "taken", (json_int_t)l7->taken, "accessLogLines", (json_int_t)logs.lines,
			 "noAccessLog", (json_int_t)l7->no_access_log, "poolsAlone", (json_int_t)ledger_alone(l7->ledger), "replies", replies,
			 "retries", retries, "accessLogDrops", drops);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		json_object_set_new(json, words[i].name, json_integer((json_int_t)l7_counted(l7, words[i].offset)));
	return json;
}

int l7_write(const struct l7 *l7, struct buffer *text)
{
	_cleanup_json_ json_t *places = json_array(), *totals = totals_json(l7);
	int r;

	list_for_each(it, &l7->places)
		json_array_append_new(places, place_json(container_of(it, struct l7_place, node)));
	if (!places || !totals)
		return -ENOMEM;
	buffer_printf(text, "\"generation\":%" PRIu64 ",\"workers\":%u,\"places\":", snapshot_generation(l7->snapshot), l7->worker_count);
	json_print(places, text);
	buffer_add(text, ",\"totals\":");
	json_print(totals, text);
	buffer_add(text, ",\"rows\":[");
	r = rows_write(l7, &targets, text);
	buffer_add(text, "],\"routes\":[");
	if (r == 0)
		r = rows_write(l7, &routes, text);
	buffer_add(text, "]");
	return r < 0 ? r : buffer_failed(text) ? -ENOMEM : 0;
}

json_t *l7_json(const struct l7 *l7)
{
	_cleanup_(buffer_done) struct buffer text = {};
	int r;

	buffer_add(&text, "{");
	r = l7_write(l7, &text);
	buffer_add(&text, "}");
	return r < 0 || buffer_failed(&text) ? NULL : json_loadb(text.data, text.length, 0, NULL);
}

json_t *l7_logs_json(const struct l7 *l7)
{
	return access_logs_json(l7->logs);
}
