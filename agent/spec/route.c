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

#define NEEDS_PROXY "connections to the port are refused (needs-proxy) until weft looks into requests"
#define PER_CONNECTION "weights choose for each connection, not for each request (l7-as-l4)"
static const struct dormant_rule dormant[] = {
	{ "*.match.prefix", NEEDS_PROXY, is_not_root },
	{ "*.match.path", NEEDS_PROXY, NULL },
	{ "*.match.method", NEEDS_PROXY, NULL },
	{ "*.match.scheme", NEEDS_PROXY, NULL },
	{ "*.match.headers", NEEDS_PROXY, NULL },
	{ "*.match.queryParameters", NEEDS_PROXY, NULL },
	{ "*.match.serviceName", NEEDS_PROXY, NULL },
	{ "*.match.methodName", NEEDS_PROXY, NULL },
	{ "*.match.metadata", NEEDS_PROXY, NULL },
	{ "httpRoute.action.weightedTargets", PER_CONNECTION, has_several },
	{ "http2Route.action.weightedTargets", PER_CONNECTION, has_several },
	{ "grpcRoute.action.weightedTargets", PER_CONNECTION, has_several },
	{ "*.retryPolicy", "nothing is retried yet", NULL },
	{ "*.timeout", "no timeout is enforced yet", NULL },
	{},
};

const struct kind_rules route_rules = { .check = check, .references = references, .dormant = dormant };
