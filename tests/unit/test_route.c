/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/route.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static struct route *made(const char *name, const char *spec)
{
	_cleanup_json_ json_t *json = NULL;
	struct route *route;
	struct error err = {};

	EXPECT_OK(json_parse(spec, strlen(spec), &json, &err), &err);
	EXPECT_OK(route_new(name, json, &route, &err), &err);
	return route;
}

static struct route *to(const char *name, int priority, const char *match)
{
	char spec[512], number[32] = "";

	if (priority >= 0)
		snprintf(number, sizeof(number), "\"priority\": %d, ", priority);
	snprintf(spec, sizeof(spec), "{%s\"httpRoute\": {\"match\": %s, \"action\": {\"weightedTargets\": [{\"virtualNode\": \"n\", \"weight\": 1}]}}}",
		 number, match);
	return made(name, spec);
}

static const char *found(const struct route_table *table, const char *path)
{
	const struct route_request request = { .method = SPAN("GET"), .path = span_of(path), .scheme = SPAN("http"), .port = 80 };
	const struct route *route = route_table_find(table, &request);

	return route ? route->name : NULL;
}

TEST(routes_are_tried_by_priority_then_path_then_name)
{
	struct route_table table = {};
	static const char *const order[] = { "first", "second", "exact", "same-length", "shorter", "a", "b" };

	EXPECT_OK(route_table_add(&table, to("b", -1, "{\"prefix\": \"/\"}")));
	EXPECT_OK(route_table_add(&table, to("shorter", -1, "{\"prefix\": \"/x\"}")));
	EXPECT_OK(route_table_add(&table, to("second", 1000, "{\"prefix\": \"/\"}")));
	EXPECT_OK(route_table_add(&table, to("a", -1, "{\"prefix\": \"/\"}")));
	EXPECT_OK(route_table_add(&table, to("same-length", -1, "{\"prefix\": \"/xyz\"}")));
	EXPECT_OK(route_table_add(&table, to("exact", -1, "{\"path\": {\"exact\": \"/xyz\"}}")));
	EXPECT_OK(route_table_add(&table, to("first", 0, "{\"prefix\": \"/only\"}")));
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		EXPECT_STR(((const struct route *)table.routes.items[i])->name, order[i]);
	EXPECT_STR(found(&table, "/only"), "first");
	EXPECT_STR(found(&table, "/xyz"), "second");
	route_table_done(&table);
}

TEST(a_request_that_no_route_takes_has_none)
{
	struct route_table table = {};

	EXPECT_STR(found(&table, "/"), NULL);
	EXPECT_OK(route_table_add(&table, to("a", -1, "{\"prefix\": \"/a\"}")));
	EXPECT_STR(found(&table, "/"), NULL);
	EXPECT_STR(found(&table, "/a"), "a");
	route_table_done(&table);
}

TEST(targets_are_chosen_by_weight)
{
	struct route *route = made("r", "{\"httpRoute\": {\"match\": {\"prefix\": \"/\"}, \"action\": {\"weightedTargets\": ["
					"{\"virtualNode\": \"v1\", \"weight\": 90, \"port\": 8081}, {\"virtualNode\": \"none\", \"weight\": 0},"
					"{\"virtualNode\": \"v2\", \"weight\": 10}]}}}");
	unsigned count[3] = {};

	for (unsigned i = 0; i < 1000; i++) /* every thousandth of the random numbers */
		count[route_pick(route, i * (UINT32_MAX / 1000))]++;
	EXPECT(count[0] >= 899 && count[0] <= 901);
	EXPECT_EQ(count[1], 0);
	EXPECT_EQ(route_pick(route, UINT32_MAX), 2);
	EXPECT_EQ(route->targets[0].port, 8081);
	EXPECT_STR(route->targets[2].virtual_node, "v2");
	route_free(route);
}

TEST(weights_that_are_all_zero_choose_nobody)
{
	struct route *route = made("r", "{\"httpRoute\": {\"match\": {\"prefix\": \"/\"}, \"action\": {\"weightedTargets\": ["
					"{\"virtualNode\": \"v1\", \"weight\": 0}]}}}");

	EXPECT_EQ(route_pick(route, 0), -ENOENT);
	EXPECT_EQ(route_pick(route, UINT32_MAX), -ENOENT);
	route_free(route);
}

