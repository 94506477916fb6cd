/* SPDX-License-Identifier: Apache-2.0 */
/* compile() told of changes, one after the other, makes the same plan as one that begins anew with what there is then. */
#include "tests/unit/compile_world.h"

#include <arpa/inet.h>
#include <errno.h>

/* --- what a plan says, whatever places it has ---------------------------------------------------------------------------------- */

static size_t l7_ports, proxied_listeners, gateways; /* that were printed */

static const char *name_at(const struct plan *plan, enum plan_kind kind, uint32_t place)
{
	return place == PLAN_NONE ? "-" : plan_side(plan, kind).objects[place]->name;
}

static void print_ip(struct buffer *b, const struct ip *ip)
{
	char text[IP_TEXT_BYTES];

	buffer_printf(b, " %s", ip_format(ip, text));
}

static void print_service(const struct plan *plan, const struct plan_object *object, struct buffer *b)
{
	const struct plan_service *s = (const struct plan_service *)object;

	print_ip(b, &s->vip4);
	print_ip(b, &s->vip6);
	buffer_printf(b, " %d %d %s %u", s->v4, s->v6, s->twin ?: "-", s->no_port);
	for (size_t p = 0; p < s->port_count; p++) {
		const struct plan_port *port = &s->ports[p];

		buffer_printf(b, "\n %u %u %u %s %s", port->port, port->closed, port->flags, port->route ?: "-", port->note ?: "-");
		for (size_t t = 0; t < plan_port_target_count(port); t++)
			buffer_printf(b, "%s%s=%u", t == port->target_count ? " l7 " : " ", name_at(plan, PLAN_TARGET, plan_port_target(port, t)->target),
				      plan_port_target(port, t)->weight);
		l7_ports += port->l7 != NULL;
		for (size_t r = 0; port->l7 && r < port->l7->route_count; r++)
			buffer_printf(b, " %s %zu", port->l7->routes[r].resource->name, port->l7->routes[r].target_count);
	}
}

static void print_target(const struct plan *plan, const struct plan_object *object, struct buffer *b)
{
	const struct plan_target *t = (const struct plan_target *)object;

	buffer_printf(b, " %s %u %u %u %u %s %u %u", t->node, t->flags, t->panic_pct, t->check.protocol, t->check.healthy_threshold,
		      t->check.path ?: "-", t->max_connections, t->outlier.max_errors);
	buffer_printf(b, " %d %s %lld", t->l7, t->protocol, (long long)json_path_int(t->timeout, "idle.value", 0));
	for (int list = 0; list < LIST_COUNT; list++)
		for (size_t z = 0; z < t->zone_count[list]; z++)
			buffer_printf(b, " run %zu", z);
	for (size_t e = 0; e < t->endpoint_count; e++) {
		print_ip(b, &t->endpoints[e].address);
		buffer_printf(b, ":%u %s %u %llu %u", ntohs(t->endpoints[e].port), plan_zone_name(plan, t->endpoints[e].zone) ?: "-",
			      t->endpoints[e].run, (unsigned long long)t->endpoints[e].netns_cookie, t->endpoints[e].health);
	}
}

static int text_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, since they are in order of place. */
static void print_names(char **names, size_t count, struct buffer *b)
{
	if (count)
		qsort(names, count, sizeof(*names), text_order);
	for (size_t i = 0; i < count; i++) {
		buffer_printf(b, "\n %s", names[i]);
		free(names[i]);
	}
	free(names);
}

static void print_node(const struct plan *plan, const struct plan_object *object, struct buffer *b)
{
	const struct plan_node *n = (const struct plan_node *)object;
	char **names = calloc(n->backend_count + 1, sizeof(*names));

	buffer_printf(b, " %d %u %d", n->outside, n->flags, n->logging != NULL);
	for (size_t i = 0; i < n->listener_count; i++)
		buffer_printf(b, " %u %lld %lld", n->listeners[i].port, (long long)json_path_int(n->listeners[i].timeout, "idle.value", 0),
			      (long long)json_path_int(n->listeners[i].pool, "http.maxConnections", 0));
	for (size_t i = 0; i < n->route_count; i++)
		buffer_printf(b, " %s>%s", n->routes[i].resource->name, name_at(plan, PLAN_SERVICE, n->routes[i].service));
	gateways += n->gateway;
	for (size_t i = 0; i < n->backend_count; i++) {
		EXPECT(i == 0 || n->backends[i - 1].service < n->backends[i].service);
		EXPECT(asprintf(&names[i], "%s %x %u", name_at(plan, PLAN_SERVICE, n->backends[i].service), n->backends[i].tls_ports,
				n->backends[i].flags) > 0);
	}
	print_names(names, n->backend_count, b);
}

