/* SPDX-License-Identifier: Apache-2.0 */
/* The App Mesh API: what each operation answers and writes. */
#include <errno.h>

#include "base/bytes.h"
#include "tests/unit/appmesh_world.h"

#define WORLD _cleanup_(appmesh_world_done) struct appmesh_world world; appmesh_world_init(&world)
#define API "/v20190125"

TEST(a_mesh_without_a_spec_has_an_empty_one_and_all_its_metadata)
{
	WORLD;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'clientToken': 't'}"), 200);
	EXPECT_STR(appmesh_member(&world, "meshName"), "m");
	EXPECT_STR(appmesh_member(&world, "metadata.arn"), "arn:aws:appmesh:us-east-1:123456789012:mesh/m");
	EXPECT_STR(appmesh_member(&world, "metadata.meshOwner"), "123456789012");
	EXPECT_STR(appmesh_member(&world, "metadata.resourceOwner"), "123456789012");
	EXPECT_STR(appmesh_member(&world, "metadata.uid"), "00000000-0000-4000-8000-000000000001");
	EXPECT_EQ(json_path_int(world.answer.body, "metadata.version", 0), 1);
	EXPECT_STR(appmesh_member(&world, "status.status"), "ACTIVE");
	EXPECT_EQ(json_object_size(json_path(world.answer.body, "spec")), 0);
	_cleanup_free_ char *text = appmesh_text(world.answer.body);
	EXPECT_CONTAINS(text, "\"createdAt\":1649252750.072,\"lastUpdatedAt\":1649252750.072");
}

TEST(every_kind_is_created_described_updated_listed_and_deleted)
{
	static const struct {
		const char *collection, *name_member, *name, *spec, *arn, *list;
	} rows[] = {
		{ "/meshes/m/virtualServices", "virtualServiceName", "x.local", "{}", "mesh/m/virtualService/x.local", "virtualServices" },
		{ "/meshes/m/virtualNodes", "virtualNodeName", "x", "{}", "mesh/m/virtualNode/x", "virtualNodes" },
		{ "/meshes/m/virtualRouters", "virtualRouterName", "x", "{}", "mesh/m/virtualRouter/x", "virtualRouters" },
		{ "/meshes/m/virtualRouter/r/routes", "routeName", "x",
		  "{'priority': 1, 'httpRoute': {'match': {'prefix': '/'}, 'action': {'weightedTargets': [{'virtualNode': 'a', 'weight': 1}]}}}",
		  "mesh/m/virtualRouter/r/route/x", "routes" },
		{ "/meshes/m/virtualGateways", "virtualGatewayName", "x", "{'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}}]}",
		  "mesh/m/virtualGateway/x", "virtualGateways" },
		{ "/meshes/m/virtualGateway/g/gatewayRoutes", "gatewayRouteName", "x",
		  "{'httpRoute': {'match': {'prefix': '/'}, 'action': {'target': {'virtualService': {'virtualServiceName': 's.local'}}}}}",
		  "mesh/m/virtualGateway/g/gatewayRoute/x", "gatewayRoutes" },
		{ "/meshes", "meshName", "x", "{'egressFilter': {'type': 'ALLOW_ALL'}}", "mesh/x", "meshes" },
	};
	char target[256], body[1024], arn[256];

	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualGateways",
				 "{'virtualGatewayName': 'g', 'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}}]}}"),
		      200);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(target, sizeof(target), API "%s", rows[i].collection);
		snprintf(body, sizeof(body), "{'%s': '%s', 'spec': %s, 'tags': [{'key': 'k', 'value': 'v'}]}", rows[i].name_member, rows[i].name,
			 rows[i].spec);
		snprintf(arn, sizeof(arn), "arn:aws:appmesh:us-east-1:123456789012:%s", rows[i].arn);
		EXPECT_ANSWER(appmesh_do(&world, "PUT", target, body), 200);
		EXPECT_STR(appmesh_member(&world, "metadata.arn"), arn);
		EXPECT_STR(appmesh_member(&world, rows[i].name_member), rows[i].name);

		EXPECT_ANSWER(appmesh_do(&world, "GET", target, NULL), 200);
		EXPECT_CONTAINS(rows[i].list, json_path_at(world.answer.body, rows[i].list, 0) ? rows[i].list : "an element");

		snprintf(target, sizeof(target), API "%s/%s", rows[i].collection, rows[i].name);
		EXPECT_ANSWER(appmesh_do(&world, "GET", target, NULL), 200);
		EXPECT_STR(appmesh_member(&world, "metadata.arn"), arn);
		world.now_ns += 1000000000;
		snprintf(body, sizeof(body), "{'spec': %s}", rows[i].spec);
		EXPECT_ANSWER(appmesh_do(&world, "PUT", target, body), 200);
		EXPECT_EQ(json_path_int(world.answer.body, "metadata.version", 0), 2);
		EXPECT(json_real_value(json_path(world.answer.body, "metadata.lastUpdatedAt")) >
		       json_real_value(json_path(world.answer.body, "metadata.createdAt")));
		EXPECT_ANSWER(appmesh_do(&world, "DELETE", target, NULL), 200);
		EXPECT_STR(appmesh_member(&world, "status.status"), "DELETED");
		EXPECT_ERROR(appmesh_do(&world, "GET", target, NULL), "NotFoundException", rows[i].name);
		EXPECT_ERROR(appmesh_do(&world, "DELETE", target, NULL), "NotFoundException", rows[i].name);
	}
}

