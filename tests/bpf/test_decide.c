/* SPDX-License-Identifier: Apache-2.0 */
/* The decision, asked of the kernel: every reason, the weights, the endpoints. */
#include "tests/bpf/fixture.h"

#include <bpf/bpf.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

#define PORT 8080
#define WITH_FIXTURE _cleanup_(fixture_done) struct fixture f; fixture_init(&f)

/* A caller with SERVICE as its backend, one target of `weight` with so many endpoints. */
static void given_one_route(struct fixture *f, uint32_t node_flags, unsigned endpoints)
{
	given_node(f, node_flags, (uint32_t[]){ SERVICE, 0 });
	given_service(f, SERVICE, PORT, 1, (unsigned[]){ 1 });
	given_target(f, TARGET, endpoints, 0);
}

TEST(a_backend_is_routed_to_an_endpoint_of_its_target)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 1);

	const struct decision d = decide_in_kernel(&f, flow_to_service(SERVICE, PORT));

	EXPECT_EQ(d.reason, REASON_ROUTED);
	EXPECT_EQ(d.service, SERVICE);
	EXPECT_EQ(d.target, TARGET);
	EXPECT_EQ(d.row, 16);
	EXPECT_EQ(ip_equal(&d.address, &ref_of(&f, TARGET, 0)->address), true);
	EXPECT_EQ(d.port, htons(8080));
}

TEST(a_service_that_is_no_backend_is_denied)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 1);
	given_service(&f, OTHER_SERVICE, PORT, 1, (unsigned[]){ 1 });

	const struct decision d = decide_in_kernel(&f, flow_to_service(OTHER_SERVICE, PORT));

	EXPECT_EQ(d.reason, REASON_NOT_A_BACKEND);
	EXPECT_EQ(reason_verdict(d.reason), VERDICT_DENY);
	EXPECT_EQ(d.service, OTHER_SERVICE);
}

TEST(audit_mode_routes_what_is_no_backend_and_says_so)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL | NODE_AUDIT, 1);
	backend_of(&f, 0)->flags = BACKEND_AUDIT_ONLY;

	const struct decision d = decide_in_kernel(&f, flow_to_service(SERVICE, PORT));

	EXPECT_EQ(d.reason, REASON_AUDIT_NOT_A_BACKEND);
	EXPECT_EQ(d.target, TARGET);
}

TEST(a_backend_is_found_wherever_it_stands_among_many)
{
	WITH_FIXTURE;
	uint32_t services[51] = {};

	for (unsigned i = 0; i < 50; i++)
		services[i] = 2 + i * 100;
	given_node(&f, NODE_DROP_ALL, services);
	given_target(&f, TARGET, 1, 0);
	for (unsigned i = 0; i < 50; i++) {
		struct ip vip;
		uint32_t id = services[i];

		f.kernel.memory.services[5] = (struct service_record){ .first_route = 40, .port_count = 1, .ports = { htons(PORT) } };
		f.kernel.memory.routes[40] = (struct route_record){ .target_count = 1, .cumulative = { 1 }, .target = { TARGET } };
		*kernel_memory_ref(&f.kernel.memory, 1, id) = REF(OBJECT_SERVICE, 5);
		assert_int_equal(ip_parse("240.240.9.9", &vip), 0);
		assert_int_equal(bpf_map_update_elem(f.kernel.vip_fd, &vip, &id, 0), 0);
		EXPECT_EQ(decide_in_kernel(&f, flow_to("240.240.9.9", PORT)).reason, REASON_ROUTED);
	}
}

