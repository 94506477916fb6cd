/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads on the local socket: what `weft run` asks for, and what there is. */
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/serve.h"
#include "base/address.h"
#include "base/cleanup.h"

json_t *api_workload_json(struct agent *agent, const struct workload *w)
{
	const bool known = resources_get(agent_in_force(agent), w->node) != NULL;

	return json_pack("{s:I, s:s, s:s, s:I, s:b, s:s?, s:s?, s:s, s:o, s:i, s:o, s:b, s:s?}", "id", (json_int_t)w->id, "virtualNode",
			 w->node, "cgroup", w->cgroup, "netnsCookie", (json_int_t)w->netns_cookie, "ownNetns", w->own_netns, "netns",
			 w->netns, "zone", w->zone ?: agent->options.zone, "origin", w->origin, "since",
			 api_time_json(w->since_wall_ns), "pid", w->pid, "earlierSockets",
			 w->earlier_sockets == UINT32_MAX ? json_null() : json_integer(w->earlier_sockets), "known", known,
			 "foreignRedirect", workloads_foreign(agent->workloads, w->netns_cookie));
}

static int workload_append(const struct workload *workload, void *arg)
{
	void **args = arg;

	return json_array_append_new(args[1], api_workload_json(args[0], workload)) ? -ENOMEM : 0;
}

void api_workloads_get(struct agent *agent, struct http_exchange *exchange)
{
	json_t *list = json_array();

	workloads_each(agent->workloads, workload_append, (void *[]){ agent, list });
	http_reply_json(exchange, 200, json_pack("{s:o}", "workloads", list));
}

/* One `weft run` that waits for its answer. */
struct enrolment {
	struct agent *agent;
	struct http_exchange *exchange;
	json_t *body;
	json_t *answer; /* once it is enrolled */
};

/* Registers `text` ("ADDR:PORT") as an instance of the workload's node, which has awsCloudMap discovery. */
static int register_address(struct agent *agent, const struct workload *w, const char *text, unsigned index, struct error *err)
{
	const struct resource *node = resources_get(agent_in_force(agent), w->node);
	_cleanup_json_ json_t *spec = node ? resource_spec(node) : NULL;
	const json_t *map = json_path(spec, "serviceDiscovery.awsCloudMap");
	char address[IP_TEXT_BYTES], id[64], port_text[8];
	struct instance instance = {};
	_cleanup_json_ json_t *attributes = NULL, *wanted = NULL;
	json_t *each;
	struct ip ip;
	__be16 port;
	size_t i;

	if (!map)
		return error_set_field(err, -EINVAL, "register", "%s has no awsCloudMap service discovery to register with", w->node);
	if (ip_port_parse(text, &ip, &port) < 0)
		return error_set_field(err, -EINVAL, "register", "'%s' is not ADDRESS:PORT", text);
	ip_format(&ip, address);
	snprintf(id, sizeof(id), "workload-%llu-%u", (unsigned long long)w->id, index);
	snprintf(port_text, sizeof(port_text), "%u", ntohs(port));
	attributes = json_pack("{s:s, s:s}", ip_is_v4(&ip) ? "AWS_INSTANCE_IPV4" : "AWS_INSTANCE_IPV6", address, "AWS_INSTANCE_PORT",
			       port_text);
	/* what the node's discovery asks of its instances, this one has */
	json_array_foreach(json_path(map, "attributes"), i, each)
		json_object_set(attributes, json_path_string(each, "key"), json_path(each, "value"));
	instance = (struct instance){
		.namespace_name = (char *)json_path_string(map, "namespaceName"),
		.service_name = (char *)json_path_string(map, "serviceName"),
		.id = id,
		.netns_cookie = w->netns_cookie,
		.workload = w->id,
		.zone = (char *)(w->zone ?: agent->options.zone),
	};
	return registry_put(agent->registry, &instance, attributes, err);
}

static void enrolment_ready(void *arg)
{
	struct enrolment *e = arg;

	http_reply_json(e->exchange, 200, e->answer);
	json_decref(e->body);
	free(e);
}

static void enrolment_done(int r, const struct workload *workload, const struct error *error, void *arg)
{
	struct enrolment *e = arg;
	struct error err = {};
	json_t *address;
	size_t i;

	if (error)
		err = *error;
	json_array_foreach(json_object_get(e->body, "register"), i, address) {
		if (r < 0)
			break;
		r = register_address(e->agent, workload, json_string_value(address), i, &err);
		if (r < 0)
			registry_remove_workload(e->agent->registry, workload->id);
	}
	if (r == 0) { /* the first thing that the program does may be to ask for a name */
		e->answer = api_workload_json(e->agent, workload);
		supervisor_await(e->agent->supervisor, workload->id, enrolment_ready, e);
		return;
	}
	http_reply_error(e->exchange, &err);
	json_decref(e->body);
	free(e);
}

void api_workloads_post(struct agent *agent, struct http_exchange *exchange)
{
	_cleanup_json_ json_t *body = NULL;
	struct enrolment *enrolment;
	char node[1024];
	struct error err = {};
	size_t length, i;
	json_t *address;
	const char *text = http_body(exchange, &length);

	if (json_parse(text, length, &body, &err) < 0)
		return http_reply_error(exchange, &err);
	if (!json_path_string(body, "cgroup")) {
		error_set_field(&err, -EINVAL, "cgroup", "missing, or not a string");
		return http_reply_error(exchange, &err);
	}
	if (json_path_int(body, "pid", 0) <= 0) {
		error_set_field(&err, -EINVAL, "pid", "missing, or not a process id");
		return http_reply_error(exchange, &err);
	}
	json_array_foreach(json_object_get(body, "register"), i, address)
		if (!json_is_string(address)) {
			error_set_field(&err, -EINVAL, "register", "every element is a string ADDRESS:PORT");
			return http_reply_error(exchange, &err);
		}
	if (agent_member_actor(agent, body, node, sizeof(node), &err) < 0)
		return http_reply_error(exchange, &err);
	enrolment = calloc(1, sizeof(*enrolment));
	if (!enrolment) {
		error_set(&err, -ENOMEM, "out of memory");
		return http_reply_error(exchange, &err);
	}
	*enrolment = (struct enrolment){ .agent = agent, .exchange = exchange, .body = json_incref(body) };
	workloads_enrol(agent->workloads,
			&(struct workload_request){
				.node = node,
				.cgroup = json_path_string(body, "cgroup"),
				.pid = json_path_int(body, "pid", 0),
				.own_netns = json_path_bool(body, "ownNetns", false),
				.netns = json_path_string(body, "netns"),
				.zone = json_path_string(body, "zone"),
				.origin = "run",
				.remove_cgroup = json_path_bool(body, "removeCgroup", false),
			},
			enrolment_done, enrolment);
}
