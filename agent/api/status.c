/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/status: the whole node on one page. */
#include <stdlib.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/telemetry/counters.h"
#include "agent/telemetry/names.h"
#include "base/cleanup.h"

static json_t *per_closed(uint64_t sum, uint64_t count)
{
	return count ? json_integer(sum / count) : json_null();
}

static json_t *percentile(const __u64 *buckets, unsigned pct)
{
	const uint64_t ns = histogram_percentile_ns(buckets, pct);

	return ns ? json_integer(ns) : json_null();
}

static const struct {
	const char *name;
	size_t offset;
} row_members[] = {
	{ "attempts", offsetof(struct row, attempts) },
	{ "open", offsetof(struct row, open) },
	{ "established", offsetof(struct row, established) },
	{ "refused", offsetof(struct row, refused) },
	{ "timedOut", offsetof(struct row, timed_out) },
	{ "unreachable", offsetof(struct row, unreachable) },
	{ "abandoned", offsetof(struct row, abandoned) },
	{ "failedOther", offsetof(struct row, failed_other) },
	{ "closed", offsetof(struct row, closed) },
	{ "resetByPeer", offsetof(struct row, reset_by_peer) },
	{ "aborted", offsetof(struct row, aborted) },
	{ "sent", offsetof(struct row, bytes_sent) },
	{ "received", offsetof(struct row, bytes_received) },
	{ "retransmits", offsetof(struct row, retransmits) },
};

json_t *api_counter_json(const struct counter *c)
{
	const struct row *s = &c->sums;
	json_t *one = json_pack("{s:s, s:s, s:s}", "from", c->source, "to", c->service, "target", c->target);

	for (size_t i = 0; i < ARRAY_SIZE(row_members); i++)
		json_object_set_new(one, row_members[i].name, json_integer(*(const __u64 *)((const char *)s + row_members[i].offset)));
	json_object_set_new(one, "meanRttUs", per_closed(s->rtt_us_sum, s->closed));
	json_object_set_new(one, "meanConnectNs", per_closed(s->connect_ns_sum, s->established));
	json_object_set_new(one, "connectP50Ns", percentile(s->connect_ns, 50));
	json_object_set_new(one, "connectP99Ns", percentile(s->connect_ns, 99));
	json_object_set_new(one, "durationP50Ns", percentile(s->duration_ns, 50));
	json_object_set_new(one, "durationP99Ns", percentile(s->duration_ns, 99));
	return one;
}

json_t *api_counters_json(struct agent *agent)
{
	json_t *list = json_array();
	struct counters *counters;

	if (counters_read(agent->apply, &agent->kernel.memory, &counters) < 0)
		return list;
	for (size_t i = 0; i < counters_count(counters); i++)
		json_array_append_new(list, api_counter_json(counters_at(counters, i)));
	counters_free(counters);
	return list;
}

struct reasons_of {
	struct agent *agent;
	json_t *list;
};

static int append_reason(const struct reason_key *key, uint64_t count, void *arg)
{
	struct reasons_of *of = arg;
	json_t *one;

	if (!count)
		return 0;
	one = json_pack("{s:s, s:I, s:s}", "reason", reason_name(key->reason), "count", (json_int_t)count, "text",
			reason_text(key->reason));
	json_object_set_new(one, "from", key->source ? json_string(agent_object_name(of->agent, key->source)) : json_null());
	json_object_set_new(one, "to", key->service ? json_string(agent_object_name(of->agent, key->service)) : json_null());
	return json_array_append_new(of->list, one) ? -ENOMEM : 0;
}

static json_t *reasons_json(struct agent *agent)
{
	struct reasons_of of = { agent, json_array() };

	kernel_reason_each(&agent->kernel, append_reason, &of);
	return of.list;
}

static json_t *stats_json(struct agent *agent)
{
	uint64_t stats[STAT_COUNT] = {};
	json_t *object = json_object();

	kernel_stats(&agent->kernel, stats);
	for (int i = 0; i < STAT_COUNT; i++)
		json_object_set_new(object, stat_name(i), json_integer(stats[i]));
	return object;
}

