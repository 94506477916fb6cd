/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/appmesh_world.h"

#include <errno.h>

void appmesh_world_init(struct appmesh_world *world)
{
	*world = (struct appmesh_world){ .region = "us-east-1", .now_ns = 1649252750072000000ull };
	appmesh_state_init(&world->state, "us-east-1");
	appmesh_settings_init(&world->settings, "123456789012");
}

void appmesh_world_done(struct appmesh_world *world)
{
	appmesh_answer_done(&world->answer);
	appmesh_state_done(&world->state);
}

int appmesh_plan(struct appmesh_world *world, const char *method, const char *target, const char *body)
{
	struct appmesh_request request = { .method = span_of(method), .target = span_of(target), .region = world->region,
					   .now_ns = world->now_ns };
	_cleanup_free_ char *quoted = strdup(body ? body : "");

	for (char *c = quoted; *c; c++)
		if (*c == '\'')
			*c = '"';
	request.body = span_of(quoted);
	snprintf(request.uid, sizeof(request.uid), "00000000-0000-4000-8000-%012u", ++world->uids);
	appmesh_answer_done(&world->answer);
	appmesh_handle(&world->state, &world->settings, &request, &world->answer);
	EXPECT(json_is_object(world->answer.body));
	EXPECT_EQ(world->answer.error == NULL, world->answer.status == 200);
	if (world->answer.error)
		EXPECT_EQ(world->answer.change.op_count, 0);
	return world->answer.status;
}

static uint64_t revision_of(const struct appmesh_world *world, const char *key)
{
	const struct appmesh_resource *resource = appmesh_find_key(&world->state, key);

	return resource ? resource->revision : appmesh_guard_revision(&world->state, key);
}

int appmesh_commit(struct appmesh_world *world)
{
	const struct appmesh_change *change = &world->answer.change;
	struct error err = {};

	for (size_t i = 0; i < change->compare_count; i++)
		if (revision_of(world, change->compares[i].key) != change->compares[i].revision)
			return -ECANCELED;
	world->revision += change->op_count > 0;
	for (size_t i = 0; i < change->op_count; i++) {
		const struct appmesh_op *op = &change->ops[i];

		if (op->value)
			EXPECT_OK(appmesh_state_put(&world->state, op->key, op->value, strlen(op->value), world->revision, &err), &err);
		else
			appmesh_state_remove(&world->state, op->key);
	}
	return 0;
}

int appmesh_do(struct appmesh_world *world, const char *method, const char *target, const char *body)
{
	const int status = appmesh_plan(world, method, target, body);

	EXPECT_EQ(appmesh_commit(world), 0);
	return status;
}

const char *appmesh_message(const struct appmesh_world *world)
{
	return json_path_string(world->answer.body, "message") ?: "(no message)";
}

#define NODE(name)                                                                                                            \
	"{'virtualNodeName': '" name "', 'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}}],"           \
	"'serviceDiscovery': {'dns': {'hostname': '" name ".local'}}}}"

void given_world(struct appmesh_world *w)
{
	EXPECT_EQ(appmesh_do(w, "PUT", "/v20190125/meshes", "{'meshName': 'm'}"), 200);
	EXPECT_EQ(appmesh_do(w, "PUT", "/v20190125/meshes/m/virtualNodes", NODE("a")), 200);
	EXPECT_EQ(appmesh_do(w, "PUT", "/v20190125/meshes/m/virtualNodes", NODE("b")), 200);
	EXPECT_EQ(appmesh_do(w, "PUT", "/v20190125/meshes/m/virtualRouters",
			     "{'virtualRouterName': 'r', 'spec': {'listeners': [{'portMapping': {'port': 80, 'protocol': 'http'}}]}}"),
		  200);
	EXPECT_EQ(appmesh_do(w, "PUT", "/v20190125/meshes/m/virtualRouter/r/routes",
			     "{'routeName': 't', 'spec': {'httpRoute': {'match': {'prefix': '/'}, 'action': {'weightedTargets': ["
			     "{'virtualNode': 'a', 'weight': 9}, {'virtualNode': 'b', 'weight': 1}]}}}}"),
		  200);
	EXPECT_EQ(appmesh_do(w, "PUT", "/v20190125/meshes/m/virtualServices",
			     "{'virtualServiceName': 's.local', 'spec': {'provider': {'virtualRouter': {'virtualRouterName': 'r'}}}}"),
		  200);
}
