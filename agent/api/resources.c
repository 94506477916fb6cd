/* SPDX-License-Identifier: Apache-2.0 */
/* Resources on the local socket: what is configured, what of it is not in force, and what the kernel holds for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/spec/field.h"
#include "agent/telemetry/names.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/time.h"
#include "maps/proxy.h"

static void append_not_in_force(const char *field, const char *meaning, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s, s:s}", "field", field, "meaning", meaning));
}

static void append_unresolved(const struct resource *from, const char *field, const char *missing, void *arg)
{
	(void)from;
	json_array_append_new(arg, json_pack("{s:s, s:s}", "field", field, "missing", missing));
}

static json_t *vips_json(const struct plan_service *s)
{
	static const struct ip none;
	json_t *list = json_array();
	char text[IP_TEXT_BYTES];

	if (s && !ip_equal(&s->vip4, &none))
		json_array_append_new(list, json_string(ip_format(&s->vip4, text)));
	if (s && !ip_equal(&s->vip6, &none))
		json_array_append_new(list, json_string(ip_format(&s->vip6, text)));
	return list;
}

/* Why no query leads to the service, if so. */
static void append_name_not_in_force(const struct resource *service, const struct plan_service *planned, json_t *list)
{
	struct name_key key;
	char meaning[512];

	if (name_key_make("", service->name, &key) < 0)
		append_not_in_force(resource_kinds[service->kind].name_member,
				    "cannot be asked for by DNS: a name has labels of 1 to 63 bytes, and 253 bytes in all", list);
	else if (planned && planned->twin) {
		snprintf(meaning, sizeof(meaning), "cannot be asked for by DNS: the name leads to %s, as to a resolver it is the same",
			 planned->twin);
		append_not_in_force(resource_kinds[service->kind].name_member, meaning, list);
	}
}

/* What a virtual node has that weft-proxy would do for its applications here. */
static const struct {
	const char *pattern, *meaning;
} without_proxy[] = {
	{ "listeners[].connectionPool.http", "weft-proxy is off (--proxy): the kernel counts connections, and no request waits" },
	{ "listeners[].timeout.http", "weft-proxy is off (--proxy): no timeout is enforced" },
	{ "logging.accessLog", "weft-proxy is off (--proxy): no access log is written" },
};

struct without_proxy_visit {
	const char *meaning;
	json_t *list;
};

static void visit_without_proxy(const char *field, const json_t *value, void *arg)
{
	const struct without_proxy_visit *visit = arg;

	(void)value;
	append_not_in_force(field, visit->meaning, visit->list);
}

static void append_without_proxy(const struct resource *node, json_t *list)
{
	_cleanup_json_ json_t *spec = resource_spec(node);

	for (size_t i = 0; i < ARRAY_SIZE(without_proxy); i++)
		field_each(spec, without_proxy[i].pattern, visit_without_proxy,
			   &(struct without_proxy_visit){ without_proxy[i].meaning, list });
}

/* --- who decides ---------------------------------------------------------------------------------------------------------- */

#define BY_PROXY "weft-proxy" /* for each request */
#define BY_KERNEL "kernel" /* for each connection */

static json_t *ports_json(const struct plan_service *service)
{
	json_t *list = json_array();

	for (size_t i = 0; service && i < service->port_count; i++)
		json_array_append_new(list, json_pack("{s:i, s:s}", "port", (int)service->ports[i].port, "inForce",
						      service->ports[i].l7 ? BY_PROXY : BY_KERNEL));
	return list;
}

struct deciding { /* a route that is in force on this node */
	struct table_node node;
	const char *by;
};

struct deciding_set {
	bool made;
	struct table table;
	size_t count;
	struct deciding *all;
};

static void deciding_done(struct deciding_set *set)
{
	table_done(&set->table);
	free(set->all);
}

static void deciding_add(struct deciding_set *set, const char *full_name, const char *by)
{
	struct deciding *one = &set->all[set->count];

	if (!full_name)
		return;
	one->by = by;
	set->count += table_add(&set->table, &one->node, full_name) == 0; /* else it is there: several services share a router */
}

