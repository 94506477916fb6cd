/* SPDX-License-Identifier: Apache-2.0 */
/* weft register, deregister, instances: weft's own registry, which awsCloudMap discovery reads. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "agent/ctl/netns.h"
#include "base/address.h"
#include "base/cleanup.h"

struct instance_arguments {
	struct ctl ctl;
	const char *virtual_node;
	const char *namespace_name;
	const char *service;
	const char *id;
	const char *address;
	const char *zone;
	const char *netns;
	struct option_strings attributes;
};
#define NODE_ROW                                                                                                              \
	{ .name = "virtual-node", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, virtual_node),            \
	  .argument = "NODE", .help = "mesh/M/virtualNode/N, whose discovery names namespace and service" }
#define NAMESPACE_ROW                                                                                                         \
	{ .name = "namespace", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, namespace_name),             \
	  .argument = "NAMESPACE", .help = "Cloud Map namespace" }
#define SERVICE_ROW                                                                                                           \
	{ .name = "service", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, service),                      \
	  .argument = "SERVICE", .help = "Cloud Map service" }
#define ID_ROW                                                                                                                \
	{ .name = "id", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, id), .argument = "ID",              \
	  .required = true, .help = "of the instance" }

static const struct option register_options[] = {
	NODE_ROW, NAMESPACE_ROW, SERVICE_ROW, ID_ROW,
	{ .name = "address", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, address),
	  .argument = "ADDR:PORT", .required = true, .help = "where it listens; a loopback address is offered in its own namespace only" },
	{ .name = "attribute", .type = OPTION_STRINGS, .offset = OPTION(struct instance_arguments, attributes),
	  .argument = "K=V", .help = "an attribute to be found by; may be given several times" },
	{ .name = "zone", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, zone), .argument = "ZONE",
	  .help = "where it runs (default: weftd's)" },
	{ .name = "netns", .type = OPTION_STRING, .offset = OPTION(struct instance_arguments, netns), .argument = "NS",
	  .help = "the namespace it runs in: a name under /run/netns, or a path (default: this one)" },
	CTL_OPTIONS
};
static const struct option deregister_options[] = { NODE_ROW, NAMESPACE_ROW, SERVICE_ROW, ID_ROW, CTL_OPTIONS };
static const struct option instances_options[] = { NAMESPACE_ROW, SERVICE_ROW, CTL_OPTIONS };

/* Which service is meant: by the node that has it, or by its names. */
static int service_check(const struct instance_arguments *a, struct error *err)
{
	if (a->virtual_node ? a->namespace_name || a->service : !a->namespace_name || !a->service)
		return error_set(err, -EINVAL, "give either --virtual-node, or --namespace and --service");
	return 0;
}

static int attributes_make(const struct instance_arguments *a, json_t *attributes, struct error *err)
{
	char address[IP_TEXT_BYTES], port_text[8];
	struct ip ip;
	__be16 port;

	if (ip_port_parse(a->address, &ip, &port) < 0)
		return error_set_field(err, -EINVAL, "--address", "'%s' is not ADDRESS:PORT", a->address);
	for (size_t i = 0; i < a->attributes.count; i++) {
		const char *text = a->attributes.values[i], *equals = strchr(text, '=');

		if (!equals || equals == text)
			return error_set_field(err, -EINVAL, "--attribute", "'%s' is not KEY=VALUE", text);
		_cleanup_free_ char *key = strndup(text, (size_t)(equals - text));

		if (!key || json_object_set_new(attributes, key, json_string(equals + 1)))
			return error_set_field(err, -EINVAL, "--attribute", "'%s' is no text in UTF-8", text);
	}
	snprintf(port_text, sizeof(port_text), "%u", ntohs(port));
	json_object_set_new(attributes, ip_is_v4(&ip) ? "AWS_INSTANCE_IPV4" : "AWS_INSTANCE_IPV6",
			    json_string(ip_format(&ip, address)));
	json_object_set_new(attributes, "AWS_INSTANCE_PORT", json_string(port_text));
	return 0;
}