TEST(what_is_no_operation_is_refused_with_what_there_is)
{
	WORLD;
	EXPECT_ERROR(appmesh_do(&world, "POST", API "/meshes", NULL), "UnknownOperationException", "PUT (CreateMesh), GET (ListMeshes)");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/mesh", NULL), "UnknownOperationException", "no operation at /v20190125/mesh");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/m/virtualRouters/r/routes", NULL), "UnknownOperationException", "no operation");
	EXPECT_ERROR(appmesh_do(&world, "GET", "/", NULL), "UnknownOperationException", "no operation");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/", NULL), "BadRequestException", "segment that is empty");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/%2e%2e", NULL), "BadRequestException", "'.' or '..'");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/%zz", NULL), "BadRequestException", "hexadecimal");
}

TEST(a_request_that_is_malformed_is_refused_with_the_place)
{
	WORLD;
	given_world(&world);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': "), "BadRequestException", "the body is no JSON");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "[]"), "BadRequestException", "must be an object, not a list");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", NULL), "BadRequestException", "meshName: is required");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'x', 'name': 'y'}"), "BadRequestException",
		     "name: is not known here; known are clientToken, meshName, spec, tags");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes", "{'meshName': 'm', 'virtualNodeName': 'n', 'spec': {}}"),
		     "BadRequestException", "meshName: is not known here");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'x', 'spec': {'egressFilter': {'type': 'NONE'}}}"),
		     "BadRequestException", "spec.egressFilter.type: is \"NONE\", allowed are");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes", "{}"), "BadRequestException", "ListMeshes has no body");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?limit=0", NULL), "BadRequestException", "limit: is 0, allowed are 1 to 100");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?limit=101", NULL), "BadRequestException", "limit: is 101");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?limit=x", NULL), "BadRequestException", "limit: must be an integer");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?limit=1&limit=2", NULL), "BadRequestException", "limit: is there 2 times");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?sort=name", NULL), "BadRequestException",
		     "sort: is no parameter of ListMeshes; known are limit, nextToken");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?meshOwner=123456789012", NULL), "BadRequestException", "meshOwner: is no parameter");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/a%2Fb", NULL), "BadRequestException", "meshName: must be a plain name");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': '..'}"), "BadRequestException", "meshName: must not be");
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes?X-Amz-Signature=00", NULL), 200);
}

