/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes: what the model says about each field, in whole documents. */
#include <errno.h>

#include "agent/spec/model.h"
#include "tests/unit/test_spec.h"

static const char node[] =
	"{'meshName': 'm', 'virtualNodeName': 'n', 'spec': {"
	"'listeners': [{'portMapping': {'port': 8080, 'protocol': 'http'}}],"
	"'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'a.local', 'serviceName': 's'}},"
	"'backends': [{'virtualService': {'virtualServiceName': 'b.local'}}]}}";
static const char route[] =
	"{'meshName': 'm', 'virtualRouterName': 'r', 'routeName': 't', 'spec': {'httpRoute': {"
	"'match': {'prefix': '/'}, 'action': {'weightedTargets': [{'virtualNode': 'n', 'weight': 1}]}}}}";
static const char mesh[] = "{'meshName': 'm', 'spec': {'egressFilter': {'type': 'DROP_ALL'}}}";

struct row {
	const char *document;
	const char *at; /* json_put() */
	const char *value; /* NULL: taken out */
	const char *field; /* NULL: accepted */
	const char *words;
};

static void expect_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *document = json_of(rows[i].document);

		json_put(document, rows[i].at, rows[i].value ? json_of(rows[i].value) : NULL);
		expect_verdict(document, rows[i].field, rows[i].words);
	}
}
#define EXPECT_ROWS(rows) expect_rows(rows, ARRAY_SIZE(rows))

TEST(a_number_out_of_bounds_is_refused_with_its_path_and_bounds)
{
	static const struct row rows[] = {
		{ node, "spec.listeners.0.portMapping.port", "1", NULL, NULL },
		{ node, "spec.listeners.0.portMapping.port", "65535", NULL, NULL },
		{ node, "spec.listeners.0.portMapping.port", "0", "spec.listeners[0].portMapping.port", "is 0, allowed are 1 to 65535" },
		{ node, "spec.listeners.0.portMapping.port", "65536", "spec.listeners[0].portMapping.port", "is 65536" },
		{ node, "spec.listeners.0.portMapping.port", "-1", "spec.listeners[0].portMapping.port", "is -1" },
		{ node, "spec.listeners.0.portMapping.port", "9223372036854775807", "spec.listeners[0].portMapping.port", "allowed" },
		{ route, "spec.httpRoute.action.weightedTargets.0.weight", "0", NULL, NULL },
		{ route, "spec.httpRoute.action.weightedTargets.0.weight", "100", NULL, NULL },
		{ route, "spec.httpRoute.action.weightedTargets.0.weight", "101", "spec.httpRoute.action.weightedTargets[0].weight",
		  "is 101, allowed are 0 to 100" },
		{ route, "spec.httpRoute.action.weightedTargets.0.weight", "-1", "spec.httpRoute.action.weightedTargets[0].weight",
		  "is -1" },
		{ route, "spec.priority", "0", NULL, NULL },
		{ route, "spec.priority", "1000", NULL, NULL },
		{ route, "spec.priority", "1001", "spec.priority", "0 to 1000" },
		{ node, "spec.listeners.0.connectionPool", "{'http': {'maxConnections': 2147483647}}", NULL, NULL },
		{ node, "spec.listeners.0.connectionPool", "{'http': {'maxConnections': 2147483648}}",
		  "spec.listeners[0].connectionPool.http.maxConnections", "is 2147483648" },
		{ route, "spec.httpRoute.timeout", "{'idle': {'value': 9223372036854775807, 'unit': 'ms'}}", NULL, NULL },
		{ route, "spec.httpRoute.timeout", "{'idle': {'value': -1, 'unit': 'ms'}}", "spec.httpRoute.timeout.idle.value",
		  "is -1, allowed are at least 0" },
	};

	EXPECT_ROWS(rows);
}

