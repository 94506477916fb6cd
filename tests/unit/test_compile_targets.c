/* SPDX-License-Identifier: Apache-2.0 */
/* compile(): endpoints of targets, from the registry and by DNS, and their health checks. */
#include "tests/unit/compile_world.h"

#include <arpa/inet.h>
#include <errno.h>

TEST(endpoints_come_from_the_registry_once_each_in_order)
{
	FIXTURE(f);

	given_one_target(&f, LISTENER(8080, "tcp"));
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.2'}", 0, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_PORT': '9000'}", 0, NULL);
	given_instance(&f, "n", "c", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_PORT': '900'}", 0, NULL);
	given_instance(&f, "n", "d", "{'AWS_INSTANCE_IPV4': '10.0.0.2', 'AWS_INSTANCE_IPV6': 'fd00::1'}", 0, NULL);
	given_instance(&f, "other", "e", "{'AWS_INSTANCE_IPV4': '10.0.0.3'}", 0, NULL);
	const struct plan *plan = compiled(&f);
	expect_endpoints(target(plan, "n:8080"), "10.0.0.1:900 10.0.0.1:9000 10.0.0.2:8080 [fd00::1]:8080");
	EXPECT_EQ(target(plan, "n:8080")->endpoints[0].health, HEALTH_UNCHECKED);
	EXPECT_EQ(target(plan, "n:8080")->endpoints[0].netns_cookie, 0);
}

TEST(only_instances_that_match_all_attributes_serve_a_node)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_service(&f, "s", BY_NODE("n"));
	given(&f, "{'meshName': 'M', 'virtualNodeName': 'n', 'spec': {'listeners': [" LISTENER(
			  80, "tcp") "], 'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'ns', 'serviceName': 'n', 'attributes': "
				     "[{'key': 'version', 'value': '2'}, {'key': 'tier', 'value': 'gold'}]}}}}");
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'version': '2'}", 0, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.2', 'version': '2', 'tier': 'gold', 'more': ''}", 0, NULL);
	given_instance(&f, "n", "c", "{'AWS_INSTANCE_IPV4': '10.0.0.3', 'version': '1', 'tier': 'gold'}", 0, NULL);
	expect_endpoints(target(compiled(&f), "n:80"), "10.0.0.2:80");
}

TEST(ip_preference_leaves_out_a_family_only_where_it_says_only)
{
	static const struct {
		const char *mesh, *node; /* "": absent */
		const char *endpoints;
	} rows[] = {
		{ "", "", "10.0.0.1:80 [fd00::1]:80" },
		{ "", "IPv4_PREFERRED", "10.0.0.1:80 [fd00::1]:80" },
		{ "", "IPv6_PREFERRED", "10.0.0.1:80 [fd00::1]:80" },
		{ "", "IPv4_ONLY", "10.0.0.1:80" },
		{ "", "IPv6_ONLY", "[fd00::1]:80" },
		{ "IPv6_ONLY", "", "[fd00::1]:80" },
		{ "IPv6_ONLY", "IPv4_ONLY", "10.0.0.1:80" },
		{ "IPv6_ONLY", "IPv4_PREFERRED", "10.0.0.1:80 [fd00::1]:80" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *mesh = rows[i].mesh, *node = rows[i].node;
		FIXTURE(f);

		given(&f, "{'meshName': 'M', 'spec': {'serviceDiscovery': {%s%s%s}}}", *mesh ? "'ipPreference': '" : "", mesh,
		      *mesh ? "'" : "");
		given_caller(&f, "web", "", "");
		given_service(&f, "s", BY_NODE("n"));
		given(&f,
		      "{'meshName': 'M', 'virtualNodeName': 'n', 'spec': {'listeners': [" LISTENER(
			      80, "tcp") "], 'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'ns', 'serviceName': 'n'%s%s%s}}}}",
		      *node ? ", 'ipPreference': '" : "", node, *node ? "'" : "");
		given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_IPV6': 'fd00::1'}", 0, NULL);
		expect_endpoints(target(compiled(&f), "n:80"), rows[i].endpoints);
	}
}

TEST(a_loopback_endpoint_keeps_its_namespace_and_others_have_none)
{
	FIXTURE(f);

	given_one_target(&f, LISTENER(80, "tcp"));
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '127.0.0.1'}", 8, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '127.0.0.1'}", 7, NULL);
	given_instance(&f, "n", "c", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_IPV6': '::1'}", 9, NULL);
	const struct plan_target *t = target(compiled(&f), "n:80");
	static const uint64_t cookies[] = { 9, 0, 7, 8 };
	expect_endpoints(t, "[::1]:80 10.0.0.1:80 127.0.0.1:80 127.0.0.1:80");
	for (size_t i = 0; i < t->endpoint_count; i++)
		EXPECT_EQ(t->endpoints[i].netns_cookie, cookies[i]);
}

