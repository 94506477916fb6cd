/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "agent/l7/internal.h"
#include "agent/telemetry/names.h"
#include "base/cleanup.h"
#include "base/time.h"

struct explaining {
	struct l7 *l7;
	const struct l7_question *question;
	const struct snapshot *snapshot;
	const struct route *route;
	json_t *answer;
	uint64_t random[2];
	uint64_t now_ns;
	bool v6;
};

static json_t *span_json(struct span text)
{
	return json_stringn_nocheck(text.data ?: "", text.length);
}

/* 0: there is none. */
static json_t *ns_json(uint64_t ns)
{
	return ns ? json_integer((json_int_t)ns) : json_null();
}

static json_t *timeouts_json(const struct route_timeouts *timeouts)
{
	return json_pack("{s:o, s:o}", "requestNs", ns_json(timeouts->request_ns), "idleNs", ns_json(timeouts->idle_ns));
}

static void set_reply(struct explaining *x, enum l7_reply reply)
{
	const struct l7_reply_row *row = &l7_replies[reply];

	json_object_set_new(x->answer, "reply", json_pack("{s:s, s:i, s:s}", "name", row->name, "status", row->status, "text", row->text));
}

/* --- routes -------------------------------------------------------------------------------------------------------------- */

/* `mismatch` NULL: it is not tried. */
static json_t *tried_json(const char *name, int priority, const struct route_mismatch *mismatch)
{
	json_t *one = json_pack("{s:s, s:o}", "route", name, "priority", priority == ROUTE_PRIORITY_NONE ? json_null() : json_integer(priority));

	if (!mismatch) {
		json_object_set_new(one, "result", json_string("not-tried"));
	} else if (mismatch->criterion == ROUTE_MATCHES) {
		json_object_set_new(one, "result", json_string("matches"));
	} else {
		json_object_set_new(one, "result", json_string("mismatch"));
		json_object_set_new(one, "criterion", json_string(route_criterion_name(mismatch->criterion)));
		json_object_set_new(one, "name", mismatch->name ? json_string(mismatch->name) : json_null());
	}
	return one;
}

/* As route_table_find(), with all that it passes by. */
static void try_routes(struct explaining *x, const struct route_table *table, const struct route_request *asked)
{
	json_t *list = json_array();

	for (size_t i = 0; i < table->routes.count; i++) {
		const struct route *route = table->routes.items[i];
		const struct route_mismatch mismatch = route_match_test(&route->match, asked);

		json_array_append_new(list, tried_json(route->name, route->priority, x->route ? NULL : &mismatch));
		if (!x->route && mismatch.criterion == ROUTE_MATCHES)
			x->route = route;
	}
	json_object_set_new(x->answer, "routes", list);
}

static json_t *retry_json(const struct retry_policy *policy)
{
	json_t *events = json_array();
	const char *name;

	for (size_t i = 0; (name = retry_event_name(policy->events, i)); i++)
		json_array_append_new(events, json_string(name));
	return json_pack("{s:b, s:o, s:I, s:o}", "default", retry_policy_is_default(policy), "events", events, "maxRetries",
			 (json_int_t)policy->max_retries, "tryTimeoutNs", ns_json(policy->try_timeout_ns));
}

/* --- endpoints ----------------------------------------------------------------------------------------------------------- */

static struct choice choice_of(struct explaining *x, const struct target *target)
{
	return (struct choice){ .l7 = x->l7, .target = target, .netns_cookie = x->question->netns_cookie, .now_ns = x->now_ns,
				.random = x->random };
}

static const char *fit_name(const struct choice *c, const struct target_endpoint *e, const struct endpoint *slot)
{
	switch (choice_fit(c, e)) {
	case FIT_USABLE:
		return "usable";
	case FIT_OFFERED:
		return __atomic_load_n(&slot->health, __ATOMIC_RELAXED) >= HEALTH_DOWN ? "unhealthy" : "ejected";
	default:
		return slot ? "elsewhere" : "gone";
	}
}