static json_t *tables_json(struct agent *agent)
{
	struct generations_fill fill[16];
	const size_t count = generations_fill(apply_generations(agent->apply), fill, ARRAY_SIZE(fill));
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "name", fill[i].name, "used", fill[i].used, "size",
						      fill[i].size));
	return list;
}

/* Workloads by their environment. */
static json_t *environment_json(const struct agent *agent)
{
	json_t *outcomes = json_array(), *window, *refusal = json_null();
	struct claims_report report;

	claims_report(agent->claims, &report);
	for (int i = 0; i < CLAIM_OUTCOME_COUNT; i++)
		json_array_append_new(outcomes, json_pack("{s:s, s:I, s:s}", "outcome", claim_outcome_name(i), "count",
							  (json_int_t)report.outcomes[i], "text", claim_outcome_text(i)));
	window = json_pack("{s:I, s:o, s:o, s:o}", "count", (json_int_t)report.window_count, "meanNs",
			   per_closed(report.window_sum_ns, report.window_count), "lastNs", per_closed(report.window_last_ns, !!report.window_count),
			   "maxNs", per_closed(report.window_max_ns, !!report.window_count));
	if (report.last_refusal.code)
		refusal = json_pack("{s:o, s:s}", "at", api_time_json(report.last_refusal_wall_ns), "error", report.last_refusal.message);
	return json_pack("{s:b, s:s?, s:o, s:I, s:I, s:o, s:o}", "on", !report.off, "off", report.off, "outcomes", outcomes, "lost",
			 (json_int_t)report.lost, "waiting", (json_int_t)report.waiting, "window", window, "lastRefusal", refusal);
}

static int append_workload(const struct workload *workload, void *arg)
{
	struct reasons_of *of = arg;

	return json_array_append_new(of->list, api_workload_json(of->agent, workload)) ? -ENOMEM : 0;
}

static json_t *http_json(const struct agent *agent)
{
	struct http_totals totals[AGENT_SERVERS_MAX];
	const size_t count = agent_http_totals(agent, totals);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "server", totals[i].service, "open", (json_int_t)totals[i].open,
						      "connections", (json_int_t)totals[i].counters.connections, "requests",
						      (json_int_t)totals[i].counters.requests));
	return list;
}

static json_t *http_refusals_json(const struct agent *agent)
{
	struct http_totals totals[AGENT_SERVERS_MAX];
	const size_t count = agent_http_totals(agent, totals);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		for (enum http_refusal refusal = 0; refusal < HTTP_REFUSAL_COUNT; refusal++)
			if (totals[i].counters.refused[refusal])
				json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "server", totals[i].service, "reason",
								      http_refusal_name(refusal), "count",
								      (json_int_t)totals[i].counters.refused[refusal], "text",
								      http_refusal_text(refusal)));
	return list;
}

/* A status that waits for weft-proxy, and then for the loader's report, which looks at every program and so runs on the offload thread. */
struct status {
	struct agent *agent;
	struct http_exchange *exchange;
	struct loader_status loader;
	struct error err;
	int r;
};

static void status_look(void *arg)
{
	struct status *s = arg;
	const struct loader_options options = { .instance = s->agent->options.instance };

	s->r = loader_status(&options, &s->loader, &s->err);
}

static json_t *hooks_json(const struct loader_status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->hook_count; i++) {
		const struct loader_hook_status *hook = &status->hooks[i];

		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:b, s:s}", "name", hook->name, "required", hook->required,
						      "attached", hook->attached, "current", hook->current, "purpose", hook->purpose));
	}
	return list;
}

/* What the kernel counts; null where weft-proxy does. */
static json_t *listener_count_json(const struct inbound_listener *listener, uint64_t count)
{
	return listener->proxied ? json_null() : json_integer((json_int_t)count);
}