static void print_scope(const struct plan *plan, const struct plan_object *object, struct buffer *b)
{
	const struct plan_scope *s = (const struct plan_scope *)object;
	char **names = calloc(s->service_count + 1, sizeof(*names));

	for (size_t i = 0; i < s->service_count; i++)
		names[i] = strdup(name_at(plan, PLAN_SERVICE, s->services[i]));
	print_names(names, s->service_count, b);
}

static void print_plan(const struct plan *plan, struct buffer *b)
{
	static void (*const print[PLAN_KINDS])(const struct plan *, const struct plan_object *, struct buffer *) = {
		[PLAN_SCOPE] = print_scope, [PLAN_SERVICE] = print_service, [PLAN_TARGET] = print_target, [PLAN_NODE] = print_node,
	};

	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++) {
		const struct plan_side side = plan_side(plan, kind);
		char **objects = calloc(side.count + 1, sizeof(*objects));
		size_t count = 0;

		for (size_t i = 0; i < side.count; i++) {
			struct buffer one = {};

			if (!side.objects[i])
				continue;
			buffer_printf(&one, "%d %s", kind, side.objects[i]->name);
			print[kind](plan, side.objects[i], &one);
			objects[count++] = strdup(buffer_string(&one));
			buffer_done(&one);
		}
		print_names(objects, count, b);
	}
	for (size_t i = 0; i < plan->serving_count; i++) {
		const struct plan_serving *s = &plan->servings[i];

		buffer_printf(b, "\n%llu %u %s %d %u %u", (unsigned long long)s->netns_cookie, ntohs(s->port), s->target, s->proxied, s->listener,
			      s->max_connections);
		proxied_listeners += s->proxied;
	}
}

/* --- a world that changes -------------------------------------------------------------------------------------------------------- */

struct changing {
	struct fixture f;
	struct compiler *compiler;
	struct plan *plan;
	uint64_t random;
	const char *nodes[4], *exposed[3];
	size_t node_count, exposed_count;
	size_t plans, refused, documents;
};

static uint32_t roll(struct changing *w, uint32_t sides)
{
	w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(w->random >> 33) % sides;
}
#define ONE_OF(w, ...) ((const char *const[]){ __VA_ARGS__ })[roll(w, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))]

#define MESHES "M", "N"
#define NODES "n1", "n2", "n3", "n4"
#define SERVICES "s1.x", "s2.x", "S2.x", "s3.x", "s3.x."

static void print_listeners(struct changing *w, bool of_node, struct buffer *b)
{
	const uint32_t count = roll(w, 3);

	buffer_add(b, "'listeners': [");
	for (uint32_t i = 0; i < count; i++) {
		const char *protocol = i ? "tcp" : ONE_OF(w, "tcp", "http");

		buffer_printf(b, "%s{'portMapping': {'port': %u, 'protocol': '%s'}%s", i ? ", " : "", 80 + 8000 * i, protocol,
			      !of_node || roll(w, 3) ? "" :
					   ", 'healthCheck': {'protocol': 'tcp', 'healthyThreshold': 2, 'unhealthyThreshold': 2, 'intervalMillis': 5000,"
					   " 'timeoutMillis': 2000}");
		if (of_node && roll(w, 4) == 0)
			buffer_printf(b, ", 'connectionPool': {'%s': {'maxConnections': %u}}", protocol, 5 + roll(w, 2));
		if (of_node && roll(w, 3) == 0)
			buffer_printf(b, ", 'timeout': {'%s': {'idle': {'unit': 's', 'value': %u}}}", protocol, 1 + roll(w, 2));
		buffer_add(b, "}");
	}
	buffer_add(b, "]");
}

