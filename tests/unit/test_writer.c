/* SPDX-License-Identifier: Apache-2.0 */
/* The API over a store: what is written together, what waits for what, and what becomes of those who meet another writer. */
#include <errno.h>

#include "agent/api/control/writer.h"
#include "agent/store/backend.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/unit/store_world.h"

#define API "/v20190125"
#define CALLS_MAX 128

struct call {
	struct writer_call base; /* first */
	struct writer_world *world;
	char target[128], body[1024];
	int status; /* 0: not yet */
	char error[64], message[ERROR_MESSAGE_BYTES];
	size_t order; /* the how-manieth answer it was */
	json_t *answer;
};

struct writer_world {
	struct store_world store;
	struct appmesh_settings settings;
	struct writer *writer;
	struct call calls[CALLS_MAX];
	size_t call_count, answered;
	struct buffer told; /* "+mesh/m -mesh/m ." */
	const struct resource *last_told;
};

static void on_changed(const struct resource *now, const char *full_name, void *arg)
{
	struct writer_world *w = arg;

	buffer_printf(&w->told, "%s%s ", now ? "+" : "-", full_name);
	w->last_told = now;
}

static void on_settled(void *arg)
{
	struct writer_world *w = arg;

	buffer_add(&w->told, ". ");
}

static void start(struct writer_world *w)
{
	const struct writer_callbacks callbacks = { on_changed, on_settled, w };
	struct error err = {};

	EXPECT_OK(writer_new(w->store.store, "us-east-1", &w->settings, &callbacks, &w->writer, &err), &err);
}

static void stop(struct writer_world *w)
{
	if (w->writer)
		writer_stop(w->writer);
	w->store.store = store_close(w->store.store);
	w->writer = writer_free(w->writer);
}

static void writer_world_init(struct writer_world *w)
{
	*w = (struct writer_world){};
	store_world_init(&w->store);
	EXPECT_OK(store_open_memory(w->store.loop, &w->store.store, NULL));
	appmesh_settings_init(&w->settings, "123456789012");
	start(w);
}

static void writer_world_done(struct writer_world *w)
{
	stop(w);
	for (size_t i = 0; i < w->call_count; i++)
		json_decref(w->calls[i].answer);
	buffer_done(&w->told);
	store_world_done(&w->store);
}
#define WORLD _cleanup_(writer_world_done) struct writer_world w; writer_world_init(&w)

static void call_done(struct writer_call *base)
{
	struct call *call = (struct call *)base;

	EXPECT_EQ(call->status, 0);
	call->status = base->answer.status;
	call->order = ++call->world->answered;
	snprintf(call->error, sizeof(call->error), "%s", base->answer.error ? base->answer.error : "");
	snprintf(call->message, sizeof(call->message), "%s", json_path_string(base->answer.body, "message") ?: "");
	call->answer = json_incref(base->answer.body);
	appmesh_answer_done(&base->answer);
}

static void add_record(struct writer_call *base, char **ret_key, char **ret_value)
{
	const struct call *call = (const struct call *)base;

	if (asprintf(ret_key, "audit/%s", call->base.request.uid) < 0)
		*ret_key = NULL;
	*ret_value = strdup(call->target);
}

static struct call *send(struct writer_world *w, const char *method, const char *target, const char *body)
{
	struct call *call = &w->calls[w->call_count++];

	EXPECT(w->call_count <= CALLS_MAX);
	call->world = w;
	snprintf(call->target, sizeof(call->target), API "%s", target);
	snprintf(call->body, sizeof(call->body), "%s", body ? body : "");
	for (char *c = call->body; *c; c++)
		if (*c == '\'')
			*c = '"';
	call->base.request = (struct appmesh_request){ .method = span_of(method), .target = span_of(call->target), .body = span_of(call->body),
						       .region = "us-east-1", .now_ns = 1649252750072000000ull };
	snprintf(call->base.request.uid, sizeof(call->base.request.uid), "00000000-0000-4000-8000-%012zu", w->call_count);
	call->base.done = call_done;
	call->base.record = add_record;
	writer_call(w->writer, &call->base);
	return call;
}

