/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/ctl/format.h"
#include "agent/ctl/top.h"
#include "base/cleanup.h"
#include "base/time.h"

#define GAP 1 /* between columns, where the width is short; 2 where it is not limited */
#define COLUMNS_MAX 13
#define NAME_MIN 10 /* below this columns are left out instead */
#define ENDPOINT_SHARE 3 /* endpoints take at most one of so many parts of the height */
#define TWO_TABLES_MIN 6 /* lines in which there are two tables */
#define ENDPOINTS_MIN 4 /* lines of endpoints */

/* --- what is shown, in order ------------------------------------------------------------------------------------------------------------ */

enum value_type { VALUE_NAME, VALUE_TEXT, VALUE_RATE, VALUE_PERCENT, VALUE_COUNT, VALUE_BYTES, VALUE_SPAN };

/* A column of a table. Those with the highest `leave` are left out first where the width is short; 0: never. */
struct column {
	const char *title, *name, *member; /* `member` of the JSON */
	enum value_type type;
	size_t offset;
	unsigned int leave;
	size_t width; /* at least, so that the table does not jump from one interval to the next */
};

#define ROW(member) offsetof(struct top_row, member)
static const struct column row_columns[] = {
	{ "FROM", "from", "from", VALUE_NAME, ROW(from), 0, 4 },
	{ "SERVICE", "service", "to", VALUE_NAME, ROW(service), 0, 7 },
	{ "TARGET", "target", "target", VALUE_NAME, ROW(target), 4, 6 },
	{ "CONN/S", "conn/s", "connectionsPerSecond", VALUE_RATE, ROW(connections), 0, 6 },
	{ "OPEN", "open", "open", VALUE_COUNT, ROW(open), 2, 5 },
	{ "FAIL/S", "fail/s", "failuresPerSecond", VALUE_RATE, ROW(failures), 1, 6 },
	{ "REASON", "reason", "reason", VALUE_TEXT, ROW(reason), 7, 8 },
	{ "RESET/S", "reset/s", "resetsPerSecond", VALUE_RATE, ROW(resets), 10, 7 },
	{ "RTT", "rtt", "rttNs", VALUE_SPAN, ROW(rtt_ns), 8, 6 },
	{ "P50", "p50", "connectP50Ns", VALUE_SPAN, ROW(connect_p50_ns), 9, 6 },
	{ "P99", "p99", "connectP99Ns", VALUE_SPAN, ROW(connect_p99_ns), 3, 6 },
	{ "OUT/S", "out/s", "sentBytesPerSecond", VALUE_BYTES, ROW(sent), 6, 8 },
	{ "IN/S", "in/s", "receivedBytesPerSecond", VALUE_BYTES, ROW(received), 5, 8 },
};
#undef ROW
#define REQUEST(member) offsetof(struct top_request, member)
static const struct column request_columns[] = {
	{ "REQUESTS OF", "from", "from", VALUE_NAME, REQUEST(from), 0, 11 },
	{ "SERVICE", "service", "to", VALUE_NAME, REQUEST(service), 0, 7 },
	{ "TARGET", "target", "target", VALUE_NAME, REQUEST(target), 4, 6 },
	{ "REQ/S", "req/s", "requestsPerSecond", VALUE_RATE, REQUEST(requests), 0, 6 },
	{ "OK %", "ok%", "successPercent", VALUE_PERCENT, REQUEST(success), 1, 5 },
	{ "RETRY/S", "retry/s", "retriesPerSecond", VALUE_RATE, REQUEST(retries), 5, 7 },
	{ "ACTIVE", "active", "active", VALUE_COUNT, REQUEST(active), 3, 6 },
	{ "P50", "p50", "p50Ns", VALUE_SPAN, REQUEST(p50_ns), 6, 6 },
	{ "P99", "p99", "p99Ns", VALUE_SPAN, REQUEST(p99_ns), 2, 6 },
	{ "OUT/S", "out/s", "sentBytesPerSecond", VALUE_BYTES, REQUEST(sent), 8, 8 },
	{ "IN/S", "in/s", "receivedBytesPerSecond", VALUE_BYTES, REQUEST(received), 7, 8 },
};
#undef REQUEST
#define ROUTE(member) offsetof(struct top_route, member)
static const struct column route_columns[] = {
	{ "REQUESTS OF", "from", "from", VALUE_NAME, ROUTE(from), 0, 11 },
	{ "SERVICE", "service", "to", VALUE_NAME, ROUTE(service), 0, 7 },
	{ "ROUTE", "route", "route", VALUE_TEXT, ROUTE(route), 0, 6 },
	{ "REQ/S", "req/s", "requestsPerSecond", VALUE_RATE, ROUTE(requests), 0, 6 },
	{ "OK %", "ok%", "successPercent", VALUE_PERCENT, ROUTE(success), 1, 5 },
	{ "RETRY/S", "retry/s", "retriesPerSecond", VALUE_RATE, ROUTE(retries), 3, 7 },
	{ "TIME-OUT/S", "time-out/s", "timeoutsPerSecond", VALUE_RATE, ROUTE(timeouts), 2, 10 },
};
#undef ROUTE
#define ENDPOINT(member) offsetof(struct top_endpoint, member)
static const struct column endpoint_columns[] = {
	{ "ENDPOINT OF", "target", "target", VALUE_NAME, ENDPOINT(target), 0, 11 },
	{ "ADDRESS", "address", "address", VALUE_TEXT, ENDPOINT(address), 0, 7 },
	{ "HEALTH", "health", "health", VALUE_TEXT, ENDPOINT(health), 0, 9 },
	{ "ZONE", "zone", "zone", VALUE_TEXT, ENDPOINT(zone), 5, 4 },
	{ "OPEN", "open", "open", VALUE_COUNT, ENDPOINT(open), 2, 5 },
	{ "CONN/S", "conn/s", "connectionsPerSecond", VALUE_RATE, ENDPOINT(connections), 1, 6 },
	{ "FAIL/S", "fail/s", "failuresPerSecond", VALUE_RATE, ENDPOINT(failures), 3, 6 },
	{ "RESET/S", "reset/s", "resetsPerSecond", VALUE_RATE, ENDPOINT(resets), 6, 7 },
	{ "REQ/S", "req/s", "requestsPerSecond", VALUE_RATE, ENDPOINT(requests), 4, 6 },
	{ "RQFAIL/S", "rqfail/s", "requestFailuresPerSecond", VALUE_RATE, ENDPOINT(request_failures), 7, 8 },
};
#undef ENDPOINT
_Static_assert(ARRAY_SIZE(row_columns) <= COLUMNS_MAX && ARRAY_SIZE(request_columns) <= COLUMNS_MAX, "a table has room for its columns");

