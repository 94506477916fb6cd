/* SPDX-License-Identifier: Apache-2.0 */
/* The set of resources: what it has, what a change of it tells and takes back, who refers to whom; and their names. */
#include <errno.h>

#include "base/bytes.h"
#include "tests/unit/spec_documents.h"

TEST(a_second_resource_of_one_name_is_refused_with_both_sources)
{
	_cleanup_json_ json_t *node = json_of(NODE("{}"));
	_cleanup_(resources_done) struct resources set;
	struct error err = {};

	resources_init(&set);
	EXPECT_OK(resources_add_json(&set, node, "a.json", &err), &err);
	EXPECT_EQ(resources_add_json(&set, node, "b.json", &err), -EEXIST);
	EXPECT_STR(err.field, "virtualNodeName");
	EXPECT_STR(err.message, "mesh/m/virtualNode/n is defined twice: in 'a.json' and in 'b.json'");
	EXPECT_EQ(set.count, 1);
}

static int append_name(const struct resource *resource, void *arg)
{
	buffer_printf(arg, "%s\n", resource->full_name);
	return 0;
}

TEST(a_set_finds_and_lists_what_it_has)
{
	static const char *const documents[] = { ROUTER_1("http"), HTTP_ON("", ""), NODE("{'logging': null}"),
						 "{'meshName': 'm', 'tags': [{'key': 'k', 'value': 'v'}]}", NULL };
	_cleanup_(buffer_done) struct buffer names = {};
	_cleanup_(resources_done) struct resources set;
	const struct resource *route, *node, *mesh;
	struct error err = {};

	given_all(&set, documents);
	EXPECT_OK(resources_check(&set, &err), &err);
	EXPECT_EQ(set.count, 4);
	EXPECT_EQ(resources_each(&set, append_name, &names), 0);
	EXPECT_STR(buffer_string(&names), "mesh/m\nmesh/m/virtualNode/n\nmesh/m/virtualRouter/r\nmesh/m/virtualRouter/r/route/t\n");
	mesh = resources_get(&set, "mesh/m");
	EXPECT(mesh);
	EXPECT_STR(mesh->spec_text, "{}");
	EXPECT(resource_has_tag(mesh, "k", "v") && !resource_has_tag(mesh, "k", "w") && !resource_has_tag(mesh, "v", "v"));
	route = resources_sibling(&set, mesh, RESOURCE_ROUTE, "r", "t");
	EXPECT(route && route == resources_get(&set, "mesh/m/virtualRouter/r/route/t"));
	EXPECT_STR(route->parent, "r");
	EXPECT_STR(route->mesh, "m");
	EXPECT_STR(route->name, "t");
	EXPECT(resource_same_mesh(route, mesh));
	node = resources_sibling(&set, route, RESOURCE_VIRTUAL_NODE, NULL, "n");
	EXPECT(node && !node->parent && !node->tags_text);
	EXPECT_STR(node->spec_text, "{}");
	EXPECT(!resources_sibling(&set, route, RESOURCE_VIRTUAL_NODE, NULL, "x"));
}

static struct resource *resource_of(const char *text, const struct resource_realm *realm)
{
	_cleanup_json_ json_t *document = json_of(text);
	struct resource *resource = NULL;
	struct error err = {};

	EXPECT_OK(resource_new(document, realm, NULL, &resource, &err), &err);
	return resource;
}

static void put(struct resources *set, const char *text)
{
	_cleanup_(cleanup_resource) struct resource *resource = resource_of(text, NULL);

	EXPECT_EQ(resources_put(set, resource), 0);
}

static const char *first_member(const json_t *object)
{
	const char *key = NULL;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
		break;
	return key;
}

