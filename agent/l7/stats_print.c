/* SPDX-License-Identifier: Apache-2.0 */
/* First everything becomes a list of samples with their names; then they are filtered, sorted and written in one of three forms. */
#include "agent/l7/stats_print.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"

#define OWN_LABELS_MAX 4

struct sample {
	char *name; /* "cluster.C.upstream_rq_2xx" */
	char *metric; /* "envoy_cluster_upstream_rq_xx" */
	struct l7_tag labels[OWN_LABELS_MAX]; /* of this one; values are borrowed, or in `class_text` or `scope` */
	size_t label_count;
	char class_text[2];
	char *scope; /* made up for a label; may be NULL */
	unsigned int type; /* STATS_… */
	uint64_t value;
	const struct l7_histogram *histogram;
};

struct samples {
	struct sample *list;
	size_t count, room;
	bool failed; /* out of memory */
};

/* --- histograms ------------------------------------------------------------------------------------------------------------- */

static uint64_t histogram_count(const struct l7_histogram *histogram)
{
	uint64_t count = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += histogram->buckets[i];
	return count;
}

/* Where bucket i begins; it ends where the next one begins (maps/abi/row.h). */
static double bucket_begin_ms(size_t i)
{
	return i == 0 ? 0 : ldexp(1, (int)i + 9) / NSEC_PER_MSEC;
}

double histogram_quantile_ms(const struct l7_histogram *histogram, double quantile)
{
	const uint64_t count = histogram_count(histogram);
	const double rank = quantile * (double)count;
	double below = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		const double inside = (double)histogram->buckets[i];

		if (inside > 0 && below + inside >= rank) {
			const double begin = bucket_begin_ms(i), share = rank > below ? (rank - below) / inside : 0;

			return begin + share * (bucket_begin_ms(i + 1) - begin);
		}
		below += inside;
	}
	return NAN;
}

/* --- samples ---------------------------------------------------------------------------------------------------------------- */

static void samples_done(struct samples *samples)
{
	for (size_t i = 0; i < samples->count; i++) {
		free(samples->list[i].name);
		free(samples->list[i].metric);
		free(samples->list[i].scope);
	}
	free(samples->list);
}

/* NULL: out of memory. */
static struct sample *sample_add(struct samples *samples)
{
	if (samples->count == samples->room) {
		const size_t room = samples->room ? 2 * samples->room : 256;
		struct sample *list = reallocarray(samples->list, room, sizeof(*list));

		if (!list) {
			samples->failed = true;
			return NULL;
		}
		samples->list = list;
		samples->room = room;
	}
	samples->list[samples->count] = (struct sample){};
	return &samples->list[samples->count++];
}

static char *text_of(struct samples *samples, const char *format, ...) __attribute__((format(printf, 2, 3)));
static char *text_of(struct samples *samples, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0) {
		samples->failed = true;
		text = NULL;
	}
	va_end(args);
	return text;
}

static void replace(char *text, const char *set, char by)
{
	for (; text && (text = strpbrk(text, set)); text++)
		*text = by;
}

/* What a group of statistics has in common. */
struct scope {
	const char *kind; /* "cluster"; "": none */
	const char *name; /* in the text; NULL: none */
	const char *label; /* of what names it; NULL: none */
	struct l7_tag more[2];
	size_t more_count;
};

/* `stat` is the name in the scope; `metric`, where it is another one, what is left of it when the class is a label. */
static struct sample *scoped_add(struct samples *samples, const struct scope *scope, const char *stat, const char *metric)
{
	struct sample *sample = sample_add(samples);

	if (!sample)
		return NULL;
	sample->name = text_of(samples, "%s%s%s%s%s", scope->kind, *scope->kind ? "." : "", scope->name ?: "", scope->name ? "." : "",
			       stat);
	sample->metric = text_of(samples, "envoy_%s%s%s", scope->kind, *scope->kind ? "_" : "", metric ?: stat);
	replace(sample->metric, ".-:", '_');
	return sample;
}

