/* SPDX-License-Identifier: Apache-2.0 */
/* weft get: the resources of the configuration, the addresses that stand for services, and what of it all is not in force. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/collect.h"
#include "agent/ctl/format.h"
#include "agent/ctl/get.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

struct get_arguments {
	struct ctl ctl;
	struct remote_options remote;
	const char *mesh;
};
static const struct option options[] = {
	{ .name = "mesh", .type = OPTION_STRING, .offset = OPTION(struct get_arguments, mesh), .argument = "MESH",
	  .help = "of this mesh only" },
	REMOTE_OPTIONS(struct get_arguments, remote),
	CTL_OPTIONS
};

/* The column between name and notes says what a person wants to know of that kind first. */
static void mesh_says(struct grid *grid, const json_t *r)
{
	grid_printf(grid, "egress %s", json_path_string(r, "spec.egressFilter.type") ?: "DROP_ALL");
}

/* Those of which weft-proxy routes each request; of the others the kernel decides each connection. */
static void ports_add(struct buffer *text, const json_t *r)
{
	bool any = false;

	for (size_t i = 0; i < json_path_count(r, "ports"); i++) {
		const json_t *port = json_path_at(r, "ports", i);

		if (strcmp(json_path_string(port, "inForce") ?: "", "weft-proxy"))
			continue;
		buffer_printf(text, "%s%lld", any ? ", " : "  requests of ", (long long)json_path_int(port, "port", 0));
		any = true;
	}
	if (any)
		buffer_add(text, " by weft-proxy");
}

static const char *in_force_text(const json_t *r)
{
	const char *by = json_path_string(r, "inForce");

	if (!json_object_get(r, "inForce"))
		return NULL; /* an API knows of no node */
	return !by ? "not on this node" : !strcmp(by, "kernel") ? "by the kernel, each connection" : "by weft-proxy, each request";
}

static void service_says(struct grid *grid, const json_t *r)
{
	const char *router = json_path_string(r, "spec.provider.virtualRouter.virtualRouterName");
	const char *node = json_path_string(r, "spec.provider.virtualNode.virtualNodeName");
	_cleanup_(buffer_done) struct buffer text = {};

	buffer_printf(&text, "-> %s", router ?: node ?: "no provider");
	for (size_t i = 0; i < json_path_count(r, "vips"); i++)
		buffer_printf(&text, "%s%s", i ? ", " : "  ", json_string_value(json_path_at(r, "vips", i)));
	ports_add(&text, r);
	grid_add(grid, buffer_string(&text));
}

static void listeners_add(struct buffer *text, const json_t *r)
{
	for (size_t i = 0; i < json_path_count(r, "spec.listeners"); i++) {
		const json_t *listener = json_path_at(r, "spec.listeners", i);

		buffer_printf(text, "%s%s:%" JSON_INTEGER_FORMAT, i ? ", " : "",
			      json_path_string(listener, "portMapping.protocol") ?: "?",
			      (json_int_t)json_path_int(listener, "portMapping.port", 0));
	}
}

static void node_says(struct grid *grid, const json_t *r)
{
	const json_t *discovery = json_path(r, "spec.serviceDiscovery");
	const size_t endpoints = json_path_count(r, "endpoints"), backends = json_path_count(r, "spec.backends");
	_cleanup_(buffer_done) struct buffer text = {};

	listeners_add(&text, r);
	if (json_path_string(discovery, "awsCloudMap.serviceName"))
		buffer_printf(&text, "  %s.%s", json_path_string(discovery, "awsCloudMap.serviceName"),
			      json_path_string(discovery, "awsCloudMap.namespaceName") ?: "?");
	else if (json_path_string(discovery, "dns.hostname"))
		buffer_printf(&text, "  %s", json_path_string(discovery, "dns.hostname"));
	buffer_printf(&text, "%s%zu endpoint%s, %zu backend%s", text.length ? "  " : "", endpoints, endpoints == 1 ? "" : "s", backends,
		      backends == 1 ? "" : "s");
	grid_add(grid, buffer_string(&text));
}

static void listeners_say(struct grid *grid, const json_t *r)
{
	_cleanup_(buffer_done) struct buffer text = {};

	listeners_add(&text, r);
	grid_add(grid, buffer_string(&text));
}

