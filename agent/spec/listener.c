/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"

void port_mapping_read(const json_t *port_mapping, struct port_mapping *ret_mapping)
{
	const char *protocol = json_path_string(port_mapping, "protocol");
	const bool https = strcmp(protocol, "https") == 0;

	*ret_mapping = (struct port_mapping){
		.port = (uint16_t)json_path_int(port_mapping, "port", 0),
		.protocol = https ? "http" : protocol,
		.implies_tls = https,
	};
}

size_t listener_count(const json_t *spec)
{
	return json_path_count(spec, "listeners");
}

void listener_read(const json_t *spec, size_t index, struct port_mapping *ret_mapping)
{
	port_mapping_read(json_path(json_path_at(spec, "listeners", index), "portMapping"), ret_mapping);
}

/* The first; there is one. */
static size_t listener_with_port(const json_t *spec, uint16_t port)
{
	struct port_mapping mapping;

	for (size_t i = 0;; i++) {
		listener_read(spec, i, &mapping);
		if (mapping.port == port)
			return i;
	}
}

/* `object` is a union whose member names a protocol. */
static int check_protocol_key(const json_t *object, const char *protocol, const char *field, struct error *err)
{
	const char *key = json_object_iter_key(json_object_iter((json_t *)object));

	if (!key || strcmp(key, protocol) == 0)
		return 0;
	return error_set_field(err, -EINVAL, FIELD("%s.%s", field, key), "is for protocol %s, the listener's is %s", key, protocol);
}

int listeners_check(const json_t *spec, struct error *err)
{
	uint8_t taken[(UINT16_MAX + 1) / 8] = {};
	int r;

	for (size_t i = 0; i < listener_count(spec); i++) {
		const json_t *listener = json_path_at(spec, "listeners", i);
		struct port_mapping mapping;
		int64_t health_port;

		listener_read(spec, i, &mapping);
		if (taken[mapping.port / 8] & 1 << mapping.port % 8)
			return error_set_field(err, -EINVAL, FIELD("spec.listeners[%zu].portMapping.port", i),
					       "is %u, which listeners[%zu] has already", mapping.port,
					       listener_with_port(spec, mapping.port));
		taken[mapping.port / 8] |= 1 << mapping.port % 8;

		r = check_protocol_key(json_path(listener, "connectionPool"), mapping.protocol,
				       FIELD("spec.listeners[%zu].connectionPool", i), err);
		if (r < 0)
			return r;
		r = check_protocol_key(json_path(listener, "timeout"), mapping.protocol, FIELD("spec.listeners[%zu].timeout", i), err);
		if (r < 0)
			return r;
		health_port = json_path_int(listener, "healthCheck.port", mapping.port);
		if (health_port != mapping.port)
			return error_set_field(err, -EINVAL, FIELD("spec.listeners[%zu].healthCheck.port", i),
					       "is %lld, must be the listener's port %u", (long long)health_port, mapping.port);
	}
	return 0;
}

int client_policy_check(const json_t *tls, const char *field, struct error *err)
{
	static const char names[] = "validation.subjectAlternativeNames.match.exact";

	if (!client_policy_enforced(tls))
		return 0;
	for (size_t i = 0; i < json_path_count(tls, names); i++) {
		const json_t *name = json_path_at(tls, names, i);

		if (strchr(json_string_value(name), '*'))
			return error_set_field(err, -EINVAL, FIELD("%s.%s[%zu]", field, names, i),
					       "is %s: an enforced policy needs whole names, without wildcards", VALUE(name));
	}
	return 0;
}

static bool listener_tls_mode_is(const json_t *tls, const char *mode)
{
	return strcmp(json_path_string(tls, "mode"), mode) == 0;
}

bool listener_tls_strict(const json_t *tls)
{
	return listener_tls_mode_is(tls, "STRICT");
}

bool listener_tls_permissive(const json_t *tls)
{
	return listener_tls_mode_is(tls, "PERMISSIVE");
}

bool port_mapping_implies_tls(const json_t *port_mapping)
{
	struct port_mapping mapping;

	port_mapping_read(port_mapping, &mapping);
	return mapping.implies_tls;
}

bool client_policy_enforced(const json_t *tls)
{
	return json_path_bool(tls, "enforce", true);
}

bool client_policy_optional(const json_t *tls)
{
	return !client_policy_enforced(tls);
}