TEST(each_closed_door_of_a_service_has_its_reason)
{
	WITH_FIXTURE;
	struct flow flow = flow_to_service(SERVICE, PORT);

	given_one_route(&f, NODE_DROP_ALL, 1);

	EXPECT_EQ(decide_in_kernel(&f, flow_to_service(SERVICE, 9)).reason, REASON_NO_LISTENER);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("240.240.200.1", PORT)).reason, REASON_NO_SERVICE);
	flow.is_tcp = 0;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_VIP_NOT_TCP);
	flow.is_tcp = 1;
	flow.node = 60;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_NODE);
	flow.node = NODE;

	static const enum reason closed[] = { REASON_NO_ROUTE, REASON_NO_PROVIDER, REASON_NEEDS_PROXY };
	for (unsigned i = 0; i < ARRAY_SIZE(closed); i++) {
		route_of(&f, SERVICE)->closed = closed[i];
		EXPECT_EQ(decide_in_kernel(&f, flow).reason, closed[i]);
	}
	route_of(&f, SERVICE)->closed = 0;

	backend_of(&f, 0)->tls_ports = 1;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NEEDS_TLS);
	backend_of(&f, 0)->tls_ports = 2; /* another port's */
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_ROUTED);
	target_of(&f, TARGET)->flags = TARGET_NEEDS_TLS;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NEEDS_TLS);
	target_of(&f, TARGET)->flags = 0;

	route_of(&f, SERVICE)->cumulative[0] = 0;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_TARGET);
	route_of(&f, SERVICE)->cumulative[0] = 1;

	given_target(&f, TARGET, 0, 1);
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_ENDPOINT_IN_FAMILY);
	given_target(&f, TARGET, 0, 0);
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_ENDPOINT);
	route_of(&f, SERVICE)->target[0] = 0;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_ENDPOINT);
	f.kernel.memory.services[SERVICE].port_count = 0;
	f.kernel.memory.services[SERVICE].no_port = REASON_NO_PROVIDER;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_PROVIDER);
}

TEST(an_ipv6_vip_leads_to_ipv6_endpoints)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 2);
	given_target(&f, TARGET, 2, 2);

	for (int i = 0; i < 32; i++) {
		const struct decision d = decide_in_kernel(&f, flow_to("2001:2::2", PORT));

		EXPECT_EQ(d.reason, REASON_ROUTED);
		EXPECT_EQ(ip_is_v4(&d.address), false);
	}
}

TEST(what_drop_all_never_refuses_passes_with_its_reason)
{
	WITH_FIXTURE;
	const uint8_t one = 1;
	struct netns_address own = { .netns_cookie = NETNS_COOKIE }, exempt = {}, elsewhere = { .netns_cookie = NETNS_COOKIE + 1 };
	struct exemption exemption = { .reason = REASON_IGNORED_IP };
	struct flow udp = flow_to("192.0.2.1", 53);

	given_node(&f, NODE_DROP_ALL, NULL);
	udp.is_tcp = 0;
	f.kernel.memory.config->ignored_ports[0] = htons(22);
	assert_int_equal(ip_parse("10.1.1.1", &own.address), 0);
	assert_int_equal(bpf_map_update_elem(f.kernel.own_address_fd, &own, &one, 0), 0);
	assert_int_equal(ip_parse("169.254.169.254", &exempt.address), 0);
	assert_int_equal(bpf_map_update_elem(f.kernel.exempt_fd, &exempt, &exemption, 0), 0);
	assert_int_equal(ip_parse("192.0.2.7", &exempt.address), 0);
	exemption = (struct exemption){ .reason = REASON_AWS_ADDRESS, .until_ns = 1 }; /* long past */
	assert_int_equal(bpf_map_update_elem(f.kernel.exempt_fd, &exempt, &exemption, 0), 0);
	assert_int_equal(ip_parse("192.0.2.8", &exempt.address), 0);
	exemption.until_ns = UINT64_MAX;
	assert_int_equal(bpf_map_update_elem(f.kernel.exempt_fd, &exempt, &exemption, 0), 0);
	assert_int_equal(ip_parse("192.0.2.9", &exempt.address), 0);
	exempt.netns_cookie = NETNS_COOKIE;
	assert_int_equal(bpf_map_update_elem(f.kernel.exempt_fd, &exempt, &exemption, 0), 0);
	assert_int_equal(ip_parse("192.0.2.10", &elsewhere.address), 0);
	assert_int_equal(bpf_map_update_elem(f.kernel.exempt_fd, &elsewhere, &exemption, 0), 0);

	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.1", 80)).reason, REASON_NOT_IN_MESH);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("2001:db8::1", 80)).reason, REASON_NOT_IN_MESH);
	EXPECT_EQ(decide_in_kernel(&f, udp).reason, REASON_NOT_TCP);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("127.9.9.9", 80)).reason, REASON_LOOPBACK);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("::1", 80)).reason, REASON_LOOPBACK);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("::", 80)).reason, REASON_LOOPBACK);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("0.0.0.0", 80)).reason, REASON_LOOPBACK);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("10.1.1.1", 80)).reason, REASON_OWN_ADDRESS);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("169.254.169.254", 80)).reason, REASON_IGNORED_IP);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.1", 22)).reason, REASON_IGNORED_PORT);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.7", 443)).reason, REASON_NOT_IN_MESH);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.8", 443)).reason, REASON_AWS_ADDRESS);
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.9", 443)).reason, REASON_AWS_ADDRESS); /* answered in this namespace */
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.10", 443)).reason, REASON_NOT_IN_MESH); /* in another one */

	f.kernel.memory.nodes[NODE].flags = NODE_DROP_ALL | NODE_AUDIT;
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.1", 80)).reason, REASON_AUDIT_NOT_IN_MESH);
	f.kernel.memory.nodes[NODE].flags = 0;
	EXPECT_EQ(decide_in_kernel(&f, flow_to("192.0.2.1", 80)).reason, REASON_ALLOW_ALL);
}