static void route_says(struct grid *grid, const json_t *r)
{
	static const char *const types[] = { "tcpRoute", "httpRoute", "http2Route", "grpcRoute" };
	_cleanup_(buffer_done) struct buffer text = {};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		char path[64];

		snprintf(path, sizeof(path), "spec.%s.action.weightedTargets", types[i]);
		for (size_t n = 0; n < json_path_count(r, path); n++) {
			const json_t *target = json_path_at(r, path, n);

			buffer_printf(&text, "%s%s %" JSON_INTEGER_FORMAT, n ? ", " : "",
				      json_path_string(target, "virtualNode") ?: "?", (json_int_t)json_path_int(target, "weight", 0));
		}
	}
	if (json_path_string(r, "inForce"))
		buffer_printf(&text, "  %s", in_force_text(r));
	grid_add(grid, buffer_string(&text));
}

static void gateway_route_says(struct grid *grid, const json_t *r)
{
	static const char *const types[] = { "httpRoute", "http2Route", "grpcRoute" };
	const char *service = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		char path[80];

		snprintf(path, sizeof(path), "spec.%s.action.target.virtualService.virtualServiceName", types[i]);
		service = service ?: json_path_string(r, path);
	}
	grid_printf(grid, "-> %s", service ?: "?");
}

static const struct kind {
	const char *word;
	const char *title;
	const char *column;
	void (*says)(struct grid *grid, const json_t *resource);
} kinds[] = {
	{ "mesh", "MESH", "EGRESS FILTER", mesh_says },
	{ "virtualService", "VIRTUAL SERVICE", "PROVIDER AND ADDRESSES", service_says },
	{ "virtualNode", "VIRTUAL NODE", "LISTENERS, DISCOVERY", node_says },
	{ "virtualRouter", "VIRTUAL ROUTER", "LISTENERS", listeners_say },
	{ "route", "ROUTE", "WEIGHTS", route_says },
	{ "virtualGateway", "VIRTUAL GATEWAY", "LISTENERS", listeners_say },
	{ "gatewayRoute", "GATEWAY ROUTE", "TARGET", gateway_route_says },
};

const char *get_kind(const char *word)
{
	char plain[32];
	size_t length = 0;

	for (const char *at = word; *at; at++) {
		if (*at == '-')
			continue;
		if (length == sizeof(plain) - 1)
			return NULL;
		plain[length++] = *at;
	}
	plain[length] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const size_t own = strlen(kinds[i].word);
		const char *rest = plain + own;

		if (length >= own && !strncasecmp(plain, kinds[i].word, own) &&
		    (!*rest || !strcasecmp(rest, "s") || !strcasecmp(rest, "es")))
			return kinds[i].word;
	}
	return NULL;
}

static bool has_default_pool(const json_t *r)
{
	for (size_t i = 0; i < json_path_count(r, "pools"); i++)
		if (json_path_bool(json_path_at(r, "pools", i), "default", false))
			return true;
	return false;
}

static void pools_print(const json_t *r)
{
	for (size_t i = 0; i < json_path_count(r, "pools"); i++) {
		char text[POOL_TEXT_BYTES];
		const json_t *pool = json_path_at(r, "pools", i);

		printf("pool: port %lld: %s\n", (long long)json_path_int(pool, "port", 0), format_pool(pool, text));
	}
}

static void notes_add(struct grid *grid, const json_t *r)
{
	const size_t unresolved = json_path_count(r, "unresolved"), not_in_force = json_path_count(r, "notInForce");
	_cleanup_(buffer_done) struct buffer text = {};

	if (unresolved)
		buffer_printf(&text, "%zu unresolved", unresolved);
	if (not_in_force)
		buffer_printf(&text, "%s%zu not in force", unresolved ? ", " : "", not_in_force);
	if (has_default_pool(r))
		buffer_printf(&text, "%sdefault pool", text.length ? ", " : "");
	grid_add(grid, buffer_string(&text));
}

static int kind_print(const struct kind *kind, const json_t *answer)
{
	const struct grid_column columns[] = {
		{ .title = kind->title }, { .title = kind->column }, { .title = "FILE" }, { .title = "NOTES" }, {}
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "resources"); i++) {
		const json_t *r = json_path_at(answer, "resources", i);

		if (strcmp(json_path_string(r, "kind") ?: "", kind->word))
			continue;
		grid_add(&grid, format_member_name(r, "resource", name));
		kind->says(&grid, r);
		grid_add(&grid, json_path_string(r, "source"));
		notes_add(&grid, r);
	}
	if (!grid_rows(&grid))
		return 0;
	if (grid_print(&grid, stdout) < 0)
		return -ENOMEM;
	printf("\n");
	return 0;
}