static void print_node_spec(struct changing *w, struct buffer *b)
{
	const uint32_t backends = roll(w, 3);

	print_listeners(w, true, b);
	if (roll(w, 6))
		buffer_printf(b, ", 'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'ns', 'serviceName': '%s'}}", ONE_OF(w, NODES));
	buffer_add(b, ", 'backends': [");
	for (uint32_t i = 0; i < backends; i++)
		buffer_printf(b, "%s{'virtualService': {'virtualServiceName': '%s'%s}}", i ? ", " : "", ONE_OF(w, SERVICES),
			      roll(w, 3) ? "" :
					   ", 'clientPolicy': {'tls': {'enforce': true, 'ports': [80], 'validation': {'trust': {'file': "
					   "{'certificateChain': '/c'}}}}}");
	buffer_add(b, "]");
	if (roll(w, 4) == 0)
		buffer_add(b, ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
}

static void print_document(struct changing *w, struct buffer *b)
{
	const char *mesh = ONE_OF(w, MESHES, "M");

	buffer_printf(b, "{'meshName': '%s'", mesh);
	switch (roll(w, 10)) {
	case 0:
		if (roll(w, 3) == 0) {
			buffer_printf(b, ", 'spec': {'egressFilter': {'type': '%s'}%s}", ONE_OF(w, "DROP_ALL", "ALLOW_ALL"),
				      roll(w, 2) ? "" : ", 'serviceDiscovery': {'ipPreference': 'IPv4_ONLY'}");
			break;
		}
		__attribute__((fallthrough));
	case 8:
		buffer_add(b, ", 'virtualGatewayName': 'g', 'spec': {");
		print_listeners(w, false, b);
		buffer_add(b, "}");
		break;
	case 9:
		buffer_printf(b, ", 'virtualGatewayName': 'g', 'gatewayRouteName': '%s', 'spec': {'httpRoute': {'match': {'prefix': '%s'}, 'action': {"
				 "'target': {'virtualService': {'virtualServiceName': '%s'}, 'port': 80}}}}",
			      ONE_OF(w, "t1", "t2", "t3"), ONE_OF(w, "/", "/a/"), ONE_OF(w, SERVICES));
		break;
	case 1:
	case 2:
		buffer_printf(b, ", 'virtualNodeName': '%s', 'spec': {", ONE_OF(w, NODES));
		print_node_spec(w, b);
		buffer_add(b, "}");
		break;
	case 3:
	case 4:
		buffer_printf(b, ", 'virtualServiceName': '%s', 'tags': [{'key': 'weft/l4-http', 'value': '%s'}], 'spec': {", ONE_OF(w, SERVICES),
			      ONE_OF(w, "false", "true", "false"));
		if (roll(w, 5))
			buffer_printf(b, "'provider': {%s%s'}}", roll(w, 2) ? "'virtualNode': {'virtualNodeName': '" : "'virtualRouter': {'virtualRouterName': '",
				      ONE_OF(w, "n1", "n2", "r1", "r2"));
		buffer_add(b, "}");
		break;
	case 5:
		buffer_printf(b, ", 'virtualRouterName': '%s', 'spec': {", ONE_OF(w, "r1", "r2"));
		print_listeners(w, false, b);
		buffer_add(b, "}");
		break;
	default:
		buffer_printf(b, ", 'virtualRouterName': '%s', 'routeName': '%s', 'spec': {%s'%s'action': {'weightedTargets': [",
			      ONE_OF(w, "r1", "r2"), ONE_OF(w, "t1", "t2"), roll(w, 2) ? "" : "'priority': 3, ",
			      ONE_OF(w, "tcpRoute': {", "httpRoute': {'match': {'prefix': '/'}, ", "httpRoute': {'match': {'prefix': '/a'}, "));
		for (uint32_t i = 0, count = 1 + roll(w, 3); i < count; i++)
			buffer_printf(b, "%s{'virtualNode': '%s', 'weight': %u, 'port': %u}", i ? ", " : "", ONE_OF(w, NODES), roll(w, 4), ONE_OF(w, "", "x")[0] ? 80 : 8080);
		buffer_add(b, "]}}}");
	}
	buffer_add(b, "}");
}

static void on_change(const struct resource *before, const struct resource *now, void *arg)
{
	struct changing *w = arg;

	compiler_resource_changed(w->compiler, &w->f.resources, before, now);
}

static int collect(const struct resource *resource, void *arg)
{
	const char ***next = arg;

	*(*next)++ = resource->full_name;
	return 0;
}

static void change_resources(struct changing *w)
{
	struct error err = {};

	for (uint32_t i = 0, count = 1 + roll(w, 2); i < count; i++) {
		_cleanup_(buffer_done) struct buffer b = {};
		struct resource *resource;
		json_t *document;

		if (w->f.resources.count && roll(w, 6) == 0) {
			const char **names = calloc(w->f.resources.count + 1, sizeof(*names)), **next = names;

			EXPECT_OK(resources_each(&w->f.resources, collect, &next));
			EXPECT_OK(resources_remove(&w->f.resources, names[roll(w, (uint32_t)w->f.resources.count)]));
			free(names);
			continue;
		}
		print_document(w, &b);
		document = parse_quoted((char *)buffer_string(&b));
		if (resource_new(document, NULL, NULL, &resource, &err) == 0) { /* not all that chance makes is valid */
			EXPECT_OK(resources_put(&w->f.resources, resource));
			resource_unref(resource);
			w->documents++;
		}
		json_decref(document);
	}
	if (resources_check(&w->f.resources, &err) < 0) {
		w->refused++;
		resources_rollback(&w->f.resources);
	} else {
		resources_commit(&w->f.resources, on_change, w);
	}
}

static void change_instances(struct changing *w)
{
	const char *service = ONE_OF(w, NODES), *id = ONE_OF(w, "a", "b", "c");
	char attributes[160];

	if (roll(w, 3) == 0) {
		registry_remove(w->f.registry, "ns", service, id, NULL);
	} else {
		if (roll(w, 3))
			snprintf(attributes, sizeof(attributes), "{'AWS_INSTANCE_IPV4': '10.0.0.%u'%s}", 1 + roll(w, 5), roll(w, 2) ? "" : ", 'AWS_INSTANCE_PORT': '99'");
		else
			snprintf(attributes, sizeof(attributes), "{'AWS_INSTANCE_IPV6': 'fd00::%u'}", 1 + roll(w, 5));
		given_instance(&w->f, service, id, attributes, 0, ONE_OF(w, "", "z1", "z2"));
	}
	compiler_instances_changed(w->compiler, "ns", service);
}

static void change_callers(struct changing *w)
{
	w->node_count = 1 + roll(w, 3);
	for (size_t i = 0; i < w->node_count; i++)
		w->nodes[i] = ONE_OF(w, "mesh/M/virtualNode/n1", "mesh/M/virtualNode/n2", "mesh/N/virtualNode/n1", "mesh/M/virtualNode/none", "mesh/M/virtualGateway/g");
	w->exposed_count = roll(w, 3);
	for (size_t i = 0; i < w->exposed_count; i++)
		w->exposed[i] = ONE_OF(w, "mesh/M/virtualService/s1.x", "mesh/N/virtualService/s2.x");
	compiler_callers_changed(w->compiler);
}

/* Namespace n, of the nth node that calls, has 10.0.0.n. */
static bool owns(uint64_t netns_cookie, const struct ip *address, void *arg)
{
	(void)arg;
	return ip_is_v4(address) && ntohl(address->words[3]) == 0x0a000000 + netns_cookie;
}

static struct plan *compile_with(struct changing *w, struct compiler *compiler)
{
	static const char *const audited[] = { "N" };
	struct compile_place places[ARRAY_SIZE(w->nodes)];
	struct plan *plan = NULL;
	struct error err = {};

	for (size_t i = 0; i < w->node_count; i++)
		places[i] = (struct compile_place){ w->nodes[i], i + 1, i % 2 == 0 };
	EXPECT_OK(compile(compiler,
			  &(struct compile_input){
				  .resources = &w->f.resources,
				  .registry = w->f.registry,
				  .vips = w->f.vips,
				  .mesh_owner = "123456789012",
				  .nodes = w->nodes,
				  .node_count = w->node_count,
				  .places = places,
				  .place_count = w->node_count,
				  .owns = owns,
				  .proxy = true,
				  .exposed = w->exposed,
				  .exposed_count = w->exposed_count,
				  .audit_meshes = audited,
				  .audit_count = 1,
				  .zone = "z1",
				  .panic_pct = 50,
			  },
			  &plan, &err),
		  &err);
	return plan;
}

static void expect_same(struct changing *w, size_t step)
{
	_cleanup_(buffer_done) struct buffer changed = {}, anew = {};
	struct compiler *fresh;
	struct plan *plan;

	EXPECT_OK(compiler_new(&fresh));
	plan = compile_with(w, fresh);
	print_plan(w->plan, &changed);
	print_plan(plan, &anew);
	if (strcmp(buffer_string(&changed), buffer_string(&anew)) != 0)
		fail_msg("step %zu: told of changes:%s\n\nanew:%s\n", step, buffer_string(&changed), buffer_string(&anew));
	plan_free(plan);
	compiler_free(fresh);
}

/* Returns how many plans that made. */
static size_t live(uint64_t seed, size_t steps)
{
	struct changing w = { .random = seed };

	fixture_init(&w.f);
	EXPECT_OK(compiler_new(&w.compiler));
	given_mesh(&w.f, "M", "DROP_ALL");
	given_mesh(&w.f, "N", "ALLOW_ALL");
	given_node(&w.f, "n1", LISTENER(80, "tcp"), "");
	resources_commit(&w.f.resources, on_change, &w);
	w.nodes[w.node_count++] = "mesh/M/virtualNode/n1";
	for (size_t step = 0; step < steps; step++) {
		struct plan *plan;
		const uint32_t what = roll(&w, 10);

		if (what < 7)
			change_resources(&w);
		else if (what < 9)
			change_instances(&w);
		else
			change_callers(&w);
		if (roll(&w, 4) == 0)
			continue; /* several changes at once */
		plan = compile_with(&w, w.compiler);
		if (plan) {
			/* as apply does: the plan before may live on for a while, or go first */
			plan_free(w.plan);
			w.plan = plan;
			w.plans++;
		}
		expect_same(&w, step);
	}
	EXPECT(w.refused > 0 && w.documents > steps / 3);
	plan_free(w.plan);
	compiler_free(w.compiler);
	fixture_done(&w.f);
	return w.plans;
}

TEST(told_of_changes_a_compiler_plans_what_a_new_one_would)
{
	size_t plans = 0;

	for (uint64_t seed = 1; seed <= 20; seed++)
		plans += live(seed, 250);
	EXPECT(plans > 500);
	EXPECT(l7_ports > 300 && gateways > 300);
	EXPECT(proxied_listeners > 300);
}

TEST(what_changes_nothing_makes_no_plan)
{
	struct changing w = { .random = 7, .nodes = { WEB }, .node_count = 1 };

	fixture_init(&w.f);
	EXPECT_OK(compiler_new(&w.compiler));
	given_mesh(&w.f, "M", "DROP_ALL");
	given_caller(&w.f, "web", BACKEND("s"), "");
	given_service(&w.f, "s", BY_NODE("n"));
	given_node(&w.f, "n", LISTENER(80, "tcp"), "");
	resources_commit(&w.f.resources, NULL, NULL);
	w.plan = compile_with(&w, w.compiler);
	EXPECT(w.plan != NULL);
	EXPECT(!compile_with(&w, w.compiler));
	compiler_instances_changed(w.compiler, "ns", "n");
	compiler_callers_changed(w.compiler);
	compiler_resource_changed(w.compiler, &w.f.resources, NULL, resources_get(&w.f.resources, "mesh/M/virtualNode/n"));
	EXPECT(!compile_with(&w, w.compiler));
	compiler_refused(w.compiler);
	plan_free(w.plan);
	w.plan = compile_with(&w, w.compiler);
	EXPECT(w.plan != NULL);
	plan_free(w.plan);
	compiler_free(w.compiler);
	fixture_done(&w.f);
}

/* A plan that is in force while a newer one came and went still has all it had. */
TEST(plans_of_one_line_are_freed_in_any_order)
{
	struct changing w = { .random = 7, .nodes = { WEB }, .node_count = 1 };
	struct plan *plans[4];

	for (size_t order = 0; order < 4; order++) {
		fixture_init(&w.f);
		EXPECT_OK(compiler_new(&w.compiler));
		given_mesh(&w.f, "M", "DROP_ALL");
		given_caller(&w.f, "web", BACKEND("s"), "");
		given_service(&w.f, "s", BY_NODE("n"));
		given_node(&w.f, "n", LISTENER(80, "tcp"), "");
		resources_commit(&w.f.resources, NULL, NULL);
		for (size_t i = 0; i < 4; i++) {
			given_instance(&w.f, "n", (const char *const[]){ "a", "b", "c", "d" }[i], "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", 0, NULL);
			given_instance(&w.f, "n", "e", (const char *const[]){ "{'AWS_INSTANCE_IPV4': '10.0.0.2'}", "{'AWS_INSTANCE_IPV4': '10.0.0.3'}" }[i % 2], 0, NULL);
			compiler_instances_changed(w.compiler, "ns", "n");
			plans[i] = compile_with(&w, w.compiler);
			EXPECT(plans[i] != NULL);
		}
		for (size_t i = 0; i < 4; i++) {
			struct plan *last = plans[(order + i * 3) % 4];

			EXPECT_STR(target(last, "n:80")->name, "mesh/M/virtualNode/n:80");
			EXPECT_EQ(target(last, "n:80")->endpoint_count, 2);
			plan_free(last);
		}
		compiler_free(w.compiler);
		fixture_done(&w.f);
	}
}

/* Apply looks at objects that are others than before, and no object says the names of those that it leads to. */
TEST(a_service_in_place_of_another_one_makes_its_callers_other_ones)
{
	struct changing w = { .random = 7, .nodes = { WEB }, .node_count = 1 };
	struct plan *before;

	fixture_init(&w.f);
	EXPECT_OK(compiler_new(&w.compiler));
	given_mesh(&w.f, "M", "DROP_ALL");
	given_caller(&w.f, "web", BACKEND("a") ", " BACKEND("b"), "");
	given_service(&w.f, "a", BY_NODE("n"));
	given_node(&w.f, "n", LISTENER(80, "tcp"), "");
	resources_commit(&w.f.resources, NULL, NULL);
	before = compile_with(&w, w.compiler);
	EXPECT_OK(resources_remove(&w.f.resources, "mesh/M/virtualService/a"));
	given_service(&w.f, "b", BY_NODE("n"));
	resources_commit(&w.f.resources, on_change, &w);
	w.plan = compile_with(&w, w.compiler);
	expect_backends(before, node(before, WEB), "a");
	expect_backends(w.plan, node(w.plan, WEB), "b");
	EXPECT(node(w.plan, WEB) != node(before, WEB));
	plan_free(before);
	plan_free(w.plan);
	compiler_free(w.compiler);
	fixture_done(&w.f);
}

/* Whose full name has "/route/" in it twice. */
TEST(a_route_of_a_router_named_route_changes_its_services)
{
	struct changing w = { .random = 7, .nodes = { WEB }, .node_count = 1 };
	struct plan *before;

	fixture_init(&w.f);
	EXPECT_OK(compiler_new(&w.compiler));
	given_mesh(&w.f, "M", "DROP_ALL");
	given_caller(&w.f, "web", BACKEND("s"), "");
	given_service(&w.f, "s", BY_ROUTER("route"));
	given_router(&w.f, "route", LISTENER(80, "tcp"));
	given_node(&w.f, "n", LISTENER(80, "tcp"), "");
	resources_commit(&w.f.resources, NULL, NULL);
	before = compile_with(&w, w.compiler);
	EXPECT_EQ(service(before, "s")->ports[0].closed, REASON_NO_ROUTE);
	given_route(&w.f, "route", "t", TCP_ROUTE(TARGET("n", 1)));
	resources_commit(&w.f.resources, on_change, &w);
	w.plan = compile_with(&w, w.compiler);
	EXPECT(w.plan != NULL);
	expect_targets(w.plan, &service(w.plan, "s")->ports[0], "n:80=1");
	plan_free(before);
	plan_free(w.plan);
	compiler_free(w.compiler);
	fixture_done(&w.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_of_changes_a_compiler_plans_what_a_new_one_would),
		cmocka_unit_test(what_changes_nothing_makes_no_plan),
		cmocka_unit_test(plans_of_one_line_are_freed_in_any_order),
		cmocka_unit_test(a_route_of_a_router_named_route_changes_its_services),
		cmocka_unit_test(a_service_in_place_of_another_one_makes_its_callers_other_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