TEST(names_are_decoded_from_the_path_once)
{
	WORLD;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'a b%20c'}"), 200);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes/a%20b%2520c", NULL), 200);
	EXPECT_STR(appmesh_member(&world, "meshName"), "a b%20c");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/a%20b%20c", NULL), "NotFoundException", "mesh a b c");
}

TEST(parents_in_the_path_must_be_there)
{
	WORLD;
	given_world(&world);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/x/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}"), "NotFoundException",
		     "meshName: there is no mesh x");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/x/virtualNodes", NULL), "NotFoundException", "mesh x");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/m/virtualRouter/x/routes", NULL), "NotFoundException",
		     "VirtualRouter with name x is not present under mesh m for account 123456789012");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/m/virtualNodes/x", NULL), "NotFoundException",
		     "VirtualNode with name x is not present under mesh m for account 123456789012");
}

TEST(the_mesh_owner_is_the_account_or_forbidden)
{
	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes/m?meshOwner=123456789012", NULL), 200);
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/m?meshOwner=210987654321", NULL), "ForbiddenException", "meshOwner");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/m?meshOwner=1", NULL), "BadRequestException", "meshOwner: has 1 characters");
}

TEST(regions_are_apart)
{
	WORLD;
	given_world(&world);
	world.region = "eu-west-1";
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes/m", NULL), "NotFoundException", "in eu-west-1");
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'spec': {}}"), 200);
	EXPECT_STR(appmesh_member(&world, "metadata.arn"), "arn:aws:appmesh:eu-west-1:123456789012:mesh/m");
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m", NULL), 200);
	world.region = "cn-north-1";
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm'}"), 200);
	EXPECT_STR(appmesh_member(&world, "metadata.arn"), "arn:aws-cn:appmesh:cn-north-1:123456789012:mesh/m");
	world.region = "us-east-1";
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes/m/virtualNodes/a", NULL), 200);
}

/* --- clientToken -------------------------------------------------------------------------------------------------------------- */

TEST(a_token_with_the_same_request_is_answered_the_same_and_does_nothing)
{
	_cleanup_free_ char *first = NULL, *second = NULL;

	WORLD;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'clientToken': 't'}"), 200);
	first = appmesh_text(world.answer.body);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m", "{'spec': {'egressFilter': {'type': 'ALLOW_ALL'}}}"), 200);
	world.now_ns += 23ull * 3600 * 1000000000;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'clientToken': 't', 'meshName': 'm'}"), 200);
	EXPECT_EQ(world.answer.change.op_count, 0);
	second = appmesh_text(world.answer.body);
	EXPECT_STR(second, first);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes/m", NULL), 200);
	EXPECT_STR(appmesh_member(&world, "spec.egressFilter.type"), "ALLOW_ALL");
	EXPECT_EQ(json_path_int(world.answer.body, "metadata.version", 0), 2);
}

TEST(a_token_with_another_request_is_a_conflict)
{
	WORLD;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'clientToken': 't'}"), 200);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'n', 'clientToken': 't'}"), "ConflictException", "clientToken");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'spec': {}, 'clientToken': 't'}"), "ConflictException",
		     "clientToken");
	/* another operation, another region: another token */
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m", "{'spec': {}, 'clientToken': 't'}"), 200);
	world.region = "eu-west-1";
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'n', 'clientToken': 't'}"), 200);
}

TEST(a_token_ends_after_a_day_and_is_swept_by_later_writes)
{
	WORLD;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'clientToken': 't'}"), 200);
	EXPECT_EQ(world.state.tokens.count, 1);
	world.now_ns += 24ull * 3600 * 1000000000 + 1000000;
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'clientToken': 't'}"), "ConflictException",
		     "there is a Mesh with name m already");
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'n'}"), 200);
	EXPECT_EQ(world.state.tokens.count, 0);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'o', 'clientToken': 't'}"), 200);
	EXPECT_EQ(world.state.tokens.count, 1);
}

