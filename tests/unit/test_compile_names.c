/* SPDX-License-Identifier: Apache-2.0 */
/* compile(): names that the responder answers. */
#include "tests/unit/compile_world.h"

#include <arpa/inet.h>
#include <errno.h>

/* "scope: name name …", a line each. */
static void expect_names(const struct plan *plan, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (size_t i = 0; i < plan->scope_count; i++) {
		buffer_printf(&b, "%s%s:", i ? "\n" : "", plan->scopes[i]->name);
		for (size_t n = 0; n < plan->scopes[i]->service_count; n++)
			buffer_printf(&b, " %s", plan_service_name(plan->services[plan->scopes[i]->services[n]]));
	}
	EXPECT_STR(buffer_string(&b), expected);
}

TEST(under_drop_all_or_audit_every_service_has_a_name_in_its_mesh_else_backends_in_their_node)
{
	static const char *const nodes[] = { "mesh/M/virtualNode/web", "mesh/M/virtualNode/api", "mesh/M-2/virtualNode/web" };
	static const char *const audited[] = { "M" };
	struct compile_input input = { .nodes = nodes, .node_count = ARRAY_SIZE(nodes) };

	for (int round = 0; round < 3; round++) {
		FIXTURE(f);

		given_mesh(&f, "M", round == 0 ? "DROP_ALL" : "ALLOW_ALL");
		given_caller(&f, "web", BACKEND("b") ", " BACKEND("a"), "");
		given_caller(&f, "api", BACKEND("b"), "");
		given_service(&f, "a", "");
		given_service(&f, "b", "");
		given_service(&f, "c", "");
		given_mesh(&f, "M-2", "DROP_ALL");
		given(&f, "{'meshName': 'M-2', 'virtualNodeName': 'web', 'spec': {}}");
		given(&f, "{'meshName': 'M-2', 'virtualServiceName': 'a', 'spec': {}}");
		input.audit_meshes = audited;
		input.audit_count = round == 1;
		expect_names(compiled_with(&f, &input), round < 2 ? "mesh/M: a b c\nmesh/M-2: a" :
								    "mesh/M-2: a\nmesh/M/virtualNode/api: b\nmesh/M/virtualNode/web: a b");
	}
}

TEST(of_names_that_are_one_to_a_resolver_the_first_in_order_is_in_the_plan)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "a.Local", "");
	given_service(&f, "a.local", "");
	given_service(&f, "b.local", "");
	given_service(&f, "b.local.", "");
	given_service(&f, "B.local.x", "");
	const struct plan *plan = compiled(&f);
	expect_names(plan, "mesh/M: B.local.x a.Local b.local");
	EXPECT_STR(service(plan, "a.local")->twin, "mesh/M/virtualService/a.Local");
	EXPECT_STR(service(plan, "b.local.")->twin, "mesh/M/virtualService/b.local");
	EXPECT(!service(plan, "a.Local")->twin && !service(plan, "b.local")->twin && !service(plan, "B.local.x")->twin);
}

TEST(a_service_has_the_families_of_the_endpoints_that_weights_lead_to_else_both)
{
	static const struct {
		const char *v1, *v2; /* attributes of an instance; NULL: none */
		unsigned weight2;
		bool v4, v6;
	} rows[] = {
		{ "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", NULL, 1, true, false },
		{ "{'AWS_INSTANCE_IPV6': 'fd00::1'}", NULL, 1, false, true },
		{ "{'AWS_INSTANCE_IPV6': '::1'}", NULL, 1, false, true },
		{ "{'AWS_INSTANCE_IPV4': '127.0.0.1'}", NULL, 1, true, false },
		{ "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_IPV6': 'fd00::1'}", NULL, 1, true, true },
		{ "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_IPV6': '::1'}", NULL, 1, true, true },
		{ "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", "{'AWS_INSTANCE_IPV6': 'fd00::1'}", 1, true, true },
		{ "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", "{'AWS_INSTANCE_IPV6': 'fd00::1'}", 0, true, false },
		{ NULL, "{'AWS_INSTANCE_IPV6': 'fd00::1'}", 0, true, true },
		{ NULL, NULL, 1, true, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *route = NULL;
		FIXTURE(f);

		given_mesh(&f, "M", "DROP_ALL");
		given_caller(&f, "web", "", "");
		given_service(&f, "s", BY_ROUTER("r"));
		given_router(&f, "r", LISTENER(80, "tcp"));
		EXPECT(asprintf(&route, "'tcpRoute': {'action': {'weightedTargets': [" TARGET("v1", 1) ", {'virtualNode': 'v2', 'weight': %u}]}}",
				rows[i].weight2) > 0);
		given_route(&f, "r", "t", route);
		given_node(&f, "v1", LISTENER(80, "tcp"), "");
		given_node(&f, "v2", LISTENER(80, "tcp"), "");
		if (rows[i].v1)
			given_instance(&f, "v1", "a", rows[i].v1, 7, NULL);
		if (rows[i].v2)
			given_instance(&f, "v2", "a", rows[i].v2, 7, NULL);
		const struct plan_service *s = service(compiled(&f), "s");
		EXPECT_EQ(s->v4, rows[i].v4);
		EXPECT_EQ(s->v6, rows[i].v6);
	}
}

TEST(a_service_that_refuses_every_connection_has_both_families)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", "");
	EXPECT(service(compiled(&f), "s")->v4 && service(compiled(&f), "s")->v6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(under_drop_all_or_audit_every_service_has_a_name_in_its_mesh_else_backends_in_their_node),
		cmocka_unit_test(of_names_that_are_one_to_a_resolver_the_first_in_order_is_in_the_plan),
		cmocka_unit_test(a_service_has_the_families_of_the_endpoints_that_weights_lead_to_else_both),
		cmocka_unit_test(a_service_that_refuses_every_connection_has_both_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
