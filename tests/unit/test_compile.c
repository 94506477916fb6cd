/* SPDX-License-Identifier: Apache-2.0 */
/* compile(): nodes, services, ports, routes, TLS, limits. */
#include "tests/unit/compile_world.h"

#include <arpa/inet.h>
#include <errno.h>

/* --- which nodes and services -------------------------------------------------------------------------------------------- */

TEST(under_drop_all_every_service_of_the_mesh_is_planned_and_only_backends_are_allowed)
{
	static const char *const meshes[] = { "{'meshName': 'M', 'spec': {'egressFilter': {'type': 'DROP_ALL'}}}",
					      "{'meshName': 'M', 'spec': {}}", "{'meshName': 'M'}" };

	for (size_t i = 0; i < ARRAY_SIZE(meshes); i++) {
		FIXTURE(f);

		given(&f, "%s", meshes[i]);
		given_caller(&f, "web", BACKEND("b"), "");
		given_service(&f, "c", "");
		given_service(&f, "a", "");
		given_service(&f, "b", "");
		const struct plan *plan = compiled(&f);
		expect_services(plan, "a b c");
		expect_backends(plan, plan->nodes[0], "b");
		EXPECT_EQ(plan->nodes[0]->flags, NODE_DROP_ALL);
	}
}

TEST(under_allow_all_only_backends_are_planned)
{
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_caller(&f, "web", BACKEND("c") ", " BACKEND("a"), "");
	given_service(&f, "a", "");
	given_service(&f, "b", "");
	given_service(&f, "c", "");
	const struct plan *plan = compiled(&f);
	expect_services(plan, "a c");
	expect_backends(plan, plan->nodes[0], "a c");
	EXPECT_EQ(plan->nodes[0]->flags, 0);
}

TEST(in_audit_mode_every_other_service_of_the_mesh_is_an_audited_backend)
{
	static const char *const audit[] = { "M" };
	static const struct compile_input input = { .audit_meshes = audit, .audit_count = 1 };
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_caller(&f, "web", BACKEND("b"), "");
	given_service(&f, "a", "");
	given_service(&f, "b", "");
	given_service(&f, "c", "");
	const struct plan *plan = compiled_with(&f, &input);
	expect_backends(plan, plan->nodes[0], "a? b c?");
	EXPECT_EQ(plan->nodes[0]->flags, NODE_AUDIT);
}

TEST(meshes_are_apart)
{
	static const char *const nodes[] = { WEB, "mesh/N/virtualNode/web" };
	static const char *const audit[] = { "N" };
	static const struct compile_input input = { .nodes = nodes, .node_count = 2, .audit_meshes = audit, .audit_count = 1 };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_mesh(&f, "N", "ALLOW_ALL");
	given_mesh(&f, "O", "DROP_ALL"); /* nobody's here */
	given_caller(&f, "web", BACKEND("arn:aws:appmesh:eu-west-1:123456789012:mesh/N/virtualService/n"), "");
	given(&f, "{'meshName': 'N', 'virtualNodeName': 'web', 'spec': {}}");
	given_service(&f, "m", "");
	given(&f, "{'meshName': 'N', 'virtualServiceName': 'n', 'spec': {}}");
	given(&f, "{'meshName': 'O', 'virtualServiceName': 'o', 'spec': {}}");
	const struct plan *plan = compiled_with(&f, &input);
	expect_services(plan, "m n");
	expect_backends(plan, plan->nodes[0], "");
	expect_backends(plan, plan->nodes[1], "n?");
	EXPECT_EQ(plan->nodes[0]->flags, NODE_DROP_ALL);
	EXPECT_EQ(plan->nodes[1]->flags, NODE_AUDIT);
}

