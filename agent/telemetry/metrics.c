/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/telemetry/metrics_internal.h"
#include "agent/telemetry/names.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"

struct labelled_row {
	const struct tally_row *row;
	size_t labels_at;
};

/* --- series --------------------------------------------------------------------------------------------------------------------------- */

bool metrics_has_room(struct writer *w, size_t series)
{
	if (w->series + series > METRICS_SERIES_MAX) {
		w->dropped += series;
		return false;
	}
	w->series += series;
	return true;
}

static void add_label(struct buffer *to, const char *name, const char *value, size_t length)
{
	buffer_printf(to, "%s%s=\"", to->length && to->data[to->length - 1] == '"' ? "," : "", name);
	for (size_t i = 0; i < length; i++) {
		if (value[i] == '\n')
			buffer_add(to, "\\n");
		else if (value[i] == '"' || value[i] == '\\')
			buffer_append(to, (const char[]){ '\\', value[i] }, 2);
		else
			buffer_append(to, &value[i], 1);
	}
	buffer_append(to, "\"", 1);
}

void metrics_label(struct buffer *to, const char *name, const char *value)
{
	add_label(to, name, value, strlen(value));
}

/* "mesh/M/virtualNode/N:8080" -> "/virtualNode/N:8080", and where "M" begins. NULL: it is no name of a resource. */
static const char *after_mesh(const char *full_name, const char **ret_mesh)
{
	*ret_mesh = full_name && !strncmp(full_name, "mesh/", 5) ? full_name + 5 : NULL;
	return *ret_mesh ? strchr(*ret_mesh, '/') : NULL;
}

/* Any other text is of no mesh. */
void metrics_mesh_label(struct buffer *to, const char *full_name)
{
	const char *mesh, *end = after_mesh(full_name, &mesh);

	add_label(to, "mesh", end ? mesh : "", end ? (size_t)(end - mesh) : 0);
}

/* "N:8080"; any other text stays. */
void metrics_name_label(struct buffer *to, const char *name, const char *full_name)
{
	const char *mesh, *end = after_mesh(full_name, &mesh), *own = end ? strchr(end + 1, '/') : NULL;

	metrics_label(to, name, own ? own + 1 : full_name ?: "");
}

void metrics_series(struct writer *w, const struct family *family, const char *suffix, const char *labels)
{
	buffer_add(w->out, family->name);
	buffer_add(w->out, suffix);
	if (*labels)
		buffer_printf(w->out, "{%s}", labels);
}

void metrics_count(struct writer *w, const struct family *family, const char *labels, uint64_t count)
{
	if (!metrics_has_room(w, 1))
		return;
	metrics_series(w, family, "", labels);
	buffer_printf(w->out, " %" PRIu64 "\n", count);
}

void metrics_seconds(struct buffer *to, uint64_t ns)
{
	buffer_printf(to, " %" PRIu64 ".%09" PRIu64 "\n", (uint64_t)(ns / NSEC_PER_SEC), (uint64_t)(ns % NSEC_PER_SEC));
}

/* --- counters of (source, service, target) -------------------------------------------------------------------------------------------- */

/* Each row's labels once, for all of its series. */
static void label_rows(struct writer *w)
{
	const struct tally *tally = w->input->tally;

	w->rows = calloc(tally->row_count + 1, sizeof(*w->rows));
	w->out->failed |= !w->rows;
	for (size_t i = 0; i < tally->row_count && w->rows; i++) {
		const struct counter *counter = &tally->rows[i]->counter;

		if (!tally_row_is_used(tally->rows[i]))
			continue;
		w->rows[w->row_count++] = (struct labelled_row){ tally->rows[i], w->row_labels.length };
		metrics_mesh_label(&w->row_labels, counter->source);
		metrics_name_label(&w->row_labels, "source", counter->source);
		metrics_name_label(&w->row_labels, "service", counter->service);
		metrics_name_label(&w->row_labels, "target", counter->target);
		buffer_append(&w->row_labels, "", 1);
	}
	if (buffer_failed(&w->row_labels)) {
		w->out->failed = true;
		w->row_count = 0;
	}
}