/* One line for each member of `list` in any resource. */
static int remarks_print(const json_t *answer, const char *list, const char *title, const char *member)
{
	const struct grid_column columns[] = { { .title = title }, { .title = "FIELD" }, { .title = "WHAT" }, {} };
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "resources"); i++) {
		const json_t *r = json_path_at(answer, "resources", i);

		for (size_t n = 0; n < json_path_count(r, list); n++) {
			const json_t *remark = json_path_at(r, list, n);

			grid_printf(&grid, "%s %s", json_path_string(r, "kind") ?: "?",
				    format_member_name(r, "resource", name));
			grid_add(&grid, json_path_string(remark, "field"));
			grid_add(&grid, json_path_string(remark, member));
		}
	}
	if (!grid_rows(&grid))
		return 0;
	if (grid_print(&grid, stdout) < 0)
		return -ENOMEM;
	printf("\n");
	return 0;
}

static int endpoints_print(const json_t *r)
{
	static const struct grid_column columns[] = { { .title = "ENDPOINT" }, { .title = "LISTENER" }, { .title = "HEALTH" },
						      { "OPEN", true },	       { "CONNECTS", true },	{ "FAILURES", true },
						      {} };
	_cleanup_(grid_done) struct grid grid;
	char number[FORMAT_BYTES], name[NAME_TEXT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(r, "endpoints"); i++) {
		const json_t *endpoint = json_path_at(r, "endpoints", i);

		grid_add(&grid, json_path_string(endpoint, "address"));
		grid_add(&grid, format_member_name(endpoint, "target", name));
		grid_add(&grid, json_path_string(endpoint, "health"));
		grid_add(&grid, format_member_count(endpoint, "open", number));
		grid_add(&grid, format_member_count(endpoint, "connects", number));
		grid_add(&grid, format_member_count(endpoint, "failures", number));
	}
	if (!grid_rows(&grid))
		return 0;
	printf("\n");
	return grid_print(&grid, stdout);
}

/* Everything of one resource. */
static int resource_print(const json_t *r)
{
	_cleanup_(buffer_done) struct buffer ports = {};
	char name[NAME_TEXT_BYTES];

	printf("%s%s %s%s\n", style(stdout, STYLE_BOLD), json_path_string(r, "kind") ?: "?",
	       format_member_name(r, "resource", name), style(stdout, STYLE_PLAIN));
	printf("file: %s\n", json_path_string(r, "source") ?: "-");
	for (size_t i = 0; i < json_path_count(r, "vips"); i++)
		printf("address: %s\n", json_string_value(json_path_at(r, "vips", i)));
	if (in_force_text(r))
		printf("in force: %s\n", in_force_text(r));
	ports_add(&ports, r);
	if (ports.length)
		printf("in force:%s\n", buffer_string(&ports) + 1);
	pools_print(r);
	printf("spec: ");
	json_dumpf(json_object_get(r, "spec"), stdout, JSON_INDENT(2));
	printf("\n");
	if (endpoints_print(r) < 0)
		return -ENOMEM;
	printf("\n");
	return 0;
}

/* The last good state stays in force while a file is bad: what is listed is not what the files say. */
static void configuration_warn(const struct ctl *ctl)
{
	_cleanup_json_ json_t *answer = NULL;
	char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];
	struct error err = {};

	if (client_call(ctl, "GET", "/v1/configuration", NULL, NULL, &answer, &err) < 0) {
		fprintf(stderr, "weft: %s\n", error_text(&err, text, sizeof(text)));
		return;
	}
	fflush(stdout);
	print_configuration_error(stderr, json_object_get(answer, "error"));
}

/* As /v1/resources has it, without what a node alone knows. */
static json_t *remote_resource(const struct collected *one)
{
	const struct resource_kind_info *info = &resource_kinds[one->target.kind];

	return json_pack("{s:s, s:O, s:O, s:s, s:O}", "kind", info->path_word, "name", json_object_get(one->target.input, info->name_member),
			 "mesh", json_object_get(one->target.input, resource_kinds[RESOURCE_MESH].name_member), "resource",
			 one->target.full_name, "spec", json_object_get(one->body, "spec"));
}

