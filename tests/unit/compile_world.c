/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/compile_world.h"

#include <arpa/inet.h>
#include <errno.h>

/* --- given --------------------------------------------------------------------------------------------------------------- */

static void ignore_change(const char *namespace_name, const char *service_name, void *arg)
{
	(void)namespace_name, (void)service_name, (void)arg;
}

static void ignore_host(const char *hostname, void *arg)
{
	(void)hostname, (void)arg;
}

void fixture_init(struct fixture *f)
{
	struct error err = {};

	*f = (struct fixture){};
	resources_init(&f->resources);
	EXPECT_OK(state_open_memory(&f->state));
	EXPECT_OK(registry_new(f->state, ignore_change, NULL, &f->registry, &err), &err);
	EXPECT_OK(vips_new(f->state, "240.240.0.0/16", "2001:2::/48", &f->vips, &err), &err);
}

void fixture_done(struct fixture *f)
{
	plan_free(f->plan);
	compiler_free(f->compiler);
	dns_discovery_free(f->dns);
	loop_free(f->loop);
	vips_free(f->vips);
	registry_free(f->registry);
	state_close(f->state);
	resources_done(&f->resources);
}
void fixture_start_dns(struct fixture *f)
{
	static const char *const servers[] = { "127.0.0.1" };
	struct error err = {};

	EXPECT_OK(loop_new(&f->loop));
	EXPECT_OK(dns_discovery_new(f->loop, f->state,
				    &(struct dns_discovery_options){
					    .servers = servers, .server_count = 1, .time_scale = 1, .changed = ignore_host },
				    &f->dns, &err),
		  &err);
}

/* JSON in which ' stands for ". */
json_t *parse_quoted(char *text)
{
	struct error err = {};
	json_t *value = NULL;

	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	EXPECT_OK(json_parse(text, strlen(text), &value, &err), &err);
	return value;
}

void given(struct fixture *f, const char *format, ...)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *text = NULL;
	struct error err = {};
	va_list args;

	va_start(args, format);
	EXPECT_OK(vasprintf(&text, format, args));
	va_end(args);
	document = parse_quoted(text);
	EXPECT_OK(resources_add_json(&f->resources, document, NULL, &err), &err);
}

void given_mesh(struct fixture *f, const char *mesh, const char *egress)
{
	given(f, "{'meshName': '%s', 'spec': {'egressFilter': {'type': '%s'}}}", mesh, egress);
}

/* One whose HTTP ports stay the kernel's. "": without a provider. */
void given_service(struct fixture *f, const char *name, const char *provider)
{
	given(f, "{'meshName': 'M', 'virtualServiceName': '%s', 'tags': [{'key': 'weft/l4-http', 'value': 'true'}], 'spec': {%s%s%s}}", name,
	      *provider ? "'provider': {" : "", provider, *provider ? "}" : "");
}

void given_l7_service(struct fixture *f, const char *name, const char *provider)
{
	given(f, "{'meshName': 'M', 'virtualServiceName': '%s', 'spec': {'provider': {%s}}}", name, provider);
}

/* `listeners` as JSON members of an array; discovery by awsCloudMap, namespace "ns", service as the node's name. */
void given_node(struct fixture *f, const char *name, const char *listeners, const char *more)
{
	given(f,
	      "{'meshName': 'M', 'virtualNodeName': '%s', 'spec': {'listeners': [%s], "
	      "'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'ns', 'serviceName': '%s'}}%s}}",
	      name, listeners, name, more);
}

/* A caller: a node without listeners, with backends as JSON members of an array. */
void given_caller(struct fixture *f, const char *name, const char *backends, const char *more)
{
	given(f, "{'meshName': 'M', 'virtualNodeName': '%s', 'spec': {'backends': [%s]%s}}", name, backends, more);
}

void given_router(struct fixture *f, const char *name, const char *listeners)
{
	given(f, "{'meshName': 'M', 'virtualRouterName': '%s', 'spec': {'listeners': [%s]}}", name, listeners);
}

void given_route(struct fixture *f, const char *router, const char *name, const char *spec)
{
	given(f, "{'meshName': 'M', 'virtualRouterName': '%s', 'routeName': '%s', 'spec': {%s}}", router, name, spec);
}

