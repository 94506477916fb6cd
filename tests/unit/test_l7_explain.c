/* SPDX-License-Identifier: Apache-2.0 */
/* What would become of a request: which route, why not the others, where it would go, with what time-outs and retries. */
#include <arpa/inet.h>

#include "agent/l7/explain.h"
#include "tests/unit/l7_world.h"

enum { WORLD_GATEWAY = 20 };

struct asked {
	const char *method, *target, *host;
	struct http_header headers[4];
	size_t header_count;
	uint32_t count;
	uint16_t gateway_port; /* 0: it is no gateway that is asked */
};

static json_t *explained(struct l7_world *w, const struct asked *asked)
{
	const struct l7_question question = {
		.handover = asked->gateway_port ? (struct handover){ .source = WORLD_GATEWAY, .port = htons(asked->gateway_port),
								     .destination = w->handover.destination } :
						  w->handover,
		.gateway = asked->gateway_port != 0,
		.netns_cookie = w->cookie,
		.method = asked->method ?: "GET",
		.target = span_of(asked->target),
		.host = span_of(asked->host ?: WORLD_HOST),
		.headers = asked->headers,
		.header_count = asked->header_count,
		.count = asked->count,
	};
	json_t *answer = l7_explain(w->l7, &question);

	assert_non_null(answer);
	return answer;
}

#define EXPLAINED(...) explained(w, &(const struct asked){ __VA_ARGS__ })

static const char *route_said(const json_t *answer, size_t i, const char *member)
{
	return json_path_string(json_path_at(answer, "routes", i), member);
}

TEST(the_route_that_matches_is_named_and_why_each_before_it_did_not)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;

	given_http_route(w, "post", "{'prefix':'/long/enough/pay','method':'POST'}", "11", NULL);
	given_http_route(w, "beta", "{'prefix':'/long/enough','headers':[{'name':'x-user-segment','match':{'exact':'beta'}}]}", "12", NULL);
	given_http_route(w, "query", "{'prefix':'/long','queryParameters':[{'name':'v','match':{'exact':'2'}}]}", "12", NULL);
	given_http_route(w, "cart", "{'prefix':'/car'}", "12", NULL);
	given_http_route(w, "any", "{'prefix':'/'}", "13", NULL);
	given_http_route(w, "never", "{'prefix':'/','method':'GET'}", "14", NULL);
	world_configure(w);
	answer = EXPLAINED(.target = "/long/./enough//pay?v=3");
	EXPECT_STR(json_path_string(answer, "path"), "/long/enough/pay");
	EXPECT_STR(json_path_string(answer, "query"), "v=3");
	EXPECT_STR(json_path_string(answer, "service"), "mesh/M/virtualService/" WORLD_HOST);
	EXPECT_STR(json_path_string(answer, "route"), "any");
	EXPECT_EQ(json_path_count(answer, "routes"), 6);
	EXPECT_STR(route_said(answer, 0, "criterion"), "method");
	EXPECT_STR(route_said(answer, 1, "criterion"), "header");
	EXPECT_STR(route_said(answer, 1, "name"), "x-user-segment");
	EXPECT_STR(route_said(answer, 2, "criterion"), "query parameter");
	EXPECT_STR(route_said(answer, 2, "name"), "v");
	EXPECT_STR(route_said(answer, 3, "criterion"), "path");
	EXPECT_STR(route_said(answer, 4, "result"), "matches");
	EXPECT_STR(route_said(answer, 5, "result"), "not-tried");
	EXPECT_STR(json_path_string(answer, "target"), "mesh/M/virtualNode/n13:8080");
	EXPECT_STR(json_path_string(answer, "endpoint"), "127.0.0.1:8083");
	EXPECT(json_is_null(json_object_get(answer, "reply")));

	json_decref(answer);
	answer = EXPLAINED(.target = "/long/enough/x", .headers = { { SPAN("X-User-Segment"), SPAN("beta") } }, .header_count = 1);
	EXPECT_STR(json_path_string(answer, "route"), "beta");
	json_decref(answer);
	answer = EXPLAINED(.target = "/long/enough/pay", .method = "POST");
	EXPECT_STR(json_path_string(answer, "route"), "post");
}