TEST(exposed_services_are_the_backends_of_a_node_that_is_no_resource_and_has_no_names)
{
	static const char *const nodes[] = { WEB };
	static const char *const exposed[] = { "mesh/M/virtualService/b", "mesh/M/virtualService/none", "mesh/N/virtualService/n", WEB };
	static const struct compile_input input = {
		.nodes = nodes, .node_count = 1, .exposed = exposed, .exposed_count = ARRAY_SIZE(exposed),
	};
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_mesh(&f, "N", "DROP_ALL");
	given_caller(&f, "web", BACKEND("a"), "");
	given_service(&f, "a", "");
	given_service(&f, "b", "");
	given_service(&f, "c", "");
	given(&f, "{'meshName': 'N', 'virtualServiceName': 'n', 'spec': {}}");
	given(&f, "{'meshName': 'N', 'virtualServiceName': 'o', 'spec': {}}"); /* nobody here would be refused it */
	const struct plan *plan = compiled_with(&f, &input);
	expect_services(plan, "a b n");
	EXPECT_EQ(plan->node_count, 3);
	expect_backends(plan, node(plan, "mesh/M/exposed"), "b");
	EXPECT_EQ(node(plan, "mesh/M/exposed")->flags, 0);
	expect_backends(plan, node(plan, WEB), "a");
	expect_backends(plan, node(plan, "mesh/N/exposed"), "n");
	EXPECT_EQ(plan->scope_count, 1);
	EXPECT_STR(plan->scopes[0]->name, WEB);
}

TEST(nodes_are_planned_once_and_unknown_ones_not_at_all)
{
	static const char *const nodes[] = { WEB, "mesh/M/virtualNode/api", WEB, "mesh/M/virtualNode/none",
					     "mesh/N/virtualNode/of-no-mesh", "mesh/M", "nonsense" };
	static const struct compile_input input = { .nodes = nodes, .node_count = ARRAY_SIZE(nodes) };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_caller(&f, "api", "", "");
	given(&f, "{'meshName': 'N', 'virtualNodeName': 'of-no-mesh', 'spec': {}}");
	const struct plan *plan = compiled_with(&f, &input);
	EXPECT_EQ(plan->node_count, 2);
	node(plan, "mesh/M/virtualNode/api");
	node(plan, WEB);
}

TEST(backends_go_by_name_or_arn_and_those_that_name_nothing_are_left_out)
{
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_caller(&f, "web",
		     BACKEND("arn:aws:appmesh:eu-west-1:123456789012:mesh/M/virtualService/a.local") ", " BACKEND("none") ", " BACKEND("b"),
		     "");
	given_service(&f, "a.local", "");
	given_service(&f, "b", "");
	const struct plan *plan = compiled(&f);
	expect_backends(plan, plan->nodes[0], "a.local b");
}

TEST(without_local_nodes_the_plan_is_empty)
{
	static const char *const none[] = { "" };
	static const struct compile_input input = { .nodes = none };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_service(&f, "a", "");
	const struct plan *plan = compiled_with(&f, &input);
	EXPECT_EQ(plan->node_count + plan->service_count + plan->target_count, 0);
}

/* --- ports and routes ---------------------------------------------------------------------------------------------------- */

TEST(a_node_as_provider_gives_its_listeners_in_order_of_port)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_NODE("n"));
	given_node(&f, "n", LISTENER(9000, "tcp") ", " LISTENER(8080, "http") ", " LISTENER(8081, "grpc"), "");
	const struct plan *plan = compiled(&f);
	const struct plan_service *s = service(plan, "s");
	EXPECT_EQ(s->port_count, 3);
	EXPECT_EQ(s->no_port, 0);
	EXPECT_EQ(s->ports[0].port, 8080);
	EXPECT_EQ(s->ports[0].flags, ROUTE_L7_AS_L4);
	EXPECT_EQ(s->ports[1].port, 8081);
	EXPECT_EQ(s->ports[1].flags, ROUTE_L7_AS_L4);
	EXPECT_EQ(s->ports[2].port, 9000);
	EXPECT_EQ(s->ports[2].flags, 0);
	expect_targets(plan, &s->ports[0], "n:8080=100");
	expect_targets(plan, &s->ports[2], "n:9000=100");
	EXPECT_STR(s->ports[0].route, NULL);
}