void given_wide_router(struct fixture *f, const char *name, const char *protocol, int ports, int last)
{
	_cleanup_(buffer_done) struct buffer listeners = {};

	for (int port = 1; port <= ports; port++) {
		_cleanup_(buffer_done) struct buffer targets = {}, spec = {};
		char listener[80], each[32];

		snprintf(listener, sizeof(listener), "{'portMapping': {'port': 80, 'protocol': '%s'}}", protocol);
		for (int i = 0; i < (port < ports ? 10 : last); i++) {
			snprintf(each, sizeof(each), "n%d-%d", port, i);
			given_node(f, each, listener, "");
			buffer_printf(&targets, "%s{'virtualNode': '%s', 'weight': 1}", i ? ", " : "", each);
		}
		buffer_printf(&listeners, "%s{'portMapping': {'port': %d, 'protocol': '%s'}}", port > 1 ? ", " : "", port, protocol);
		buffer_printf(&spec, "'%sRoute': {'match': {'port': %d%s}, 'action': {'weightedTargets': [%s]}}", protocol, port,
			      strcmp(protocol, "tcp") == 0 ? "" : ", 'prefix': '/'", buffer_string(&targets));
		snprintf(each, sizeof(each), "t%d", port);
		given_route(f, name, each, buffer_string(&spec));
	}
	given_router(f, name, buffer_string(&listeners));
}

void given_instance(struct fixture *f, const char *service, const char *id, const char *attributes, uint64_t netns_cookie,
			   const char *zone)
{
	_cleanup_free_ char *text = strdup(attributes);
	_cleanup_json_ json_t *parsed = parse_quoted(text);
	struct instance i = { .namespace_name = "ns", .service_name = (char *)service, .id = (char *)id,
			      .netns_cookie = netns_cookie, .zone = (char *)zone };
	struct error err = {};

	EXPECT_OK(registry_put(f->registry, &i, parsed, &err), &err);
}

/* --- when ---------------------------------------------------------------------------------------------------------------- */

int try_compile(struct fixture *f, const struct compile_input *more, struct error *err)
{
	static const char *const web[] = { WEB };
	struct compile_input input = more ? *more : (struct compile_input){};

	EXPECT_OK(resources_check(&f->resources, err), err);
	input.resources = &f->resources;
	input.registry = f->registry;
	input.dns = f->dns;
	input.vips = f->vips;
	input.mesh_owner = "123456789012";
	if (!input.nodes) {
		input.nodes = web;
		input.node_count = 1;
	}
	f->plan = plan_free(f->plan);
	compiler_free(f->compiler);
	EXPECT_OK(compiler_new(&f->compiler));
	return compile(f->compiler, &input, &f->plan, err);
}

const struct plan *compiled(struct fixture *f)
{
	struct error err = {};

	EXPECT_OK(try_compile(f, NULL, &err), &err);
	return f->plan;
}

const struct plan *compiled_with(struct fixture *f, const struct compile_input *input)
{
	struct error err = {};

	EXPECT_OK(try_compile(f, input, &err), &err);
	return f->plan;
}

static void on_change(const struct resource *before, const struct resource *now, void *arg)
{
	struct compile_change *w = arg;

	compiler_resource_changed(w->compiler, &w->f.resources, before, now);
}

void change_init(struct compile_change *w, const char *const nodes[1])
{
	*w = (struct compile_change){ .nodes = nodes };
	fixture_init(&w->f);
	EXPECT_OK(compiler_new(&w->compiler));
}

void change_done(struct compile_change *w)
{
	plan_free(w->before);
	plan_free(w->now);
	compiler_free(w->compiler);
	fixture_done(&w->f);
}

void change_remove(struct compile_change *w, const char *full_name)
{
	EXPECT_OK(resources_remove(&w->f.resources, full_name));
}

const struct plan *change_compile(struct compile_change *w)
{
	struct error err = {};

	EXPECT_OK(resources_check(&w->f.resources, &err), &err);
	resources_commit(&w->f.resources, on_change, w);
	plan_free(w->before);
	w->before = w->now;
	EXPECT_OK(compile(w->compiler,
			  &(struct compile_input){ .resources = &w->f.resources, .registry = w->f.registry, .vips = w->f.vips,
						   .mesh_owner = "123456789012", .nodes = w->nodes, .node_count = 1 },
			  &w->now, &err),
		  &err);
	return w->now;
}

/* --- then ---------------------------------------------------------------------------------------------------------------- */

