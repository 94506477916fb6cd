/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: listeners of virtual nodes that some service leads to, with the endpoints that serve them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "agent/compile/zones.h"
#include "agent/spec/field.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "maps/abi/endpoint.h"

/* Which of an instance's or host name's addresses are offered. App Mesh's proxies picked a family by ipPreference; here the
 * program has chosen a family already when it connects, by the VIP it took, and only endpoints of that family can serve it. A
 * mere preference therefore leaves both, and the caller's own resolver decides, as it does outside of a mesh. */
static const struct ip_preference {
	const char *name;
	bool v4, v6;
} ip_preferences[] = {
	{ "IPv4_ONLY", true, false },
	{ "IPv6_ONLY", false, true },
	{ "IPv4_PREFERRED", true, true },
	{ "IPv6_PREFERRED", true, true },
};

static const struct ip_preference *preference_of(const struct resources *resources, const struct resource *node,
						 const json_t *discovery)
{
	static const struct ip_preference any = { NULL, true, true };
	const char *name = json_path_string(discovery, "ipPreference");
	_cleanup_json_ json_t *spec = NULL;

	if (!name) {
		const struct resource *mesh = resources_sibling(resources, node, RESOURCE_MESH, NULL, node->mesh);

		spec = mesh ? resource_spec(mesh) : NULL;
		name = json_path_string(spec, "serviceDiscovery.ipPreference");
	}
	for (size_t i = 0; name && i < ARRAY_SIZE(ip_preferences); i++)
		if (strcmp(ip_preferences[i].name, name) == 0)
			return &ip_preferences[i];
	return &any;
}

struct gather {
	struct compiler *c;
	const json_t *discovery; /* of the node: awsCloudMap or dns */
	const struct ip_preference *preference;
	uint16_t port; /* the listener's */
	struct plan_endpoint *endpoints;
	size_t count, capacity;
};

static void gather_done(struct gather *g)
{
	free(g->endpoints);
}

static bool has_attributes(const struct instance *instance, const json_t *wanted)
{
	json_t *attribute;
	size_t i;

	json_array_foreach(wanted, i, attribute) {
		const char *has = instance_attribute(instance, json_path_string(attribute, "key"));
		const char *value = json_path_string(attribute, "value");

		if (!has || !value || strcmp(has, value) != 0)
			return false;
	}
	return true;
}

static int gather_add(struct gather *g, const struct plan_endpoint *endpoint)
{
	if (g->count == g->capacity) {
		size_t capacity = g->capacity ? g->capacity * 2 : 8;
		struct plan_endpoint *endpoints = reallocarray(g->endpoints, capacity, sizeof(*endpoints));

		if (!endpoints)
			return -ENOMEM;
		g->endpoints = endpoints;
		g->capacity = capacity;
	}
	g->endpoints[g->count++] = *endpoint;
	return 0;
}

/* --- awsCloudMap ------------------------------------------------------------------------------------------------------- */

static int add_instance(struct gather *g, const struct instance *instance, const struct ip *address)
{
	const char *zone = instance->zone ?: instance_attribute(instance, "AVAILABILITY_ZONE");
	const int r = line_zone(&g->c->line, zone);

	if (r < 0)
		return r;
	return gather_add(g, &(struct plan_endpoint){
				     .address = *address,
				     .port = htons(instance->port ? instance->port : g->port),
				     .zone = plan_zone(zone),
				     .netns_cookie = ip_is_loopback(address) ? instance->netns_cookie : 0,
			     });
}

static int gather_instance(const struct instance *instance, void *arg)
{
	static const struct ip none;
	struct gather *g = arg;
	int r = 0;

	if (!has_attributes(instance, json_object_get(g->discovery, "attributes")))
		return 0;
	if (g->preference->v4 && !ip_equal(&instance->v4, &none))
		r = add_instance(g, instance, &instance->v4);
	if (r == 0 && g->preference->v6 && !ip_equal(&instance->v6, &none))
		r = add_instance(g, instance, &instance->v6);
	return r;
}