TEST(a_value_of_another_type_is_refused)
{
	static const struct row rows[] = {
		{ node, "spec.listeners.0.portMapping.port", "'8080'", "spec.listeners[0].portMapping.port",
		  "must be an integer, not \"8080\"" },
		{ node, "spec.listeners.0.portMapping.port", "8080.0", "spec.listeners[0].portMapping.port",
		  "must be an integer, not 8080.0" },
		{ node, "spec.listeners.0.portMapping.port", "80.5", "spec.listeners[0].portMapping.port", "not 80.5" },
		{ node, "spec.listeners.0.portMapping.port", "true", "spec.listeners[0].portMapping.port", "not true" },
		{ node, "spec.listeners.0.portMapping", "8080", "spec.listeners[0].portMapping", "must be an object, not 8080" },
		{ node, "spec.listeners", "{}", "spec.listeners", "must be a list, not an object" },
		{ node, "spec.listeners.0", "null", "spec.listeners[0]", "must be an object, not null" },
		{ node, "spec.listeners.0.portMapping.protocol", "7", "spec.listeners[0].portMapping.protocol",
		  "must be a string, not 7" },
		{ node, "spec", "[]", "spec", "must be an object, not a list" },
		{ node, "virtualNodeName", "7", "virtualNodeName", "must be a string" },
		{ node, "spec.backendDefaults", "{'clientPolicy': {'tls': {'enforce': 'yes', 'validation': {}}}}",
		  "spec.backendDefaults.clientPolicy.tls.enforce", "must be true or false, not \"yes\"" },
	};

	EXPECT_ROWS(rows);
}

TEST(a_value_outside_of_an_enum_is_refused_with_the_list_of_the_allowed)
{
	static const struct row rows[] = {
		{ mesh, "spec.egressFilter.type", "'ALLOW_ALL'", NULL, NULL },
		{ mesh, "spec.egressFilter.type", "'allow_all'", "spec.egressFilter.type",
		  "is \"allow_all\", allowed are ALLOW_ALL, DROP_ALL" },
		{ mesh, "spec.egressFilter.type", "''", "spec.egressFilter.type", "is \"\"" },
		{ mesh, "spec.serviceDiscovery", "{'ipPreference': 'IPv6_PREFERRED'}", NULL, NULL },
		{ mesh, "spec.serviceDiscovery", "{'ipPreference': 'IPV6_PREFERRED'}", "spec.serviceDiscovery.ipPreference",
		  "allowed are IPv6_PREFERRED, IPv4_PREFERRED, IPv4_ONLY, IPv6_ONLY" },
		{ route, "spec.httpRoute.timeout", "{'idle': {'value': 1, 'unit': 'm'}}", "spec.httpRoute.timeout.idle.unit",
		  "allowed are s, ms" },
	};

	EXPECT_ROWS(rows);
}

TEST(https_is_a_protocol_of_port_mappings_and_of_nothing_else)
{
	static const struct row rows[] = {
		{ node, "spec.listeners.0.portMapping.protocol", "'https'", NULL, NULL },
		{ node, "spec.listeners.0.portMapping.protocol", "'udp'", "spec.listeners[0].portMapping.protocol",
		  "is \"udp\", allowed are http, tcp, http2, grpc, https" },
		{ node, "spec.listeners.0.healthCheck",
		  "{'protocol': 'https', 'intervalMillis': 5000, 'timeoutMillis': 2000, 'healthyThreshold': 2, 'unhealthyThreshold': 2}",
		  "spec.listeners[0].healthCheck.protocol", "allowed are http, tcp, http2, grpc" },
	};

	EXPECT_ROWS(rows);
}

TEST(a_missing_required_member_is_named_and_null_counts_as_missing)
{
	static const struct row rows[] = {
		{ node, "meshName", NULL, "meshName", "is required" },
		{ node, "meshName", "null", "meshName", "is required" },
		{ node, "spec", NULL, "spec", "is required" },
		{ node, "spec.listeners.0.portMapping", "{'port': 1}", "spec.listeners[0].portMapping.protocol", "is required" },
		{ node, "spec.listeners.0.portMapping.port", "null", "spec.listeners[0].portMapping.port", "is required" },
		{ node, "spec.logging", "null", NULL, NULL },
		{ node, "spec.logging", "{}", NULL, NULL },
		{ mesh, "spec", NULL, NULL, NULL },
		{ mesh, "tags", "[{'key': 'k'}]", "tags[0].value", "is required" },
		{ route, "virtualRouterName", NULL, "virtualRouterName", "is required" },
		{ route, "spec.httpRoute.timeout", "{'idle': {'value': 1}}", "spec.httpRoute.timeout.idle.unit", "is required" },
		{ route, "spec.httpRoute.timeout", "{'idle': {'unit': 's'}}", "spec.httpRoute.timeout.idle.value", "is required" },
		{ route, "spec.httpRoute.match", "{'prefix': '/', 'queryParameters': [{'name': 'q', 'match': {}}]}",
		  "spec.httpRoute.match.queryParameters[0].match.exact", "is required" },
	};

	EXPECT_ROWS(rows);
}

