/* SPDX-License-Identifier: Apache-2.0 */
#include "totals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"

#define STORED_VERSION 1
#define NAME_COUNT 3

/* The value of "totals/HASH". Three names follow, each with its NUL: source, service, target. The key is a hash of them,
 * since three full names are longer than a key may be. */
struct stored_total {
	uint32_t version;
	uint32_t row_bytes;
	struct row sums;
};

/* The value of "retired/ROW": the row as it was when it was last added. */
struct retired {
	uint64_t hash[2];
};

/* Everything behind the head is a sum of its own. */
#define FIRST_COUNT offsetof(struct row, attempts)
#define COUNTS ((sizeof(struct row) - FIRST_COUNT) / sizeof(uint64_t))
_Static_assert(FIRST_COUNT % sizeof(uint64_t) == 0 && (sizeof(struct row) - FIRST_COUNT) % sizeof(uint64_t) == 0,
	       "a row is a head and 64-bit counts");

static void row_add(struct row *sums, const struct row *row)
{
	__u64 *to = &sums->attempts;
	const __u64 *from = &row->attempts;

	for (size_t i = 0; i < COUNTS; i++)
		to[i] += from[i];
}

static bool counted_nothing(const struct row *row)
{
	static const struct row empty;

	return memcmp((const char *)row + FIRST_COUNT, (const char *)&empty + FIRST_COUNT, sizeof(*row) - FIRST_COUNT) == 0;
}

static bool is_total(const void *value, size_t bytes, const struct stored_total *total)
{
	size_t nuls = 0;

	if (bytes <= sizeof(*total) || total->version != STORED_VERSION || total->row_bytes != sizeof(total->sums))
		return false;
	for (const char *at = (const char *)value + sizeof(*total), *end = (const char *)value + bytes; at < end; at++)
		nuls += !*at;
	return nuls == NAME_COUNT && !((const char *)value)[bytes - 1];
}

/* The total so far: all zero where there is none, or none that this version can read. */
static int total_read(struct state *state, const char *key, struct stored_total *ret_total)
{
	_cleanup_free_ void *value = NULL;
	struct stored_total total = {};
	size_t bytes;
	int r = state_get(state, key, &value, &bytes, NULL);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && bytes > sizeof(total))
		memcpy(&total, value, sizeof(total));
	if (r < 0 || !is_total(value, bytes, &total))
		total = (struct stored_total){ .version = STORED_VERSION, .row_bytes = sizeof(total.sums) };
	*ret_total = total;
	return 0;
}

static int is_folded(struct state *state, const char *key, const struct retired *row)
{
	_cleanup_free_ void *value = NULL;
	size_t bytes;
	int r = state_get(state, key, &value, &bytes, NULL);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return bytes == sizeof(*row) && memcmp(value, row, sizeof(*row)) == 0;
}

static void add_name(struct buffer *value, const struct names *names, uint32_t id)
{
	const char *name = names_get(names, id);

	if (name)
		buffer_add(value, name);
	else
		buffer_printf(value, "object %" PRIu32, id);
	buffer_append(value, "", 1);
}

int totals_fold(struct state *state, const struct names *names, uint32_t row_index, const struct row *row)
{
	_cleanup_(buffer_done) struct buffer texts = {}, value = {};
	char key[sizeof(TOTALS_PREFIX) + 32], retired_key[sizeof("retired/") + 10];
	struct retired retired;
	struct row counted = *row;
	struct stored_total total;
	uint64_t hash[2];
	int r;

	counted.open = 0; /* no account names the row any more */
	if (!row->target || counted_nothing(&counted))
		return 0;
	hash_name(row, sizeof(*row), retired.hash);
	snprintf(retired_key, sizeof(retired_key), "retired/%" PRIu32, row_index);
	r = is_folded(state, retired_key, &retired);
	if (r != 0)
		return r < 0 ? r : 0;
	add_name(&texts, names, row->source);
	add_name(&texts, names, row->service);
	add_name(&texts, names, row->target);
	if (buffer_failed(&texts))
		return -ENOMEM;
	hash_name(texts.data, texts.length, hash);
	snprintf(key, sizeof(key), TOTALS_PREFIX "%016" PRIx64 "%016" PRIx64, hash[0], hash[1]);
	r = total_read(state, key, &total);
	if (r < 0)
		return r;
	row_add(&total.sums, &counted);
	buffer_append(&value, &total, sizeof(total));
	buffer_append(&value, texts.data, texts.length);
	if (buffer_failed(&value))
		return -ENOMEM;
	r = state_txn(state, NULL, 0,
		      (struct state_op[]){
			      { key, value.data, value.length },
			      { retired_key, &retired, sizeof(retired) },
		      },
		      2, NULL, NULL);
	return r < 0 ? r : 1;
}

struct walk {
	totals_fn *fn;
	void *arg;
};

static int tell_total(const struct state_entry *entry, void *arg)
{
	const struct walk *walk = arg;
	const char *names[NAME_COUNT] = { (const char *)entry->value + sizeof(struct stored_total) };
	struct stored_total total;

	if (entry->value_bytes <= sizeof(total))
		return 0;
	memcpy(&total, entry->value, sizeof(total)); /* a copy: values need not be aligned */
	if (!is_total(entry->value, entry->value_bytes, &total))
		return 0;
	for (size_t i = 1; i < NAME_COUNT; i++)
		names[i] = names[i - 1] + strlen(names[i - 1]) + 1;
	return walk->fn(names[0], names[1], names[2], &total.sums, walk->arg);
}

int totals_each(struct state *state, totals_fn *fn, void *arg)
{
	return state_list(state, TOTALS_PREFIX, NULL, 0, tell_total, &(struct walk){ fn, arg }, NULL);
}
