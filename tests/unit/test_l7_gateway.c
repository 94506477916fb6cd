/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of gateways: what comes and goes with them. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "tests/unit/l7_world.h"

enum { FIRST = 8088, SECOND = 8089 };

#define BY_NODE "{'port':80,'node':9,'virtualNode':'n'}"
#define BY_WEIGHTS "{'port':80,'route':'t','weighted':[{'node':9,'virtualNode':'n','weight':3},{'node':null,'virtualNode':'','weight':0}]}"

static void configure_to(struct l7_world *w, const char *listeners, const char *port)
{
	_cleanup_free_ char *text = NULL;
	struct error err = {};

	assert_true(asprintf(&text,
			     "{'services':{'1':{'name':'mesh/M/virtualService/" WORLD_HOST "','ports':[%s]}},"
			     "'targets':{'9':{'name':'mesh/M/virtualNode/n:8080','virtualNode':'n','port':8080,'outlier':{'maxErrors':5},'endpoints':["
			     "{'address':'127.0.0.1','port':%d,'slot':1,'incarnation':1}]}},'gateways':{'20':{'name':'mesh/M/virtualGateway/g',"
			     "'listeners':[%s],'routes':[{'name':'r','service':1,'spec':{'httpRoute':{'match':{'prefix':'/'},'action':{'target':"
			     "{'virtualService':{'virtualServiceName':'" WORLD_HOST "'}}}}}}]}}}",
			     port, WORLD_BACKEND_PORT, listeners) >= 0);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	EXPECT_OK(l7_configure(w->l7, 0, ++w->generation, span_of(text), &err), &err);
}

static void configure(struct l7_world *w, const char *listeners)
{
	configure_to(w, listeners, BY_NODE);
}

static bool listens(uint16_t port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

static void given_gateway(struct l7_world *w)
{
	EXPECT_OK(l7_act_add(w->l7, &(struct l7_act){ .netns_cookie = w->cookie, .netns_fd = w->netns_fd, .name = "mesh/M/virtualGateway/g",
						      .workload = 1, .cgroup = "/nowhere" }));
}

TEST(a_connection_to_an_endpoint_goes_with_the_listener_that_uses_it_and_not_with_the_one_that_opened_it)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire first = {}, second = {}, endpoint = {};
	_cleanup_message_ struct message asked = {}, asked_then = {}, answer = {}, answer_then = {};

	configure(w, "{'port':8088},{'port':8089}");
	given_gateway(w);
	program_at(FIRST, &first);
	wire_say(&first, GET("/1"));
	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &asked);
	wire_say(&endpoint, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&first, &answer);
	EXPECT_EQ(answer.status, 200);

	program_at(SECOND, &second);
	wire_say(&second, GET("/2"));
	wire_read(&endpoint, &asked_then);
	EXPECT_CONTAINS(asked_then.head, "GET /2 HTTP/1.1\r\n");
	configure(w, "{'port':8089}");
	WAIT_FOR(!listens(FIRST), WORLD_WAIT_MS * NSEC_PER_MSEC);
	wire_say(&endpoint, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&second, &answer_then);
	EXPECT_EQ(answer_then.status, 200);
}

TEST(a_request_that_waits_for_its_place_or_gets_none_is_no_probe_of_an_ejected_endpoint)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire first = {}, second = {}, third = {}, endpoint = {};
	_cleanup_message_ struct message asked = {}, asked_then = {}, answer = {}, answer_then = {}, refused = {};
	__u64 *until_ns = &w->endpoints[1].ejected_until_ns;

	configure(w, "{'port':8088,'connectionPool':{'http':{'maxConnections':1,'maxPendingRequests':1}}}");
	given_gateway(w);
	program_at(FIRST, &first);
	wire_say(&first, GET("/1"));
	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &asked);

	w->endpoints[1].ejected_for_ns = 3600 * NSEC_PER_SEC;
	__atomic_store_n(until_ns, 1, __ATOMIC_RELEASE); /* its ejection is over */
	program_at(FIRST, &second);
	wire_say(&second, GET("/2"));
	WAIT_FOR(world_counted(w, "totals.requestsActive") == 2, WORLD_WAIT_MS * NSEC_PER_MSEC);
	program_at(FIRST, &third);
	wire_say(&third, GET("/3"));
	wire_read(&third, &refused);
	EXPECT_EQ(refused.status, 503);
	EXPECT_EQ(__atomic_load_n(until_ns, __ATOMIC_RELAXED), 1);

	wire_say(&endpoint, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&first, &answer);
	EXPECT_EQ(answer.status, 200);
	wire_read(&endpoint, &asked_then);
	EXPECT_CONTAINS(asked_then.head, "GET /2 HTTP/1.1\r\n");
	EXPECT(__atomic_load_n(until_ns, __ATOMIC_RELAXED) > 1); /* out until this one is answered */
	wire_say(&endpoint, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&second, &answer_then);
	EXPECT_EQ(answer_then.status, 200);
	EXPECT_EQ(__atomic_load_n(until_ns, __ATOMIC_RELAXED), 0);
}