static int ask(struct writer_world *w, const char *method, const char *target, const char *body)
{
	const struct call *call = send(w, method, target, body);

	TURN_UNTIL(&w->store, call->status);
	return call->status;
}

TEST(calls_wait_until_what_is_stored_has_been_read)
{
	WORLD;
	const struct call *call = send(&w, "GET", "/meshes", NULL);

	EXPECT_EQ(call->status, 0);
	TURN_UNTIL(&w.store, call->status);
	EXPECT_EQ(call->status, 200);
	EXPECT_STR(buffer_string(&w.told), ". ");
}

TEST(an_answer_comes_when_the_write_is_in_the_store_and_told)
{
	WORLD;
	EXPECT_EQ(ask(&w, "GET", "/meshes", NULL), 200);
	const struct call *call = send(&w, "PUT", "/meshes", "{'meshName': 'm', 'clientToken': 't'}");

	EXPECT_EQ(call->status, 0);
	TURN_UNTIL(&w.store, call->status);
	EXPECT_EQ(call->status, 200);
	EXPECT_CONTAINS(buffer_string(&w.told), "+mesh/m ");
	EXPECT(revision_of(&w.store, "config/resource/123456789012/us-east-1/mesh/m") > 0);
	EXPECT_EQ(revision_of(&w.store, "config/token/123456789012/us-east-1/CreateMesh/t"),
		  revision_of(&w.store, "config/resource/123456789012/us-east-1/mesh/m"));
	EXPECT_EQ(revision_of(&w.store, "audit/00000000-0000-4000-8000-000000000002"),
		  revision_of(&w.store, "config/guard/123456789012/us-east-1/m"));
}

TEST(writes_that_come_while_one_is_on_its_way_are_one_transaction)
{
	struct call *calls[9];
	char body[64];

	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	const uint64_t before = revision_now(&w.store);
	const uint64_t batches = writer_count(w.writer, WRITER_COUNT_BATCHES);
	for (int i = 0; i < 8; i++) {
		snprintf(body, sizeof(body), "{'virtualNodeName': 'n%d', 'spec': {}}", i);
		calls[i] = send(&w, "PUT", "/meshes/m/virtualNodes", body);
	}
	/* a read behind writes sees them, and waits until they are durable */
	calls[8] = send(&w, "GET", "/meshes/m/virtualNodes", NULL);
	TURN_UNTIL(&w.store, calls[8]->status);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(calls[i]->status, 200);
	EXPECT_EQ(json_path_count(calls[8]->answer, "virtualNodes"), 8);
	EXPECT_EQ(revision_now(&w.store) - before, 2); /* the first one, and the others */
	EXPECT_EQ(writer_count(w.writer, WRITER_COUNT_BATCHES) - batches, 2);
	for (int i = 1; i < 9; i++)
		EXPECT_EQ(calls[i]->order, calls[i - 1]->order + 1);
}

TEST(calls_of_a_batch_see_what_those_before_them_write)
{
	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'busy'}"), 200);
	send(&w, "PUT", "/meshes/busy", "{'spec': {}}");
	const struct call *mesh = send(&w, "PUT", "/meshes", "{'meshName': 'm'}");
	const struct call *node = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}");
	const struct call *again = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}");
	const struct call *used = send(&w, "DELETE", "/meshes/m", NULL);
	const struct call *gone = send(&w, "DELETE", "/meshes/m/virtualNodes/n", NULL);
	const struct call *end = send(&w, "DELETE", "/meshes/m", NULL);

	TURN_UNTIL(&w.store, end->status);
	EXPECT_EQ(mesh->status, 200);
	EXPECT_EQ(node->status, 200);
	EXPECT_STR(again->error, "ConflictException");
	EXPECT_STR(used->error, "ResourceInUseException");
	EXPECT_EQ(gone->status, 200);
	EXPECT_EQ(end->status, 200);
	EXPECT_EQ(revision_of(&w.store, "config/resource/123456789012/us-east-1/mesh/m"), 0);
	EXPECT_EQ(revision_of(&w.store, "config/guard/123456789012/us-east-1/m"), 0);
	EXPECT_EQ(writer_state(w.writer)->resource_count, 1);
}