TEST(a_token_has_a_form)
{
	WORLD;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm', 'clientToken': 'abcdefghijklmnopqrstuvwxyz-_0123456X'}"),
		      200);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'n', 'clientToken': 'abcdefghijklmnopqrstuvwxyz-_0123456XY'}"),
		     "BadRequestException", "clientToken: is");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'n', 'clientToken': ''}"), "BadRequestException", "clientToken");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'n', 'clientToken': 'a/b'}"), "BadRequestException", "clientToken");
}

TEST(creating_what_is_there_is_a_conflict_whatever_the_spec)
{
	WORLD;
	given_world(&world);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm'}"), "ConflictException", "Mesh with name m");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes", "{'virtualNodeName': 'a', 'spec': {}}"), "ConflictException",
		     "VirtualNode with name a");
}

/* --- lists -------------------------------------------------------------------------------------------------------------------- */

TEST(pages_go_on_behind_the_last_name_whatever_comes_and_goes)
{
	char body[64], target[256];

	WORLD;
	for (int i = 0; i < 5; i++) {
		snprintf(body, sizeof(body), "{'meshName': 'm%d'}", i);
		EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", body), 200);
	}
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes?limit=2", NULL), 200);
	EXPECT_EQ(json_path_count(world.answer.body, "meshes"), 2);
	EXPECT_STR(json_path_string(json_path_at(world.answer.body, "meshes", 1), "meshName"), "m1");
	EXPECT(!json_path(json_path_at(world.answer.body, "meshes", 0), "spec"));
	snprintf(target, sizeof(target), API "/meshes?limit=100&nextToken=%s", appmesh_member(&world, "nextToken"));
	for (char *c = target; *c; c++)
		EXPECT(*c != '+'); /* as these names happen to be */
	char encoded[300] = "";
	for (char *c = target; *c; c++)
		snprintf(encoded + strlen(encoded), 4, *c == '=' && c > strstr(target, "nextToken=") + 9 ? "%%3D" : "%c", *c);

	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m1", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m2", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'm2x'}"), 200);
	EXPECT_ANSWER(appmesh_do(&world, "GET", encoded, NULL), 200);
	EXPECT_EQ(json_path_count(world.answer.body, "meshes"), 3);
	EXPECT_STR(json_path_string(json_path_at(world.answer.body, "meshes", 0), "meshName"), "m2x");
	EXPECT(!json_path(world.answer.body, "nextToken"));

	/* of another list */
	world.region = "eu-west-1";
	EXPECT_ERROR(appmesh_do(&world, "GET", encoded, NULL), "BadRequestException", "nextToken: is that of another list");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?nextToken=abc", NULL), "BadRequestException", "nextToken: is none");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?nextToken=", NULL), "BadRequestException", "nextToken: is none");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/meshes?nextToken=AAAA%40AAA", NULL), "BadRequestException", "nextToken: is none");
}

/* --- deletions and references ------------------------------------------------------------------------------------------------- */

TEST(what_is_in_use_is_not_deleted)
{
	WORLD;
	given_world(&world);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m", NULL), "ResourceInUseException", "has active VirtualService");
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualNodes/a", NULL), "ResourceInUseException",
		     "VirtualNode with name a cannot be deleted because it is the target of one or more routes.");
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualRouters/r", NULL), "ResourceInUseException", "has active Routes");
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualRouter/r/routes/t", NULL), 200);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualRouters/r", NULL), "ResourceInUseException",
		     "VirtualRouter with name r cannot be deleted because it is a VirtualService provider");
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualServices/s.local",
				 "{'spec': {'provider': {'virtualNode': {'virtualNodeName': 'a'}}}}"),
		      200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualRouters/r", NULL), 200);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualNodes/a", NULL), "ResourceInUseException", "VirtualService provider");
	/* a backend holds nothing */
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes/b",
				 "{'spec': {'backends': [{'virtualService': {'virtualServiceName': 's.local'}}]}}"),
		      200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualServices/s.local", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualNodes/a", NULL), 200);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m", NULL), "ResourceInUseException", "has active VirtualNodes");
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualNodes/b", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m", NULL), 200);
	EXPECT_EQ(world.state.resource_count, 0);
	EXPECT_EQ(world.state.guards.count, 1);
}

