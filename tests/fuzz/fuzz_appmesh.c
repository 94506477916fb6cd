/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the App Mesh API, of root: "METHOD TARGET", a line each, with the body behind it up to a line that is empty. Every one is
 * answered with an object; what is written is a record that is found where it should be. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/appmesh/appmesh.h"
#include "agent/aws/text.h"
#include "base/cleanup.h"
#include "base/log.h"

#define REQUESTS_MAX 32

static struct appmesh_state state;
static struct appmesh_settings settings;
static uint64_t revision;

static void fail(const char *what, const struct appmesh_request *request, const struct appmesh_answer *answer)
{
	_cleanup_free_ char *text = json_dumps(answer->body, JSON_ENCODE_ANY);

	fprintf(stderr, "%s: %.*s %.*s\n%.*s\n%s\n", what, (int)request->method.length, request->method.data, (int)request->target.length,
		request->target.data, (int)request->body.length, request->body.data, text);
	abort();
}

static void commit(const struct appmesh_request *request, const struct appmesh_answer *answer)
{
	const struct appmesh_change *change = &answer->change;

	revision++;
	for (size_t i = 0; i < change->op_count; i++) {
		const struct appmesh_op *op = &change->ops[i];

		if (!op->value)
			appmesh_state_remove(&state, op->key);
		else if (appmesh_state_put(&state, op->key, op->value, strlen(op->value), revision, NULL) < 0)
			fail("what was written is no record", request, answer);
	}
}

static int handle(struct span method, struct span target, struct span body)
{
	struct appmesh_request request = { .method = method, .target = target, .body = body, .region = "us-east-1",
					   .now_ns = 1649252750072000000ull };
	struct appmesh_answer answer;
	char *text;
	int status;

	snprintf(request.uid, sizeof(request.uid), "%036llu", (unsigned long long)revision);
	appmesh_handle(&state, &settings, &request, &answer);
	status = answer.status;
	if (!json_is_object(answer.body) || !answer.error != (status == 200) || (answer.error && answer.change.op_count))
		fail("the answer is none", &request, &answer);
	text = appmesh_text(answer.body);
	if (!text)
		fail("the answer cannot be sent", &request, &answer);
	free(text);
	if (answer.change.op_count)
		commit(&request, &answer);
	appmesh_answer_done(&answer);
	return status;
}

static void given(const char *target, const char *body)
{
	if (handle(SPAN("PUT"), span_of(target), span_of(body)) != 200)
		abort();
}

/* Each is where it is looked for. */
static void check_places(void)
{
	for (struct table_node *node = table_first(&state.collections); node; node = table_next(&state.collections, node)) {
		const struct appmesh_collection *c = container_of(node, struct appmesh_collection, node);
		const struct appmesh_scope scope = { c->account, c->region };
		const struct appmesh_resource *const *list;
		const size_t count = appmesh_children(&state, scope, c->kind, c->mesh, c->parent, &list);

		if (!count || count != c->count)
			abort();
		for (size_t i = 0; i < count; i++)
			if (!list[i]->resource || list[i]->collection != c ||
			    appmesh_find(&state, scope, c->kind, appmesh_mesh_of(list[i]), c->parent, list[i]->name) != list[i])
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = { (const char *)data, size }, line, method;

	log_setup(LOG_LEVEL_ERROR + 1, false);
	appmesh_state_init(&state, "us-east-1");
	appmesh_settings_init(&settings, "123456789012");
	given("/v20190125/meshes", "{\"meshName\":\"m\"}");
	given("/v20190125/meshes/m/virtualRouters", "{\"virtualRouterName\":\"r\",\"spec\":{}}");
	given("/v20190125/meshes/m/virtualNodes", "{\"virtualNodeName\":\"n\",\"spec\":{}}");
	for (int i = 0; i < REQUESTS_MAX && text_split(&input, '\n', &line); i++) {
		struct span target = line, body = input;

		text_split(&target, ' ', &method);
		while (text_split(&input, '\n', &line) && line.length)
			;
		body.length = input.data ? (size_t)(input.data - body.data) : body.length;
		handle(method, target, body);
	}
	check_places();
	appmesh_state_done(&state);
	return 0;
}