TEST(a_route_gives_its_weights_and_its_name)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "http"));
	given_route(&f, "r", "t",
		    HTTP_ROUTE("'prefix': '/'", TARGET("v2", 10) ", " TARGET("v1", 90) ", " TARGET("v3", 0)));
	given_node(&f, "v1", LISTENER(8080, "http"), "");
	given_node(&f, "v2", LISTENER(8080, "http"), "");
	given_node(&f, "v3", LISTENER(8080, "http"), "");
	const struct plan *plan = compiled(&f);
	const struct plan_service *s = service(plan, "s");
	EXPECT_EQ(s->port_count, 1);
	expect_targets(plan, &s->ports[0], "v2:8080=10 v1:8080=90 v3:8080=0");
	EXPECT_EQ(s->ports[0].flags, ROUTE_L7_AS_L4);
	EXPECT_EQ(s->ports[0].closed, 0);
	EXPECT_STR(s->ports[0].route, "mesh/M/virtualRouter/r/route/t");
	EXPECT_STR(s->ports[0].note, NULL);
	EXPECT_STR(target(plan, "v1:8080")->node, "mesh/M/virtualNode/v1");
}

TEST(a_weighted_target_means_its_port_else_the_only_listener)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "tcp"));
	given_route(&f, "r", "t", TCP_ROUTE(TARGET("one", 1) ", " TARGET_PORT("two", 2, 9001) ", " TARGET("gone", 3)));
	given_node(&f, "one", LISTENER(8080, "tcp"), "");
	given_node(&f, "two", LISTENER(9000, "tcp") ", " LISTENER(9001, "tcp"), "");
	const struct plan *plan = compiled(&f);
	expect_targets(plan, &service(plan, "s")->ports[0], "one:8080=1 two:9001=2 -=3");
	EXPECT_EQ(service(plan, "s")->ports[0].flags, 0);
	EXPECT_EQ(plan->target_count, 2);
}

TEST(a_target_node_without_listeners_is_no_target)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "tcp"));
	given_route(&f, "r", "t", TCP_ROUTE(TARGET("web", 1)));
	const struct plan *plan = compiled(&f);
	expect_targets(plan, &service(plan, "s")->ports[0], "-=1");
}

TEST(each_listener_of_a_router_has_the_routes_that_bind_to_its_port)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(443, "tcp") ", " LISTENER(80, "http") ", " LISTENER(81, "http"));
	given_router(&f, "r-2", LISTENER(80, "http"));
	given_route(&f, "r", "a", "'tcpRoute': {'match': {'port': 443}, " ACTION(TARGET("v1", 1)) "}");
	given_route(&f, "r", "b", HTTP_ROUTE("'port': 80, 'prefix': '/'", TARGET("v2", 1)));
	given_route(&f, "r-2", "a", HTTP_ROUTE("'prefix': '/'", TARGET("v2", 7)));
	given_node(&f, "v1", LISTENER(8080, "tcp"), "");
	given_node(&f, "v2", LISTENER(8080, "http"), "");
	const struct plan *plan = compiled(&f);
	const struct plan_service *s = service(plan, "s");
	EXPECT_EQ(s->port_count, 3);
	expect_targets(plan, &s->ports[0], "v2:8080=1");
	EXPECT_EQ(s->ports[1].port, 81);
	EXPECT_EQ(s->ports[1].closed, REASON_NO_ROUTE);
	EXPECT_STR(s->ports[1].route, NULL);
	EXPECT_CONTAINS(s->ports[1].note, "81");
	expect_targets(plan, &s->ports[1], "");
	expect_targets(plan, &s->ports[2], "v1:8080=1");
}

TEST(a_service_without_a_provider_refuses_every_port_so)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "none", "");
	given_service(&f, "no-node", BY_NODE("gone"));
	given_service(&f, "no-router", BY_ROUTER("gone"));
	given_service(&f, "silent", BY_NODE("web"));
	const struct plan *plan = compiled(&f);
	static const char *const names[] = { "none", "no-node", "no-router" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(service(plan, names[i])->no_port, REASON_NO_PROVIDER);
		EXPECT_EQ(service(plan, names[i])->port_count, 0);
	}
	EXPECT_EQ(service(plan, "silent")->no_port, 0);
	EXPECT_EQ(service(plan, "silent")->port_count, 0);
}