static json_t *listeners_json(const struct agent *agent)
{
	json_t *list = json_array();
	struct inbound_listener *listeners = NULL;
	size_t count = 0;

	if (inbound_listeners(agent->inbound, &listeners, &count) < 0)
		return list;
	for (size_t i = 0; i < count; i++) {
		const struct inbound_listener *l = &listeners[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "target", l->target, "address",
						      l->address, "netnsCookie", (json_int_t)l->netns_cookie, "servedBy",
						      l->proxied ? "weft-proxy" : "application", "maxConnections",
						      listener_count_json(l, l->max_connections), "open", listener_count_json(l, l->open),
						      "handshakes", listener_count_json(l, l->handshakes), "accepted",
						      listener_count_json(l, l->accepted), "refused", listener_count_json(l, l->refused),
						      "state", l->state));
	}
	inbound_listeners_free(listeners, count);
	return list;
}

static json_t *requests_json(const struct agent *agent)
{
	struct requests_report report;
	json_t *object;

	if (requests_report(agent->requests, &report) < 0)
		return NULL;
	object = api_requests_json(&report);
	requests_report_done(&report);
	return object;
}

static void status_answer(struct status *s)
{
	struct agent *agent = s->agent;
	struct generations *g = apply_generations(agent->apply);
	struct reasons_of workloads = { agent, json_array() };
	json_t *warnings = json_array();

	workloads_each(agent->workloads, append_workload, &workloads);
	supervisor_warnings(agent->supervisor, warnings);
	if (apply_misnamed(agent->apply))
		json_array_append_new(warnings, json_sprintf("somebody else wrote to the kernel's maps: %zu objects had other names when weftd started, "
							     "which it has put right", apply_misnamed(agent->apply)));
	http_reply_json(
		s->exchange, 200,
		json_pack("{s:s, s:s, s:i, s:s, s:s, s:I, s:I, s:o, s:s?, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			  "s:o}",
			  "version", WEFT_VERSION,
			  "instance", agent->options.instance, "pid", getpid(), "account", agent->account, "region",
			  agent->control_options.home_region, "generation", (json_int_t)generations_current(g), "oldestGeneration",
			  (json_int_t)generations_oldest(g), "startedAt", api_time_json(agent->started_wall_ns), "zone",
			  agent->options.zone, "configuration", api_configuration_json(agent), "workloads", workloads.list, "hooks",
			  hooks_json(&s->loader), "cgroup", s->loader.cgroup, "tables", tables_json(agent), "stats", stats_json(agent),
			  "counters", api_counters_json(agent), "listeners", listeners_json(agent), "reasons", reasons_json(agent),
			  "endpoints", api_endpoints_json(agent), "environment", environment_json(agent), "proxy",
			  supervisor_json(agent->supervisor), "requests", requests_json(agent), "http", http_json(agent),
			  "httpRefusals", http_refusals_json(agent), "warnings", warnings));
}

static void status_done(void *arg)
{
	struct status *s = arg;

	if (!s->agent->apply)
		s->r = error_set(&s->err, -ECANCELED, "the agent stops");
	if (s->r < 0)
		http_reply_error(s->exchange, &s->err);
	else
		status_answer(s);
	free(s);
}

static void status_asked(void *arg)
{
	struct status *s = arg;

	if (!s->agent->apply) {
		s->r = error_set(&s->err, -ECANCELED, "the agent stops");
	} else {
		if (offload_submit(s->agent->offload, status_look, status_done, s) == 0)
			return;
		s->r = error_set(&s->err, -ENOMEM, "out of memory");
	}
	http_reply_error(s->exchange, &s->err);
	free(s);
}

void api_status(struct agent *agent, struct http_exchange *exchange)
{
	struct status *s = calloc(1, sizeof(*s));
	struct error err = {};

	if (s) {
		s->agent = agent;
		s->exchange = exchange;
		if (requests_refresh(agent->requests, status_asked, s) == 0)
			return;
		free(s);
	}
	error_set(&err, -ENOMEM, "out of memory");
	http_reply_error(exchange, &err);
}
