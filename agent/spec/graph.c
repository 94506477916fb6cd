/* SPDX-License-Identifier: Apache-2.0 */
/* Rules between resources. A rule holds where both ends exist: files arrive one by one, and a route may be there before the
 * node it names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/graph.h"
#include "agent/spec/kind.h"
#include "base/bytes.h"
#include "base/cleanup.h"

/* --- which listener a port means ------------------------------------------------------------------------------------------ */

static void list_ports(const json_t *spec, struct buffer *out)
{
	for (size_t i = 0; i < listener_count(spec); i++) {
		struct port_mapping mapping;

		listener_read(spec, i, &mapping);
		buffer_printf(out, "%s%u", i > 0 ? ", " : "", mapping.port);
	}
}

/* The listener of `owner` that `port` means, or its only one where port is NULL. `field` is where the port is or would be.
 * Returns 1, 0 where there is neither port nor listener, or -EINVAL. */
static int bind_port(const struct resource *owner, const json_t *port, const char *field, struct port_mapping *ret_mapping,
		     struct error *err)
{
	_cleanup_(buffer_done) struct buffer ports = {};
	_cleanup_json_ json_t *spec = resource_spec(owner);
	const size_t count = listener_count(spec);
	struct port_mapping mapping;

	for (size_t i = 0; i < count; i++) {
		listener_read(spec, i, &mapping);
		if (port ? mapping.port == json_integer_value(port) : count == 1) {
			*ret_mapping = mapping;
			return 1;
		}
	}
	if (!port && count == 0)
		return 0;
	list_ports(spec, &ports);
	if (!port)
		return error_set_field(err, -EINVAL, field, "is required: %s has several listeners (%s)", owner->full_name,
				       buffer_string(&ports));
	return error_set_field(err, -EINVAL, field, "is %s, which is no listener port of %s (%s)", VALUE(port), owner->full_name,
			       count > 0 ? buffer_string(&ports) : "it has no listener");
}

static int check_protocol(const struct resource *owner, const struct port_mapping *mapping, const struct route_protocol *protocol,
			  const char *field, struct error *err)
{
	if (strcmp(mapping->protocol, protocol->protocol) == 0)
		return 0;
	return error_set_field(err, -EINVAL, field, "%s needs a listener of protocol %s, but port %u of %s is %s", protocol->member,
			       protocol->protocol, mapping->port, owner->full_name, mapping->protocol);
}

/* --- routes ------------------------------------------------------------------------------------------------------------ */

static int check_target(const struct resources *set, const struct resource *route, const struct route_protocol *protocol,
			const json_t *body, size_t index, struct error *err)
{
	const json_t *target = json_path_at(body, "action.weightedTargets", index);
	const char *field = FIELD("spec.%s.action.weightedTargets[%zu]", protocol->member, index);
	const struct resource *node;
	struct port_mapping mapping;
	int r;

	node = resources_sibling(set, route, RESOURCE_VIRTUAL_NODE, NULL, json_path_string(target, "virtualNode"));
	if (!node)
		return 0;
	r = bind_port(node, json_object_get(target, "port"), FIELD("%s.port", field), &mapping, err);
	return r <= 0 ? r : check_protocol(node, &mapping, protocol, FIELD("%s.virtualNode", field), err);
}