TEST(what_weft_proxy_would_answer_itself_is_told)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	static const struct {
		const char *method, *target, *reply;
	} cases[] = {
		{ "GET", "/nowhere", "no-route" },   { "GET", "/gone", "no-target" },  { "GET", "/weightless", "no-target" },
		{ "GET", "/x#fragment", "bad-path" }, { "CONNECT", "/", "connect-method" },
	};

	given_http_route(w, "gone", "{'prefix':'/gone'}", "0", NULL);
	given_http_route(w, "weightless", "{'prefix':'/weightless'}", "11=0", NULL);
	world_configure(w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *answer = EXPLAINED(.method = cases[i].method, .target = cases[i].target);

		EXPECT_STR(json_path_string(answer, "reply.name"), cases[i].reply);
		EXPECT(json_path_int(answer, "reply.status", 0) >= 400);
		EXPECT(json_is_null(json_object_get(answer, "endpoint")));
	}
}

TEST(endpoints_are_told_with_what_keeps_them_from_being_chosen)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;
	static const char *const fits[] = { "usable", "unhealthy", "ejected", "gone" };
	const json_t *endpoints;

	given_any_route(w, NULL);
	given_targets(w, "'outlier':{'maxErrors':5,'intervalNs':1,'baseEjectionNs':1,'maxEjectionPct':100}");
	w->panic_pct = 0;
	world_configure(w);
	w->endpoints[2].health = HEALTH_DOWN;
	w->endpoints[3].ejected_until_ns = time_now_ns() + 60 * NSEC_PER_SEC;
	w->endpoints[4].incarnation = 9;
	answer = EXPLAINED(.target = "/", .count = 1000);
	endpoints = json_path(json_path_at(answer, "targets", 0), "endpoints");
	EXPECT_EQ(json_array_size(endpoints), WORLD_BACKENDS);
	for (size_t i = 0; i < WORLD_BACKENDS; i++) {
		EXPECT_STR(json_path_string(json_array_get(endpoints, i), "fit"), fits[i]);
		EXPECT_EQ(json_path_bool(json_array_get(endpoints, i), "used", true), i == 0);
	}
	EXPECT(json_path_int(json_array_get(endpoints, 2), "ejectedForNs", 0) > 50 * (int64_t)NSEC_PER_SEC);
	EXPECT_STR(json_path_string(answer, "endpoint"), "127.0.0.1:8081");
	EXPECT_EQ(json_path_count(answer, "distribution"), 1);
	EXPECT_EQ(json_path_int(json_path_at(answer, "distribution", 0), "count", 0), 1000);

	json_decref(answer);
	w->panic_pct = 100;
	world_configure(w);
	answer = EXPLAINED(.target = "/");
	EXPECT(json_path_bool(json_path_at(answer, "targets", 0), "panic", false));
	endpoints = json_path(json_path_at(answer, "targets", 0), "endpoints");
	EXPECT(json_path_bool(json_array_get(endpoints, 1), "used", false)); /* all that there are */
	EXPECT(!json_path_bool(json_array_get(endpoints, 3), "used", true));
	w->endpoints[1].health = w->endpoints[3].health = HEALTH_DOWN;
	json_decref(answer);
	w->panic_pct = 0;
	world_configure(w);
	answer = EXPLAINED(.target = "/");
	EXPECT_STR(json_path_string(answer, "reply.name"), "no-healthy-upstream");
}

TEST(the_lower_of_both_ends_time_outs_and_the_retry_policy_are_in_force)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;
	const json_t *target;

	given_http_route(w, "slow", "{'prefix':'/slow'}", "11",
			 "'timeout':{'perRequest':{'unit':'s','value':60},'idle':{'unit':'ms','value':500}},'retryPolicy':{'maxRetries':3,"
			 "'httpRetryEvents':['server-error'],'tcpRetryEvents':['connection-error'],'perRetryTimeout':{'unit':'s','value':2}}");
	given_http_route(w, "plain", "{'prefix':'/'}", "11", NULL);
	given_targets(w, "'timeout':{'perRequest':{'unit':'s','value':20},'idle':{'unit':'s','value':0}}");
	world_configure(w);
	answer = EXPLAINED(.target = "/slow");
	target = json_path_at(answer, "targets", 0);
	EXPECT_EQ(json_path_int(answer, "timeouts.requestNs", 0), 60 * NSEC_PER_SEC);
	EXPECT_EQ(json_path_int(target, "timeouts.requestNs", 0), 20 * NSEC_PER_SEC);
	EXPECT_EQ(json_path_int(target, "timeouts.idleNs", 0), 500 * NSEC_PER_MSEC);
	EXPECT(json_is_null(json_path(target, "listener.idleNs")));
	EXPECT(!json_path_bool(answer, "retry.default", true));
	EXPECT_EQ(json_path_int(answer, "retry.maxRetries", 0), 3);
	EXPECT_EQ(json_path_int(answer, "retry.tryTimeoutNs", 0), 2 * NSEC_PER_SEC);
	EXPECT_EQ(json_path_count(answer, "retry.events"), 2);
	EXPECT_STR(json_string_value(json_path_at(answer, "retry.events", 0)), "server-error");

	json_decref(answer);
	answer = EXPLAINED(.target = "/");
	EXPECT(json_path_bool(answer, "retry.default", false));
	EXPECT_EQ(json_path_int(answer, "retry.maxRetries", 0), 2);
	EXPECT(json_is_null(json_path(answer, "retry.tryTimeoutNs")));
	EXPECT_EQ(json_path_int(answer, "timeouts.requestNs", 0), 15 * NSEC_PER_SEC);
}

