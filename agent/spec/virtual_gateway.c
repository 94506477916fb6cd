/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/spec/kind.h"

static int check(const json_t *spec, struct error *err)
{
	int r = listeners_check(spec, err);

	if (r == 0)
		r = client_policy_check(json_path(spec, "backendDefaults.clientPolicy.tls"), "spec.backendDefaults.clientPolicy.tls", err);
	return r < 0 ? r : logging_check(spec, err);
}

static bool is_http2(const json_t *port_mapping)
{
	struct port_mapping mapping;

	port_mapping_read(port_mapping, &mapping);
	return strcmp(mapping.protocol, "http2") == 0 || strcmp(mapping.protocol, "grpc") == 0;
}

#define NOT_SERVED "the listener is not served until weft speaks "
static const struct dormant_rule dormant[] = {
	{ "listeners[].portMapping", NOT_SERVED "HTTP/2", is_http2 },
	{ "listeners[].portMapping", NOT_SERVED "TLS", port_mapping_implies_tls },
	{ "listeners[].tls", NOT_SERVED "TLS", listener_tls_strict },
	{ "listeners[].tls", "only plaintext is served until weft speaks TLS", listener_tls_permissive },
	{ "listeners[].healthCheck", "nobody checks a gateway" },
	{ "backendDefaults.clientPolicy.tls", "requests to services it covers are refused until weft speaks TLS", client_policy_enforced },
	{ "backendDefaults.clientPolicy.tls", "requests go in plaintext until weft speaks TLS", client_policy_optional },
	{},
};

const struct kind_rules virtual_gateway_rules = { .check = check, .dormant = dormant };