/* Upper 0.1 % points of the chi-square distribution for 1..9 degrees of freedom. Ten million decisions a run of the whole suite: a
 * right implementation fails one run in some two hundred, so the test draws again once: one in tens of thousands. */
static const double chi_square_limit[] = { 0, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88 };

static double chi_square(const struct tally *tally, unsigned count, const unsigned weights[], uint64_t total)
{
	double sum = 0, statistic = 0;

	for (unsigned i = 0; i < count; i++)
		sum += weights[i];
	for (unsigned i = 0; i < count; i++) {
		const double expected = total * weights[i] / sum, seen = tally->by_target[TARGET + i];

		if (weights[i])
			statistic += (seen - expected) * (seen - expected) / expected;
	}
	return statistic;
}

static void expect_shares(unsigned count, const unsigned weights[])
{
	WITH_FIXTURE;
	enum { DECISIONS = 1000000 };
	unsigned degrees = 0;
	bool fits = false;

	given_node(&f, NODE_DROP_ALL, (uint32_t[]){ SERVICE, 0 });
	given_service(&f, SERVICE, PORT, count, weights);
	for (unsigned i = 0; i < count; i++) {
		given_target(&f, TARGET + i, 3, 0);
		degrees += weights[i] != 0;
	}
	for (int draw = 0; draw < 2 && !fits; draw++) {
		const struct tally tally = decide_many(&f, flow_to_service(SERVICE, PORT), DECISIONS);

		EXPECT_EQ(tally.by_reason[REASON_ROUTED], DECISIONS);
		for (unsigned i = 0; i < count; i++)
			if (!weights[i])
				EXPECT_EQ(tally.by_target[TARGET + i], 0);
		fits = chi_square(&tally, count, weights, DECISIONS) <= chi_square_limit[degrees - 1] + 1e-9;
	}
	EXPECT_EQ(fits, true);
}

TEST(weights_are_met_exactly_and_a_weight_of_0_never_gets_a_connection)
{
	expect_shares(2, (unsigned[]){ 90, 10 });
	expect_shares(2, (unsigned[]){ 0, 1 });
	expect_shares(3, (unsigned[]){ 1, 1, 1 });
	expect_shares(2, (unsigned[]){ 100, 1 });
	expect_shares(10, (unsigned[]){ 1, 2, 3, 5, 8, 13, 21, 34, 55, 100 });
}

TEST(the_endpoint_with_fewer_open_connections_is_preferred)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 2);
	endpoint_of(&f, TARGET, 0)->open = 5;

	const struct tally tally = decide_many(&f, flow_to_service(SERVICE, PORT), 100000);

	/* both picks fall on the busy one in a quarter of the cases */
	EXPECT_EQ(tally.by_slot[ref_of(&f, TARGET, 0)->slot] > 24000 && tally.by_slot[ref_of(&f, TARGET, 0)->slot] < 26000, true);
}

TEST(the_only_usable_endpoint_of_a_long_list_is_never_missed)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 60);
	target_of(&f, TARGET)->panic_pct = 0;
	for (unsigned i = 0; i < 60; i++)
		endpoint_of(&f, TARGET, i)->health = i == 41 ? HEALTH_UP : i & 1 ? HEALTH_PENDING : HEALTH_DOWN;

	const struct tally tally = decide_many(&f, flow_to_service(SERVICE, PORT), 20000);

	EXPECT_EQ(tally.by_slot[ref_of(&f, TARGET, 41)->slot], 20000);
	endpoint_of(&f, TARGET, 41)->health = HEALTH_DOWN;
	EXPECT_EQ(decide_in_kernel(&f, flow_to_service(SERVICE, PORT)).reason, REASON_NO_ENDPOINT);
}

