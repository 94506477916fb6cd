/* SPDX-License-Identifier: Apache-2.0 */
/* Rules between fields and between resources, references, and what is not in force. */
#include <errno.h>

#include "base/bytes.h"
#include "tests/unit/spec_documents.h"

/* More frames. */
#define NODE_LISTENER(more)                                                                                                  \
	NODE("{'serviceDiscovery': {'dns': {'hostname': 'h'}}, 'listeners': [{" more "}]}")
#define GATEWAY(spec) "{'meshName': 'm', 'virtualGatewayName': 'g', 'spec': " spec "}"
#define GATEWAY_ROUTE(spec) "{'meshName': 'm', 'virtualGatewayName': 'g', 'gatewayRouteName': 't', 'spec': " spec "}"
#define TARGETS "'action': {'weightedTargets': [{'virtualNode': 'n', 'weight': 1}]}"
#define HTTP_MATCH(match) ROUTE("{'httpRoute': {" TARGETS ", 'match': " match "}}")
#define GRPC_MATCH(match) ROUTE("{'grpcRoute': {" TARGETS ", 'match': " match "}}")
#define TARGET "'target': {'virtualService': {'virtualServiceName': 's.local'}}"
#define GATEWAY_HTTP(match, rewrite) GATEWAY_ROUTE("{'httpRoute': {'match': " match ", 'action': {" TARGET rewrite "}}}")
#define GATEWAY_GRPC(match, rewrite) GATEWAY_ROUTE("{'grpcRoute': {'match': " match ", 'action': {" TARGET rewrite "}}}")
#define HEALTH_BY(protocol, port)                                                                                             \
	"'healthCheck': {'port': " #port ", 'protocol': '" protocol "', 'intervalMillis': 5000, 'timeoutMillis': 2000,"       \
	" 'healthyThreshold': 2, 'unhealthyThreshold': 2}"
#define HEALTH(port) HEALTH_BY("tcp", port)
#define POLICY(name, enforce)                                                                                                 \
	"{'tls': {" enforce "'validation': {'trust': {'file': {'certificateChain': '/ca'}},"                                  \
	" 'subjectAlternativeNames': {'match': {'exact': ['a.local', '" name "']}}}}}"

struct verdict {
	const char *document;
	const char *field; /* NULL: accepted */
	const char *words;
};

static void expect_verdicts(const struct verdict *verdicts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *document = json_of(verdicts[i].document);

		expect_verdict(document, verdicts[i].field, verdicts[i].words);
	}
}
#define EXPECT_VERDICTS(verdicts) expect_verdicts(verdicts, ARRAY_SIZE(verdicts))

/* --- one resource ------------------------------------------------------------------------------------------------------ */

