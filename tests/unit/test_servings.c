/* SPDX-License-Identifier: Apache-2.0 */
/* compile(): where this node's own listeners have a limit on connections, or are weft-proxy's to serve. */
#include "tests/unit/compile_world.h"

#include <arpa/inet.h>
#include <errno.h>

#define LISTENER_OF(port, protocol, kind, limit)                                                                              \
	"{'portMapping': {'port': " #port ", 'protocol': '" protocol "'}, 'connectionPool': {'" kind "': {'maxConnections': " #limit "}}}"
#define POOL(port, kind, limit) LISTENER_OF(port, kind, kind, limit)
#define N "mesh/M/virtualNode/n"
#define POD 7
#define HOST 8

/* Namespace POD has 10.0.0.7 and fd00::7, HOST has 10.0.0.8 and 10.0.0.9. */
static bool owns(uint64_t netns_cookie, const struct ip *address, void *arg)
{
	static const struct {
		uint64_t netns_cookie;
		const char *address;
	} own[] = { { POD, "10.0.0.7" }, { POD, "fd00::7" }, { HOST, "10.0.0.8" }, { HOST, "10.0.0.9" } };
	struct ip ip;

	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i].netns_cookie == netns_cookie && ip_parse(own[i].address, &ip) == 0 && ip_equal(&ip, address))
			return true;
	return false;
}

/* "netns address:port node:port=limit", in lines; "*" for any address, "=weft-proxy" for what weft-proxy serves, where it is there. */
static void expect_servings_by(struct fixture *f, const struct compile_input *how, const struct compile_place *places, size_t count,
			       const char *expected)
{
	static const char *const nodes[] = { N };
	static const struct ip any;
	const struct plan *plan = compiled_with(f, &(struct compile_input){ .nodes = nodes, .node_count = 1, .places = places,
									    .place_count = count, .owns = owns, .proxy = how->proxy,
									    .default_pool = how->default_pool });
	_cleanup_(buffer_done) struct buffer b = {};
	char text[ENDPOINT_TEXT_BYTES];

	for (size_t i = 0; i < plan->serving_count; i++) {
		const struct plan_serving *s = &plan->servings[i];

		EXPECT_STR(s->node, N);
		buffer_printf(&b, "%s%d ", i ? "\n" : "", (int)s->netns_cookie);
		if (ip_equal(&s->address, &any))
			buffer_printf(&b, "*:%u", ntohs(s->port));
		else
			buffer_add(&b, ip_port_format(&s->address, s->port, text));
		buffer_printf(&b, " %s=", strrchr(s->target, '/') + 1);
		if (s->proxied)
			buffer_add(&b, "weft-proxy");
		else
			buffer_printf(&b, "%u", s->max_connections);
		EXPECT_EQ(s->proxied, !s->max_connections);
		EXPECT_EQ(s->listener, atoi(strrchr(s->target, ':') + 1));
	}
	EXPECT_STR(buffer_string(&b), expected);
	EXPECT_EQ(plan->target_count, 0); /* nobody here calls it */
}

static void expect_servings_with(struct fixture *f, bool proxy, const struct compile_place *places, size_t count, const char *expected)
{
	expect_servings_by(f, &(struct compile_input){ .proxy = proxy }, places, count, expected);
}

static void expect_servings(struct fixture *f, const struct compile_place *places, size_t count, const char *expected)
{
	expect_servings_with(f, false, places, count, expected);
}

TEST(a_namespace_of_its_own_serves_at_all_its_addresses)
{
	static const struct compile_place pod[] = { { N, POD, true } }, twice[] = { { N, POD, true }, { N, POD, true } };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n", POOL(8080, "tcp", 50) ", " POOL(9090, "http", 7) ", " LISTENER(7070, "tcp"), "");
	expect_servings(&f, pod, 1, "7 *:8080 n:8080=50\n7 *:9090 n:9090=7");
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.7', 'AWS_INSTANCE_IPV6': 'fd00::7'}", 0, NULL);
	expect_servings(&f, twice, 2, "7 *:8080 n:8080=50\n7 *:9090 n:9090=7");
}