static void scope_labels(struct sample *sample, const struct scope *scope)
{
	if (scope->label)
		sample->labels[sample->label_count++] = (struct l7_tag){ scope->label, scope->name };
	for (size_t i = 0; i < scope->more_count; i++)
		sample->labels[sample->label_count++] = scope->more[i];
}

static void value_add(struct samples *samples, const struct scope *scope, const char *stat, enum l7_stat_kind kind, uint64_t value)
{
	struct sample *sample = value == L7_STAT_NONE ? NULL : scoped_add(samples, scope, stat, NULL);

	if (!sample)
		return;
	scope_labels(sample, scope);
	sample->type = kind == L7_COUNTER ? STATS_COUNTERS : STATS_GAUGES;
	sample->value = value;
}

/* "upstream_rq_2xx": in Prometheus "upstream_rq_xx", and the class is a label. */
static void classes_add(struct samples *samples, const struct scope *scope, const char *stem, const uint64_t codes[6])
{
	for (unsigned int class = 1; class < 6; class++) {
		char stat[64], metric[64];
		struct sample *sample;

		snprintf(stat, sizeof(stat), "%s_%uxx", stem, class);
		snprintf(metric, sizeof(metric), "%s_xx", stem);
		sample = codes[class] == L7_STAT_NONE ? NULL : scoped_add(samples, scope, stat, metric);
		if (!sample)
			continue;
		sample->class_text[0] = (char)('0' + class);
		sample->labels[sample->label_count++] = (struct l7_tag){ "envoy_response_code_class", NULL };
		scope_labels(sample, scope);
		sample->type = STATS_COUNTERS;
		sample->value = codes[class];
	}
}

static void histogram_add(struct samples *samples, const struct scope *scope, const char *stat, const struct l7_histogram *histogram)
{
	struct sample *sample = histogram ? scoped_add(samples, scope, stat, NULL) : NULL;

	if (!sample)
		return;
	scope_labels(sample, scope);
	sample->type = STATS_HISTOGRAMS;
	sample->value = histogram_count(histogram);
	sample->histogram = histogram;
}

/* --- a view in samples ------------------------------------------------------------------------------------------------------ */

struct stat_row {
	const char *name;
	enum l7_stat_kind kind;
	size_t offset;
};

#define SERVER_ROW(member, kind, name) { name, kind, offsetof(struct l7_server_stats, member) },
static const struct stat_row server_rows[] = { L7_SERVER_STATS(SERVER_ROW) };
#define LISTENER_ROW(member, kind, name) { name, kind, offsetof(struct l7_listener_stats, member) },
static const struct stat_row listener_rows[] = { L7_LISTENER_STATS(LISTENER_ROW) };
#define HTTP_ROW(member, kind, name) { name, kind, offsetof(struct l7_http_stats, member) },
static const struct stat_row http_rows[] = { L7_HTTP_STATS(HTTP_ROW) };
#define CLUSTER_ROW(member, kind, name) { name, kind, offsetof(struct l7_cluster_stats, member) },
static const struct stat_row cluster_rows[] = { L7_CLUSTER_STATS(CLUSTER_ROW) };
#define MESH_ROW(member, kind, name) { name, kind, offsetof(struct l7_mesh_stats, member) },
static const struct stat_row mesh_rows[] = { L7_MESH_STATS(MESH_ROW) };
#define MESH_TARGET_ROW(member, kind, name) { name, kind, offsetof(struct l7_mesh_target_stats, member) },
static const struct stat_row mesh_target_rows[] = { L7_MESH_TARGET_STATS(MESH_TARGET_ROW) };

static void rows_add(struct samples *samples, const struct scope *scope, const struct stat_row *rows, size_t count, const void *stats)
{
	for (size_t i = 0; i < count; i++)
		value_add(samples, scope, rows[i].name, rows[i].kind, *(const uint64_t *)((const char *)stats + rows[i].offset));
}
#define ROWS_ADD(samples, scope, rows, stats) rows_add(samples, scope, rows, ARRAY_SIZE(rows), stats)