static const char *labels_of(const struct writer *w, size_t row)
{
	return w->row_labels.data + w->rows[row].labels_at;
}

static void emit_row(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->row_count; i++) {
		const struct tally_row *row = w->rows[i].row;

		metrics_count(w, family, labels_of(w, i),
			     COUNT_AT(&row->counter.sums, family->member) +
				     (family->open_member ? COUNT_AT(row, family->open_member) : 0));
	}
}

static const struct {
	const char *kind;
	size_t member;
} failure_kinds[] = {
	{ "refused", offsetof(struct row, refused) },
	{ "timed-out", offsetof(struct row, timed_out) },
	{ "unreachable", offsetof(struct row, unreachable) },
	{ "abandoned", offsetof(struct row, abandoned) },
	{ "other", offsetof(struct row, failed_other) },
};

static void emit_failures(struct writer *w, const struct family *family)
{
	_cleanup_(buffer_done) struct buffer one = {};

	for (size_t i = 0; i < w->row_count; i++)
		for (size_t kind = 0; kind < ARRAY_SIZE(failure_kinds); kind++) {
			buffer_clear(&one);
			buffer_add(&one, labels_of(w, i));
			metrics_label(&one, "kind", failure_kinds[kind].kind);
			metrics_count(w, family, buffer_string(&one),
				     COUNT_AT(&w->rows[i].row->counter.sums, failure_kinds[kind].member));
		}
}

static void emit_rtt(struct writer *w, const struct family *family)
{
	for (size_t i = 0; i < w->row_count; i++) {
		const struct row *sums = &w->rows[i].row->counter.sums;

		if (!metrics_has_room(w, 2))
			continue;
		metrics_series(w, family, "_sum", labels_of(w, i));
		metrics_seconds(w->out, sums->rtt_us_sum * NSEC_PER_USEC);
		metrics_series(w, family, "_count", labels_of(w, i));
		buffer_printf(w->out, " %" PRIu64 "\n", (uint64_t)sums->closed);
	}
}

#define BUCKET_STEP 2 /* a factor of 4: every bucket of the kernel would be twice the series */

size_t metrics_histogram_lines(const struct family *family, int step)
{
	return (size_t)((family->last_bucket - family->first_bucket) / step) + 1 + 2 + !!family->sum_member;
}

void metrics_histogram(struct writer *w, const struct family *family, const __u64 *buckets, uint64_t sum_ns, int step, const char *labels)
{
	uint64_t count = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += buckets[i];
		if (i < family->first_bucket || i > family->last_bucket || (i - family->first_bucket) % step)
			continue;
		buffer_printf(w->out, "%s_bucket{%s,le=\"%.12g\"} %" PRIu64 "\n", family->name, labels,
			      (double)(1ull << (i + 10)) / NSEC_PER_SEC, count);
	}
	buffer_printf(w->out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", family->name, labels, count);
	if (family->sum_member) {
		metrics_series(w, family, "_sum", labels);
		metrics_seconds(w->out, sum_ns);
	}
	metrics_series(w, family, "_count", labels);
	buffer_printf(w->out, " %" PRIu64 "\n", count);
}

static void emit_histogram(struct writer *w, const struct family *family)
{
	const size_t lines = metrics_histogram_lines(family, BUCKET_STEP);

	for (size_t i = 0; i < w->row_count; i++) {
		const struct row *sums = &w->rows[i].row->counter.sums;

		if (metrics_has_room(w, lines))
			metrics_histogram(w, family, (const __u64 *)((const char *)sums + family->member), COUNT_AT(sums, family->sum_member),
					  BUCKET_STEP, labels_of(w, i));
	}
}

