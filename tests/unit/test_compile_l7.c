/* SPDX-License-Identifier: Apache-2.0 */
/* compile(): ports whose requests weft-proxy routes, and what it is to know of them. */
#include "tests/unit/compile_world.h"

#include <errno.h>

#define TIMEOUT(protocol, seconds) "'timeout': {'" protocol "': {'idle': {'unit': 's', 'value': " #seconds "}}}"
#define POOL(protocol, connections) "'connectionPool': {'" protocol "': {'maxConnections': " #connections "}}"
#define LISTENER_WITH(port, protocol, more) "{'portMapping': {'port': " #port ", 'protocol': '" protocol "'}, " more "}"

TEST(http_is_weft_proxys_and_all_else_the_kernels)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_l7_service(&f, "s", BY_NODE("n"));
	given_service(&f, "kept", BY_NODE("n"));
	given_node(&f, "n", LISTENER(1, "tcp") ", " LISTENER(2, "http") ", " LISTENER(3, "http2") ", " LISTENER(4, "grpc"), "");
	const struct plan *plan = compiled(&f);
	static const char *const expected[] = { "-", "(n:2=100)", "-", "-" };
	static const uint8_t flags[] = { 0, ROUTE_L7 | ROUTE_L7_AS_L4, ROUTE_L7_AS_L4, ROUTE_L7_AS_L4 };
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct plan_port *kept = &service(plan, "kept")->ports[i];

		expect_l7(plan, &service(plan, "s")->ports[i], expected[i]);
		EXPECT_EQ(service(plan, "s")->ports[i].flags, flags[i]);
		expect_l7(plan, kept, "-");
		EXPECT_EQ(kept->flags, flags[i] & ~ROUTE_L7);
		EXPECT_EQ(target(plan, (const char *const[]){ "n:1", "n:2", "n:3", "n:4" }[i])->l7, i == 1);
	}
	EXPECT(service(plan, "s")->ports[1].l7->by_node);
}

TEST(a_tag_says_true_to_keep_http_in_the_kernel)
{
	static const struct {
		const char *tags;
		bool l7;
	} rows[] = {
		{ "[]", true },
		{ "[{'key': 'weft/l4-http', 'value': 'true'}]", false },
		{ "[{'key': 'weft/l4-http', 'value': 'false'}]", true },
		{ "[{'key': 'weft/l4-http', 'value': ''}]", true },
		{ "[{'key': 'other', 'value': 'true'}]", true },
		{ "[{'key': 'other', 'value': 'false'}, {'key': 'weft/l4-http', 'value': 'true'}]", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		FIXTURE(f);

		given_mesh(&f, "M", "DROP_ALL");
		given_caller(&f, "web", "", "");
		given(&f, "{'meshName': 'M', 'virtualServiceName': 's', 'tags': %s, 'spec': {'provider': {%s}}}", rows[i].tags, BY_NODE("n"));
		given_node(&f, "n", LISTENER(80, "http"), "");
		EXPECT_EQ(service(compiled(&f), "s")->ports[0].l7 != NULL, rows[i].l7);
	}
}

TEST(all_routes_of_a_port_go_to_weft_proxy_and_the_kernel_keeps_what_it_did)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_l7_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "http") ", " LISTENER(81, "http") ", " LISTENER(82, "tcp"));
	given_route(&f, "r", "all", HTTP_ROUTE("'port': 80, 'prefix': '/'", TARGET("v1", 9) ", " TARGET("v2", 1)));
	given_route(&f, "r", "beta", "'priority': 1, " HTTP_ROUTE("'port': 80, 'prefix': '/beta'", TARGET("v3", 1) ", " TARGET("none", 1)));
	given_route(&f, "r", "alone", HTTP_ROUTE("'port': 81, 'prefix': '/'", TARGET("v1", 1)));
	given_route(&f, "r", "tcp", "'tcpRoute': {'match': {'port': 82}, " ACTION(TARGET("db", 1)) "}");
	given_node(&f, "v1", LISTENER(8080, "http"), "");
	given_node(&f, "v2", LISTENER(8080, "http"), "");
	given_node(&f, "v3", LISTENER(8080, "http"), "");
	given_node(&f, "db", LISTENER(5432, "tcp"), "");
	const struct plan *plan = compiled(&f);
	const struct plan_port *ports = service(plan, "s")->ports;
	expect_l7(plan, &ports[0], "beta(v3:8080=1 -=1) all(v1:8080=9 v2:8080=1)");
	EXPECT_EQ(ports[0].closed, REASON_NEEDS_PROXY);
	EXPECT_EQ(ports[0].flags, ROUTE_L7);
	EXPECT_STR(ports[0].note, "for clients from outside: route beta: match.prefix");
	expect_targets(plan, &ports[0], "");
	expect_l7(plan, &ports[1], "alone(v1:8080=1)");
	EXPECT_EQ(ports[1].closed, 0);
	EXPECT_EQ(ports[1].flags, ROUTE_L7 | ROUTE_L7_AS_L4);
	EXPECT_STR(ports[1].note, NULL);
	expect_targets(plan, &ports[1], "v1:8080=1");
	expect_l7(plan, &ports[2], "-");
	EXPECT(target(plan, "v2:8080")->l7 && target(plan, "v3:8080")->l7 && !target(plan, "db:5432")->l7);
}