static json_t *endpoint_json(const struct choice *c, const struct target_list *list, const struct target_endpoint *e, bool used)
{
	const struct endpoint *slot = l7_slot(c->l7, e);
	const uint64_t until_ns = slot ? __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED) : 0;

	return json_pack("{s:s, s:I, s:I, s:s?, s:o, s:I, s:b, s:o, s:s, s:b}", "address", e->text, "slot", (json_int_t)e->slot, "run",
			 (json_int_t)e->run, "health", slot ? endpoint_state_name(slot) : NULL, "ejectedForNs",
			 until_ns ? json_integer(until_ns > c->now_ns ? (json_int_t)(until_ns - c->now_ns) : 0) : json_null(), "active",
			 (json_int_t)(slot ? __atomic_load_n(&c->l7->active[e->slot], __ATOMIC_RELAXED) : 0), "local", e->netns_cookie != 0, "ownZone",
			 list->zone_count ? json_boolean(e->run == 0) : json_null(), "fit", fit_name(c, e, slot), "used", used);
}

/* Whether any of the list may be chosen: the other family is for when none may. */
static bool list_json(const struct choice *c, const struct target_list *list, bool wanted, json_t *to)
{
	const bool panic = choice_panics(c, list);
	bool any = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct target_endpoint *e = &list->endpoints[i];
		const bool used = wanted && choice_fit(c, e) >= (panic ? FIT_OFFERED : FIT_USABLE);

		any |= used;
		json_array_append_new(to, endpoint_json(c, list, e, used));
	}
	return any;
}

static json_t *target_json(struct explaining *x, const struct route_target_node *node)
{
	const struct target *target = snapshot_target(x->snapshot, node->id);
	json_t *one = json_pack("{s:s?, s:s, s:o, s:I, s:f}", "target", target ? target->object.name : NULL, "virtualNode", node->virtual_node,
				"port", node->port ? json_integer(node->port) : json_null(), "weight", (json_int_t)node->weight, "share",
				x->route->total_weight ? (double)node->weight / (double)x->route->total_weight : 0.0);
	json_t *endpoints = json_array();
	struct route_timeouts timeouts;
	bool panic = false, wanted = true;

	for (int i = 0; target && i < LIST_COUNT; i++) {
		const struct choice c = choice_of(x, target);
		const struct target_list *list = &target->lists[choice_family(x->v6, i)];

		panic |= wanted && choice_panics(&c, list);
		wanted &= !list_json(&c, list, wanted, endpoints);
	}
	json_object_set_new(one, "endpoints", endpoints);
	if (!target)
		return one;
	timeouts = route_timeouts_to(x->route, target->timeouts);
	json_object_set_new(one, "needsTls", json_boolean(target->needs_tls));
	json_object_set_new(one, "panic", json_boolean(panic));
	json_object_set_new(one, "timeouts", timeouts_json(&timeouts));
	json_object_set_new(one, "listener", timeouts_json(&target->timeouts));
	return one;
}

/* --- draws --------------------------------------------------------------------------------------------------------------- */

struct drawn {
	const struct target *target; /* NULL: none */
	const struct target_endpoint *endpoint; /* NULL: none */
};

static struct drawn draw(struct explaining *x)
{
	const int chosen = route_pick(x->route, (uint32_t)(random_next(x->random) >> 32));
	struct drawn drawn = { .target = chosen < 0 ? NULL : snapshot_target(x->snapshot, x->route->targets[chosen].id) };
	const struct choice c = choice_of(x, drawn.target);

	for (int i = 0; drawn.target && !drawn.target->needs_tls && !drawn.endpoint && i < LIST_COUNT; i++)
		drawn.endpoint = choice_draw(&c, &drawn.target->lists[choice_family(x->v6, i)]);
	return drawn;
}

static void draw_one(struct explaining *x)
{
	const struct drawn drawn = draw(x);

	if (!drawn.target)
		set_reply(x, L7_NO_TARGET);
	else if (drawn.target->needs_tls)
		set_reply(x, L7_NEEDS_TLS);
	else if (!drawn.endpoint)
		set_reply(x, L7_NO_HEALTHY);
	json_object_set_new(x->answer, "target", drawn.target ? json_string(drawn.target->object.name) : json_null());
	json_object_set_new(x->answer, "endpoint", drawn.endpoint ? json_string(drawn.endpoint->text) : json_null());
}