TEST(a_gateway_and_a_service_that_a_gateway_route_needs_are_not_deleted)
{
	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualGateways",
				 "{'virtualGatewayName': 'g', 'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}}]}}"),
		      200);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualGateway/g/gatewayRoutes",
				 "{'gatewayRouteName': 'x', 'spec': {'httpRoute': {'match': {'prefix': '/'}, 'action': {'target': {"
				 "'virtualService': {'virtualServiceName': 's.local'}}}}}}"),
		      200);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualGateways/g", NULL), "ResourceInUseException",
		     "has active GatewayRoutes");
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualServices/s.local", NULL), "ResourceInUseException",
		     "VirtualService s.local is being referenced in the following: GATEWAY_ROUTE: [00000000");
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualGateway/g/gatewayRoutes/x", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualGateways/g", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualServices/s.local", NULL), 200);
}

#define ROUTE_TO(node) "{'routeName': 'u', 'spec': {'priority': 1, 'httpRoute': {'match': {'prefix': '/'}, 'action': {'weightedTargets': [" \
		       "{'virtualNode': '" node "', 'weight': 1}]}}}}"

TEST(a_reference_may_be_ahead_of_what_it_names_unless_references_are_strict)
{
	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes", ROUTE_TO("later")), 200);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualRouter/r/routes/u", NULL), 200);
	world.settings.strict_references = true;
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes", ROUTE_TO("later")), "NotFoundException",
		     "spec.httpRoute.action.weightedTargets[0].virtualNode: VirtualNode with name later is not present under mesh m");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualServices",
				"{'virtualServiceName': 'x', 'spec': {'provider': {'virtualNode': {'virtualNodeName': 'later'}}}}"),
		     "NotFoundException", "VirtualNode with name later");
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes", ROUTE_TO("a")), 200);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes/a",
				 "{'spec': {'backends': [{'virtualService': {'virtualServiceName': 'later.local'}}],"
				 "'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}}],"
				 "'serviceDiscovery': {'dns': {'hostname': 'a.local'}}}}"),
		      200);
}

TEST(rules_between_resources_hold_at_both_ends)
{
	WORLD;
	given_world(&world);
	/* a route to a listener of another protocol, and a listener that turns away from its routes */
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes",
				"{'routeName': 'u', 'spec': {'tcpRoute': {'action': {'weightedTargets': [{'virtualNode': 'a', 'weight': 1}]}}}}"),
		     "BadRequestException", "spec.tcpRoute: tcpRoute needs a listener of protocol tcp");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouters/r",
				"{'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'grpc'}}]}}"),
		     "BadRequestException", "mesh/m/virtualRouter/r/route/t: httpRoute needs a listener of protocol http");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes/a",
				"{'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'tcp'}}],"
				"'serviceDiscovery': {'dns': {'hostname': 'a.local'}}}}"),
		     "BadRequestException", "mesh/m/virtualRouter/r/route/t: httpRoute needs a listener of protocol http, but port 80 of");
	/* what comes later meets what is there */
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes", ROUTE_TO("later")), 200);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes",
				"{'virtualNodeName': 'later', 'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'grpc'}}],"
				"'serviceDiscovery': {'dns': {'hostname': 'a.local'}}}}"),
		     "BadRequestException", "mesh/m/virtualRouter/r/route/u: httpRoute needs");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouters/r",
				"{'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}},"
				"{'portMapping': {'port': 81, 'protocol': 'http'}}]}}"),
		     "BadRequestException", "spec.httpRoute.match.port: mesh/m/virtualRouter/r/route/t: is required");
}

