/* SPDX-License-Identifier: Apache-2.0 */
/* compile(): workloads that act for a virtual gateway. */
#include "tests/unit/compile_world.h"

#include <errno.h>

#define GATEWAY "mesh/M/virtualGateway/g"
#define TO(service) "'action': {'target': {'virtualService': {'virtualServiceName': '" service "'}}}"

static const char *const nodes[] = { GATEWAY };
static const struct compile_input at_gateway = { .nodes = nodes, .node_count = 1 };

static void given_gateway(struct fixture *f, const char *listeners, const char *more)
{
	given(f, "{'meshName': 'M', 'virtualGatewayName': 'g', 'spec': {'listeners': [%s]%s}}", listeners, more);
}

static void given_gateway_route(struct fixture *f, const char *name, const char *spec)
{
	given(f, "{'meshName': 'M', 'virtualGatewayName': 'g', 'gatewayRouteName': '%s', 'spec': {%s}}", name, spec);
}

/* "route>service …", "-" for a service that does not exist. */
static void expect_routes(const struct plan *plan, const struct plan_node *gateway, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};

	EXPECT(gateway->gateway);
	for (size_t i = 0; i < gateway->route_count; i++) {
		const uint32_t service = gateway->routes[i].service;

		buffer_printf(&b, "%s%s>%s", i ? " " : "", gateway->routes[i].resource->name,
			      service == PLAN_NONE ? "-" : strrchr(plan->services[service]->name, '/') + 1);
	}
	EXPECT_STR(buffer_string(&b), expected);
}

TEST(what_a_gateways_routes_name_are_its_backends)
{
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_gateway(&f, LISTENER(8080, "http"), ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
	given_gateway_route(&f, "z", "'httpRoute': {'match': {'prefix': '/b'}, " TO("b") "}");
	given_gateway_route(&f, "a", "'httpRoute': {'match': {'prefix': '/a'}, " TO("a") "}");
	given_gateway_route(&f, "again", "'httpRoute': {'match': {'prefix': '/a2'}, " TO("a") "}");
	given_gateway_route(&f, "none", "'httpRoute': {'match': {'prefix': '/n'}, " TO("none") "}");
	given_gateway_route(&f, "later", "'http2Route': {'match': {'prefix': '/n'}, " TO("c") "}");
	given(&f, "{'meshName': 'M', 'virtualGatewayName': 'other', 'gatewayRouteName': 'a', 'spec': {%s}}",
	      "'httpRoute': {'match': {'prefix': '/'}, " TO("c") "}");
	given_l7_service(&f, "a", BY_NODE("n"));
	given_l7_service(&f, "b", BY_NODE("n"));
	given_l7_service(&f, "c", BY_NODE("n"));
	given_node(&f, "n", LISTENER(80, "http"), "");
	const struct plan *plan = compiled_with(&f, &at_gateway);
	const struct plan_node *gateway = node(plan, GATEWAY);
	expect_services(plan, "a b");
	expect_backends(plan, gateway, "a b");
	expect_routes(plan, gateway, "a>a again>a none>- z>b");
	EXPECT_STR(json_path_string(gateway->logging, "accessLog.file.path"), "/dev/stdout");
	EXPECT_EQ(gateway->flags, 0);
	EXPECT_STR(plan->scopes[0]->name, GATEWAY);
}

TEST(a_gateways_listeners_are_those_of_http_without_tls)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_gateway(&f,
		      "{'portMapping': {'port': 8080, 'protocol': 'http'}, 'connectionPool': {'http': {'maxConnections': 5}}}, " LISTENER(8081, "http2") ", " TLS_LISTENER(
			      8443, "http", "STRICT") ", " TLS_LISTENER(8082, "http", "PERMISSIVE"),
		      "");
	const struct plan_node *gateway = node(compiled_with(&f, &at_gateway), GATEWAY);
	EXPECT_EQ(gateway->listener_count, 2);
	EXPECT_EQ(gateway->listeners[0].port, 8080);
	EXPECT_EQ(json_path_int(gateway->listeners[0].pool, "http.maxConnections", 0), 5);
	EXPECT_EQ(gateway->listeners[1].port, 8082);
	EXPECT(!gateway->listeners[1].pool);
	EXPECT_EQ(gateway->flags, NODE_DROP_ALL);
	_cleanup_json_ json_t *pool = json_pack("{s:{s:i}}", "http", "maxConnections", 9);
	gateway = node(compiled_with(&f, &(struct compile_input){ .nodes = nodes, .node_count = 1, .default_pool = pool }), GATEWAY);
	EXPECT_EQ(json_path_int(gateway->listeners[0].pool, "http.maxConnections", 0), 5);
	EXPECT_EQ(json_path_int(gateway->listeners[1].pool, "http.maxConnections", 0), 9);
}

TEST(a_gateways_client_policy_covers_its_services)
{
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_gateway(&f, LISTENER(8080, "http"),
		      ", 'backendDefaults': {'clientPolicy': {'tls': {'validation': {'trust': {'file': {'certificateChain': '/ca'}}}}}}");
	given_gateway_route(&f, "a", "'httpRoute': {'match': {'prefix': '/'}, " TO("a") "}");
	given_l7_service(&f, "a", BY_NODE("n"));
	given_node(&f, "n", LISTENER(80, "http"), "");
	EXPECT_EQ(node(compiled_with(&f, &at_gateway), GATEWAY)->backends[0].tls_ports, 1);
}

/* --- changes ------------------------------------------------------------------------------------------------------------- */