static int gather_from_registry(const struct compile_input *input, struct gather *g)
{
	return registry_each(input->registry, json_path_string(g->discovery, "namespaceName"),
			     json_path_string(g->discovery, "serviceName"), gather_instance, g);
}

/* --- dns --------------------------------------------------------------------------------------------------------------- */

/* A loopback address is each caller's own: the resolver that named it was not asked from any namespace of a workload. */
static int add_addresses(struct gather *g, const struct ip *addresses, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = gather_add(g, &(struct plan_endpoint){ .address = addresses[i], .port = htons(g->port) });
	return r;
}

/* LOADBALANCER, the default, uses one address at a time, for new connections. */
static bool is_load_balancer(const json_t *dns)
{
	const char *response = json_path_string(dns, "responseType");

	return dns && !(response && strcmp(response, "ENDPOINTS") == 0);
}

static int gather_from_dns(const struct compile_input *input, struct gather *g)
{
	const bool all = !is_load_balancer(g->discovery);
	struct dns_addresses a;
	int r = input->dns ? dns_discovery_get(input->dns, json_path_string(g->discovery, "hostname"), &a) : -EINPROGRESS;

	if (r < 0)
		return r == -EINPROGRESS ? 0 : r;
	if (g->preference->v4 && a.v4_count)
		r = all ? add_addresses(g, a.v4, a.v4_count) : add_addresses(g, &a.v4[a.first_v4], 1);
	if (r == 0 && g->preference->v6 && a.v6_count)
		r = all ? add_addresses(g, a.v6, a.v6_count) : add_addresses(g, &a.v6[a.first_v6], 1);
	return r;
}

static const struct {
	const char *member;
	int (*gather)(const struct compile_input *input, struct gather *g);
} discoveries[] = {
	{ "awsCloudMap", gather_from_registry },
	{ "dns", gather_from_dns },
};

/* --- endpoints of a target --------------------------------------------------------------------------------------------- */

static int endpoint_order(const void *a, const void *b)
{
	const struct plan_endpoint *x = a, *y = b;
	int order = plan_endpoint_order(x, y);

	return order ? order : (int)x->zone - (int)y->zone; /* so that of duplicates the same one stays, whatever qsort does */
}

static int gather_endpoints(struct compiler *c, const struct resource *node, const json_t *spec, uint16_t port, struct plan_target *target)
{
	const struct compile_input *input = c->input;
	const json_t *discovery = json_object_get(spec, "serviceDiscovery");
	_cleanup_(gather_done) struct gather g = { .c = c, .port = port };
	size_t kept = 0;

	for (size_t i = 0; i < ARRAY_SIZE(discoveries); i++) {
		int r;

		g.discovery = json_object_get(discovery, discoveries[i].member);
		if (!g.discovery)
			continue;
		g.preference = preference_of(input->resources, node, g.discovery);
		r = discoveries[i].gather(input, &g);
		if (r < 0)
			return r;
	}
	if (g.count > 1)
		qsort(g.endpoints, g.count, sizeof(*g.endpoints), endpoint_order);
	for (size_t i = 0; i < g.count; i++) {
		g.endpoints[i].health = target->check.protocol == CHECK_NONE ? HEALTH_UNCHECKED : HEALTH_PENDING;
		if (kept == 0 || plan_endpoint_order(&g.endpoints[kept - 1], &g.endpoints[i]) != 0)
			g.endpoints[kept++] = g.endpoints[i];
	}
	target->endpoints = kept ? reallocarray(g.endpoints, kept, sizeof(*g.endpoints)) : NULL; /* most have few: none has room for more */
	if (kept && !target->endpoints)
		return -ENOMEM;
	if (kept)
		g.endpoints = NULL;
	target->endpoint_count = kept;
	return 0;
}