enum listing_id { ROWS, REQUESTS, ROUTES, ENDPOINTS, LISTING_COUNT };

#define LISTING(list, object, keys) list, ARRAY_SIZE(list), keys, sizeof(struct object)
static const struct listing {
	const char *member; /* of the JSON */
	const struct column *columns;
	size_t column_count;
	size_t key_count; /* the first of them say what an object is of: a filter looks at them, and what is alike else is in order of them */
	size_t object_bytes;
	bool by_keys; /* in that order alone, whatever the view sorts by */
} listings[LISTING_COUNT] = {
	[ROWS] = { "rows", LISTING(row_columns, top_row, 3), false },
	[REQUESTS] = { "requests", LISTING(request_columns, top_request, 3), false },
	[ROUTES] = { "routes", LISTING(route_columns, top_route, 3), false },
	[ENDPOINTS] = { "endpoints", LISTING(endpoint_columns, top_endpoint, 2), true },
};
#undef LISTING

static const char *const sort_names[TOP_COLUMN_COUNT] = {
	[TOP_FROM] = "from",	   [TOP_SERVICE] = "service", [TOP_TARGET] = "target",	 [TOP_CONNECTIONS] = "conn/s",
	[TOP_OPEN] = "open",	   [TOP_FAILURES] = "fail/s", [TOP_REASON] = "reason",	 [TOP_RESETS] = "reset/s",
	[TOP_RTT] = "rtt",	   [TOP_P50] = "p50",	      [TOP_P99] = "p99",	 [TOP_OUT] = "out/s",
	[TOP_IN] = "in/s",	   [TOP_REQUESTS] = "req/s",  [TOP_SUCCESS] = "ok%",	 [TOP_RETRIES] = "retry/s",
	[TOP_ACTIVE] = "active",   [TOP_ROUTE] = "route",     [TOP_TIMEOUTS] = "time-out/s",
};