TEST(an_unknown_member_is_refused_with_the_known_ones)
{
	static const struct row rows[] = {
		{ node, "spec.listener", "[]", "spec.listener", "known are backendDefaults, backends, listeners, logging" },
		{ node, "spec.listeners.0.portMapping.name", "null", "spec.listeners[0].portMapping.name", "known are port, protocol" },
		{ node, "status", "{}", "status", "is not known here" },
		{ node, "clientToken", "'abc'", NULL, NULL },
		{ node, "meshOwner", "'123456789012'", NULL, NULL },
		{ node, "meshOwner", "'12345678901'", "meshOwner", "has 11 characters, allowed are 12 to 12" },
		{ mesh, "meshOwner", "'123456789012'", "meshOwner", "is not known here" },
	};

	EXPECT_ROWS(rows);
}

TEST(lengths_count_characters_and_not_bytes)
{
	static const struct {
		const char *path, *field, *character;
		size_t min, max;
	} rows[] = {
		{ "virtualNodeName", "virtualNodeName", "x", 1, 255 },
		{ "virtualNodeName", "virtualNodeName", "é", 1, 255 },
		{ "virtualNodeName", "virtualNodeName", "\U0001f600", 1, 255 },
		{ "spec.serviceDiscovery.awsCloudMap.serviceName", "spec.serviceDiscovery.awsCloudMap.serviceName", "é", 1, 1024 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const size_t lengths[] = { rows[i].min - 1, rows[i].min, rows[i].max, rows[i].max + 1 };

		for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
			_cleanup_json_ json_t *document = json_of(node);
			const bool good = k == 1 || k == 2;
			char words[64];

			snprintf(words, sizeof(words), "has %zu characters, allowed are %zu to %zu", lengths[k], rows[i].min,
				 rows[i].max);
			json_put(document, rows[i].path, json_repeat(rows[i].character, lengths[k]));
			expect_verdict(document, good ? NULL : rows[i].field, words);
		}
	}
}

static void put_many(json_t *document, const char *list, const char *element, size_t count)
{
	json_t *values = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(values, json_of(element));
	json_put(document, list, values);
}

TEST(a_list_out_of_bounds_is_refused_with_its_count)
{
	static const struct {
		const char *document, *path, *field, *element, *words;
		size_t min, max;
	} rows[] = {
		{ route, "spec.httpRoute.action.weightedTargets", "spec.httpRoute.action.weightedTargets",
		  "{'virtualNode': 'n', 'weight': 1}", "elements, allowed are 1 to 10", 1, 10 },
		{ route, "spec.httpRoute.match.headers", "spec.httpRoute.match.headers", "{'name': 'h'}",
		  "elements, allowed are 1 to 10", 1, 10 },
		{ mesh, "tags", "tags", "{'key': 'k', 'value': ''}", "elements, allowed are 0 to 50", 0, 50 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t count = rows[i].min ? rows[i].min - 1 : 0; count <= rows[i].max + 1; count++) {
			_cleanup_json_ json_t *document = json_of(rows[i].document);
			const bool good = count >= rows[i].min && count <= rows[i].max;

			put_many(document, rows[i].path, rows[i].element, count);
			expect_verdict(document, good ? NULL : rows[i].field, rows[i].words);
		}
	}
}

TEST(a_string_against_a_pattern_is_refused)
{
	static const char attributes[] = "spec.serviceDiscovery.awsCloudMap.attributes";
	static const struct row rows[] = {
		{ node, attributes, "[{'key': 'stage', 'value': 'blue green'}]", NULL, NULL },
		{ node, attributes, "[{'key': '!~', 'value': 'x '}]", NULL, NULL },
		{ node, attributes, "[{'key': 'a b', 'value': 'x'}]", "spec.serviceDiscovery.awsCloudMap.attributes[0].key",
		  "is \"a b\", allowed is printable ASCII without spaces" },
		{ node, attributes, "[{'key': 'ä', 'value': 'x'}]", "spec.serviceDiscovery.awsCloudMap.attributes[0].key", "is \"ä\"" },
		{ node, attributes, "[{'key': 'k', 'value': ' x'}]", "spec.serviceDiscovery.awsCloudMap.attributes[0].value",
		  "does not begin with a space" },
		{ node, attributes, "[{'key': 'k', 'value': 'x\\u007f'}]", "spec.serviceDiscovery.awsCloudMap.attributes[0].value",
		  "allowed is printable ASCII" },
	};

	EXPECT_ROWS(rows);
}

