/* SPDX-License-Identifier: Apache-2.0 */
/* Connections on the local socket: the flow records that are kept, and the accounts of sockets that are open now. */
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/telemetry/names.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "maps/open.h"

struct connections_query {
	struct agent *agent;
	struct http_exchange *exchange;
	struct flows_filter filter;
	bool open_only;
	int r;
	/* filled on the offload thread */
	struct open_connection *open;
	size_t open_count, open_capacity;
	json_t *closed;
};

static const char *object_or_null(struct agent *agent, uint32_t id)
{
	return id ? agent_object_name(agent, id) : NULL;
}

/* Names are borrowed until the next look-up, so each goes into JSON before the next. */
static void set_name(struct agent *agent, json_t *object, const char *key, uint32_t id)
{
	const char *name = object_or_null(agent, id);

	json_object_set_new(object, key, name ? json_string(name) : json_null());
}

static void set_address(json_t *object, const char *key, const struct ip *ip, __be16 port)
{
	static const struct ip none;
	char text[ENDPOINT_TEXT_BYTES];

	json_object_set_new(object, key, ip_equal(ip, &none) ? json_null() : json_string(ip_port_format(ip, port, text)));
}

static int append_closed(const struct flow_record *f, void *arg)
{
	struct connections_query *q = arg;
	json_t *one = json_pack("{s:o, s:s, s:s, s:i, s:o, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:i}", "time",
				api_time_json(time_to_wall_ns(f->end_ns)), "reason", reason_name(f->reason), "close",
				flow_close_name(f->close), "error", f->error, "connectNs",
				f->connect_ns ? json_integer(f->connect_ns) : json_null(), "durationNs", (json_int_t)f->duration_ns,
				"sent", (json_int_t)f->bytes_sent, "received", (json_int_t)f->bytes_received, "rttUs", f->rtt_us,
				"retransmits", f->retransmits, "pid", f->pid, "generation", (json_int_t)f->generation, "sampledOneIn",
				f->sampled_one_in);

	if (!one)
		return -ENOMEM;
	set_name(q->agent, one, "from", f->source);
	set_name(q->agent, one, "to", f->service);
	set_name(q->agent, one, "target", f->target);
	set_address(one, "asked", &f->asked, f->asked_port);
	set_address(one, "address", &f->address, f->port);
	return json_array_append_new(q->closed, one) ? -ENOMEM : 0;
}

static bool open_wanted(const struct connections_query *q, const struct account *a)
{
	const struct flows_filter *f = &q->filter;

	return (!f->source || f->source == a->source) && (!f->service || f->service == a->service) &&
	       (!f->target || f->target == a->target) && (f->reason < 0 || f->reason == a->reason);
}

static int keep_open(const struct open_connection *open, void *arg)
{
	struct connections_query *q = arg;

	if (!open_wanted(q, &open->account))
		return 0;
	if (q->open_count == q->open_capacity) {
		const size_t capacity = q->open_capacity ? q->open_capacity * 2 : 256;
		void *grown = realloc(q->open, capacity * sizeof(*q->open));

		if (!grown)
			return -ENOMEM;
		q->open = grown;
		q->open_capacity = capacity;
	}
	q->open[q->open_count++] = *open;
	return 0;
}

static void connections_look(void *arg)
{
	struct connections_query *q = arg;

	q->r = kernel_open_each(&q->agent->kernel, keep_open, q);
}

static json_t *open_json(struct agent *agent, const struct open_connection *o)
{
	const struct account *a = &o->account;
	const uint64_t now = time_now_ns();
	json_t *one = json_pack("{s:o, s:s, s:s, s:o, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:i}", "time",
				api_time_json(time_to_wall_ns(a->connect_ns)), "state", o->live ? tcp_state_name(o->state) : "unknown", "reason",
				reason_name(a->reason), "connectNs",
				a->established_ns ? json_integer(a->established_ns - a->connect_ns) : json_null(), "durationNs",
				(json_int_t)(now - (a->established_ns ?: a->connect_ns)), "sent", (json_int_t)o->bytes_sent, "received",
				(json_int_t)o->bytes_received, "rttUs", o->rtt_us, "retransmits", o->retransmits, "pid", a->pid,
				"generation", (json_int_t)a->generation, "localPort", ntohs(a->local_port));

	set_name(agent, one, "from", a->source);
	set_name(agent, one, "to", a->service);
	set_name(agent, one, "target", a->target);
	set_address(one, "asked", &a->vip, a->vip_port);
	set_address(one, "address", &a->address, a->port);
	json_object_set_new(one, "leavesAt", a->leave_ns ? api_time_json(time_to_wall_ns(a->leave_ns)) : json_null());
	return one;
}

