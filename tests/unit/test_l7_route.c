/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests go: services, routes, weights, and what is answered where there is nothing to go to. */
#include "tests/unit/l7_world.h"

static int backend_of(const struct message *m)
{
	const char *found = strstr(m->head, "\r\nx-backend: ");

	return found ? atoi(found + strlen("\r\nx-backend: ")) : 0;
}

static int went_to(struct l7_world *w, const char *request)
{
	_cleanup_message_ struct message m = {};

	ask(w, request, &m);
	EXPECT_EQ(m.status, 200);
	return backend_of(&m);
}

TEST(a_request_goes_to_an_endpoint_and_its_answer_comes_back)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	ask(w, "POST /path?a=b HTTP/1.1\r\nHost: " WORLD_HOST "\r\nX-Mine: yes\r\nContent-Length: 5\r\n\r\nhello", &m);
	EXPECT_EQ(m.status, 200);
	EXPECT_CONTAINS(m.body, "POST /path?a=b HTTP/1.1\r\n");
	EXPECT_CONTAINS(m.body, "\r\nHost: " WORLD_HOST "\r\n");
	EXPECT_CONTAINS(m.body, "\r\nX-Mine: yes\r\n");
	EXPECT_CONTAINS(m.body, "\r\nx-envoy-attempt-count: 1\r\n");
	EXPECT_CONTAINS(m.body, "\r\nx-forwarded-proto: http\r\n");
	EXPECT_CONTAINS(m.body, "\r\nx-request-id: ");
	EXPECT_CONTAINS(m.body, "\r\n\r\nhello");
	EXPECT_CONTAINS(m.head, "\r\nserver: envoy\r\n");
	EXPECT_CONTAINS(m.head, "\r\nx-envoy-upstream-service-time: ");
	EXPECT_COUNT(w, "totals.requests", 1);
	EXPECT_COUNT(w, "totals.requestsActive", 0);
}

TEST(routes_are_tried_in_order_and_the_first_that_matches_takes_the_request)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	given_http_route(w, "any", "{'prefix':'/'}", "11", NULL);
	given_http_route(w, "longer", "{'prefix':'/api/'}", "12", NULL);
	given_http_route(w, "exact", "{'path':{'exact':'/api/v1'}}", "13", NULL);
	given_http_route(w, "header", "{'prefix':'/api/users/','headers':[{'name':'x-user','match':{'exact':'beta'}}]}", "14", NULL);
	world_configure(w);
	backends_serve(w);
	EXPECT_EQ(went_to(w, GET("/")), 1);
	EXPECT_EQ(went_to(w, GET("/api")), 1);
	EXPECT_EQ(went_to(w, GET("/api/x?y=/z")), 2);
	EXPECT_EQ(went_to(w, GET("/api/v1")), 3);
	EXPECT_EQ(went_to(w, GET("/api/users/7")), 2);
	EXPECT_EQ(went_to(w, "GET /api/users/7 HTTP/1.1\r\nHost: x\r\nX-User: beta\r\n\r\n"), 4);
}

TEST(the_path_is_normalised_before_routes_see_it_and_is_sent_so)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_http_route(w, "any", "{'prefix':'/'}", "11", NULL);
	given_http_route(w, "admin", "{'prefix':'/admin/'}", "12", NULL);
	world_configure(w);
	backends_serve(w);
	ask(w, GET("/x/..//%61dmin/./y?q=/../%61"), &m);
	EXPECT_EQ(backend_of(&m), 2);
	EXPECT_CONTAINS(m.body, "GET /admin/y?q=/../%61 HTTP/1.1\r\n");
	EXPECT_EQ(went_to(w, GET("/admin/../x")), 1);
	EXPECT_EQ(went_to(w, GET("/%2fadmin/")), 1);
}

TEST(what_no_route_takes_is_answered_404_without_a_body)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_http_route(w, "r", "{'prefix':'/here'}", "11", NULL);
	world_configure(w);
	ask(w, GET("/elsewhere"), &m);
	EXPECT_EQ(m.status, 404);
	EXPECT_EQ(m.length, 0);
	EXPECT_CONTAINS(m.head, "\r\nserver: envoy\r\n");
	EXPECT_REPLY(w, "no-route", 1);
}

TEST(a_router_without_routes_answers_404)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	world_configure(w);
	EXPECT_EQ(ask_status(w, GET("/")), 404);
	EXPECT_REPLY(w, "no-route", 1);
}

TEST(a_service_that_is_a_virtual_node_has_one_route_for_all)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	given_services(w, "'2':{'name':'mesh/M/virtualService/node','ports':[{'port':80,'node':12,'virtualNode':'n12'},"
			   "{'port':81,'node':null,'virtualNode':'gone'}]}");
	world_configure(w);
	backends_serve(w);
	given_handover(w, 2, 80, w->generation);
	EXPECT_EQ(went_to(w, GET("/any")), 2);
	given_handover(w, 2, 81, w->generation);
	EXPECT_EQ(ask_status(w, GET("/any")), 503);
	EXPECT_REPLY(w, "no-target", 1);
}