TEST(what_is_planned_is_what_is_committed_and_told)
{
	static const struct appmesh_scope scope = { "123456789012", "us-east-1" };

	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	for (int i = 0; i < 2; i++) { /* created, changed */
		const struct call *call = i ? send(&w, "PUT", "/meshes/m/virtualNodes/n", "{'spec': {}}") :
					      send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}");
		const struct appmesh_resource *node = appmesh_find(writer_state(w.writer), scope, RESOURCE_VIRTUAL_NODE, "m", NULL, "n");
		struct resource *planned = resource_ref(node->resource); /* so that no other has its address */

		EXPECT_EQ(node->revision, 0);
		TURN_UNTIL(&w.store, call->status);
		EXPECT_EQ(call->status, 200);
		EXPECT(node->resource == planned && w.last_told == planned);
		EXPECT_EQ(node->revision, revision_of(&w.store, "config/resource/123456789012/us-east-1/virtualNode/m/n"));
		resource_unref(planned);
	}
}

/* Another writer changes the mesh under the batch. */
static void meddle(struct writer_world *w)
{
	put(&w->store, "config/guard/123456789012/us-east-1/m", "{\"by\":\"another\"}");
}

TEST(who_meets_another_writer_is_planned_again_on_what_that_one_wrote)
{
	static const char node[] = "{\"uid\":\"u\",\"version\":1,\"createdAt\":1,\"lastUpdatedAt\":1,\"spec\":{},\"tags\":{}}";

	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	struct outcome other = {};
	const struct store_op ops[] = { { "config/guard/123456789012/us-east-1/m", "{}", 2 },
					{ "config/resource/123456789012/us-east-1/virtualNode/m/n", node, strlen(node) } };
	EXPECT_OK(store_txn(w.store.store, NULL, 0, ops, ARRAY_SIZE(ops), on_done, &other, NULL));
	const struct call *mine = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}");
	const struct call *too = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'o', 'spec': {}}");

	TURN_UNTIL(&w.store, too->status);
	EXPECT_STR(mine->error, "ConflictException");
	EXPECT_EQ(too->status, 200);
	EXPECT(writer_count(w.writer, WRITER_COUNT_RETRIES) > 0);
	EXPECT_EQ(writer_state(w.writer)->resource_count, 3);
}

static void meddle_again(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct writer_world *w = arg;
	const struct store_op op = { "config/guard/123456789012/us-east-1/m", "{}", 2 };

	(void)result, (void)revision, (void)err;
	if (w->store.store && !writer_count(w->writer, WRITER_COUNT_CONTENDED))
		store_txn(w->store.store, NULL, 0, &op, 1, meddle_again, w, NULL);
}

TEST(who_meets_other_writers_all_the_time_is_told_so)
{
	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	meddle_again(0, 0, NULL, &w); /* always ahead: it is asked before each of the batch's transactions is */
	const struct call *call = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}");

	TURN_UNTIL(&w.store, call->status);
	EXPECT_EQ(call->status, 429);
	EXPECT_STR(call->error, "TooManyRequestsException");
	EXPECT_EQ(writer_count(w.writer, WRITER_COUNT_CONTENDED), 1);
	EXPECT_EQ(writer_state(w.writer)->resource_count, 1);
	EXPECT_EQ(ask(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'n', 'spec': {}}"), 200);
}