/* The resources of an API over the network. */
static int get_remote(const struct get_arguments *a, struct remote *remote, const char *kind, const char *name, json_t **ret_answer,
		      struct error *err)
{
	_cleanup_(collection_done) struct collection c = {};
	_cleanup_json_ json_t *list = json_array();
	int r = collect(remote, COLLECT_DESCRIPTIONS, a->mesh, &c, err);

	for (size_t i = 0; i < c.count && r == 0; i++) {
		json_t *one = remote_resource(&c.list[i]);

		if (!one || !list)
			r = error_set(err, -ENOMEM, "out of memory");
		else if ((kind && strcmp(kind, json_path_string(one, "kind"))) || (name && strcmp(name, json_path_string(one, "name"))))
			json_decref(one);
		else if (json_array_append_new(list, one) < 0 || (!a->ctl.json && format_clean(one) < 0))
			r = error_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0)
		*ret_answer = json_pack("{s:O}", "resources", list);
	return r;
}

/* From the API where an endpoint is known, else what is in force on this node. */
static int get_answer(const struct get_arguments *a, const char *kind, const char *name, bool *ret_local, json_t **ret_answer,
		      struct error *err)
{
	const struct parameter parameters[] = { { "kind", kind }, { "mesh", a->mesh }, { "name", name }, {} };
	_cleanup_(cleanup_remote) struct remote *remote = NULL;
	int r = remote_open(&a->ctl, &a->remote, &remote, err);

	if (r < 0)
		return r;
	*ret_local = remote_is_local(remote);
	if (!*ret_local)
		return get_remote(a, remote, kind, name, ret_answer, err);
	if (a->remote.region)
		return error_set_field(err, -EINVAL, "--region", "is for an API over the network: here, what is in force is of every region");
	return client_call(&a->ctl, "GET", "/v1/resources", parameters, NULL, ret_answer, err);
}

static int get_run(const void *arguments, const struct words *words)
{
	const struct get_arguments *a = arguments;
	const char *kind = words->count > 0 ? get_kind(words->values[0]) : NULL;
	const char *name = words->count > 1 ? words->values[1] : NULL;
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};
	bool local = true;
	size_t count;
	int r = 0;

	if (words->count > 0 && !kind) {
		error_set(&err, -EINVAL, "there is no kind of resource called '%s': mesh, virtualService, virtualNode, "
			  "virtualRouter, route, virtualGateway, gatewayRoute", words->values[0]);
		return ctl_fail(&err);
	}
	if (get_answer(a, kind, name, &local, &answer, &err) < 0)
		return ctl_fail(&err);
	count = json_path_count(answer, "resources");
	if (name && !count) {
		error_set(&err, -ENOENT, "there is no %s called '%s'", kind, name);
		return ctl_fail(&err);
	}
	if (a->ctl.json)
		return ctl_print_json(answer);
	for (size_t i = 0; name && i < count && r == 0; i++)
		r = resource_print(json_path_at(answer, "resources", i));
	for (size_t i = 0; !name && i < ARRAY_SIZE(kinds) && r == 0; i++)
		r = kind_print(&kinds[i], answer);
	if (r < 0 || (r = remarks_print(answer, "unresolved", "NAMES THAT NOBODY HAS", "missing")) < 0 ||
	    (r = remarks_print(answer, "notInForce", "NOT IN FORCE YET", "meaning")) < 0) {
		error_set(&err, r, "out of memory");
		return ctl_fail(&err);
	}
	if (!count)
		printf("no resources\n");
	if (local)
		configuration_warn(&a->ctl);
	return EXIT_SUCCESS;
}

const struct command get_command = {
	.name = "get",
	.synopsis = "[KIND] [NAME] [options]",
	.summary = "shows resources, the addresses of services, and what is not in force",
	.more = "\nKIND is mesh, virtualService, virtualNode, virtualRouter, route, virtualGateway or gatewayRoute.\n"
		"With a NAME: all of it, with its spec and endpoints. On this node, what is in force; from an API over the network, what is\n"
		"stored there.",
	.options = options,
	.arguments_size = sizeof(struct get_arguments),
	.words_max = 2,
	.run = get_run,
};
