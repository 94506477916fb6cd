/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/store/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/loop/loop.h"
#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/time.h"

#define RETRY_FIRST_NS (100 * NSEC_PER_MSEC)
#define RETRY_LAST_NS (5 * NSEC_PER_SEC)

struct mirror {
	struct store *store;
	struct mirror_callbacks callbacks;
	struct store_records records; /* sorted by key */
	uint64_t revision;
	bool ready;
	uint64_t relists; /* lists that were begun again, or once more */

	struct store_watch *watch;
	struct loading *loading; /* a list under way */
	struct loop_timer *retry;
	uint64_t retry_ns;
	char prefix[];
};

/* Pages of one list. It is the argument of the call under way, so it outlives a mirror that is freed meanwhile. */
struct loading {
	struct mirror *mirror; /* NULL: freed */
	struct store_records records;
	uint64_t revision; /* 0: no page has come yet */
};

static struct loading *loading_free(struct loading *loading)
{
	if (!loading)
		return NULL;
	if (loading->mirror)
		loading->mirror->loading = NULL;
	store_records_done(&loading->records);
	free(loading);
	return NULL;
}

/* ---- telling ---- */

static void tell_changed(const struct mirror *mirror, const struct store_entry *before, const struct store_entry *after)
{
	if (mirror->callbacks.changed)
		mirror->callbacks.changed(before, after, mirror->callbacks.arg);
}

static void settle(struct mirror *mirror, uint64_t revision)
{
	mirror->revision = revision;
	if (mirror->callbacks.settled)
		mirror->callbacks.settled(revision, mirror->callbacks.arg);
}

/* Told once for each failure; the next try is armed. */
static void failed(struct mirror *mirror, int result, const struct error *err)
{
	mirror->watch = store_unwatch(mirror->watch);
	mirror->relists++;
	if (mirror->callbacks.failed)
		mirror->callbacks.failed(result, err, mirror->callbacks.arg);
	loop_timer_arm(mirror->retry, loop_now_ns(mirror->store->loop) + mirror->retry_ns);
	mirror->retry_ns = MIN(2 * mirror->retry_ns, RETRY_LAST_NS);
}

/* ---- watching ---- */

static void load(struct mirror *mirror);

/* Room is reserved. Returns what was there before, with its reference, or NULL. */
static const struct store_entry *take_over(struct mirror *mirror, const struct store_entry *entry)
{
	struct store_records *records = &mirror->records;
	const size_t at = store_records_find(records, entry->key, 0);
	const struct store_entry *before = at < records->count ? records->items[at] : NULL;

	if (before && strcmp(before->key, entry->key))
		before = NULL;
	if (before) {
		store_entry_ref(before);
		store_records_remove(records, at);
	}
	if (entry->value)
		store_records_insert(records, at, store_entry_ref(entry));
	return before;
}

static void on_change(int result, const struct store_entry *const *entries, size_t count, uint64_t revision, const struct error *err,
		      void *arg)
{
	const struct store_entry *before[STORE_TXN_LIMIT];
	struct mirror *mirror = arg;

	if (result == -ESTALE || (result >= 0 && store_records_reserve(&mirror->records, count) < 0)) {
		mirror->watch = store_unwatch(mirror->watch);
		mirror->relists++;
		load(mirror);
		return;
	}
	if (result < 0) {
		failed(mirror, result, err);
		return;
	}
	for (size_t i = 0; i < count; i++)
		before[i] = take_over(mirror, entries[i]);
	for (size_t i = 0; i < count; i++) {
		if (before[i] || entries[i]->value)
			tell_changed(mirror, before[i], entries[i]->value ? entries[i] : NULL);
		store_entry_unref(before[i]);
	}
	settle(mirror, revision);
}

/* ---- loading ---- */

/* The mirror has the new list; both in order. */
static void tell_difference(struct mirror *mirror, const struct store_records *before)
{
	const struct store_records *after = &mirror->records;
	size_t b = 0, a = 0;

	while (b < before->count || a < after->count) {
		int order = b == before->count ? 1 : a == after->count ? -1 : strcmp(before->items[b]->key, after->items[a]->key);

		if (order != 0 || before->items[b]->revision != after->items[a]->revision)
			tell_changed(mirror, order <= 0 ? before->items[b] : NULL, order >= 0 ? after->items[a] : NULL);
		b += order <= 0;
		a += order >= 0;
	}
}

static void loaded(struct mirror *mirror, struct loading *loading)
{
	_cleanup_(store_records_done) struct store_records before = mirror->records;
	const uint64_t revision = loading->revision;
	struct error err = {};
	int r;

	mirror->records = loading->records;
	loading->records = (struct store_records){};
	loading_free(loading);
	mirror->ready = true;
	mirror->retry_ns = RETRY_FIRST_NS;
	r = store_watch(mirror->store, mirror->prefix, revision, on_change, mirror, &mirror->watch, &err);
	tell_difference(mirror, &before);
	settle(mirror, revision);
	if (r < 0)
		failed(mirror, r, &err);
}

