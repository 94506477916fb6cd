/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "base/time.h"

#define OPT(member) OPTION(struct agent_options, member)
#define DRAIN_MAX_NS (24 * 3600 * NSEC_PER_SEC)

static const struct option table[] = {
	{ .name = "config", .type = OPTION_STRING, .offset = OPT(config_dir), .argument = "DIR",
	  .help = "directory of App Mesh resources, one JSON file each (those that the API was given)" },
	{ .name = "state-dir", .type = OPTION_STRING, .offset = OPT(state_dir), .argument = "DIR",
	  .help = "where state.db, config.db and credentials live (/var/lib/weft)" },
	{ .name = "options-file", .type = OPTION_STRING, .offset = OPT(options_file), .argument = "FILE",
	  .help = "these options, and \"workloads\", as a JSON object",
	  .command_line_only = true },
	{ .name = "instance", .type = OPTION_STRING, .offset = OPT(instance), .argument = "NAME",
	  .help = "which kernel part and socket (default)" },
	{ .name = "zone", .type = OPTION_STRING, .offset = OPT(zone), .argument = "ZONE",
	  .help = "availability zone of this node" },
	{ .name = "account", .type = OPTION_STRING, .offset = OPT(account), .argument = "ID",
	  .help = "account that owns the meshes, 12 digits (made once and kept)" },
	{ .name = "region", .type = OPTION_STRINGS, .offset = OPT(regions), .argument = "REGION",
	  .help = "regions that the API serves, the first is that of short names (all; AWS_REGION, else us-east-1)" },
	{ .name = "api", .type = OPTION_STRING, .offset = OPT(api), .argument = "ADDR:PORT",
	  .help = "serve the App Mesh API there, to signed requests (over the local socket alone)" },
	{ .name = "api-plaintext", .type = OPTION_FLAG, .offset = OPT(api_plaintext), .argument = NULL,
	  .help = "--api may be an address that is not loopback, though nothing is encrypted" },
	{ .name = "api-audit", .type = OPTION_STRING, .offset = OPT(api_audit), .argument = "WHAT",
	  .help = "which calls are recorded: write, or all, reads and refusals too (write)" },
	{ .name = "strict-references", .type = OPTION_FLAG, .offset = OPT(strict_references), .argument = NULL,
	  .help = "the API refuses a provider or target that does not exist yet" },
	{ .name = "audit", .type = OPTION_STRINGS, .offset = OPT(audit_meshes), .argument = "MESH",
	  .help = "audit mode: not-a-backend and not-in-mesh are counted and pass" },
	{ .name = "egress-ignored-ips", .type = OPTION_STRINGS, .offset = OPT(ignored_ips), .argument = "IP",
	  .help = "never refused (169.254.169.254,169.254.170.2,fd00:ec2::254)" },
	{ .name = "egress-ignored-ports", .type = OPTION_STRINGS, .offset = OPT(ignored_ports), .argument = "PORT",
	  .help = "never refused outside the mesh (22)" },
	{ .name = "reserved-ports", .type = OPTION_STRINGS, .offset = OPT(reserved_ports), .argument = "PORT",
	  .help = "workloads may not bind them (15001)" },
	{ .name = "vip-network4", .type = OPTION_STRING, .offset = OPT(vip4_network), .argument = "PREFIX",
	  .help = "IPv4 VIPs (240.240.0.0/16)" },
	{ .name = "vip-network6", .type = OPTION_STRING, .offset = OPT(vip6_network), .argument = "PREFIX",
	  .help = "IPv6 VIPs (2001:2::/48)" },
	{ .name = "resolver", .type = OPTION_STRINGS, .offset = OPT(resolvers), .argument = "IP[:PORT]",
	  .help = "DNS server for dns discovery (those of /etc/resolv.conf)" },
	{ .name = "panic-threshold", .type = OPTION_U32, .offset = OPT(panic_pct), .argument = "PCT",
	  .help = "fewer endpoints healthy than this: all are used; 0: never (50)", .max = 100 },
	{ .name = "flows-per-second", .type = OPTION_U32, .offset = OPT(flows_per_second), .argument = "N",
	  .help = "normal closes recorded by each CPU before sampling; 0: all (2000)",
	  .max = 1000000 },
	{ .name = "drain", .type = OPTION_SPAN, .offset = OPT(drain_ns), .argument = "SPAN",
	  .help = "how long open connections to an endpoint that left may go on (30s)" },
	{ .name = "metrics", .type = OPTION_STRING, .offset = OPT(metrics), .argument = "ADDR:PORT",
	  .help = "serve metrics for Prometheus there, at /metrics (nowhere)" },
	{ .name = "health-from", .type = OPTION_STRING, .offset = OPT(health_from), .argument = "WHERE",
	  .help = "health checks run in the namespace of the agent, or of a workload that may call the target (agent)" },
	{ .name = "time-scale", .type = OPTION_U32, .offset = OPT(time_scale), .argument = "N",
	  .help = "for tests: times of discovery, health checks and outlier detection are divided by it (1)", .min = 1, .max = 10000 },
	{ .name = "environment", .type = OPTION_STRING, .offset = OPT(environment), .argument = "HOW",
	  .help = "processes with APPMESH_RESOURCE_ARN or APPMESH_VIRTUAL_NODE_NAME act for that node: on or off (on)" },
	{ .name = "proxy", .type = OPTION_STRING, .offset = OPT(proxy), .argument = "HOW",
	  .help = "weft-proxy, which answers names: start, external (a unit of its own) or off (start)" },
	{ .name = "drain-max", .type = OPTION_SPAN, .offset = OPT(drain_max_ns), .argument = "SPAN",
	  .help = "how long a weft-proxy goes on with requests and tunnels once its successor is there (1h)" },
	{ .name = "default-pool", .type = OPTION_STRING, .offset = OPT(default_pool), .argument = "CONNECTIONS,PENDING",
	  .help = "pool of HTTP listeners that have no connectionPool: connections, and requests that wait (no limit)" },
	{ .name = "grow", .type = OPTION_STRING, .offset = OPT(grow), .argument = "HOW",
	  .help = "tables that are too small for the mesh are made larger: auto or off (auto)" },
	{ .name = "log-level", .type = OPTION_STRING, .offset = OPT(log_level), .argument = "LEVEL",
	  .help = "debug, info, warn or error (info)" },
	{ .name = "log-format", .type = OPTION_STRING, .offset = OPT(log_format), .argument = "FORMAT",
	  .help = "text or json (text)" },
	{ .name = "help", .type = OPTION_FLAG, .offset = OPT(help), .argument = NULL,
	  .help = "this text", .command_line_only = true },
	{ .name = "version", .type = OPTION_FLAG, .offset = OPT(version), .argument = NULL,
	  .help = "the version", .command_line_only = true },
	{},
};

