/* SPDX-License-Identifier: Apache-2.0 */
/* What weft-proxy is told of a configuration that comes into force, from resources on. */
#include "tests/unit/apply_world.h"
#undef TARGET
#include "tests/unit/compile_world.h"

#include "agent/l7/snapshot.h"

#define GATEWAY_ROUTE_SPEC(prefix, service)                                                                                   \
	"'httpRoute': {'match': {'prefix': '" prefix "'}, 'action': {'target': {'virtualService': {'virtualServiceName': '" service "'}}}}"
#define GATEWAY_ROUTE(name, prefix, service)                                                                                  \
	"{'meshName': 'M', 'virtualGatewayName': 'g', 'gatewayRouteName': '" name "', 'spec': {" GATEWAY_ROUTE_SPEC(prefix, service) "}}"

struct scene {
	struct fixture f;
	struct world w;
	struct compiler *compiler;
	struct in_force *told;
	json_t *said; /* last */
	json_t *known; /* what it knows, as it was told */
	struct snapshots *snapshots; /* the same, as it has it */
	uint64_t random;
};

static void on_change(const struct resource *before, const struct resource *now, void *arg)
{
	struct scene *s = arg;

	compiler_resource_changed(s->compiler, &s->f.resources, before, now);
}

static void scene_done(struct scene *s)
{
	in_force_unref(s->told);
	json_decref(s->said);
	json_decref(s->known);
	snapshots_free(s->snapshots);
	world_done(&s->w);
	compiler_free(s->compiler);
	fixture_done(&s->f);
}

static void scene_init(struct scene *s)
{
	*s = (struct scene){ .known = json_object() };
	fixture_init(&s->f);
	world_init(&s->w);
	EXPECT_OK(compiler_new(&s->compiler));
	EXPECT_OK(snapshots_new(&s->snapshots));
	given_mesh(&s->f, "M", "DROP_ALL");
}
#define SCENE(s)                                                                                                              \
	_cleanup_(scene_done) struct scene s;                                                                                  \
	scene_init(&s)

/* Puts in force what has changed, if anything has. */
static void apply_changes(struct scene *s)
{
	static const char *const nodes[] = { WEB, "mesh/M/virtualNode/api", "mesh/M/virtualGateway/g" }, *const exposed[] = { "mesh/M/virtualService/out" };
	struct plan *plan;
	struct error err = {};

	if (s->random && resources_check(&s->f.resources, &err) < 0) /* not all that chance makes is valid */
		resources_rollback(&s->f.resources);
	EXPECT_OK(resources_check(&s->f.resources, &err), &err);
	resources_commit(&s->f.resources, on_change, s);
	EXPECT_OK(compile(s->compiler,
			  &(struct compile_input){
				  .resources = &s->f.resources,
				  .registry = s->f.registry,
				  .vips = s->f.vips,
				  .mesh_owner = "123456789012",
				  .nodes = nodes,
				  .node_count = ARRAY_SIZE(nodes),
				  .proxy = true,
				  .exposed = exposed,
				  .exposed_count = ARRAY_SIZE(exposed),
				  .zone = "z1",
				  .panic_pct = 50,
			  },
			  &plan, &err),
		  &err);
	if (plan)
		in_force(&s->w, plan);
}

static json_t *written(struct scene *s, const struct in_force *before)
{
	_cleanup_(buffer_done) struct buffer text = {};
	struct error err = {};
	json_t *json;

	EXPECT_OK(apply_snapshot(s->w.apply, before, &text));
	EXPECT_OK(json_parse(text.data, text.length, &json, &err), &err);
	return json;
}

/* Does as weft-proxy does. */
static void learn(json_t *known, const json_t *said)
{
	const char *kind, *id;
	json_t *objects, *object;

	json_object_foreach((json_t *)said, kind, objects) {
		json_t *there = json_object_get(known, kind);

		if (!there)
			json_object_set_new(known, kind, there = json_object());
		json_object_foreach(objects, id, object)
			if (json_is_null(object))
				EXPECT_OK(json_object_del(there, id)); /* nothing is taken away that was not there */
			else
				json_object_set(there, id, object);
	}
}