/* "0.0.0.0_15000": each listener's samples own a copy. */
static void listener_add(struct samples *samples, const struct l7_listener_view *listener)
{
	const size_t first = samples->count;
	char text[ENDPOINT_TEXT_BYTES];
	const struct scope scope = { .kind = "listener", .name = text, .label = "envoy_listener_address" };

	ip_port_format(&listener->address.ip, htons(listener->address.port), text);
	replace(text, ":", '_');
	ROWS_ADD(samples, &scope, listener_rows, &listener->stats);
	for (size_t i = first; i < samples->count; i++) {
		struct sample *sample = &samples->list[i];

		sample->scope = text_of(samples, "%s", text);
		sample->labels[0].value = sample->scope;
	}
}

static void mesh_add(struct samples *samples, const struct l7_stats_view *view)
{
	const struct scope inbound = { .kind = "appmesh" };

	ROWS_ADD(samples, &inbound, mesh_rows, &view->mesh_stats);
	for (size_t i = 0; i < view->mesh_target_count; i++) {
		const struct l7_mesh_target_view *target = &view->mesh_targets[i];
		_cleanup_free_ char *name = text_of(samples, "TargetVirtualService.%s.TargetVirtualNode.%s", target->service, target->node);
		const struct scope scope = {
			.kind = "appmesh",
			.name = name,
			.more = { { "TargetVirtualService", target->service }, { "TargetVirtualNode", target->node } },
			.more_count = 2,
		};

		ROWS_ADD(samples, &scope, mesh_target_rows, &target->stats);
		histogram_add(samples, &scope, "TargetResponseTime", target->time);
	}
}

static void view_add(struct samples *samples, const struct l7_stats_view *view)
{
	const struct scope server = { .kind = "" };

	ROWS_ADD(samples, &server, server_rows, &view->server);
	for (size_t i = 0; i < view->listener_count; i++)
		listener_add(samples, &view->listeners[i]);
	for (size_t i = 0; i < view->http_count; i++) {
		const struct l7_http_view *http = &view->https[i];
		const struct scope scope = { .kind = "http", .name = http->prefix, .label = "envoy_http_conn_manager_prefix" };

		ROWS_ADD(samples, &scope, http_rows, &http->stats);
		classes_add(samples, &scope, "downstream_rq", http->stats.codes);
		histogram_add(samples, &scope, "downstream_rq_time", http->rq_time);
	}
	for (size_t i = 0; i < view->cluster_count; i++) {
		const struct l7_cluster_view *cluster = &view->clusters[i];
		const struct scope scope = { .kind = "cluster", .name = cluster->name, .label = "envoy_cluster_name" };

		ROWS_ADD(samples, &scope, cluster_rows, &cluster->stats);
		classes_add(samples, &scope, "upstream_rq", cluster->stats.codes);
		histogram_add(samples, &scope, "upstream_rq_time", cluster->rq_time);
		histogram_add(samples, &scope, "upstream_cx_connect_ms", cluster->cx_connect);
	}
	if (view->metrics_extension)
		mesh_add(samples, view);
	for (size_t i = 0; i < samples->count; i++)
		if (samples->list[i].class_text[0])
			samples->list[i].labels[0].value = samples->list[i].class_text; /* the list does not move any more */
}

/* --- filter and order ------------------------------------------------------------------------------------------------------- */