static const json_t *find_listener(const json_t *spec, uint16_t port, struct port_mapping *ret_mapping)
{
	const json_t *listeners = json_object_get(spec, "listeners");
	json_t *listener;
	size_t i;

	json_array_foreach(listeners, i, listener) {
		port_mapping_read(json_object_get(listener, "portMapping"), ret_mapping);
		if (ret_mapping->port == port)
			return listener;
	}
	return NULL;
}

bool listener_needs_tls(const json_t *listener, const struct port_mapping *mapping)
{
	const char *mode = json_path_string(listener, "tls.mode");

	return mapping->implies_tls || (mode && strcmp(mode, "STRICT") == 0);
}

static uint32_t target_flags(const json_t *spec, const json_t *listener, const struct port_mapping *mapping)
{
	return (listener_needs_tls(listener, mapping) ? TARGET_NEEDS_TLS : 0) | (is_load_balancer(json_path(spec, "serviceDiscovery.dns")) ? TARGET_ROTATES : 0);
}

/* Bounds are the model's. */
static int read_check(const json_t *listener, struct plan_check *ret_check)
{
	static const struct {
		const char *name;
		enum check_protocol protocol;
		bool has_path;
	} protocols[] = {
		{ "tcp", CHECK_TCP, false },
		{ "http", CHECK_HTTP, true },
		{ "http2", CHECK_HTTP2, true },
		{ "grpc", CHECK_GRPC, false },
	};
	const json_t *policy = json_object_get(listener, "healthCheck");
	const char *protocol = json_path_string(policy, "protocol"), *path = json_path_string(policy, "path");

	for (size_t i = 0; protocol && i < ARRAY_SIZE(protocols); i++) {
		if (strcmp(protocols[i].name, protocol) != 0)
			continue;
		*ret_check = (struct plan_check){
			.protocol = protocols[i].protocol,
			.healthy_threshold = (uint8_t)json_path_int(policy, "healthyThreshold", 0),
			.unhealthy_threshold = (uint8_t)json_path_int(policy, "unhealthyThreshold", 0),
			.interval_ns = (uint64_t)json_path_int(policy, "intervalMillis", 0) * NSEC_PER_MSEC,
			.timeout_ns = (uint64_t)json_path_int(policy, "timeoutMillis", 0) * NSEC_PER_MSEC,
		};
		if (!protocols[i].has_path || !path)
			return 0;
		ret_check->path = strdup(path);
		return ret_check->path ? 0 : -ENOMEM;
	}
	return 0;
}

static uint64_t read_duration(const json_t *duration, uint32_t time_scale)
{
	return MIN(duration_ns(duration, 0), PLAN_LONGEST_NS) / MAX(time_scale, 1u);
}

/* Bounds are the model's. Requests of http2 and grpc are not connections; those of http are counted where they are served, if weft-proxy does. */
static void read_limits(const struct compile_input *input, const json_t *spec, const json_t *listener, struct plan_target *target)
{
	const bool proxied = listener_is_proxied(input, spec, listener);
	const json_t *outlier = json_object_get(listener, "outlierDetection"), *pool = listener_pool(listener, input->default_pool);
	const json_int_t tcp = json_path_int(pool, "tcp.maxConnections", 0), http = json_path_int(pool, "http.maxConnections", 0);

	target->max_connections = (uint32_t)(tcp ?: proxied ? 0 : http);
	if (!outlier)
		return;
	target->outlier = (struct plan_outlier){
		.max_errors = (uint32_t)MIN(json_path_int(outlier, "maxServerErrors", 0), (json_int_t)UINT32_MAX),
		.interval_ns = MAX(read_duration(json_object_get(outlier, "interval"), input->time_scale), (uint64_t)NSEC_PER_MSEC),
		.base_ejection_ns = read_duration(json_object_get(outlier, "baseEjectionDuration"), input->time_scale),
		.max_ejection_pct = (uint8_t)json_path_int(outlier, "maxEjectionPercent", 0),
	};
}

static void cleanup_target(struct plan_target **target)
{
	plan_object_free(PLAN_TARGET, (struct plan_object *)*target);
}