TEST(an_instance_names_a_port_and_those_of_other_hosts_do_not)
{
	static const struct compile_place pod[] = { { N, POD, true } };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n", POOL(8080, "tcp", 50), "");
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.7', 'AWS_INSTANCE_PORT': '81'}", 0, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.70', 'AWS_INSTANCE_PORT': '82'}", 0, NULL);
	given_instance(&f, "n", "c", "{'AWS_INSTANCE_IPV4': '127.0.0.1', 'AWS_INSTANCE_PORT': '83'}", POD, NULL);
	given_instance(&f, "n", "d", "{'AWS_INSTANCE_IPV4': '127.0.0.1', 'AWS_INSTANCE_PORT': '84'}", HOST, NULL);
	expect_servings(&f, pod, 1, "7 *:81 n:8080=50\n7 *:8080 n:8080=50\n7 127.0.0.1:83 n:8080=50");
}

TEST(in_a_shared_namespace_only_registered_addresses_serve)
{
	static const struct compile_place places[] = { { N, HOST, false }, { "mesh/M/virtualNode/gone", HOST, false } };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n", POOL(8080, "tcp", 50), "");
	expect_servings(&f, places, 2, "");
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.8'}", 0, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '10.0.0.9', 'AWS_INSTANCE_PORT': '81'}", 0, NULL);
	given_instance(&f, "n", "c", "{'AWS_INSTANCE_IPV4': '10.0.0.10'}", 0, NULL);
	given_instance(&f, "n", "d", "{'AWS_INSTANCE_IPV4': '127.0.0.1', 'AWS_INSTANCE_PORT': '84'}", HOST, NULL);
	expect_servings(&f, places, 2, "8 10.0.0.8:8080 n:8080=50\n8 10.0.0.9:81 n:8080=50\n8 127.0.0.1:84 n:8080=50");
}

#define TIMES(port, kind) "{'portMapping': {'port': " #port ", 'protocol': '" kind "'}, 'timeout': {'" kind "': {'idle': {'unit': 's', 'value': 7}}}}"
#define ACCESS_LOG ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}"

TEST(weft_proxy_serves_http_listeners_of_which_more_is_asked_than_connections)
{
	static const struct compile_place pod[] = { { N, POD, true } };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n",
		   POOL(80, "http", 5) ", " TIMES(81, "http") ", " LISTENER(82, "http") ", " POOL(83, "tcp", 6) ", " TIMES(84, "tcp") ", "
		   LISTENER_OF(85, "https", "http", 7) ", " LISTENER(86, "http2"),
		   "");
	expect_servings_with(&f, true, pod, 1, "7 *:80 n:80=weft-proxy\n7 *:81 n:81=weft-proxy\n7 *:83 n:83=6\n7 *:85 n:85=7");
	expect_servings_with(&f, false, pod, 1, "7 *:80 n:80=5\n7 *:83 n:83=6\n7 *:85 n:85=7");
	EXPECT_OK(resources_remove(&f.resources, N));
	given_node(&f, "n", LISTENER(82, "http") ", " LISTENER(83, "tcp") ", " TLS_LISTENER(84, "http", "STRICT") ", " TLS_LISTENER(85, "http", "PERMISSIVE"), ACCESS_LOG);
	expect_servings_with(&f, true, pod, 1, "7 *:82 n:82=weft-proxy\n7 *:85 n:85=weft-proxy");
	expect_servings_with(&f, false, pod, 1, "");
}

TEST(weft_proxy_serves_where_a_limit_would_hold)
{
	static const struct compile_place places[] = { { N, HOST, false }, { N, POD, true } };
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n", LISTENER(8080, "http"), ACCESS_LOG);
	given_instance(&f, "n", "a", "{'AWS_INSTANCE_IPV4': '10.0.0.8', 'AWS_INSTANCE_PORT': '81'}", 0, NULL);
	given_instance(&f, "n", "b", "{'AWS_INSTANCE_IPV4': '127.0.0.1', 'AWS_INSTANCE_PORT': '84'}", POD, NULL);
	expect_servings_with(&f, true, places, 2,
			     "7 *:8080 n:8080=weft-proxy\n7 127.0.0.1:84 n:8080=weft-proxy\n8 10.0.0.8:81 n:8080=weft-proxy");
}

TEST(what_weft_proxy_is_not_told_of_it_does_not_serve)
{
	static const struct compile_place pod[] = { { N, POD, true } };
	FIXTURE(f);

	given_mesh(&f, "O", "DROP_ALL"); /* M is not there, so neither is the node in the plan */
	given_node(&f, "n", POOL(8080, "http", 5), "");
	expect_servings_with(&f, true, pod, 1, "");
}