/* --- quotas, tags, settings --------------------------------------------------------------------------------------------------- */

TEST(one_more_than_the_quota_is_refused)
{
	WORLD;
	given_world(&world);
	world.settings.quotas[RESOURCE_VIRTUAL_NODE] = 3;
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes", "{'virtualNodeName': 'c', 'spec': {}}"), 200);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes", "{'virtualNodeName': 'd', 'spec': {}}"), "LimitExceededException",
		     "the quota virtualNodesPerMesh is 3");
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualNodes/c", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes", "{'virtualNodeName': 'd', 'spec': {}}"), 200);
	world.settings.quotas[RESOURCE_MESH] = 1;
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'x'}"), "LimitExceededException", "meshesPerAccount");
	world.settings.quotas[APPMESH_QUOTA_BACKENDS] = 1;
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualNodes/d",
				"{'spec': {'backends': [{'virtualService': {'virtualServiceName': 'x'}},"
				"{'virtualService': {'virtualServiceName': 'y'}}]}}"),
		     "LimitExceededException", "spec: has 2, and the quota backendsPerVirtualNode is 1");
	world.settings.quotas[APPMESH_QUOTA_TARGETS] = 1;
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes/t",
				"{'spec': {'httpRoute': {'match': {'prefix': '/'}, 'action': {'weightedTargets': ["
				"{'virtualNode': 'a', 'weight': 9}, {'virtualNode': 'b', 'weight': 1}]}}}}"),
		     "LimitExceededException", "weightedTargetsPerRoute");
}

#define TAGS_OF(resource) "resourceArn=arn%3Aaws%3Aappmesh%3Aus-east-1%3A123456789012%3A" resource

TEST(tags_are_put_over_those_that_are_there_and_taken_away)
{
	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh%2Fm%2FvirtualNode%2Fa"),
				 "{'tags': [{'key': 'b', 'value': '1'}, {'key': 'a', 'value': ''}]}"),
		      200);
	EXPECT_EQ(json_object_size(world.answer.body), 0);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m/virtualNode/a"), "{'tags': [{'key': 'b', 'value': '2'}]}"), 200);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualNode/a"), NULL), 200);
	_cleanup_free_ char *text = appmesh_text(world.answer.body);
	EXPECT_STR(text, "{\"tags\":[{\"key\":\"a\",\"value\":\"\"},{\"key\":\"b\",\"value\":\"2\"}]}");
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/tags?limit=1&" TAGS_OF("mesh/m/virtualNode/a"), NULL), 200);
	EXPECT_EQ(json_path_count(world.answer.body, "tags"), 1);
	EXPECT(appmesh_member(&world, "nextToken") != NULL);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/untag?" TAGS_OF("mesh/m/virtualNode/a"), "{'tagKeys': ['a', 'none']}"), 200);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualNode/a"), NULL), 200);
	EXPECT_EQ(json_path_count(world.answer.body, "tags"), 1);
	/* they are no part of the resource, and go with it */
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes/m/virtualNodes/a", NULL), 200);
	EXPECT_EQ(json_path_int(world.answer.body, "metadata.version", 0), 1);
	EXPECT(!json_path(world.answer.body, "tags"));
}

TEST(what_goes_into_force_has_its_tags)
{
	const struct appmesh_scope scope = { "123456789012", "us-east-1" };
	const struct appmesh_resource *stored;
	WORLD;

	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m/virtualNode/a"), "{'tags': [{'key': 'b', 'value': '1'}]}"), 200);
	stored = appmesh_find(&world.state, scope, RESOURCE_VIRTUAL_NODE, "m", NULL, "a");
	EXPECT_STR(stored->resource->tags_text, "[{\"key\":\"b\",\"value\":\"1\"}]");
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/untag?" TAGS_OF("mesh/m/virtualNode/a"), "{'tagKeys': ['b']}"), 200);
	stored = appmesh_find(&world.state, scope, RESOURCE_VIRTUAL_NODE, "m", NULL, "a");
	EXPECT(!stored->resource->tags_text);
}