TEST(only_a_port_whose_first_route_looks_at_nothing_goes_without_a_proxy)
{
	static const struct {
		const char *protocol, *spec, *note; /* NULL: balanced by weights */
	} rows[] = {
		{ "http", HTTP_ROUTE("'prefix': '/'", TARGET("n", 1)), NULL },
		{ "http", HTTP_ROUTE("'prefix': '/', 'port': 80", TARGET("n", 1)), NULL },
		{ "http",
		  "'httpRoute': {'match': {'prefix': '/'}, " ACTION(
			  TARGET("n", 1)) ", 'timeout': {'perRequest': {'unit': 's', 'value': 1}}, 'retryPolicy': {'maxRetries': 1, "
					  "'perRetryTimeout': {'unit': 's', 'value': 1}, 'httpRetryEvents': ['server-error']}}",
		  NULL },
		{ "http", HTTP_ROUTE("'prefix': '/api'", TARGET("n", 1)), "route t: match.prefix" },
		{ "http", HTTP_ROUTE("'path': {'exact': '/'}", TARGET("n", 1)), "route t: match.path" },
		{ "http", HTTP_ROUTE("'prefix': '/', 'headers': [{'name': 'x'}]", TARGET("n", 1)), "route t: match.headers" },
		{ "http", HTTP_ROUTE("'prefix': '/', 'method': 'GET'", TARGET("n", 1)), "route t: match.method" },
		{ "http", HTTP_ROUTE("'prefix': '/', 'scheme': 'http'", TARGET("n", 1)), "route t: match.scheme" },
		{ "http", HTTP_ROUTE("'prefix': '/', 'queryParameters': [{'name': 'q'}]", TARGET("n", 1)),
		  "route t: match.queryParameters" },
		{ "http2", "'http2Route': {'match': {'prefix': '/'}, " ACTION(TARGET("n", 1)) "}", NULL },
		{ "http2", "'http2Route': {'match': {'prefix': '/', 'method': 'PUT'}, " ACTION(TARGET("n", 1)) "}",
		  "route t: match.method" },
		{ "grpc", "'grpcRoute': {'match': {}, " ACTION(TARGET("n", 1)) "}", NULL },
		{ "grpc", "'grpcRoute': {'match': {'port': 80}, " ACTION(TARGET("n", 1)) "}", NULL },
		{ "grpc", "'grpcRoute': {'match': {'serviceName': 's'}, " ACTION(TARGET("n", 1)) "}", "route t: match.serviceName" },
		{ "grpc", "'grpcRoute': {'match': {'metadata': [{'name': 'm'}]}, " ACTION(TARGET("n", 1)) "}",
		  "route t: match.metadata" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *listener = NULL;
		FIXTURE(f);

		EXPECT_OK(asprintf(&listener, "{'portMapping': {'port': 80, 'protocol': '%s'}}", rows[i].protocol));
		given_mesh(&f, "M", "DROP_ALL");
		given_caller(&f, "web", "", "");
		given_service(&f, "s", BY_ROUTER("r"));
		given_router(&f, "r", listener);
		given_route(&f, "r", "t", rows[i].spec);
		given_node(&f, "n", listener, "");
		const struct plan *plan = compiled(&f);
		const struct plan_port *port = &service(plan, "s")->ports[0];
		EXPECT_STR(port->note, rows[i].note);
		EXPECT_EQ(port->closed, rows[i].note ? REASON_NEEDS_PROXY : 0);
		EXPECT_EQ(port->flags, rows[i].note ? 0 : ROUTE_L7_AS_L4);
		expect_targets(plan, port, rows[i].note ? "" : "n:80=1");
		EXPECT_STR(port->route, "mesh/M/virtualRouter/r/route/t");
	}
}

TEST(routes_are_tried_by_priority_then_length_then_name)
{
	static const struct {
		const char *a, *b; /* specs of the routes "a" and "b" */
		const char *first;
	} rows[] = {
		{ TCP_ROUTE(TARGET("n", 1)), TCP_ROUTE(TARGET("n", 1)), "a" },
		{ TCP_ROUTE(TARGET("n", 1)), "'priority': 1000, " TCP_ROUTE(TARGET("n", 1)), "b" },
		{ "'priority': 1, " TCP_ROUTE(TARGET("n", 1)), "'priority': 0, " TCP_ROUTE(TARGET("n", 1)), "b" },
		{ HTTP_ROUTE("'prefix': '/'", TARGET("n", 1)), HTTP_ROUTE("'prefix': '/b'", TARGET("n", 1)), "b" },
		{ HTTP_ROUTE("'prefix': '/a'", TARGET("n", 1)), HTTP_ROUTE("'path': {'exact': '/bb'}", TARGET("n", 1)), "b" },
		{ HTTP_ROUTE("'prefix': '/a'", TARGET("n", 1)), HTTP_ROUTE("'path': {'regex': '/b*'}", TARGET("n", 1)), "b" },
		{ "'priority': 5, " HTTP_ROUTE("'prefix': '/'", TARGET("n", 1)),
		  "'priority': 6, " HTTP_ROUTE("'prefix': '/b'", TARGET("n", 1)), "a" },
		{ "'grpcRoute': {'match': {'serviceName': 's'}, " ACTION(TARGET("n", 1)) "}",
		  "'grpcRoute': {'match': {'serviceName': 's', 'methodName': 'm'}, " ACTION(TARGET("n", 1)) "}", "b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *protocol = strstr(rows[i].a, "tcpRoute") ? "tcp" : strstr(rows[i].a, "grpcRoute") ? "grpc" : "http";
		_cleanup_free_ char *listener = NULL;
		FIXTURE(f);

		EXPECT_OK(asprintf(&listener, "{'portMapping': {'port': 80, 'protocol': '%s'}}", protocol));
		given_mesh(&f, "M", "DROP_ALL");
		given_caller(&f, "web", "", "");
		given_service(&f, "s", BY_ROUTER("r"));
		given_router(&f, "r", listener);
		given_route(&f, "r", "a", rows[i].a);
		given_route(&f, "r", "b", rows[i].b);
		given_node(&f, "n", listener, "");
		const struct plan *plan = compiled(&f);
		EXPECT_STR(strrchr(service(plan, "s")->ports[0].route, '/') + 1, rows[i].first);
	}
}

TEST(routes_behind_one_that_matches_everything_are_noted)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "http"));
	given_route(&f, "r", "all", "'priority': 1, " HTTP_ROUTE("'prefix': '/'", TARGET("n", 1)));
	given_route(&f, "r", "beta", "'priority': 2, " HTTP_ROUTE("'prefix': '/beta'", TARGET("n", 2)));
	given_node(&f, "n", LISTENER(80, "http"), "");
	const struct plan_port *port = &service(compiled(&f), "s")->ports[0];
	EXPECT_EQ(port->closed, 0);
	EXPECT_EQ(port->flags, ROUTE_L7_AS_L4);
	EXPECT_STR(port->note, "route beta never matches: route all comes first and matches everything");

	given_route(&f, "r", "gamma", HTTP_ROUTE("'prefix': '/gamma'", TARGET("n", 2)));
	port = &service(compiled(&f), "s")->ports[0];
	EXPECT_STR(port->note, "route beta and 1 more never match: route all comes first and matches everything");
	expect_targets(f.plan, port, "n:80=1");
}

