/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/control/writer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/mirror.h"
#include "base/cleanup.h"
#include "base/log.h"

/* A call has its spec in the resource, and in the audit record as it came and as it is answered. */
_Static_assert(4 * WRITER_BODY_LIMIT_BYTES + 16 * 1024 <= STORE_TXN_LIMIT_BYTES, "one call fits");
#define BATCH_CALLS STORE_TXN_LIMIT /* reads, too: each is planned again where the transaction is */

#define STOPS "weftd stops"

struct batch {
	struct list calls;
	struct store_compare compares[STORE_TXN_LIMIT];
	struct store_op ops[STORE_TXN_LIMIT]; /* strings are the calls' */
	size_t compare_count, op_count, bytes;
	unsigned int attempts;
};

struct writer {
	struct store *store;
	struct mirror *mirror;
	const struct appmesh_settings *settings;
	struct writer_callbacks callbacks;
	struct appmesh_state state;
	struct list queue;
	struct batch batch;
	bool in_flight; /* the batch waits for its transaction */
	bool running;
	bool stopped;
	uint64_t counts[WRITER_COUNTS];
};

static const char *const count_names[WRITER_COUNTS] = {
	[WRITER_COUNT_BATCHES] = "batches",	[WRITER_COUNT_WRITES] = "writes", [WRITER_COUNT_RETRIES] = "retries",
	[WRITER_COUNT_CONTENDED] = "contended", [WRITER_COUNT_FAILED] = "failed", [WRITER_COUNT_BAD_RECORDS] = "bad-records",
};

const char *writer_count_name(enum writer_count which)
{
	return count_names[which];
}

uint64_t writer_count(const struct writer *writer, enum writer_count which)
{
	return writer->counts[which];
}

const struct appmesh_state *writer_state(const struct writer *writer)
{
	return &writer->state;
}

/* --- what is committed -------------------------------------------------------------------------------------------------------- */