TEST(requests_spread_by_weight)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	int to[WORLD_BACKENDS + 1] = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11=3 12=1 13=0", NULL);
	world_configure(w);
	backends_serve(w);
	for (int i = 0; i < 400; i++)
		to[went_to(w, GET("/"))]++;
	EXPECT(to[1] > 240 && to[1] < 360); /* 300 ± 60: seven deviations */
	EXPECT_EQ(to[1] + to[2], 400);
}

TEST(a_target_that_is_gone_is_answered_503)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	given_http_route(w, "null", "{'prefix':'/null'}", "0", NULL);
	given_http_route(w, "unknown", "{'prefix':'/unknown'}", "99", NULL);
	given_http_route(w, "weightless", "{'prefix':'/weightless'}", "11=0", NULL);
	world_configure(w);
	EXPECT_EQ(ask_status(w, GET("/null")), 503);
	EXPECT_EQ(ask_status(w, GET("/unknown")), 503);
	EXPECT_EQ(ask_status(w, GET("/weightless")), 503);
	EXPECT_REPLY(w, "no-target", 3);
}

TEST(a_target_without_healthy_endpoints_is_answered_503)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_any_route(w, NULL);
	w->panic_pct = 0;
	world_configure(w);
	for (size_t i = 0; i < WORLD_SLOTS; i++)
		w->endpoints[i].health = HEALTH_DOWN;
	ask(w, GET("/"), &m);
	EXPECT_EQ(m.status, 503);
	EXPECT_STR(m.body, "no healthy upstream");
	EXPECT_CONTAINS(m.head, "\r\nContent-Type: text/plain\r\n");
	EXPECT_REPLY(w, "no-healthy-upstream", 1);
}

TEST(a_target_that_demands_tls_is_answered_503_in_words)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_any_route(w, NULL);
	given_targets(w, "'needsTls':true");
	world_configure(w);
	ask(w, GET("/"), &m);
	EXPECT_EQ(m.status, 503);
	EXPECT_CONTAINS(m.body, "TLS");
	EXPECT_REPLY(w, "needs-tls", 1);
}

TEST(an_unknown_service_is_answered_404_when_the_configuration_is_new_enough)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	world_configure(w);
	given_handover(w, 7, WORLD_PORT, w->generation);
	EXPECT_EQ(ask_status(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
	given_handover(w, WORLD_SERVICE, 9999, w->generation);
	EXPECT_EQ(ask_status(w, GET("/")), 404);
	EXPECT_REPLY(w, "no-service", 2);
}

TEST(a_request_waits_for_the_configuration_that_the_kernel_decided_by)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire one, two;
	_cleanup_message_ struct message a = {}, b = {};

	world_configure(w);
	given_handover(w, 2, 80, w->generation + 2);
	program(w, &one);
	program(w, &two);
	wire_say(&one, "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo");
	wire_say(&two, GET("/two"));
	EXPECT_COUNT(w, "totals.requestsActive", 2);
	world_configure(w); /* not it */
	wire_say(&one, "dy");
	given_services(w, "'2':{'name':'mesh/M/virtualService/node','ports':[{'port':80,'node':12,'virtualNode':'n12'}]}");
	backend_serve(w, 2);
	world_configure(w);
	wire_read(&one, &a);
	wire_read(&two, &b);
	EXPECT_EQ(a.status, 200);
	EXPECT_CONTAINS(a.body, "\r\n\r\nbody");
	EXPECT_EQ(b.status, 200);
	EXPECT_REPLY(w, "no-service", 0);
}

TEST(a_configuration_that_does_not_come_in_time_is_answered_404)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	world_configure(w);
	given_handover(w, 2, 80, w->generation + 1);
	EXPECT_EQ(ask_status(w, GET("/")), 404);
	EXPECT_REPLY(w, "no-service", 1);
}

TEST(a_connection_that_the_kernel_did_not_hand_over_is_closed)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire wire;

	world_configure(w);
	w->no_handover = true;
	program(w, &wire);
	EXPECT(wire_next(&wire) != WIRE_BYTES);
	EXPECT_COUNT(w, "totals.noHandover", 1);
	EXPECT_COUNT(w, "totals.open", 0);
}

TEST(host_says_which_of_the_callers_backends_is_meant_else_what_was_connected_to_does)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	given_services(w, "'2':{'name':'mesh/M/virtualService/other','ports':[{'port':8080,'node':12,'virtualNode':'n12'}]},"
			   "'5':{'name':'mesh/M/virtualService/stranger','ports':[{'port':8080,'node':13,'virtualNode':'n13'}]}");
	world_configure(w);
	backends_serve(w);
	EXPECT_EQ(went_to(w, "GET / HTTP/1.1\r\nHost: other\r\n\r\n"), 2);
	EXPECT_EQ(went_to(w, "GET / HTTP/1.1\r\nHost: OTHER:8080\r\n\r\n"), 2);
	EXPECT_EQ(went_to(w, "GET / HTTP/1.1\r\nHost: " WORLD_HOST ":1\r\n\r\n"), 1);
	EXPECT_EQ(went_to(w, "GET / HTTP/1.1\r\nHost: stranger\r\n\r\n"), 1); /* none of its backends */
	EXPECT_EQ(went_to(w, "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"), 1);
	EXPECT_EQ(went_to(w, "GET / HTTP/1.1\r\nHost:\r\n\r\n"), 1);
}