const char *top_column_name(enum top_column column)
{
	return (size_t)column < TOP_COLUMN_COUNT ? sort_names[column] : NULL;
}

int top_column_by_name(const char *name)
{
	for (int i = 0; i < TOP_COLUMN_COUNT; i++)
		if (!strcasecmp(sort_names[i], name))
			return i;
	return -EINVAL;
}

static const void *value_at(const struct column *column, const void *object)
{
	return (const char *)object + column->offset;
}

static const char *text_at(const struct column *column, const void *object)
{
	return *(const char *const *)value_at(column, object);
}

static bool is_text(const struct column *column)
{
	return column->type == VALUE_NAME || column->type == VALUE_TEXT;
}

static double number_at(const struct column *column, const void *object)
{
	const bool real = column->type == VALUE_RATE || column->type == VALUE_PERCENT || column->type == VALUE_BYTES;

	return real ? *(const double *)value_at(column, object) : (double)*(const uint64_t *)value_at(column, object);
}

static int compare_texts(const char *a, const char *b)
{
	return strcmp(a ?: "", b ?: "");
}

static int compare_by(const struct column *column, const void *a, const void *b)
{
	if (is_text(column))
		return compare_texts(text_at(column, a), text_at(column, b));
	return (number_at(column, a) < number_at(column, b)) - (number_at(column, a) > number_at(column, b));
}

/* The column that the view sorts by, else the first number. */
static const struct column *sort_column(const struct listing *listing, const struct top_view *view)
{
	const struct column *columns = listing->columns, *first = NULL;

	for (size_t i = 0; i < listing->column_count; i++) {
		if (!strcmp(columns[i].name, top_column_name(view->sort)))
			return &columns[i];
		if (!first && !is_text(&columns[i]))
			first = &columns[i];
	}
	return first;
}

struct order {
	const struct listing *listing;
	const struct top_view *view;
};

static int compare_objects(const void *a, const void *b, void *arg)
{
	const struct order *order = arg;
	const struct listing *listing = order->listing;
	const void *x = *(const void *const *)a, *y = *(const void *const *)b;
	int r = listing->by_keys ? 0 : compare_by(sort_column(listing, order->view), x, y);

	if (r)
		return order->view->reverse ? -r : r;
	for (size_t i = 0; i < listing->key_count && !r; i++)
		r = compare_by(&listing->columns[i], x, y);
	return r;
}

static bool passes(const struct listing *listing, const void *object, const char *filter)
{
	char name[NAME_TEXT_BYTES];

	for (size_t i = 0; i < listing->key_count; i++) {
		const struct column *column = &listing->columns[i];
		const char *text = text_at(column, object);

		/* The kinds in full names ("virtualNode") are none of what people type for. */
		if (text && strcasestr(column->type == VALUE_NAME ? format_name(text, name) : text, filter))
			return true;
	}
	return false;
}

struct shown {
	struct shown_list {
		const void **objects;
		size_t count;
	} lists[LISTING_COUNT];
};

static void shown_done(struct shown *shown)
{
	for (size_t i = 0; i < LISTING_COUNT; i++)
		free(shown->lists[i].objects);
}

static int show(enum listing_id id, const void *all, size_t count, const struct top_view *view, struct shown *shown)
{
	const struct listing *listing = &listings[id];
	struct shown_list *list = &shown->lists[id];

	list->objects = calloc(count + 1, sizeof(*list->objects));
	if (!list->objects)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const void *object = (const char *)all + i * listing->object_bytes;

		if (!view->filter || !*view->filter || passes(listing, object, view->filter))
			list->objects[list->count++] = object;
	}
	qsort_r(list->objects, list->count, sizeof(*list->objects), compare_objects, &(struct order){ listing, view });
	return 0;
}

static int shown_make(const struct top *top, const struct top_view *view, struct shown *shown)
{
	int r = show(ROWS, top->rows, top->row_count, view, shown);

	if (r == 0)
		r = show(REQUESTS, top->requests, top->request_count, view, shown);
	if (r == 0)
		r = show(ROUTES, top->routes, top->route_count, view, shown);
	if (r == 0)
		r = show(ENDPOINTS, top->endpoints, view->endpoints ? top->endpoint_count : 0, view, shown);
	return r;
}

/* --- cells ---------------------------------------------------------------------------------------------------------------------------------- */