static int next_page(struct loading *loading, struct error *err);

static void on_page(int result, const struct store_page *page, const struct error *err, void *arg)
{
	struct loading *loading = arg;
	struct mirror *mirror = loading->mirror;
	struct error own = {};

	if (!mirror) {
		loading_free(loading);
		return;
	}
	for (size_t i = 0; result >= 0 && i < page->count; i++)
		result = store_records_add(&loading->records, store_entry_ref(page->entries[i]));
	if (result >= 0) {
		loading->revision = page->revision;
		if (!page->more) {
			loaded(mirror, loading);
			return;
		}
		result = next_page(loading, &own);
		err = &own;
	}
	if (result < 0) { /* -ESTALE as well: many writes while it listed */
		loading_free(loading);
		failed(mirror, result, err);
	}
}

static int next_page(struct loading *loading, struct error *err)
{
	const struct store_records *records = &loading->records;
	const struct store_range range = {
		.prefix = loading->mirror->prefix,
		.after = records->count ? records->items[records->count - 1]->key : NULL,
		.revision = loading->revision,
	};

	return store_list(loading->mirror->store, &range, on_page, loading, err);
}

static void load(struct mirror *mirror)
{
	struct loading *loading = calloc(1, sizeof(*loading));
	struct error err = {};
	int r;

	if (!loading) {
		failed(mirror, error_set(&err, -ENOMEM, "out of memory"), &err);
		return;
	}
	loading->mirror = mirror;
	mirror->loading = loading;
	r = next_page(loading, &err);
	if (r < 0) {
		loading_free(loading);
		failed(mirror, r, &err);
	}
}

static void retry(struct loop_timer *timer, void *arg)
{
	(void)timer;
	load(arg);
}

/* ---- reading ---- */

bool mirror_ready(const struct mirror *mirror)
{
	return mirror->ready;
}

uint64_t mirror_revision(const struct mirror *mirror)
{
	return mirror->revision;
}

size_t mirror_count(const struct mirror *mirror)
{
	return mirror->records.count;
}

uint64_t mirror_relists(const struct mirror *mirror)
{
	return mirror->relists;
}

const struct store_entry *mirror_get(const struct mirror *mirror, const char *key)
{
	const size_t at = store_records_find(&mirror->records, key, 0);

	return at < mirror->records.count && !strcmp(mirror->records.items[at]->key, key) ? mirror->records.items[at] : NULL;
}

uint64_t mirror_revision_of(const struct mirror *mirror, const char *key)
{
	const struct store_entry *entry = mirror_get(mirror, key);

	return entry ? entry->revision : 0;
}

struct mirror_view mirror_list(const struct mirror *mirror, const char *prefix, const char *after, size_t limit)
{
	const struct store_range range = { .prefix = prefix, .after = after };
	size_t low, high, count;

	if (!mirror->records.count)
		return (struct mirror_view){};
	store_records_range(&mirror->records, &range, &low, &high);
	count = limit ? MIN(limit, high - low) : high - low;
	return (struct mirror_view){ mirror->records.items + low, count, count < high - low };
}

/* ---- new, free ---- */

int mirror_new(struct store *store, const char *prefix, const struct mirror_callbacks *callbacks, struct mirror **ret_mirror,
	       struct error *err)
{
	const size_t bytes = strlen(prefix) + 1;
	struct mirror *mirror;

	if (bytes > STORE_KEY_LIMIT_BYTES)
		return error_set(err, -EINVAL, "a prefix of %zu bytes", bytes - 1);
	mirror = calloc(1, sizeof(*mirror) + bytes);
	if (!mirror)
		return error_set(err, -ENOMEM, "out of memory");
	mirror->store = store;
	mirror->callbacks = *callbacks;
	mirror->retry_ns = RETRY_FIRST_NS;
	memcpy(mirror->prefix, prefix, bytes);
	if (loop_timer_new(store->loop, retry, mirror, &mirror->retry) < 0) {
		free(mirror);
		return error_set(err, -ENOMEM, "out of memory");
	}
	loop_timer_arm(mirror->retry, 0); /* so that callbacks come from the loop, all of them */
	*ret_mirror = mirror;
	return 0;
}

struct mirror *mirror_free(struct mirror *mirror)
{
	if (!mirror)
		return NULL;
	mirror->watch = store_unwatch(mirror->watch);
	if (mirror->loading)
		mirror->loading->mirror = NULL;
	loop_timer_free(mirror->retry);
	store_records_done(&mirror->records);
	free(mirror);
	return NULL;
}
