/* SPDX-License-Identifier: Apache-2.0 */
/* The history in the state. An entry is a head, "history/SEQUENCE", and below it its changes, "history/SEQUENCE/INDEX"; what is held
 * is a head, "held", and the resources, "held/INDEX". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/history/history_internal.h"
#include "base/cleanup.h"

#define PREFIX "history/"
#define HELD "held"
#define KEY_BYTES 48
#define DIGEST_DIGITS 16
/* An entry with more changes is not written: writing takes place on the loop. */
#define CHANGES_WRITTEN 2000

/* --- transactions ------------------------------------------------------------------------------------------------------------- */

struct write { /* a key and its text; NULL deletes it */
	char key[KEY_BYTES];
	char *text;
};

struct writes {
	struct write *list;
	size_t count, capacity;
};

static void cleanup_writes(struct writes *writes)
{
	for (size_t i = 0; i < writes->count; i++)
		free(writes->list[i].text);
	free(writes->list);
}

static struct write *writes_add(struct writes *writes)
{
	if (writes->count == writes->capacity) {
		const size_t capacity = writes->capacity ? writes->capacity * 2 : 16;
		struct write *grown = realloc(writes->list, capacity * sizeof(*grown));

		if (!grown)
			return NULL;
		writes->list = grown;
		writes->capacity = capacity;
	}
	writes->list[writes->count] = (struct write){};
	return &writes->list[writes->count++];
}

/* Takes `value`; NULL, for want of memory, is what it fails by. */
static int writes_put(struct writes *writes, json_t *value, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int writes_put(struct writes *writes, json_t *value, const char *format, ...)
{
	struct write *write = value ? writes_add(writes) : NULL;
	va_list args;

	if (write) {
		va_start(args, format);
		vsnprintf(write->key, sizeof(write->key), format, args);
		va_end(args);
		write->text = json_dumps(value, JSON_COMPACT);
	}
	json_decref(value);
	return write && write->text ? 0 : -ENOMEM;
}

static int writes_delete(struct writes *writes, const char *key)
{
	struct write *write = writes_add(writes);

	if (!write)
		return -ENOMEM;
	snprintf(write->key, sizeof(write->key), "%s", key);
	return 0;
}

static int delete_each(const struct state_entry *entry, void *arg)
{
	return strlen(entry->key) < KEY_BYTES ? writes_delete(arg, entry->key) : 0;
}

static int writes_do(const struct writes *writes, struct state *state, struct error *err)
{
	_cleanup_free_ struct state_op *ops = calloc(writes->count + 1, sizeof(*ops));

	if (!ops)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < writes->count; i++) {
		const struct write *write = &writes->list[i];

		ops[i] = (struct state_op){ .key = write->key, .value = write->text, .value_bytes = write->text ? strlen(write->text) : 0 };
	}
	return state_txn(state, NULL, 0, ops, writes->count, NULL, err);
}

/* --- resources ---------------------------------------------------------------------------------------------------------------- */

/* NULL for NULL, as JSON has it. */
static json_t *resource_text(const struct resource *resource)
{
	if (!resource)
		return json_null();
	return json_pack("{s:s?, s:s?, s:o}", "account", resource->account, "region", resource->region, "document",
			 resource_document(resource));
}

static int resource_read(const json_t *text, struct resource **ret_resource, struct error *err)
{
	const struct resource_realm realm = { json_path_string(text, "account"), json_path_string(text, "region") };
	const json_t *document = json_path(text, "document");

	if (!text || json_is_null(text)) {
		*ret_resource = NULL;
		return 0;
	}
	if (!document)
		return error_set_field(err, -EPROTO, "document", "is missing");
	if (!realm.account != !realm.region)
		return error_set_field(err, -EPROTO, realm.account ? "region" : "account", "is missing");
	return resource_new(document, realm.account ? &realm : NULL, NULL, ret_resource, err);
}

/* --- entries ------------------------------------------------------------------------------------------------------------------ */

static bool is_written_whole(const struct history_entry *entry)
{
	return entry->change_count <= CHANGES_WRITTEN;
}

static int write_entry(struct writes *writes, const struct history_record *record)
{
	const struct history_entry *entry = &record->entry;
	const bool whole = is_written_whole(entry);
	const enum history_cause cause = whole ? entry->cause : HISTORY_START;
	char digest[DIGEST_DIGITS + 1];
	int r;

	snprintf(digest, sizeof(digest), "%0*" PRIx64, DIGEST_DIGITS, record->digest);
	r = writes_put(writes,
		       json_pack("{s:I, s:I, s:s, s:I, s:s, s:I}", "generation", (json_int_t)entry->first, "at", (json_int_t)entry->wall_ns,
				 "cause", history_cause_name(cause), "asked", (json_int_t)entry->asked, "digest", digest, "changes",
				 (json_int_t)(whole ? entry->change_count : 0)),
		       PREFIX "%012" PRIu64, record->sequence);
	for (size_t i = 0; r == 0 && whole && i < entry->change_count; i++)
		r = writes_put(writes,
			       json_pack("{s:o, s:o}", "before", resource_text(entry->changes[i].before), "now",
					 resource_text(entry->changes[i].now)),
			       PREFIX "%012" PRIu64 "/%06zu", record->sequence, i);
	return r;
}