TEST(a_gateway_follows_its_routes_and_their_services)
{
	struct compile_change w;

	change_init(&w, nodes);
	given_mesh(&w.f, "M", "ALLOW_ALL");
	given_node(&w.f, "n", LISTENER(80, "http"), "");
	given_l7_service(&w.f, "a", BY_NODE("n"));
	EXPECT_EQ(change_compile(&w)->node_count, 0); /* there is no such gateway yet */

	given_gateway(&w.f, LISTENER(8080, "http"), "");
	change_compile(&w);
	expect_routes(w.now, node(w.now, GATEWAY), "");

	given_gateway_route(&w.f, "t", "'httpRoute': {'match': {'prefix': '/'}, " TO("a") "}");
	change_compile(&w);
	expect_routes(w.now, node(w.now, GATEWAY), "t>a");
	expect_backends(w.now, node(w.now, GATEWAY), "a");

	change_remove(&w, "mesh/M/virtualService/a");
	change_compile(&w);
	expect_routes(w.now, node(w.now, GATEWAY), "t>-");

	given_l7_service(&w.f, "a", BY_NODE("n"));
	change_compile(&w);
	expect_routes(w.now, node(w.now, GATEWAY), "t>a");

	change_remove(&w, GATEWAY "/gatewayRoute/t");
	given_gateway_route(&w.f, "t", "'httpRoute': {'match': {'prefix': '/x'}, " TO("a") "}");
	change_compile(&w);
	expect_routes(w.now, node(w.now, GATEWAY), "t>a");
	EXPECT(node(w.now, GATEWAY) != node(w.before, GATEWAY));

	change_remove(&w, GATEWAY);
	change_compile(&w);
	EXPECT(!w.now->nodes[0]);
	change_done(&w);
}

/* "node:weight …" of its first port where weft-proxy is told of weights; "" where it is not. */
static void expect_weights(const struct plan *plan, const char *service_name, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};
	const struct plan_port *port = &service(plan, service_name)->ports[0];

	EXPECT(!port->l7);
	for (size_t i = 0; port->by_weights && i < port->target_count; i++)
		buffer_printf(&b, "%s%s:%u", i ? " " : "", strrchr(plan->targets[port->targets[i].target]->node, '/') + 1, port->targets[i].weight);
	EXPECT_STR(buffer_string(&b), expected);
	for (size_t i = 0; i < port->target_count; i++)
		EXPECT_EQ(plan->targets[port->targets[i].target]->l7, port->by_weights);
}

TEST(a_service_that_the_kernel_balances_is_told_by_its_weights_while_a_gateway_leads_there)
{
	static const char *const both[] = { GATEWAY, "mesh/M/virtualNode/web" };
	const struct compile_input input = { .nodes = both, .node_count = 2 };
	FIXTURE(f);

	given_mesh(&f, "M", "ALLOW_ALL");
	given_caller(&f, "web", BACKEND("a") ", " BACKEND("b") ", " BACKEND("c"), "");
	given_gateway(&f, LISTENER(8080, "http"), "");
	given_gateway_route(&f, "a", "'httpRoute': {'match': {'prefix': '/a'}, " TO("a") "}");
	given_gateway_route(&f, "c", "'httpRoute': {'match': {'prefix': '/c'}, " TO("c") "}");
	given_service(&f, "a", BY_ROUTER("r"));
	given_service(&f, "b", BY_NODE("w"));
	given_service(&f, "c", BY_ROUTER("needs"));
	given_router(&f, "r", LISTENER(80, "http"));
	given_route(&f, "r", "t", HTTP_ROUTE("'prefix': '/'", TARGET("n", 90) ", " TARGET("m", 10)));
	given_router(&f, "needs", LISTENER(80, "http"));
	given_route(&f, "needs", "t", HTTP_ROUTE("'prefix': '/only'", TARGET("w", 1)));
	given_node(&f, "n", LISTENER(80, "http"), "");
	given_node(&f, "m", LISTENER(80, "http"), "");
	given_node(&f, "w", LISTENER(80, "http"), "");
	const struct plan *plan = compiled_with(&f, &input);
	expect_weights(plan, "a", "n:90 m:10");
	expect_weights(plan, "b", ""); /* no gateway leads there */
	expect_weights(plan, "c", ""); /* closed to all */
}

TEST(a_service_that_the_kernel_balances_follows_the_routes_of_gateways)
{
	struct compile_change w;

	change_init(&w, nodes);
	given_mesh(&w.f, "M", "DROP_ALL");
	given_node(&w.f, "n", LISTENER(80, "http"), "");
	given_service(&w.f, "a", BY_NODE("n"));
	given_gateway(&w.f, LISTENER(8080, "http"), "");
	change_compile(&w);
	expect_weights(w.now, "a", "");
	given_gateway_route(&w.f, "t", "'httpRoute': {'match': {'prefix': '/'}, " TO("a") "}");
	change_compile(&w);
	expect_weights(w.now, "a", "n:100");
	change_remove(&w, GATEWAY "/gatewayRoute/t");
	change_compile(&w);
	expect_weights(w.now, "a", "");
	change_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_gateways_routes_name_are_its_backends),
		cmocka_unit_test(a_gateways_listeners_are_those_of_http_without_tls),
		cmocka_unit_test(a_gateways_client_policy_covers_its_services),
		cmocka_unit_test(a_gateway_follows_its_routes_and_their_services),
		cmocka_unit_test(a_service_that_the_kernel_balances_is_told_by_its_weights_while_a_gateway_leads_there),
		cmocka_unit_test(a_service_that_the_kernel_balances_follows_the_routes_of_gateways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
