/* SPDX-License-Identifier: Apache-2.0 */
/* The registry on the local socket. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/api/api.h"
#include "agent/identity/cgroup.h"
#include "agent/serve.h"
#include "base/cleanup.h"

static int instance_append(const struct instance *i, void *arg)
{
	json_t *one = json_pack("{s:s, s:s, s:s, s:o, s:s?, s:o}", "namespace", i->namespace_name, "service", i->service_name, "id", i->id,
				"attributes", instance_attributes(i), "zone", i->zone, "workload",
				i->workload ? json_integer(i->workload) : json_null());

	return json_array_append_new(arg, one) ? -ENOMEM : 0;
}

void api_instances_get(struct agent *agent, struct http_exchange *exchange)
{
	json_t *list = json_array();

	registry_each(agent->registry, http_query(exchange, "namespace"), http_query(exchange, "service"), instance_append, list);
	http_reply_json(exchange, 200, json_pack("{s:o}", "instances", list));
}

/* A registration that waits for the offload thread to look up the registrant's namespace. */
struct registration {
	struct agent *agent;
	struct http_exchange *exchange;
	json_t *body;
	int pid;
	int r;
	uint64_t cookie;
};

static void registration_look(void *arg)
{
	struct registration *reg = arg;
	char path[64];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", reg->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	reg->r = fd < 0 ? -errno : netns_cookie(fd, &reg->cookie);
}

static void registration_done(void *arg)
{
	struct registration *reg = arg;
	const char *node_name = json_path_string(reg->body, "virtualNode");
	const char *namespace_name = json_path_string(reg->body, "namespace");
	const char *service_name = json_path_string(reg->body, "service");
	_cleanup_json_ json_t *spec = NULL;
	const struct resource *node;
	struct error err = {};
	char full_name[1024];
	int r = reg->r;

	if (r < 0)
		error_set_field(&err, r, "netnsOfPid", "cannot look at the network namespace of process %d", reg->pid);
	if (r == 0 && node_name) {
		r = agent_resource_name(reg->agent, node_name, RESOURCE_VIRTUAL_NODE, full_name, sizeof(full_name), &err);
		node = r < 0 ? NULL : resources_get(agent_in_force(reg->agent), full_name);
		if (r == 0 && !node)
			r = error_set_field(&err, -ENOENT, "virtualNode", "%s is not in the configuration", full_name);
		spec = node ? resource_spec(node) : NULL;
		namespace_name = json_path_string(spec, "serviceDiscovery.awsCloudMap.namespaceName");
		service_name = json_path_string(spec, "serviceDiscovery.awsCloudMap.serviceName");
		if (r == 0 && !service_name)
			r = error_set_field(&err, -EINVAL, "virtualNode", "%s has no awsCloudMap service discovery to register with",
					    full_name);
	}
	if (r == 0)
		r = registry_put(reg->agent->registry,
				 &(struct instance){
					 .namespace_name = (char *)namespace_name,
					 .service_name = (char *)service_name,
					 .id = (char *)json_path_string(reg->body, "id"),
					 .netns_cookie = reg->cookie,
					 .zone = (char *)(json_path_string(reg->body, "zone") ?: reg->agent->options.zone),
				 },
				 json_object_get(reg->body, "attributes"), &err);
	if (r < 0)
		http_reply_error(reg->exchange, &err);
	else
		http_reply_json(reg->exchange, 200,
				json_pack("{s:s, s:s, s:s}", "namespace", namespace_name, "service", service_name, "id",
					  json_path_string(reg->body, "id")));
	json_decref(reg->body);
	free(reg);
}

void api_instances_put(struct agent *agent, struct http_exchange *exchange)
{
	_cleanup_json_ json_t *body = NULL;
	struct registration *reg;
	struct error err = {};
	size_t length;
	const char *text = http_body(exchange, &length);

	if (json_parse(text, length, &body, &err) < 0)
		return http_reply_error(exchange, &err);
	if (!json_path_string(body, "virtualNode") &&
	    (!json_path_string(body, "namespace") || !json_path_string(body, "service"))) {
		error_set_field(&err, -EINVAL, "virtualNode", "missing: give virtualNode, or namespace and service");
		return http_reply_error(exchange, &err);
	}
	reg = calloc(1, sizeof(*reg));
	if (!reg) {
		error_set(&err, -ENOMEM, "out of memory");
		return http_reply_error(exchange, &err);
	}
	*reg = (struct registration){ .agent = agent, .exchange = exchange, .body = json_incref(body),
				      .pid = json_path_int(body, "netnsOfPid", 0) };
	if (!reg->pid)
		registration_done(reg);
	else if (offload_submit(agent->offload, registration_look, registration_done, reg) < 0) {
		reg->r = -ENOMEM;
		registration_done(reg);
	}
}

void api_instances_delete(struct agent *agent, struct http_exchange *exchange)
{
	const char *namespace_name = http_query(exchange, "namespace"), *service_name = http_query(exchange, "service"),
		   *id = http_query(exchange, "id");
	struct error err = {};
	int r;

	if (!namespace_name || !service_name || !id)
		r = error_set_field(&err, -EINVAL, !namespace_name ? "namespace" : !service_name ? "service" : "id", "missing");
	else
		r = registry_remove(agent->registry, namespace_name, service_name, id, &err);
	if (r < 0)
		http_reply_error(exchange, &err);
	else
		http_reply_json(exchange, 200, json_object());
}