TEST(a_port_without_routes_is_weft_proxys_as_well)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_l7_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "http"));
	const struct plan *plan = compiled(&f);
	expect_l7(plan, &service(plan, "s")->ports[0], "");
	EXPECT_EQ(service(plan, "s")->ports[0].closed, REASON_NO_ROUTE);
	EXPECT_STR(service(plan, "s")->ports[0].note, "no route binds to port 80");
}

TEST(a_target_has_what_its_listener_says_for_its_protocol_where_weft_proxy_leads_there)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_l7_service(&f, "s", BY_NODE("n"));
	given_service(&f, "kept", BY_NODE("m"));
	given_node(&f, "n", LISTENER_WITH(80, "http", TIMEOUT("http", 7) ", " POOL("http", 5)) ", " LISTENER(81, "http"), "");
	given_node(&f, "m", LISTENER_WITH(80, "http", TIMEOUT("http", 7) ", " POOL("http", 5)), "");
	const struct plan *plan = compiled(&f);
	const struct plan_target *t = target(plan, "n:80");
	EXPECT_STR(t->protocol, "http");
	EXPECT_EQ(json_path_int(t->timeout, "idle.value", 0), 7);
	EXPECT_EQ(json_path_int(t->pool, "maxConnections", 0), 5);
	EXPECT(target(plan, "n:81")->l7 && !target(plan, "n:81")->timeout && !target(plan, "n:81")->pool);
	EXPECT(!target(plan, "m:80")->l7 && !target(plan, "m:80")->timeout && !target(plan, "m:80")->pool);
}

TEST(a_caller_has_its_logging)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
	EXPECT_STR(json_path_string(node(compiled(&f), WEB)->logging, "accessLog.file.path"), "/dev/stdout");
}

TEST(families_and_client_policies_look_at_the_targets_of_all_routes)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given(&f, "{'meshName': 'M', 'virtualNodeName': 'web', 'spec': {'backends': [{'virtualService': {'virtualServiceName': 's', "
		  "'clientPolicy': {'tls': {'ports': [9090], 'validation': {'trust': {'file': {'certificateChain': '/ca'}}}}}}}]}}");
	given_l7_service(&f, "s", BY_ROUTER("r"));
	given_router(&f, "r", LISTENER(80, "http"));
	given_route(&f, "r", "all", HTTP_ROUTE("'prefix': '/'", TARGET("v1", 1)));
	given_route(&f, "r", "beta", HTTP_ROUTE("'prefix': '/beta'", TARGET("v2", 1) ", " TARGET("v3", 0)));
	given_node(&f, "v1", LISTENER(8080, "http"), "");
	given_node(&f, "v2", LISTENER(9090, "http"), "");
	given_node(&f, "v3", LISTENER(8080, "http"), "");
	given_instance(&f, "v2", "a", "{'AWS_INSTANCE_IPV6': 'fd00::1'}", 0, NULL);
	given_instance(&f, "v3", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", 0, NULL);
	const struct plan *plan = compiled(&f);
	EXPECT(!service(plan, "s")->v4 && service(plan, "s")->v6);
	EXPECT_EQ(node(plan, WEB)->backends[0].tls_ports, 1);
}

/* Seven ports of ten targets each: no service of the kernel's could have them. */
TEST(targets_of_weft_proxy_need_no_rows_and_those_beyond_the_kernels_are_closed_to_clients_from_outside)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_l7_service(&f, "s", BY_ROUTER("r"));
	given_wide_router(&f, "r", "http", 7, 10);
	const struct plan *plan = compiled(&f);
	EXPECT_EQ(plan->target_count, 70);
	for (size_t p = 0; p < 7; p++) {
		const struct plan_port *port = &service(plan, "s")->ports[p];

		EXPECT_EQ(port->l7->target_count, 10);
		EXPECT_EQ(port->target_count, p < 6 ? 10 : 0);
		EXPECT_EQ(port->closed, p < 6 ? 0 : REASON_NEEDS_PROXY);
		EXPECT_EQ(port->flags, p < 6 ? ROUTE_L7 | ROUTE_L7_AS_L4 : ROUTE_L7);
		EXPECT_STR(port->note, p < 6 ? NULL : "for clients from outside: too many different targets over all ports");
	}
}

/* --- changes ------------------------------------------------------------------------------------------------------------- */

