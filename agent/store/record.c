/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/sorted.h"

struct store_record *store_record_new(const char *key, const void *value, size_t value_bytes, uint64_t revision)
{
	size_t key_bytes = strlen(key) + 1;
	struct store_record *record = malloc(sizeof(*record) + key_bytes + (value ? value_bytes + 1 : 0));

	if (!record)
		return NULL;
	record->refs = 1;
	record->entry = (struct store_entry){ .key = record->data, .revision = revision };
	memcpy(record->data, key, key_bytes);
	if (value) {
		memcpy(record->data + key_bytes, value, value_bytes);
		record->data[key_bytes + value_bytes] = '\0';
		record->entry.value = record->data + key_bytes;
		record->entry.value_bytes = value_bytes;
	}
	return record;
}

const struct store_entry *store_entry_ref(const struct store_entry *entry)
{
	store_record_of(entry)->refs++;
	return entry;
}

void store_entry_unref(const struct store_entry *entry)
{
	if (entry && --store_record_of(entry)->refs == 0)
		free(store_record_of(entry));
}

int store_records_reserve(struct store_records *records, size_t extra)
{
	size_t capacity = records->capacity ? records->capacity : 16;
	const struct store_entry **items;

	if (records->count + extra <= records->capacity)
		return 0;
	while (capacity < records->count + extra)
		capacity *= 2;
	items = reallocarray(records->items, capacity, sizeof(*items));
	if (!items)
		return -ENOMEM;
	records->items = items;
	records->capacity = capacity;
	return 0;
}

int store_records_add(struct store_records *records, const struct store_entry *entry)
{
	if (!entry || store_records_reserve(records, 1) < 0) {
		store_entry_unref(entry);
		return -ENOMEM;
	}
	records->items[records->count++] = entry;
	return 0;
}

void store_records_insert(struct store_records *records, size_t at, const struct store_entry *entry)
{
	const struct store_entry **item = records->items + at;

	memmove(item + 1, item, (records->count++ - at) * sizeof(*item));
	*item = entry;
}

void store_records_remove(struct store_records *records, size_t at)
{
	const struct store_entry **item = records->items + at;

	store_entry_unref(*item);
	memmove(item, item + 1, (--records->count - at) * sizeof(*item));
}

void store_records_done(struct store_records *records)
{
	for (size_t i = 0; i < records->count; i++)
		store_entry_unref(records->items[i]);
	free(records->items);
	*records = (struct store_records){};
}

static bool is_before(const struct store_entry *entry, const char *key, uint64_t revision)
{
	const int order = strcmp(entry->key, key);

	return order < 0 || (order == 0 && entry->revision < revision);
}

size_t store_records_find(const struct store_records *records, const char *key, uint64_t revision)
{
	return SORTED_PLACE(records->count, i, is_before(records->items[i], key, revision));
}

bool store_prefix_end(const char *prefix, char ret_end[STORE_KEY_LIMIT_BYTES + 1])
{
	size_t length = strlen(prefix);

	if (length == 0)
		return false;
	memcpy(ret_end, prefix, length + 1);
	ret_end[length - 1]++; /* UTF-8 has no byte 0xff */
	return true;
}

void store_records_range(const struct store_records *records, const struct store_range *range, size_t *ret_low, size_t *ret_high)
{
	char end[STORE_KEY_LIMIT_BYTES + 1];
	size_t low = store_records_find(records, range->prefix, 0), high = records->count;

	if (store_prefix_end(range->prefix, end))
		high = store_records_find(records, end, 0);
	if (range->after)
		low = MAX(low, store_records_find(records, range->after, UINT64_MAX));
	if (range->before)
		high = MIN(high, store_records_find(records, range->before, 0));
	*ret_low = low;
	*ret_high = MAX(low, high);
}