static int delete_entry(struct writes *writes, struct state *state, uint64_t sequence)
{
	char prefix[KEY_BYTES];

	snprintf(prefix, sizeof(prefix), PREFIX "%012" PRIu64, sequence);
	return state_list(state, prefix, NULL, 0, delete_each, writes, NULL);
}

int history_write(struct history *history, size_t forgotten, struct error *err)
{
	const struct history_record *record = &history->records[history->count - 1];
	_cleanup_(cleanup_writes) struct writes writes = {};
	int r = write_entry(&writes, record);

	if (!is_written_whole(&record->entry)) /* what is before it leads nowhere after a restart */
		forgotten = history->count - 1;
	for (size_t i = 0; r == 0 && i < forgotten; i++) {
		if (history->records[i].sequence)
			r = delete_entry(&writes, history->state, history->records[i].sequence);
		history->records[i].sequence = 0;
	}
	if (r < 0)
		return error_set(err, r, "cannot write the history of changes: %s", strerror(-r));
	return writes_do(&writes, history->state, err);
}

struct reading {
	struct history *history;
	size_t missing; /* changes of the newest record */
	size_t refused; /* entries */
};

/* The newest record does not read: neither it nor those before it lead anywhere. */
static void refuse(struct reading *reading)
{
	reading->refused += reading->history->count;
	history_forget(reading->history, reading->history->count);
	reading->missing = 0;
}

/* False for anything but so many digits: earlier builds wrote twice as many, of another hash. */
static bool digest_read(const char *text, uint64_t *ret_digest)
{
	return text && strlen(text) == DIGEST_DIGITS && strspn(text, "0123456789abcdef") == DIGEST_DIGITS &&
	       sscanf(text, "%" SCNx64, ret_digest) == 1;
}

static int read_head(struct reading *reading, uint64_t sequence, const json_t *head)
{
	const char *digest = json_path_string(head, "digest"), *cause = json_path_string(head, "cause");
	const int64_t generation = json_path_int(head, "generation", 0), changes = json_path_int(head, "changes", -1);
	struct history_record record = {
		.entry = { .first = generation, .last = generation, .wall_ns = json_path_int(head, "at", 0),
			   .asked = json_path_int(head, "asked", 0), .cause = HISTORY_CAUSE_COUNT },
		.sequence = sequence,
	};

	if (reading->missing)
		refuse(reading);
	for (enum history_cause c = 0; cause && c < HISTORY_CAUSE_COUNT; c++)
		if (!strcmp(cause, history_cause_name(c)))
			record.entry.cause = c;
	if (generation <= 0 || record.entry.cause == HISTORY_CAUSE_COUNT || changes < 0 || changes > CHANGES_WRITTEN ||
	    !digest_read(digest, &record.digest)) {
		refuse(reading);
		reading->refused++;
		return 0;
	}
	if (record.entry.cause == HISTORY_START)
		history_forget(reading->history, reading->history->count);
	reading->missing = changes;
	return history_append(reading->history, &record);
}