const struct plan_service *service(const struct plan *plan, const char *name)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];

	snprintf(full_name, sizeof(full_name), "mesh/M/virtualService/%s", name);
	for (size_t i = 0; i < plan->service_count; i++)
		if (plan->services[i] && strcmp(plan->services[i]->name, full_name) == 0)
			return plan->services[i];
	fail_msg("no service %s in the plan", name);
	return NULL;
}

const struct plan_target *target(const struct plan *plan, const char *name)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];

	snprintf(full_name, sizeof(full_name), "mesh/M/virtualNode/%s", name);
	for (size_t i = 0; i < plan->target_count; i++)
		if (plan->targets[i] && strcmp(plan->targets[i]->name, full_name) == 0)
			return plan->targets[i];
	fail_msg("no target %s in the plan", name);
	return NULL;
}

const struct plan_node *node(const struct plan *plan, const char *full_name)
{
	for (size_t i = 0; i < plan->node_count; i++)
		if (plan->nodes[i] && strcmp(plan->nodes[i]->name, full_name) == 0)
			return plan->nodes[i];
	fail_msg("no node %s in the plan", full_name);
	return NULL;
}

/* "name:port=weight …", "-" for a target that does not exist. */
void expect_targets(const struct plan *plan, const struct plan_port *port, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (size_t i = 0; i < port->target_count; i++) {
		const struct plan_weighted *w = &port->targets[i];
		const char *name = w->target == PLAN_NONE ? "/-" : strrchr(plan->targets[w->target]->name, '/');

		buffer_printf(&b, "%s%s=%u", i ? " " : "", name + 1, w->weight);
	}
	EXPECT_STR(buffer_string(&b), expected);
}

/* "route(name:port=weight …) …" of what weft-proxy does; "(…)" where there are no routes; "-": the port is not its. */
void expect_l7(const struct plan *plan, const struct plan_port *port, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};
	const struct plan_l7 *l7 = port->l7;
	size_t target = 0;

	EXPECT_EQ(!l7, !(port->flags & ROUTE_L7));
	for (size_t i = 0; l7 && i < l7->route_count + l7->by_node; i++) {
		const size_t count = l7->by_node ? 1 : l7->routes[i].target_count;

		buffer_printf(&b, "%s%s(", i ? " " : "", l7->by_node ? "" : l7->routes[i].resource->name);
		for (size_t t = 0; t < count; t++, target++) {
			const struct plan_weighted *w = &l7->targets[target];
			const char *name = w->target == PLAN_NONE ? "/-" : strrchr(plan->targets[w->target]->name, '/');

			buffer_printf(&b, "%s%s=%u", t ? " " : "", name + 1, w->weight);
		}
		buffer_add(&b, ")");
	}
	EXPECT_EQ(target, l7 ? l7->target_count : 0);
	EXPECT_STR(l7 ? buffer_string(&b) : "-", expected);
}

/* "address:port …" */
void expect_endpoints(const struct plan_target *t, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};
	char text[ENDPOINT_TEXT_BYTES];

	for (size_t i = 0; i < t->endpoint_count; i++)
		buffer_printf(&b, "%s%s", i ? " " : "", ip_port_format(&t->endpoints[i].address, t->endpoints[i].port, text));
	EXPECT_STR(buffer_string(&b), expected);
}

/* "service service …", names of services in order, "?" after those that are only audited. */
void expect_backends(const struct plan *plan, const struct plan_node *node, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (size_t i = 0; i < node->backend_count; i++)
		buffer_printf(&b, "%s%s%s", i ? " " : "", strrchr(plan->services[node->backends[i].service]->name, '/') + 1,
			      node->backends[i].flags & BACKEND_AUDIT_ONLY ? "?" : "");
	EXPECT_STR(buffer_string(&b), expected);
}

void expect_services(const struct plan *plan, const char *expected)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (size_t i = 0; i < plan->service_count; i++)
		buffer_printf(&b, "%s%s", i ? " " : "", strrchr(plan->services[i]->name, '/') + 1);
	EXPECT_STR(buffer_string(&b), expected);
}

void given_one_target(struct fixture *f, const char *listeners)
{
	given_mesh(f, "M", "DROP_ALL");
	given_caller(f, "web", "", "");
	given_service(f, "s", BY_NODE("n"));
	given_node(f, "n", listeners, "");
}