TEST(usable_endpoints_share_evenly_when_both_picks_are_down)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 40);
	target_of(&f, TARGET)->panic_pct = 0;
	for (unsigned i = 0; i < 40; i++)
		endpoint_of(&f, TARGET, i)->health = i < 36 ? HEALTH_DOWN : HEALTH_UP; /* neighbours */

	const struct tally tally = decide_many(&f, flow_to_service(SERVICE, PORT), 100000);

	for (unsigned i = 36; i < 40; i++) {
		const uint64_t share = tally.by_slot[ref_of(&f, TARGET, i)->slot];

		EXPECT_EQ(share > 23500 && share < 26500, true);
	}
}

TEST(below_the_panic_threshold_all_endpoints_are_used)
{
	WITH_FIXTURE;
	given_one_route(&f, NODE_DROP_ALL, 10);
	for (unsigned i = 0; i < 6; i++)
		endpoint_of(&f, TARGET, i)->health = HEALTH_DOWN;

	const struct tally tally = decide_many(&f, flow_to_service(SERVICE, PORT), 100000);

	EXPECT_EQ(tally.by_reason[REASON_PANIC] > 0, true);
	for (unsigned i = 0; i < 10; i++) {
		const uint64_t share = tally.by_slot[ref_of(&f, TARGET, i)->slot];

		EXPECT_EQ(share > 9000 && share < 11000, true);
	}
	endpoint_of(&f, TARGET, 0)->health = HEALTH_UP; /* half of them: no panic */
	const struct tally calm = decide_many(&f, flow_to_service(SERVICE, PORT), 10000);

	EXPECT_EQ(calm.by_reason[REASON_PANIC], 0);
	EXPECT_EQ(calm.by_slot[ref_of(&f, TARGET, 1)->slot], 0);
}

TEST(a_loopback_endpoint_is_offered_in_its_own_namespace_only)
{
	WITH_FIXTURE;
	struct flow flow = flow_to_service(SERVICE, PORT);

	given_one_route(&f, NODE_DROP_ALL, 2);
	ref_of(&f, TARGET, 0)->netns_cookie = NETNS_COOKIE;

	const struct tally inside = decide_many(&f, flow, 10000);
	flow.netns_cookie = NETNS_COOKIE + 1;
	const struct tally outside = decide_many(&f, flow, 10000);

	EXPECT_EQ(inside.by_slot[ref_of(&f, TARGET, 0)->slot] > 4000, true);
	EXPECT_EQ(outside.by_slot[ref_of(&f, TARGET, 0)->slot], 0);
	EXPECT_EQ(outside.by_reason[REASON_ROUTED], 10000);
	ref_of(&f, TARGET, 1)->netns_cookie = NETNS_COOKIE;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_ENDPOINT);
}

TEST(an_older_generation_decides_as_it_did)
{
	WITH_FIXTURE;
	struct flow flow = flow_to_service(SERVICE, PORT);

	given_one_route(&f, NODE_DROP_ALL, 1);
	f.generation = 2;
	f.kernel.memory.directories[2] = f.kernel.memory.directories[1];
	f.kernel.memory.directories[2].refs[SERVICE] = 0;
	f.kernel.memory.root->generation = 2;

	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_NO_SERVICE);
	flow.generation = 1;
	EXPECT_EQ(decide_in_kernel(&f, flow).reason, REASON_ROUTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backend_is_routed_to_an_endpoint_of_its_target),
		cmocka_unit_test(a_service_that_is_no_backend_is_denied),
		cmocka_unit_test(audit_mode_routes_what_is_no_backend_and_says_so),
		cmocka_unit_test(a_backend_is_found_wherever_it_stands_among_many),
		cmocka_unit_test(each_closed_door_of_a_service_has_its_reason),
		cmocka_unit_test(an_ipv6_vip_leads_to_ipv6_endpoints),
		cmocka_unit_test(what_drop_all_never_refuses_passes_with_its_reason),
		cmocka_unit_test(weights_are_met_exactly_and_a_weight_of_0_never_gets_a_connection),
		cmocka_unit_test(the_endpoint_with_fewer_open_connections_is_preferred),
		cmocka_unit_test(the_only_usable_endpoint_of_a_long_list_is_never_missed),
		cmocka_unit_test(usable_endpoints_share_evenly_when_both_picks_are_down),
		cmocka_unit_test(below_the_panic_threshold_all_endpoints_are_used),
		cmocka_unit_test(a_loopback_endpoint_is_offered_in_its_own_namespace_only),
		cmocka_unit_test(an_older_generation_decides_as_it_did),
	};

	return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