/* --- TLS ----------------------------------------------------------------------------------------------------------------- */

TEST(a_target_needs_tls_where_its_listener_accepts_nothing_else)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_NODE("n"));
	given_node(&f, "n",
		   TLS_LISTENER(1, "http", "STRICT") ", " TLS_LISTENER(2, "http", "PERMISSIVE") ", " TLS_LISTENER(
			   3, "tcp", "DISABLED") ", " LISTENER(4, "tcp") ", " LISTENER(5, "https"),
		   "");
	const struct plan *plan = compiled_with(&f, &(struct compile_input){ .panic_pct = 50 });
	static const uint32_t flags[] = { TARGET_NEEDS_TLS, 0, 0, 0, TARGET_NEEDS_TLS };
	for (unsigned port = 1; port <= ARRAY_SIZE(flags); port++) {
		char name[8];

		snprintf(name, sizeof(name), "n:%u", port);
		EXPECT_EQ(target(plan, name)->flags, flags[port - 1]);
		EXPECT_EQ(target(plan, name)->panic_pct, 50);
	}
	EXPECT_EQ(service(plan, "s")->ports[4].flags, ROUTE_L7_AS_L4);
}

#define VALIDATION "'validation': {'trust': {'file': {'certificateChain': '/ca'}}}"
#define POLICY(members) "'clientPolicy': {'tls': {" members VALIDATION "}}"