static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80; /* one for each character, as grid.c counts */
	return width;
}

/* At most `width` characters; '~' says that more were there. */
static void add_cut(struct buffer *out, const char *text, size_t width)
{
	size_t bytes = 0;

	if (text_width(text) <= width) {
		buffer_add(out, text);
		return;
	}
	for (size_t left = width - 1; left; left--)
		bytes += utf8_sequence(text + bytes, strlen(text + bytes)) ?: 1;
	buffer_append(out, text, bytes);
	buffer_append(out, "~", 1);
}

/* "mesh/M/virtualNode/N" -> "N", or "M/N" where there are several meshes. */
static const char *short_name(const char *full_name, bool one_mesh, char buffer[NAME_TEXT_BYTES])
{
	char *slash;

	format_name(full_name, buffer);
	slash = one_mesh && full_name && !strncmp(full_name, "mesh/", 5) ? strchr(buffer, '/') : NULL;
	if (slash)
		memmove(buffer, slash + 1, strlen(slash + 1) + 1);
	return buffer;
}

static const char *rate_text(double rate, char buffer[FORMAT_BYTES])
{
	if (rate > 0 && rate < 9.95)
		snprintf(buffer, FORMAT_BYTES, rate < 0.05 ? "<0.1" : "%.1f", rate);
	else
		snprintf(buffer, FORMAT_BYTES, "%.0f", rate);
	return buffer;
}

/* Only all is 100. */
static const char *percent_text(double percent, char buffer[FORMAT_BYTES])
{
	if (percent < 0)
		return "-";
	snprintf(buffer, FORMAT_BYTES, percent >= 100 ? "100" : "%.2f", MIN(percent, 99.99));
	return buffer;
}

static const char *cell_text(const struct column *column, const void *object, bool one_mesh, char buffer[NAME_TEXT_BYTES])
{
	switch (column->type) {
	case VALUE_NAME:
		return short_name(text_at(column, object), one_mesh, buffer);
	case VALUE_TEXT:
		return text_at(column, object) ?: "-";
	case VALUE_RATE:
		return rate_text(number_at(column, object), buffer);
	case VALUE_PERCENT:
		return percent_text(number_at(column, object), buffer);
	case VALUE_BYTES:
		return format_bytes((uint64_t)number_at(column, object), buffer);
	case VALUE_SPAN:
		return number_at(column, object) > 0 ? time_format_span((uint64_t)number_at(column, object), buffer) : "-";
	case VALUE_COUNT:
		snprintf(buffer, NAME_TEXT_BYTES, "%.0f", number_at(column, object));
	}
	return buffer;
}

/* --- tables --------------------------------------------------------------------------------------------------------------------------------- */

struct table_view {
	const struct column *columns;
	size_t column_count;
	const void *const *objects;
	size_t count;
	const struct top_view *view;
	bool one_mesh;
	size_t widths[COLUMNS_MAX];
	bool left_out[COLUMNS_MAX];
	size_t gap;
};

static size_t table_width(const struct table_view *t)
{
	size_t width = 0;

	for (size_t i = 0; i < t->column_count; i++)
		if (!t->left_out[i])
			width += (width ? t->gap : 0) + t->widths[i];
	return width;
}

/* A width to shrink texts to: the widest one gives first. False: all are at their least. */
static bool shrink_widest(struct table_view *t)
{
	size_t widest = t->column_count;

	for (size_t i = 0; i < t->column_count; i++)
		if (is_text(&t->columns[i]) && !t->left_out[i] && t->widths[i] > NAME_MIN &&
		    (widest == t->column_count || t->widths[i] > t->widths[widest]))
			widest = i;
	if (widest == t->column_count)
		return false;
	t->widths[widest]--;
	return true;
}

static bool leave_one_out(struct table_view *t)
{
	size_t first = t->column_count;

	for (size_t i = 0; i < t->column_count; i++)
		if (t->columns[i].leave && !t->left_out[i] && (first == t->column_count || t->columns[i].leave > t->columns[first].leave))
			first = i;
	if (first == t->column_count)
		return false;
	t->left_out[first] = true;
	return true;
}

/* For the first `count` objects. Names are cut, to their least, before a column goes: a figure is worth more than the end of a long
 * name. */
