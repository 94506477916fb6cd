/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/match.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static struct route_match made(const char *protocol, const char *json)
{
	_cleanup_json_ json_t *match = NULL;
	struct route_match m;
	struct error err = {};

	EXPECT_OK(json_parse(json, strlen(json), &match, &err), &err);
	EXPECT_OK(route_match_init(&m, match, protocol, "spec.httpRoute.match", &err), &err);
	return m;
}

/* A request whose headers are "name: value" lines. */
struct asked {
	const char *method, *path, *query, *authority;
	uint16_t port;
	const char *headers[8];
};

static struct route_mismatch mismatch(const struct route_match *match, const struct asked *asked)
{
	struct http_header headers[8];
	struct route_request request = {
		.method = span_of(asked->method ?: "GET"),
		.path = span_of(asked->path ?: "/"),
		.query = span_of(asked->query ?: ""),
		.scheme = SPAN("http"),
		.authority = span_of(asked->authority ?: "shop.example.com"),
		.port = asked->port ?: 8080,
		.headers = headers,
	};

	for (; request.header_count < 8 && asked->headers[request.header_count]; request.header_count++) {
		const char *line = asked->headers[request.header_count], *colon = strstr(line, ": ");

		headers[request.header_count] = (struct http_header){ { line, colon - line }, span_of(colon + 2) };
	}
	return route_match_test(match, &request);
}

#define EXPECT_CRITERION(json, expected, ...)                                                           \
	do {                                                                                            \
		struct route_match m = made("http", json);                                              \
		EXPECT_EQ(mismatch(&m, &(struct asked){ __VA_ARGS__ }).criterion, expected);            \
		route_match_done(&m);                                                                   \
	} while (0)

TEST(a_prefix_is_plain_text)
{
	EXPECT_CRITERION("{\"prefix\": \"/\"}", ROUTE_MATCHES, .path = "/anything");
	EXPECT_CRITERION("{\"prefix\": \"/chapter\"}", ROUTE_MATCHES, .path = "/chapter1");
	EXPECT_CRITERION("{\"prefix\": \"/chapter\"}", ROUTE_PATH, .path = "/Chapter");
	EXPECT_CRITERION("{\"prefix\": \"/chapter/\"}", ROUTE_PATH, .path = "/chapter");
}

TEST(an_exact_path_is_the_whole_path_without_the_query)
{
	EXPECT_CRITERION("{\"path\": {\"exact\": \"/a\"}}", ROUTE_MATCHES, .path = "/a", .query = "b");
	EXPECT_CRITERION("{\"path\": {\"exact\": \"/a\"}}", ROUTE_PATH, .path = "/a/");
}

TEST(a_regex_has_to_match_the_whole_path)
{
	EXPECT_CRITERION("{\"path\": {\"regex\": \"/v[0-9]+/.*\"}}", ROUTE_MATCHES, .path = "/v12/x");
	EXPECT_CRITERION("{\"path\": {\"regex\": \"/v[0-9]+\"}}", ROUTE_PATH, .path = "/v12/x");
	EXPECT_CRITERION("{\"path\": {\"regex\": \"/v[0-9]+\"}}", ROUTE_PATH, .path = "/x/v12");
	EXPECT_CRITERION("{\"path\": {\"regex\": \"/a|/ab\"}}", ROUTE_MATCHES, .path = "/ab");
}

TEST(a_regex_that_is_none_is_refused_with_its_field)
{
	static const char *const bad[] = { "(", "a(?=b)", "(a)\\1", "[z-a]", "a{5000}" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *match = json_pack("{s:{s:s}}", "path", "regex", bad[i]);
		struct route_match m;
		struct error err = {};

		EXPECT_EQ(route_match_init(&m, match, "http", "spec.httpRoute.match", &err), -EINVAL);
		EXPECT_STR(err.field, "spec.httpRoute.match.path.regex");
	}
}