/* Once for a listing: a plan may have ten thousand routes. */
static void deciding_make(const struct plan *plan, struct deciding_set *set)
{
	size_t room = 1;

	set->made = true;
	for (size_t i = 0; plan && i < plan->service_count; i++)
		for (size_t p = 0; plan->services[i] && p < plan->services[i]->port_count; p++)
			room += 1 + (plan->services[i]->ports[p].l7 ? plan->services[i]->ports[p].l7->route_count : 0);
	set->all = calloc(room, sizeof(*set->all));
	for (size_t i = 0; plan && set->all && i < plan->service_count; i++)
		for (size_t p = 0; plan->services[i] && p < plan->services[i]->port_count; p++) {
			const struct plan_port *port = &plan->services[i]->ports[p];

			for (size_t n = 0; port->l7 && n < port->l7->route_count; n++)
				if (port->l7->routes[n].resource)
					deciding_add(set, port->l7->routes[n].resource->full_name, BY_PROXY);
			if (!port->l7)
				deciding_add(set, port->route, BY_KERNEL);
		}
}

static json_t *route_in_force(const struct agent *agent, const char *full_name, struct deciding_set *set)
{
	struct table_node *found;

	if (!set->made)
		deciding_make(apply_current(agent->apply), set);
	found = table_get(&set->table, full_name);
	return found ? json_string(container_of(found, struct deciding, node)->by) : json_null();
}

/* The endpoints that the current generation holds for the node's listeners. */
static json_t *endpoints_json(struct agent *agent, const struct resource *node)
{
	const struct plan *plan = apply_current(agent->apply);
	struct generations *g = apply_generations(agent->apply);
	const struct kernel_memory *m = &agent->kernel.memory;
	json_t *list = json_array();
	char text[ENDPOINT_TEXT_BYTES];

	for (size_t i = 0; plan && i < plan->target_count; i++) {
		uint32_t ref;
		const struct target_record *record;

		if (!plan->targets[i] || strcmp(plan->targets[i]->node, node->full_name))
			continue;
		ref = generations_ref(g, generations_current(g),
				      apply_object_id(agent->apply, OBJECT_TARGET, plan->targets[i]->name));
		if (!ref)
			continue;
		record = &m->targets[ref & REF_INDEX_MASK];
		for (int family = 0; family < LIST_COUNT; family++)
			for (uint32_t n = 0; n < record->count[family]; n++) {
				const struct endpoint_ref *e = &m->refs[record->first[family] + n];
				const struct endpoint *slot = &m->endpoints[e->slot];

				json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:s?}", "target",
								      plan->targets[i]->name, "address",
								      ip_port_format(&e->address, e->port, text), "health",
								      endpoint_state_name(slot), "open", (json_int_t)slot->open,
								      "connects", (json_int_t)slot->connects, "failures",
								      (json_int_t)slot->failures, "ejections",
								      (json_int_t)slot->ejections, "local", e->netns_cookie != 0,
								      "zone", plan_zone_name(plan, e->zone)));
			}
	}
	return list;
}

static json_t *pool_json(const struct agent *agent, const json_t *listener)
{
	const json_t *pool = json_path(listener_pool(listener, agent->options.pool), "http");

	if (!pool)
		return NULL;
	return json_pack("{s:I, s:O, s:O?, s:b}", "port", (json_int_t)json_path_int(listener, "portMapping.port", 0), "maxConnections",
			 json_object_get(pool, "maxConnections"), "maxPendingRequests", json_object_get(pool, "maxPendingRequests"), "default",
			 !json_object_get(listener, "connectionPool"));
}

json_t *api_pool_json(const struct agent *agent, const struct resource *resource, uint16_t port)
{
	_cleanup_json_ json_t *spec = resource_spec(resource);
	const json_t *listeners = json_object_get(spec, "listeners");
	json_t *listener;
	size_t i;

	json_array_foreach(listeners, i, listener)
		if (json_path_int(listener, "portMapping.port", 0) == port)
			return pool_json(agent, listener) ?: json_null();
	return json_null();
}