TEST(targets_are_drawn_by_their_weights)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;
	int64_t counts[2] = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11=3 12=1 13=0", NULL);
	world_configure(w);
	answer = EXPLAINED(.target = "/", .count = 4000);
	EXPECT_EQ(json_path_int(answer, "count", 0), 4000);
	EXPECT_EQ(json_path_count(answer, "distribution"), 2);
	EXPECT_EQ((int)(json_real_value(json_path(json_path_at(answer, "targets", 0), "share")) * 100 + 0.5), (int)(0.75 * 100));
	EXPECT_EQ((int)(json_real_value(json_path(json_path_at(answer, "targets", 2), "share")) * 100 + 0.5), (int)(0 * 100));
	for (size_t i = 0; i < 2; i++) {
		const json_t *one = json_path_at(answer, "distribution", i);

		counts[strcmp(json_path_string(one, "endpoint"), "127.0.0.1:8081") != 0] = json_path_int(one, "count", 0);
	}
	EXPECT_EQ(counts[0] + counts[1], 4000);
	EXPECT(counts[0] > 2800 && counts[0] < 3200); /* 3,000, and seven deviations */
}

TEST(host_may_name_another_backend_than_was_connected_to)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;

	given_any_route(w, NULL);
	given_services(w, "'2':{'name':'mesh/M/virtualService/node','ports':[{'port':8080,'node':12,'virtualNode':'n12'}]}");
	world_configure(w);
	answer = EXPLAINED(.target = "/", .host = "node:8080");
	EXPECT(json_path_bool(answer, "byHost", false));
	EXPECT_STR(json_path_string(answer, "service"), "mesh/M/virtualService/node");
	EXPECT_STR(json_path_string(answer, "target"), "mesh/M/virtualNode/n12:8080");
	EXPECT(json_is_null(json_object_get(answer, "route"))); /* a virtual node has none */
	json_decref(answer);
	answer = EXPLAINED(.target = "/", .host = "10.0.0.1");
	EXPECT(!json_path_bool(answer, "byHost", true));
	EXPECT_STR(json_path_string(answer, "service"), "mesh/M/virtualService/" WORLD_HOST);
}

TEST(nothing_changes_by_being_explained)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;
	struct endpoint before;

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	given_targets(w, "'outlier':{'maxErrors':5,'intervalNs':1,'baseEjectionNs':1,'maxEjectionPct':100}");
	world_configure(w);
	w->endpoints[1].ejected_until_ns = 1; /* the next request would be its probe */
	before = w->endpoints[1];
	answer = EXPLAINED(.target = "/", .count = 10);
	EXPECT_STR(json_path_string(answer, "endpoint"), "127.0.0.1:8081");
	EXPECT_EQ(json_path_int(json_path_at(json_path_at(answer, "targets", 0), "endpoints", 0), "ejectedForNs", -1), 0);
	EXPECT_EQ(memcmp(&before, &w->endpoints[1], sizeof(before)), 0);
	EXPECT_COUNT(w, "totals.requests", 0);
}

#define HTTP_TO(match, service, rewrite)                                                                                      \
	"'spec':{'httpRoute':{'match':" match ",'action':{'target':{'virtualService':{'virtualServiceName':'" service "'}}" rewrite "}}}"
#define LEADS(name, id, match, rewrite) "{'name':'" name "','service':" id "," HTTP_TO(match, WORLD_HOST, rewrite) "}"

static const char *gateway_said(const json_t *answer, size_t i, const char *member)
{
	return json_path_string(json_path_at(json_object_get(answer, "gateway"), "routes", i), member);
}