TEST(a_regex_takes_time_linear_in_the_value)
{
	struct route_match m = made("http", "{\"prefix\": \"/\", \"headers\": [{\"name\": \"x\", \"match\": {\"regex\": \"(a*)*(a|aa)*b\"}}]}");
	char line[4096] = "x: ";
	struct asked asked = { .headers = { line } };

	memset(line + 3, 'a', sizeof(line) - 4);
	EXPECT_EQ(mismatch(&m, &asked).criterion, ROUTE_HEADER);
	route_match_done(&m);
}

TEST(port_method_and_scheme)
{
	EXPECT_CRITERION("{\"prefix\": \"/\", \"port\": 8080}", ROUTE_MATCHES, .port = 8080);
	EXPECT_CRITERION("{\"prefix\": \"/\", \"port\": 8080}", ROUTE_PORT, .port = 8081);
	EXPECT_CRITERION("{\"prefix\": \"/\", \"method\": \"POST\"}", ROUTE_MATCHES, .method = "POST");
	EXPECT_CRITERION("{\"prefix\": \"/\", \"method\": \"POST\"}", ROUTE_METHOD, .method = "PUT");
	EXPECT_CRITERION("{\"prefix\": \"/\", \"scheme\": \"http\"}", ROUTE_MATCHES, );
	EXPECT_CRITERION("{\"prefix\": \"/\", \"scheme\": \"https\"}", ROUTE_SCHEME, );
}

TEST(query_parameters_are_compared_as_they_came_the_first_of_a_name)
{
	static const char exact[] = "{\"prefix\": \"/\", \"queryParameters\": [{\"name\": \"a\", \"match\": {\"exact\": \"1\"}}]}";
	static const char present[] = "{\"prefix\": \"/\", \"queryParameters\": [{\"name\": \"a\"}]}";
	static const char two[] = "{\"prefix\": \"/\", \"queryParameters\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}";

	EXPECT_CRITERION(exact, ROUTE_MATCHES, .query = "a=1");
	EXPECT_CRITERION(exact, ROUTE_MATCHES, .query = "x&b=2&a=1&a=2");
	EXPECT_CRITERION(exact, ROUTE_QUERY, .query = "a=2&a=1");
	EXPECT_CRITERION(exact, ROUTE_QUERY, .query = "aa=1");
	EXPECT_CRITERION(exact, ROUTE_QUERY, .query = "a=%31");
	EXPECT_CRITERION(exact, ROUTE_QUERY, );
	EXPECT_CRITERION(present, ROUTE_MATCHES, .query = "a");
	EXPECT_CRITERION(present, ROUTE_MATCHES, .query = "a=");
	EXPECT_CRITERION(present, ROUTE_MATCHES, .query = "&&a=x=y");
	EXPECT_CRITERION(present, ROUTE_QUERY, .query = "b=a");
	EXPECT_CRITERION(two, ROUTE_MATCHES, .query = "b&a");
	EXPECT_CRITERION(two, ROUTE_QUERY, .query = "b");
}

