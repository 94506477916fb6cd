/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"
#include "base/cleanup.h"

/* Names the service keeps to itself (user guide, gateway routes). */
static const struct {
	const char *member;
	const char *prefix;
} reserved[] = {
	{ "prefix", "/aws-appmesh" },	    { "prefix", "/aws-app-mesh" },	    { "path.exact", "/aws-appmesh" },
	{ "path.exact", "/aws-app-mesh" },  { "serviceName", "aws.app-mesh" },	    { "serviceName", "aws.appmesh" },
};

/* One of these says which requests are meant; headers, metadata and method only narrow them down. */
static const char *const subjects[] = { "prefix", "path", "serviceName", "hostname", "port" };

static int check_subject(const json_t *match, const char *field, bool grpc, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		if (json_object_get(match, subjects[i]))
			return 0;
	return error_set_field(err, -EINVAL, field, "must have at least one of %s, hostname, port",
			       grpc ? "serviceName" : "prefix, path");
}

static int check_match(const json_t *match, const char *field, bool grpc, struct error *err)
{
	static const char *const hostnames[] = { "hostname.exact", "hostname.suffix" };
	int r = match_check(match, field, err);

	if (r < 0)
		return r;
	r = check_subject(match, field, grpc, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		const json_t *value = json_path(match, reserved[i].member);

		if (value && strncmp(json_string_value(value), reserved[i].prefix, strlen(reserved[i].prefix)) == 0)
			return error_set_field(err, -EINVAL, FIELD("%s.%s", field, reserved[i].member),
					       "is %s: names that start with \"%s\" are reserved", VALUE(value), reserved[i].prefix);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hostnames); i++) {
		const json_t *value = json_path(match, hostnames[i]);

		if (value && strchr(json_string_value(value), ':'))
			return error_set_field(err, -EINVAL, FIELD("%s.%s", field, hostnames[i]),
					       "is %s, must be a name without port", VALUE(value));
	}
	return 0;
}

static int check_rewrite(const json_t *rewrite, const char *field, bool grpc, struct error *err)
{
	const json_t *value = json_path(rewrite, "prefix.value");
	const char *prefix = json_string_value(value);

	if (!rewrite)
		return 0;
	if (json_object_size(rewrite) == 0)
		return error_set_field(err, -EINVAL, field, "must have %s", grpc ? "hostname" : "at least one of hostname, prefix, path");
	if (json_object_get(rewrite, "prefix") && json_object_get(rewrite, "path"))
		return error_set_field(err, -EINVAL, field, "has both prefix and path, must have one of them");
	if (prefix && (prefix[0] != '/' || prefix[strlen(prefix) - 1] != '/'))
		return error_set_field(err, -EINVAL, FIELD("%s.prefix.value", field), "is %s, must start and end with \"/\"",
				       VALUE(value));
	return 0;
}

static int check(const json_t *spec, struct error *err)
{
	const struct route_protocol *protocol;
	const json_t *route;
	bool grpc;
	int r;

	r = route_protocol_find(spec, &protocol, err);
	if (r < 0)
		return r;
	route = json_object_get(spec, protocol->member);
	grpc = strcmp(protocol->protocol, "grpc") == 0;
	r = check_match(json_object_get(route, "match"), FIELD("spec.%s.match", protocol->member), grpc, err);
	if (r < 0)
		return r;
	return check_rewrite(json_path(route, "action.rewrite"), FIELD("spec.%s.action.rewrite", protocol->member), grpc, err);
}

static const struct reference_rule references[] = {
	{ "*.action.target.virtualService.virtualServiceName", RESOURCE_VIRTUAL_SERVICE },
	{},
};

static const struct dormant_rule dormant[] = {
	{ "http2Route", "not in force until weft speaks HTTP/2" },
	{ "grpcRoute", "not in force until weft speaks HTTP/2" },
	{},
};

const struct kind_rules gateway_route_rules = { .check = check, .references = references, .dormant = dormant };