static void take_entry(struct writer *writer, const char *key, const struct store_entry *entry)
{
	struct error err = {};
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	if (!entry) {
		appmesh_state_remove(&writer->state, key);
		return;
	}
	if (appmesh_state_put(&writer->state, key, entry->value, entry->value_bytes, entry->revision, &err) == 0)
		return;
	writer->counts[WRITER_COUNT_BAD_RECORDS]++;
	log_error("what is stored is no record, and is left out", LOG_F("key", LOG_STR(key)),
		  LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
}

static struct store_op *find_op(struct batch *batch, const char *key)
{
	for (size_t i = 0; i < batch->op_count; i++)
		if (strcmp(batch->ops[i].key, key) == 0)
			return &batch->ops[i];
	return NULL;
}

/* What was planned here, and so is there already: nothing is parsed and checked once more. */
static bool take_planned(struct writer *writer, const struct store_entry *entry)
{
	const struct store_op *op = entry && writer->in_flight ? find_op(&writer->batch, entry->key) : NULL;

	return op && op->value && op->value_bytes == entry->value_bytes && memcmp(op->value, entry->value, op->value_bytes) == 0 &&
	       appmesh_state_confirm(&writer->state, entry->key, entry->revision);
}

static void mirror_changed(const struct store_entry *before, const struct store_entry *after, void *arg)
{
	struct writer *writer = arg;
	const char *key = after ? after->key : before->key;
	char full_name[RESOURCE_FULL_NAME_BYTES];
	const struct appmesh_resource *resource;

	if (!take_planned(writer, after))
		take_entry(writer, key, after);
	if (!writer->callbacks.changed || appmesh_key_name(&writer->state, key, full_name) < 0)
		return;
	resource = appmesh_find_key(&writer->state, key);
	writer->callbacks.changed(resource ? resource->resource : NULL, full_name, writer->callbacks.arg);
}

static void run(struct writer *writer);

static void mirror_settled(uint64_t revision, void *arg)
{
	struct writer *writer = arg;

	(void)revision;
	if (writer->callbacks.settled)
		writer->callbacks.settled(writer->callbacks.arg);
	run(writer);
}

static void mirror_failed(int result, const struct error *err, void *arg)
{
	(void)result, (void)arg;
	log_error("the configuration cannot be read from the store; it is tried again", LOG_F("error", LOG_STR(err->message)));
}

/* --- a batch ------------------------------------------------------------------------------------------------------------------ */

/* As the store counts them; what an operation is written over with counts as well. */
static size_t bytes_of(const char *key, const char *value)
{
	return strlen(key) + 1 + (value ? strlen(value) : 0);
}

static void add_op(struct batch *batch, const char *key, const char *value)
{
	struct store_op *op = find_op(batch, key);

	if (!op) {
		assert(batch->op_count < STORE_TXN_LIMIT);
		op = &batch->ops[batch->op_count++];
	}
	*op = (struct store_op){ .key = key, .value = value, .value_bytes = value ? strlen(value) : 0 };
	batch->bytes += bytes_of(key, value);
}

/* What the batch writes itself is compared by whoever wrote it first. */
static void add_compare(struct batch *batch, const struct appmesh_compare *compare)
{
	if (find_op(batch, compare->key))
		return;
	for (size_t i = 0; i < batch->compare_count; i++)
		if (strcmp(batch->compares[i].key, compare->key) == 0)
			return;
	assert(batch->compare_count < STORE_TXN_LIMIT);
	batch->compares[batch->compare_count++] = (struct store_compare){ compare->key, compare->revision };
	batch->bytes += bytes_of(compare->key, NULL);
}

static void clear(struct batch *batch)
{
	batch->op_count = batch->compare_count = batch->bytes = 0;
}

/* Of what the call writes, beside those before it. */
static bool has_room(const struct batch *batch, const struct writer_call *call)
{
	const struct appmesh_change *change = &call->answer.change;
	size_t bytes = batch->bytes;

	for (size_t i = 0; i < change->compare_count; i++)
		bytes += bytes_of(change->compares[i].key, NULL);
	for (size_t i = 0; i < change->op_count; i++)
		bytes += bytes_of(change->ops[i].key, change->ops[i].value);
	if (call->record_key)
		bytes += bytes_of(call->record_key, call->record_value);
	return bytes <= STORE_TXN_LIMIT_BYTES && batch->op_count + change->op_count + 1 <= STORE_TXN_LIMIT &&
	       batch->compare_count + change->compare_count <= STORE_TXN_LIMIT;
}

/* Those behind it are planned on this. */
static int apply(struct writer *writer, const struct appmesh_op *op)
{
	if (op->value)
		return appmesh_state_put(&writer->state, op->key, op->value, strlen(op->value), 0, NULL);
	appmesh_state_remove(&writer->state, op->key);
	return 0;
}

static void clear_record(struct writer_call *call)
{
	free(call->record_key);
	free(call->record_value);
	call->record_key = call->record_value = NULL;
}

/* False: what it writes finds no room in the transaction, and is not planned. */
static bool plan(struct writer *writer, struct writer_call *call)
{
	struct batch *batch = &writer->batch;
	struct appmesh_change *change;

	appmesh_answer_done(&call->answer);
	clear_record(call);
	appmesh_handle(&writer->state, writer->settings, &call->request, &call->answer);
	change = &call->answer.change;
	if (!change->op_count)
		return true;
	if (call->record)
		call->record(call, &call->record_key, &call->record_value);
	if (batch->op_count && !has_room(batch, call))
		return false;
	for (size_t i = 0; i < change->compare_count; i++)
		add_compare(batch, &change->compares[i]);
	for (size_t i = 0; i < change->op_count; i++) {
		add_op(batch, change->ops[i].key, change->ops[i].value);
		if (apply(writer, &change->ops[i]) < 0) { /* no memory: what the store then has is put here by its watch */
			appmesh_state_remove(&writer->state, change->ops[i].key);
			log_error("out of memory: what is written is seen late", LOG_F("key", LOG_STR(change->ops[i].key)));
		}
	}
	if (call->record_key)
		add_op(batch, call->record_key, call->record_value);
	return true;
}

/* The state is what is committed again. */
static void undo(struct writer *writer)
{
	struct batch *batch = &writer->batch;

	for (size_t i = 0; i < batch->op_count; i++)
		take_entry(writer, batch->ops[i].key, mirror_get(writer->mirror, batch->ops[i].key));
	clear(batch);
}

/* It waits again, before all others. */
static void put_back(struct writer *writer, struct writer_call *call)
{
	appmesh_answer_done(&call->answer);
	clear_record(call);
	list_remove(&call->link);
	list_append(writer->queue.next, &call->link);
}

static void answer_batch(struct writer *writer)
{
	struct batch *batch = &writer->batch;
	struct list calls;

	list_init(&calls);
	list_for_each_safe(it, &batch->calls) {
		list_remove(it);
		list_append(&calls, it);
	}
	clear(batch);
	batch->attempts = 0;
	list_for_each_safe(it, &calls) {
		struct writer_call *call = container_of(it, struct writer_call, link);

		list_remove(it);
		clear_record(call);
		call->done(call);
	}
}

/* Those that write; what others were told is what they would have written, so they are planned again. */
static void fail_batch(struct writer *writer, enum writer_count which, const struct error *err)
{
	struct list *const calls = &writer->batch.calls;

	for (struct list *it = calls->prev, *before; it != calls; it = before) {
		struct writer_call *call = container_of(it, struct writer_call, link);

		before = it->prev;
		if (!call->answer.change.op_count && !writer->stopped) {
			put_back(writer, call);
			continue;
		}
		writer->counts[which]++;
		appmesh_answer_error(&call->answer, err);
	}
	answer_batch(writer);
}

static void submit(struct writer *writer);

static void written(int result, uint64_t revision, const struct error *store_err, void *arg)
{
	struct writer *writer = arg;
	struct error err = {};

	(void)revision;
	writer->in_flight = false;
	if (result == 0) {
		answer_batch(writer);
		run(writer);
		return;
	}
	if (writer->stopped) {
		error_set(&err, -ESHUTDOWN, STOPS);
		fail_batch(writer, WRITER_COUNT_FAILED, &err);
		return;
	}
	undo(writer);
	if (result == -ECANCELED && ++writer->batch.attempts < WRITER_ATTEMPTS) {
		writer->counts[WRITER_COUNT_RETRIES]++;
		submit(writer);
		run(writer); /* where none of them writes any more */
		return;
	}
	if (result == -ECANCELED) {
		error_set(&err, -EAGAIN, "others change the same mesh all the time: try again");
		fail_batch(writer, WRITER_COUNT_CONTENDED, &err);
	} else {
		log_error("the store failed", LOG_F("error", LOG_STR(store_err->message)));
		error_set(&err, result == -EROFS || result == -EAGAIN ? result : -EIO, "the store failed: %s", store_err->message);
		fail_batch(writer, WRITER_COUNT_FAILED, &err);
	}
	run(writer);
}

/* Plans the batch's calls, as many as one transaction takes, and sends off what they write. */
static void submit(struct writer *writer)
{
	struct batch *batch = &writer->batch;
	struct error err = {};
	size_t writes = 0;
	int r;

	list_for_each(it, &batch->calls) {
		struct writer_call *call = container_of(it, struct writer_call, link);

		if (!plan(writer, call)) {
			struct list *const last = it->prev;

			while (batch->calls.prev != last)
				put_back(writer, container_of(batch->calls.prev, struct writer_call, link));
			break;
		}
		writes += call->answer.change.op_count > 0;
	}
	if (!batch->op_count) {
		answer_batch(writer);
		return;
	}
	writer->counts[WRITER_COUNT_BATCHES]++;
	writer->counts[WRITER_COUNT_WRITES] += writes;
	writer->in_flight = true;
	r = store_txn(writer->store, batch->compares, batch->compare_count, batch->ops, batch->op_count, written, writer, &err);
	if (r < 0)
		written(r, 0, &err, writer);
}

static void fill(struct writer *writer)
{
	size_t count = 0;

	list_for_each_safe(it, &writer->queue) {
		if (count++ == BATCH_CALLS)
			return;
		list_remove(it);
		list_append(&writer->batch.calls, it);
	}
}

static void run(struct writer *writer)
{
	if (writer->running || writer->stopped || (writer->store && !mirror_ready(writer->mirror)))
		return;
	writer->running = true;
	while (!writer->in_flight && !list_empty(&writer->queue)) {
		fill(writer);
		submit(writer);
	}
	writer->running = false;
}

void writer_call(struct writer *writer, struct writer_call *call)
{
	struct error err = {};

	if (call->request.body.length > WRITER_BODY_LIMIT_BYTES)
		error_set(&err, -EINVAL, "the body has more than %d bytes", WRITER_BODY_LIMIT_BYTES);
	else if (writer->stopped)
		error_set(&err, -ESHUTDOWN, STOPS);
	if (err.code) {
		appmesh_answer_error(&call->answer, &err);
		call->done(call);
		return;
	}
	list_append(&writer->queue, &call->link);
	run(writer);
}

int writer_show(struct writer *writer, const char *key, const struct resource *resource, int64_t now_ms)
{
	if (resource)
		return appmesh_state_show(&writer->state, key, resource, now_ms);
	appmesh_state_remove(&writer->state, key);
	return 0;
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

int writer_new(struct store *store, const char *home_region, const struct appmesh_settings *settings, const struct writer_callbacks *callbacks,
	       struct writer **ret_writer, struct error *err)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	int r;

	if (!writer)
		return error_set(err, -ENOMEM, "out of memory");
	writer->store = store;
	writer->settings = settings;
	if (callbacks)
		writer->callbacks = *callbacks;
	appmesh_state_init(&writer->state, home_region);
	list_init(&writer->queue);
	list_init(&writer->batch.calls);
	r = store ? mirror_new(store, APPMESH_PREFIX,
			       &(struct mirror_callbacks){ mirror_changed, mirror_settled, mirror_failed, writer }, &writer->mirror, err) :
		    0;
	if (r < 0) {
		appmesh_state_done(&writer->state);
		free(writer);
		return r;
	}
	*ret_writer = writer;
	return 0;
}

void writer_stop(struct writer *writer)
{
	struct error err = {};

	error_set(&err, -ESHUTDOWN, STOPS);
	writer->stopped = true;
	writer->mirror = mirror_free(writer->mirror);
	list_for_each_safe(it, &writer->queue) {
		struct writer_call *call = container_of(it, struct writer_call, link);

		list_remove(it);
		appmesh_answer_error(&call->answer, &err);
		call->done(call);
	}
}

struct writer *writer_free(struct writer *writer)
{
	if (!writer)
		return NULL;
	appmesh_state_done(&writer->state);
	free(writer);
	return NULL;
}