TEST(what_headers_are_tested_for)
{
	static const struct {
		const char *test, *header;
		bool holds, inverted;
	} cases[] = {
		{ "\"match\": {\"exact\": \"beta\"}", "X-Seg: beta", true, false },
		{ "\"match\": {\"exact\": \"beta\"}", "x-seg: Beta", false, true },
		{ "\"match\": {\"exact\": \"beta\"}", NULL, false, true },
		{ "\"match\": {\"prefix\": \"be\"}", "x-seg: beta", true, false },
		{ "\"match\": {\"prefix\": \"be\"}", "x-seg: b", false, true },
		{ "\"match\": {\"suffix\": \"ta\"}", "x-seg: beta", true, false },
		{ "\"match\": {\"suffix\": \"ta\"}", "x-seg: a", false, true },
		{ "\"match\": {\"regex\": \"b.*\"}", "x-seg: beta", true, false },
		{ "\"match\": {\"regex\": \"b.\"}", "x-seg: beta", false, true },
		{ "\"match\": {\"regex\": \".*\"}", NULL, false, true },
		{ "\"match\": {\"range\": {\"start\": 1, \"end\": 10}}", "x-seg: 1", true, false },
		{ "\"match\": {\"range\": {\"start\": 1, \"end\": 10}}", "x-seg: 9", true, false },
		{ "\"match\": {\"range\": {\"start\": 1, \"end\": 10}}", "x-seg: 10", false, true },
		{ "\"match\": {\"range\": {\"start\": -5, \"end\": 0}}", "x-seg: -5", true, false },
		{ "\"match\": {\"range\": {\"start\": -5, \"end\": 5}}", "x-seg: 1x", false, true },
		{ "\"match\": {\"range\": {\"start\": -5, \"end\": 5}}", "x-seg: -", false, true },
		{ "\"match\": {\"range\": {\"start\": -5, \"end\": 5}}", "x-seg: ", false, true },
		{ "\"match\": {\"range\": {\"start\": -9223372036854775808, \"end\": 5}}", "x-seg: -9223372036854775808", true, false },
		{ "\"match\": {\"range\": {\"start\": 1, \"end\": 9223372036854775807}}", "x-seg: 9223372036854775808", false, true },
		{ "\"match\": {\"range\": {\"start\": 1, \"end\": 10}}", NULL, false, true },
		{ NULL, "x-seg: ", true, false },
		{ NULL, NULL, false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int invert = 0; invert < 2; invert++) {
			const bool holds = invert ? cases[i].inverted : cases[i].holds;
			char json[256];

			snprintf(json, sizeof(json), "{\"prefix\": \"/\", \"headers\": [{\"name\": \"x-Seg\", \"invert\": %s%s%s}]}",
				 invert ? "true" : "false", cases[i].test ? ", " : "", cases[i].test ?: "");
			EXPECT_CRITERION(json, holds ? ROUTE_MATCHES : ROUTE_HEADER, .headers = { cases[i].header });
		}
}

TEST(values_of_a_header_that_comes_twice_are_joined)
{
	static const char joined[] = "{\"prefix\": \"/\", \"headers\": [{\"name\": \"x\", \"match\": {\"exact\": \"a,b\"}}]}";

	EXPECT_CRITERION(joined, ROUTE_MATCHES, .headers = { "x: a", "y: 1", "X: b" });
	EXPECT_CRITERION(joined, ROUTE_HEADER, .headers = { "x: b", "x: a" });
	EXPECT_CRITERION(joined, ROUTE_HEADER, .headers = { "x: a" });
}

TEST(what_would_be_too_long_joined_matches_no_value_but_is_there)
{
	static char long_line[ROUTE_JOINED_BYTES + 8] = "x: ";
	static const char prefix[] = "{\"prefix\": \"/\", \"headers\": [{\"name\": \"x\", \"match\": {\"prefix\": \"a\"}}]}";
	static const char present[] = "{\"prefix\": \"/\", \"headers\": [{\"name\": \"x\"}]}";

	memset(long_line + 3, 'a', ROUTE_JOINED_BYTES);
	EXPECT_CRITERION(prefix, ROUTE_MATCHES, .headers = { long_line });
	EXPECT_CRITERION(prefix, ROUTE_HEADER, .headers = { long_line, "x: a" });
	EXPECT_CRITERION(present, ROUTE_MATCHES, .headers = { long_line, "x: a" });
}

TEST(host_and_pseudo_headers_are_headers_too)
{
	EXPECT_CRITERION("{\"prefix\": \"/\", \"headers\": [{\"name\": \"Host\", \"match\": {\"exact\": \"a.b\"}}]}", ROUTE_MATCHES,
			 .authority = "a.b");
	EXPECT_CRITERION("{\"prefix\": \"/\", \"headers\": [{\"name\": \":authority\", \"match\": {\"suffix\": \".b\"}}]}", ROUTE_MATCHES,
			 .authority = "a.b");
	EXPECT_CRITERION("{\"prefix\": \"/\", \"headers\": [{\"name\": \":method\", \"match\": {\"exact\": \"GET\"}}]}", ROUTE_HEADER,
			 .method = "PUT");
}

TEST(the_first_criterion_that_does_not_hold_is_named)
{
	struct route_match m = made("http", "{\"prefix\": \"/a\", \"method\": \"GET\", \"headers\": [{\"name\": \"one\"}, {\"name\": \"two\"}]}");

	EXPECT_EQ(mismatch(&m, &(struct asked){ .path = "/b", .method = "PUT" }).criterion, ROUTE_METHOD);
	EXPECT_EQ(mismatch(&m, &(struct asked){ .path = "/b" }).criterion, ROUTE_PATH);
	EXPECT_STR(mismatch(&m, &(struct asked){ .path = "/a" }).name, "one");
	EXPECT_STR(mismatch(&m, &(struct asked){ .path = "/a", .headers = { "one: 1" } }).name, "two");
	EXPECT_STR(route_criterion_name(ROUTE_HEADER), "header");
	route_match_done(&m);
}

TEST(grpc_by_service_method_and_metadata)
{
	static const struct {
		const char *json, *path, *type;
		enum route_criterion criterion;
	} cases[] = {
		{ "{}", "/a.B/C", "content-type: application/grpc", ROUTE_MATCHES },
		{ "{}", "/a.B/C", "content-type: application/grpc+proto", ROUTE_MATCHES },
		{ "{}", "/a.B/C", "content-type: application/grpc; x=y", ROUTE_MATCHES },
		{ "{}", "/a.B/C", "content-type: application/grpcx", ROUTE_GRPC },
		{ "{}", "/a.B/C", "content-type: text/html", ROUTE_GRPC },
		{ "{}", "/a.B/C", "x: y", ROUTE_GRPC },
		{ "{\"serviceName\": \"a.B\"}", "/a.B/C", "content-type: application/grpc", ROUTE_MATCHES },
		{ "{\"serviceName\": \"a.B\"}", "/a.BC/C", "content-type: application/grpc", ROUTE_PATH },
		{ "{\"serviceName\": \"a.B\", \"methodName\": \"C\"}", "/a.B/C", "content-type: application/grpc", ROUTE_MATCHES },
		{ "{\"serviceName\": \"a.B\", \"methodName\": \"C\"}", "/a.B/CC", "content-type: application/grpc", ROUTE_PATH },
		{ "{\"metadata\": [{\"name\": \"k\", \"match\": {\"exact\": \"v\"}}]}", "/a.B/C", "content-type: application/grpc", ROUTE_HEADER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct route_match m = made("grpc", cases[i].json);

		EXPECT_EQ(mismatch(&m, &(struct asked){ .path = cases[i].path, .headers = { cases[i].type } }).criterion, cases[i].criterion);
		route_match_done(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prefix_is_plain_text),
		cmocka_unit_test(an_exact_path_is_the_whole_path_without_the_query),
		cmocka_unit_test(a_regex_has_to_match_the_whole_path),
		cmocka_unit_test(a_regex_that_is_none_is_refused_with_its_field),
		cmocka_unit_test(a_regex_takes_time_linear_in_the_value),
		cmocka_unit_test(port_method_and_scheme),
		cmocka_unit_test(query_parameters_are_compared_as_they_came_the_first_of_a_name),
		cmocka_unit_test(what_headers_are_tested_for),
		cmocka_unit_test(values_of_a_header_that_comes_twice_are_joined),
		cmocka_unit_test(what_would_be_too_long_joined_matches_no_value_but_is_there),
		cmocka_unit_test(host_and_pseudo_headers_are_headers_too),
		cmocka_unit_test(the_first_criterion_that_does_not_hold_is_named),
		cmocka_unit_test(grpc_by_service_method_and_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