static void connections_done(void *arg)
{
	struct connections_query *q = arg;
	uint64_t stats[STAT_COUNT] = {};
	json_t *open = json_array();
	struct error err = {};

	if (!q->agent->apply)
		q->r = -ECANCELED; /* the agent stops */
	if (q->r < 0) {
		error_set(&err, q->r, "cannot read the accounts of open sockets");
		http_reply_error(q->exchange, &err);
		json_decref(open);
	} else {
		for (size_t i = 0; i < q->open_count; i++)
			json_array_append_new(open, open_json(q->agent, &q->open[i]));
		kernel_stats(&q->agent->kernel, stats);
		http_reply_json(q->exchange, 200,
				json_pack("{s:o, s:O, s:I, s:I, s:I}", "open", open, "closed",
					  q->closed, "lost", (json_int_t)stats[STAT_FLOWS_LOST], "sampledOut",
					  (json_int_t)stats[STAT_FLOWS_SAMPLED_OUT], "total", (json_int_t)stats[STAT_FLOWS_WRITTEN]));
	}
	json_decref(q->closed);
	free(q->open);
	free(q);
}

/* A node, service or target by its full name, or a service by its own name alone when only one mesh has it. */
static int object_query(struct agent *agent, struct http_exchange *exchange, const char *parameter, uint32_t *ret_id,
			struct error *err)
{
	static const enum object_kind kinds[] = { OBJECT_NODE, OBJECT_SERVICE, OBJECT_TARGET };
	const char *name = http_query(exchange, parameter);
	const struct plan *plan = apply_current(agent->apply);

	if (!name)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !*ret_id; i++)
		*ret_id = apply_object_id(agent->apply, kinds[i], name);
	for (size_t i = 0; plan && i < plan->service_count && !*ret_id; i++)
		if (plan->services[i] && !strcmp(strrchr(plan->services[i]->name, '/') + 1, name))
			*ret_id = apply_object_id(agent->apply, OBJECT_SERVICE, plan->services[i]->name);
	for (size_t i = 0; plan && i < plan->node_count && !*ret_id; i++)
		if (plan->nodes[i] && !strcmp(strrchr(plan->nodes[i]->name, '/') + 1, name))
			*ret_id = apply_object_id(agent->apply, OBJECT_NODE, plan->nodes[i]->name);
	if (!*ret_id)
		return error_set_field(err, -ENOENT, parameter, "nothing on this node is called '%s'", name);
	return 0;
}

static int connections_filter(struct agent *agent, struct http_exchange *exchange, struct connections_query *q, struct error *err)
{
	const char *since = http_query(exchange, "since"), *reason = http_query(exchange, "reason"),
		   *limit = http_query(exchange, "limit");
	uint64_t span_ns;
	char *end;
	int r;

	q->filter.reason = -1;
	q->open_only = http_query(exchange, "open") != NULL;
	if (since) {
		if (time_parse_span(since, &span_ns) < 0)
			return error_set_field(err, -EINVAL, "since", "'%s' is no time span (10s, 5m, 2h)", since);
		q->filter.since_ns = time_now_ns() > span_ns ? time_now_ns() - span_ns : 1;
	}
	if (reason) {
		q->filter.reason = reason_by_name(reason);
		if (q->filter.reason < 0)
			return error_set_field(err, -EINVAL, "reason", "there is no reason called '%s'", reason);
	}
	if (limit) {
		q->filter.limit = strtoul(limit, &end, 10);
		if (*end || !*limit || !q->filter.limit)
			return error_set_field(err, -EINVAL, "limit", "'%s' is no number above 0", limit);
	}
	r = object_query(agent, exchange, "from", &q->filter.source, err);
	return r < 0 ? r : object_query(agent, exchange, "to", &q->filter.service, err);
}

void api_connections(struct agent *agent, struct http_exchange *exchange)
{
	struct connections_query *q = calloc(1, sizeof(*q));
	struct error err = {};
	int r;

	if (!q) {
		error_set(&err, -ENOMEM, "out of memory");
		return http_reply_error(exchange, &err);
	}
	*q = (struct connections_query){ .agent = agent, .exchange = exchange, .closed = json_array() };
	r = connections_filter(agent, exchange, q, &err);
	if (r == 0 && !q->open_only)
		r = flows_each(agent->flows, &q->filter, append_closed, q);
	if (r == 0)
		r = offload_submit(agent->offload, connections_look, connections_done, q);
	if (r < 0) {
		if (!err.code)
			error_set(&err, r, "cannot list connections");
		http_reply_error(exchange, &err);
		json_decref(q->closed);
		free(q);
	}
}