TEST(a_union_has_exactly_one_member)
{
	static const struct row rows[] = {
		{ node, "spec.serviceDiscovery", "{'dns': {'hostname': 'h'}}", NULL, NULL },
		{ node, "spec.serviceDiscovery", "{'dns': {'hostname': 'h'}, 'awsCloudMap': null}", NULL, NULL },
		{ node, "spec.serviceDiscovery", "{}", "spec.serviceDiscovery",
		  "must have exactly one of awsCloudMap, dns, not none" },
		{ node, "spec.serviceDiscovery", "{'dns': {'hostname': 'h'}, 'awsCloudMap': {'namespaceName': 'n', 'serviceName': 's'}}",
		  "spec.serviceDiscovery", "must have exactly one of awsCloudMap, dns, not awsCloudMap, dns" },
		{ route, "spec.httpRoute.match", "{'path': {'exact': '/a'}}", NULL, NULL },
		{ route, "spec.httpRoute.match", "{'path': {'exact': '/a', 'regex': '/b'}}", "spec.httpRoute.match.path",
		  "must have exactly one of exact, regex" },
		{ route, "spec.httpRoute.match", "{'path': {}}", "spec.httpRoute.match.path", "not none" },
	};

	EXPECT_ROWS(rows);
}

TEST(a_document_that_is_no_resource_says_what_names_it_lacks)
{
	static const char *const documents[] = { "{}", "{'spec': {}}", "{'meshName': null, 'spec': {}}", "{'clientToken': 'x'}" };

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		_cleanup_json_ json_t *document = json_of(documents[i]);

		expect_verdict(document, "", "no name tells what this is");
	}
	_cleanup_json_ json_t *list = json_of("[]");
	expect_verdict(list, "", "must be an object, not a list");
	_cleanup_json_ json_t *two = json_of("{'meshName': 'm', 'virtualNodeName': 'n', 'virtualServiceName': 's', 'spec': {}}");
	expect_verdict(two, "virtualNodeName", "is not known here");
}

TEST(messages_are_cut_between_characters)
{
	_cleanup_json_ json_t *document = json_of(mesh), *back = NULL;
	_cleanup_(resources_done) struct resources set;
	struct error err = {};

	resources_init(&set);
	json_put(document, "spec.egressFilter.type", json_repeat("€", 5000));
	EXPECT_EQ(resources_add_json(&set, document, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "€...\", allowed are ALLOW_ALL, DROP_ALL");
	back = json_string(err.message); /* refuses what is not UTF-8 */
	EXPECT(back != NULL);

	json_put(document, "spec.egressFilter.type", NULL);
	_cleanup_json_ json_t *name = json_repeat("€", 5000);
	json_put(document, "spec.egressFilter", json_object());
	json_object_set_new(json_object_get(json_object_get(document, "spec"), "egressFilter"), json_string_value(name), json_true());
	EXPECT_EQ(resources_add_json(&set, document, NULL, &err), -EINVAL);
	EXPECT_CONTAINS(err.field, "spec.egressFilter.€");
	json_t *field = json_string(err.field);
	EXPECT(field != NULL);
	json_decref(field);
}

/* --- every shape of the model, by its own table --------------------------------------------------------------------------- */

static json_t *smallest(const struct shape *shape);

static json_t *string_of(const struct shape *shape, int64_t length)
{
	return shape->values ? json_string(shape->values[0]) : json_repeat("a", (size_t)length);
}

static json_t *list_of(const struct shape *shape, int64_t count)
{
	json_t *list = json_array();

	while (count-- > 0)
		json_array_append_new(list, smallest(shape->element));
	return list;
}

static json_t *structure_with(const struct shape *shape, const struct shape_member *only)
{
	json_t *object = json_object();

	for (const struct shape_member *m = shape->members; m->name; m++)
		if (m->required || m == only)
			json_object_set_new(object, m->name, smallest(m->shape));
	return object;
}

/* A value with nothing more than the shape needs. */
static json_t *smallest(const struct shape *shape)
{
	switch (shape->type) {
	case SHAPE_STRUCTURE:
		return structure_with(shape, shape->exactly_one ? &shape->members[0] : NULL);
	case SHAPE_LIST:
		return list_of(shape, shape->min);
	case SHAPE_STRING:
		return string_of(shape, shape->min);
	case SHAPE_NUMBER:
		return json_integer(shape->min);
	case SHAPE_BOOLEAN:
		return json_true();
	}
	return NULL;
}

/* Steals the value. */
static void expect_shape(const struct shape *shape, json_t *value, bool good)
{
	_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);
	struct error err = {};
	const int r = shape_validate(shape, value, &err);

	json_decref(value);
	if (r != (good ? 0 : -EINVAL))
		fail_msg("%s is %d, %s: %s\n%.200s", shape->name, r, err.field, err.message, text);
}