static void given_before(struct compile_change *w)
{
	static const char *const web[] = { WEB };

	change_init(w, web);
	given_mesh(&w->f, "M", "DROP_ALL");
	given_caller(&w->f, "web", BACKEND("s") ", " BACKEND("t"), "");
	given_l7_service(&w->f, "s", BY_ROUTER("r"));
	given_service(&w->f, "t", BY_NODE("n"));
	given_router(&w->f, "r", LISTENER(80, "http"));
	given_route(&w->f, "r", "a", HTTP_ROUTE("'prefix': '/'", TARGET("n", 1)));
	given_node(&w->f, "n", LISTENER_WITH(80, "http", TIMEOUT("http", 7)), "");
	change_compile(w);
}

TEST(what_only_weft_proxy_reads_makes_other_objects_too)
{
	struct compile_change w;

	given_before(&w);
	change_remove(&w, "mesh/M/virtualRouter/r/route/a");
	given_route(&w.f, "r", "a",
		    "'httpRoute': {'match': {'prefix': '/'}, " ACTION(TARGET("n", 1)) ", 'retryPolicy': {'maxRetries': 1, "
		    "'perRetryTimeout': {'unit': 's', 'value': 1}, 'httpRetryEvents': ['server-error']}}");
	change_compile(&w);
	EXPECT(service(w.now, "s") != service(w.before, "s"));
	EXPECT(service(w.now, "t") == service(w.before, "t"));
	EXPECT(target(w.now, "n:80") == target(w.before, "n:80"));
	EXPECT(node(w.now, WEB) == node(w.before, WEB));

	change_remove(&w, "mesh/M/virtualNode/n");
	given_node(&w.f, "n", LISTENER_WITH(80, "http", TIMEOUT("http", 8)), "");
	change_compile(&w);
	EXPECT(service(w.now, "s") == service(w.before, "s"));
	EXPECT(target(w.now, "n:80") != target(w.before, "n:80"));

	change_remove(&w, WEB);
	given_caller(&w.f, "web", BACKEND("s") ", " BACKEND("t"), ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
	change_compile(&w);
	EXPECT(target(w.now, "n:80") == target(w.before, "n:80"));
	EXPECT(node(w.now, WEB) != node(w.before, WEB));
	change_done(&w);
}

TEST(what_nobody_reads_changes_nothing)
{
	struct compile_change w;

	given_before(&w);
	change_remove(&w, "mesh/M/virtualRouter/r/route/a");
	given(&w.f, "{'meshName': 'M', 'virtualRouterName': 'r', 'routeName': 'a', 'tags': [{'key': 'k', 'value': 'v'}], 'spec': {%s}}",
	      HTTP_ROUTE("'prefix': '/'", TARGET("n", 1)));
	EXPECT(!change_compile(&w));
	change_done(&w);
}

TEST(a_target_is_weft_proxys_for_as_long_as_a_service_leads_there_by_it)
{
	struct compile_change w;

	given_before(&w);
	EXPECT(target(w.now, "n:80")->l7);
	change_remove(&w, "mesh/M/virtualService/s");
	given_service(&w.f, "s", BY_ROUTER("r"));
	change_compile(&w);
	EXPECT(!target(w.now, "n:80")->l7 && !target(w.now, "n:80")->timeout);
	expect_l7(w.now, &service(w.now, "s")->ports[0], "-");

	change_remove(&w, "mesh/M/virtualService/t");
	given_l7_service(&w.f, "t", BY_NODE("n"));
	change_compile(&w);
	EXPECT(target(w.now, "n:80")->l7 && target(w.now, "n:80")->timeout);

	change_remove(&w, "mesh/M/virtualService/s");
	given_l7_service(&w.f, "s", BY_ROUTER("r"));
	change_compile(&w);
	EXPECT(target(w.now, "n:80") == target(w.before, "n:80"));
	change_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_is_weft_proxys_and_all_else_the_kernels),
		cmocka_unit_test(a_tag_says_true_to_keep_http_in_the_kernel),
		cmocka_unit_test(all_routes_of_a_port_go_to_weft_proxy_and_the_kernel_keeps_what_it_did),
		cmocka_unit_test(a_port_without_routes_is_weft_proxys_as_well),
		cmocka_unit_test(a_target_has_what_its_listener_says_for_its_protocol_where_weft_proxy_leads_there),
		cmocka_unit_test(a_caller_has_its_logging),
		cmocka_unit_test(families_and_client_policies_look_at_the_targets_of_all_routes),
		cmocka_unit_test(targets_of_weft_proxy_need_no_rows_and_those_beyond_the_kernels_are_closed_to_clients_from_outside),
		cmocka_unit_test(what_only_weft_proxy_reads_makes_other_objects_too),
		cmocka_unit_test(what_nobody_reads_changes_nothing),
		cmocka_unit_test(a_target_is_weft_proxys_for_as_long_as_a_service_leads_there_by_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
