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

void requests_label(struct writer *w)
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

void requests_done(struct writer *w)
{
	for (size_t i = 0; i < w->request_count; i++)
		free(w->requests[i].labels);
	free(w->requests);
}

void emit_request_row(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->request_count; i++)
		metrics_count(w, family, w->requests[i].labels, COUNT_AT(&w->requests[i].counts, family->member));
}

void emit_request_codes(struct writer *w, const struct family *family)
{
	static const char *const codes[REQUEST_CODES] = REQUEST_CODE_NAMES;

	for (size_t i = 0; i < w->request_count; i++)
		for (size_t code = 0; code < REQUEST_CODES; code++) {
			_cleanup_(buffer_done) struct buffer labels = {};

			buffer_add(&labels, w->requests[i].labels);
			metrics_label(&labels, "code", codes[code]);
			metrics_count(w, family, buffer_string(&labels), w->requests[i].counts.codes[code]);
		}
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