TEST(a_node_with_listeners_needs_service_discovery)
{
	static const struct verdict verdicts[] = {
		{ NODE("{}"), NULL, NULL },
		{ NODE("{'listeners': []}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "tcp")), NULL, NULL },
		{ NODE("{'listeners': [{" PORT(80, "tcp") "}]}"), "spec.serviceDiscovery", "is required: the node has listeners" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(two_listeners_on_one_port_are_refused)
{
#define TWICE(port) "'listeners': [{" PORT(80, "http") "}, {" PORT(port, "tcp") "}]"
#define TWICE_GATEWAY(port) "'listeners': [{" PORT(80, "http") "}, {" PORT(port, "grpc") "}]"
	static const char field[] = "spec.listeners[1].portMapping.port", words[] = "is 80, which listeners[0] has already";
	static const struct verdict verdicts[] = {
		{ ROUTER("{" TWICE(81) "}"), NULL, NULL },
		{ ROUTER("{" TWICE(80) "}"), field, words },
		{ GATEWAY("{" TWICE_GATEWAY(81) "}"), NULL, NULL },
		{ GATEWAY("{" TWICE_GATEWAY(80) "}"), field, words },
		{ NODE("{" TWICE(81) ", 'serviceDiscovery': {'dns': {'hostname': 'h'}}}"), NULL, NULL },
		{ NODE("{" TWICE(80) ", 'serviceDiscovery': {'dns': {'hostname': 'h'}}}"), field, words },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(pools_and_timeouts_are_those_of_the_listeners_protocol)
{
	static const struct verdict verdicts[] = {
		{ NODE_LISTENER(PORT(80, "http") ", 'connectionPool': {'http': {'maxConnections': 1}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "http2") ", 'connectionPool': {'http2': {'maxRequests': 1}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "grpc") ", 'connectionPool': {'grpc': {'maxRequests': 1}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "tcp") ", 'connectionPool': {'tcp': {'maxConnections': 1}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "https") ", 'connectionPool': {'http': {'maxConnections': 1}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "http2") ", 'connectionPool': {'http': {'maxConnections': 1}}"),
		  "spec.listeners[0].connectionPool.http", "is for protocol http, the listener's is http2" },
		{ NODE_LISTENER(PORT(80, "http") ", 'timeout': {'http': {}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "tcp") ", 'timeout': {'tcp': {}}"), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "grpc") ", 'timeout': {'tcp': {}}"), "spec.listeners[0].timeout.tcp",
		  "is for protocol tcp, the listener's is grpc" },
		{ GATEWAY("{'listeners': [{" PORT(80, "http") ", 'connectionPool': {'http': {'maxConnections': 1}}}]}"), NULL, NULL },
		{ GATEWAY("{'listeners': [{" PORT(80, "http") ", 'connectionPool': {'grpc': {'maxRequests': 1}}}]}"),
		  "spec.listeners[0].connectionPool.grpc", "the listener's is http" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_health_check_is_on_the_listeners_port)
{
	static const struct verdict verdicts[] = {
		{ NODE_LISTENER(PORT(80, "tcp") ", " HEALTH(80)), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "tcp") ", " HEALTH(null)), NULL, NULL },
		{ NODE_LISTENER(PORT(80, "tcp") ", " HEALTH(81)), "spec.listeners[0].healthCheck.port",
		  "is 81, must be the listener's port 80" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_backend_named_twice_is_refused)
{
#define BACKENDS(a, b)                                                                                                        \
	NODE("{'backends': [{'virtualService': {'virtualServiceName': '" a "'}},"                                            \
	     " {'virtualService': {'virtualServiceName': '" b "'}}]}")
	static const struct verdict verdicts[] = {
		{ BACKENDS("a.local", "b.local"), NULL, NULL },
		{ BACKENDS("a.local", "a.local"), "spec.backends[1].virtualService.virtualServiceName",
		  "is \"a.local\", which backends[0] names already" },
		{ BACKENDS("a.local", "arn:aws:appmesh:eu-west-1:123456789012:mesh/m/virtualService/a.local"),
		  "spec.backends[1].virtualService.virtualServiceName", "which backends[0] names already" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(an_enforced_client_policy_has_no_wildcard_names)
{
	static const struct verdict verdicts[] = {
		{ NODE("{'backendDefaults': {'clientPolicy': " POLICY("b.local", "") "}}"), NULL, NULL },
		{ NODE("{'backendDefaults': {'clientPolicy': " POLICY("*.local", "'enforce': false, ") "}}"), NULL, NULL },
		{ NODE("{'backendDefaults': {'clientPolicy': " POLICY("*.local", "") "}}"),
		  "spec.backendDefaults.clientPolicy.tls.validation.subjectAlternativeNames.match.exact[1]",
		  "is \"*.local\": an enforced policy needs whole names" },
		{ NODE("{'backends': [{'virtualService': {'virtualServiceName': 's', 'clientPolicy': " POLICY(
			  "*.local", "'enforce': true, ") "}}]}"),
		  "spec.backends[0].virtualService.clientPolicy.tls.validation.subjectAlternativeNames.match.exact[1]", "*.local" },
		{ GATEWAY("{'listeners': [], 'backendDefaults': {'clientPolicy': " POLICY("*.local", "") "}}"),
		  "spec.backendDefaults.clientPolicy.tls.validation.subjectAlternativeNames.match.exact[1]", "*.local" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_format_of_an_access_log_has_to_be_one)
{
#define LOGGING(format) "'logging': {'accessLog': {'file': {'path': '/dev/stdout'" format "}}}"
#define FORMAT "spec.logging.accessLog.file.format"
	static const struct verdict verdicts[] = {
		{ NODE("{" LOGGING("") "}"), NULL, NULL },
		{ NODE("{" LOGGING(", 'format': {'text': '%START_TIME(%s.%3f)% %REQ(X?Y):10%'}") "}"), NULL, NULL },
		{ NODE("{" LOGGING(", 'format': {'json': [{'key': 'a', 'value': '%PROTOCOL%'}]}") "}"), NULL, NULL },
		{ NODE("{" LOGGING(", 'format': {'text': '%PROTOCOL% %PORT%'}") "}"), FORMAT ".text",
		  "operator %PORT% at byte 12: there is no such operator" },
		{ NODE("{" LOGGING(", 'format': {'json': [{'key': 'a', 'value': '%REQ%'}]}") "}"), FORMAT ".json[0].value", "it needs a parameter" },
		{ NODE("{" LOGGING(", 'format': {'json': [{'key': 'a', 'value': '1'}, {'key': 'a', 'value': '2'}]}") "}"), FORMAT ".json[1].key",
		  "is \"a\", as json[0].key is" },
		{ GATEWAY("{'listeners': [], " LOGGING(", 'format': {'text': '100%'}") "}"), FORMAT ".text", "at byte 4: no operator behind" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_route_spec_is_exactly_one_route)
{
#define ROUTE_OF(kind, match) "'" kind "': {" TARGETS match "}"
	static const struct verdict verdicts[] = {
		{ ROUTE("{" ROUTE_OF("httpRoute", ", 'match': {'prefix': '/'}") ", 'priority': 0}"), NULL, NULL },
		{ ROUTE("{" ROUTE_OF("http2Route", ", 'match': {'prefix': '/'}") "}"), NULL, NULL },
		{ ROUTE("{" ROUTE_OF("grpcRoute", ", 'match': {}") "}"), NULL, NULL },
		{ ROUTE("{" ROUTE_OF("tcpRoute", "") ", 'httpRoute': null}"), NULL, NULL },
		{ ROUTE("{}"), "spec", "has no route" },
		{ ROUTE("{'priority': 1}"), "spec", "has no route" },
		{ ROUTE("{" ROUTE_OF("tcpRoute", "") ", " ROUTE_OF("grpcRoute", ", 'match': {}") "}"), "spec",
		  "has both grpcRoute and tcpRoute" },
		{ GATEWAY_ROUTE("{}"), "spec", "has no route" },
		{ GATEWAY_ROUTE("{'httpRoute': {'match': {'port': 1}, 'action': {" TARGET "}},"
				" 'grpcRoute': {'match': {'port': 1}, 'action': {" TARGET "}}}"),
		  "spec", "has both httpRoute and grpcRoute" },
		{ GATEWAY_ROUTE("{'tcpRoute': {}}"), "spec.tcpRoute", "is not known here" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(an_http_match_has_a_prefix_with_slash_or_a_path)
{
	static const struct verdict verdicts[] = {
		{ HTTP_MATCH("{'prefix': '/a'}"), NULL, NULL },
		{ HTTP_MATCH("{'path': {'regex': '/a.*'}}"), NULL, NULL },
		{ HTTP_MATCH("{'path': {'regex': '/(a'}}"), "spec.httpRoute.match.path.regex", "'/(a' is no regular expression of RE2: missing )" },
		{ HTTP_MATCH("{'prefix': '/', 'headers': [{'name': 'x', 'match': {'regex': 'a(?=b)'}}]}"),
		  "spec.httpRoute.match.headers[0].match.regex", "is no regular expression of RE2" },
		{ HTTP_MATCH("{'port': 80}"), "spec.httpRoute.match", "has neither prefix nor path" },
		{ HTTP_MATCH("{'prefix': '/', 'path': {'exact': '/a'}}"), "spec.httpRoute.match", "has both prefix and path" },
		{ HTTP_MATCH("{'prefix': 'a'}"), "spec.httpRoute.match.prefix", "is \"a\", must start with \"/\"" },
		{ HTTP_MATCH("{'prefix': ''}"), "spec.httpRoute.match.prefix", "must start with" },
		{ GATEWAY_HTTP("{'prefix': '/'}", ""), NULL, NULL },
		{ GATEWAY_HTTP("{'path': {'exact': '/a'}}", ""), NULL, NULL },
		{ GATEWAY_HTTP("{'hostname': {'suffix': '.local'}}", ""), NULL, NULL },
		{ GATEWAY_HTTP("{'port': 80}", ""), NULL, NULL },
		{ GATEWAY_HTTP("{'method': 'GET'}", ""), "spec.httpRoute.match",
		  "must have at least one of prefix, path, hostname, port" },
		{ GATEWAY_HTTP("{'prefix': '/', 'path': {'exact': '/a'}}", ""), "spec.httpRoute.match", "has both prefix and path" },
		{ GATEWAY_HTTP("{'prefix': 'a'}", ""), "spec.httpRoute.match.prefix", "must start with" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_range_is_not_empty)
{
#define RANGE(start, end) "[{'name': 'a'}, {'name': 'b', 'match': {'range': {'start': " #start ", 'end': " #end "}}}]"
	static const struct verdict verdicts[] = {
		{ HTTP_MATCH("{'prefix': '/', 'headers': " RANGE(1, 2) "}"), NULL, NULL },
		{ HTTP_MATCH("{'prefix': '/', 'headers': " RANGE(-9223372036854775808, 9223372036854775807) "}"), NULL, NULL },
		{ HTTP_MATCH("{'prefix': '/', 'headers': " RANGE(2, 2) "}"), "spec.httpRoute.match.headers[1].match.range",
		  "start 2 must be below end 2" },
		{ HTTP_MATCH("{'prefix': '/', 'headers': " RANGE(3, 2) "}"), "spec.httpRoute.match.headers[1].match.range", "start 3" },
		{ GRPC_MATCH("{'metadata': " RANGE(2, 2) "}"), "spec.grpcRoute.match.metadata[1].match.range", "is empty" },
		{ GATEWAY_GRPC("{'port': 1, 'metadata': " RANGE(2, 2) "}", ""), "spec.grpcRoute.match.metadata[1].match.range",
		  "is empty" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_grpc_method_needs_its_service)
{
	static const struct verdict verdicts[] = {
		{ GRPC_MATCH("{}"), NULL, NULL },
		{ GRPC_MATCH("{'serviceName': 's'}"), NULL, NULL },
		{ GRPC_MATCH("{'serviceName': 's', 'methodName': 'm'}"), NULL, NULL },
		{ GRPC_MATCH("{'methodName': 'm'}"), "spec.grpcRoute.match.serviceName", "is required: the match has methodName" },
		{ GATEWAY_GRPC("{'serviceName': 's'}", ""), NULL, NULL },
		{ GATEWAY_GRPC("{'hostname': {'exact': 'h'}}", ""), NULL, NULL },
		{ GATEWAY_GRPC("{}", ""), "spec.grpcRoute.match", "must have at least one of serviceName, hostname, port" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_retry_policy_names_an_event)
{
#define RETRY(kind, match, events)                                                                                            \
	ROUTE("{'" kind "': {" TARGETS ", 'match': " match                                                                    \
	      ", 'retryPolicy': {'maxRetries': 1, 'perRetryTimeout': {'value': 1, 'unit': 's'}" events "}}}")
	static const struct verdict verdicts[] = {
		{ RETRY("httpRoute", "{'prefix': '/'}", ", 'httpRetryEvents': ['server-error']"), NULL, NULL },
		{ RETRY("http2Route", "{'prefix': '/'}", ", 'tcpRetryEvents': ['connection-error']"), NULL, NULL },
		{ RETRY("grpcRoute", "{}", ", 'grpcRetryEvents': ['unavailable']"), NULL, NULL },
		{ RETRY("http2Route", "{'prefix': '/'}", ""), "spec.http2Route.retryPolicy", "names no event" },
		{ RETRY("grpcRoute", "{}", ", 'grpcRetryEvents': null"), "spec.grpcRoute.retryPolicy", "grpcRetryEvents" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(gateway_names_without_ports_and_not_reserved)
{
	static const struct verdict verdicts[] = {
		{ GATEWAY_HTTP("{'hostname': {'exact': 'a.local'}}", ""), NULL, NULL },
		{ GATEWAY_HTTP("{'hostname': {'exact': 'a.local:80'}}", ""), "spec.httpRoute.match.hostname.exact",
		  "is \"a.local:80\", must be a name without port" },
		{ GATEWAY_GRPC("{'hostname': {'suffix': '.local:80'}}", ""), "spec.grpcRoute.match.hostname.suffix", "without port" },
		{ GATEWAY_HTTP("{'hostname': {'exact': 'a', 'suffix': 'b'}}", ""), "spec.httpRoute.match.hostname", "exactly one" },
		{ GATEWAY_HTTP("{'prefix': '/aws-appmeshes'}", ""), "spec.httpRoute.match.prefix", "are reserved" },
		{ GATEWAY_HTTP("{'prefix': '/aws-app-mesh/'}", ""), "spec.httpRoute.match.prefix", "are reserved" },
		{ GATEWAY_HTTP("{'path': {'exact': '/aws-appmesh'}}", ""), "spec.httpRoute.match.path.exact", "are reserved" },
		{ GATEWAY_HTTP("{'prefix': '/aws-app'}", ""), NULL, NULL },
		{ GATEWAY_GRPC("{'serviceName': 'aws.app-mesh.x'}", ""), "spec.grpcRoute.match.serviceName", "are reserved" },
		{ GATEWAY_GRPC("{'serviceName': 'aws.appmesh'}", ""), "spec.grpcRoute.match.serviceName", "are reserved" },
		{ GATEWAY_GRPC("{'serviceName': 'aws.app'}", ""), NULL, NULL },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(a_rewrite_changes_something_once)
{
#define REWRITE(rewrite) GATEWAY_HTTP("{'prefix': '/a'}", ", 'rewrite': " rewrite)
	static const char field[] = "spec.httpRoute.action.rewrite";
	static const struct verdict verdicts[] = {
		{ REWRITE("{'hostname': {'defaultTargetHostname': 'DISABLED'}}"), NULL, NULL },
		{ REWRITE("{'prefix': {'defaultPrefix': 'DISABLED'}}"), NULL, NULL },
		{ REWRITE("{'prefix': {'value': '/'}}"), NULL, NULL },
		{ REWRITE("{'prefix': {'value': '/b/'}}"), NULL, NULL },
		{ REWRITE("{'path': {'exact': '/b'}}"), NULL, NULL },
		{ REWRITE("{}"), field, "must have at least one of hostname, prefix, path" },
		{ REWRITE("{'prefix': {'value': '/b/'}, 'path': {'exact': '/b'}}"), field, "has both prefix and path" },
		{ REWRITE("{'prefix': {'value': '/b'}}"), "spec.httpRoute.action.rewrite.prefix.value",
		  "is \"/b\", must start and end with \"/\"" },
		{ REWRITE("{'prefix': {'value': 'b/'}}"), "spec.httpRoute.action.rewrite.prefix.value", "is \"b/\"" },
		{ REWRITE("{'prefix': {'value': '/b/', 'defaultPrefix': 'ENABLED'}}"), "spec.httpRoute.action.rewrite.prefix",
		  "exactly one" },
		{ REWRITE("{'path': {}}"), "spec.httpRoute.action.rewrite.path.exact", "is required" },
		{ GATEWAY_GRPC("{'port': 1}", ", 'rewrite': {}"), "spec.grpcRoute.action.rewrite", "must have hostname" },
		{ GATEWAY_GRPC("{'port': 1}", ", 'rewrite': {'prefix': {'value': '/'}}"), "spec.grpcRoute.action.rewrite.prefix",
		  "is not known here" },
	};

	EXPECT_VERDICTS(verdicts);
}

TEST(names_are_plain)
{
	static const struct verdict verdicts[] = {
		{ "{'meshName': 'a/b'}", "meshName", "without \"/\"" },
		{ "{'meshName': 'm', 'virtualNodeName': 'a/b', 'spec': {}}", "virtualNodeName", "without \"/\"" },
		{ "{'meshName': 'm', 'virtualServiceName': 'a/b', 'spec': {}}", "virtualServiceName", "without \"/\"" },
		{ "{'meshName': 'm', 'virtualServiceName': '', 'spec': {}}", "virtualServiceName", "has 0 characters" },
		{ "{'meshName': 'm', 'virtualServiceName': 'a\\nb', 'spec': {}}", "virtualServiceName", "control characters" },
		{ "{'meshName': 'm', 'virtualServiceName': 'Ünïcode.local', 'spec': {}}", NULL, NULL },
		{ "{'meshName': 'm', 'virtualRouterName': 'a/b', 'routeName': 't', 'spec': {'tcpRoute': {" TARGETS "}}}",
		  "virtualRouterName", "without \"/\"" },
	};
	_cleanup_json_ json_t *service = json_of("{'meshName': 'm', 'virtualServiceName': 's', 'spec': {}}");

	EXPECT_VERDICTS(verdicts);
	json_put(service, "virtualServiceName", json_repeat("s", 255));
	expect_verdict(service, NULL, NULL);
	json_put(service, "virtualServiceName", json_repeat("s", 256));
	expect_verdict(service, "virtualServiceName", "has 256 characters, allowed are 1 to 255");
}

/* --- several resources ------------------------------------------------------------------------------------------------- */

struct world {
	const char *documents[6];
	const char *resource; /* in the message; NULL: the set is good */
	const char *field, *words;
};

static void expect_worlds(const struct world *worlds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_(resources_done) struct resources set;
		struct error err = {};
		int r;

		given_all(&set, worlds[i].documents);
		r = resources_check(&set, &err);
		if (!worlds[i].resource) {
			EXPECT_OK(r, &err);
			continue;
		}
		EXPECT_EQ(r, -EINVAL);
		EXPECT_STR(err.field, worlds[i].field);
		EXPECT_CONTAINS(err.message, worlds[i].resource);
		EXPECT_CONTAINS(err.message, worlds[i].words);
	}
}
#define EXPECT_WORLDS(worlds) expect_worlds(worlds, ARRAY_SIZE(worlds))

#define ROUTER_2 ROUTER("{'listeners': [{" PORT(80, "http") "}, {" PORT(81, "tcp") "}]}")
#define NODE_1(protocol) NODE_LISTENER(PORT(8080, protocol))
#define NODE_2 NODE_LISTENER(PORT(8080, "http") "}, {" PORT(8081, "tcp"))

TEST(a_route_speaks_the_protocol_of_its_router_and_its_targets)
{
	static const struct world worlds[] = {
		{ { ROUTER_1("http"), NODE_1("http"), HTTP_ON("", "") }, NULL, NULL, NULL },
		{ { ROUTER_1("https"), NODE_1("https"), HTTP_ON("", "") }, NULL, NULL, NULL },
		{ { ROUTER_1("http2"), NODE_1("http2"), ROUTE_ON("http2Route", "'prefix': '/'", "") }, NULL, NULL, NULL },
		{ { ROUTER_1("grpc"), NODE_1("grpc"), ROUTE_ON("grpcRoute", "", "") }, NULL, NULL, NULL },
		{ { ROUTER_1("tcp"), NODE_1("tcp"), ROUTE_ON("tcpRoute", "", "") }, NULL, NULL, NULL },
		{ { ROUTER_1("tcp"), NODE_1("http"), HTTP_ON("", "") }, ROUTE_NAME, "spec.httpRoute",
		  "httpRoute needs a listener of protocol http, but port 80 of mesh/m/virtualRouter/r is tcp" },
		{ { ROUTER_1("http"), NODE_1("http2"), HTTP_ON("", "") }, ROUTE_NAME,
		  "spec.httpRoute.action.weightedTargets[1].virtualNode",
		  "httpRoute needs a listener of protocol http, but port 8080 of mesh/m/virtualNode/n is http2" },
		{ { ROUTER_1("http"), NODE_1("http"), ROUTE_ON("grpcRoute", "", "") }, ROUTE_NAME, "spec.grpcRoute", "protocol grpc" },
		/* One end is not there. */
		{ { ROUTER_1("tcp"), NODE_1("tcp") }, NULL, NULL, NULL },
		{ { HTTP_ON("", "") }, NULL, NULL, NULL },
		{ { ROUTER("{}"), NODE("{}"), HTTP_ON("", "") }, NULL, NULL, NULL },
	};

	EXPECT_WORLDS(worlds);
}

TEST(several_router_listeners_need_a_port_that_one_of_them_has)
{
	static const char field[] = "spec.httpRoute.match.port";
	static const struct world worlds[] = {
		{ { ROUTER_2, HTTP_ON(", 'port': 80", "") }, NULL, NULL, NULL },
		{ { ROUTER_1("http"), HTTP_ON(", 'port': 80", "") }, NULL, NULL, NULL },
		{ { ROUTER_2, HTTP_ON("", "") }, ROUTE_NAME, field,
		  "is required: mesh/m/virtualRouter/r has several listeners (80, 81)" },
		{ { ROUTER_2, HTTP_ON(", 'port': 82", "") }, ROUTE_NAME, field,
		  "is 82, which is no listener port of mesh/m/virtualRouter/r (80, 81)" },
		{ { ROUTER_1("http"), HTTP_ON(", 'port': 82", "") }, ROUTE_NAME, field, "is 82" },
		{ { ROUTER("{}"), HTTP_ON(", 'port': 80", "") }, ROUTE_NAME, field, "it has no listener" },
		{ { ROUTER_2, HTTP_ON(", 'port': 81", "") }, ROUTE_NAME, "spec.httpRoute", "port 81 of mesh/m/virtualRouter/r is tcp" },
	};

	EXPECT_WORLDS(worlds);
}

TEST(several_target_listeners_need_a_port_that_one_of_them_has)
{
	static const char field[] = "spec.httpRoute.action.weightedTargets[1].port";
	static const struct world worlds[] = {
		{ { NODE_2, HTTP_ON("", ", 'port': 8080") }, NULL, NULL, NULL },
		{ { NODE_1("http"), HTTP_ON("", ", 'port': 8080") }, NULL, NULL, NULL },
		{ { NODE_2, HTTP_ON("", "") }, ROUTE_NAME, field, "is required: mesh/m/virtualNode/n has several listeners (8080, 8081)" },
		{ { NODE_1("http"), HTTP_ON("", ", 'port': 80") }, ROUTE_NAME, field, "is 80, which is no listener port" },
		{ { NODE("{}"), HTTP_ON("", ", 'port': 80") }, ROUTE_NAME, field, "it has no listener" },
		{ { NODE_2, HTTP_ON("", ", 'port': 8081") }, ROUTE_NAME, "spec.httpRoute.action.weightedTargets[1].virtualNode",
		  "is tcp" },
	};

	EXPECT_WORLDS(worlds);
}

TEST(gateway_routes_name_a_port_where_gateway_or_provider_has_several)
{
#define GATEWAY_LISTENER(more) GATEWAY("{'listeners': [{" more "}]}")
#define GATEWAY_1 GATEWAY("{'listeners': [{" PORT(80, "http") "}]}")
#define GATEWAY_2 GATEWAY("{'listeners': [{" PORT(80, "http") "}, {" PORT(81, "http") "}]}")
#define SERVICE(provider) "{'meshName': 'm', 'virtualServiceName': 's.local', 'spec': {" provider "}}"
#define BY_ROUTER "'provider': {'virtualRouter': {'virtualRouterName': 'r'}}"
#define BY_NODE "'provider': {'virtualNode': {'virtualNodeName': 'n'}}"
#define GATEWAY_ON(port, name, target_port)                                                                                   \
	GATEWAY_ROUTE("{'httpRoute': {'match': {'prefix': '/'" port "}, 'action': {'target': {'virtualService':"              \
		      " {'virtualServiceName': '" name "'}" target_port "}}}}")
	static const char match_port[] = "spec.httpRoute.match.port", target_port[] = "spec.httpRoute.action.target.port";
	static const char name[] = "mesh/m/virtualGateway/g/gatewayRoute/t";
	static const struct world worlds[] = {
		{ { GATEWAY_1, GATEWAY_ON("", "s.local", "") }, NULL, NULL, NULL },
		{ { GATEWAY_2, GATEWAY_ON(", 'port': 81", "s.local", "") }, NULL, NULL, NULL },
		{ { GATEWAY_2, GATEWAY_ON("", "s.local", "") }, name, match_port, "is required" },
		{ { GATEWAY_1, GATEWAY_ON(", 'port': 81", "s.local", "") }, name, match_port, "is 81" },
		{ { SERVICE(BY_ROUTER), ROUTER_2, GATEWAY_ON("", "s.local", ", 'port': 80") }, NULL, NULL, NULL },
		{ { SERVICE(BY_ROUTER), ROUTER_2, GATEWAY_ON("", "s.local", "") }, name, target_port, "is required" },
		{ { SERVICE(BY_ROUTER), ROUTER_2, GATEWAY_ON("", "s.local", ", 'port': 82") }, name, target_port, "is 82" },
		{ { SERVICE(BY_NODE), NODE_2, GATEWAY_ON("", "s.local", "") }, name, target_port, "is required" },
		{ { SERVICE(BY_NODE), NODE_2,
		    GATEWAY_ON("", "arn:aws:appmesh:r:123456789012:mesh/m/virtualService/s.local", "") },
		  name, target_port, "is required" },
		{ { SERVICE(BY_NODE), NODE_1("http"), GATEWAY_ON("", "s.local", "") }, NULL, NULL, NULL },
		{ { SERVICE(""), GATEWAY_ON("", "s.local", "") }, NULL, NULL, NULL },
		{ { SERVICE(BY_NODE), GATEWAY_ON("", "s.local", "") }, NULL, NULL, NULL },
	};

	EXPECT_WORLDS(worlds);
}

TEST(rules_hold_within_one_mesh_only)
{
	_cleanup_(resources_done) struct resources set;
	struct error err = {};

	resources_init(&set);
	given(&set, "{'meshName': 'other', 'virtualRouterName': 'r', 'spec': {'listeners': [{" PORT(80, "tcp") "}]}}");
	given(&set, HTTP_ON("", ""));
	EXPECT_OK(resources_check(&set, &err), &err);
}

TEST(an_error_of_a_set_names_file_and_resource)
{
	_cleanup_json_ json_t *route = json_of(HTTP_ON("", ""));
	_cleanup_(resources_done) struct resources set;
	struct error err = {};

	resources_init(&set);
	given(&set, ROUTER_2);
	EXPECT_OK(resources_add_json(&set, route, "a.json", &err), &err);
	EXPECT_EQ(resources_check(&set, &err), -EINVAL);
	EXPECT_STR(err.message, "'a.json': " ROUTE_NAME ": is required: mesh/m/virtualRouter/r has several listeners (80, 81)");
}

/* --- what is missing, what is not in force -------------------------------------------------------------------------------- */

static void append_missing(const struct resource *from, const char *field, const char *missing, void *arg)
{
	buffer_printf(arg, "%s: %s: %s\n", from->full_name, field, missing);
}

struct missing_of {
	const struct resources *set;
	struct buffer *text;
};

static int append_all_missing(const struct resource *resource, void *arg)
{
	const struct missing_of *of = arg;

	resources_unresolved(of->set, resource, append_missing, of->text);
	return 0;
}

static void expect_unresolved(struct resources *set, const char *expected)
{
	_cleanup_(buffer_done) struct buffer text = {};
	struct error err = {};

	EXPECT_OK(resources_check(set, &err), &err);
	EXPECT_EQ(resources_each(set, append_all_missing, &(struct missing_of){ set, &text }), 0);
	EXPECT_STR(buffer_string(&text), expected);
}

TEST(references_that_name_nothing_are_reported_with_field_and_name)
{
	static const char *const documents[] = {
		NODE("{'backends': [{'virtualService': {'virtualServiceName': 's.local'}},"
		     " {'virtualService': {'virtualServiceName': 'arn:aws:appmesh:r:1:mesh/m/virtualService/t.local'}}]}"),
		SERVICE(BY_ROUTER), HTTP_ON("", ""), GATEWAY_ON("", "u.local", ""), NULL,
	};
	_cleanup_(resources_done) struct resources set;

	given_all(&set, documents);
	expect_unresolved(&set,
			  "mesh/m/virtualGateway/g/gatewayRoute/t: meshName: mesh/m\n"
			  "mesh/m/virtualGateway/g/gatewayRoute/t: virtualGatewayName: mesh/m/virtualGateway/g\n"
			  "mesh/m/virtualGateway/g/gatewayRoute/t: spec.httpRoute.action.target.virtualService.virtualServiceName: "
			  "mesh/m/virtualService/u.local\n"
			  "mesh/m/virtualNode/n: meshName: mesh/m\n"
			  "mesh/m/virtualNode/n: spec.backends[1].virtualService.virtualServiceName: mesh/m/virtualService/t.local\n"
			  "mesh/m/virtualRouter/r/route/t: meshName: mesh/m\n"
			  "mesh/m/virtualRouter/r/route/t: virtualRouterName: mesh/m/virtualRouter/r\n"
			  "mesh/m/virtualRouter/r/route/t: spec.httpRoute.action.weightedTargets[0].virtualNode: "
			  "mesh/m/virtualNode/elsewhere\n"
			  "mesh/m/virtualService/s.local: meshName: mesh/m\n"
			  "mesh/m/virtualService/s.local: spec.provider.virtualRouter.virtualRouterName: mesh/m/virtualRouter/r\n");

	given(&set, "{'meshName': 'm'}");
	given(&set, ROUTER_1("http"));
	given(&set, GATEWAY_1);
	given(&set, "{'meshName': 'm', 'virtualNodeName': 'elsewhere', 'spec': {}}");
	given(&set, "{'meshName': 'm', 'virtualServiceName': 't.local', 'spec': {}}");
	given(&set, "{'meshName': 'm', 'virtualServiceName': 'u.local', 'spec': " "{" BY_NODE "}}");
	expect_unresolved(&set, "");
}

static void append_dormant(const char *field, const char *meaning, void *arg)
{
	EXPECT(meaning && *meaning);
	buffer_printf(arg, "%s\n", field);
}

static void append_not_l4(const char *field, const char *meaning, void *arg)
{
	if (!strstr(meaning, "weft/l4-http"))
		append_dormant(field, meaning, arg);
}

struct dormant_of {
	const struct resources *set;
	struct buffer *text;
	resource_not_in_force_fn *append;
};

static int append_all_dormant(const struct resource *resource, void *arg)
{
	const struct dormant_of *of = arg;

	resource_not_in_force(of->set, resource, of->append, of->text);
	return 0;
}

TEST(what_is_not_in_force_is_listed_field_by_field)
{
#define TLS(mode) "'tls': {'mode': '" mode "', 'certificate': {'file': {'certificateChain': '/c', 'privateKey': '/k'}}}"
#define IP(preference) "{'meshName': 'm', 'spec': {'serviceDiscovery': {'ipPreference': '" preference "'}}}"
#define MAP(more) NODE("{'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'a', 'serviceName': 's'" more "}}}")
	static const struct {
		const char *document, *fields;
	} rows[] = {
		{ "{'meshName': 'm', 'spec': {'egressFilter': {'type': 'DROP_ALL'}}}", "" },
		{ IP("IPv4_ONLY"), "" },
		{ IP("IPv4_PREFERRED"), "spec.serviceDiscovery.ipPreference\n" },
		{ MAP(""), "" },
		{ MAP(", 'ipPreference': 'IPv6_ONLY'"), "" },
		{ MAP(", 'ipPreference': 'IPv6_PREFERRED'"), "spec.serviceDiscovery.awsCloudMap.ipPreference\n" },
		{ NODE("{'serviceDiscovery': {'dns': {'hostname': 'h', 'responseType': 'ENDPOINTS', 'ipPreference': 'IPv6_ONLY'}}}"), "" },
		{ NODE("{'serviceDiscovery': {'dns': {'hostname': 'h', 'ipPreference': 'IPv6_PREFERRED'}}}"),
		  "spec.serviceDiscovery.dns.ipPreference\n" },
		{ NODE("{'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}}"), "" },
		{ NODE_LISTENER(PORT(1, "tcp") "}, {" PORT(80, "http") ", 'connectionPool': {'http': {'maxConnections': 1}},"
				" 'timeout': {'http': {}}, 'outlierDetection': {'maxServerErrors': 1, 'maxEjectionPercent': 1,"
				" 'interval': {'value': 1, 'unit': 's'}, 'baseEjectionDuration': {'value': 1, 'unit': 's'}}, " HEALTH(80)),
		  "" },
		{ NODE_LISTENER(PORT(80, "tcp") ", 'connectionPool': {'tcp': {'maxConnections': 1}}, 'outlierDetection':"
				" {'maxServerErrors': 1, 'maxEjectionPercent': 1, 'interval': {'value': 1, 'unit': 's'},"
				" 'baseEjectionDuration': {'value': 1, 'unit': 's'}}"), "" },
		{ NODE_LISTENER(PORT(80, "http") ", 'connectionPool': {'http': {'maxConnections': 1, 'maxPendingRequests': 1}}"), "" },
		{ NODE_LISTENER(PORT(80, "http2") ", 'connectionPool': {'http2': {'maxRequests': 1}}"),
		  "spec.listeners[0].connectionPool.http2\n" },
		{ NODE_LISTENER(PORT(80, "http2") ", 'timeout': {'http2': {}}, 'outlierDetection': {'maxServerErrors': 1, 'maxEjectionPercent': 1,"
				" 'interval': {'value': 1, 'unit': 's'}, 'baseEjectionDuration': {'value': 1, 'unit': 's'}}"),
		  "spec.listeners[0]\nspec.listeners[0].timeout.http2\n" },
		{ NODE_LISTENER(PORT(80, "tcp") ", 'timeout': {'tcp': {}}"), "spec.listeners[0].timeout.tcp\n" },
		{ NODE_LISTENER(PORT(80, "grpc") ", " HEALTH_BY("grpc", 80)), "spec.listeners[0].healthCheck\n" },
		{ NODE_LISTENER(PORT(80, "http2") ", " HEALTH_BY("http2", 80)), "spec.listeners[0].healthCheck\n" },
		{ NODE_LISTENER(PORT(80, "http") ", " TLS("STRICT")), "spec.listeners[0].tls\n" },
		{ NODE_LISTENER(PORT(80, "http") ", " TLS("PERMISSIVE")), "spec.listeners[0].tls\n" },
		{ NODE_LISTENER(PORT(80, "http") ", " TLS("DISABLED")), "" },
		{ NODE_LISTENER(PORT(80, "https")), "spec.listeners[0].portMapping\n" },
		{ NODE("{'backendDefaults': {'clientPolicy': " POLICY("a", "") "}}"), "spec.backendDefaults.clientPolicy.tls\n" },
		{ NODE("{'backendDefaults': {'clientPolicy': " POLICY("a", "'enforce': false, ") "}}"),
		  "spec.backendDefaults.clientPolicy.tls\n" },
		{ NODE("{'backends': [{'virtualService': {'virtualServiceName': 's', 'clientPolicy': " POLICY("a", "") "}}]}"),
		  "spec.backends[0].virtualService.clientPolicy.tls\n" },
		{ ROUTER_1("http"), "" },
		{ ROUTER_1("https"), "spec.listeners[0].portMapping\n" },
		{ SERVICE(BY_NODE), "" },
		{ HTTP_MATCH("{'prefix': '/', 'port': 80}"), "" },
		{ HTTP_ON("", ""), "" },
		{ ROUTE_ON("tcpRoute", "", ""), "" },
		{ HTTP_MATCH("{'prefix': '/a', 'method': 'GET', 'scheme': 'http', 'headers': [{'name': 'h'}],"
			     " 'queryParameters': [{'name': 'q'}]}"),
		  "" },
		{ HTTP_MATCH("{'path': {'exact': '/'}}"), "" },
		{ GRPC_MATCH("{}"), "" },
		{ GRPC_MATCH("{'serviceName': 's', 'methodName': 'm', 'metadata': [{'name': 'a'}]}"),
		  "spec.grpcRoute.match.serviceName\nspec.grpcRoute.match.methodName\nspec.grpcRoute.match.metadata\n" },
		{ RETRY("httpRoute", "{'prefix': '/'}", ", 'httpRetryEvents': ['server-error']"), "" },
		{ ROUTE("{'tcpRoute': {" TARGETS ", 'timeout': {'idle': {'value': 0, 'unit': 's'}}}}"), "spec.tcpRoute.timeout\n" },
		{ GATEWAY_1, "" },
		{ GATEWAY_LISTENER(PORT(80, "http") ", " TLS("STRICT")), "spec.listeners[0].tls\n" },
		{ GATEWAY_LISTENER(PORT(80, "http") ", " TLS("PERMISSIVE")), "spec.listeners[0].tls\n" },
		{ GATEWAY_LISTENER(PORT(80, "https")), "spec.listeners[0].portMapping\n" },
		{ GATEWAY_LISTENER(PORT(80, "http2")), "spec.listeners[0].portMapping\n" },
		{ GATEWAY_LISTENER(PORT(80, "http") ", " HEALTH_BY("http", 80)), "spec.listeners[0].healthCheck\n" },
		{ GATEWAY_ON("", "s.local", ""), "" },
		{ GATEWAY_ROUTE("{'http2Route': {'match': {'prefix': '/'}, 'action': {" TARGET "}}}"), "spec.http2Route\n" },
		{ GATEWAY_GRPC("{'serviceName': 's'}", ""), "spec.grpcRoute\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(resources_done) struct resources set;
		_cleanup_(buffer_done) struct buffer text = {};

		resources_init(&set);
		given(&set, rows[i].document);
		EXPECT_OK(resources_each(&set, append_all_dormant, &(struct dormant_of){ &set, &text, append_dormant }));
		EXPECT_STR(buffer_string(&text), rows[i].fields);
	}
}

/* What is in force where weft-proxy routes requests, and not where a service keeps its HTTP in the kernel. */
TEST(what_a_service_that_keeps_http_in_the_kernel_does_without_is_listed)
{
#define TAGGED(value, provider)                                                                                               \
	"{'meshName': 'm', 'virtualServiceName': 's', 'tags': [{'key': 'weft/l4-http', 'value': '" value "'}], 'spec': {" provider "}}"
#define EJECTING                                                                                                              \
	NODE_LISTENER(PORT(80, "http") ", 'outlierDetection': {'maxServerErrors': 1, 'maxEjectionPercent': 1,"                 \
		      " 'interval': {'value': 1, 'unit': 's'}, 'baseEjectionDuration': {'value': 1, 'unit': 's'}}")
	static const struct {
		const char *documents[4], *fields;
	} rows[] = {
		{ { TAGGED("true", BY_ROUTER), HTTP_ON("", "") }, "spec.httpRoute.action.weightedTargets\n" },
		{ { TAGGED("false", BY_ROUTER), HTTP_ON("", "") }, "" },
		{ { TAGGED("true", BY_NODE), HTTP_ON("", "") }, "" },
		{ { TAGGED("true", BY_ROUTER), HTTP_MATCH("{'prefix': '/a', 'method': 'GET', 'scheme': 'http', 'headers': [{'name': 'h'}],"
							  " 'queryParameters': [{'name': 'q'}]}") },
		  "spec.httpRoute.match.prefix\nspec.httpRoute.match.method\nspec.httpRoute.match.scheme\n"
		  "spec.httpRoute.match.headers\nspec.httpRoute.match.queryParameters\n" },
		{ { TAGGED("true", BY_ROUTER), HTTP_MATCH("{'path': {'exact': '/'}}") }, "spec.httpRoute.match.path\n" },
		{ { TAGGED("true", BY_NODE), GATEWAY_ON("", "s", "") }, "" },
		{ { TAGGED("true", BY_ROUTER), RETRY("httpRoute", "{'prefix': '/'}", ", 'httpRetryEvents': ['server-error']") },
		  "spec.httpRoute.retryPolicy\n" },
		{ { TAGGED("true", BY_NODE), NODE_LISTENER(PORT(80, "http") ", 'timeout': {'http': {}}") }, "" },
		{ { TAGGED("true", BY_NODE), EJECTING }, "spec.listeners[0]\n" },
		{ { TAGGED("true", BY_ROUTER), EJECTING }, "" },
		{ { TAGGED("true", BY_ROUTER), HTTP_MATCH("{'prefix': '/'}"), EJECTING }, "spec.listeners[0]\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(resources_done) struct resources set;
		_cleanup_(buffer_done) struct buffer text = {}, others = {};

		resources_init(&set);
		for (size_t n = 0; rows[i].documents[n]; n++)
			given(&set, rows[i].documents[n]);
		EXPECT_OK(resources_each(&set, append_all_dormant, &(struct dormant_of){ &set, &text, append_dormant }));
		EXPECT_STR(buffer_string(&text), rows[i].fields);
		EXPECT_OK(resources_each(&set, append_all_dormant, &(struct dormant_of){ &set, &others, append_not_l4 }));
		EXPECT_STR(buffer_string(&others), "");
	}
}

TEST(a_port_mapping_of_https_is_http_with_tls)
{
	static const struct {
		const char *text, *protocol;
		bool implies_tls;
	} rows[] = {
		{ "{'port': 443, 'protocol': 'https'}", "http", true },  { "{'port': 443, 'protocol': 'http'}", "http", false },
		{ "{'port': 443, 'protocol': 'tcp'}", "tcp", false },    { "{'port': 443, 'protocol': 'http2'}", "http2", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *document = json_of(rows[i].text);
		struct port_mapping mapping;

		port_mapping_read(document, &mapping);
		EXPECT_EQ(mapping.port, 443);
		EXPECT_STR(mapping.protocol, rows[i].protocol);
		EXPECT_EQ(mapping.implies_tls, rows[i].implies_tls);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_with_listeners_needs_service_discovery),
		cmocka_unit_test(two_listeners_on_one_port_are_refused),
		cmocka_unit_test(pools_and_timeouts_are_those_of_the_listeners_protocol),
		cmocka_unit_test(a_health_check_is_on_the_listeners_port),
		cmocka_unit_test(a_backend_named_twice_is_refused),
		cmocka_unit_test(an_enforced_client_policy_has_no_wildcard_names),
		cmocka_unit_test(a_format_of_an_access_log_has_to_be_one),
		cmocka_unit_test(a_route_spec_is_exactly_one_route),
		cmocka_unit_test(an_http_match_has_a_prefix_with_slash_or_a_path),
		cmocka_unit_test(a_range_is_not_empty),
		cmocka_unit_test(a_grpc_method_needs_its_service),
		cmocka_unit_test(a_retry_policy_names_an_event),
		cmocka_unit_test(gateway_names_without_ports_and_not_reserved),
		cmocka_unit_test(a_rewrite_changes_something_once),
		cmocka_unit_test(names_are_plain),
		cmocka_unit_test(a_route_speaks_the_protocol_of_its_router_and_its_targets),
		cmocka_unit_test(several_router_listeners_need_a_port_that_one_of_them_has),
		cmocka_unit_test(several_target_listeners_need_a_port_that_one_of_them_has),
		cmocka_unit_test(gateway_routes_name_a_port_where_gateway_or_provider_has_several),
		cmocka_unit_test(rules_hold_within_one_mesh_only),
		cmocka_unit_test(an_error_of_a_set_names_file_and_resource),
		cmocka_unit_test(references_that_name_nothing_are_reported_with_field_and_name),
		cmocka_unit_test(what_is_not_in_force_is_listed_field_by_field),
		cmocka_unit_test(what_a_service_that_keeps_http_in_the_kernel_does_without_is_listed),
		cmocka_unit_test(a_port_mapping_of_https_is_http_with_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