static void emit_reasons(struct writer *w, const struct family *family)
{
	_cleanup_(buffer_done) struct buffer labels = {};

	for (size_t i = 0; i < w->input->tally->reason_count; i++) {
		const struct tally_reason *reason = &w->input->tally->reasons[i];

		buffer_clear(&labels);
		metrics_mesh_label(&labels, reason->source ?: reason->service);
		metrics_name_label(&labels, "source", reason->source);
		metrics_name_label(&labels, "service", reason->service);
		metrics_label(&labels, "reason", reason_name(reason->reason));
		metrics_count(w, family, buffer_string(&labels), reason->count);
	}
}

/* --- endpoints ------------------------------------------------------------------------------------------------------------------------ */

/* As HealthyHostCount of App Mesh has it: not checked counts as healthy, without a result yet does not, and ejected does not. */
static bool is_healthy(const struct tally_endpoint *e)
{
	return (e->state.health == HEALTH_UP || e->state.health == HEALTH_UNCHECKED) && !e->state.ejected_until_ns;
}

static bool same_target(const struct tally_endpoint *a, const struct tally_endpoint *b)
{
	return !strcmp(a->target, b->target);
}

static void emit_host_count(struct writer *w, const struct family *family)
{
	const struct tally *tally = w->input->tally;
	_cleanup_(buffer_done) struct buffer labels = {};

	for (size_t i = 0, next; i < tally->endpoint_count; i = next) {
		uint64_t count = 0;

		for (next = i; next < tally->endpoint_count && same_target(&tally->endpoints[i], &tally->endpoints[next]); next++)
			count += is_healthy(&tally->endpoints[next]) == family->healthy;
		buffer_clear(&labels);
		metrics_mesh_label(&labels, tally->endpoints[i].target);
		metrics_name_label(&labels, "target", tally->endpoints[i].target);
		metrics_count(w, family, buffer_string(&labels), count);
	}
}

/* Several namespaces may have the same address, of their own: together they are one series. */
static size_t same_address(const struct tally *tally, size_t first)
{
	const struct tally_endpoint *e = &tally->endpoints[first];
	size_t next = first + 1;

	while (next < tally->endpoint_count && same_target(e, &tally->endpoints[next]) && e->port == tally->endpoints[next].port &&
	       ip_equal(&e->address, &tally->endpoints[next].address))
		next++;
	return next;
}

static void endpoint_series(struct writer *w, const struct family *family, const struct tally_endpoint *e, uint64_t count)
{
	_cleanup_(buffer_done) struct buffer labels = {};
	char text[ENDPOINT_TEXT_BYTES];

	metrics_mesh_label(&labels, e->target);
	metrics_name_label(&labels, "target", e->target);
	metrics_label(&labels, "address", ip_port_format(&e->address, e->port, text));
	metrics_count(w, family, buffer_string(&labels), count);
}

static void emit_endpoint_open(struct writer *w, const struct family *family)
{
	const struct tally *tally = w->input->tally;

	for (size_t i = 0, next; i < tally->endpoint_count; i = next) {
		uint64_t open = 0;

		next = same_address(tally, i);
		for (size_t n = i; n < next; n++)
			open += tally->endpoints[n].state.open;
		endpoint_series(w, family, &tally->endpoints[i], open);
	}
}

static void emit_endpoint_ejections(struct writer *w, const struct family *family)
{
	const struct tally *tally = w->input->tally;

	for (size_t i = 0, next; i < tally->endpoint_count; i = next) {
		uint64_t ejections = 0;

		next = same_address(tally, i);
		for (size_t n = i; n < next; n++)
			ejections += tally->endpoints[n].state.ejections;
		endpoint_series(w, family, &tally->endpoints[i], ejections);
	}
}

