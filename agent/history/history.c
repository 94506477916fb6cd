/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/history/history_internal.h"
#include "base/cleanup.h"
#include "base/hash.h"

static const char *const cause_names[HISTORY_CAUSE_COUNT] = {
	[HISTORY_START] = "start",	 [HISTORY_RESOURCES] = "resources", [HISTORY_PLACES] = "endpoints",
	[HISTORY_ROLLBACK] = "rollback", [HISTORY_RESUME] = "resume",
};

const char *history_cause_name(enum history_cause cause)
{
	return cause_names[cause];
}

void history_change_done(struct history_change *change)
{
	resource_unref(change->before);
	resource_unref(change->now);
}

static void changes_free(struct history_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		history_change_done(&changes[i]);
	free(changes);
}

/* --- records ------------------------------------------------------------------------------------------------------------------ */

int history_append(struct history *history, const struct history_record *record)
{
	if (history->count == history->capacity) {
		const size_t capacity = history->capacity ? history->capacity * 2 : 16;
		struct history_record *grown = realloc(history->records, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		history->records = grown;
		history->capacity = capacity;
	}
	history->records[history->count++] = *record;
	history->changes += record->entry.change_count;
	return 0;
}

void history_forget(struct history *history, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct history_entry *entry = &history->records[i].entry;

		history->changes -= entry->change_count;
		changes_free(entry->changes, entry->change_count);
	}
	history->count -= count;
	if (history->count && count)
		memmove(history->records, history->records + count, history->count * sizeof(*history->records));
}

/* How many of the oldest are too many. The newest always stays. */
static size_t surplus(const struct history *history)
{
	size_t count = history->count, changes = history->changes, n = 0;

	while (count > 1 && (count > HISTORY_ENTRIES || changes > HISTORY_CHANGES)) {
		changes -= history->records[n++].entry.change_count;
		count--;
	}
	return n;
}

int history_open(struct state *state, struct history **ret_history, size_t *ret_refused, struct error *err)
{
	struct history *history = calloc(1, sizeof(*history));
	size_t refused = 0;
	int r;

	if (!history)
		return error_set(err, -ENOMEM, "out of memory");
	history->state = state;
	history->cause = HISTORY_CAUSE_COUNT;
	r = history_read(history, &refused);
	if (r < 0) {
		history_close(history);
		return error_set(err, r, "cannot read the history of changes: %s", strerror(-r));
	}
	if (ret_refused)
		*ret_refused = refused;
	*ret_history = history;
	return 0;
}

struct history *history_close(struct history *history)
{
	if (!history)
		return NULL;
	history_forget(history, history->count);
	free(history->records);
	changes_free(history->noted, history->noted_count);
	free(history);
	return NULL;
}

/* --- what is noted ------------------------------------------------------------------------------------------------------------ */

static const char *change_name(const struct history_change *change)
{
	return (change->now ?: change->before)->full_name;
}

/* Of a set of resources, in whatever order it came to be, is the XOR of these: each is in it once, or twice and so not at all. */
static uint64_t digest_of(const struct resource *resource)
{
	_cleanup_json_ json_t *tags = resource ? resource_tags(resource) : NULL;

	if (!resource)
		return 0;
	return hash_join(hash_join(hash_string(resource->full_name), resource->spec_hash), json_hash(tags));
}