static int read_change(struct reading *reading, uint64_t sequence, const json_t *text)
{
	struct history *history = reading->history;
	struct history_record *record = history->count ? &history->records[history->count - 1] : NULL;
	struct history_entry *entry = record ? &record->entry : NULL;
	struct history_change *grown;
	struct resource *before = NULL, *now = NULL;

	if (!record || record->sequence != sequence || !reading->missing)
		return 0; /* of an entry that was refused */
	grown = realloc(entry->changes, (entry->change_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	entry->changes = grown;
	if (resource_read(json_path(text, "before"), &before, NULL) < 0 || resource_read(json_path(text, "now"), &now, NULL) < 0 ||
	    (!before && !now)) {
		resource_unref(before);
		resource_unref(now);
		refuse(reading);
		return 0;
	}
	entry->changes[entry->change_count++] = (struct history_change){ .before = before, .now = now };
	history->changes++;
	reading->missing--;
	return 0;
}

static int read_key(const struct state_entry *entry, void *arg)
{
	struct reading *reading = arg;
	_cleanup_json_ json_t *value = NULL;
	uint64_t sequence;
	char slash = 0;

	if (sscanf(entry->key, PREFIX "%" SCNu64 "%c", &sequence, &slash) < 1)
		return 0;
	reading->history->sequence = MAX(reading->history->sequence, sequence);
	json_parse(entry->value, entry->value_bytes, &value, NULL);
	return slash == '/' ? read_change(reading, sequence, value) : read_head(reading, sequence, value);
}

struct pruning {
	struct writes writes;
	uint64_t oldest; /* sequence that stays */
};

static int prune_key(const struct state_entry *entry, void *arg)
{
	struct pruning *pruning = arg;
	uint64_t sequence;

	if (sscanf(entry->key, PREFIX "%" SCNu64, &sequence) == 1 && sequence >= pruning->oldest)
		return 0;
	return delete_each(entry, &pruning->writes);
}

/* What was refused goes from the state as well. */
static int prune(struct history *history)
{
	struct pruning pruning = { .oldest = history->count ? history->records[0].sequence : UINT64_MAX };
	int r = state_list(history->state, PREFIX, NULL, 0, prune_key, &pruning, NULL);

	if (r == 0)
		r = writes_do(&pruning.writes, history->state, NULL);
	cleanup_writes(&pruning.writes);
	return r;
}

int history_read(struct history *history, size_t *ret_refused)
{
	struct reading reading = { .history = history };
	_cleanup_json_ json_t *head = NULL;
	_cleanup_free_ void *text = NULL;
	size_t size;
	int r = state_list(history->state, PREFIX, NULL, 0, read_key, &reading, NULL);

	if (r < 0)
		return r;
	if (reading.missing)
		refuse(&reading);
	*ret_refused = reading.refused;
	if (reading.refused && (r = prune(history)) < 0)
		return r;
	r = state_get(history->state, HELD, &text, &size, NULL);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	json_parse(text, size, &head, NULL);
	history->hold = (struct history_hold){ json_path_int(head, "generation", 0), json_path_int(head, "since", 0) };
	history->held_count = json_path_int(head, "resources", 0);
	return 0;
}

/* --- what is held ------------------------------------------------------------------------------------------------------------- */

struct holding {
	struct writes *writes;
	size_t count;
};

static int hold_resource(const struct resource *resource, void *arg)
{
	struct holding *holding = arg;

	return writes_put(holding->writes, resource_text(resource), HELD "/%06zu", holding->count++);
}

int history_hold(struct history *history, const struct history_hold *hold, const struct resources *resources, struct error *err)
{
	_cleanup_(cleanup_writes) struct writes writes = {};
	struct holding holding = { &writes, 0 };
	int r = resources_each(resources, hold_resource, &holding);

	for (size_t i = holding.count; r == 0 && i < history->held_count; i++) {
		char key[KEY_BYTES];

		snprintf(key, sizeof(key), HELD "/%06zu", i);
		r = writes_delete(&writes, key);
	}
	if (r == 0)
		r = writes_put(&writes,
			       json_pack("{s:I, s:I, s:I}", "generation", (json_int_t)hold->generation, "since",
					 (json_int_t)hold->since_wall_ns, "resources", (json_int_t)holding.count),
			       HELD);
	if (r < 0)
		return error_set(err, r, "cannot keep what is held: %s", strerror(-r));
	r = writes_do(&writes, history->state, err);
	if (r < 0)
		return r;
	history->hold = *hold;
	history->held_count = holding.count;
	return 0;
}

int history_release(struct history *history, struct error *err)
{
	_cleanup_(cleanup_writes) struct writes writes = {};
	int r = state_list(history->state, HELD "/", NULL, 0, delete_each, &writes, NULL);

	if (r == 0)
		r = writes_delete(&writes, HELD);
	if (r < 0)
		return error_set(err, r, "cannot let go of what is held: %s", strerror(-r));
	r = writes_do(&writes, history->state, err);
	if (r < 0)
		return r;
	history->hold = (struct history_hold){};
	history->held_count = 0;
	return 0;
}

struct held_reading {
	struct resources *resources;
	struct error *err;
	size_t count;
};

static int held_resource(const struct state_entry *entry, void *arg)
{
	struct held_reading *reading = arg;
	_cleanup_json_ json_t *text = NULL;
	struct resource *resource = NULL;
	int r = json_parse(entry->value, entry->value_bytes, &text, reading->err);

	if (r == 0)
		r = resource_read(text, &resource, reading->err);
	if (r == 0 && !resource)
		r = error_set(reading->err, -EPROTO, "is no resource");
	if (r < 0) {
		error_prefix(reading->err, "the resources that are held do not read: '%s'", entry->key);
		return -EPROTO;
	}
	r = resources_add(reading->resources, resource, reading->err);
	resource_unref(resource);
	reading->count++;
	return r;
}

int history_held_resources(const struct history *history, struct resources *resources, struct error *err)
{
	struct held_reading reading = { resources, err, 0 };
	int r = state_list(history->state, HELD "/", NULL, 0, held_resource, &reading, NULL);

	if (r == 0 && reading.count != history->held_count)
		return error_set(err, -EPROTO, "the resources that are held do not read: %zu are there of %zu", reading.count,
				 history->held_count);
	return r;
}