static void emit_endpoint_ejected(struct writer *w, const struct family *family)
{
	const struct tally *tally = w->input->tally;

	for (size_t i = 0, next; i < tally->endpoint_count; i = next) {
		bool ejected = false;

		next = same_address(tally, i);
		for (size_t n = i; n < next; n++)
			ejected |= tally->endpoints[n].state.ejected_until_ns != 0;
		endpoint_series(w, family, &tally->endpoints[i], ejected);
	}
}

static void emit_endpoint_healthy(struct writer *w, const struct family *family)
{
	const struct tally *tally = w->input->tally;

	for (size_t i = 0, next; i < tally->endpoint_count; i = next) {
		bool healthy = true;

		next = same_address(tally, i);
		for (size_t n = i; n < next; n++)
			healthy &= is_healthy(&tally->endpoints[n]);
		endpoint_series(w, family, &tally->endpoints[i], healthy);
	}
}

static void emit_endpoint_requests(struct writer *w, const struct family *family)
{
	const struct tally *tally = w->input->tally;

	for (size_t i = 0, next; i < tally->endpoint_count; i = next) {
		struct endpoint_requests sum = {};

		next = same_address(tally, i);
		for (size_t n = i; n < next; n++) {
			const struct tally_endpoint *e = &tally->endpoints[n];

			sum.requests += e->own_requests ? e->state.requests : 0;
			sum.failures += e->own_requests ? e->state.request_failures : 0;
		}
		if (sum.requests)
			endpoint_series(w, family, &tally->endpoints[i], COUNT_AT(&sum, family->member));
	}
	if (tally->other_endpoints.requests)
		metrics_count(w, family, "mesh=\"\",target=\"other\",address=\"other\"", COUNT_AT(&tally->other_endpoints, family->member));
}

static void emit_listener(struct writer *w, const struct family *family)
{
	_cleanup_(buffer_done) struct buffer labels = {};
	char netns[24];

	for (size_t i = 0; i < w->input->listener_count; i++) {
		const struct inbound_listener *listener = &w->input->listeners[i];

		if (listener->proxied)
			continue;
		buffer_clear(&labels);
		metrics_mesh_label(&labels, listener->target);
		metrics_name_label(&labels, "target", listener->target);
		metrics_label(&labels, "address", listener->address);
		snprintf(netns, sizeof(netns), "%" PRIu64, listener->netns_cookie);
		metrics_label(&labels, "netns", netns);
		metrics_count(w, family, buffer_string(&labels), COUNT_AT(listener, family->member));
	}
}

/* --- the node ------------------------------------------------------------------------------------------------------------------------- */

static void emit_one(struct writer *w, const struct family *family)
{
	const double value = family->value(w->input);

	if (!metrics_has_room(w, 1))
		return;
	metrics_series(w, family, "", "");
	if (value == __builtin_inf())
		buffer_add(w->out, " +Inf\n");
	else
		buffer_printf(w->out, " %.15g\n", value);
}

static double one_generation(const struct metrics_input *input)
{
	return (double)input->tally->generation;
}

static double one_misnamed(const struct metrics_input *input)
{
	return (double)input->misnamed;
}

static double one_configuration_held(const struct metrics_input *input)
{
	return input->configuration_held;
}

static double one_configuration_failed(const struct metrics_input *input)
{
	return input->configuration_failed;
}

static double one_heartbeat_age(const struct metrics_input *input)
{
	const uint64_t beat_ns = __atomic_load_n(&input->proxy->beat_ns, __ATOMIC_RELAXED), now_ns = time_now_ns();

	if (!beat_ns)
		return __builtin_inf();
	return beat_ns < now_ns ? (double)(now_ns - beat_ns) / NSEC_PER_SEC : 0;
}

static double one_open_known(const struct metrics_input *input)
{
	return input->tally->open_known;
}

static double one_cpu(const struct metrics_input *input)
{
	return (double)input->process.cpu_ns / NSEC_PER_SEC;
}

static double one_resident(const struct metrics_input *input)
{
	return (double)input->process.resident_bytes;
}