int stats_filter_new(const char *pattern, struct regex **ret_filter, struct error *err)
{
	_cleanup_free_ char *anywhere = NULL;
	struct regex *alone;
	int r = regex_new(pattern, &alone, err);

	if (r < 0)
		return r;
	regex_free(alone); /* only to see that it stands alone: ")(" would not */
	if (asprintf(&anywhere, "(?s:.*)(?:%s)(?s:.*)", pattern) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return regex_new(anywhere, ret_filter, err);
}

static bool wanted(const struct sample *sample, const struct stats_query *query)
{
	return (query->types & sample->type) && (!query->used_only || sample->value > 0) &&
	       (!query->filter || regex_matches(query->filter, span_of(sample->name)));
}

static void samples_filter(struct samples *samples, const struct stats_query *query)
{
	size_t kept = 0;

	for (size_t i = 0; i < samples->count; i++) {
		struct sample swap = samples->list[i];

		if (!wanted(&swap, query))
			continue;
		samples->list[i] = samples->list[kept];
		samples->list[kept] = swap;
		if (swap.class_text[0])
			samples->list[kept].labels[0].value = samples->list[kept].class_text;
		kept++;
	}
	for (size_t i = kept; i < samples->count; i++) {
		free(samples->list[i].name);
		free(samples->list[i].metric);
		free(samples->list[i].scope);
	}
	samples->count = kept;
}

/* Numbers by name, then histograms by name. */
static int name_order(const void *a, const void *b)
{
	const struct sample *x = *(const struct sample *const *)a, *y = *(const struct sample *const *)b;
	const bool x_late = x->type == STATS_HISTOGRAMS, y_late = y->type == STATS_HISTOGRAMS;

	return x_late != y_late ? (x_late ? 1 : -1) : strcmp(x->name, y->name);
}

/* By type, then those of one metric together. */
static int metric_order(const void *a, const void *b)
{
	const struct sample *x = *(const struct sample *const *)a, *y = *(const struct sample *const *)b;
	int order = x->type != y->type ? (x->type < y->type ? -1 : 1) : strcmp(x->metric, y->metric);

	return order ?: strcmp(x->name, y->name);
}

/* --- text and JSON ---------------------------------------------------------------------------------------------------------- */

static const double quantiles[] = { 0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100 };

static void print_text(struct sample *const *order, size_t count, struct buffer *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct sample *sample = order[i];

		if (!sample->histogram) {
			buffer_printf(out, "%s: %llu\n", sample->name, (unsigned long long)sample->value);
			continue;
		}
		buffer_printf(out, "%s:", sample->name);
		/* Envoy has a figure of the last interval first, which is not kept here: "nan" is what it has before the first one. */
		for (size_t k = 0; sample->value > 0 && k < ARRAY_SIZE(quantiles); k++)
			buffer_printf(out, " P%g(nan,%.6g)", quantiles[k], histogram_quantile_ms(sample->histogram, quantiles[k] / 100));
		buffer_add(out, sample->value > 0 ? "\n" : " No recorded values\n");
	}
}

static json_t *quantiles_json(const struct sample *sample)
{
	json_t *values = json_array();

	for (size_t k = 0; k < ARRAY_SIZE(quantiles); k++) {
		const double value = histogram_quantile_ms(sample->histogram, quantiles[k] / 100);

		json_array_append_new(values, json_pack("{s:n, s:o}", "interval", "cumulative",
							sample->value > 0 ? json_real(value) : json_null()));
	}
	return json_pack("{s:s, s:o}", "name", sample->name, "values", values);
}

static void print_json(struct sample *const *order, size_t count, struct buffer *out)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_json_ json_t *computed = json_array(), *supported = json_array();
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < count; i++)
		if (order[i]->histogram)
			json_array_append_new(computed, quantiles_json(order[i]));
		else
			json_array_append_new(list, json_pack("{s:s, s:I}", "name", order[i]->name, "value", (json_int_t)order[i]->value));
	for (size_t k = 0; k < ARRAY_SIZE(quantiles); k++)
		json_array_append_new(supported, json_real(quantiles[k]));
	if (json_array_size(computed) > 0)
		json_array_append_new(list, json_pack("{s:{s:o, s:o}}", "histograms", "supported_quantiles", json_incref(supported),
						      "computed_quantiles", json_incref(computed)));
	text = json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (!text)
		out->failed = true;
	else
		buffer_printf(out, "{\"stats\":%s}", text);
}

/* --- Prometheus ------------------------------------------------------------------------------------------------------------- */

/* Bounds that are printed: 0.066 ms to 137 s, each twice the one before. Those of Envoy do not lie between the buckets that are counted. */
#define BOUND_FIRST 7
#define BOUND_LAST 28

