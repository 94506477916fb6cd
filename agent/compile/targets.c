/* SPDX-License-Identifier: Apache-2.0 */
#include "targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/zones.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "maps/abi/endpoint.h"

struct target_draft {
	struct table_node node;
	struct plan_target target;
	uint32_t index;
	uint16_t port;
};

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

	if (!name) {
		const struct resource *mesh = resources_sibling(resources, node, RESOURCE_MESH, NULL, node->mesh);

		name = mesh ? json_path_string(mesh->spec, "serviceDiscovery.ipPreference") : NULL;
	}
	for (size_t i = 0; name && i < ARRAY_SIZE(ip_preferences); i++)
		if (strcmp(ip_preferences[i].name, name) == 0)
			return &ip_preferences[i];
	return &any;
}

struct gather {
	struct targets *targets;
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
		const char *has = json_string_value(json_object_get(instance->attributes, json_path_string(attribute, "key")));
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

/* Keeps the name, for people, of what records have a number of. */
static int name_zone(struct targets *targets, const char *zone)
{
	char **zones;

	if (!zone || !*zone)
		return 0;
	for (size_t i = 0; i < targets->zone_count; i++)
		if (strcmp(targets->zones[i], zone) == 0)
			return 0;
	zones = reallocarray(targets->zones, targets->zone_count + 1, sizeof(*zones));
	if (!zones)
		return -ENOMEM;
	targets->zones = zones;
	zones[targets->zone_count] = strdup(zone);
	if (!zones[targets->zone_count])
		return -ENOMEM;
	targets->zone_count++;
	return 0;
}

static int add_instance(struct gather *g, const struct instance *instance, const struct ip *address)
{
	const char *zone = instance->zone ?: json_string_value(json_object_get(instance->attributes, "AVAILABILITY_ZONE"));
	const int r = name_zone(g->targets, zone);

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

static int gather_endpoints(struct targets *targets, const struct resource *node, uint16_t port, struct plan_target *target)
{
	const struct compile_input *input = targets->input;
	const json_t *discovery = json_object_get(node->spec, "serviceDiscovery");
	_cleanup_(gather_done) struct gather g = { .targets = targets, .port = port };
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
	target->endpoints = TAKE_PTR(g.endpoints);
	target->endpoint_count = kept;
	return 0;
}

static const json_t *find_listener(const struct resource *node, uint16_t port, struct port_mapping *ret_mapping)
{
	const json_t *listeners = json_object_get(node->spec, "listeners");
	json_t *listener;
	size_t i;

	json_array_foreach(listeners, i, listener) {
		port_mapping_read(json_object_get(listener, "portMapping"), ret_mapping);
		if (ret_mapping->port == port)
			return listener;
	}
	return NULL;
}

static uint32_t target_flags(const struct resource *node, const json_t *listener, const struct port_mapping *mapping)
{
	const char *mode = json_path_string(listener, "tls.mode");
	const bool needs_tls = mapping->implies_tls || (mode && strcmp(mode, "STRICT") == 0);

	return (needs_tls ? TARGET_NEEDS_TLS : 0) | (is_load_balancer(json_path(node->spec, "serviceDiscovery.dns")) ? TARGET_ROTATES : 0);
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
	const json_int_t value = json_path_int(duration, "value", 0);
	const char *unit = json_path_string(duration, "unit");
	const uint64_t unit_ns = unit && strcmp(unit, "s") == 0 ? NSEC_PER_SEC : NSEC_PER_MSEC;

	return ((uint64_t)value < PLAN_LONGEST_NS / unit_ns ? (uint64_t)value * unit_ns : PLAN_LONGEST_NS) / MAX(time_scale, 1u);
}

/* Bounds are the model's. Requests of http2 and grpc are not connections. */
static void read_limits(const json_t *listener, uint32_t time_scale, struct plan_target *target)
{
	const json_t *outlier = json_object_get(listener, "outlierDetection");
	const json_int_t tcp = json_path_int(listener, "connectionPool.tcp.maxConnections", 0),
			 http = json_path_int(listener, "connectionPool.http.maxConnections", 0);

	target->max_connections = (uint32_t)(tcp ?: http);
	if (!outlier)
		return;
	target->outlier = (struct plan_outlier){
		.max_errors = (uint32_t)MIN(json_path_int(outlier, "maxServerErrors", 0), (json_int_t)UINT32_MAX),
		.interval_ns = MAX(read_duration(json_object_get(outlier, "interval"), time_scale), (uint64_t)NSEC_PER_MSEC),
		.base_ejection_ns = read_duration(json_object_get(outlier, "baseEjectionDuration"), time_scale),
		.max_ejection_pct = (uint8_t)json_path_int(outlier, "maxEjectionPercent", 0),
	};
}

static struct target_draft *draft_free(struct target_draft *draft)
{
	if (!draft)
		return NULL;
	free(draft->target.name);
	free(draft->target.node);
	free(draft->target.check.path);
	free(draft->target.endpoints);
	free(draft);
	return NULL;
}

static void cleanup_draft(struct target_draft **draft)
{
	draft_free(*draft);
}

void targets_init(struct targets *targets, const struct compile_input *input)
{
	*targets = (struct targets){ .input = input };
}

void targets_done(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++)
		draft_free(targets->drafts[i]);
	free(targets->drafts);
	for (size_t i = 0; i < targets->zone_count; i++)
		free(targets->zones[i]);
	free(targets->zones);
	table_done(&targets->by_name);
}

static int targets_reserve(struct targets *targets)
{
	size_t capacity = targets->capacity ? targets->capacity * 2 : 64;
	struct target_draft **drafts;

	if (targets->count < targets->capacity)
		return 0;
	drafts = reallocarray(targets->drafts, capacity, sizeof(struct target_draft *));
	if (!drafts)
		return -ENOMEM;
	targets->drafts = drafts;
	targets->capacity = capacity;
	return 0;
}

int targets_get(struct targets *targets, const struct resource *node, uint16_t port, uint32_t *ret_index)
{
	_cleanup_(cleanup_draft) struct target_draft *draft = NULL;
	_cleanup_free_ char *name = NULL;
	struct port_mapping mapping;
	const json_t *listener;
	struct table_node *known;
	int r;

	if (asprintf(&name, "%s:%u", node->full_name, port) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	known = table_get(&targets->by_name, name);
	if (known) {
		*ret_index = container_of(known, struct target_draft, node)->index;
		return 0;
	}
	listener = find_listener(node, port, &mapping);
	if (!listener)
		return -ENOENT;
	draft = calloc(1, sizeof(*draft));
	if (!draft)
		return -ENOMEM;
	draft->target.name = TAKE_PTR(name);
	draft->target.node = strdup(node->full_name);
	draft->target.flags = target_flags(node, listener, &mapping);
	draft->target.panic_pct = targets->input->panic_pct;
	draft->target.zone = plan_zone(targets->input->zone);
	read_limits(listener, targets->input->time_scale, &draft->target);
	draft->index = (uint32_t)targets->count;
	draft->port = port;
	if (!draft->target.node)
		return -ENOMEM;
	r = read_check(listener, &draft->target.check);
	if (r == 0)
		r = gather_endpoints(targets, node, port, &draft->target);
	if (r == 0)
		r = targets_reserve(targets);
	if (r == 0)
		r = table_add(&targets->by_name, &draft->node, draft->target.name);
	if (r < 0)
		return r;
	*ret_index = draft->index;
	targets->drafts[targets->count++] = TAKE_PTR(draft);
	return 0;
}

uint16_t targets_meant_port(const struct resource *node, uint16_t given)
{
	struct port_mapping mapping;

	if (given || json_path_count(node->spec, "listeners") == 0)
		return given;
	port_mapping_read(json_object_get(json_path_at(node->spec, "listeners", 0), "portMapping"), &mapping);
	return mapping.port;
}

const struct plan_target *targets_at(const struct targets *targets, uint32_t index)
{
	return &targets->drafts[index]->target;
}

uint16_t targets_port(const struct targets *targets, uint32_t index)
{
	return targets->drafts[index]->port;
}

static int draft_order(const void *a, const void *b)
{
	return strcmp((*(struct target_draft *const *)a)->target.name, (*(struct target_draft *const *)b)->target.name);
}

static bool may_be_listener_of(const struct target_draft *draft, const char *node, size_t node_bytes)
{
	return strncmp(draft->target.name, node, node_bytes) == 0 && draft->target.name[node_bytes] == ':';
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
 * checked for all. Listeners of one node are neighbours in order of name. */
static void share_checks(const struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++) {
		struct plan_target *target = &targets->drafts[i]->target;
		const size_t node_bytes = strlen(target->node);
		size_t first = i;

		if (target->check.protocol != CHECK_NONE)
			continue;
		while (first > 0 && may_be_listener_of(targets->drafts[first - 1], target->node, node_bytes))
			first--;
		for (size_t n = first; n < targets->count && may_be_listener_of(targets->drafts[n], target->node, node_bytes); n++) {
			const struct plan_target *other = &targets->drafts[n]->target;

			if (other->check.protocol != CHECK_NONE && strcmp(other->node, target->node) == 0)
				mark_checked(target, other);
		}
	}
}

int targets_finish(struct targets *targets, struct plan *plan)
{
	_cleanup_free_ uint32_t *place = calloc(targets->count + 1, sizeof(*place));

	plan->targets = calloc(targets->count + 1, sizeof(*plan->targets));
	if (!place || !plan->targets)
		return -ENOMEM;
	if (targets->count > 1)
		qsort(targets->drafts, targets->count, sizeof(struct target_draft *), draft_order);
	share_checks(targets);
	for (size_t i = 0; i < targets->count; i++)
		if (zones_arrange(&targets->drafts[i]->target) < 0)
			return -ENOMEM;
	if (name_zone(targets, targets->input->zone) < 0)
		return -ENOMEM;
	plan->zones = TAKE_PTR(targets->zones);
	plan->zone_count = targets->zone_count;
	targets->zone_count = 0;
	for (size_t i = 0; i < targets->count; i++) {
		struct target_draft *draft = targets->drafts[i];

		place[draft->index] = (uint32_t)i;
		table_remove(&targets->by_name, &draft->node);
		plan->targets[i] = draft->target;
		free(draft);
	}
	plan->target_count = targets->count;
	targets->count = 0;
	for (size_t s = 0; s < plan->service_count; s++)
		for (size_t p = 0; p < plan->services[s].port_count; p++)
			for (size_t t = 0; t < plan->services[s].ports[p].target_count; t++) {
				struct plan_weighted *w = &plan->services[s].ports[p].targets[t];

				w->target = w->target == PLAN_NONE ? PLAN_NONE : place[w->target];
			}
	return 0;
}