static int take_extra(const char *name, void *value, void *arg, struct error *err)
{
	struct agent_options *options = arg;
	json_t *list = value, *one;
	size_t i;

	if (!strcmp(name, "quotas") && json_is_object(list)) {
		options->quotas = json_incref(list);
		return 0;
	}
	if (strcmp(name, "workloads"))
		return error_set_field(err, -EINVAL, name, "there is no such option");
	if (!json_is_array(list))
		return error_set_field(err, -EINVAL, name, "not an array");
	json_array_foreach(list, i, one)
		if (!json_path_string(one, "cgroup") || (!json_path_string(one, "virtualNode") && !json_path_string(one, "virtualGateway")))
			return error_set_field(err, -EINVAL, name, "element %zu lacks \"cgroup\", or \"virtualNode\" and \"virtualGateway\"", i);
	options->workloads = json_incref(list);
	return 0;
}

/* As App Mesh has the numbers of a pool. The rest of the text. NULL: it does not begin with one. */
static const char *pool_number(const char *text, uint32_t *ret_number)
{
	char *end;
	const unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;

	if (number < 1 || number > INT32_MAX)
		return NULL;
	*ret_number = (uint32_t)number;
	return end;
}

static int pool_read(struct agent_options *options, struct error *err)
{
	const char *text = options->default_pool, *rest;
	uint32_t connections, pending;

	if (!text)
		return 0;
	rest = pool_number(text, &connections);
	if (rest && *rest == ',')
		rest = pool_number(rest + 1, &pending);
	else
		rest = NULL;
	if (!rest || *rest)
		return error_set_field(err, -EINVAL, "default-pool", "'%s' is not CONNECTIONS,PENDING: two numbers from 1 to %d", text, INT32_MAX);
	options->pool = json_pack("{s:{s:I, s:I}}", "http", "maxConnections", (json_int_t)connections, "maxPendingRequests", (json_int_t)pending);
	return options->pool ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static void default_list(struct option_strings *list, size_t count, const char *const values[])
{
	if (list->count)
		return;
	for (size_t i = 0; i < count; i++)
		list->values[list->count++] = values[i];
}
#define DEFAULT_LIST(list, ...)                                                                                               \
	default_list(list, ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), (const char *const[]){ __VA_ARGS__ })