TEST(a_client_policy_that_enforces_tls_marks_the_ports_it_covers)
{
	static const struct {
		const char *backend, *defaults; /* members with clientPolicy, or "" */
		uint32_t tls_ports; /* the service has 80 -> 8080 and 443 -> 8443 */
	} rows[] = {
		{ "", "", 0 },
		{ POLICY(""), "", 3 },
		{ "", POLICY(""), 3 },
		{ POLICY("'enforce': true, "), "", 3 },
		{ POLICY("'enforce': false, "), "", 0 },
		{ POLICY("'enforce': false, "), POLICY(""), 0 },
		{ POLICY("'ports': [], "), "", 3 },
		{ POLICY("'ports': [443], "), "", 2 },
		{ POLICY("'ports': [8080], "), "", 1 },
		{ POLICY("'ports': [8443, 80], "), "", 3 },
		{ POLICY("'ports': [1], "), "", 0 },
		{ POLICY("'ports': [80], "), POLICY("'ports': [443], "), 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		FIXTURE(f);

		given_mesh(&f, "M", "DROP_ALL");
		given(&f,
		      "{'meshName': 'M', 'virtualNodeName': 'web', 'spec': {'backendDefaults': {%s}, 'backends': [{'virtualService': "
		      "{'virtualServiceName': 's'%s%s}}]}}",
		      rows[i].defaults, *rows[i].backend ? ", " : "", rows[i].backend);
		given_service(&f, "s", BY_ROUTER("r"));
		given_router(&f, "r", LISTENER(443, "tcp") ", " LISTENER(80, "tcp"));
		given_route(&f, "r", "a", "'tcpRoute': {'match': {'port': 80}, " ACTION(TARGET_PORT("n", 1, 8080)) "}");
		given_route(&f, "r", "b", "'tcpRoute': {'match': {'port': 443}, " ACTION(TARGET_PORT("n", 1, 8443)) "}");
		given_node(&f, "n", LISTENER(8080, "tcp") ", " LISTENER(8443, "tcp"), "");
		const struct plan *plan = compiled(&f);
		EXPECT_EQ(plan->nodes[0]->backends[0].tls_ports, rows[i].tls_ports);
	}
}

TEST(audited_services_come_under_the_default_client_policy)
{
	static const char *const audit[] = { "M" };
	static const struct compile_input input = { .audit_meshes = audit, .audit_count = 1 };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web",
		     "{'virtualService': {'virtualServiceName': 'a', " POLICY("'enforce': false, ") "}}",
		     ", 'backendDefaults': {" POLICY("") "}");
	given_service(&f, "a", BY_NODE("n"));
	given_service(&f, "b", BY_NODE("n"));
	given_node(&f, "n", LISTENER(8080, "tcp"), "");
	const struct plan *plan = compiled_with(&f, &input);
	expect_backends(plan, plan->nodes[0], "a b?");
	EXPECT_EQ(plan->nodes[0]->backends[0].tls_ports, 0);
	EXPECT_EQ(plan->nodes[0]->backends[1].tls_ports, 1);
}

/* --- limits, order, VIPs ------------------------------------------------------------------------------------------------- */