int target_draft(struct compiler *c, const struct resource *node, uint16_t port, struct plan_target **ret_target)
{
	_cleanup_(cleanup_target) struct plan_target *target = NULL;
	_cleanup_json_ json_t *spec = resource_spec(node);
	struct port_mapping mapping;
	const json_t *listener = find_listener(spec, port, &mapping);
	int r;

	if (!listener)
		return -ENOENT;
	target = calloc(1, sizeof(*target));
	if (!target || asprintf(&target->name, "%s:%u", node->full_name, port) < 0)
		return -ENOMEM;
	target->node = strdup(node->full_name);
	target->port = port;
	target->flags = target_flags(spec, listener, &mapping);
	target->panic_pct = c->input->panic_pct;
	target->zone = plan_zone(c->input->zone);
	read_limits(c->input, spec, listener, target);
	if (!target->node)
		return -ENOMEM;
	r = read_check(listener, &target->check);
	if (r == 0)
		r = gather_endpoints(c, node, spec, port, target);
	if (r < 0)
		return r;
	*ret_target = TAKE_PTR(target);
	return 0;
}

uint16_t target_meant_port(const struct resource *node, uint16_t given)
{
	_cleanup_json_ json_t *spec = given ? NULL : resource_spec(node);
	struct port_mapping mapping;

	if (given || json_path_count(spec, "listeners") == 0)
		return given;
	port_mapping_read(json_object_get(json_path_at(spec, "listeners", 0), "portMapping"), &mapping);
	return mapping.port;
}

/* --- where endpoints come from -------------------------------------------------------------------------------------------- */

static void source_leave(struct compiler *c, struct local_unit *unit, size_t i)
{
	struct source *source = unit->sources[i];

	list_remove(&unit->source_links[i]);
	unit->sources[i] = NULL;
	if (!source || !list_empty(&source->units))
		return;
	c->hosts_changed |= source->is_host;
	table_remove(&c->sources, &source->node);
	free(source);
}

/* `key` NULL: from nowhere. */
static int source_join(struct compiler *c, struct local_unit *unit, size_t i, const char *key)
{
	struct table_node *known = key ? table_get(&c->sources, key) : NULL;
	struct source *source = known ? container_of(known, struct source, node) : NULL;

	if (key && unit->sources[i] && source == unit->sources[i])
		return 0;
	if (key && !source) {
		const size_t size = strlen(key) + 1;

		source = calloc(1, sizeof(*source) + size);
		if (!source)
			return -ENOMEM;
		memcpy(source->key, key, size);
		source->is_host = i == SOURCE_HOST;
		c->hosts_changed |= source->is_host;
		list_init(&source->units);
		if (table_add(&c->sources, &source->node, source->key) < 0) {
			free(source);
			return -ENOMEM;
		}
	}
	source_leave(c, unit, i);
	if (source)
		list_append(&source->units, &unit->source_links[i]);
	unit->sources[i] = source;
	return 0;
}

