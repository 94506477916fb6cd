/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/gateway.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* `match` and `rewrite` are JSON; a rewrite of NULL is none. */
static struct gateway_route *made(const char *name, const char *match, const char *rewrite)
{
	_cleanup_json_ json_t *json = NULL;
	struct gateway_route *route;
	struct error err = {};
	char spec[1024];

	snprintf(spec, sizeof(spec),
		 "{\"httpRoute\": {\"match\": %s, \"action\": {\"target\": {\"virtualService\": {\"virtualServiceName\": \"svc\"}}%s%s}}}", match,
		 rewrite ? ", \"rewrite\": " : "", rewrite ?: "");
	EXPECT_OK(json_parse(spec, strlen(spec), &json, &err), &err);
	EXPECT_OK(gateway_route_new(name, json, &route, &err), &err);
	return route;
}

static struct route_request asks(const char *host, const char *path)
{
	return (struct route_request){ .method = SPAN("GET"), .path = span_of(path), .authority = span_of(host), .scheme = SPAN("http"), .port = 80 };
}

TEST(what_becomes_of_the_path)
{
	static const struct {
		const char *match, *rewrite, *path, *rewritten;
	} cases[] = {
		{ "{\"prefix\": \"/chapter\"}", NULL, "/chapter/1", "/1" },
		{ "{\"prefix\": \"/chapter\"}", NULL, "/chapter1", "/1" },
		{ "{\"prefix\": \"/chapter\"}", NULL, "/chapter", "/" },
		{ "{\"prefix\": \"/chapter/\"}", NULL, "/chapter/x", "/x" },
		{ "{\"prefix\": \"/\"}", NULL, "/chapter/x", "/chapter/x" },
		{ "{\"prefix\": \"/chapter\"}", "{\"prefix\": {\"defaultPrefix\": \"DISABLED\"}}", "/chapter/1", "/chapter/1" },
		{ "{\"prefix\": \"/chapter\"}", "{\"prefix\": {\"defaultPrefix\": \"ENABLED\"}}", "/chapter/1", "/1" },
		{ "{\"prefix\": \"/maroon/\"}", "{\"prefix\": {\"value\": \"/red/\"}}", "/maroon/x", "/red/x" },
		{ "{\"prefix\": \"/maroon\"}", "{\"prefix\": {\"value\": \"/red/\"}}", "/maroon/x", "/red/x" },
		{ "{\"prefix\": \"/\"}", "{\"prefix\": {\"value\": \"/red/\"}}", "/x", "/red/x" },
		{ "{\"path\": {\"exact\": \"/a\"}}", NULL, "/a", "/a" },
		{ "{\"path\": {\"exact\": \"/a\"}}", "{\"path\": {\"exact\": \"/b/c\"}}", "/a", "/b/c" },
		{ "{\"path\": {\"regex\": \"/a.*\"}}", NULL, "/abc", "/abc" },
		{ "{\"path\": {\"regex\": \"/a.*\"}}", "{\"path\": {\"exact\": \"/b\"}}", "/abc", "/b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gateway_route *route = made("r", cases[i].match, cases[i].rewrite);
		const struct route_request request = asks("h", cases[i].path);
		struct buffer buffer = {};
		struct span path;
		char text[128];

		EXPECT_EQ(gateway_route_test(route, &request).criterion, ROUTE_MATCHES);
		EXPECT_OK(gateway_route_rewrite(route, &request, &buffer, &path));
		snprintf(text, sizeof(text), "%.*s", (int)path.length, path.data);
		EXPECT_STR(text, cases[i].rewritten);
		buffer_done(&buffer);
		gateway_route_free(route);
	}
}

TEST(the_host_becomes_the_service_unless_that_is_disabled)
{
	struct gateway_route *usual = made("r", "{\"prefix\": \"/\"}", NULL),
			     *kept = made("r", "{\"prefix\": \"/\"}", "{\"hostname\": {\"defaultTargetHostname\": \"DISABLED\"}}");

	EXPECT(!usual->host_kept);
	EXPECT_STR(usual->virtual_service, "svc");
	EXPECT(kept->host_kept);
	gateway_route_free(usual);
	gateway_route_free(kept);
}

TEST(hostnames_match_exactly_or_by_suffix_in_any_case_and_without_port)
{
	static const struct {
		const char *match, *host;
		bool matches;
	} cases[] = {
		{ "{\"hostname\": {\"exact\": \"www.example.com\"}}", "www.example.com", true },
		{ "{\"hostname\": {\"exact\": \"www.example.com\"}}", "WWW.example.com:8080", true },
		{ "{\"hostname\": {\"exact\": \"www.example.com\"}}", "example.com", false },
		{ "{\"hostname\": {\"suffix\": \".example.com\"}}", "a.b.example.com", true },
		{ "{\"hostname\": {\"suffix\": \".example.com\"}}", "a.Example.com:80", true },
		{ "{\"hostname\": {\"suffix\": \".example.com\"}}", ".example.com", false },
		{ "{\"hostname\": {\"suffix\": \".example.com\"}}", "example.com", false },
		{ "{\"hostname\": {\"exact\": \"[::1]\"}}", "[::1]:80", true },
		{ "{\"hostname\": {\"exact\": \"[::1]\"}}", "[::1]", true },
		{ "{\"hostname\": {\"exact\": \"a\"}}", "", false },
		{ "{\"prefix\": \"/\"}", "", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gateway_route *route = made("r", cases[i].match, NULL);
		const struct route_request request = asks(cases[i].host, "/");

		EXPECT_EQ(gateway_route_test(route, &request).criterion, cases[i].matches ? ROUTE_MATCHES : ROUTE_HOSTNAME);
		gateway_route_free(route);
	}
}

TEST(the_most_specific_hostname_goes_first_and_those_for_any_host_stay)
{
	struct gateway_table table = {};
	static const struct {
		const char *host, *path, *name;
	} cases[] = {
		{ "a.example.com", "/x", "exact" },	{ "a.example.com", "/any", "any" }, { "b.example.com", "/x", "suffix" },
		{ "c.b.example.com", "/x", "longer" }, { "other", "/x", NULL },	    { "other", "/any/1", "any" },
	};

	EXPECT_OK(gateway_table_add(&table, made("any", "{\"prefix\": \"/any\"}", NULL)));
	EXPECT_OK(gateway_table_add(&table, made("suffix", "{\"prefix\": \"/x\", \"hostname\": {\"suffix\": \".example.com\"}}", NULL)));
	EXPECT_OK(gateway_table_add(&table, made("exact", "{\"prefix\": \"/x\", \"hostname\": {\"exact\": \"a.example.com\"}}", NULL)));
	EXPECT_OK(gateway_table_add(&table, made("longer", "{\"prefix\": \"/x\", \"hostname\": {\"suffix\": \".b.example.com\"}}", NULL)));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct route_request request = asks(cases[i].host, cases[i].path);
		const struct gateway_route *route = gateway_table_find(&table, &request);

		EXPECT_STR(route ? route->name : NULL, cases[i].name);
	}
	gateway_table_done(&table);
}

TEST(grpc_rewrites_the_host_alone)
{
	_cleanup_json_ json_t *spec = json_pack("{s:{s:{s:s}, s:{s:{s:{s:s}}}}}", "grpcRoute", "match", "serviceName", "a.B", "action", "target",
						"virtualService", "virtualServiceName", "svc");
	const struct http_header type = { SPAN("content-type"), SPAN("application/grpc") };
	struct route_request request = asks("h", "/a.B/C");
	struct gateway_route *route;
	struct buffer buffer = {};
	struct error err = {};
	struct span path;

	request.headers = &type;
	request.header_count = 1;
	EXPECT_OK(gateway_route_new("g", spec, &route, &err), &err);
	EXPECT_EQ(gateway_route_test(route, &request).criterion, ROUTE_MATCHES);
	EXPECT_OK(gateway_route_rewrite(route, &request, &buffer, &path));
	EXPECT(span_equal(path, request.path));
	gateway_route_free(route);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_becomes_of_the_path),
		cmocka_unit_test(the_host_becomes_the_service_unless_that_is_disabled),
		cmocka_unit_test(hostnames_match_exactly_or_by_suffix_in_any_case_and_without_port),
		cmocka_unit_test(the_most_specific_hostname_goes_first_and_those_for_any_host_stay),
		cmocka_unit_test(grpc_rewrites_the_host_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