static int by_name_then_time(const void *left, const void *right)
{
	const struct history_change *a = left, *b = right;
	const int names = strcmp(change_name(a), change_name(b));

	return names ?: (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static bool same(const struct resource *a, const struct resource *b)
{
	return a && b ? resource_equal(a, b) : a == b;
}

/* One change for each name, from what was there at first to what is there at last; none where that is the same. */
static void noted_fold(struct history *history)
{
	struct history_change *noted = history->noted;
	size_t kept = 0;

	if (history->noted_count)
		qsort(noted, history->noted_count, sizeof(*noted), by_name_then_time);
	for (size_t i = 0, end; i < history->noted_count; i = end) {
		struct history_change whole = { .before = noted[i].before };

		for (end = i + 1; end < history->noted_count && !strcmp(change_name(&noted[end]), change_name(&noted[i])); end++)
			;
		whole.now = noted[end - 1].now;
		for (size_t n = i + 1; n < end; n++) {
			resource_unref(noted[n - 1].now);
			resource_unref(noted[n].before);
		}
		if (same(whole.before, whole.now))
			history_change_done(&whole);
		else
			noted[kept++] = whole;
	}
	history->noted_count = kept;
}

static int noted_add(struct history *history, const struct resource *before, const struct resource *now)
{
	if (history->noted_count == history->noted_capacity)
		noted_fold(history);
	if (history->noted_count * 2 >= history->noted_capacity) {
		const size_t capacity = history->noted_capacity ? history->noted_capacity * 2 : 16;
		struct history_change *grown = realloc(history->noted, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		history->noted = grown;
		history->noted_capacity = capacity;
	}
	history->noted[history->noted_count++] = (struct history_change){
		.before = before ? resource_ref(before) : NULL,
		.now = now ? resource_ref(now) : NULL,
		.sequence = ++history->note_sequence,
	};
	return 0;
}

int history_note(struct history *history, const struct resource *before, const struct resource *now)
{
	const int r = history->started ? noted_add(history, before, now) : 0;

	if (r == 0)
		history->digest ^= digest_of(before) ^ digest_of(now);
	return r;
}

void history_because(struct history *history, enum history_cause cause, uint64_t asked)
{
	history->cause = cause;
	history->asked = asked;
}

/* --- generations -------------------------------------------------------------------------------------------------------------- */

/* The newest record is one that goes to the state. */
static int record_kept(struct history *history, struct error *err)
{
	const size_t forgotten = surplus(history);
	const int r = history_write(history, forgotten, err);

	history_forget(history, forgotten);
	return r;
}

static int places_changed(struct history *history, uint64_t generation, uint64_t now_wall_ns)
{
	struct history_entry *last = history->count ? &history->records[history->count - 1].entry : NULL;
	const struct history_record record = {
		.entry = { .first = generation, .last = generation, .wall_ns = now_wall_ns, .cause = HISTORY_PLACES },
		.digest = history->digest,
	};

	if (last && last->cause == HISTORY_PLACES) {
		last->last = generation;
		last->wall_ns = now_wall_ns;
		return 0;
	}
	return history_append(history, &record);
}

/* What earlier agents left leads to the resources of this one, or is of no use to it. */
static int start(struct history *history, uint64_t generation, uint64_t now_wall_ns, struct error *err)
{
	const struct history_record *last = history->count ? &history->records[history->count - 1] : NULL;
	const struct history_record record = {
		.entry = { .first = generation, .last = generation, .wall_ns = now_wall_ns, .cause = HISTORY_START },
		.digest = history->digest,
		.sequence = history->sequence + 1,
	};
	int r;

	history->started = true;
	history->cause = HISTORY_CAUSE_COUNT;
	if (last && last->entry.last <= generation && last->digest == history->digest)
		return 0;
	r = history_append(history, &record);
	if (r < 0)
		return error_set(err, r, "out of memory");
	history->sequence++;
	r = history_write(history, history->count - 1, err);
	history_forget(history, history->count - 1);
	return r;
}

int history_generation(struct history *history, uint64_t generation, uint64_t now_wall_ns, struct error *err)
{
	const uint64_t before = history->newest;
	struct history_record record;
	int r;

	if (!generation)
		return 0;
	history->newest = generation;
	if (!history->started)
		return start(history, generation, now_wall_ns, err);
	noted_fold(history);
	if (!history->noted_count && history->cause == HISTORY_CAUSE_COUNT)
		return generation == before || places_changed(history, generation, now_wall_ns) == 0 ? 0 : error_set(err, -ENOMEM, "out of memory");
	record = (struct history_record){
		.entry = { .first = generation, .last = generation, .wall_ns = now_wall_ns, .asked = history->asked,
			   .cause = history->cause == HISTORY_CAUSE_COUNT ? HISTORY_RESOURCES : history->cause,
			   .changes = history->noted, .change_count = history->noted_count },
		.digest = history->digest,
		.sequence = history->sequence + 1,
	};
	r = history_append(history, &record);
	if (r < 0)
		return error_set(err, r, "out of memory");
	history->sequence++;
	history->noted = NULL;
	history->noted_count = history->noted_capacity = 0;
	history->cause = HISTORY_CAUSE_COUNT;
	return record_kept(history, err);
}

size_t history_count(const struct history *history)
{
	return history->count;
}

const struct history_entry *history_at(const struct history *history, size_t index)
{
	return &history->records[index].entry;
}

uint64_t history_oldest(const struct history *history)
{
	return history->count ? history->records[0].entry.first : 0;
}

uint64_t history_newest(const struct history *history)
{
	return history->newest;
}

int history_before(const struct history *history, uint64_t generation, uint64_t *ret_generation)
{
	for (size_t i = history->count; i-- > 1;) {
		const struct history_entry *entry = &history->records[i].entry;

		if (!entry->change_count || entry->first > generation)
			continue;
		if (entry->first <= history_oldest(history))
			return -ENOENT;
		*ret_generation = entry->first - 1;
		return 0;
	}
	return -ENOENT;
}

static int undo(const struct history_change *change, struct resources *resources)
{
	if (change->before)
		return resources_put(resources, change->before);
	return resources_remove(resources, change->now->full_name);
}

int history_undo(const struct history *history, uint64_t generation, struct resources *resources, struct error *err)
{
	int r = 0;

	if (!history_oldest(history) || generation < history_oldest(history) || generation > history->newest)
		return error_set_field(err, -ERANGE, "generation", "%" PRIu64 " is not known: those from %" PRIu64 " to %" PRIu64 " are",
				       generation, history_oldest(history), history->newest);
	for (size_t i = history->noted_count; r == 0 && i-- > 0;)
		r = undo(&history->noted[i], resources);
	for (size_t i = history->count; r == 0 && i-- > 0;) {
		const struct history_entry *entry = &history->records[i].entry;

		if (entry->first <= generation)
			break;
		for (size_t n = 0; r == 0 && n < entry->change_count; n++)
			r = undo(&entry->changes[n], resources);
	}
	return r < 0 ? error_set(err, r, "the changes since then do not undo: %s", strerror(-r)) : 0;
}

const struct history_hold *history_held(const struct history *history)
{
	return &history->hold;
}