static json_t *pools_json(const struct agent *agent, const struct resource *resource)
{
	_cleanup_json_ json_t *spec = resource_spec(resource);
	const json_t *listeners = json_object_get(spec, "listeners");
	json_t *list = json_array(), *listener;
	size_t i;

	json_array_foreach(listeners, i, listener) {
		json_t *one = pool_json(agent, listener);

		if (one)
			json_array_append_new(list, one);
	}
	return list;
}

static json_t *resource_json(struct agent *agent, const struct resource *r, struct deciding_set *deciding)
{
	json_t *not_in_force = json_array(), *unresolved = json_array();
	const bool service = r->kind == RESOURCE_VIRTUAL_SERVICE;
	const struct plan_service *planned = service ? plan_find_service(apply_current(agent->apply), r->full_name) : NULL;
	json_t *one;

	resource_not_in_force(agent_in_force(agent), r, append_not_in_force, not_in_force);
	if (service)
		append_name_not_in_force(r, planned, not_in_force);
	if (r->kind == RESOURCE_VIRTUAL_NODE && !strcmp(agent->options.proxy, "off"))
		append_without_proxy(r, not_in_force);
	resources_unresolved(agent_in_force(agent), r, append_unresolved, unresolved);
	one = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o, s:o, s:o}", "kind", resource_kinds[r->kind].path_word, "name", r->name, "mesh",
			r->mesh, "resource", r->full_name, "source", r->source, "spec", resource_spec(r), "unresolved", unresolved,
			"notInForce", not_in_force);
	if (r->parent)
		json_object_set_new(one, "parent", json_string(r->parent));
	if (service) {
		json_object_set_new(one, "vips", vips_json(planned));
		json_object_set_new(one, "ports", ports_json(planned));
	}
	if (r->kind == RESOURCE_ROUTE)
		json_object_set_new(one, "inForce", route_in_force(agent, r->full_name, deciding));
	if (r->kind == RESOURCE_VIRTUAL_NODE)
		json_object_set_new(one, "endpoints", endpoints_json(agent, r));
	if (r->kind == RESOURCE_VIRTUAL_NODE || r->kind == RESOURCE_VIRTUAL_GATEWAY)
		json_object_set_new(one, "pools", pools_json(agent, r));
	return one;
}

struct listing {
	struct agent *agent;
	const char *kind, *mesh, *name; /* NULL: any */
	json_t *list;
	struct deciding_set deciding;
};

static int append_resource(const struct resource *r, void *arg)
{
	struct listing *l = arg;

	if ((!l->kind || !strcmp(l->kind, resource_kinds[r->kind].path_word)) && (!l->mesh || !strcmp(l->mesh, r->mesh)) &&
	    (!l->name || !strcmp(l->name, r->name) || !strcmp(l->name, r->full_name)))
		json_array_append_new(l->list, resource_json(l->agent, r, &l->deciding));
	return 0;
}

void api_resources(struct agent *agent, struct http_exchange *exchange)
{
	struct listing listing = {
		.agent = agent,
		.kind = http_query(exchange, "kind"),
		.mesh = http_query(exchange, "mesh"),
		.name = http_query(exchange, "name"),
		.list = json_array(),
	};

	resources_each(agent_in_force(agent), append_resource, &listing);
	deciding_done(&listing.deciding);
	http_reply_json(exchange, 200,
			json_pack("{s:I, s:o}", "generation", (json_int_t)agent->configuration.generation, "resources", listing.list));
}

json_t *api_configuration_json(struct agent *agent)
{
	const struct agent_configuration *c = &agent->configuration;
	json_t *error = json_null();

	if (c->failed)
		error = json_pack("{s:s, s:s, s:o}", "field", c->error.field, "error", c->error.message, "since",
				  api_time_json(c->failed_since_wall_ns));
	return json_pack("{s:s?, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "directory", agent->options.config_dir, "files", (json_int_t)c->files, "resources", (json_int_t)c->resources.count,
			 "generation", (json_int_t)c->generation, "readAt", api_time_json(c->read_wall_ns), "appliedAt",
			 api_time_json(c->applied_wall_ns), "error", error, "held",
			 api_held_json(agent));
}

void api_configuration(struct agent *agent, struct http_exchange *exchange)
{
	http_reply_json(exchange, 200, api_configuration_json(agent));
}