static void table_fit(struct table_view *t, size_t count)
{
	const size_t width = t->view->width;
	size_t natural[COLUMNS_MAX];

	t->gap = width ? GAP : 2;
	for (size_t i = 0; i < t->column_count; i++) {
		char buffer[NAME_TEXT_BYTES];

		natural[i] = MAX(text_width(t->columns[i].title), t->columns[i].width);
		for (size_t n = 0; n < count; n++)
			natural[i] = MAX(natural[i], text_width(cell_text(&t->columns[i], t->objects[n], t->one_mesh, buffer)));
	}
	do {
		memcpy(t->widths, natural, sizeof(natural));
		while (width && table_width(t) > width && shrink_widest(t))
			;
	} while (width && table_width(t) > width && leave_one_out(t));
}

static void add_spaces(struct buffer *out, size_t count)
{
	buffer_printf(out, "%*s", (int)count, "");
}

static void add_cell(struct buffer *out, const struct table_view *t, size_t column, const char *text, bool last)
{
	const size_t width = t->widths[column], used = MIN(text_width(text), width);
	const bool left = is_text(&t->columns[column]);

	if (!left)
		add_spaces(out, width - used);
	add_cut(out, text, width);
	if (left && !last)
		add_spaces(out, width - used);
	if (!last)
		add_spaces(out, t->gap);
}

static void add_line(struct buffer *out, const struct table_view *t, const void *object)
{
	char buffer[NAME_TEXT_BYTES];
	size_t last = 0;

	for (size_t i = 0; i < t->column_count; i++)
		if (!t->left_out[i])
			last = i;
	for (size_t i = 0; i <= last; i++)
		if (!t->left_out[i])
			add_cell(out, t, i, object ? cell_text(&t->columns[i], object, t->one_mesh, buffer) : t->columns[i].title, i == last);
}

/* Titles, then as many as there is room for in `height` lines, the last of which says how many more there are. 0: no limit. */
static void table_print(struct table_view *t, size_t height, struct buffer *out)
{
	const size_t room = height ? height - 1 : SIZE_MAX;
	const size_t count = t->count <= room ? t->count : room ? room - 1 : 0;
	size_t width;
	char more[48];

	table_fit(t, count);
	width = t->view->width ?: SIZE_MAX;
	buffer_add(out, t->view->bold);
	add_line(out, t, NULL);
	buffer_printf(out, "%s\n", t->view->plain);
	for (size_t i = 0; i < count; i++) {
		add_line(out, t, t->objects[i]);
		buffer_add(out, "\n");
	}
	if (count == t->count || !room)
		return;
	snprintf(more, sizeof(more), "... and %zu more", t->count - count);
	add_cut(out, more, width);
	buffer_add(out, "\n");
}

static bool is_of(const char *full_name, const char *mesh, size_t length)
{
	return !full_name || !strncmp(full_name, mesh, length);
}

/* True where all names are of the same mesh, which need not be said in each. */
static bool is_one_mesh(const struct top *top)
{
	const char *first = NULL, *end;
	bool one = true;
	size_t length;

	for (size_t i = 0; i < top->row_count && !first; i++)
		first = top->rows[i].from;
	for (size_t i = 0; i < top->request_count && !first; i++)
		first = top->requests[i].from ?: top->requests[i].target;
	for (size_t i = 0; i < top->route_count && !first; i++)
		first = top->routes[i].from;
	if (!first && top->endpoint_count)
		first = top->endpoints[0].target;
	end = first && !strncmp(first, "mesh/", 5) ? strchr(first + 5, '/') : NULL;
	length = end ? (size_t)(end + 1 - first) : 0;
	for (size_t i = 0; i < top->row_count && length; i++)
		one &= is_of(top->rows[i].from, first, length);
	for (size_t i = 0; i < top->request_count && length; i++)
		one &= is_of(top->requests[i].from, first, length) && is_of(top->requests[i].target, first, length);
	for (size_t i = 0; i < top->route_count && length; i++)
		one &= is_of(top->routes[i].from, first, length);
	for (size_t i = 0; i < top->endpoint_count && length; i++)
		one &= is_of(top->endpoints[i].target, first, length);
	return length > 0 && one;
}

/* The lines of each table, with the empty one before it; 0: it is left out. No limit: SIZE_MAX. */
struct heights {
	size_t rows, requests, endpoints;
};