TEST(an_endpoints_zone_is_the_instances_else_its_attributes)
{
	FIXTURE(f);

	given_one_target(&f, LISTENER(80, "tcp"));
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AVAILABILITY_ZONE': 'z2'}", 0, "z1");
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.2', 'AVAILABILITY_ZONE': 'z2'}", 0, NULL);
	given_instance(&f, "n", "c", "{'AWS_INSTANCE_IPV4': '10.0.0.3'}", 0, NULL);
	const struct plan_target *t = target(compiled(&f), "n:80");
	EXPECT_EQ(t->endpoints[0].zone, plan_zone("z1"));
	EXPECT_EQ(t->endpoints[1].zone, plan_zone("z2"));
	EXPECT_EQ(t->endpoints[2].zone, 0);
	EXPECT(plan_zone("z1") != plan_zone("z2") && plan_zone("z1") != 0);
}

#define CHECK(protocol, more)                                                                                                 \
	"'healthCheck': {'protocol': '" protocol "', 'healthyThreshold': 2, 'unhealthyThreshold': 3, 'intervalMillis': 5000, "         \
	"'timeoutMillis': 2000" more "}"
#define CHECKED_LISTENER(port, protocol, check) "{'portMapping': {'port': " #port ", 'protocol': '" protocol "'}, " check "}"

TEST(a_listeners_health_check_is_its_targets_and_makes_its_endpoints_pending)
{
	static const struct {
		const char *listener;
		enum check_protocol protocol;
		const char *path;
	} rows[] = {
		{ CHECKED_LISTENER(80, "http", CHECK("tcp", ", 'path': '/ignored'")), CHECK_TCP, NULL },
		{ CHECKED_LISTENER(80, "http", CHECK("http", ", 'path': '/ping'")), CHECK_HTTP, "/ping" },
		{ CHECKED_LISTENER(80, "http", CHECK("http", "")), CHECK_HTTP, NULL },
		{ CHECKED_LISTENER(80, "http2", CHECK("http2", ", 'path': '/'")), CHECK_HTTP2, "/" },
		{ CHECKED_LISTENER(80, "grpc", CHECK("grpc", "")), CHECK_GRPC, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct plan_target *t;
		FIXTURE(f);

		given_one_target(&f, rows[i].listener);
		given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1'}", 0, NULL);
		t = target(compiled(&f), "n:80");
		EXPECT_EQ(t->check.protocol, rows[i].protocol);
		if (rows[i].path)
			EXPECT_STR(t->check.path, rows[i].path);
		else
			EXPECT(!t->check.path);
		EXPECT_EQ(t->check.healthy_threshold, 2);
		EXPECT_EQ(t->check.unhealthy_threshold, 3);
		EXPECT_EQ(t->check.interval_ns, 5000000000);
		EXPECT_EQ(t->check.timeout_ns, 2000000000);
		EXPECT_EQ(t->endpoints[0].health, HEALTH_PENDING);
	}
}

TEST(an_endpoint_that_two_listeners_share_is_checked_when_one_of_them_checks_it)
{
	FIXTURE(f);

	given_one_target(&f, LISTENER(80, "tcp") ", " CHECKED_LISTENER(90, "tcp", CHECK("tcp", "")) ", " LISTENER(70, "tcp"));
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.1', 'AWS_INSTANCE_PORT': '9000'}", 0, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.2'}", 0, NULL);
	const struct plan *plan = compiled(&f);
	static const char *const names[] = { "n:70", "n:80" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(target(plan, names[i])->check.protocol, CHECK_NONE);
		EXPECT_EQ(target(plan, names[i])->endpoints[0].health, HEALTH_PENDING);
		EXPECT_EQ(target(plan, names[i])->endpoints[1].health, HEALTH_UNCHECKED);
	}
}

