/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"

static int check_match(const json_t *match, const struct route_protocol *protocol, struct error *err)
{
	const char *field = FIELD("spec.%s.match", protocol->member);
	const bool http = strncmp(protocol->protocol, "http", 4) == 0;
	int r = match_check(match, field, err);

	if (r < 0)
		return r;
	if (http && !json_object_get(match, "prefix") && !json_object_get(match, "path"))
		return error_set_field(err, -EINVAL, field, "has neither prefix nor path, must have one of them");
	if (json_object_get(match, "methodName") && !json_object_get(match, "serviceName"))
		return error_set_field(err, -EINVAL, FIELD("%s.serviceName", field), "is required: the match has methodName");
	return 0;
}

static int check(const json_t *spec, struct error *err)
{
	const struct route_protocol *protocol;
	const json_t *route, *retry;
	int r;

	r = route_protocol_find(spec, &protocol, err);
	if (r < 0)
		return r;
	route = json_object_get(spec, protocol->member);
	r = check_match(json_object_get(route, "match"), protocol, err);
	if (r < 0)
		return r;
	retry = json_object_get(route, "retryPolicy");
	if (retry && !json_object_get(retry, "httpRetryEvents") && !json_object_get(retry, "tcpRetryEvents") &&
	    !json_object_get(retry, "grpcRetryEvents"))
		return error_set_field(err, -EINVAL, FIELD("spec.%s.retryPolicy", protocol->member),
				       "names no event: must have at least one of httpRetryEvents, tcpRetryEvents%s",
				       strcmp(protocol->protocol, "grpc") == 0 ? ", grpcRetryEvents" : "");
	return 0;
}

static const struct reference_rule references[] = {
	{ "*.action.weightedTargets[].virtualNode", RESOURCE_VIRTUAL_NODE },
	{},
};

static bool is_not_root(const json_t *prefix)
{
	return strcmp(json_string_value(prefix), "/") != 0;
}

static bool has_several(const json_t *targets)
{
	return json_array_size(targets) > 1;
}

#define NEEDS_PROXY "connections to the port are refused (needs-proxy)"
#define PER_CONNECTION "weights choose for each connection, not for each request (l7-as-l4)"
#define UNTIL_HTTP2 " until weft speaks HTTP/2"
#define LOOKS_AT(route, member) { route ".match." member, NEEDS_PROXY UNTIL_HTTP2 }
#define LOOKS_AT_L4(member) { "httpRoute.match." member, NEEDS_PROXY DORMANT_L4, .l4 = true }
static const struct dormant_rule dormant[] = {
	{ "httpRoute.match.prefix", NEEDS_PROXY DORMANT_L4, is_not_root, .l4 = true },
	LOOKS_AT_L4("path"),
	LOOKS_AT_L4("method"),
	LOOKS_AT_L4("scheme"),
	LOOKS_AT_L4("headers"),
	LOOKS_AT_L4("queryParameters"),
	{ "http2Route.match.prefix", NEEDS_PROXY UNTIL_HTTP2, is_not_root },
	LOOKS_AT("http2Route", "path"),
	LOOKS_AT("http2Route", "method"),
	LOOKS_AT("http2Route", "scheme"),
	LOOKS_AT("http2Route", "headers"),
	LOOKS_AT("http2Route", "queryParameters"),
	LOOKS_AT("grpcRoute", "serviceName"),
	LOOKS_AT("grpcRoute", "methodName"),
	LOOKS_AT("grpcRoute", "metadata"),
	{ "httpRoute.action.weightedTargets", PER_CONNECTION DORMANT_L4, has_several, .l4 = true },
	{ "http2Route.action.weightedTargets", PER_CONNECTION UNTIL_HTTP2, has_several },
	{ "grpcRoute.action.weightedTargets", PER_CONNECTION UNTIL_HTTP2, has_several },
	{ "httpRoute.retryPolicy", "nothing is retried" DORMANT_L4, .l4 = true },
	{ "http2Route.retryPolicy", "nothing is retried" UNTIL_HTTP2 },
	{ "grpcRoute.retryPolicy", "nothing is retried" UNTIL_HTTP2 },
	{ "httpRoute.timeout", "no timeout is enforced" DORMANT_L4, .l4 = true },
	{ "http2Route.timeout", "no timeout is enforced" UNTIL_HTTP2 },
	{ "grpcRoute.timeout", "no timeout is enforced" UNTIL_HTTP2 },
	{ "tcpRoute.timeout", "no timeout is enforced yet" },
	{},
};

const struct kind_rules route_rules = { .check = check, .references = references, .dormant = dormant };