static int register_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct instance_arguments *a = arguments;
	_cleanup_json_ json_t *attributes = json_object(), *body = NULL, *answer = NULL;
	struct error err = {};

	/* weftd asks the kernel for the namespace of this process, so this one goes there */
	if (service_check(a, &err) < 0 || attributes_make(a, attributes, &err) < 0 ||
	    (a->netns && ctl_netns_enter(a->netns, &err) < 0))
		return ctl_fail(&err);
	body = json_pack("{s:s*, s:s*, s:s*, s:s, s:O, s:s*, s:i}", "virtualNode", a->virtual_node, "namespace",
			 a->namespace_name, "service", a->service, "id", a->id, "attributes", attributes, "zone", a->zone,
			 "netnsOfPid", (int)getpid());
	if (!body) {
		error_set(&err, -EINVAL, "an argument is no text in UTF-8");
		return ctl_fail(&err);
	}
	if (client_call(&a->ctl, "PUT", "/v1/instances", NULL, body, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	printf("registered: %s at %s\n", a->id, a->address);
	return EXIT_SUCCESS;
}

/* The Cloud Map names of a virtual node's discovery. Borrowed from *ret_answer. */
static int node_service(const struct instance_arguments *a, json_t **ret_answer, const char **ret_namespace,
			const char **ret_service, struct error *err)
{
	const struct parameter parameters[] = { { "kind", "virtualNode" }, { "name", a->virtual_node }, {} };
	const json_t *map;
	int r = client_call(&a->ctl, "GET", "/v1/resources", parameters, NULL, ret_answer, err);

	if (r < 0)
		return r;
	if (json_path_count(*ret_answer, "resources") != 1)
		return error_set_field(err, -ENOENT, "--virtual-node", "there is no virtual node '%s'", a->virtual_node);
	map = json_path(json_path_at(*ret_answer, "resources", 0), "spec.serviceDiscovery.awsCloudMap");
	if (!map)
		return error_set_field(err, -ENOENT, "--virtual-node", "'%s' has no awsCloudMap service discovery",
				       a->virtual_node);
	*ret_namespace = json_path_string(map, "namespaceName");
	*ret_service = json_path_string(map, "serviceName");
	return 0;
}

static int deregister_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct instance_arguments *a = arguments;
	struct parameter parameters[] = { { "namespace", a->namespace_name }, { "service", a->service }, { "id", a->id }, {} };
	_cleanup_json_ json_t *node = NULL, *answer = NULL;
	struct error err = {};

	if (service_check(a, &err) < 0 ||
	    (a->virtual_node && node_service(a, &node, &parameters[0].value, &parameters[1].value, &err) < 0) ||
	    client_call(&a->ctl, "DELETE", "/v1/instances", parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	printf("deregistered: %s\n", a->id);
	return EXIT_SUCCESS;
}

static void attributes_print(struct buffer *text, const json_t *instance)
{
	json_t *attributes = json_object_get(instance, "attributes"), *value;
	const char *key;

	json_object_foreach(attributes, key, value)
		if (strncmp(key, "AWS_INSTANCE_", strlen("AWS_INSTANCE_")))
			buffer_printf(text, "%s%s=%s", text->length ? ", " : "", key, json_string_value(value) ?: "?");
}

static void instance_row(struct grid *grid, const json_t *instance)
{
	const json_t *attributes = json_object_get(instance, "attributes");
	const char *v4 = json_path_string(attributes, "AWS_INSTANCE_IPV4");
	const char *v6 = json_path_string(attributes, "AWS_INSTANCE_IPV6");
	_cleanup_(buffer_done) struct buffer others = {};
	char number[FORMAT_BYTES];

	attributes_print(&others, instance);
	grid_add(grid, json_path_string(instance, "namespace"));
	grid_add(grid, json_path_string(instance, "service"));
	grid_add(grid, json_path_string(instance, "id"));
	grid_printf(grid, "%s%s%s", v4 ?: "", v4 && v6 ? ", " : "", v6 ?: "");
	grid_add(grid, json_path_string(attributes, "AWS_INSTANCE_PORT"));
	grid_add(grid, json_path_string(instance, "zone"));
	grid_add(grid, format_member_count(instance, "workload", number));
	grid_add(grid, buffer_string(&others));
}

static int instances_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	static const struct grid_column columns[] = {
		{ .title = "NAMESPACE" }, { .title = "SERVICE" }, { .title = "ID" },	 { .title = "ADDRESS" }, { "PORT", true },
		{ .title = "ZONE" },	  { "WORKLOAD", true },	  { .title = "ATTRIBUTES" }, {},
	};
	const struct instance_arguments *a = arguments;
	const struct parameter parameters[] = { { "namespace", a->namespace_name }, { "service", a->service }, {} };
	_cleanup_(grid_done) struct grid grid;
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};

	grid_init(&grid, columns);
	if (client_call(&a->ctl, "GET", "/v1/instances", parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	for (size_t i = 0; i < json_path_count(answer, "instances"); i++)
		instance_row(&grid, json_path_at(answer, "instances", i));
	if (grid_rows(&grid))
		return ctl_printed(grid_print(&grid, stdout));
	printf("no instances\n");
	return EXIT_SUCCESS;
}

const struct command register_command = {
	.name = "register",
	.synopsis = "(--virtual-node NODE | --namespace NAMESPACE --service SERVICE) --id ID --address ADDR:PORT [options]",
	.summary = "offers an instance of a service to the mesh",
	.more = "\nIt stays until it is deregistered. `weft run --register` registers what it starts for as long as it runs.",
	.options = register_options,
	.arguments_size = sizeof(struct instance_arguments),
	.run = register_run,
};
const struct command deregister_command = {
	.name = "deregister",
	.synopsis = "(--virtual-node NODE | --namespace NAMESPACE --service SERVICE) --id ID [options]",
	.summary = "takes an instance back: no new connections, open ones drain",
	.options = deregister_options,
	.arguments_size = sizeof(struct instance_arguments),
	.run = deregister_run,
};
const struct command instances_command = {
	.name = "instances",
	.synopsis = "[options]",
	.summary = "lists what is registered",
	.options = instances_options,
	.arguments_size = sizeof(struct instance_arguments),
	.run = instances_run,
};