/* Two listeners, found by `members` of dns discovery; what the state knows of n.local. */
static void given_dns_target(struct fixture *f, const char *members, const char *stored)
{
	given_service(f, "s", BY_NODE("n"));
	given(f,
	      "{'meshName': 'M', 'virtualNodeName': 'n', 'spec': {'listeners': [" LISTENER(80, "tcp") ", " LISTENER(
		      90, "tcp") "], 'serviceDiscovery': {'dns': {%s}}}}",
	      members);
	EXPECT_OK(state_put(f->state, "discovery/dns/n.local", stored, strlen(stored), NULL));
}

TEST(a_node_found_by_dns_has_one_address_of_each_family_or_all_that_its_name_has)
{
	static const char stored[] = "{\"v4\": [\"10.0.0.2\", \"10.0.0.1\", \"10.0.0.3\"], \"v6\": [\"fd00::2\", \"fd00::1\"]}";
	static const struct {
		const char *mesh, *node, *response; /* "": absent */
		const char *endpoints;
	} rows[] = {
		{ "", "", "", "10.0.0.2:80 [fd00::2]:80" },
		{ "", "", "LOADBALANCER", "10.0.0.2:80 [fd00::2]:80" },
		{ "", "", "ENDPOINTS", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 [fd00::1]:80 [fd00::2]:80" },
		{ "", "IPv4_ONLY", "ENDPOINTS", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80" },
		{ "", "IPv6_ONLY", "", "[fd00::2]:80" },
		{ "", "IPv6_PREFERRED", "", "10.0.0.2:80 [fd00::2]:80" },
		{ "IPv6_ONLY", "", "ENDPOINTS", "[fd00::1]:80 [fd00::2]:80" },
		{ "IPv6_ONLY", "IPv4_PREFERRED", "", "10.0.0.2:80 [fd00::2]:80" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *members = NULL;
		FIXTURE(f);

		given(&f, "{'meshName': 'M', 'spec': {'serviceDiscovery': {%s%s%s}}}", *rows[i].mesh ? "'ipPreference': '" : "",
		      rows[i].mesh, *rows[i].mesh ? "'" : "");
		given_caller(&f, "web", "", "");
		EXPECT(asprintf(&members, "'hostname': 'N.local.'%s%s%s%s%s%s", *rows[i].node ? ", 'ipPreference': '" : "",
				rows[i].node, *rows[i].node ? "'" : "", *rows[i].response ? ", 'responseType': '" : "",
				rows[i].response, *rows[i].response ? "'" : "") > 0);
		given_dns_target(&f, members, stored);
		fixture_start_dns(&f);
		expect_endpoints(target(compiled(&f), "n:80"), rows[i].endpoints);
		EXPECT_EQ(target(f.plan, "n:80")->flags, strcmp(rows[i].response, "ENDPOINTS") ? TARGET_ROTATES : 0);
		EXPECT_EQ(target(f.plan, "n:90")->endpoints[0].port, htons(90));
	}
}

TEST(a_node_whose_host_name_is_not_known_has_no_endpoints_and_the_name_is_asked_for)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", "", "");
	given_dns_target(&f, "'hostname': 'other.local'", "{\"v4\": [\"10.0.0.1\"]}");
	fixture_start_dns(&f);
	expect_endpoints(target(compiled(&f), "n:80"), "");
	_cleanup_json_ json_t *names = dns_discovery_json(f.dns);
	EXPECT_EQ(json_array_size(names), 1); /* and what the state had of another name is let go */
	EXPECT_STR(json_path_string(json_array_get(names, 0), "hostname"), "other.local");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_come_from_the_registry_once_each_in_order),
		cmocka_unit_test(only_instances_that_match_all_attributes_serve_a_node),
		cmocka_unit_test(ip_preference_leaves_out_a_family_only_where_it_says_only),
		cmocka_unit_test(a_loopback_endpoint_keeps_its_namespace_and_others_have_none),
		cmocka_unit_test(an_endpoints_zone_is_the_instances_else_its_attributes),
		cmocka_unit_test(a_listeners_health_check_is_its_targets_and_makes_its_endpoints_pending),
		cmocka_unit_test(an_endpoint_that_two_listeners_share_is_checked_when_one_of_them_checks_it),
		cmocka_unit_test(a_node_found_by_dns_has_one_address_of_each_family_or_all_that_its_name_has),
		cmocka_unit_test(a_node_whose_host_name_is_not_known_has_no_endpoints_and_the_name_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