#define LARGEST_TRIED 5000
TEST(every_shape_accepts_its_bounds_and_refuses_what_is_beyond)
{
	size_t bounds = 0;

	for (const struct shape *s = model_shapes; s->name; s++) {
		expect_shape(s, smallest(s), true);
		expect_shape(s, json_null(), false);
		switch (s->type) {
		case SHAPE_NUMBER:
			expect_shape(s, json_integer(s->max), true);
			if (s->min > INT64_MIN)
				expect_shape(s, json_integer(s->min - 1), false);
			if (s->max < INT64_MAX)
				expect_shape(s, json_integer(s->max + 1), false);
			bounds += 2;
			break;
		case SHAPE_STRING:
			if (s->values || s->max > LARGEST_TRIED)
				break;
			expect_shape(s, string_of(s, s->max), true);
			expect_shape(s, string_of(s, s->max + 1), false);
			if (s->min > 0)
				expect_shape(s, string_of(s, s->min - 1), false);
			bounds += 2;
			break;
		case SHAPE_LIST:
			if (s->max > LARGEST_TRIED)
				break;
			expect_shape(s, list_of(s, s->max), true);
			expect_shape(s, list_of(s, s->max + 1), false);
			if (s->min > 0)
				expect_shape(s, list_of(s, s->min - 1), false);
			bounds += 2;
			break;
		default:
			break;
		}
	}
	EXPECT(bounds > 60);
}

TEST(every_member_every_variant_and_every_value_of_the_model_is_accepted)
{
	size_t variants = 0, values = 0;

	for (const struct shape *s = model_shapes; s->name; s++) {
		for (const char *const *v = s->values; v && *v; v++, values++)
			expect_shape(s, json_string(*v), true);
		if (s->values)
			expect_shape(s, json_string("no-such-value"), false);
		if (s->type != SHAPE_STRUCTURE)
			continue;
		for (const struct shape_member *m = s->members; m->name; m++) {
			json_t *object = structure_with(s, m);

			expect_shape(s, json_incref(object), true);
			json_object_set_new(object, "noSuchMember", json_true());
			expect_shape(s, json_incref(object), false);
			json_object_del(object, "noSuchMember");
			json_object_set_new(object, m->name, json_null());
			expect_shape(s, object, !m->required && !s->exactly_one);
		}
		if (!s->exactly_one)
			continue;
		expect_shape(s, json_object(), false);
		for (const struct shape_member *a = s->members; a->name; a++, variants++)
			for (const struct shape_member *b = a + 1; b->name; b++) {
				json_t *object = structure_with(s, a);

				json_object_set_new(object, b->name, smallest(b->shape));
				expect_shape(s, object, false);
			}
	}
	EXPECT(variants >= 45);
	EXPECT(values >= 50);
}

TEST(the_model_has_a_shape_for_every_kind)
{
	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++) {
		EXPECT_STR(shape_find(resource_kinds[i].create_shape)->name, resource_kinds[i].create_shape);
		EXPECT_STR(shape_find(resource_kinds[i].spec_shape)->name, resource_kinds[i].spec_shape);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_out_of_bounds_is_refused_with_its_path_and_bounds),
		cmocka_unit_test(a_value_of_another_type_is_refused),
		cmocka_unit_test(a_value_outside_of_an_enum_is_refused_with_the_list_of_the_allowed),
		cmocka_unit_test(https_is_a_protocol_of_port_mappings_and_of_nothing_else),
		cmocka_unit_test(a_missing_required_member_is_named_and_null_counts_as_missing),
		cmocka_unit_test(an_unknown_member_is_refused_with_the_known_ones),
		cmocka_unit_test(lengths_count_characters_and_not_bytes),
		cmocka_unit_test(a_list_out_of_bounds_is_refused_with_its_count),
		cmocka_unit_test(a_string_against_a_pattern_is_refused),
		cmocka_unit_test(a_union_has_exactly_one_member),
		cmocka_unit_test(a_document_that_is_no_resource_says_what_names_it_lacks),
		cmocka_unit_test(messages_are_cut_between_characters),
		cmocka_unit_test(every_shape_accepts_its_bounds_and_refuses_what_is_beyond),
		cmocka_unit_test(every_member_every_variant_and_every_value_of_the_model_is_accepted),
		cmocka_unit_test(the_model_has_a_shape_for_every_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