TEST(tags_have_limits_and_reserved_keys)
{
	_cleanup_(buffer_done) struct buffer body = {};

	WORLD;
	given_world(&world);
	buffer_add(&body, "{'tags': [");
	for (int i = 0; i < 50; i++)
		buffer_printf(&body, "%s{'key': 'k%d', 'value': 'v'}", i ? "," : "", i);
	buffer_add(&body, "]}");
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m"), buffer_string(&body)), 200);
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m"),
				"{'tags': [{'key': 'k0', 'value': 'x'}, {'key': 'more', 'value': ''}]}"),
		     "TooManyTagsException", "tags: would be 51");
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/tags?limit=1&" TAGS_OF("mesh/m"), NULL), 200);
	EXPECT_STR(json_path_string(json_path_at(world.answer.body, "tags", 0), "value"), "v");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m"), "{'tags': [{'key': 'aws:x', 'value': ''}]}"),
		     "BadRequestException", "tags[0].key");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m"),
				"{'tags': [{'key': 'k', 'value': ''}, {'key': 'k', 'value': '1'}]}"),
		     "BadRequestException", "tags[1].key: is \"k\", which is there twice");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/tag?" TAGS_OF("mesh/m"), "{'tags': [{'key': 'k'}]}"), "BadRequestException",
		     "tags[0].value: is required");
	EXPECT_ERROR(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'x', 'tags': [{'key': 'aws:x', 'value': ''}]}"),
		     "BadRequestException", "reserved");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?limit=51&" TAGS_OF("mesh/m"), NULL), "BadRequestException", "limit: is 51");
}

TEST(an_arn_names_one_resource_of_this_account_and_region)
{
	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualRouter/r/route/t"), NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualService/s.local"), NULL), 200);
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualNode/x"), NULL), "NotFoundException", "VirtualNode with name x");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualRouter/r/gatewayRoute/t"), NULL), "BadRequestException",
		     "names no resource");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/route/t"), NULL), "BadRequestException", "names no resource");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?" TAGS_OF("mesh/m/virtualNode"), NULL), "BadRequestException", "names no resource");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?resourceArn=mesh/m", NULL), "BadRequestException", "must be the ARN");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?resourceArn=arn:aws:appmesh:us-east-1:210987654321:mesh/m", NULL),
		     "ForbiddenException", "of account 210987654321");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags?resourceArn=arn:aws:appmesh:eu-west-1:123456789012:mesh/m", NULL),
		     "NotFoundException", "of region eu-west-1");
	EXPECT_ERROR(appmesh_do(&world, "GET", API "/tags", NULL), "BadRequestException", "resourceArn: is required");
}

TEST(what_is_read_only_can_be_read)
{
	WORLD;
	given_world(&world);
	world.settings.read_only = "the meshes are those of a directory";
	EXPECT_ANSWER(appmesh_do(&world, "GET", API "/meshes/m", NULL), 200);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m", NULL), "ForbiddenException", "those of a directory");
}