static int drawn_order(const void *a, const void *b)
{
	const struct drawn *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return (x->endpoint > y->endpoint) - (x->endpoint < y->endpoint);
}

static json_t *distribution_json(const struct drawn *drawn, size_t count)
{
	json_t *list = json_array();

	for (size_t first = 0, next; first < count; first = next) {
		for (next = first; next < count && drawn_order(&drawn[first], &drawn[next]) == 0;)
			next++;
		json_array_append_new(list, json_pack("{s:s?, s:s?, s:I}", "target", drawn[first].target ? drawn[first].target->object.name : NULL,
						      "endpoint", drawn[first].endpoint ? drawn[first].endpoint->text : NULL, "count",
						      (json_int_t)(next - first)));
	}
	return list;
}

static int draw_many(struct explaining *x)
{
	const uint64_t until_ns = time_now_ns() + L7_EXPLAIN_BUDGET_NS;
	struct drawn *drawn = calloc(x->question->count + 1, sizeof(*drawn));
	size_t count = 0;

	if (!drawn)
		return -ENOMEM;
	while (count < x->question->count && (count % 64 || time_now_ns() < until_ns))
		drawn[count++] = draw(x);
	if (count)
		qsort(drawn, count, sizeof(*drawn), drawn_order);
	json_object_set_new(x->answer, "count", json_integer((json_int_t)count));
	json_object_set_new(x->answer, "distribution", distribution_json(drawn, count));
	free(drawn);
	return 0;
}

/* --- the way ------------------------------------------------------------------------------------------------------------- */

static int follow_route(struct explaining *x)
{
	json_t *targets = json_array();

	json_object_set_new(x->answer, "route", x->route->name[0] ? json_string(x->route->name) : json_null());
	json_object_set_new(x->answer, "retry", retry_json(&x->route->retry));
	json_object_set_new(x->answer, "timeouts", timeouts_json(&x->route->timeouts));
	for (size_t i = 0; i < x->route->target_count; i++)
		json_array_append_new(targets, target_json(x, &x->route->targets[i]));
	json_object_set_new(x->answer, "targets", targets);
	draw_one(x);
	return x->question->count ? draw_many(x) : 0;
}

/* Host names no service, and neither did what was connected to. */
static void pass(struct explaining *x)
{
	const struct caller *caller = snapshot_caller(x->snapshot, x->question->handover.source);

	if (!caller || (caller->drop_all && !caller->audit))
		set_reply(x, L7_NO_ROUTE);
	else
		json_object_set_new(x->answer, "passes", json_true());
}

static int follow_service(struct explaining *x, const struct service_port *port, const struct route_request *asked)
{
	json_object_set_new(x->answer, "port", json_integer(port->port));
	try_routes(x, &port->table, asked);
	if (x->route)
		return follow_route(x);
	set_reply(x, L7_NO_ROUTE);
	return 0;
}

static void set_service(struct explaining *x, const struct service *service)
{
	if (service)
		json_object_set_new(x->answer, "service", json_string(service->object.name));
}

/* From a program, to what it is connected to. */
static int follow(struct explaining *x, const struct route_request *asked)
{
	const struct l7_question *q = x->question;
	const struct service *service = service_meant(x->snapshot, &q->handover, q->host);
	const struct service_port *port = service ? service_port_handed(service, ntohs(q->handover.port)) : NULL;

	set_service(x, service);
	json_object_set_new(x->answer, "byHost", json_boolean(service && service->object.id != q->handover.service));
	if (port)
		return follow_service(x, port, asked);
	if (!q->handover.service)
		pass(x);
	else
		set_reply(x, L7_NO_SERVICE);
	return 0;
}

/* --- gateways ------------------------------------------------------------------------------------------------------------ */

/* As gateway_table_find(), with all that it passes by. */
static const struct gateway_route *try_gateway_routes(const struct gateway *gateway, const struct route_request *asked, json_t *list)
{
	const struct gateway_route *found = NULL;

	for (size_t i = 0; i < gateway->table.routes.count; i++) {
		const struct gateway_route *route = gateway->table.routes.items[i];
		const struct route_mismatch mismatch = gateway_route_test(route, asked);

		json_array_append_new(list, tried_json(route->name, route->priority, found ? NULL : &mismatch));
		if (!found && mismatch.criterion == ROUTE_MATCHES)
			found = route;
	}
	return found;
}