static double one_start(const struct metrics_input *input)
{
	return (double)(input->process.start_wall_ns / NSEC_PER_MSEC) / 1000;
}

static double one_requests_known(const struct metrics_input *input)
{
	return input->tally->requests.known;
}

static double one_requests_active(const struct metrics_input *input)
{
	return (double)input->tally->requests.now.active;
}

static double one_proxy_open(const struct metrics_input *input)
{
	return (double)input->tally->requests.now.open;
}

static double one_proxy_upstream_open(const struct metrics_input *input)
{
	return (double)input->tally->requests.now.upstream_open;
}

static void emit_build(struct writer *w, const struct family *family)
{
	metrics_count(w, family, "version=\"" WEFT_VERSION "\"", 1);
}

static void emit_dns(struct writer *w, const struct family *family)
{
	static const char *const outcomes[] = {
#define X(symbol, name, text) [DNS_##symbol] = name,
		DNS_OUTCOMES(X)
#undef X
	};
	char labels[64];

	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		snprintf(labels, sizeof(labels), "outcome=\"%s\"", outcomes[i]);
		metrics_count(w, family, labels, __atomic_load_n(&w->input->proxy->outcomes[i], __ATOMIC_RELAXED));
	}
}

static void emit_claims(struct writer *w, const struct family *family)
{
	char labels[64];

	for (int i = 0; i < CLAIM_OUTCOME_COUNT; i++) {
		snprintf(labels, sizeof(labels), "outcome=\"%s\"", claim_outcome_name(i));
		metrics_count(w, family, labels, w->input->claims.outcomes[i]);
	}
}

static void emit_claim_window(struct writer *w, const struct family *family)
{
	if (!metrics_has_room(w, 2))
		return;
	metrics_series(w, family, "_sum", "");
	metrics_seconds(w->out, w->input->claims.window_sum_ns);
	metrics_series(w, family, "_count", "");
	buffer_printf(w->out, " %" PRIu64 "\n", w->input->claims.window_count);
}

static void emit_stats(struct writer *w, const struct family *family)
{
	char labels[64];

	for (int i = 0; i < STAT_COUNT; i++) {
		snprintf(labels, sizeof(labels), "event=\"%s\"", stat_name((enum statistic)i));
		metrics_count(w, family, labels, w->input->tally->stats[i]);
	}
}

static void emit_table(struct writer *w, const struct family *family)
{
	char labels[64];

	for (size_t i = 0; i < w->input->table_count; i++) {
		snprintf(labels, sizeof(labels), "table=\"%s\"", w->input->tables[i].name);
		metrics_count(w, family, labels, *(const uint32_t *)((const char *)&w->input->tables[i] + family->member));
	}
}

static void emit_http(struct writer *w, const struct family *family)
{
	char labels[64];

	for (size_t i = 0; i < w->input->http_count; i++) {
		snprintf(labels, sizeof(labels), "server=\"%s\"", w->input->http[i].service);
		metrics_count(w, family, labels, COUNT_AT(&w->input->http[i], family->member));
	}
}

static void emit_http_refusals(struct writer *w, const struct family *family)
{
	char labels[96];

	for (size_t i = 0; i < w->input->http_count; i++)
		for (enum http_refusal refusal = 0; refusal < HTTP_REFUSAL_COUNT; refusal++) {
			snprintf(labels, sizeof(labels), "server=\"%s\",reason=\"%s\"", w->input->http[i].service, http_refusal_name(refusal));
			metrics_count(w, family, labels, w->input->http[i].counters.refused[refusal]);
		}
}

static void emit_api_refusals(struct writer *w, const struct family *family)
{
	char labels[64];

	for (enum sigv4_reason reason = 0; reason < SIGV4_REASON_COUNT; reason++) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", sigv4_reason_name(reason));
		metrics_count(w, family, labels, w->input->api.refused[reason]);
	}
}