TEST(two_writes_to_a_mesh_that_do_not_know_of_each_other_cannot_both_hold)
{
	struct appmesh_answer planned;

	WORLD;
	given_world(&world);
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/m/virtualRouter/r/routes/t", NULL), 200);
	EXPECT_ANSWER(appmesh_plan(&world, "DELETE", API "/meshes/m/virtualNodes/a", NULL), 200);
	planned = world.answer;
	world.answer = (struct appmesh_answer){};
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes/m/virtualRouter/r/routes", ROUTE_TO("a")), 200);
	appmesh_answer_done(&world.answer);
	world.answer = planned;
	EXPECT_EQ(appmesh_commit(&world), -ECANCELED);
	EXPECT_ERROR(appmesh_do(&world, "DELETE", API "/meshes/m/virtualNodes/a", NULL), "ResourceInUseException", "target of one or more");

	/* a mesh that goes while something comes into it */
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'x'}"), 200);
	EXPECT_ANSWER(appmesh_plan(&world, "PUT", API "/meshes/x/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}"), 200);
	planned = world.answer;
	world.answer = (struct appmesh_answer){};
	EXPECT_ANSWER(appmesh_do(&world, "DELETE", API "/meshes/x", NULL), 200);
	EXPECT_ANSWER(appmesh_do(&world, "PUT", API "/meshes", "{'meshName': 'x'}"), 200);
	appmesh_answer_done(&world.answer);
	world.answer = planned;
	EXPECT_EQ(appmesh_commit(&world), -ECANCELED);
}

TEST(a_record_that_is_none_is_refused_and_left_out)
{
	static const char key[] = "config/resource/123456789012/us-east-1/mesh/m";
	struct error err = {};

	WORLD;
	EXPECT_EQ(appmesh_state_put(&world.state, key, "{", 1, 1, &err), -EINVAL);
	EXPECT_EQ(appmesh_state_put(&world.state, key, "{}", 2, 1, &err), -EINVAL);
	EXPECT_EQ(appmesh_state_put(&world.state, "config/resource/1/r/thing/m",
				    "{\"uid\":\"\",\"version\":1,\"createdAt\":1,\"lastUpdatedAt\":1,\"spec\":{},\"tags\":{}}", 72, 1, &err),
		  -EINVAL);
	EXPECT_EQ(world.state.resource_count, 0);
	EXPECT_OK(appmesh_state_put(&world.state, "something/else", "x", 1, 1, &err), &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mesh_without_a_spec_has_an_empty_one_and_all_its_metadata),
		cmocka_unit_test(every_kind_is_created_described_updated_listed_and_deleted),
		cmocka_unit_test(what_is_no_operation_is_refused_with_what_there_is),
		cmocka_unit_test(a_request_that_is_malformed_is_refused_with_the_place),
		cmocka_unit_test(names_are_decoded_from_the_path_once),
		cmocka_unit_test(parents_in_the_path_must_be_there),
		cmocka_unit_test(the_mesh_owner_is_the_account_or_forbidden),
		cmocka_unit_test(regions_are_apart),
		cmocka_unit_test(a_token_with_the_same_request_is_answered_the_same_and_does_nothing),
		cmocka_unit_test(a_token_with_another_request_is_a_conflict),
		cmocka_unit_test(a_token_ends_after_a_day_and_is_swept_by_later_writes),
		cmocka_unit_test(a_token_has_a_form),
		cmocka_unit_test(creating_what_is_there_is_a_conflict_whatever_the_spec),
		cmocka_unit_test(pages_go_on_behind_the_last_name_whatever_comes_and_goes),
		cmocka_unit_test(what_is_in_use_is_not_deleted),
		cmocka_unit_test(a_gateway_and_a_service_that_a_gateway_route_needs_are_not_deleted),
		cmocka_unit_test(a_reference_may_be_ahead_of_what_it_names_unless_references_are_strict),
		cmocka_unit_test(rules_between_resources_hold_at_both_ends),
		cmocka_unit_test(one_more_than_the_quota_is_refused),
		cmocka_unit_test(tags_are_put_over_those_that_are_there_and_taken_away),
		cmocka_unit_test(what_goes_into_force_has_its_tags),
		cmocka_unit_test(tags_have_limits_and_reserved_keys),
		cmocka_unit_test(an_arn_names_one_resource_of_this_account_and_region),
		cmocka_unit_test(what_is_read_only_can_be_read),
		cmocka_unit_test(two_writes_to_a_mesh_that_do_not_know_of_each_other_cannot_both_hold),
		cmocka_unit_test(a_record_that_is_none_is_refused_and_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