TEST(connections_one_after_the_other_find_the_pool_of_the_first)
{
	enum { CONNECTIONS = 10 };
	_cleanup_world_ struct l7_world *w = l7_world_new(1);

	configure(w, "{'port':8088,'connectionPool':{'http':{'maxConnections':1,'maxPendingRequests':1}}}");
	given_gateway(w);
	for (int i = 0; i < CONNECTIONS; i++) {
		_cleanup_wire_ struct wire client = {}, endpoint = {};
		_cleanup_message_ struct message asked = {}, answer = {};

		program_at(FIRST, &client);
		wire_say(&client, GET("/"));
		backend_accept(w, 1, &endpoint);
		wire_read(&endpoint, &asked);
		wire_say(&endpoint, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
		wire_read(&client, &answer);
		EXPECT_EQ(answer.status, 200);
		wire_close(&client);
		EXPECT_COUNT(w, "totals.open", 0);
	}
	EXPECT(world_counted(w, "totals.poolsAlone") < CONNECTIONS); /* it goes when it was not used for up to a second */
	EXPECT(world_counted(w, "totals.poolsAlone") > 0);
}

static int gateway_status(const char *request)
{
	_cleanup_wire_ struct wire wire = {};
	_cleanup_message_ struct message answer = {};

	program_at(FIRST, &wire);
	wire_say(&wire, request);
	wire_read(&wire, &answer);
	return answer.status;
}

TEST(a_service_that_the_kernel_balances_gets_each_request_of_a_gateway_once)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire client = {}, endpoint = {};
	_cleanup_message_ struct message asked = {}, answer = {};

	configure_to(w, "{'port':8088}", BY_WEIGHTS);
	given_gateway(w);
	program_at(FIRST, &client);
	wire_say(&client, GET("/slow"));
	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &asked);
	wire_say(&endpoint, "HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); /* the default policy would try again */
	wire_read(&client, &answer);
	EXPECT_EQ(answer.status, 503);
	EXPECT_COUNT(w, "totals.requests", 1);
	EXPECT_COUNT(w, "rows.retries", 0);

	backend_serve(w, 1);
	EXPECT_EQ(gateway_status(GET("/status/200")), 200);
	/* Programs get to it through the kernel, and to it alone. */
	given_handover(w, 1, 80, w->generation);
	EXPECT_EQ(ask_status(w, GET("/")), 404);
	EXPECT_REPLY(w, "no-service", 1);
}

/* Of the gateway's routes: "r"; of the virtual router behind it: "t". */
TEST(a_request_is_counted_by_the_gateways_route_and_by_that_of_its_service)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire client = {};
	_cleanup_message_ struct message answer = {};
	_cleanup_json_ json_t *json = NULL;
	const json_t *row;
	size_t i;

	configure_to(w, "{'port':8088}", BY_WEIGHTS);
	given_gateway(w);
	backend_serve(w, 1);
	program_at(FIRST, &client);
	wire_say(&client, GET("/bytes/10"));
	wire_read(&client, &answer);
	EXPECT_EQ(answer.status, 200);
	EXPECT_COUNT(w, "totals.requestsActive", 0);
	json = l7_json(w->l7);
	EXPECT_EQ(json_path_count(json, "routes"), 2);
	json_array_foreach(json_object_get(json, "routes"), i, row) {
		const bool own = !json_path_int(row, "service", -1);

		EXPECT_EQ(json_path_int(row, "source", 0), 20);
		EXPECT_STR(json_path_string(row, "route"), own ? "r" : "t");
		EXPECT_EQ(json_integer_value(json_array_get(json_object_get(row, "codes"), 2)), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_to_an_endpoint_goes_with_the_listener_that_uses_it_and_not_with_the_one_that_opened_it),
		cmocka_unit_test(a_request_that_waits_for_its_place_or_gets_none_is_no_probe_of_an_ejected_endpoint),
		cmocka_unit_test(connections_one_after_the_other_find_the_pool_of_the_first),
		cmocka_unit_test(a_service_that_the_kernel_balances_gets_each_request_of_a_gateway_once),
		cmocka_unit_test(a_request_is_counted_by_the_gateways_route_and_by_that_of_its_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
