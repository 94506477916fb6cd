/* SPDX-License-Identifier: Apache-2.0 */
/* "What would happen to this connection, and why": asked of the kernel's own decision code, told with the names of the plan. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/api/explain.h"
#include "agent/serve.h"
#include "agent/telemetry/names.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"

#define EXPLAIN_COUNT_MAX 8000000 /* bpf_loop() does 2^23 at most */

struct outcome {
	struct explain_key key;
	uint64_t count;
};

struct explanation {
	struct agent *agent;
	struct http_exchange *exchange;
	char from[1024];
	char *to;
	uint16_t port;
	uint32_t count;
	struct explain request;
	struct explain_request *http; /* that the connection is for; NULL: none */
	bool gateway; /* it comes to a virtual gateway, so that nothing is decided for the connection */
	int r;
	struct outcome *outcomes; /* filled on the offload thread */
	size_t outcome_count;
};

static void explanation_free(struct explanation *x)
{
	free(x->to);
	explain_request_free(x->http);
	free(x->outcomes);
	free(x);
}

static int keep_outcome(const struct explain_key *key, uint64_t count, void *arg)
{
	struct explanation *x = arg;
	struct outcome *grown = realloc(x->outcomes, (x->outcome_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	x->outcomes = grown;
	x->outcomes[x->outcome_count++] = (struct outcome){ *key, count };
	return 0;
}

static void explanation_ask(void *arg)
{
	struct explanation *x = arg;
	struct explain many = x->request;

	if (getrandom(&x->request.draw, sizeof(x->request.draw), 0) < 0) {
		x->r = -errno;
		return;
	}
	x->r = kernel_explain(&x->agent->kernel, &x->request, NULL, NULL);
	many.count = x->count;
	if (x->r == 0 && many.count)
		x->r = kernel_explain(&x->agent->kernel, &many, keep_outcome, x);
}

static const struct plan_service *plan_service_of(struct agent *agent, uint32_t id)
{
	const struct plan *plan = apply_current(agent->apply);

	for (size_t i = 0; plan && i < plan->service_count; i++)
		if (plan->services[i] && apply_object_id(agent->apply, OBJECT_SERVICE, plan->services[i]->name) == id)
			return plan->services[i];
	return NULL;
}

const struct target_record *explain_target_record(struct agent *agent, const char *target)
{
	struct generations *g = apply_generations(agent->apply);
	const uint32_t ref = generations_ref(g, generations_current(g), apply_object_id(agent->apply, OBJECT_TARGET, target));

	return ref ? &agent->kernel.memory.targets[ref & REF_INDEX_MASK] : NULL;
}

static json_t *endpoint_json(struct agent *agent, const struct endpoint_ref *ref, uint64_t now_ns)
{
	const struct endpoint *slot = &agent->kernel.memory.endpoints[ref->slot];
	const uint64_t until_ns = __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED);
	char text[ENDPOINT_TEXT_BYTES];

	return json_pack("{s:s, s:s, s:I, s:b, s:s?, s:I, s:o}", "address", ip_port_format(&ref->address, ref->port, text), "health",
			 endpoint_state_name(slot), "open", (json_int_t)slot->open, "local", ref->netns_cookie != 0, "zone",
			 plan_zone_name(apply_current(agent->apply), ref->zone), "ejections", (json_int_t)slot->ejections, "ejectedForNs",
			 until_ns ? json_integer(until_ns > now_ns ? (json_int_t)(until_ns - now_ns) : 0) : json_null());
}

static json_t *target_endpoints(struct agent *agent, const struct target_record *record)
{
	const struct kernel_memory *m = &agent->kernel.memory;
	const uint64_t now_ns = time_now_ns();
	json_t *list = json_array();

	for (int family = 0; record && family < LIST_COUNT; family++)
		for (uint32_t i = 0; i < record->count[family]; i++)
			json_array_append_new(list, endpoint_json(agent, &m->refs[record->first[family] + i], now_ns));
	return list;
}

/* Whether decide() takes it for usable, but for namespaces. */
static bool is_usable(const struct target_record *record, const struct endpoint *slot, uint64_t now_ns)
{
	return slot->health < HEALTH_DOWN && (!record->max_errors || slot->ejected_until_ns <= now_ns) &&
	       (!record->max_connections || slot->open < record->max_connections);
}

/* The zones of the family's list as they stand: how many of their endpoints can be used, and the share that gives them. Empty where
 * zones make no difference. */
static json_t *target_zones(struct agent *agent, const struct target_record *record, int family)
{
	const struct kernel_memory *m = &agent->kernel.memory;
	const uint32_t zones = record ? MIN(record->zone_count[family], MAX_TARGET_ZONES) : 0;
	struct zone_split split = { .zones = zones };
	const uint64_t now_ns = time_now_ns();
	uint32_t usable[MAX_TARGET_ZONES] = {};
	const char *names[MAX_TARGET_ZONES] = { agent->options.zone };
	json_t *list = json_array();

	for (uint32_t i = 0; zones && i < record->count[family]; i++) {
		const struct endpoint_ref *ref = &m->refs[record->first[family] + i];
		const uint32_t run = ref->run % MAX_TARGET_ZONES;

		if (is_usable(record, &m->endpoints[ref->slot], now_ns)) {
			usable[run]++;
			split.usable++;
		}
		if (run)
			names[run] = plan_zone_name(apply_current(agent->apply), ref->zone);
	}
	for (uint32_t z = 1; z < zones; z++)
		split.excess += zone_excess(&split, usable[z]);
	for (uint32_t z = 0; z < zones; z++)
		json_array_append_new(list, json_pack("{s:s?, s:b, s:I, s:I, s:f}", "zone", names[z], "own", z == 0, "endpoints",
						      (json_int_t)record->zones[family][z].count, "usable", (json_int_t)usable[z],
						      "share", split.usable ? (double)zone_share(&split, usable[0], z, usable[z]) /
										      SHARE_ALL : 0.0));
	return list;
}

/* The weighted targets of one route. */
static void add_targets(struct agent *agent, const struct plan_weighted *targets, size_t count, const char *route, int family, json_t *list)
{
	const struct plan *plan = apply_current(agent->apply);
	unsigned total = 0;

	for (size_t i = 0; i < count; i++)
		total += targets[i].weight;
	for (size_t i = 0; i < count; i++) {
		const struct plan_weighted *w = &targets[i];
		const char *name = w->target == PLAN_NONE ? NULL : plan->targets[w->target]->name;
		const struct target_record *record = name ? explain_target_record(agent, name) : NULL;

		json_array_append_new(list, json_pack("{s:s?, s:s?, s:i, s:f, s:I, s:o, s:o}", "route", route, "target", name, "weight",
						      w->weight, "share", total ? (double)w->weight / total : 0.0, "maxConnections",
						      (json_int_t)(record ? record->max_connections : 0), "zones",
						      target_zones(agent, record, family), "endpoints",
						      target_endpoints(agent, record)));
	}
}

static const char *last_name(const char *full_name)
{
	return full_name ? strrchr(full_name, '/') + 1 : NULL;
}

/* Of the route that decides; of all of them, in the order in which they are tried, where weft-proxy routes requests. */
static json_t *targets_json(struct agent *agent, const struct plan_port *port, int family)
{
	json_t *list = json_array();
	size_t first = 0;

	if (!port->l7)
		add_targets(agent, port->targets, port->target_count, last_name(port->route), family, list);
	else if (port->l7->by_node)
		add_targets(agent, port->l7->targets, port->l7->target_count, NULL, family, list);
	for (size_t i = 0; port->l7 && i < port->l7->route_count; i++) {
		const struct plan_route *route = &port->l7->routes[i];

		add_targets(agent, &port->l7->targets[first], route->target_count, route->resource->name, family, list);
		first += route->target_count;
	}
	return list;
}

static json_t *distribution_json(struct explanation *x)
{
	json_t *list = json_array();
	char text[ENDPOINT_TEXT_BYTES];
	struct ip address;
	__be16 port;

	for (size_t i = 0; i < x->outcome_count; i++) {
		const struct outcome *o = &x->outcomes[i];
		const bool routed = reason_verdict(o->key.reason) == VERDICT_ROUTE;
		json_t *one = json_pack("{s:s, s:I}", "reason", reason_name(o->key.reason), "count", (json_int_t)o->count);

		json_object_set_new(one, "target",
				    o->key.target ? json_string(agent_object_name(x->agent, o->key.target)) : json_null());
		if (routed && apply_slot_endpoint(x->agent->apply, o->key.slot, &address, &port))
			json_object_set_new(one, "endpoint", json_string(ip_port_format(&address, port, text)));
		else
			json_object_set_new(one, "endpoint", json_null());
		json_array_append_new(list, one);
	}
	return list;
}

static void explanation_done(void *arg)
{
	struct explanation *x = arg;
	struct agent *agent = x->agent;
	const struct decision *d = &x->request.decision;
	const struct plan_service *service;
	const struct plan_port *port = NULL;
	char text[ENDPOINT_TEXT_BYTES];
	struct error err = {};
	json_t *answer;

	if (!agent->apply)
		x->r = -ECANCELED; /* the agent stops */
	if (x->r == 0 && x->request.flow.generation && x->request.flow.generation < generations_oldest(apply_generations(agent->apply))) {
		error_set_field(&err, -ENOENT, "generation", "it was let go while it was asked");
		http_reply_error(x->exchange, &err);
		return explanation_free(x);
	}
	if (x->r < 0) {
		error_set(&err, x->r, "the kernel's decision program failed: %s", strerror(-x->r));
		http_reply_error(x->exchange, &err);
		return explanation_free(x);
	}
	service = d->service ? plan_service_of(agent, d->service) : NULL;
	for (size_t i = 0; service && i < service->port_count; i++)
		if (service->ports[i].port == x->port)
			port = &service->ports[i];
	answer = json_pack("{s:s, s:s, s:s, s:I, s:s?, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:s?, s:s?, s:o}", "from", x->from, "to", x->to,
			   "destination", ip_port_format(&x->request.flow.destination, x->request.flow.port, text), "generation",
			   (json_int_t)d->generation, "service", service ? service->name : NULL, "verdict",
			   verdict_name(reason_verdict(d->reason)), "reason", reason_name(d->reason), "text", reason_text(d->reason),
			   "l7AsL4", port && port->flags & ROUTE_L7_AS_L4 && !port->l7, "audit", (d->flags & DECISION_AUDIT) != 0, "panic",
			   (d->flags & DECISION_PANIC) != 0, "proxied", (d->flags & DECISION_PROXIED) != 0, "route",
			   port && !port->l7 ? port->route : NULL, "note", port ? port->note : NULL,
			   "targets", port ? targets_json(agent, port, ip_is_v4(&x->request.flow.destination) ? LIST_V4 : LIST_V6) : json_array());
	json_object_set_new(answer, "target", d->target ? json_string(agent_object_name(agent, d->target)) : json_null());
	if (reason_verdict(d->reason) == VERDICT_ROUTE)
		json_object_set_new(answer, "endpoint", json_string(ip_port_format(&d->address, d->port, text)));
	else
		json_object_set_new(answer, "endpoint", json_null());
	if (x->count) {
		json_object_set_new(answer, "count", json_integer(x->count));
		json_object_set_new(answer, "distribution", distribution_json(x));
	}
	if (x->http)
		explain_request_answer(agent, x->exchange, TAKE_PTR(x->http),
				       &(struct explain_way){
					       .proxied = d->flags & DECISION_PROXIED,
					       .node = x->request.flow.node,
					       .service = d->service,
					       .netns_cookie = x->request.flow.netns_cookie,
					       .destination = x->request.flow.destination,
					       .port = x->port,
				       },
				       answer);
	else
		http_reply_json(x->exchange, 200, answer);
	explanation_free(x);
}

/* "HOST:PORT", the host an address or the name of a virtual service of the caller's mesh. */
static int destination_parse(struct agent *agent, struct explanation *x, bool want_v6, struct error *err)
{
	const struct plan_service *service;
	const char *colon = strrchr(x->to, ':');
	const char *mesh_end = strchr(x->from + strlen("mesh/"), '/');
	_cleanup_free_ char *full_name = NULL;
	char *end;
	unsigned long port;

	if (ip_port_parse(x->to, &x->request.flow.destination, &x->request.flow.port) == 0) {
		x->port = ntohs(x->request.flow.port);
		return 0;
	}
	port = colon ? strtoul(colon + 1, &end, 10) : 0;
	if (!colon || colon == x->to || !colon[1] || *end || !port || port > 65535)
		return error_set_field(err, -EINVAL, "to", "'%s' is not HOST:PORT", x->to);
	x->port = port;
	x->request.flow.port = htons(port);
	if (asprintf(&full_name, "%.*s/virtualService/%.*s", (int)(mesh_end - x->from), x->from, (int)(colon - x->to), x->to) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	service = plan_find_service(apply_current(agent->apply), full_name);
	if (service) {
		x->request.flow.destination = want_v6 ? service->vip6 : service->vip4;
		return 0;
	}
	if (!resources_get(agent_in_force(agent), full_name))
		return error_set_field(err, -ENOENT, "to", "there is no %s: the name means nothing to the mesh", full_name);
	return error_set_field(err, -ENOENT, "to",
			       "%s is no backend of any node here, and its mesh lets other names pass (ALLOW_ALL): it has no VIP", full_name);
}

struct first_of {
	const char *node;
	uint64_t netns_cookie;
};

static int workload_first_of(const struct workload *w, void *arg)
{
	struct first_of *first = arg;

	if (strcmp(w->node, first->node))
		return 0;
	first->netns_cookie = w->netns_cookie;
	return -ECANCELED;
}

/* Who asks. */
static int source_read(struct agent *agent, struct explanation *x, const char *from, struct error *err)
{
	struct first_of first = { .node = x->from };
	int r;

	if (!from)
		return error_set_field(err, -EINVAL, "from", "missing");
	r = agent_actor_name(agent, from, x->from, sizeof(x->from), err);
	if (r < 0)
		return r;
	x->request.flow.node = apply_object_id(agent->apply, OBJECT_NODE, x->from);
	if (!x->request.flow.node)
		return error_set_field(err, -ENOENT, "from",
				       "no workload here acts for %s: the kernel holds only what local workloads can reach", x->from);
	x->request.flow.is_tcp = 1;
	workloads_each(agent->workloads, workload_first_of, &first);
	x->request.flow.netns_cookie = first.netns_cookie;
	x->request.flow.flags = workloads_foreign(agent->workloads, first.netns_cookie) ? FLOW_FOREIGN : 0;
	return 0;
}

static int explanation_read(struct agent *agent, struct explanation *x, const char *from, const char *to, bool want_v6, struct error *err)
{
	int r = to ? source_read(agent, x, from, err) : error_set_field(err, -EINVAL, from ? "to" : "from", "missing");

	if (r < 0)
		return r;
	x->to = strdup(to);
	if (!x->to)
		return error_set(err, -ENOMEM, "out of memory");
	return destination_parse(agent, x, want_v6, err);
}

/* Whether the gateway has a listener there that weft-proxy serves. */
static int listener_check(const struct plan_node *gateway, uint16_t port, struct error *err)
{
	_cleanup_(buffer_done) struct buffer ports = {};

	for (size_t i = 0; i < gateway->listener_count; i++) {
		if (gateway->listeners[i].port == port)
			return 0;
		buffer_printf(&ports, "%s%u", i ? ", " : "", gateway->listeners[i].port);
	}
	return error_set_field(err, -ENOENT, "to", "%s has no listener of http without TLS at port %u: it has %s", gateway->name, port,
			       gateway->listener_count ? buffer_string(&ports) : "none");
}

/* A request from outside to a virtual gateway: Host is what the URL says, whatever that means to the mesh. */
static int gateway_read(struct agent *agent, struct explanation *x, const char *from, bool want_v6, struct error *err)
{
	const struct plan_node *gateway;
	int r = source_read(agent, x, from, err);

	if (r < 0)
		return r;
	x->port = explain_request_port(x->http);
	ip_parse(want_v6 ? "::" : "0.0.0.0", &x->request.flow.destination);
	gateway = plan_find_gateway(apply_current(agent->apply), x->from);
	return gateway ? listener_check(gateway, x->port, err) : error_set_field(err, -ENOENT, "from", "%s is not in the configuration", x->from);
}

static int query_read(struct agent *agent, struct http_exchange *exchange, struct explanation *x, struct error *err)
{
	const char *count = http_query(exchange, "count"), *generation = http_query(exchange, "generation"),
		   *family = http_query(exchange, "family");
	struct generations *g = apply_generations(agent->apply);
	char *end;
	int r = explanation_read(agent, x, http_query(exchange, "from"), http_query(exchange, "to"), family && !strcmp(family, "6"), err);

	if (r < 0)
		return r;
	if (count) {
		x->count = strtoul(count, &end, 10);
		if (!*count || *end || !x->count || x->count > EXPLAIN_COUNT_MAX)
			return error_set_field(err, -EINVAL, "count", "'%s' is not a number from 1 to %d", count, EXPLAIN_COUNT_MAX);
	}
	if (generation) {
		x->request.flow.generation = strtoull(generation, &end, 10);
		if (!*generation || *end || x->request.flow.generation < generations_oldest(g) ||
		    x->request.flow.generation > generations_current(g))
			return error_set_field(err, -ENOENT, "generation", "'%s' is not kept: %llu to %llu are", generation,
					       (unsigned long long)generations_oldest(g),
					       (unsigned long long)generations_current(g));
	}
	return 0;
}

static int body_read(struct agent *agent, struct http_exchange *exchange, struct explanation *x, struct error *err)
{
	_cleanup_json_ json_t *body = NULL;
	size_t length;
	const char *text = http_body(exchange, &length);
	int r = json_parse(text, length, &body, err);

	if (r == 0)
		r = explain_request_read(body, &x->http, err);
	if (r < 0)
		return r;
	x->gateway = resource_actor_kind(json_path_string(body, "from") ?: "") == RESOURCE_VIRTUAL_GATEWAY;
	if (x->gateway)
		return gateway_read(agent, x, json_path_string(body, "from"), json_path_int(body, "family", 4) == 6, err);
	return explanation_read(agent, x, json_path_string(body, "from"), explain_request_to(x->http), json_path_int(body, "family", 4) == 6,
				err);
}

static void explain_at_gateway(struct explanation *x)
{
	struct generations *g = apply_generations(x->agent->apply);
	json_t *answer = json_pack("{s:s, s:I}", "from", x->from, "generation", (json_int_t)generations_current(g));

	explain_request_answer(x->agent, x->exchange, TAKE_PTR(x->http),
			       &(struct explain_way){
				       .gateway = true,
				       .node = x->request.flow.node,
				       .netns_cookie = x->request.flow.netns_cookie,
				       .destination = x->request.flow.destination,
				       .port = x->port,
			       },
			       answer);
	explanation_free(x);
}

static void explain(struct agent *agent, struct http_exchange *exchange,
		    int (*read)(struct agent *agent, struct http_exchange *exchange, struct explanation *x, struct error *err))
{
	struct explanation *x = calloc(1, sizeof(*x));
	struct error err = {};
	int r;

	if (!x) {
		error_set(&err, -ENOMEM, "out of memory");
		return http_reply_error(exchange, &err);
	}
	x->agent = agent;
	x->exchange = exchange;
	r = read(agent, exchange, x, &err);
	if (r == 0 && x->gateway)
		return explain_at_gateway(x);
	if (r == 0)
		r = offload_submit(agent->offload, explanation_ask, explanation_done, x);
	if (r < 0) {
		if (!err.code)
			error_set(&err, r, "out of memory");
		http_reply_error(exchange, &err);
		explanation_free(x);
	}
}

void api_explain(struct agent *agent, struct http_exchange *exchange)
{
	explain(agent, exchange, query_read);
}

void api_explain_request(struct agent *agent, struct http_exchange *exchange)
{
	explain(agent, exchange, body_read);
}