TEST(a_tcp_route_is_none_for_requests)
{
	_cleanup_json_ json_t *spec = json_pack("{s:{s:{s:[]}}}", "tcpRoute", "action", "weightedTargets");
	struct route *route;
	struct error err = {};

	EXPECT_EQ(route_new("t", spec, &route, &err), -EINVAL);
	EXPECT_STR(err.field, "spec.tcpRoute");
}

TEST(timeouts_are_those_said_or_15_and_300_seconds_and_0_is_none)
{
	_cleanup_json_ json_t *said = json_pack("{s:{s:s, s:i}, s:{s:s, s:i}}", "perRequest", "unit", "ms", "value", 500, "idle", "unit", "s",
						"value", 0);
	_cleanup_json_ json_t *endless = json_pack("{s:{s:s, s:I}}", "perRequest", "unit", "s", "value", (json_int_t)INT64_MAX);
	const struct route_timeouts given = route_timeouts_read(said), none = route_timeouts_read(NULL);

	EXPECT_EQ(given.request_ns, 500 * NSEC_PER_MSEC);
	EXPECT_EQ(given.idle_ns, 0);
	EXPECT_EQ(none.request_ns, 15 * NSEC_PER_SEC);
	EXPECT_EQ(none.idle_ns, 300 * NSEC_PER_SEC);
	EXPECT(route_timeouts_read(endless).request_ns > 1000 * NSEC_PER_SEC);
}

TEST(of_the_timeouts_of_both_ends_the_lower_counts)
{
	const struct route a = { .timeouts = { 30, 0 } }, off = {};

	EXPECT_EQ(route_timeouts_to(&a, (struct route_timeouts){ 15, 300 }).request_ns, 15);
	EXPECT_EQ(route_timeouts_to(&a, (struct route_timeouts){ 15, 300 }).idle_ns, 300);
	EXPECT_EQ(route_timeouts_to(&off, (struct route_timeouts){}).request_ns, 0);
}

TEST(by_weights_alone_there_are_no_retries_and_no_timeouts)
{
	struct route_table table = {};
	struct route *route;
	size_t chosen = 0;

	EXPECT_OK(route_new_by_weights("r", 2, &route));
	EXPECT_OK(route_target_set(route, 0, "n", 0, 3));
	EXPECT_OK(route_target_set(route, 1, "m", 0, 1));
	for (uint64_t random = 0; random < 1ull << 32; random += 1ull << 28)
		chosen += route_pick(route, (uint32_t)random) == 1;
	EXPECT_EQ(chosen, 4); /* of 16 */
	EXPECT_EQ(route->retry.max_retries, 0);
	EXPECT_EQ(route_timeouts_to(route, (struct route_timeouts){ 15, 300 }).request_ns, 0);
	EXPECT_EQ(route_timeouts_to(route, (struct route_timeouts){ 15, 300 }).idle_ns, 0);
	EXPECT_OK(route_table_add(&table, route));
	EXPECT_STR(found(&table, "/x"), "r");
	route_table_done(&table);
}

TEST(a_service_whose_provider_is_a_node_has_one_route_for_everything)
{
	struct route *route;
	struct route_table table = {};

	EXPECT_OK(route_new_to_node("n", 8080, &route));
	EXPECT_EQ(route_pick(route, 7), 0);
	EXPECT_EQ(route->retry.max_retries, 2);
	EXPECT_EQ(route->timeouts.request_ns, 15 * NSEC_PER_SEC);
	EXPECT_OK(route_table_add(&table, route));
	EXPECT_STR(found(&table, "/x"), "");
	route_table_done(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_are_tried_by_priority_then_path_then_name),
		cmocka_unit_test(a_request_that_no_route_takes_has_none),
		cmocka_unit_test(targets_are_chosen_by_weight),
		cmocka_unit_test(weights_that_are_all_zero_choose_nobody),
		cmocka_unit_test(a_tcp_route_is_none_for_requests),
		cmocka_unit_test(timeouts_are_those_said_or_15_and_300_seconds_and_0_is_none),
		cmocka_unit_test(of_the_timeouts_of_both_ends_the_lower_counts),
		cmocka_unit_test(by_weights_alone_there_are_no_retries_and_no_timeouts),
		cmocka_unit_test(a_service_whose_provider_is_a_node_has_one_route_for_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