TEST(connections_to_what_weft_proxy_serves_are_not_limited_where_they_go_out)
{
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_caller(&f, "web", BACKEND("s"), "");
	given_service(&f, "s", BY_NODE("n"));
	given_node(&f, "n", POOL(80, "http", 5) ", " POOL(81, "tcp", 6) ", " LISTENER_OF(82, "https", "http", 7), "");
	for (int proxy = 0; proxy < 2; proxy++) {
		const struct plan *plan = compiled_with(&f, &(struct compile_input){ .proxy = proxy });

		EXPECT_EQ(target(plan, "n:80")->max_connections, proxy ? 0 : 5);
		EXPECT_EQ(target(plan, "n:81")->max_connections, 6);
		EXPECT_EQ(target(plan, "n:82")->max_connections, 7);
	}
}

TEST(http_listeners_without_a_pool_have_the_default_one)
{
	static const struct compile_place pod[] = { { N, POD, true } };
	_cleanup_json_ json_t *pool = json_pack("{s:{s:i, s:i}}", "http", "maxConnections", 9, "maxPendingRequests", 3);
	const struct plan_node *planned;
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n",
		   LISTENER(80, "http") ", " POOL(81, "http", 5) ", " LISTENER(82, "tcp") ", " LISTENER(83, "http2") ", " LISTENER(84, "grpc") ", "
		   TLS_LISTENER(85, "http", "STRICT"),
		   "");
	expect_servings_by(&f, &(struct compile_input){ .proxy = true, .default_pool = pool }, pod, 1,
			   "7 *:80 n:80=weft-proxy\n7 *:81 n:81=weft-proxy\n7 *:85 n:85=9");
	planned = node(f.plan, N);
	EXPECT_EQ(planned->listener_count, 2);
	EXPECT_EQ(json_path_int(planned->listeners[0].pool, "http.maxConnections", 0), 9);
	EXPECT_EQ(json_path_int(planned->listeners[0].pool, "http.maxPendingRequests", 0), 3);
	EXPECT_EQ(json_path_int(planned->listeners[1].pool, "http.maxConnections", 0), 5);
	EXPECT(!json_path(planned->listeners[1].pool, "http.maxPendingRequests"));
	expect_servings_by(&f, &(struct compile_input){ .default_pool = pool }, pod, 1, "7 *:80 n:80=9\n7 *:81 n:81=5\n7 *:85 n:85=9");
}

TEST(too_many_are_refused_as_a_whole)
{
	static const char *const nodes[] = { N };
	_cleanup_free_ struct compile_place *places = calloc(MAX_SERVINGS + 1, sizeof(*places));
	struct error err = {};
	FIXTURE(f);

	given_mesh(&f, "M", "DROP_ALL");
	given_node(&f, "n", POOL(8080, "tcp", 50), "");
	for (uint64_t i = 0; i <= MAX_SERVINGS; i++)
		places[i] = (struct compile_place){ N, i + 1, true };
	EXPECT_EQ(try_compile(&f, &(struct compile_input){ .nodes = nodes, .node_count = 1, .places = places, .place_count = MAX_SERVINGS + 1,
							   .owns = owns }, &err), -E2BIG);
	EXPECT_CONTAINS(err.message, "4097 listeners with maxConnections or that weft-proxy serves, 4096 are possible");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_namespace_of_its_own_serves_at_all_its_addresses),
		cmocka_unit_test(an_instance_names_a_port_and_those_of_other_hosts_do_not),
		cmocka_unit_test(in_a_shared_namespace_only_registered_addresses_serve),
		cmocka_unit_test(weft_proxy_serves_http_listeners_of_which_more_is_asked_than_connections),
		cmocka_unit_test(weft_proxy_serves_where_a_limit_would_hold),
		cmocka_unit_test(what_weft_proxy_is_not_told_of_it_does_not_serve),
		cmocka_unit_test(connections_to_what_weft_proxy_serves_are_not_limited_where_they_go_out),
		cmocka_unit_test(http_listeners_without_a_pool_have_the_default_one),
		cmocka_unit_test(too_many_are_refused_as_a_whole),
	};

	return cmocka_run_group_tests_name("servings", tests, NULL, NULL);
}