static int source_keys(struct compiler *c, struct local_unit *unit, const struct resource *node)
{
	_cleanup_json_ json_t *spec = node ? resource_spec(node) : NULL;
	const json_t *discovery = json_object_get(spec, "serviceDiscovery");
	const char *hostname = json_path_string(discovery, "dns.hostname");
	_cleanup_free_ char *service = NULL, *host = NULL;
	int r = 0;

	if (json_object_get(discovery, "awsCloudMap") &&
	    (service = source_service_key(json_path_string(discovery, "awsCloudMap.namespaceName"),
					  json_path_string(discovery, "awsCloudMap.serviceName"))) == NULL)
		r = -ENOMEM;
	if (hostname && (host = source_host_key(hostname)) == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = source_join(c, unit, SOURCE_SERVICE, service);
	return r < 0 ? r : source_join(c, unit, SOURCE_HOST, host);
}

char *source_service_key(const char *namespace_name, const char *service_name)
{
	char *key;

	return asprintf(&key, "service %s/%s", namespace_name, service_name) < 0 ? NULL : key;
}

char *source_host_key(const char *hostname)
{
	char *key;

	if (asprintf(&key, "host %s", hostname) < 0)
		return NULL;
	for (char *at = key; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	if (key[strlen(key) - 1] == '.')
		key[strlen(key) - 1] = '\0';
	return key;
}

void source_changed(struct compiler *c, const char *key)
{
	struct table_node *node = key ? table_get(&c->sources, key) : NULL;

	c->no_memory |= !key;
	if (!node)
		return;
	for (size_t i = 0; i < SOURCES; i++)
		list_for_each(it, &container_of(node, struct source, node)->units) {
			struct local_unit *unit = container_of(it, struct local_unit, source_links[i]);

			if (container_of(node, struct source, node)->is_host == (i == SOURCE_HOST))
				mark(&c->units_marked, &unit->marked);
		}
}

/* --- virtual nodes ------------------------------------------------------------------------------------------------------- */

static int unit_make(struct compiler *c, const char *name, struct local_unit **ret_unit)
{
	struct table_node *known = table_get(&c->units, name);
	const size_t size = strlen(name) + 1;
	struct local_unit *unit;

	if (known) {
		*ret_unit = container_of(known, struct local_unit, node);
		return 0;
	}
	unit = calloc(1, sizeof(*unit) + size);
	if (!unit)
		return -ENOMEM;
	memcpy(unit->name, name, size);
	list_init(&unit->marked);
	for (size_t i = 0; i < SOURCES; i++)
		list_init(&unit->source_links[i]);
	if (table_add(&c->units, &unit->node, unit->name) < 0) {
		free(unit);
		return -ENOMEM;
	}
	*ret_unit = unit;
	return 0;
}

struct local_unit *unit_free(struct compiler *c, struct local_unit *unit)
{
	if (!unit)
		return NULL;
	for (struct local_target *target; (target = unit->targets);) {
		unit->targets = target->next;
		table_remove(&c->targets, &target->node);
		free(target);
	}
	for (size_t i = 0; i < SOURCES; i++)
		source_leave(c, unit, i);
	list_remove(&unit->marked);
	table_remove(&c->units, &unit->node);
	free(unit);
	return NULL;
}

static int by_place_reserve(struct compiler *c, uint32_t place)
{
	size_t capacity = c->target_capacity ?: 64;
	struct local_target **by_place;

	if (place < c->target_capacity)
		return 0;
	while (capacity <= place)
		capacity *= 2;
	by_place = reallocarray(c->target_by_place, capacity, sizeof(struct local_target *));
	if (!by_place)
		return -ENOMEM;
	c->target_by_place = by_place;
	c->target_capacity = capacity;
	return 0;
}

/* Into the unit, in order of name. */
static void unit_add(struct local_unit *unit, struct local_target *target)
{
	struct local_target **at = &unit->targets;

	while (*at && strcmp((*at)->name, target->name) < 0)
		at = &(*at)->next;
	target->next = *at;
	*at = target;
}

int target_get(struct compiler *c, const struct resource *node, uint16_t port, struct local_target **ret_target)
{
	char name[RESOURCE_FULL_NAME_BYTES + 8];
	const size_t size = (size_t)snprintf(name, sizeof(name), "%s:%u", node->full_name, port) + 1;
	struct table_node *known = table_get(&c->targets, name);
	_cleanup_json_ json_t *spec = resource_spec(node);
	struct port_mapping mapping;
	struct local_target *target;
	struct local_unit *unit;

	if (!find_listener(spec, port, &mapping))
		return -ENOENT;
	if (known) {
		*ret_target = container_of(known, struct local_target, node);
		return 0;
	}
	if (unit_make(c, node->full_name, &unit) < 0)
		return -ENOMEM;
	mark(&c->units_marked, &unit->marked); /* also so that it goes where this fails */
	target = calloc(1, sizeof(*target) + size);
	if (!target)
		return -ENOMEM;
	memcpy(target->name, name, size);
	target->unit = unit;
	target->port = port;
	list_init(&target->uses);
	if (line_take(&c->line, PLAN_TARGET, &target->place) < 0 || by_place_reserve(c, target->place) < 0 ||
	    table_add(&c->targets, &target->node, target->name) < 0) {
		free(target);
		return -ENOMEM;
	}
	c->target_by_place[target->place] = target;
	unit_add(unit, target);
	*ret_target = target;
	return 0;
}

static void mark_users(struct compiler *c, const struct local_target *target)
{
	list_for_each(it, &target->uses)
		mark(&c->services_unfinished, &container_of(it, struct use, link)->service->unfinished);
}

static void set_families(struct compiler *c, struct local_target *target, const struct plan_target *planned)
{
	bool v4 = false, v6 = false;

	for (size_t i = 0; i < planned->endpoint_count; i++) {
		v4 |= ip_is_v4(&planned->endpoints[i].address);
		v6 |= !ip_is_v4(&planned->endpoints[i].address);
	}
	if (v4 == target->v4 && v6 == target->v6)
		return;
	target->v4 = v4;
	target->v6 = v6;
	mark_users(c, target);
}

static int place_order(const void *a, const void *b)
{
	return plan_endpoint_order(a, b);
}

static void mark_checked(struct plan_target *target, const struct plan_target *checked)
{
	for (size_t i = 0; checked->endpoint_count && i < target->endpoint_count; i++)
		if (bsearch(&target->endpoints[i], checked->endpoints, checked->endpoint_count, sizeof(*checked->endpoints), place_order))
			target->endpoints[i].health = HEALTH_PENDING;
}

/* Listeners of a node share an endpoint, and so its slot, where an instance names its port itself: what one of them checks is
 * checked for all. */
static void share_checks(struct plan_target *const *drafts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t n = 0; drafts[i]->check.protocol == CHECK_NONE && n < count; n++)
			if (drafts[n]->check.protocol != CHECK_NONE)
				mark_checked(drafts[i], drafts[n]);
}

static bool same_check(const struct plan_check *a, const struct plan_check *b)
{
	return a->protocol == b->protocol && a->healthy_threshold == b->healthy_threshold &&
	       a->unhealthy_threshold == b->unhealthy_threshold && a->interval_ns == b->interval_ns && a->timeout_ns == b->timeout_ns &&
	       (a->path == b->path || (a->path && b->path && strcmp(a->path, b->path) == 0));
}

static bool same_outlier(const struct plan_outlier *a, const struct plan_outlier *b)
{
	return a->max_errors == b->max_errors && a->interval_ns == b->interval_ns && a->base_ejection_ns == b->base_ejection_ns &&
	       a->max_ejection_pct == b->max_ejection_pct;
}

static bool same_endpoint(const struct plan_endpoint *a, const struct plan_endpoint *b)
{
	return plan_endpoint_order(a, b) == 0 && a->zone == b->zone && a->run == b->run && a->health == b->health;
}

static bool same_target(const struct plan_target *a, const struct plan_target *b)
{
	if (a->flags != b->flags || a->panic_pct != b->panic_pct || a->max_connections != b->max_connections || a->zone != b->zone ||
	    a->endpoint_count != b->endpoint_count || !same_check(&a->check, &b->check) || !same_outlier(&a->outlier, &b->outlier) ||
	    memcmp(a->zone_count, b->zone_count, sizeof(a->zone_count)) != 0 || !a->zones != !b->zones ||
	    (a->zones && memcmp(a->zones, b->zones, LIST_COUNT * sizeof(*a->zones)) != 0))
		return false;
	for (size_t i = 0; i < a->endpoint_count; i++)
		if (!same_endpoint(&a->endpoints[i], &b->endpoints[i]))
			return false;
	return plan_same_l7(PLAN_TARGET, (const struct plan_object *)a, (const struct plan_object *)b);
}

/* What weft-proxy reads of the listener. */
static void read_l7(const struct resource *node, uint16_t port, struct plan_target *target)
{
	_cleanup_json_ json_t *spec = resource_spec(node);
	struct port_mapping mapping;
	const json_t *listener = find_listener(spec, port, &mapping);

	target->l7 = true;
	snprintf(target->protocol, sizeof(target->protocol), "%s", mapping.protocol);
	target->timeout = json_incref(json_object_get(json_object_get(listener, "timeout"), mapping.protocol));
	target->pool = json_incref(json_object_get(json_object_get(listener, "connectionPool"), mapping.protocol));
}

static void drop_unused(struct compiler *c, struct local_unit *unit)
{
	for (struct local_target **at = &unit->targets, *target; (target = *at);) {
		if (!list_empty(&target->uses)) {
			at = &target->next;
			continue;
		}
		*at = target->next;
		table_remove(&c->targets, &target->node);
		line_leave(&c->line, PLAN_TARGET, target->place);
		free(target);
	}
}

struct drafts {
	struct plan_target **list;
	size_t count;
};

static void drafts_done(struct drafts *drafts)
{
	for (size_t i = 0; i < drafts->count; i++)
		plan_object_free(PLAN_TARGET, (struct plan_object *)drafts->list[i]);
	free(drafts->list);
}

static int compile_unit(struct compiler *c, struct local_unit *unit)
{
	const struct resource *node = resources_get(c->input->resources, unit->name);
	_cleanup_(drafts_done) struct drafts drafts = {};
	size_t count = 0;
	int r = 0;

	for (const struct local_target *target = unit->targets; target; target = target->next)
		count++;
	drafts.list = calloc(count + 1, sizeof(struct plan_target *));
	if (!drafts.list)
		return -ENOMEM;
	for (const struct local_target *target = unit->targets; target; target = target->next) {
		r = target_draft(c, node, target->port, &drafts.list[drafts.count]);
		if (r < 0)
			break;
		if (target->l7_uses)
			read_l7(node, target->port, drafts.list[drafts.count]);
		drafts.count++;
	}
	if (r == 0)
		share_checks(drafts.list, drafts.count);
	for (size_t i = 0; r == 0 && i < drafts.count; i++)
		r = zones_arrange(drafts.list[i]);
	if (r == 0)
		r = source_keys(c, unit, node);
	if (r < 0)
		return r;
	count = 0;
	for (struct local_target *target = unit->targets; target; target = target->next, count++) {
		const struct plan_target *before = (const struct plan_target *)PLANNED(c, PLAN_TARGET, target->place);

		set_families(c, target, drafts.list[count]);
		if (before && same_target(before, drafts.list[count]))
			continue;
		drafts.list[count]->serial = ++c->serial;
		line_set(&c->line, PLAN_TARGET, target->place, drafts.list[count]);
		drafts.list[count] = NULL;
	}
	return 0;
}

/* Lets go of host names that no node has any more. */
int keep_hosts(struct compiler *c)
{
	struct dns_addresses addresses;

	if (!c->hosts_changed || !c->input->dns)
		return 0;
	for (struct table_node *n = table_first(&c->sources); n; n = table_next(&c->sources, n)) {
		const struct source *source = container_of(n, struct source, node);

		if (source->is_host && dns_discovery_get(c->input->dns, strchr(source->key, ' ') + 1, &addresses) == -ENOMEM)
			return no_memory(c);
	}
	dns_discovery_commit(c->input->dns);
	c->hosts_changed = false;
	return 0;
}

int compile_targets(struct compiler *c)
{
	while (!list_empty(&c->units_marked)) {
		struct local_unit *unit = container_of(c->units_marked.next, struct local_unit, marked);
		int r;

		drop_unused(c, unit);
		if (!unit->targets) {
			unit_free(c, unit);
			continue;
		}
		r = compile_unit(c, unit);
		if (r < 0)
			return no_memory(c);
		list_remove(&unit->marked);
	}
	return line_zone(&c->line, c->input->zone) < 0 ? no_memory(c) : 0;
}
