/* SPDX-License-Identifier: Apache-2.0 */
/* Exposed services and attached devices on the local socket. */
#include <stdio.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/edge/edge.h"
#include "agent/serve.h"
#include "base/address.h"
#include "base/cleanup.h"

static bool is_zero(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	return file && fgetc(file) == '0';
}

/* What the kernel would drop after we sent it on. */
static json_t *warnings_json(void)
{
	static const struct {
		const char *path, *setting;
	} settings[] = {
		{ "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward" },
		{ "/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding" },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (is_zero(settings[i].path))
			json_array_append_new(list, json_sprintf("%s is 0: only endpoints in weftd's own network namespace can be reached",
								 settings[i].setting));
	return list;
}

static void reply_exposed(struct agent *agent, struct http_exchange *exchange)
{
	http_reply_json(exchange, 200, json_pack("{s:o, s:o}", "exposed", edge_exposed_json(agent->edge), "warnings", warnings_json()));
}

static void reply_attached(struct agent *agent, struct http_exchange *exchange)
{
	http_reply_json(exchange, 200, json_pack("{s:o}", "attached", edge_attached_json(agent->edge)));
}

static int body_read(struct http_exchange *exchange, json_t **ret_body, struct error *err)
{
	size_t length;
	const char *text = http_body(exchange, &length);

	return json_parse(text, length, ret_body, err);
}

/* The full name of a resource that is in the configuration. */
static int member_resource(struct agent *agent, const json_t *body, const char *member, enum resource_kind kind, char *ret_name,
			   size_t size, struct error *err)
{
	const char *text = json_path_string(body, member);
	int r;

	if (!text)
		return error_set_field(err, -EINVAL, member, "missing");
	r = agent_resource_name(agent, text, kind, ret_name, size, err);
	if (r == 0 && !resources_get(agent_in_force(agent), ret_name))
		return error_set_field(err, -ENOENT, member, "%s is not in the configuration", ret_name);
	return r;
}

static int address_read(const char *text, struct ip *ret_ip, __be16 *ret_port, struct error *err)
{
	if (!text || ip_port_parse(text, ret_ip, ret_port) < 0)
		return error_set_field(err, -EINVAL, "address", "'%s' is not ADDRESS:PORT", text ?: "");
	return 0;
}

static int devices_read(const json_t *body, struct edge_exposure *exposure, struct error *err)
{
	const size_t count = json_path_count(body, "devices");

	if (count > EDGE_DEVICES_MAX)
		return error_set_field(err, -E2BIG, "devices", "%zu are given, %d are possible", count, EDGE_DEVICES_MAX);
	for (; exposure->device_count < count; exposure->device_count++) {
		exposure->devices[exposure->device_count] = json_string_value(json_path_at(body, "devices", exposure->device_count));
		if (!exposure->devices[exposure->device_count])
			return error_set_field(err, -EINVAL, "devices", "not a list of names");
	}
	return 0;
}

static int exposure_put(struct agent *agent, const json_t *body, struct error *err)
{
	struct edge_exposure exposure = {};
	char name[RESOURCE_FULL_NAME_BYTES];
	int64_t port;
	int r = member_resource(agent, body, "service", RESOURCE_VIRTUAL_SERVICE, name, sizeof(name), err);

	if (r == 0)
		r = address_read(json_path_string(body, "address"), &exposure.address, &exposure.port, err);
	if (r == 0)
		r = devices_read(body, &exposure, err);
	if (r < 0)
		return r;
	port = json_path_int(body, "port", ntohs(exposure.port));
	if (port < 1 || port > UINT16_MAX)
		return error_set_field(err, -EINVAL, "port", "%lld is not from 1 to 65535", (long long)port);
	exposure.service = name;
	exposure.service_port = (uint16_t)port;
	return edge_expose(agent->edge, &exposure, err);
}

void api_exposed_get(struct agent *agent, struct http_exchange *exchange)
{
	reply_exposed(agent, exchange);
}

void api_exposed_put(struct agent *agent, struct http_exchange *exchange)
{
	_cleanup_json_ json_t *body = NULL;
	struct error err = {};

	if (body_read(exchange, &body, &err) < 0 || exposure_put(agent, body, &err) < 0)
		return http_reply_error(exchange, &err);
	reply_exposed(agent, exchange);
}

void api_exposed_delete(struct agent *agent, struct http_exchange *exchange)
{
	struct error err = {};
	struct ip address;
	__be16 port;

	if (address_read(http_query(exchange, "address"), &address, &port, &err) < 0 ||
	    edge_unexpose(agent->edge, &address, port, &err) < 0)
		return http_reply_error(exchange, &err);
	reply_exposed(agent, exchange);
}

void api_attached_get(struct agent *agent, struct http_exchange *exchange)
{
	reply_attached(agent, exchange);
}

void api_attached_put(struct agent *agent, struct http_exchange *exchange)
{
	_cleanup_json_ json_t *body = NULL;
	char name[RESOURCE_FULL_NAME_BYTES];
	struct error err = {};
	const char *device;
	int r = body_read(exchange, &body, &err);

	if (r == 0)
		r = member_resource(agent, body, "virtualNode", RESOURCE_VIRTUAL_NODE, name, sizeof(name), &err);
	device = json_path_string(body, "device");
	if (r == 0 && !device)
		r = error_set_field(&err, -EINVAL, "device", "missing");
	if (r == 0)
		r = edge_attach(agent->edge, device, name, &err);
	if (r < 0)
		return http_reply_error(exchange, &err);
	reply_attached(agent, exchange);
}

void api_attached_delete(struct agent *agent, struct http_exchange *exchange)
{
	const char *device = http_query(exchange, "device");
	struct error err = {};

	if (!device)
		error_set_field(&err, -EINVAL, "device", "missing");
	if (!device || edge_detach(agent->edge, device, &err) < 0)
		return http_reply_error(exchange, &err);
	reply_attached(agent, exchange);
}