TEST(what_another_writer_writes_is_told_and_served)
{
	static const char mesh[] = "{\"uid\":\"u\",\"version\":7,\"createdAt\":1,\"lastUpdatedAt\":1,\"spec\":{},\"tags\":{}}";

	WORLD;
	EXPECT_EQ(ask(&w, "GET", "/meshes", NULL), 200);
	buffer_clear(&w.told);
	put(&w.store, "config/resource/123456789012/us-east-1/mesh/x", mesh);
	put(&w.store, "config/resource/123456789012/eu-west-1/mesh/x", mesh);
	put(&w.store, "config/resource/123456789012/us-east-1/mesh/bad", "no JSON");
	erase(&w.store, "config/resource/123456789012/us-east-1/mesh/x");
	EXPECT_STR(buffer_string(&w.told),
		   "+mesh/x . +arn:aws:appmesh:eu-west-1:123456789012:mesh/x . -mesh/bad . -mesh/x . ");
	EXPECT_EQ(writer_count(w.writer, WRITER_COUNT_BAD_RECORDS), 1);
	meddle(&w);
	EXPECT_EQ(ask(&w, "GET", "/meshes/x", NULL), 404);
}

TEST(calls_under_way_are_answered_when_the_writer_stops)
{
	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	const struct call *sent = send(&w, "PUT", "/meshes", "{'meshName': 'n'}");
	const struct call *waits = send(&w, "PUT", "/meshes", "{'meshName': 'o'}");

	stop(&w);
	EXPECT_EQ(sent->status, 200); /* it was on its way, and the store finishes that */
	EXPECT_EQ(waits->status, 503);
	EXPECT_STR(waits->error, "ServiceUnavailableException");
}

TEST(a_body_that_is_too_large_for_a_transaction_is_refused)
{
	_cleanup_free_ char *large = calloc(1, WRITER_BODY_LIMIT_BYTES + 2);
	struct call call = { .target = API "/meshes" };

	WORLD;
	memset(large, ' ', WRITER_BODY_LIMIT_BYTES + 1);
	call.world = &w;
	call.base.done = call_done;
	call.base.request = (struct appmesh_request){ .method = SPAN("PUT"), .target = span_of(call.target), .body = span_of(large),
						      .region = "us-east-1" };
	writer_call(w.writer, &call.base);
	EXPECT_EQ(call.status, 400);
	json_decref(call.answer);
}

TEST(more_calls_than_one_transaction_takes_are_several)
{
	char body[128];

	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	const uint64_t before = writer_count(w.writer, WRITER_COUNT_BATCHES);
	for (int i = 0; i < 100; i++) {
		snprintf(body, sizeof(body), "{'virtualNodeName': 'n%d', 'spec': {}}", i);
		send(&w, "PUT", "/meshes/m/virtualNodes", body);
	}
	TURN_UNTIL(&w.store, w.answered == 101);
	for (size_t i = 0; i < w.call_count; i++) {
		EXPECT_EQ(w.calls[i].status, 200);
		EXPECT_EQ(w.calls[i].order, i + 1);
	}
	/* the first one; then 63 of two keys each, the guard being the same; then those that are left */
	EXPECT_EQ(writer_count(w.writer, WRITER_COUNT_BATCHES) - before, 3);
	EXPECT_EQ(writer_state(w.writer)->resource_count, 101);
}

/* A tag of a few bytes is written with all that its resource has. */
TEST(calls_that_write_more_than_they_bring_are_several_transactions)
{
	enum { NODES = 10, TAG_BYTES = 200 * 1024 };
	_cleanup_free_ char *tag = calloc(1, TAG_BYTES + 1), *record = NULL;
	char text[128];

	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	memset(tag, 't', TAG_BYTES);
	EXPECT(asprintf(&record, "{\"uid\":\"u\",\"version\":1,\"createdAt\":1,\"lastUpdatedAt\":1,\"spec\":{},\"tags\":{\"k\":\"%s\"}}", tag) > 0);
	for (int i = 0; i < NODES; i++) {
		snprintf(text, sizeof(text), "config/resource/123456789012/us-east-1/virtualNode/m/n%d", i);
		put(&w.store, text, record);
	}
	const uint64_t before = writer_count(w.writer, WRITER_COUNT_BATCHES);
	send(&w, "PUT", "/meshes", "{'meshName': 'first'}");
	for (int i = 0; i < NODES; i++) {
		snprintf(text, sizeof(text), "/tag?resourceArn=arn:aws:appmesh:us-east-1:123456789012:mesh/m/virtualNode/n%d", i);
		send(&w, "PUT", text, "{'tags': [{'key': 'l', 'value': 'v'}]}");
	}
	TURN_UNTIL(&w.store, w.answered == w.call_count);
	for (size_t i = 0; i < w.call_count; i++) {
		if (w.calls[i].status != 200)
			fail_msg("call %zu: %s", i, w.calls[i].message);
		EXPECT_EQ(w.calls[i].order, i + 1);
	}
	EXPECT_EQ(writer_count(w.writer, WRITER_COUNT_BATCHES) - before, 3); /* the first one; six; four */
}