static void print_label(struct buffer *out, size_t *count, const char *name, const char *value)
{
	buffer_add(out, (*count)++ ? "," : "");
	for (const char *c = name; *c; c++)
		buffer_append(out, *c == '.' || *c == '-' ? "_" : c, 1);
	buffer_add(out, "=\"");
	for (; *value; value++) {
		if (*value == '"' || *value == '\\' || *value == '\n')
			buffer_add(out, "\\");
		buffer_append(out, *value == '\n' ? "n" : value, 1);
	}
	buffer_add(out, "\"");
}

/* Those of the sample, then those of everything. */
static size_t print_labels(const struct l7_stats_view *view, const struct sample *sample, struct buffer *out)
{
	size_t count = 0;

	for (size_t i = 0; i < sample->label_count; i++)
		print_label(out, &count, sample->labels[i].name, sample->labels[i].value);
	if (view->metrics_extension) {
		print_label(out, &count, "Mesh", view->mesh);
		print_label(out, &count, view->node_kind, view->node);
	}
	for (size_t i = 0; i < view->tag_count; i++)
		print_label(out, &count, view->tags[i].name, view->tags[i].value);
	return count;
}

static void print_line(const struct l7_stats_view *view, const struct sample *sample, const char *suffix, const char *bound, double value,
		       struct buffer *out)
{
	size_t count;

	buffer_printf(out, "%s%s{", sample->metric, suffix);
	count = print_labels(view, sample, out);
	if (bound)
		print_label(out, &count, "le", bound);
	buffer_printf(out, "} %.17g\n", value);
}

static void print_histogram(const struct l7_stats_view *view, const struct sample *sample, struct buffer *out)
{
	uint64_t below = 0;
	char bound[32];

	for (size_t i = 0; i < BOUND_LAST; i++) {
		below += sample->histogram->buckets[i];
		if (i + 1 < BOUND_FIRST)
			continue;
		snprintf(bound, sizeof(bound), "%.9g", bucket_begin_ms(i + 1));
		print_line(view, sample, "_bucket", bound, (double)below, out);
	}
	print_line(view, sample, "_bucket", "+Inf", (double)sample->value, out);
	print_line(view, sample, "_sum", NULL, (double)sample->histogram->sum_ns / NSEC_PER_MSEC, out);
	print_line(view, sample, "_count", NULL, (double)sample->value, out);
}

static void print_prometheus(const struct l7_stats_view *view, struct sample *const *order, size_t count, struct buffer *out)
{
	static const char *const types[] = { [STATS_COUNTERS] = "counter", [STATS_GAUGES] = "gauge", [STATS_HISTOGRAMS] = "histogram" };
	const char *metric = "";

	for (size_t i = 0; i < count; i++) {
		const struct sample *sample = order[i];

		if (strcmp(metric, sample->metric) != 0) {
			metric = sample->metric;
			buffer_printf(out, "# TYPE %s %s\n", metric, types[sample->type]);
		}
		if (sample->histogram) {
			print_histogram(view, sample, out);
			continue;
		}
		buffer_printf(out, "%s{", sample->metric);
		print_labels(view, sample, out);
		buffer_printf(out, "} %llu\n", (unsigned long long)sample->value);
	}
}

/* --- all of it -------------------------------------------------------------------------------------------------------------- */

int stats_print(const struct l7_stats_view *view, const struct stats_query *query, struct buffer *out)
{
	_cleanup_(samples_done) struct samples samples = {};
	_cleanup_free_ struct sample **order = NULL;

	view_add(&samples, view);
	if (samples.failed)
		return -ENOMEM;
	samples_filter(&samples, query);
	order = calloc(samples.count + 1, sizeof(struct sample *));
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < samples.count; i++)
		order[i] = &samples.list[i];
	qsort(order, samples.count, sizeof(*order), query->format == STATS_PROMETHEUS ? metric_order : name_order);
	if (query->format == STATS_PROMETHEUS)
		print_prometheus(view, order, samples.count, out);
	else if (query->format == STATS_JSON)
		print_json(order, samples.count, out);
	else
		print_text(order, samples.count, out);
	return buffer_failed(out) ? -ENOMEM : 0;
}
