/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of requests. Rows have series by names as they were first met, up to a limit, and keep them: what is beyond is summed in one row,
 * whose names are "other", so that it never goes back. */
#include <stdlib.h>
#include <string.h>

#include "agent/telemetry/metrics_internal.h"
#include "base/cleanup.h"

struct labelled_requests {
	struct request_counts counts;
	char *labels;
};

static void add_labels(struct buffer *to, const struct request_row *row)
{
	if (row) {
		metrics_mesh_label(to, row->target ?: row->service ?: row->source);
		metrics_name_label(to, "source", row->source);
		metrics_name_label(to, "service", row->service);
		metrics_name_label(to, "target", row->target);
	} else {
		metrics_mesh_label(to, NULL);
		metrics_label(to, "source", "other");
		metrics_label(to, "service", "other");
		metrics_label(to, "target", "other");
	}
}

static void add_row(struct writer *w, const struct request_row *row, const struct request_counts *counts)
{
	struct labelled_requests *to = &w->requests[w->request_count++];
	struct buffer labels = {};

	add_labels(&labels, row);
	to->counts = *counts;
	to->labels = buffer_take(&labels);
	if (!to->labels) {
		w->out->failed = true;
		w->request_count--;
	}
}

static bool has_names(const struct request_row *row)
{
	return row->source || row->service || row->target;
}

static void targets_label(struct writer *w)
{
	const struct requests_report *report = &w->input->tally->requests;
	struct request_counts others = {};
	size_t told = 0;

	w->requests = calloc(MIN(report->row_count, (size_t)METRICS_REQUEST_ROWS_MAX) + 1, sizeof(*w->requests));
	if (!w->requests) {
		w->out->failed = true;
		return;
	}
	for (size_t i = 0; i < report->row_count; i++) {
		const struct request_row *row = &report->rows[i];

		if (!has_names(row) || told == METRICS_REQUEST_ROWS_MAX) {
			request_counts_add(&others, &row->counts);
		} else {
			add_row(w, row, &row->counts);
			told++;
		}
	}
	if (others.requests)
		add_row(w, NULL, &others);
}

struct labelled_route {
	struct route_counts counts;
	char *labels;
};

/* NULL: all others. */
static void add_route(struct writer *w, const struct request_route *route, const struct route_counts *counts)
{
	struct labelled_route *to = &w->routes[w->route_count++];
	struct buffer labels = {};

	metrics_mesh_label(&labels, route ? route->service ?: route->source : NULL);
	metrics_name_label(&labels, "source", route ? route->source : "other");
	metrics_name_label(&labels, "service", route ? route->service : "other");
	metrics_label(&labels, "route", route ? route->route ?: "" : "other");
	to->counts = *counts;
	to->labels = buffer_take(&labels);
	if (!to->labels) {
		w->out->failed = true;
		w->route_count--;
	}
}

static void routes_label(struct writer *w)
{
	const struct requests_report *report = &w->input->tally->requests;
	struct route_counts others = {};
	bool any = false;

	w->routes = calloc(MIN(report->route_count, (size_t)METRICS_ROUTES_MAX) + 1, sizeof(*w->routes));
	if (!w->routes) {
		w->out->failed = true;
		return;
	}
	for (size_t i = 0; i < report->route_count; i++) {
		const struct request_route *route = &report->routes[i];

		if (route->source && w->route_count < METRICS_ROUTES_MAX) {
			add_route(w, route, &route->counts);
		} else {
			route_counts_add(&others, &route->counts);
			any = true;
		}
	}
	if (any)
		add_route(w, NULL, &others);
}

void requests_label(struct writer *w)
{
	targets_label(w);
	routes_label(w);
}

void requests_done(struct writer *w)
{
	for (size_t i = 0; i < w->request_count; i++)
		free(w->requests[i].labels);
	free(w->requests);
	for (size_t i = 0; i < w->route_count; i++)
		free(w->routes[i].labels);
	free(w->routes);
}

void emit_route_row(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->route_count; i++)
		metrics_count(w, family, w->routes[i].labels, COUNT_AT(&w->routes[i].counts, family->member));
}

static void emit_codes(struct writer *w, const struct family *family, const char *row_labels, const uint64_t counts[REQUEST_CODES])
{
	static const char *const codes[REQUEST_CODES] = REQUEST_CODE_NAMES;

	for (size_t code = 0; code < REQUEST_CODES; code++) {
		_cleanup_(buffer_done) struct buffer labels = {};

		buffer_add(&labels, row_labels);
		metrics_label(&labels, "code", codes[code]);
		metrics_count(w, family, buffer_string(&labels), counts[code]);
	}
}

void emit_route_codes(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->route_count; i++)
		emit_codes(w, family, w->routes[i].labels, w->routes[i].counts.codes);
}

void emit_request_row(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->request_count; i++)
		metrics_count(w, family, w->requests[i].labels, COUNT_AT(&w->requests[i].counts, family->member));
}

void emit_request_codes(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->request_count; i++)
		emit_codes(w, family, w->requests[i].labels, w->requests[i].counts.codes);
}

void emit_request_seconds(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->request_count; i++) {
		const struct request_counts *counts = &w->requests[i].counts;
		__u64 buckets[HISTOGRAM_BUCKETS];

		for (size_t n = 0; n < HISTOGRAM_BUCKETS; n++)
			buckets[n] = counts->time_ns[n];
		if (metrics_has_room(w, metrics_histogram_lines(family, 1)))
			metrics_histogram(w, family, buckets, counts->time_ns_sum, 1, w->requests[i].labels);
	}
}

/* "upstreamConnections" is "upstream-connections". */
static void add_event(struct buffer *to, const char *name)
{
	for (; *name; name++) {
		const bool upper = *name >= 'A' && *name <= 'Z';
		const char letter = (char)(upper ? *name - 'A' + 'a' : *name);

		if (upper)
			buffer_add(to, "-");
		buffer_append(to, &letter, 1);
	}
}

void emit_request_sums(struct writer *w, const struct family *family)
{
	const struct requests_report *report = &w->input->tally->requests;
	const size_t length = strlen(family->group);

	for (size_t i = 0; i < report->sum_count; i++) {
		const char *name = report->sums[i].name;
		_cleanup_(buffer_done) struct buffer labels = {}, event = {};

		if (strncmp(name, family->group, length) || strchr(name + length, '.'))
			continue;
		add_event(&event, name + length);
		metrics_label(&labels, family->label, buffer_string(&event));
		metrics_count(w, family, buffer_string(&labels), report->sums[i].count);
	}
}