/* What the route makes of it goes on as any other request to the service. */
static int follow_gateway_route(struct explaining *x, const struct gateway_route *route, const struct route_request *asked, json_t *said)
{
	const struct service *service = snapshot_service(x->snapshot, route->id);
	const struct service_port *port = service ? gateway_route_port(route, service) : NULL;
	_cleanup_(buffer_done) struct buffer buffer = {};
	struct route_request passed = *asked;
	int r;

	json_object_set_new(said, "route", json_string(route->name));
	set_service(x, service);
	if (!port)
		set_reply(x, L7_NO_SERVICE);
	else if (route->needs_tls)
		set_reply(x, L7_NEEDS_TLS);
	if (!port || route->needs_tls)
		return 0;
	r = gateway_route_rewrite(route, asked, &buffer, &passed.path);
	if (r < 0)
		return r;
	if (!route->host_kept)
		passed.authority = service->host;
	passed.port = port->port;
	json_object_set_new(said, "host", span_json(passed.authority));
	json_object_set_new(said, "path", span_json(passed.path));
	return follow_service(x, port, &passed);
}

/* From outside. */
static int follow_gateway(struct explaining *x, const struct route_request *asked)
{
	const struct gateway *gateway = snapshot_gateway(x->snapshot, x->question->handover.source);
	json_t *said = json_pack("{s:[], s:n, s:n, s:n}", "routes", "route", "host", "path");
	const struct gateway_route *route;

	json_object_set_new(x->answer, "gateway", said);
	route = gateway ? try_gateway_routes(gateway, asked, json_object_get(said, "routes")) : NULL;
	if (route)
		return follow_gateway_route(x, route, asked, said);
	set_reply(x, L7_NO_ROUTE);
	return 0;
}

static int follow_text(struct explaining *x, const struct route_target *text)
{
	const struct l7_question *q = x->question;
	const struct route_request asked = {
		.method = span_of(q->method),
		.path = text->path,
		.query = text->query,
		.scheme = SPAN("http"),
		.authority = q->host,
		.port = ntohs(q->handover.port),
		.headers = q->headers,
		.header_count = q->header_count,
	};

	json_object_set_new(x->answer, "path", span_json(text->path));
	json_object_set_new(x->answer, "query", text->has_query ? span_json(text->query) : json_null());
	return q->gateway ? follow_gateway(x, &asked) : follow(x, &asked);
}

json_t *l7_explain(struct l7 *l7, const struct l7_question *q)
{
	_cleanup_(buffer_done) struct buffer buffer = {};
	struct explaining x = {
		.l7 = l7,
		.question = q,
		.snapshot = l7->snapshot,
		.now_ns = time_now_ns(),
		.v6 = !ip_is_v4(&q->handover.destination),
	};
	struct route_target text;
	int r;

	x.answer = json_pack("{s:I, s:n, s:n, s:n, s:b, s:b, s:o, s:n, s:n, s:[], s:n, s:n, s:n, s:n, s:[], s:n, s:n}", "generation",
			     (json_int_t)snapshot_generation(x.snapshot), "gateway", "service", "port", "byHost", 0, "passes", 0, "host",
			     span_json(q->host), "path", "query", "routes", "route", "reply", "retry", "timeouts", "targets", "target", "endpoint");
	if (!x.answer || getrandom(x.random, sizeof(x.random), GRND_NONBLOCK) < 0) {
		json_decref(x.answer);
		return NULL;
	}
	x.random[0] |= 1; /* never all zero */
	r = route_target_read(q->target, &buffer, &text);
	if (!strcmp(q->method, "CONNECT"))
		set_reply(&x, L7_CONNECT_METHOD);
	else if (r == -EINVAL)
		set_reply(&x, L7_BAD_PATH);
	else if (r == 0)
		r = follow_text(&x, &text);
	if (r == -ENOMEM) {
		json_decref(x.answer);
		return NULL;
	}
	return x.answer;
}