TEST(of_a_gateway_its_own_routes_are_told_first_and_then_those_of_the_service_that_sees_what_they_make_of_it)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *answer = NULL;

	given_http_route(w, "cart", "{'prefix':'/cart'}", "12", NULL);
	given_http_route(w, "any", "{'prefix':'/'}", "11", NULL);
	given_services(w, "'2':{'name':'mesh/M/virtualService/plain','ports':[{'port':80,'route':'t','weighted':[{'node':11,'virtualNode':'n11',"
			  "'weight':3},{'node':12,'virtualNode':'n12','weight':1}]}]}");
	given_gateways(w, "'20':{'name':'mesh/M/virtualGateway/g','listeners':[{'port':8088}],'routes':["
			  LEADS("host", "1", "{'prefix':'/','hostname':{'exact':'a.example.org'}}", "")","
			  LEADS("post", "1", "{'prefix':'/shop/cart','method':'POST'}", ",'rewrite':{'prefix':{'value':'/none/'}}")","
			  LEADS("shop", "1", "{'prefix':'/shop'}", "")","
			  LEADS("plain", "2", "{'prefix':'/plain'}", ",'rewrite':{'hostname':{'defaultTargetHostname':'DISABLED'}}")","
			  LEADS("gone", "null", "{'prefix':'/gon'}", "")"]}");
	world_configure(w);
	answer = EXPLAINED(.target = "/shop/./cart?i=1", .host = "me.example.net:8088", .gateway_port = 8088);
	EXPECT_STR(gateway_said(answer, 0, "criterion"), "hostname");
	EXPECT_STR(gateway_said(answer, 1, "criterion"), "method");
	EXPECT_STR(gateway_said(answer, 2, "criterion"), "path");
	EXPECT_STR(gateway_said(answer, 2, "route"), "plain");
	EXPECT_STR(gateway_said(answer, 3, "result"), "matches");
	EXPECT_STR(gateway_said(answer, 4, "result"), "not-tried");
	EXPECT_STR(json_path_string(answer, "gateway.route"), "shop");
	EXPECT_STR(json_path_string(answer, "host"), "me.example.net:8088");
	EXPECT_STR(json_path_string(answer, "path"), "/shop/cart");
	EXPECT_STR(json_path_string(answer, "gateway.host"), WORLD_HOST);
	EXPECT_STR(json_path_string(answer, "gateway.path"), "/cart");
	EXPECT_STR(json_path_string(answer, "service"), "mesh/M/virtualService/" WORLD_HOST);
	EXPECT_EQ(json_path_int(answer, "port", 0), WORLD_PORT);
	EXPECT_STR(json_path_string(answer, "route"), "cart");
	EXPECT_STR(json_path_string(answer, "endpoint"), "127.0.0.1:8082");

	json_decref(answer);
	answer = EXPLAINED(.target = "/plain/x", .host = "me.example.net", .gateway_port = 8088);
	EXPECT_STR(json_path_string(answer, "gateway.host"), "me.example.net");
	EXPECT_STR(json_path_string(answer, "gateway.path"), "/x");
	EXPECT_STR(json_path_string(answer, "route"), "t");
	EXPECT_EQ(json_path_int(answer, "retry.maxRetries", -1), 0);
	EXPECT(json_is_null(json_path(json_path_at(answer, "targets", 0), "timeouts.requestNs")));
	EXPECT_EQ((int)(json_real_value(json_path(json_path_at(answer, "targets", 0), "share")) * 100 + 0.5), 75);

	json_decref(answer);
	answer = EXPLAINED(.target = "/gon/x", .host = "me.example.net", .gateway_port = 8088);
	EXPECT_STR(json_path_string(answer, "gateway.route"), "gone");
	EXPECT_STR(json_path_string(answer, "reply.name"), "no-service");
	json_decref(answer);
	answer = EXPLAINED(.target = "/", .host = "me.example.net", .gateway_port = 8088);
	EXPECT(json_is_null(json_path(answer, "gateway.route")));
	EXPECT_STR(json_path_string(answer, "reply.name"), "no-route");
	json_decref(answer);
	answer = EXPLAINED(.target = "/");
	EXPECT(json_is_null(json_object_get(answer, "gateway")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_route_that_matches_is_named_and_why_each_before_it_did_not),
		cmocka_unit_test(what_weft_proxy_would_answer_itself_is_told),
		cmocka_unit_test(endpoints_are_told_with_what_keeps_them_from_being_chosen),
		cmocka_unit_test(the_lower_of_both_ends_time_outs_and_the_retry_policy_are_in_force),
		cmocka_unit_test(targets_are_drawn_by_their_weights),
		cmocka_unit_test(host_may_name_another_backend_than_was_connected_to),
		cmocka_unit_test(nothing_changes_by_being_explained),
		cmocka_unit_test(of_a_gateway_its_own_routes_are_told_first_and_then_those_of_the_service_that_sees_what_they_make_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