static void tell(struct scene *s)
{
	const uint64_t base = s->told ? in_force_generation(s->told) : 0;
	_cleanup_free_ char *text = NULL;
	struct error err = {};

	json_decref(s->said);
	s->said = written(s, s->told);
	in_force_unref(s->told);
	s->told = apply_in_force(s->w.apply);
	learn(s->known, s->said);
	text = json_dumps(s->said, 0);
	EXPECT_OK(snapshots_apply(s->snapshots, base, in_force_generation(s->told), span_of(text), &err), &err);
}

static void change(struct scene *s)
{
	apply_changes(s);
	tell(s);
}

/* What was said of an object; NULL: nothing. */
static json_t *said_of(struct scene *s, const char *kind, enum object_kind number, const char *full_name)
{
	char id[16];

	snprintf(id, sizeof(id), "%u", id_of(&s->w, number, full_name));
	return json_object_get(json_object_get(s->said, kind), id);
}
#define SERVICE_OF(s, name) said_of(s, "services", OBJECT_SERVICE, "mesh/M/virtualService/" name)
#define TARGET_OF(s, name) said_of(s, "targets", OBJECT_TARGET, "mesh/M/virtualNode/" name)
#define NODE_OF(s, name) said_of(s, "nodes", OBJECT_NODE, "mesh/M/virtualNode/" name)

/* Of how many objects something was said. */
static void expect_said(struct scene *s, size_t services, size_t targets, size_t nodes)
{
	EXPECT_EQ(json_object_size(json_object_get(s->said, "services")), services);
	EXPECT_EQ(json_object_size(json_object_get(s->said, "targets")), targets);
	EXPECT_EQ(json_object_size(json_object_get(s->said, "nodes")), nodes);
}

/* `expected` with ' for ". */
static void expect_json(const json_t *json, const char *expected)
{
	_cleanup_free_ char *copy = strdup(expected), *is = json_dumps(json, JSON_ENCODE_ANY), *should_be = NULL;
	_cleanup_json_ json_t *parsed = parse_quoted(copy);

	should_be = json_dumps(parsed, JSON_ENCODE_ANY);
	if (!json_equal(json, parsed))
		EXPECT_STR(is, should_be);
}

static void remove_resource(struct scene *s, const char *full_name)
{
	EXPECT_OK(resources_remove(&s->f.resources, full_name));
}

static void instance(struct scene *s, const char *service, const char *id, const char *address, const char *zone)
{
	char attributes[80];

	snprintf(attributes, sizeof(attributes), "{'AWS_INSTANCE_IPV%c': '%s'}", strchr(address, ':') ? '6' : '4', address);
	given_instance(&s->f, service, id, attributes, 0, zone);
	compiler_instances_changed(s->compiler, "ns", service);
}

/* Lets go of slots that no endpoint has now. */
static void slots_free_all(struct scene *s)
{
	struct generations *g = apply_generations(s->w.apply);

	generations_trim(g, 1);
	generations_grace_end(g, generations_grace_begin(g));
	EXPECT_OK(generations_sweep_begin(g));
	generations_sweep_end(g, NULL, NULL);
}

/* web calls a, by routes to v1 and v2, and b, of v2 alone. */
static void given_two_services(struct scene *s)
{
	given_caller(&s->f, "web", BACKEND("a") ", " BACKEND("b"), "");
	given_l7_service(&s->f, "a", BY_ROUTER("r"));
	given_l7_service(&s->f, "b", BY_NODE("v2"));
	given_router(&s->f, "r", LISTENER(80, "http"));
	given_route(&s->f, "r", "t", HTTP_ROUTE("'prefix': '/'", TARGET("v1", 90) ", " TARGET("v2", 10)));
	given_node(&s->f, "v1", LISTENER(8080, "http"), "");
	given_node(&s->f, "v2", LISTENER(8080, "http"), "");
	instance(s, "v1", "a", "10.0.0.1", "");
	instance(s, "v2", "a", "10.0.0.2", "");
}

