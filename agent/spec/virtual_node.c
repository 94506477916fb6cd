/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"
#include "base/cleanup.h"

struct backend {
	struct table_node node; /* by the service's name */
	size_t index;
};

/* A backend is given by name, or by the ARN that ends in it. */
static const char *service_name(const char *text)
{
	static const char word[] = "/virtualService/";
	const char *end = strncmp(text, "arn:", 4) == 0 ? strstr(text, word) : NULL;

	return end ? end + strlen(word) : text;
}

static int check_backends(const json_t *spec, struct error *err)
{
	const size_t count = json_path_count(spec, "backends");
	_cleanup_free_ struct backend *backends = calloc(count + 1, sizeof(*backends));
	_cleanup_(table_done) struct table seen = {};
	int r;

	if (!backends)
		return error_set(err, -ENOMEM, "no memory for %zu backends", count);
	for (size_t i = 0; i < count; i++) {
		const json_t *service = json_path(json_path_at(spec, "backends", i), "virtualService");
		const char *name = service_name(json_path_string(service, "virtualServiceName"));

		backends[i].index = i;
		r = table_add(&seen, &backends[i].node, name);
		if (r == -EEXIST)
			return error_set_field(err, -EINVAL, FIELD("spec.backends[%zu].virtualService.virtualServiceName", i),
					       "is %s, which backends[%zu] names already",
					       VALUE(json_object_get(service, "virtualServiceName")),
					       container_of(table_get(&seen, name), struct backend, node)->index);
		if (r < 0)
			return error_set(err, r, "no memory for %zu backends", count);
		r = client_policy_check(json_path(service, "clientPolicy.tls"),
					FIELD("spec.backends[%zu].virtualService.clientPolicy.tls", i), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check(const json_t *spec, struct error *err)
{
	int r = listeners_check(spec, err);

	if (r < 0)
		return r;
	if (listener_count(spec) > 0 && !json_object_get(spec, "serviceDiscovery"))
		return error_set_field(err, -EINVAL, "spec.serviceDiscovery", "is required: the node has listeners");
	r = client_policy_check(json_path(spec, "backendDefaults.clientPolicy.tls"), "spec.backendDefaults.clientPolicy.tls", err);
	if (r == 0)
		r = logging_check(spec, err);
	return r < 0 ? r : check_backends(spec, err);
}

static const struct reference_rule references[] = {
	{ "backends[].virtualService.virtualServiceName", RESOURCE_VIRTUAL_SERVICE },
	{},
};

#define POLICY_ENFORCED "connections it covers are refused (needs-tls) until weft speaks TLS"
#define POLICY_OPTIONAL "connections stay plaintext until weft speaks TLS"
static bool check_needs_proxy(const json_t *check)
{
	const char *protocol = json_path_string(check, "protocol");

	return strcmp(protocol, "http2") == 0 || strcmp(protocol, "grpc") == 0;
}

static bool ejects_as(const json_t *listener, const char *protocol)
{
	struct port_mapping mapping;

	port_mapping_read(json_object_get(listener, "portMapping"), &mapping);
	return json_object_get(listener, "outlierDetection") && strcmp(mapping.protocol, protocol) == 0;
}

static bool http_ejects(const json_t *listener)
{
	return ejects_as(listener, "http");
}

static bool http2_ejects(const json_t *listener)
{
	return ejects_as(listener, "http2") || ejects_as(listener, "grpc");
}

#define BY_CONNECTIONS "outlierDetection counts connections that fail, not answers of 5xx"
#define UNTIL_HTTP2 " until weft speaks HTTP/2"

static const struct dormant_rule dormant[] = {
	{ "listeners[].portMapping", "https means http with TLS: connections are refused (needs-tls) until weft speaks TLS",
	  port_mapping_implies_tls },
	{ "listeners[].connectionPool.http2", "requests are not counted until weft speaks HTTP/2", NULL },
	{ "listeners[].connectionPool.grpc", "requests are not counted until weft speaks HTTP/2", NULL },
	{ "listeners[]", BY_CONNECTIONS DORMANT_L4, http_ejects, .l4 = true },
	{ "listeners[]", BY_CONNECTIONS UNTIL_HTTP2, http2_ejects },
	{ "listeners[].healthCheck", "checked as tcp (check-as-tcp) until weft speaks HTTP/2", check_needs_proxy },
	{ "listeners[].timeout.http2", "no timeout is enforced" UNTIL_HTTP2 },
	{ "listeners[].timeout.grpc", "no timeout is enforced" UNTIL_HTTP2 },
	{ "listeners[].timeout.tcp", "no timeout is enforced yet" },
	{ "listeners[].tls", "connections are refused (needs-tls) until weft speaks TLS", listener_tls_strict },
	{ "listeners[].tls", "only plaintext is served until weft speaks TLS", listener_tls_permissive },
	{ "backendDefaults.clientPolicy.tls", POLICY_ENFORCED, client_policy_enforced },
	{ "backendDefaults.clientPolicy.tls", POLICY_OPTIONAL, client_policy_optional },
	{ "backends[].virtualService.clientPolicy.tls", POLICY_ENFORCED, client_policy_enforced },
	{ "backends[].virtualService.clientPolicy.tls", POLICY_OPTIONAL, client_policy_optional },
	{ "serviceDiscovery.dns.ipPreference", IP_PREFERENCE_MILD, ip_preference_mild },
	{ "serviceDiscovery.awsCloudMap.ipPreference", IP_PREFERENCE_MILD, ip_preference_mild },
	{},
};

const struct kind_rules virtual_node_rules = { .check = check, .references = references, .dormant = dormant };