TEST(a_target_in_absolute_form_overrules_host)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	given_services(w, "'2':{'name':'mesh/M/virtualService/other','ports':[{'port':8080,'node':12,'virtualNode':'n12'}]}");
	world_configure(w);
	backends_serve(w);
	ask(w, "GET http://other:8080/a/../b?c HTTP/1.1\r\nHost: " WORLD_HOST "\r\n\r\n", &m);
	EXPECT_EQ(backend_of(&m), 2);
	EXPECT_CONTAINS(m.body, "GET /b?c HTTP/1.1\r\n");
	EXPECT_CONTAINS(m.body, "\r\nhost: other:8080\r\n");
	EXPECT(!strstr(m.body, WORLD_HOST));
}

TEST(http_1_0_without_host_is_for_what_was_connected_to)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_message_ struct message m = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	ask(w, "GET /old HTTP/1.0\r\n\r\n", &m);
	EXPECT_EQ(m.status, 200);
	EXPECT_CONTAINS(m.body, "GET /old HTTP/1.1\r\n");
	EXPECT_CONTAINS(m.body, "\r\nhost: " WORLD_HOST "\r\n");
}

TEST(requests_that_make_no_sense_are_refused_by_name)
{
	static const struct {
		const char *request, *reply;
		int status;
	} bad[] = {
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "totals.replies.connect-method", 404 },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "totals.replies.bad-path", 400 },
		{ "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", "totals.replies.bad-path", 400 },
		{ "GET / HTTP/1.1\r\n\r\n", "totals.replies.bad-request", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "totals.replies.bad-request", 400 },
		{ "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "totals.replies.bad-request", 400 },
		{ "HELLO\r\n\r\n", "totals.replies.bad-request", 400 },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "totals.replies.bad-version", 505 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "totals.replies.unknown-coding", 501 },
	};
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	given_any_route(w, NULL);
	world_configure(w);
	backends_serve(w);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const int64_t before = world_counted(w, bad[i].reply);

		EXPECT_EQ(ask_status(w, bad[i].request), bad[i].status);
		EXPECT_COUNT(w, bad[i].reply, before + 1);
	}
	EXPECT_COUNT(w, "totals.upstreamConnections", 0);
}

TEST(a_configuration_with_slots_that_the_kernel_has_not_leaves_what_is_in_force)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_free_ char *text = NULL;
	struct error err = {};

	given_any_route(w, NULL);
	world_configure(w);
	backends_serve(w);
	assert_true(asprintf(&text,
			     "{\"targets\":{\"3\":{\"name\":\"mesh/M/virtualNode/far:80\",\"virtualNode\":\"far\",\"port\":80,\"endpoints\":"
			     "[{\"address\":\"127.0.0.1\",\"port\":80,\"slot\":%u,\"incarnation\":1}]}}}",
			     w->endpoint_count) > 0);
	EXPECT_EQ(l7_configure(w->l7, 0, w->generation + 1, span_of(text), &err), -E2BIG);
	EXPECT_EQ(l7_generation(w->l7), w->generation);
	EXPECT_EQ(ask_status(w, GET("/bytes/10")), 200);
	w->generation++;
	world_configure(w);
	EXPECT_EQ(l7_generation(w->l7), w->generation);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_goes_to_an_endpoint_and_its_answer_comes_back),
		cmocka_unit_test(routes_are_tried_in_order_and_the_first_that_matches_takes_the_request),
		cmocka_unit_test(the_path_is_normalised_before_routes_see_it_and_is_sent_so),
		cmocka_unit_test(what_no_route_takes_is_answered_404_without_a_body),
		cmocka_unit_test(a_router_without_routes_answers_404),
		cmocka_unit_test(a_service_that_is_a_virtual_node_has_one_route_for_all),
		cmocka_unit_test(requests_spread_by_weight),
		cmocka_unit_test(a_target_that_is_gone_is_answered_503),
		cmocka_unit_test(a_target_without_healthy_endpoints_is_answered_503),
		cmocka_unit_test(a_target_that_demands_tls_is_answered_503_in_words),
		cmocka_unit_test(an_unknown_service_is_answered_404_when_the_configuration_is_new_enough),
		cmocka_unit_test(a_request_waits_for_the_configuration_that_the_kernel_decided_by),
		cmocka_unit_test(a_configuration_that_does_not_come_in_time_is_answered_404),
		cmocka_unit_test(a_connection_that_the_kernel_did_not_hand_over_is_closed),
		cmocka_unit_test(host_says_which_of_the_callers_backends_is_meant_else_what_was_connected_to_does),
		cmocka_unit_test(a_target_in_absolute_form_overrules_host),
		cmocka_unit_test(http_1_0_without_host_is_for_what_was_connected_to),
		cmocka_unit_test(requests_that_make_no_sense_are_refused_by_name),
		cmocka_unit_test(a_configuration_with_slots_that_the_kernel_has_not_leaves_what_is_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