int agent_options_read(struct agent_options *options, int argc, char *const argv[], struct error *err)
{
	struct agent_options first = {};
	int rest, r;

	*options = (struct agent_options){
		.instance = "default",
		.state_dir = "/var/lib/weft",
		.vip4_network = "240.240.0.0/16",
		.vip6_network = "2001:2::/48",
		.panic_pct = 50,
		.flows_per_second = 2000,
		.drain_ns = 30 * NSEC_PER_SEC,
		.drain_max_ns = 3600 * NSEC_PER_SEC,
		.health_from = "agent",
		.time_scale = 1,
		.environment = "on",
		.grow = "auto",
		.proxy = "start",
		.api_audit = "write",
		.log_level = "info",
		.log_format = "text",
	};
	r = options_parse(table, &first, argc, argv, &rest, err);
	if (r < 0)
		return r;
	if (first.help) {
		printf("weftd [--config DIR] [--state-dir DIR] [--instance NAME] …: the node agent of weft\n\n");
		options_print(table);
		return 1;
	}
	if (first.version) {
		printf("weftd %s\n", WEFT_VERSION);
		return 1;
	}
	if (rest < argc)
		return error_set(err, -EINVAL, "'%s' is no option", argv[rest]);
	if (first.options_file) {
		r = options_read_file(table, options, first.options_file, take_extra, options, err);
		if (r < 0)
			return r;
	}
	r = options_parse(table, options, argc, argv, &rest, err);
	if (r == 0)
		r = options_check(table, options, err);
	if (r < 0)
		return r;
	if (strcmp(options->health_from, "agent") && strcmp(options->health_from, "workload"))
		return error_set_field(err, -EINVAL, "health-from", "'%s' is neither agent nor workload", options->health_from);
	if (strcmp(options->environment, "on") && strcmp(options->environment, "off"))
		return error_set_field(err, -EINVAL, "environment", "'%s' is neither on nor off", options->environment);
	if (strcmp(options->grow, "auto") && strcmp(options->grow, "off"))
		return error_set_field(err, -EINVAL, "grow", "'%s' is neither auto nor off", options->grow);
	if (strcmp(options->api_audit, "write") && strcmp(options->api_audit, "all"))
		return error_set_field(err, -EINVAL, "api-audit", "'%s' is neither write nor all", options->api_audit);
	if (options->drain_ns > DRAIN_MAX_NS)
		return error_set_field(err, -EINVAL, "drain", "is more than a day");
	r = pool_read(options, err);
	if (r < 0)
		return r;
	DEFAULT_LIST(&options->ignored_ips, "169.254.169.254", "169.254.170.2", "fd00:ec2::254");
	DEFAULT_LIST(&options->ignored_ports, "22");
	DEFAULT_LIST(&options->reserved_ports, "15001");
	return 0;
}