TEST(a_spec_is_as_it_was_given_also_after_thousands_of_others)
{
	static const char spec[] = "{\"priority\":7,\"httpRoute\":{\"match\":{\"prefix\":\"/\u00fc\\n/\"},\"action\":{\"weightedTargets\":["
				   "{\"weight\":1,\"virtualNode\":\"n\"}]}}}";
	_cleanup_(cleanup_resource) struct resource *route =
		resource_of("{'meshName': 'm', 'virtualRouterName': 'r', 'routeName': 't', 'spec': {'priority': 7, 'httpRoute': {'timeout': null, 'match': "
			    "{'prefix': '/\u00fc\\n/'}, 'action': {'weightedTargets': [{'weight': 1, 'virtualNode': 'n'}]}}}}", NULL);
	_cleanup_json_ json_t *first = resource_spec(route), *same = resource_spec(route), *later = NULL;
	_cleanup_(resources_done) struct resources set;
	char text[96];

	EXPECT(first == same);
	resources_init(&set);
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "{'meshName': 'm%d', 'spec': {'egressFilter': {'type': 'DROP_ALL'}}}", i);
		put(&set, text);
	}
	later = resource_spec(route);
	EXPECT(later != first && json_equal(later, first)); /* parsed anew; who has the first one still has it */
	EXPECT_STR(route->spec_text, spec);
	EXPECT_STR(first_member(later), "priority");
	EXPECT_STR(first_member(json_path_at(later, "httpRoute.action.weightedTargets", 0)), "weight");
}

TEST(resources_are_equal_whatever_the_order_of_their_members)
{
	_cleanup_(cleanup_resource) struct resource *a = resource_of(NODE("{'backends': [], 'listeners': []}"), NULL),
						    *b = resource_of(NODE("{'listeners': [], 'backends': []}"), NULL),
						    *c = resource_of(NODE("{'listeners': []}"), NULL);

	EXPECT(strcmp(a->spec_text, b->spec_text) != 0);
	EXPECT(resource_equal(a, b) && resource_same_spec(a, b));
	EXPECT(!resource_equal(a, c) && !resource_same_spec(b, c));
}

static void append_change(const struct resource *before, const struct resource *now, void *arg)
{
	buffer_printf(arg, "%s%s%s\n", before ? "-" : "", now ? "+" : "", (now ?: before)->full_name);
}

static void expect_changes(struct resources *set, const char *expected)
{
	_cleanup_(buffer_done) struct buffer text = {};

	resources_commit(set, append_change, &text);
	EXPECT_STR(buffer_string(&text), expected);
}

TEST(a_commit_tells_what_came_went_and_was_replaced_once)
{
	_cleanup_(resources_done) struct resources set;

	resources_init(&set);
	put(&set, NODE("{}"));
	put(&set, "{'meshName': 'm'}");
	expect_changes(&set, "+mesh/m/virtualNode/n\n+mesh/m\n");
	put(&set, NODE("{}")); /* the same again */
	put(&set, "{'meshName': 'm', 'spec': {'egressFilter': {'type': 'DROP_ALL'}}}");
	put(&set, "{'meshName': 'm', 'spec': {'egressFilter': {'type': 'ALLOW_ALL'}}}");
	put(&set, "{'meshName': 'gone'}");
	EXPECT_EQ(resources_remove(&set, "mesh/gone"), 0);
	expect_changes(&set, "-+mesh/m\n");
	EXPECT_EQ(resources_remove(&set, "mesh/m/virtualNode/n"), 0);
	EXPECT_EQ(resources_remove(&set, "mesh/m/virtualNode/n"), -ENOENT);
	expect_changes(&set, "-mesh/m/virtualNode/n\n");
	expect_changes(&set, "");
	EXPECT_EQ(set.count, 1);
}