TEST(a_provider_with_too_many_listeners_is_named)
{
	for (int count = MAX_SERVICE_PORTS; count <= MAX_SERVICE_PORTS + 1; count++) {
		_cleanup_(buffer_done) struct buffer listeners = {};
		struct error err = {};
		FIXTURE(f);

		for (int i = 1; i <= count; i++)
			buffer_printf(&listeners, "%s{'portMapping': {'port': %d, 'protocol': 'tcp'}}", i > 1 ? ", " : "", i);
		given_one_target(&f, buffer_string(&listeners));
		if (count == MAX_SERVICE_PORTS) {
			EXPECT_EQ(service(compiled(&f), "s")->port_count, MAX_SERVICE_PORTS);
			continue;
		}
		EXPECT_EQ(try_compile(&f, NULL, &err), -E2BIG);
		EXPECT_CONTAINS(err.message, "mesh/M/virtualNode/n");
		EXPECT_CONTAINS(err.message, "mesh/M/virtualService/s");
	}
}

TEST(a_service_with_too_many_different_targets_is_named)
{
	for (int last = 4; last <= 5; last++) { /* six ports of ten targets, and one of four or five */
		struct error err = {};
		FIXTURE(f);

		given_mesh(&f, "M", "DROP_ALL");
		given_caller(&f, "web", "", "");
		given_service(&f, "s", BY_ROUTER("r"));
		given_wide_router(&f, "r", "tcp", 7, last);
		if (last == 4) {
			EXPECT_EQ(compiled(&f)->target_count, MAX_SERVICE_ROWS);
			continue;
		}
		EXPECT_EQ(try_compile(&f, NULL, &err), -E2BIG);
		EXPECT_CONTAINS(err.message, "mesh/M/virtualService/s");
	}
}

static void print_plan(const struct plan *plan, struct buffer *b)
{
	char text[IP_TEXT_BYTES];

	for (size_t i = 0; i < plan->service_count; i++) {
		const struct plan_service *s = plan->services[i];

		buffer_printf(b, "%s %s %u\n", s->name, ip_format(&s->vip4, text), s->no_port);
		for (size_t p = 0; p < s->port_count; p++) {
			buffer_printf(b, " %u %u %u %s\n", s->ports[p].port, s->ports[p].closed, s->ports[p].flags,
				      s->ports[p].route ? s->ports[p].route : "");
			for (size_t t = 0; t < s->ports[p].target_count; t++)
				buffer_printf(b, "  %u %u\n", s->ports[p].targets[t].target, s->ports[p].targets[t].weight);
		}
	}
	for (size_t i = 0; i < plan->target_count; i++) {
		buffer_printf(b, "%s\n", plan->targets[i]->name);
		for (size_t e = 0; e < plan->targets[i]->endpoint_count; e++)
			buffer_printf(b, " %s\n", ip_format(&plan->targets[i]->endpoints[e].address, text));
	}
	for (size_t i = 0; i < plan->node_count; i++) {
		buffer_printf(b, "%s %u\n", plan->nodes[i]->name, plan->nodes[i]->flags);
		for (size_t n = 0; n < plan->nodes[i]->backend_count; n++)
			buffer_printf(b, " %u\n", plan->nodes[i]->backends[n].service);
	}
}