static void emit_api_writes(struct writer *w, const struct family *family)
{
	char labels[64];

	for (enum writer_count which = 0; which < WRITER_COUNTS; which++) {
		snprintf(labels, sizeof(labels), "event=\"%s\"", writer_count_name(which));
		metrics_count(w, family, labels, w->input->api.writer[which]);
	}
}

static void emit_api_lost(struct writer *w, const struct family *family)
{
	metrics_count(w, family, "", w->input->api.audit_lost);
}

/* The last one, which has always room. */
static void emit_dropped(struct writer *w, const struct family *family)
{
	metrics_series(w, family, "", "");
	buffer_printf(w->out, " %zu\n", w->dropped);
}

/* --- the table ------------------------------------------------------------------------------------------------------------------------ */

#define LISTENER(name) .emit = emit_listener, .member = offsetof(struct inbound_listener, name)
#define ROW(name) .emit = emit_row, .member = offsetof(struct row, name)
#define ROUTES(name) .emit = emit_route_row, .member = offsetof(struct route_counts, name)
#define REQUESTS(name) .emit = emit_request_row, .member = offsetof(struct request_counts, name)

static const struct family families[] = {
	{ "weft_build_info", "gauge", "Always 1; the version is a label.", emit_build },
	{ "process_start_time_seconds", "gauge", "When weftd was started, in seconds since 1970.", emit_one, one_start },
	{ "process_cpu_seconds_total", "counter", "CPU time of weftd, user and system.", emit_one, one_cpu },
	{ "process_resident_memory_bytes", "gauge", "Memory of weftd that is in RAM, with the maps it shares with the kernel.", emit_one,
	  one_resident },
	{ "weft_generation", "gauge", "Generation of the configuration that is in force.", emit_one, one_generation },
	{ "weft_configuration_error", "gauge", "1: the files as they are now are not in force, for one of them is wrong.", emit_one,
	  one_configuration_failed },
	{ "weft_configuration_held", "gauge", "1: the resources of an earlier generation are held in force (weft rollback).", emit_one,
	  one_configuration_held },
	{ "weft_objects_misnamed", "gauge", "Objects in force that had another name in the kernel's maps when weftd started, and have theirs again.",
	  emit_one, one_misnamed },
	{ "weft_table_entries", "gauge", "How many places of a kernel table are taken.", emit_table,
	  .member = offsetof(struct generations_fill, used) },
	{ "weft_table_size", "gauge", "How many places a kernel table has.", emit_table, .member = offsetof(struct generations_fill, size) },
	{ "weft_kernel_events_total", "counter", "Flow records written, lost and sampled out, and faults; by name.", emit_stats },
	{ "weft_open_connections_known", "gauge", "0: this kernel cannot tell of open connections, whose bytes are then told when they close.",
	  emit_one, one_open_known },
	{ "weft_proxy_heartbeat_age_seconds", "gauge",
	  "Time since weft-proxy last showed that it is there; above 2 names are not answered. +Inf: never.", emit_one, one_heartbeat_age },
	{ "weft_dns_queries_total", "counter", "Queries that weft-proxy was asked, by how they ended.", emit_dns },
	{ "weft_proxy_requests_known", "gauge", "0: weft-proxy did not answer: what it counts is as it said last, what it has open is not known.",
	  emit_one, one_requests_known },
	{ "weft_proxy_requests_active", "gauge", "Requests that weft-proxy has in hand.", emit_one, one_requests_active },
	{ "weft_proxy_connections_open", "gauge", "Connections of programs that weft-proxy has.", emit_one, one_proxy_open },
	{ "weft_proxy_upstream_connections_open", "gauge", "Connections of weft-proxy to endpoints, in use or kept for the next request.",
	  emit_one, one_proxy_upstream_open },
	{ "weft_proxy_events_total", "counter", "What weft-proxy did and met: connections of programs, connections to endpoints, faults; by name.",
	  emit_request_sums, .group = "", .label = "event" },
	{ "weft_proxy_replies_total", "counter", "Requests that came to no answer of their target, or to no whole one, by why.", emit_request_sums,
	  .group = "replies.", .label = "reply" },
	{ "weft_proxy_retry_verdicts_total", "counter", "Tries that failed, by what became of the request.", emit_request_sums,
	  .group = "retries.", .label = "verdict" },
	{ "weft_proxy_access_log_dropped_total", "counter", "Lines that are in no access log, by why.", emit_request_sums,
	  .group = "accessLogDrops.", .label = "reason" },
	{ "weft_environment_claims_total", "counter", "Processes whose environment names a virtual node, by what came of it.", emit_claims },
	{ "weft_environment_window_seconds", "summary", "From the begin of such a program to its enrolment.", emit_claim_window },
	{ "weft_http_connections_open", "gauge", "Connections to a server of weftd that are open.", emit_http,
	  .member = offsetof(struct http_totals, open) },
	{ "weft_http_connections_total", "counter", "Connections to a server of weftd: its local socket, and the one that answers this.", emit_http,
	  .member = offsetof(struct http_totals, counters.connections) },
	{ "weft_http_requests_total", "counter", "Requests that were whole and good, so that they were looked at.", emit_http,
	  .member = offsetof(struct http_totals, counters.requests) },
	{ "weft_http_refusals_total", "counter", "Messages that were not taken, and connections that weftd closed, by reason.",
	  emit_http_refusals },
	{ "weft_api_signatures_refused_total", "counter", "Requests to the API whose signature was refused, by reason.", emit_api_refusals },
	{ "weft_api_writer_total", "counter",
	  "What became of writes to the API: transactions, writes in them, transactions planned again, writes given up or failed, bad records.",
	  emit_api_writes },
	{ "weft_api_audit_lost_total", "counter", "Audit records that the store did not take.", emit_api_lost },
	{ "weft_decisions_total", "counter", "Connections that were not just routed, by reason; no service: the destination is none of the mesh.",
	  emit_reasons },
	{ "weft_connection_attempts_total", "counter", "Connections routed to an endpoint of the target.", ROW(attempts) },
	{ "weft_connections_established_total", "counter", "Connections that were established.", ROW(established) },
	{ "weft_connection_failures_total", "counter", "Connections that were never established, by kind.", emit_failures },
	{ "weft_connections_closed_total", "counter", "Established connections that ended, for whatever cause.", ROW(closed) },
	{ "weft_connection_resets_total", "counter", "Established connections that the peer reset.", ROW(reset_by_peer) },
	{ "weft_connections_aborted_total", "counter",
	  "Established connections that ended here by a reset or a time-out, or that weft closed.", ROW(aborted) },
	{ "weft_connections_open", "gauge", "Connections that are open, or being opened.", ROW(open) },
	{ "weft_sent_bytes_total", "counter", "Bytes the caller sent and the peer acknowledged, also on connections still open.",
	  ROW(bytes_sent), .open_member = offsetof(struct tally_row, open_sent) },
	{ "weft_received_bytes_total", "counter", "Bytes the caller received, also on connections still open.", ROW(bytes_received),
	  .open_member = offsetof(struct tally_row, open_received) },
	{ "weft_retransmissions_total", "counter", "Segments the caller sent again, also on connections still open.", ROW(retransmits),
	  .open_member = offsetof(struct tally_row, open_retransmits) },
	{ "weft_connection_rtt_seconds", "summary", "Smoothed round-trip time, as it was when connections closed.", emit_rtt },
	{ "weft_requests_total", "counter", "Requests that weft-proxy routed, by the class of their answer; none: the program got no answer.",
	  emit_request_codes },
	{ "weft_request_retries_total", "counter", "Tries of requests after their first one.", REQUESTS(retries) },
	{ "weft_request_body_bytes_total", "counter", "Bytes of the bodies of requests.", REQUESTS(bytes_received) },
	{ "weft_response_body_bytes_total", "counter", "Bytes of the bodies of answers.", REQUESTS(bytes_sent) },
	{ "weft_route_requests_total", "counter",
	  "Requests by the route that took them, by the class of their answer; an empty route: none did. An empty service: of a gateway itself.",
	  emit_route_codes },
	{ "weft_route_retries_total", "counter", "Tries of these requests after their first one.", ROUTES(retries) },
	{ "weft_route_timeouts_total", "counter", "Of these requests, those that ended by a time-out.", ROUTES(timeouts) },
	{ "weft_healthy_host_count", "gauge", "Endpoints that are used: healthy or not checked, and not ejected.", emit_host_count, .healthy = true },
	{ "weft_unhealthy_host_count", "gauge", "Endpoints that failed their health check, have no result yet, or are ejected.", emit_host_count },
	{ "weft_endpoint_open", "gauge", "Connections to the endpoint that are open, or being opened.", emit_endpoint_open },
	{ "weft_endpoint_healthy", "gauge", "1: healthy or not checked; 0: failed its health check, has no result yet, or is ejected.",
	  emit_endpoint_healthy },
	{ "weft_endpoint_ejected", "gauge", "1: outlier detection has the endpoint out of rotation.", emit_endpoint_ejected },
	{ "weft_endpoint_ejections_total", "counter", "How often outlier detection took the endpoint out of rotation.", emit_endpoint_ejections },
	{ "weft_endpoint_requests_total", "counter", "Requests that weft-proxy sent to the endpoint: each try is one.", emit_endpoint_requests,
	  .member = offsetof(struct endpoint_requests, requests) },
	{ "weft_endpoint_request_failures_total", "counter", "Of these, those that were answered with 5xx, or not at all.", emit_endpoint_requests,
	  .member = offsetof(struct endpoint_requests, failures) },
	{ "weft_listener_max_connections", "gauge", "maxConnections of a listener of this node, where connections come in.", LISTENER(max_connections) },
	{ "weft_listener_open", "gauge", "Connections that it accepted and that are open.", LISTENER(open) },
	{ "weft_listener_accepted_total", "counter", "Connections that it accepted.", LISTENER(accepted) },
	{ "weft_listener_refused_total", "counter", "Connections that it refused, as it was full.", LISTENER(refused) },
	{ "weft_request_seconds", "histogram", "From the head of a request to the end of its answer.", emit_request_seconds,
	  .member = offsetof(struct request_counts, time_ns), .sum_member = offsetof(struct request_counts, time_ns_sum), .first_bucket = 7,
	  .last_bucket = 26 },
	{ "weft_connect_seconds", "histogram", "From connect() to established.", emit_histogram,
	  .member = offsetof(struct row, connect_ns), .sum_member = offsetof(struct row, connect_ns_sum), .first_bucket = 3,
	  .last_bucket = 25 },
	{ "weft_connection_duration_seconds", "histogram", "From established to closed.", emit_histogram,
	  .member = offsetof(struct row, duration_ns), .first_bucket = 8, .last_bucket = 30 },
	{ "weft_metrics_dropped_series", "gauge", "Series left out of this answer, which has room for 20,000: the last of this list first.",
	  emit_dropped },
};

void metrics_write(const struct metrics_input *input, struct buffer *out)
{
	struct writer w = { .input = input, .out = out };

	label_rows(&w);
	requests_label(&w);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct family *family = &families[i];

		buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name, family->type);
		family->emit(&w, family);
	}
	requests_done(&w);
	buffer_done(&w.row_labels);
	free(w.rows);
}

void metrics_process_read(struct metrics_process *process)
{
	_cleanup_fclose_ FILE *statm = fopen("/proc/self/statm", "re");
	unsigned long resident_pages = 0;
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		process->cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NSEC_PER_SEC +
				  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NSEC_PER_USEC;
	if (statm && fscanf(statm, "%*u %lu", &resident_pages) == 1)
		process->resident_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
