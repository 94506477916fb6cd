/* SPDX-License-Identifier: Apache-2.0 */
/* State in memory: records sorted by key. Writing one among n moves n pointers, which tests do not mind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/state/backend.h"
#include "base/cleanup.h"
#include "base/sorted.h"

struct memory {
	struct state state;
	struct records records;
};

/* Where the key is, or would be. */
static size_t find(const struct memory *memory, const char *key, bool *ret_found)
{
	const struct records *records = &memory->records;
	const size_t at = SORTED_PLACE(records->count, i, strcmp(records->items[i]->key, key) < 0);

	*ret_found = at < records->count && strcmp(records->items[at]->key, key) == 0;
	return at;
}

static int memory_get(struct state *state, const char *key, struct record **ret_record)
{
	const struct memory *memory = (struct memory *)state;
	bool found;
	size_t i = find(memory, key, &found);

	if (!found)
		return -ENOENT;
	*ret_record = record_ref(memory->records.items[i]);
	return 0;
}

static int memory_list(struct state *state, const char *prefix, const char *after, size_t limit, struct records *records)
{
	const struct memory *memory = (struct memory *)state;
	bool past = after && strcmp(after, prefix) >= 0, found;
	size_t i = find(memory, past ? after : prefix, &found), length = strlen(prefix);

	if (past && found)
		i++;
	for (; i < memory->records.count && (limit == 0 || records->count < limit); i++) {
		int r;

		if (strncmp(memory->records.items[i]->key, prefix, length) != 0)
			break;
		r = records_reserve(records, 1);
		if (r < 0)
			return r;
		records->items[records->count++] = record_ref(memory->records.items[i]);
	}
	return 0;
}

static void apply(struct records *records, size_t i, bool found, struct record *op)
{
	struct record **at = records->items + i;

	if (found) {
		record_unref(*at);
		if (!op->value)
			memmove(at, at + 1, (--records->count - i) * sizeof(*at));
	} else {
		memmove(at + 1, at, (records->count++ - i) * sizeof(*at));
	}
	if (op->value)
		*at = record_ref(op);
}

static int memory_txn(struct state *state, const struct state_compare *compares, size_t compare_count,
		      struct record *const *ops, size_t op_count, struct error *err)
{
	struct memory *memory = (struct memory *)state;
	const uint64_t revision = state->revision + 1;
	bool found;
	size_t at;

	for (size_t i = 0; i < compare_count; i++) {
		at = find(memory, compares[i].key, &found);
		if (compares[i].revision != (found ? memory->records.items[at]->revision : 0))
			return error_set(err, -ECANCELED, "state key '%s' was changed by another", compares[i].key);
	}
	if (records_reserve(&memory->records, op_count) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < op_count; i++) { /* cannot fail */
		at = find(memory, ops[i]->key, &found);
		if (!ops[i]->value && !found)
			continue;
		apply(&memory->records, at, found, ops[i]);
		ops[i]->revision = state->revision = revision;
	}
	return 0;
}

static void memory_close(struct state *state)
{
	struct memory *memory = (struct memory *)state;

	records_done(&memory->records);
	free(memory);
}

static const struct state_backend memory_backend = {
	.get = memory_get,
	.list = memory_list,
	.txn = memory_txn,
	.close = memory_close,
};

int state_open_memory(struct state **ret_store)
{
	struct memory *memory = calloc(1, sizeof(*memory));

	if (!memory)
		return -ENOMEM;
	state_init(&memory->state, &memory_backend, 0);
	*ret_store = &memory->state;
	return 0;
}