static struct heights divide(const struct top_view *view, const struct shown *shown)
{
	const size_t count = shown->lists[view->routes ? ROUTES : REQUESTS].count, endpoints = shown->lists[ENDPOINTS].count + 2;
	const size_t rows = shown->lists[ROWS].count + 1, requests = count ? count + 2 : 0;
	struct heights h = { SIZE_MAX, requests ? SIZE_MAX : 0, view->endpoints ? SIZE_MAX : 0 };
	size_t left = view->height;

	if (!view->height)
		return h;
	h.requests = h.endpoints = 0;
	if (view->endpoints && left > TWO_TABLES_MIN + (requests ? ENDPOINTS_MIN : 0)) {
		h.endpoints = MIN(endpoints, MAX(left / ENDPOINT_SHARE, (size_t)ENDPOINTS_MIN));
		if (rows + requests + h.endpoints < left) /* what the others leave */
			h.endpoints = MIN(endpoints, left - rows - requests);
		left -= h.endpoints;
	}
	if (requests && left >= TWO_TABLES_MIN)
		h.requests = MIN(requests, MAX(left / 2, left > rows ? left - rows : 0));
	h.rows = left - h.requests;
	return h;
}

static void table_below(struct table_view *t, size_t height, struct buffer *out)
{
	if (!height)
		return;
	buffer_add(out, "\n");
	table_print(t, height == SIZE_MAX ? 0 : height - 1, out);
}

static struct table_view view_of(const struct top *top, const struct shown *shown, enum listing_id id, const struct top_view *view)
{
	return (struct table_view){ listings[id].columns, listings[id].column_count, shown->lists[id].objects, shown->lists[id].count, view,
				    is_one_mesh(top) };
}

int top_print(const struct top *top, const struct top_view *view, struct buffer *out)
{
	_cleanup_(shown_done) struct shown shown = {};
	struct table_view rows, requests, endpoints;
	const int r = shown_make(top, view, &shown);
	struct heights h;

	if (r < 0)
		return r;
	rows = view_of(top, &shown, ROWS, view);
	requests = view_of(top, &shown, view->routes ? ROUTES : REQUESTS, view);
	endpoints = view_of(top, &shown, ENDPOINTS, view);
	h = divide(view, &shown);
	table_print(&rows, h.rows == SIZE_MAX ? 0 : h.rows, out);
	table_below(&requests, h.requests, out);
	table_below(&endpoints, h.endpoints, out);
	return buffer_failed(out) ? -ENOMEM : 0;
}

/* --- JSON ----------------------------------------------------------------------------------------------------------------------------------- */

static json_t *value_json(const struct column *column, const void *object)
{
	switch (column->type) {
	case VALUE_NAME:
	case VALUE_TEXT:
		return text_at(column, object) ? json_string(text_at(column, object)) : json_null();
	case VALUE_PERCENT:
		return number_at(column, object) < 0 ? json_null() : json_real(number_at(column, object));
	case VALUE_RATE:
	case VALUE_BYTES:
		return json_real(number_at(column, object));
	case VALUE_SPAN:
		return number_at(column, object) > 0 ? json_integer((json_int_t)number_at(column, object)) : json_null();
	case VALUE_COUNT:
		break;
	}
	return json_integer((json_int_t)number_at(column, object));
}

static json_t *list_json(const struct listing *listing, const struct shown_list *shown)
{
	json_t *list = json_array();

	for (size_t i = 0; i < shown->count; i++) {
		json_t *one = json_object();

		for (size_t c = 0; c < listing->column_count; c++)
			json_object_set_new(one, listing->columns[c].member, value_json(&listing->columns[c], shown->objects[i]));
		json_array_append_new(list, one);
	}
	return list;
}

json_t *top_json(const struct top *top, const struct top_view *view)
{
	_cleanup_(shown_done) struct shown shown = {};
	json_t *object;

	if (shown_make(top, view, &shown) < 0)
		return NULL;
	object = json_pack("{s:o, s:I, s:b}", "intervalNs", top->interval_ns ? json_integer((json_int_t)top->interval_ns) : json_null(),
			   "generation", (json_int_t)top->generation, "openKnown", top->open_known);
	for (size_t i = 0; i < LISTING_COUNT; i++)
		json_object_set_new(object, listings[i].member, list_json(&listings[i], &shown.lists[i]));
	return object;
}
