/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_world.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"

uint64_t store_world_deadline_ns(void)
{
	return time_now_ns() + 20 * test_slowness() * NSEC_PER_SEC;
}

bool store_world_turn(struct store_world *w, uint64_t end_ns)
{
	EXPECT_OK(loop_turn(w->loop, 50 * NSEC_PER_MSEC));
	return time_now_ns() < end_ns;
}

void on_done(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct outcome *outcome = arg;

	EXPECT(!outcome->done);
	EXPECT_EQ(!err, result >= 0);
	*outcome = (struct outcome){ true, result, revision };
	if (err)
		outcome->err = *err;
}

void store_world_init(struct store_world *w)
{
	*w = (struct store_world){};
	EXPECT_OK(loop_new(&w->loop));
	strcpy(w->directory, "/tmp/weft-test-store-XXXXXX");
	EXPECT(mkdtemp(w->directory));
	snprintf(w->path, sizeof(w->path), "%s/store.db", w->directory);
}

static void remove_files(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(directory);
}

void store_world_done(struct store_world *w)
{
	w->store = store_close(w->store);
	w->loop = loop_free(w->loop);
	remove_files(w->directory);
}

int txn(struct store_world *w, const struct store_compare *compares, size_t compare_count, const struct store_op *ops, size_t op_count,
	struct outcome *ret_outcome)
{
	struct outcome outcome = {};
	int r = store_txn(w->store, compares, compare_count, ops, op_count, on_done, &outcome, &outcome.err);

	EXPECT(!outcome.done); /* never from inside the call */
	if (r < 0)
		outcome.result = r;
	else
		TURN_UNTIL(w, outcome.done);
	if (ret_outcome)
		*ret_outcome = outcome;
	return outcome.result;
}

uint64_t put_bytes(struct store_world *w, const char *key, const void *value, size_t bytes)
{
	const struct store_op op = { key, value, bytes };
	struct outcome outcome;

	EXPECT_OK(txn(w, NULL, 0, &op, 1, &outcome), &outcome.err);
	return outcome.revision;
}

uint64_t put(struct store_world *w, const char *key, const char *value)
{
	return put_bytes(w, key, value, strlen(value));
}

uint64_t erase(struct store_world *w, const char *key)
{
	return put_bytes(w, key, NULL, 0);
}

struct got {
	struct outcome outcome;
	uint64_t entry_revision;
	char text[256];
};

static void on_get(int result, const struct store_entry *entry, uint64_t revision, const struct error *err, void *arg)
{
	struct got *got = arg;

	on_done(result, revision, err, &got->outcome);
	EXPECT_EQ(!entry, result < 0);
	if (!entry)
		return;
	EXPECT_EQ(((const char *)entry->value)[entry->value_bytes], '\0');
	snprintf(got->text, sizeof(got->text), "%s", (const char *)entry->value);
	got->entry_revision = entry->revision;
}

static struct got get(struct store_world *w, const char *key)
{
	struct got got = {};
	struct error err = {};

	EXPECT_OK(store_get(w->store, key, on_get, &got, &err), &err);
	EXPECT(!got.outcome.done);
	TURN_UNTIL(w, got.outcome.done);
	if (got.outcome.result == -ENOENT)
		strcpy(got.text, "-");
	else
		EXPECT_OK(got.outcome.result, &got.outcome.err);
	return got;
}

const char *value_of(struct store_world *w, const char *key)
{
	static struct got got;

	got = get(w, key);
	return got.text;
}

uint64_t revision_of(struct store_world *w, const char *key)
{
	return get(w, key).entry_revision;
}

uint64_t revision_now(struct store_world *w)
{
	return get(w, "no such key").outcome.revision;
}

struct listing {
	struct outcome outcome;
	struct buffer text;
};

static void on_list(int result, const struct store_page *page, const struct error *err, void *arg)
{
	struct listing *listing = arg;

	EXPECT_EQ(!page, result < 0);
	on_done(result, page ? page->revision : 0, err, &listing->outcome);
	if (!page)
		buffer_printf(&listing->text, "%s", strerrorname_np(-result));
	for (size_t i = 0; page && i < page->count; i++)
		buffer_printf(&listing->text, "%s%s=%s@%d", i ? " " : "", page->entries[i]->key, (const char *)page->entries[i]->value,
			      (int)page->entries[i]->revision);
	if (page && page->more)
		buffer_printf(&listing->text, " ...");
}

const char *listed(struct store_world *w, const struct store_range *range)
{
	static struct listing listing;
	struct error err = {};

	buffer_done(&listing.text);
	listing = (struct listing){};
	EXPECT_OK(store_list(w->store, range, on_list, &listing, &err), &err);
	EXPECT(!listing.outcome.done);
	TURN_UNTIL(w, listing.outcome.done);
	return buffer_string(&listing.text);
}

void on_watch(int result, const struct store_entry *const *entries, size_t count, uint64_t revision, const struct error *err, void *arg)
{
	struct watcher *watcher = arg;
	size_t used = strlen(watcher->text);

#define SAY(...) (used += (size_t)snprintf(watcher->text + used, sizeof(watcher->text) - used, __VA_ARGS__))
	EXPECT_EQ(watcher->result, 0); /* none after the last */
	EXPECT_EQ(!err, result >= 0);
	watcher->calls++;
	watcher->result = result;
	if (result < 0) {
		watcher->err = *err;
		return;
	}
	EXPECT(revision > watcher->revision);
	watcher->revision = revision;
	SAY("%s[%d:", used ? " " : "", (int)revision);
	for (size_t i = 0; i < count; i++) {
		EXPECT_EQ(entries[i]->revision, revision);
		SAY(" %s=%s", entries[i]->key, entries[i]->value ? (const char *)entries[i]->value : "-");
	}
	SAY("]");
	EXPECT(used < sizeof(watcher->text));
}