static int check_route(const struct resources *set, const struct resource *route, struct error *err)
{
	_cleanup_json_ json_t *spec = resource_spec(route);
	const struct route_protocol *protocol;
	const struct resource *router;
	struct port_mapping mapping;
	const json_t *body;
	int r;

	r = route_protocol_find(spec, &protocol, err);
	if (r < 0)
		return r;
	body = json_object_get(spec, protocol->member);
	router = resources_sibling(set, route, RESOURCE_VIRTUAL_ROUTER, NULL, route->parent);
	if (router) {
		r = bind_port(router, json_path(body, "match.port"), FIELD("spec.%s.match.port", protocol->member), &mapping, err);
		if (r > 0)
			r = check_protocol(router, &mapping, protocol, FIELD("spec.%s", protocol->member), err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < json_path_count(body, "action.weightedTargets"); i++) {
		r = check_target(set, route, protocol, body, i, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The node or router behind a virtual service. NULL: none, or not there. */
static const struct resource *provider_of(const struct resources *set, const struct resource *service)
{
	_cleanup_json_ json_t *spec = resource_spec(service);
	const char *node = json_path_string(spec, "provider.virtualNode.virtualNodeName");
	const char *router = json_path_string(spec, "provider.virtualRouter.virtualRouterName");

	if (node)
		return resources_sibling(set, service, RESOURCE_VIRTUAL_NODE, NULL, node);
	return router ? resources_sibling(set, service, RESOURCE_VIRTUAL_ROUTER, NULL, router) : NULL;
}

static int check_gateway_route(const struct resources *set, const struct resource *route, struct error *err)
{
	const struct resource *gateway, *service, *provider;
	_cleanup_json_ json_t *spec = resource_spec(route);
	const struct route_protocol *protocol;
	char name[RESOURCE_FULL_NAME_BYTES];
	struct port_mapping mapping;
	const json_t *body, *target;
	int r;

	r = route_protocol_find(spec, &protocol, err);
	if (r < 0)
		return r;
	body = json_object_get(spec, protocol->member);
	gateway = resources_sibling(set, route, RESOURCE_VIRTUAL_GATEWAY, NULL, route->parent);
	if (gateway) {
		r = bind_port(gateway, json_path(body, "match.port"), FIELD("spec.%s.match.port", protocol->member), &mapping, err);
		if (r < 0)
			return r;
	}
	target = json_path(body, "action.target");
	r = resource_reference_name(name, sizeof(name), route, RESOURCE_VIRTUAL_SERVICE,
				    json_path_string(target, "virtualService.virtualServiceName"));
	service = r < 0 ? NULL : resources_get(set, name);
	provider = service ? provider_of(set, service) : NULL;
	if (!provider)
		return 0;
	r = bind_port(provider, json_object_get(target, "port"), FIELD("spec.%s.action.target.port", protocol->member), &mapping, err);
	return MIN(r, 0);
}

static int (*const graph_checks[RESOURCE_KIND_COUNT])(const struct resources *, const struct resource *, struct error *) = {
	[RESOURCE_ROUTE] = check_route,
	[RESOURCE_GATEWAY_ROUTE] = check_gateway_route,
};

int resource_check(const struct resources *set, const struct resource *resource, struct error *err)
{
	return graph_checks[resource->kind] ? MIN(graph_checks[resource->kind](set, resource, err), 0) : 0;
}

/* --- what a resource refers to ------------------------------------------------------------------------------------------- */

struct reference_visit {
	const struct resource *from;
	enum resource_kind kind;
	graph_reference_fn *fn;
	void *arg;
};

static void tell(const struct reference_visit *visit, const char *field, enum resource_kind kind, const char *name)
{
	char full_name[RESOURCE_FULL_NAME_BYTES];

	if (resource_reference_name(full_name, sizeof(full_name), visit->from, kind, name) < 0)
		text_cut(full_name, sizeof(full_name), name); /* names something no set can hold */
	visit->fn(field, full_name, visit->arg);
}

static void visit_reference(const char *field, const json_t *value, void *arg)
{
	const struct reference_visit *visit = arg;

	tell(visit, field, visit->kind, json_string_value(value));
}

void graph_references_in(const struct resource *from, const json_t *spec, graph_reference_fn *fn, void *arg)
{
	const struct reference_rule *rule = kind_rules[from->kind]->references;
	struct reference_visit visit = { .from = from, .fn = fn, .arg = arg };

	if (from->kind != RESOURCE_MESH)
		tell(&visit, resource_kinds[RESOURCE_MESH].name_member, RESOURCE_MESH, from->mesh);
	if (from->parent)
		tell(&visit, resource_kinds[resource_kinds[from->kind].parent].name_member, resource_kinds[from->kind].parent,
		     from->parent);
	for (; rule && rule->pattern; rule++) {
		visit.kind = rule->kind;
		field_each(spec, rule->pattern, visit_reference, &visit);
	}
}

void graph_references(const struct resource *from, graph_reference_fn *fn, void *arg)
{
	_cleanup_json_ json_t *spec = kind_rules[from->kind]->references ? resource_spec(from) : NULL;

	graph_references_in(from, spec, fn, arg);
}

/* --- who leads there ----------------------------------------------------------------------------------------------------- */

struct l4_visit {
	const struct resources *set;
	bool found;
};

static void visit_service(const struct resource *from, void *arg)
{
	struct l4_visit *visit = arg;

	visit->found |= from->kind == RESOURCE_VIRTUAL_SERVICE && virtual_service_is_l4_http(from);
}

static void visit_services_of(struct l4_visit *visit, const struct resource *route)
{
	char router[RESOURCE_FULL_NAME_BYTES];

	resource_parent_name(route, router);
	resources_referrers(visit->set, router, visit_service, visit);
}

static void visit_leading(const struct resource *from, void *arg)
{
	if (from->kind == RESOURCE_ROUTE)
		visit_services_of(arg, from);
	else
		visit_service(from, arg);
}

bool graph_has_l4_http(const struct resources *set, const struct resource *resource)
{
	struct l4_visit visit = { .set = set };

	if (resource->kind == RESOURCE_ROUTE)
		visit_services_of(&visit, resource);
	else
		resources_referrers(set, resource->full_name, visit_leading, &visit);
	return visit.found;
}