/* A store whose transactions stay where they are until the test ends them. */
static struct store_request *held;

static void hold(struct store *store, struct store_request *request)
{
	(void)store;
	EXPECT(!held);
	held = request;
}

static void fail_held(struct store *store)
{
	struct store_request *request = held;

	EXPECT(request);
	held = NULL;
	request->result = error_set(&request->err, -ENOSPC, "cannot write the store file: database or disk is full");
	store_complete(store, request);
}

TEST(a_store_that_fails_fails_those_that_write_and_nobody_else)
{
	static const struct store_backend holding = { .submit = hold };

	WORLD;
	EXPECT_EQ(ask(&w, "PUT", "/meshes", "{'meshName': 'm'}"), 200);
	const struct store_backend *const usual = w.store.store->backend;
	w.store.store->backend = &holding;
	const struct call *first = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'a', 'spec': {}}");
	const struct call *read = send(&w, "GET", "/meshes/m/virtualNodes", NULL);
	const struct call *write = send(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'b', 'spec': {}}");
	const struct call *refused = send(&w, "PUT", "/meshes", "{'meshName': 'm'}");
	const struct call *unseen = send(&w, "GET", "/meshes/m/virtualNodes/b", NULL);

	fail_held(w.store.store);
	EXPECT_STR(first->error, "InternalServerErrorException");
	EXPECT_CONTAINS(first->message, "disk is full");
	EXPECT_EQ(read->status, 0); /* behind it in its batch is a write */
	fail_held(w.store.store);
	EXPECT(!held);
	w.store.store->backend = usual;
	EXPECT_EQ(read->status, 200);
	EXPECT_EQ(json_path_count(read->answer, "virtualNodes"), 0);
	EXPECT_STR(write->error, "InternalServerErrorException");
	EXPECT_STR(refused->error, "ConflictException");
	EXPECT_STR(unseen->error, "NotFoundException");
	EXPECT_EQ(writer_count(w.writer, WRITER_COUNT_FAILED), 2);
	EXPECT_EQ(ask(&w, "PUT", "/meshes/m/virtualNodes", "{'virtualNodeName': 'a', 'spec': {}}"), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_wait_until_what_is_stored_has_been_read),
		cmocka_unit_test(an_answer_comes_when_the_write_is_in_the_store_and_told),
		cmocka_unit_test(writes_that_come_while_one_is_on_its_way_are_one_transaction),
		cmocka_unit_test(calls_of_a_batch_see_what_those_before_them_write),
		cmocka_unit_test(what_is_planned_is_what_is_committed_and_told),
		cmocka_unit_test(who_meets_another_writer_is_planned_again_on_what_that_one_wrote),
		cmocka_unit_test(who_meets_other_writers_all_the_time_is_told_so),
		cmocka_unit_test(what_another_writer_writes_is_told_and_served),
		cmocka_unit_test(calls_under_way_are_answered_when_the_writer_stops),
		cmocka_unit_test(a_body_that_is_too_large_for_a_transaction_is_refused),
		cmocka_unit_test(more_calls_than_one_transaction_takes_are_several),
		cmocka_unit_test(calls_that_write_more_than_they_bring_are_several_transactions),
		cmocka_unit_test(a_store_that_fails_fails_those_that_write_and_nobody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