TEST(a_rollback_leaves_what_was_there_and_who_refers_to_it)
{
	static const char *const documents[] = { ROUTER_1("http"), HTTP_ON("", ""), NODE("{}"), NULL };
	_cleanup_(resources_done) struct resources set;
	_cleanup_(buffer_done) struct buffer missing = {};
	const struct resource *router;
	struct error err = {};

	given_all(&set, documents);
	resources_commit(&set, NULL, NULL);
	router = resources_get(&set, "mesh/m/virtualRouter/r");
	put(&set, ROUTER_1("tcp"));
	EXPECT_EQ(resources_check(&set, &err), -EINVAL);
	put(&set, "{'meshName': 'new'}");
	EXPECT_EQ(resources_remove(&set, "mesh/m/virtualRouter/r/route/t"), 0);
	EXPECT_EQ(resources_remove(&set, "mesh/m/virtualNode/n"), 0);
	resources_rollback(&set);

	EXPECT_EQ(set.count, 3);
	EXPECT(resources_get(&set, "mesh/m/virtualRouter/r") == router);
	EXPECT(!resources_get(&set, "mesh/new"));
	expect_changes(&set, "");
	put(&set, ROUTER_1("grpc")); /* the route is still known to refer to it */
	EXPECT_EQ(resources_check(&set, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, ROUTE_NAME);
}

static void count_referrer(const struct resource *from, void *arg)
{
	(void)from;
	++*(size_t *)arg;
}

TEST(referrers_are_known_before_the_name_is_anybodys)
{
	_cleanup_(resources_done) struct resources set;
	size_t count = 0;

	resources_init(&set);
	put(&set, HTTP_ON("", ""));
	resources_referrers(&set, "mesh/m/virtualRouter/r", count_referrer, &count);
	resources_referrers(&set, "mesh/m", count_referrer, &count);
	EXPECT_EQ(count, 2);
	resources_commit(&set, NULL, NULL);
	EXPECT_EQ(resources_remove(&set, ROUTE_NAME), 0);
	count = 0;
	resources_referrers(&set, "mesh/m/virtualRouter/r", count_referrer, &count);
	EXPECT_EQ(count, 0);
}

TEST(resources_of_two_realms_know_nothing_of_each_other)
{
	static const struct resource_realm there = { "123456789012", "eu-central-1" };
	_cleanup_(cleanup_resource) struct resource *route = resource_of(HTTP_ON("", ""), &there);
	_cleanup_(cleanup_resource) struct resource *router = resource_of(ROUTER_1("tcp"), &there);
	_cleanup_(resources_done) struct resources set;
	struct error err = {};

	resources_init(&set);
	put(&set, ROUTER_1("tcp"));
	EXPECT_EQ(resources_put(&set, route), 0);
	EXPECT_STR(route->full_name, "arn:aws:appmesh:eu-central-1:123456789012:" ROUTE_NAME);
	EXPECT_STR(route->account, "123456789012");
	EXPECT_OK(resources_check(&set, &err), &err);
	EXPECT(!resources_sibling(&set, route, RESOURCE_VIRTUAL_ROUTER, NULL, "r"));
	EXPECT_EQ(resources_put(&set, router), 0);
	EXPECT(resources_sibling(&set, route, RESOURCE_VIRTUAL_ROUTER, NULL, "r") == router);
	EXPECT_EQ(resources_check(&set, &err), -EINVAL);
}

/* --- names ------------------------------------------------------------------------------------------------------------- */

TEST(a_resource_name_is_read_in_each_of_its_forms)
{
	static const struct {
		const char *text;
		enum resource_kind kind;
		const char *full_name; /* NULL: refused */
	} rows[] = {
		{ "mesh/M/virtualNode/N", RESOURCE_VIRTUAL_NODE, "mesh/M/virtualNode/N" },
		{ "arn:aws:appmesh:eu-west-1:123456789012:mesh/M/virtualNode/N", RESOURCE_VIRTUAL_NODE, "mesh/M/virtualNode/N" },
		{ "arn:aws-cn:appmesh:cn-north-1:123456789012:mesh/M/virtualGateway/G", RESOURCE_VIRTUAL_GATEWAY,
		  "mesh/M/virtualGateway/G" },
		{ "mesh/M@123456789012/virtualNode/N", RESOURCE_VIRTUAL_NODE, "mesh/M/virtualNode/N" },
		{ "mesh/M@12345678901/virtualNode/N", RESOURCE_VIRTUAL_NODE, "mesh/M@12345678901/virtualNode/N" },
		{ "mesh/@123456789012/virtualNode/N", RESOURCE_VIRTUAL_NODE, "mesh/@123456789012/virtualNode/N" },
		{ "mesh/M/virtualService/a.b:80", RESOURCE_VIRTUAL_SERVICE, "mesh/M/virtualService/a.b:80" },
		{ "mesh/M/virtualRouter/R/route/T", RESOURCE_ROUTE, "mesh/M/virtualRouter/R/route/T" },
		{ "mesh/M", RESOURCE_MESH, "mesh/M" },
		{ "mesh/M/virtualGateway/G", RESOURCE_VIRTUAL_NODE, NULL },
		{ "mesh/M/virtualNode", RESOURCE_VIRTUAL_NODE, NULL },
		{ "mesh/M/virtualNode/", RESOURCE_VIRTUAL_NODE, NULL },
		{ "mesh//virtualNode/N", RESOURCE_VIRTUAL_NODE, NULL },
		{ "mesh/M/virtualNode/N/", RESOURCE_VIRTUAL_NODE, NULL },
		{ "mesh/M/virtualNode/N/x", RESOURCE_VIRTUAL_NODE, NULL },
		{ "mesh/M/virtualRouter/R", RESOURCE_ROUTE, NULL },
		{ "virtualNode/N", RESOURCE_VIRTUAL_NODE, NULL },
		{ "", RESOURCE_VIRTUAL_NODE, NULL },
		{ "arn:aws:appmesh:eu-west-1:mesh/M/virtualNode/N", RESOURCE_VIRTUAL_NODE, NULL },
		{ "arn:aws:ecs:eu-west-1:123456789012:mesh/M/virtualNode/N", RESOURCE_VIRTUAL_NODE, NULL },
		{ "arn:", RESOURCE_VIRTUAL_NODE, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[RESOURCE_FULL_NAME_BYTES] = "untouched";
		struct error err = {};
		const int r = resource_name_parse(rows[i].text, rows[i].kind, name, sizeof(name), &err);

		EXPECT_EQ(r, rows[i].full_name ? 0 : -EINVAL);
		EXPECT_STR(name, rows[i].full_name ?: "untouched");
		if (r < 0)
			EXPECT_CONTAINS(err.message, rows[i].text);
	}
}

TEST(a_name_that_does_not_fit_is_refused_and_leaves_the_buffer_alone)
{
	char name[8] = "abc";

	EXPECT_EQ(resource_name_parse("mesh/M/virtualNode/N", RESOURCE_VIRTUAL_NODE, name, sizeof(name), NULL), -EINVAL);
	EXPECT_STR(name, "abc");
	EXPECT_EQ(resource_full_name(name, 7, "M", RESOURCE_MESH, NULL, "M"), 0);
	EXPECT_EQ(resource_full_name(name, 6, "M", RESOURCE_MESH, NULL, "M"), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_resource_of_one_name_is_refused_with_both_sources),
		cmocka_unit_test(a_set_finds_and_lists_what_it_has),
		cmocka_unit_test(a_spec_is_as_it_was_given_also_after_thousands_of_others),
		cmocka_unit_test(resources_are_equal_whatever_the_order_of_their_members),
		cmocka_unit_test(a_commit_tells_what_came_went_and_was_replaced_once),
		cmocka_unit_test(a_rollback_leaves_what_was_there_and_who_refers_to_it),
		cmocka_unit_test(referrers_are_known_before_the_name_is_anybodys),
		cmocka_unit_test(resources_of_two_realms_know_nothing_of_each_other),
		cmocka_unit_test(a_resource_name_is_read_in_each_of_its_forms),
		cmocka_unit_test(a_name_that_does_not_fit_is_refused_and_leaves_the_buffer_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