TEST(who_knows_nothing_is_told_of_services_targets_and_callers)
{
	char expected[1024];
	SCENE(s);

	given_two_services(&s);
	given_caller(&s.f, "api", "", ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
	given_service(&s.f, "c", BY_NODE("v2"));
	remove_resource(&s, "mesh/M/virtualNode/v1");
	given_node(&s.f, "v1",
		   "{'portMapping': {'port': 8080, 'protocol': 'http'}, 'timeout': {'http': {'idle': {'unit': 's', 'value': 7}}}, "
		   "'connectionPool': {'http': {'maxConnections': 5}}, 'outlierDetection': {'maxServerErrors': 3, 'interval': {'unit': 's', "
		   "'value': 1}, 'baseEjectionDuration': {'unit': 's', 'value': 2}, 'maxEjectionPercent': 40}}",
		   "");
	instance(&s, "v1", "b", "fd00::1", "");
	change(&s);
	expect_said(&s, 2, 2, 2);
	snprintf(expected, sizeof(expected),
		 "{'name': 'mesh/M/virtualService/a', 'ports': [{'port': 80, 'routes': [{'name': 't', 'spec': {%s}, 'targets': [%u, %u]}]}]}",
		 HTTP_ROUTE("'prefix': '/'", TARGET("v1", 90) ", " TARGET("v2", 10)),
		 id_of(&s.w, OBJECT_TARGET, "mesh/M/virtualNode/v1:8080"), id_of(&s.w, OBJECT_TARGET, "mesh/M/virtualNode/v2:8080"));
	expect_json(SERVICE_OF(&s, "a"), expected);
	snprintf(expected, sizeof(expected), "{'name': 'mesh/M/virtualService/b', 'ports': [{'port': 8080, 'node': %u, 'virtualNode': 'v2'}]}",
		 id_of(&s.w, OBJECT_TARGET, "mesh/M/virtualNode/v2:8080"));
	expect_json(SERVICE_OF(&s, "b"), expected);
	snprintf(expected, sizeof(expected),
		 "{'name': 'mesh/M/virtualNode/v1:8080', 'virtualNode': 'v1', 'port': 8080, 'protocol': 'http', 'timeout': "
		 "{'idle': {'unit': 's', 'value': 7}}, 'connectionPool': {'maxConnections': 5}, 'outlier': {'maxErrors': 3, 'intervalNs': "
		 "1000000000, 'baseEjectionNs': 2000000000, 'maxEjectionPct': 40}, 'panicPct': 50, 'endpoints': [{'address': '10.0.0.1', "
		 "'port': 8080, 'slot': %d, 'incarnation': 1}, {'address': 'fd00::1', 'port': 8080, 'slot': %d, 'incarnation': 1}]}",
		 slot_of(&s.w, "mesh/M/virtualNode/v1:8080", "10.0.0.1:8080"), slot_of(&s.w, "mesh/M/virtualNode/v1:8080", "[fd00::1]:8080"));
	expect_json(TARGET_OF(&s, "v1:8080"), expected);
	EXPECT(!json_object_get(TARGET_OF(&s, "v2:8080"), "timeout") && !json_object_get(TARGET_OF(&s, "v2:8080"), "connectionPool") &&
	       !json_object_get(TARGET_OF(&s, "v2:8080"), "outlier"));
	expect_json(NODE_OF(&s, "api"), "{'name': 'mesh/M/virtualNode/api', 'backends': [], 'audit': false, 'dropAll': true, 'logging': "
					"{'accessLog': {'file': {'path': '/dev/stdout'}}}, 'listeners': []}");
	EXPECT_EQ(json_path_count(NODE_OF(&s, "web"), "backends"), 2);
	EXPECT(json_integer_value(json_path_at(NODE_OF(&s, "web"), "backends", 0)) < json_integer_value(json_path_at(NODE_OF(&s, "web"), "backends", 1)));
}

static const struct caller *caller_of(struct scene *s, const char *name)
{
	return snapshot_caller(snapshots_now(s->snapshots), id_of(&s->w, OBJECT_NODE, name));
}

TEST(listeners_that_weft_proxy_serves_are_told_with_their_node)
{
	const struct listener *listener;
	SCENE(s);

	given_node(&s.f, "web",
		   "{'portMapping': {'port': 8080, 'protocol': 'http'}, 'timeout': {'http': {'idle': {'unit': 's', 'value': 7}}}}, "
		   "{'portMapping': {'port': 8081, 'protocol': 'http'}, 'connectionPool': {'http': {'maxConnections': 5, "
		   "'maxPendingRequests': 9}}}, " LISTENER(8082, "http"),
		   "");
	change(&s);
	expect_json(json_object_get(NODE_OF(&s, "web"), "listeners"),
		    "[{'port': 8080, 'timeout': {'idle': {'unit': 's', 'value': 7}}, 'connectionPool': null}, {'port': 8081, 'timeout': null, "
		    "'connectionPool': {'http': {'maxConnections': 5, 'maxPendingRequests': 9}}}]");
	EXPECT_EQ(caller_of(&s, WEB)->listener_count, 2);
	EXPECT_EQ(caller_of(&s, WEB)->listeners[0].timeouts.idle_ns, 7 * NSEC_PER_SEC);
	EXPECT_EQ(caller_of(&s, WEB)->listeners[0].max_connections, LISTENER_UNLIMITED);
	EXPECT_EQ(caller_of(&s, WEB)->listeners[1].max_connections, 5);
	EXPECT_EQ(caller_of(&s, WEB)->listeners[1].max_pending, 9);
	remove_resource(&s, WEB);
	given_node(&s.f, "web", LISTENER(8082, "http"), ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
	change(&s); /* what records in the kernel say of it is the same */
	listener = caller_of(&s, WEB)->listeners;
	EXPECT_EQ(listener->port, 8082);
	EXPECT_EQ(listener->max_connections, LISTENER_UNLIMITED);
	remove_resource(&s, WEB);
	given_node(&s.f, "web", LISTENER(8082, "http"), "");
	change(&s);
	EXPECT_EQ(caller_of(&s, WEB)->listener_count, 0);
}

TEST(zones_are_told_with_the_run_of_each_endpoint)
{
	SCENE(s);

	given_two_services(&s);
	instance(&s, "v1", "a", "10.0.0.9", "z2");
	instance(&s, "v1", "b", "10.0.0.1", "z1");
	instance(&s, "v1", "c", "10.0.0.2", "z1");
	change(&s);
	const json_t *zones = json_path_at(TARGET_OF(&s, "v1:8080"), "zones", 0);
	EXPECT_EQ(json_array_size(zones), 2);
	EXPECT_EQ(json_path_int(json_array_get(zones, 0), "count", 0), 2);
	EXPECT_EQ(json_path_int(json_array_get(zones, 1), "count", 0), 1);
	EXPECT_EQ(json_path_int(json_array_get(zones, 1), "below", 0), SHARE_ALL);
	EXPECT(!json_object_get(json_path_at(TARGET_OF(&s, "v1:8080"), "endpoints", 0), "run"));
	EXPECT_EQ(json_path_int(json_path_at(TARGET_OF(&s, "v1:8080"), "endpoints", 2), "run", 9), 1);
	EXPECT_EQ(json_array_size(json_path_at(TARGET_OF(&s, "v1:8080"), "zones", 1)), 0);
}

TEST(of_a_change_only_what_differs_is_told)
{
	SCENE(s);

	given_two_services(&s);
	change(&s);
	remove_resource(&s, "mesh/M/virtualRouter/r/route/t");
	given_route(&s.f, "r", "t", HTTP_ROUTE("'prefix': '/'", TARGET("v1", 50) ", " TARGET("v2", 50)));
	change(&s);
	expect_said(&s, 1, 0, 0);
	EXPECT_EQ(json_path_int(json_path_at(json_path_at(json_path_at(SERVICE_OF(&s, "a"), "ports", 0), "routes", 0),
					     "spec.httpRoute.action.weightedTargets", 0),
				"weight", 0),
		  50);
	instance(&s, "v2", "b", "10.0.0.3", "");
	change(&s);
	expect_said(&s, 0, 1, 0);
	EXPECT_EQ(json_path_count(TARGET_OF(&s, "v2:8080"), "endpoints"), 2);
	tell(&s);
	expect_said(&s, 0, 0, 0);
}

TEST(what_the_kernel_does_not_read_makes_a_generation_as_well)
{
	uint64_t before;
	SCENE(s);

	given_two_services(&s);
	change(&s);
	before = s.w.generation;
	remove_resource(&s, "mesh/M/virtualRouter/r/route/t");
	given_route(&s.f, "r", "t",
		    "'httpRoute': {'match': {'prefix': '/'}, " ACTION(TARGET("v1", 90) ", " TARGET("v2", 10)) ", 'retryPolicy': {'maxRetries': 1, "
		    "'perRetryTimeout': {'unit': 's', 'value': 1}, 'httpRetryEvents': ['server-error']}}");
	change(&s);
	expect_said(&s, 1, 0, 0);
	EXPECT_EQ(s.w.generation, before + 1);
	EXPECT_EQ(in_force_generation(s.told), before + 1);
	EXPECT_EQ(changed_since(&s.w, before), 0);
	remove_resource(&s, WEB);
	given_caller(&s.f, "web", BACKEND("a") ", " BACKEND("b"), ", 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}");
	change(&s);
	expect_said(&s, 0, 0, 1);
	EXPECT_EQ(s.w.generation, before + 2);
	EXPECT_EQ(changed_since(&s.w, before), 0);
}

/* The address stays, the slot does not: it was swept, and is another endpoint's. */
TEST(an_endpoint_is_told_with_the_slot_that_it_has_now)
{
	int slot;
	SCENE(s);

	given_two_services(&s);
	change(&s);
	slot = slot_of(&s.w, "mesh/M/virtualNode/v1:8080", "10.0.0.1:8080");
	EXPECT_OK(registry_remove(s.f.registry, "ns", "v1", "a", NULL));
	compiler_instances_changed(s.compiler, "ns", "v1");
	change(&s);
	EXPECT_EQ(json_path_count(TARGET_OF(&s, "v1:8080"), "endpoints"), 0);
	slots_free_all(&s);
	instance(&s, "v2", "b", "10.0.0.3", "");
	change(&s);
	EXPECT_EQ(slot_of(&s.w, "mesh/M/virtualNode/v2:8080", "10.0.0.3:8080"), slot);
	instance(&s, "v1", "a", "10.0.0.1", "");
	change(&s);
	const json_t *endpoint = json_path_at(TARGET_OF(&s, "v1:8080"), "endpoints", 0);
	EXPECT(slot_of(&s.w, "mesh/M/virtualNode/v1:8080", "10.0.0.1:8080") != slot);
	EXPECT_EQ(json_path_int(endpoint, "slot", -1), slot_of(&s.w, "mesh/M/virtualNode/v1:8080", "10.0.0.1:8080"));
}

TEST(what_is_gone_is_told_once)
{
	SCENE(s);

	given_two_services(&s);
	change(&s);
	remove_resource(&s, "mesh/M/virtualService/a");
	change(&s);
	expect_said(&s, 1, 1, 1);
	EXPECT(json_is_null(SERVICE_OF(&s, "a")));
	EXPECT(json_is_null(TARGET_OF(&s, "v1:8080")));
	EXPECT_EQ(json_path_count(NODE_OF(&s, "web"), "backends"), 1);
	tell(&s);
	expect_said(&s, 0, 0, 0);
}

TEST(what_becomes_the_kernels_is_gone)
{
	SCENE(s);

	given_two_services(&s);
	change(&s);
	remove_resource(&s, "mesh/M/virtualService/a");
	given_service(&s.f, "a", BY_ROUTER("r"));
	change(&s);
	expect_said(&s, 1, 1, 1); /* its caller looks for requests to it at no unknown address any more */
	EXPECT(json_is_null(SERVICE_OF(&s, "a")));
	EXPECT(json_is_null(TARGET_OF(&s, "v1:8080")));
	remove_resource(&s, "mesh/M/virtualService/a");
	given_l7_service(&s.f, "a", BY_ROUTER("r"));
	change(&s);
	expect_said(&s, 1, 1, 1);
	EXPECT_STR(json_path_string(TARGET_OF(&s, "v1:8080"), "name"), "mesh/M/virtualNode/v1:8080");
}

TEST(clients_from_outside_are_no_callers_that_it_knows)
{
	SCENE(s);

	given_two_services(&s);
	given_l7_service(&s.f, "out", BY_NODE("v2"));
	change(&s);
	expect_said(&s, 3, 2, 1);
	EXPECT(NODE_OF(&s, "web") != NULL);
}

TEST(a_gateway_is_told_with_the_ids_of_its_routes_services)
{
	char expected[1024];
	SCENE(s);

	given_two_services(&s);
	given(&s.f, "{'meshName': 'M', 'virtualGatewayName': 'g', 'spec': {'listeners': [{'portMapping': {'port': 8080, 'protocol': 'http'}, "
		    "'connectionPool': {'http': {'maxConnections': 7}}}], 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}}}");
	given(&s.f, GATEWAY_ROUTE("a", "/a", "a"));
	given(&s.f, GATEWAY_ROUTE("none", "/n", "none"));
	change(&s);
	expect_said(&s, 2, 2, 1);
	snprintf(expected, sizeof(expected),
		 "{'name': 'mesh/M/virtualGateway/g', 'listeners': [{'port': 8080, 'timeout': null, 'connectionPool': {'http': "
		 "{'maxConnections': 7}}}], 'routes': [{'name': 'a', 'spec': {%s}, 'service': %u, 'needsTls': false}, {'name': 'none', 'spec': {%s}, "
		 "'service': null, 'needsTls': false}], 'logging': {'accessLog': {'file': {'path': '/dev/stdout'}}}}",
		 GATEWAY_ROUTE_SPEC("/a", "a"), id_of(&s.w, OBJECT_SERVICE, "mesh/M/virtualService/a"), GATEWAY_ROUTE_SPEC("/n", "none"));
	expect_json(said_of(&s, "gateways", OBJECT_NODE, "mesh/M/virtualGateway/g"), expected);
	remove_resource(&s, "mesh/M/virtualGateway/g");
	given(&s.f, "{'meshName': 'M', 'virtualGatewayName': 'g', 'spec': {'listeners': [" LISTENER(8080, "http") "], 'backendDefaults': "
		    "{'clientPolicy': {'tls': {'validation': {'trust': {'file': {'certificateChain': '/ca'}}}}}}}}");
	change(&s);
	const json_t *routes = json_object_get(said_of(&s, "gateways", OBJECT_NODE, "mesh/M/virtualGateway/g"), "routes");
	EXPECT(json_path_bool(json_array_get(routes, 0), "needsTls", false) && !json_path_bool(json_array_get(routes, 1), "needsTls", true));
	remove_resource(&s, "mesh/M/virtualGateway/g");
	change(&s);
	EXPECT(json_is_null(said_of(&s, "gateways", OBJECT_NODE, "mesh/M/virtualGateway/g")));
}

TEST(a_service_that_the_kernel_balances_is_told_by_its_weights_where_a_gateway_leads_there)
{
	const char *const v1 = "mesh/M/virtualNode/v1:8080";
	char expected[1024];
	SCENE(s);

	given_two_services(&s);
	remove_resource(&s, "mesh/M/virtualService/a");
	given_service(&s.f, "a", BY_ROUTER("r"));
	given(&s.f, "{'meshName': 'M', 'virtualGatewayName': 'g', 'spec': {'listeners': [" LISTENER(8080, "http") "]}}");
	change(&s);
	EXPECT(!SERVICE_OF(&s, "a"));
	given(&s.f, GATEWAY_ROUTE("a", "/a", "a"));
	change(&s); /* the kernel's records say the same as before */
	expect_said(&s, 1, 1, 0);
	snprintf(expected, sizeof(expected),
		 "{'name': 'mesh/M/virtualService/a', 'ports': [{'port': 80, 'route': 't', 'weighted': [{'node': %u, 'virtualNode': 'v1', 'weight': 90}, "
		 "{'node': %u, 'virtualNode': 'v2', 'weight': 10}]}]}",
		 id_of(&s.w, OBJECT_TARGET, v1), id_of(&s.w, OBJECT_TARGET, "mesh/M/virtualNode/v2:8080"));
	expect_json(SERVICE_OF(&s, "a"), expected);
	EXPECT(TARGET_OF(&s, "v1:8080") != NULL);
	remove_resource(&s, "mesh/M/virtualRouter/r/route/t");
	given_route(&s.f, "r", "u", HTTP_ROUTE("'prefix': '/'", TARGET("v1", 50) ", " TARGET("v2", 50)));
	change(&s);
	EXPECT_STR(json_path_string(json_path_at(SERVICE_OF(&s, "a"), "ports", 0), "route"), "u");
	remove_resource(&s, "mesh/M/virtualGateway/g/gatewayRoute/a");
	change(&s);
	EXPECT(json_is_null(SERVICE_OF(&s, "a")) && json_is_null(TARGET_OF(&s, "v1:8080")));
}

TEST(names_are_quoted)
{
	SCENE(s);

	given_two_services(&s);
	given_l7_service(&s.f, "q\\\"\\\\é", BY_NODE("v1"));
	change(&s);
	expect_said(&s, 3, 2, 1);
	EXPECT_STR(json_path_string(SERVICE_OF(&s, "q\"\\é"), "name"), "mesh/M/virtualService/q\"\\é");
}

/* --- all sorts of changes -------------------------------------------------------------------------------------------------------- */

static uint32_t roll(struct scene *s, uint32_t sides)
{
	s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(s->random >> 33) % sides;
}

static void toggle(struct scene *s, const char *kind, const char *name)
{
	char full_name[80];

	snprintf(full_name, sizeof(full_name), "mesh/M/%s/%s", kind, name);
	if (resources_get(&s->f.resources, full_name))
		remove_resource(s, full_name);
}

static void change_something(struct scene *s)
{
	static const char *const services[] = { "a", "b", "c", "d" }, *const nodes[] = { "v1", "v2", "v3" }, *const callers[] = { "web", "api" };
	const char *service = services[roll(s, 4)], *node = nodes[roll(s, 3)], *caller = callers[roll(s, 2)];
	char spec[300];

	switch (roll(s, 7)) {
	case 6:
		toggle(s, "virtualGateway/g/gatewayRoute", "t");
		toggle(s, "virtualGateway", "g");
		if (roll(s, 3))
			given(&s->f, "{'meshName': 'M', 'virtualGatewayName': 'g', 'spec': {'listeners': [" LISTENER(80, "http") "]}}");
		if (roll(s, 3))
			given(&s->f, "%s", roll(s, 2) ? GATEWAY_ROUTE("t", "/", "a") : GATEWAY_ROUTE("t", "/", "d"));
		return;
	case 0:
		toggle(s, "virtualService", service);
		if (roll(s, 4))
			(roll(s, 3) ? given_l7_service : given_service)(&s->f, service, roll(s, 2) ? BY_ROUTER("r") : BY_NODE("v2"));
		return;
	case 1:
		toggle(s, "virtualNode", node);
		if (roll(s, 4))
			given_node(&s->f, node, roll(s, 2) ? LISTENER(8080, "http") : LISTENER(8080, "http") ", " LISTENER(8081, "http"), "");
		return;
	case 2:
		toggle(s, "virtualNode", caller);
		if (roll(s, 4))
			given_caller(&s->f, caller, roll(s, 2) ? BACKEND("a") ", " BACKEND("c") : BACKEND("b") ", " BACKEND("d"), "");
		return;
	case 3:
		toggle(s, "virtualRouter/r/route", "t");
		snprintf(spec, sizeof(spec), "'httpRoute': {'match': {'prefix': '/'}, 'action': {'weightedTargets': [{'virtualNode': '%s', 'weight': %u, 'port': 8080}]}}",
			 node, roll(s, 3));
		if (roll(s, 4))
			given_route(&s->f, "r", "t", spec);
		return;
	case 4:
		snprintf(spec, sizeof(spec), "10.0.0.%u", 1 + roll(s, 3));
		instance(s, node, roll(s, 2) ? "a" : "b", spec, "");
		return;
	default:
		registry_remove(s->f.registry, "ns", node, "a", NULL);
		compiler_instances_changed(s->compiler, "ns", node);
		return;
	}
}

TEST(who_is_told_of_changes_knows_what_one_knows_who_is_told_all)
{
	size_t objects = 0;

	for (uint64_t seed = 1; seed <= 5; seed++) {
		SCENE(s);

		s.random = seed;
		given_two_services(&s);
		remove_resource(&s, "mesh/M/virtualRouter/r/route/t"); /* where nodes have several listeners, targets name one */
		given_node(&s.f, "v3", LISTENER(8080, "http"), "");
		for (unsigned step = 0; step < 150; step++) {
			_cleanup_json_ json_t *all = NULL;

			for (uint32_t i = 0, count = 1 + roll(&s, 3); i < count; i++)
				change_something(&s);
			apply_changes(&s);
			if (roll(&s, 3) == 0)
				continue; /* it hears of several at once */
			tell(&s);
			all = written(&s, NULL);
			if (!json_equal(all, s.known)) {
				_cleanup_free_ char *is = json_dumps(s.known, JSON_SORT_KEYS), *should_be = json_dumps(all, JSON_SORT_KEYS);

				fail_msg("seed %u, step %u:\n%s\nall there is:\n%s\n", (unsigned)seed, step, is, should_be);
			}
			objects += json_object_size(json_object_get(all, "services")) + json_object_size(json_object_get(all, "targets"));
		}
	}
	EXPECT(objects > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_knows_nothing_is_told_of_services_targets_and_callers),
		cmocka_unit_test(listeners_that_weft_proxy_serves_are_told_with_their_node),
		cmocka_unit_test(zones_are_told_with_the_run_of_each_endpoint),
		cmocka_unit_test(of_a_change_only_what_differs_is_told),
		cmocka_unit_test(what_the_kernel_does_not_read_makes_a_generation_as_well),
		cmocka_unit_test(an_endpoint_is_told_with_the_slot_that_it_has_now),
		cmocka_unit_test(what_is_gone_is_told_once),
		cmocka_unit_test(what_becomes_the_kernels_is_gone),
		cmocka_unit_test(clients_from_outside_are_no_callers_that_it_knows),
		cmocka_unit_test(a_gateway_is_told_with_the_ids_of_its_routes_services),
		cmocka_unit_test(a_service_that_the_kernel_balances_is_told_by_its_weights_where_a_gateway_leads_there),
		cmocka_unit_test(names_are_quoted),
		cmocka_unit_test(who_is_told_of_changes_knows_what_one_knows_who_is_told_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