static void given_part(struct fixture *f, int part)
{
	switch (part) {
	case 0:
		given_mesh(f, "M", "DROP_ALL");
		break;
	case 1:
		given_caller(f, "web", BACKEND("s") ", " BACKEND("a"), "");
		break;
	case 2:
		given_service(f, "s", BY_ROUTER("r"));
		given_service(f, "a", BY_NODE("v2"));
		break;
	case 3:
		given_router(f, "r", LISTENER(80, "tcp"));
		given_route(f, "r", "t", TCP_ROUTE(TARGET("v2", 1) ", " TARGET("v1", 2)));
		break;
	case 4:
		given_node(f, "v1", LISTENER(80, "tcp"), "");
		given_instance(f, "v1", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", 0, NULL);
		break;
	case 5:
		given_node(f, "v2", LISTENER(80, "tcp"), "");
		given_instance(f, "v1", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.2'}", 0, NULL);
		break;
	}
}

TEST(the_order_in_which_things_came_makes_no_difference)
{
	_cleanup_(buffer_done) struct buffer one = {}, other = {};
	FIXTURE(f);
	FIXTURE(g);

	for (int part = 0; part <= 5; part++) {
		given_part(&f, part);
		given_part(&g, 5 - part);
	}
	print_plan(compiled(&f), &one);
	print_plan(compiled(&g), &other);
	EXPECT(one.length > 200);
	EXPECT_STR(buffer_string(&one), buffer_string(&other));
}

TEST(every_planned_service_has_vips_that_are_let_go_when_it_leaves)
{
	FIXTURE(f);
	struct ip v4, v6;

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "a", "");
	given_service(&f, "b", "");
	const struct plan *plan = compiled_with(&f, &(struct compile_input){ .now_wall_ns = 5 });
	EXPECT(ip_is_v4(&plan->services[0]->vip4) && !ip_is_v4(&plan->services[0]->vip6));
	EXPECT(!ip_equal(&plan->services[0]->vip4, &plan->services[1]->vip4));
	EXPECT_OK(vips_get(f.vips, "123456789012", "M", "a", 5, &v4, &v6, NULL));
	EXPECT(ip_equal(&plan->services[0]->vip4, &v4) && ip_equal(&plan->services[0]->vip6, &v6));

	resources_done(&f.resources);
	resources_init(&f.resources);
	_cleanup_free_ void *value = NULL;
	size_t size;
	compiled_with(&f, &(struct compile_input){ .now_wall_ns = 6 });
	compiled_with(&f, &(struct compile_input){ .now_wall_ns = 7 });
	EXPECT_OK(state_get(f.state, "vips/123456789012/M/b", &value, &size, NULL));
	EXPECT_CONTAINS((char *)value, "\"inUse\":false,\"lastUseNs\":6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(under_drop_all_every_service_of_the_mesh_is_planned_and_only_backends_are_allowed),
		cmocka_unit_test(under_allow_all_only_backends_are_planned),
		cmocka_unit_test(in_audit_mode_every_other_service_of_the_mesh_is_an_audited_backend),
		cmocka_unit_test(meshes_are_apart),
		cmocka_unit_test(exposed_services_are_the_backends_of_a_node_that_is_no_resource_and_has_no_names),
		cmocka_unit_test(nodes_are_planned_once_and_unknown_ones_not_at_all),
		cmocka_unit_test(backends_go_by_name_or_arn_and_those_that_name_nothing_are_left_out),
		cmocka_unit_test(without_local_nodes_the_plan_is_empty),
		cmocka_unit_test(a_node_as_provider_gives_its_listeners_in_order_of_port),
		cmocka_unit_test(a_route_gives_its_weights_and_its_name),
		cmocka_unit_test(a_weighted_target_means_its_port_else_the_only_listener),
		cmocka_unit_test(a_target_node_without_listeners_is_no_target),
		cmocka_unit_test(each_listener_of_a_router_has_the_routes_that_bind_to_its_port),
		cmocka_unit_test(a_service_without_a_provider_refuses_every_port_so),
		cmocka_unit_test(only_a_port_whose_first_route_looks_at_nothing_goes_without_a_proxy),
		cmocka_unit_test(routes_are_tried_by_priority_then_length_then_name),
		cmocka_unit_test(routes_behind_one_that_matches_everything_are_noted),
		cmocka_unit_test(a_target_needs_tls_where_its_listener_accepts_nothing_else),
		cmocka_unit_test(a_client_policy_that_enforces_tls_marks_the_ports_it_covers),
		cmocka_unit_test(audited_services_come_under_the_default_client_policy),
		cmocka_unit_test(a_provider_with_too_many_listeners_is_named),
		cmocka_unit_test(a_service_with_too_many_different_targets_is_named),
		cmocka_unit_test(the_order_in_which_things_came_makes_no_difference),
		cmocka_unit_test(every_planned_service_has_vips_that_are_let_go_when_it_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
