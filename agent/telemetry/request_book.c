/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/request_book.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/list.h"

#define PREFIX_BYTES 32
#define SUMS_KEY "requests/sums"
#define STORED_VERSION 1
#define NAME_COUNT 3
/* One that serves, two that end at leisure, and one more: of the one that was read longest ago nothing more comes. */
#define PROCESSES_MAX 4

static const char *const prefixes[REQUEST_KINDS] = { [REQUEST_TARGETS] = "requests/rows/", [REQUEST_ROUTES] = "requests/routes/" }; /* of keys */

/* The value of "requests/rows/HASH", the hash of the names since three of them are longer than a key may be. The words of the total follow; then
 * so many of `stored_met`, each with its words; then the names, each with its NUL; none is "". */
struct stored_row {
	uint32_t version;
	uint32_t met_count;
};
struct stored_met {
	uint64_t process;
	struct request_ids ids;
	uint32_t pad; /* zero */
};

struct triple { /* a row of any kind */
	struct table_node node; /* by key */
	struct list dirty; /* of book->dirty; alone: it is stored as it is */
	struct list met; /* the rows of a weft-proxy that are added here, mostly one */
	enum request_kind kind;
	const char *names[NAME_COUNT]; /* NULL: none */
	uint64_t active;
	uint64_t *total; /* behind the key */
	char *key; /* the names with line feeds between, which no name has; they follow once more, each with its NUL */
};

/* A row of a weft-proxy, as it was when it was last read. */
struct met {
	struct list node; /* of triple->met */
	struct triple *owner;
	struct process *process;
	struct request_ids ids;
	uint64_t last[]; /* the words of its kind */
};

struct sum {
	char *name;
	uint64_t total;
};

struct process { /* a weft-proxy, as it was when it was last read */
	struct list node; /* of book->processes, the one that was read last at the end */
	uint64_t hash; /* of what tells it apart */
	size_t sum_count;
	struct {
		size_t count;
		struct met **list; /* in order of ids */
	} met[REQUEST_KINDS];
	uint64_t *sums; /* by place in book->sums */
};

struct request_book {
	struct state *state;
	struct list dirty, processes;
	size_t process_count, sum_count;
	struct triples {
		struct table table;
		size_t count, room;
		struct triple **all; /* as they were met first */
		bool has_others; /* the row without names */
	} triples[REQUEST_KINDS];
	struct sum *sums;
	bool sums_dirty;
};

/* --- triples -------------------------------------------------------------------------------------------------------------------------- */

static void make_key(const char *const names[NAME_COUNT], struct buffer *key)
{
	for (size_t i = 0; i < NAME_COUNT; i++)
		buffer_printf(key, "%s%s", i ? "\n" : "", names[i] ?: "");
}

static void touch(struct request_book *book, struct triple *triple)
{
	if (list_empty(&triple->dirty))
		list_append(&book->dirty, &triple->dirty);
}

static int make_room(struct triples *triples)
{
	const size_t room = triples->room ? 2 * triples->room : 64;
	struct triple **all;

	if (triples->count < triples->room)
		return 0;
	all = reallocarray(triples->all, room, sizeof(*all));
	if (!all)
		return -ENOMEM;
	triples->all = all;
	triples->room = room;
	return 0;
}

static bool any_name(const char *const names[NAME_COUNT])
{
	return names[0] || names[1] || names[2];
}

static struct triple *triple_new(struct triples *triples, enum request_kind kind, const char *const names[NAME_COUNT], const struct buffer *key)
{
	const size_t total_bytes = request_words[kind] * sizeof(uint64_t);
	struct triple *triple = make_room(triples) == 0 ? calloc(1, sizeof(*triple) + total_bytes + 2 * (key->length + 1)) : NULL;
	char *to;

	if (!triple)
		return NULL;
	triple->kind = kind;
	triple->total = (uint64_t *)(triple + 1);
	to = triple->key = (char *)triple->total + total_bytes;
	to = stpcpy(to, buffer_string(key)) + 1;
	for (size_t i = 0; i < NAME_COUNT; i++) {
		triple->names[i] = names[i] ? to : NULL;
		to = stpcpy(to, names[i] ?: "") + 1;
	}
	list_init(&triple->dirty);
	list_init(&triple->met);
	if (table_add(&triples->table, &triple->node, triple->key) < 0) {
		free(triple);
		return NULL;
	}
	triples->all[triples->count++] = triple;
	triples->has_others |= !any_name(names);
	return triple;
}

/* The one of these names, made where there is none; NULL: no memory. */
static struct triple *triple_get(struct request_book *book, enum request_kind kind, const char *const names[NAME_COUNT])
{
	static const char *const others[NAME_COUNT];
	struct triples *triples = &book->triples[kind];
	_cleanup_(buffer_done) struct buffer key = {};
	struct table_node *found;

	make_key(names, &key);
	if (buffer_failed(&key))
		return NULL;
	found = table_get(&triples->table, buffer_string(&key));
	if (found)
		return container_of(found, struct triple, node);
	if (triples->count >= (size_t)REQUEST_ROWS_MAX + triples->has_others && any_name(names))
		return triple_get(book, kind, others);
	return triple_new(triples, kind, names, &key);
}

/* --- taking a reading ----------------------------------------------------------------------------------------------------------------- */

/* What has grown, into `total`. False: nothing has. */
static bool add_growth(uint64_t *total, uint64_t *last, const uint64_t *now, size_t words)
{
	bool grown = false;

	for (size_t i = 0; i < words; i++) {
		total[i] += now[i] > last[i] ? now[i] - last[i] : 0;
		grown |= now[i] > last[i];
		last[i] = now[i];
	}
	return grown;
}

static struct met *met_new(struct process *process, enum request_kind kind, const struct request_ids *ids)
{
	struct met *met = calloc(1, sizeof(*met) + request_words[kind] * sizeof(uint64_t));

	if (!met)
		return NULL;
	list_init(&met->node);
	met->process = process;
	met->ids = *ids;
	return met;
}

static void met_free(struct met *met)
{
	list_remove(&met->node);
	free(met);
}

static void process_free(struct request_book *book, struct process *process)
{
	list_remove(&process->node);
	book->process_count--;
	for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
		for (size_t i = 0; i < process->met[kind].count; i++)
			met_free(process->met[kind].list[i]);
		free(process->met[kind].list);
	}
	free(process->sums);
	free(process);
}

/* The one by that hash, made where there is none; NULL: no memory. */
static struct process *process_get(struct request_book *book, uint64_t hash)
{
	struct process *process;

	list_for_each(it, &book->processes) {
		process = container_of(it, struct process, node);
		if (process->hash == hash)
			return process;
	}
	process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->hash = hash;
	list_append(&book->processes, &process->node);
	book->process_count++;
	return process;
}

static const char *name_of(uint32_t id, char unknown[24], request_name_fn *name, void *arg)
{
	const char *known = id ? name(id, arg) : NULL;

	if (known || !id)
		return known;
	snprintf(unknown, 24, "object %" PRIu32, id);
	return unknown;
}

static bool has_names(const struct triple *triple, const char *const names[NAME_COUNT])
{
	for (size_t i = 0; i < NAME_COUNT; i++)
		if (!names[i] != !triple->names[i] || (names[i] && strcmp(names[i], triple->names[i])))
			return false;
	return true;
}

/* Ids are given to other names once nothing has them any more: what grows from then on is the new names'. */
static int find_owner(struct request_book *book, enum request_kind kind, struct met *met, const char *route, request_name_fn *name, void *arg)
{
	char unknown[NAME_COUNT][24];
	const char *names[NAME_COUNT] = {
		name_of(met->ids.source, unknown[0], name, arg),
		name_of(met->ids.service, unknown[1], name, arg),
		kind == REQUEST_ROUTES ? route : name_of(met->ids.target, unknown[2], name, arg),
	};
	struct triple *owner;

	if (met->owner && has_names(met->owner, names))
		return 0;
	owner = triple_get(book, kind, names);
	if (!owner)
		return -ENOMEM;
	if (met->owner)
		touch(book, met->owner);
	list_remove(&met->node);
	list_append(&owner->met, &met->node);
	met->owner = owner;
	return 0;
}

static int take_row(struct request_book *book, enum request_kind kind, struct met *met, const struct request_reading_row *row,
		    request_name_fn *name, void *arg)
{
	int r = find_owner(book, kind, met, row->route, name, arg);

	if (r < 0)
		return r;
	if (add_growth(met->owner->total, met->last, (const uint64_t *)&row->counts, request_words[kind]))
		touch(book, met->owner);
	met->owner->active += row->active;
	return 0;
}

/* Both are in order of ids. */
static int take_rows(struct request_book *book, enum request_kind kind, struct process *process, const struct request_reading *reading,
		     request_name_fn *name, void *arg)
{
	const struct request_reading_rows *rows = &reading->rows[kind];
	struct met **met_before = process->met[kind].list;
	const size_t before = process->met[kind].count;
	struct met **next = calloc(rows->count + before + 1, sizeof(struct met *));
	size_t count = 0, at = 0;
	int r = 0;

	if (!next)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < rows->count; i++) {
		const struct request_reading_row *row = &rows->list[i];
		struct met *met;

		while (at < before && request_ids_order(&met_before[at]->ids, &row->ids) < 0)
			next[count++] = met_before[at++];
		if (at < before && request_ids_order(&met_before[at]->ids, &row->ids) == 0)
			met = met_before[at++];
		else
			met = met_new(process, kind, &row->ids);
		r = met ? take_row(book, kind, met, row, name, arg) : -ENOMEM;
		if (met && met->owner)
			next[count++] = met;
		else
			free(met);
	}
	while (at < before)
		next[count++] = met_before[at++];
	free(met_before);
	process->met[kind].list = next;
	process->met[kind].count = count;
	return r;
}

/* The place of a sum by its name, made where there is none. */
static int sum_place(struct request_book *book, const char *name, size_t *ret_place)
{
	struct sum *more;

	for (size_t i = 0; i < book->sum_count; i++)
		if (!strcmp(book->sums[i].name, name)) {
			*ret_place = i;
			return 0;
		}
	more = reallocarray(book->sums, book->sum_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	book->sums = more;
	more[book->sum_count] = (struct sum){ .name = strdup(name) };
	if (!more[book->sum_count].name)
		return -ENOMEM;
	*ret_place = book->sum_count++;
	return 0;
}

/* What a process said of it last; NULL: no memory. */
static uint64_t *sum_of_process(struct process *process, size_t place)
{
	uint64_t *more;

	if (place < process->sum_count)
		return &process->sums[place];
	more = reallocarray(process->sums, place + 1, sizeof(*more));
	if (!more)
		return NULL;
	memset(more + process->sum_count, 0, (place + 1 - process->sum_count) * sizeof(*more));
	process->sums = more;
	process->sum_count = place + 1;
	return &more[place];
}

static int take_sum(struct request_book *book, struct process *process, const char *name, uint64_t now)
{
	uint64_t *last = NULL;
	size_t place;
	int r = sum_place(book, name, &place);

	if (r == 0)
		last = sum_of_process(process, place);
	if (!last)
		return -ENOMEM;
	book->sums[place].total += now > *last ? now - *last : 0;
	book->sums_dirty |= now != *last;
	*last = now;
	return 0;
}

void request_book_begin(struct request_book *book)
{
	for (size_t kind = 0; kind < REQUEST_KINDS; kind++)
		for (size_t i = 0; i < book->triples[kind].count; i++)
			book->triples[kind].all[i]->active = 0;
}

int request_book_take(struct request_book *book, const struct request_reading *reading, request_name_fn *name, void *arg)
{
	struct process *process = process_get(book, hash_string(reading->process));
	int r = process ? 0 : -ENOMEM;

	for (enum request_kind kind = 0; kind < REQUEST_KINDS && r == 0; kind++)
		r = take_rows(book, kind, process, reading, name, arg);
	for (size_t i = 0; r == 0 && i < reading->sum_count; i++)
		r = take_sum(book, process, reading->sums[i].name, reading->sums[i].count);
	if (!process)
		return r;
	list_remove(&process->node);
	list_append(&book->processes, &process->node);
	while (book->process_count > PROCESSES_MAX)
		process_free(book, container_of(book->processes.next, struct process, node));
	return r;
}

/* --- the state ------------------------------------------------------------------------------------------------------------------------ */

static void row_encode(const struct triple *triple, struct buffer *value)
{
	const size_t bytes = request_words[triple->kind] * sizeof(uint64_t);
	struct stored_row row = { .version = STORED_VERSION };

	list_for_each(it, &triple->met)
		row.met_count++;
	buffer_append(value, &row, sizeof(row));
	buffer_append(value, triple->total, bytes);
	list_for_each(it, &triple->met) {
		const struct met *met = container_of(it, struct met, node);
		const struct stored_met stored = { .process = met->process->hash, .ids = met->ids };

		buffer_append(value, &stored, sizeof(stored));
		buffer_append(value, met->last, bytes);
	}
	for (size_t i = 0; i < NAME_COUNT; i++)
		buffer_append(value, triple->names[i] ?: "", strlen(triple->names[i] ?: "") + 1);
}

/* Where the names are; NULL: it is no such value. */
static const char *names_in(const struct state_entry *entry, enum request_kind kind, const struct stored_row *row)
{
	const size_t bytes = request_words[kind] * sizeof(uint64_t);
	const size_t head = sizeof(*row) + bytes + (size_t)row->met_count * (sizeof(struct stored_met) + bytes);
	const char *value = entry->value;
	size_t nuls = 0;

	if (row->version != STORED_VERSION || head >= entry->value_bytes || value[entry->value_bytes - 1])
		return NULL;
	for (size_t i = head; i < entry->value_bytes; i++)
		nuls += !value[i];
	return nuls == NAME_COUNT ? value + head : NULL;
}

static int met_load(struct request_book *book, struct triple *triple, const struct stored_met *stored, const char *last)
{
	const enum request_kind kind = triple->kind;
	struct process *process = process_get(book, stored->process);
	struct met **more = process ? reallocarray(process->met[kind].list, process->met[kind].count + 1, sizeof(struct met *)) : NULL;
	struct met *met;

	if (!more)
		return -ENOMEM;
	process->met[kind].list = more;
	met = met_new(process, kind, &stored->ids);
	if (!met)
		return -ENOMEM;
	memcpy(met->last, last, request_words[kind] * sizeof(uint64_t));
	met->owner = triple;
	list_append(&triple->met, &met->node);
	more[process->met[kind].count++] = met;
	return 0;
}

struct row_loading {
	struct request_book *book;
	enum request_kind kind;
};

static int row_load(const struct state_entry *entry, void *arg)
{
	const struct row_loading *loading = arg;
	const size_t words = request_words[loading->kind], bytes = words * sizeof(uint64_t);
	const char *names[NAME_COUNT], *name, *at = entry->value;
	struct stored_row row;
	struct triple *triple;
	int r = 0;

	if (entry->value_bytes <= sizeof(row))
		return 0;
	memcpy(&row, at, sizeof(row)); /* values need not be aligned */
	name = names_in(entry, loading->kind, &row);
	if (!name)
		return 0; /* another version's */
	for (size_t i = 0; i < NAME_COUNT; i++, name += strlen(name) + 1)
		names[i] = *name ? name : NULL;
	triple = triple_get(loading->book, loading->kind, names);
	if (!triple)
		return -ENOMEM;
	at += sizeof(row);
	for (size_t i = 0; i < words; i++) {
		uint64_t word;

		memcpy(&word, at + i * sizeof(word), sizeof(word));
		triple->total[i] += word;
	}
	at += bytes;
	for (size_t i = 0; i < row.met_count && r == 0; i++, at += sizeof(struct stored_met) + bytes) {
		struct stored_met stored;

		memcpy(&stored, at, sizeof(stored));
		r = met_load(loading->book, triple, &stored, at + sizeof(stored));
	}
	return r;
}

static uint64_t sum_of(const struct met *met)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < request_words[met->owner->kind]; i++)
		sum += met->last[i];
	return sum;
}

static int met_order(const void *a, const void *b)
{
	const struct met *x = *(struct met *const *)a, *y = *(struct met *const *)b;

	return request_ids_order(&x->ids, &y->ids) ?: (sum_of(x) < sum_of(y)) - (sum_of(x) > sum_of(y));
}

/* Ids that went from one name to another may be stored with both: the one that was read last has more. */
static void met_settle(struct process *process, enum request_kind kind)
{
	struct met **list = process->met[kind].list;
	const size_t count = process->met[kind].count;
	size_t kept = 0;

	if (count)
		qsort(list, count, sizeof(struct met *), met_order);
	for (size_t i = 0; i < count; i++)
		if (kept && request_ids_order(&list[kept - 1]->ids, &list[i]->ids) == 0)
			met_free(list[i]);
		else
			list[kept++] = list[i];
	process->met[kind].count = kept;
}

/* {NAME: [total, [process, last], …]} */
static json_t *sums_json(const struct request_book *book)
{
	json_t *object = json_object();

	for (size_t i = 0; i < book->sum_count; i++) {
		json_t *list = json_pack("[I]", (json_int_t)book->sums[i].total);

		list_for_each(it, &book->processes) {
			const struct process *process = container_of(it, struct process, node);

			if (i < process->sum_count)
				json_array_append_new(list, json_pack("[I, I]", (json_int_t)process->hash, (json_int_t)process->sums[i]));
		}
		json_object_set_new(object, book->sums[i].name, list);
	}
	return object;
}

static uint64_t number_at(const json_t *list, size_t i)
{
	return (uint64_t)json_integer_value(json_array_get(list, i));
}

static int sum_load(struct request_book *book, const char *name, const json_t *list)
{
	size_t place;
	int r = sum_place(book, name, &place);

	if (r < 0)
		return r;
	book->sums[place].total = number_at(list, 0);
	for (size_t i = 1; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		struct process *process = process_get(book, number_at(one, 0));
		uint64_t *last = process ? sum_of_process(process, place) : NULL;

		if (!last)
			return -ENOMEM;
		*last = number_at(one, 1);
	}
	return 0;
}

static int sums_load(struct request_book *book)
{
	_cleanup_free_ void *text = NULL;
	_cleanup_json_ json_t *object = NULL;
	const char *name;
	json_t *list;
	size_t bytes;
	int r = state_get(book->state, SUMS_KEY, &text, &bytes, NULL);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	object = json_loadb(text, bytes, 0, NULL);
	json_object_foreach(object, name, list) {
		r = sum_load(book, name, list);
		if (r < 0)
			return r;
	}
	return 0;
}

static int sums_save(struct request_book *book)
{
	_cleanup_json_ json_t *object = book->sums_dirty ? sums_json(book) : NULL;
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	int r;

	if (!book->sums_dirty)
		return 0;
	r = text ? state_put(book->state, SUMS_KEY, text, strlen(text), NULL) : -ENOMEM;
	book->sums_dirty = r < 0;
	return r;
}

struct batch {
	size_t count;
	char (*keys)[PREFIX_BYTES + 32];
	struct buffer *values;
	struct state_op *ops;
};

static void batch_done(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		buffer_done(&batch->values[i]);
	free(batch->keys);
	free(batch->values);
	free(batch->ops);
}

static int batch_fill(const struct request_book *book, size_t max, struct batch *batch)
{
	max = MIN(max, book->triples[REQUEST_TARGETS].count + book->triples[REQUEST_ROUTES].count + 1);
	batch->keys = calloc(max, sizeof(*batch->keys));
	batch->values = calloc(max, sizeof(*batch->values));
	batch->ops = calloc(max, sizeof(*batch->ops));
	if (!batch->keys || !batch->values || !batch->ops)
		return -ENOMEM;
	list_for_each(it, &book->dirty) {
		const struct triple *triple = container_of(it, struct triple, dirty);
		const size_t i = batch->count;
		uint64_t hash[2];

		if (i == max)
			break;
		batch->count++;
		hash_name(triple->key, strlen(triple->key), hash);
		snprintf(batch->keys[i], sizeof(batch->keys[i]), "%s%016" PRIx64 "%016" PRIx64, prefixes[triple->kind], hash[0], hash[1]);
		row_encode(triple, &batch->values[i]);
		if (buffer_failed(&batch->values[i]))
			return -ENOMEM;
		batch->ops[i] = (struct state_op){ batch->keys[i], batch->values[i].data, batch->values[i].length };
	}
	return 0;
}

int request_book_save(struct request_book *book, size_t max)
{
	_cleanup_(batch_done) struct batch batch = {};
	int r = sums_save(book), left = 0;

	if (r == 0)
		r = batch_fill(book, max, &batch);
	if (r == 0 && batch.count)
		r = state_txn(book->state, NULL, 0, batch.ops, batch.count, NULL, NULL);
	if (r < 0)
		return r;
	for (size_t i = 0; i < batch.count; i++)
		list_remove(book->dirty.next);
	list_for_each(it, &book->dirty)
		left++;
	return left;
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

int request_book_new(struct state *state, struct request_book **ret_book)
{
	struct request_book *book = calloc(1, sizeof(*book));
	int r = 0;

	if (!book)
		return -ENOMEM;
	book->state = state;
	list_init(&book->dirty);
	list_init(&book->processes);
	for (enum request_kind kind = 0; kind < REQUEST_KINDS && r == 0; kind++)
		r = state_list(state, prefixes[kind], NULL, 0, row_load, &(struct row_loading){ book, kind }, NULL);
	if (r == 0)
		r = sums_load(book);
	if (r < 0) {
		request_book_free(book);
		return r;
	}
	list_for_each(it, &book->processes)
		for (enum request_kind kind = 0; kind < REQUEST_KINDS; kind++)
			met_settle(container_of(it, struct process, node), kind);
	*ret_book = book;
	return 0;
}

struct request_book *request_book_free(struct request_book *book)
{
	if (!book)
		return NULL;
	while (!list_empty(&book->processes))
		process_free(book, container_of(book->processes.next, struct process, node));
	for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
		struct triples *triples = &book->triples[kind];

		for (size_t i = 0; i < triples->count; i++)
			free(triples->all[i]);
		table_done(&triples->table);
		free(triples->all);
	}
	for (size_t i = 0; i < book->sum_count; i++)
		free(book->sums[i].name);
	free(book->sums);
	free(book);
	return NULL;
}

/* --- what it says --------------------------------------------------------------------------------------------------------------------- */

size_t request_book_rows(const struct request_book *book)
{
	return book->triples[REQUEST_TARGETS].count;
}

struct request_row request_book_row(const struct request_book *book, size_t i)
{
	const struct triple *triple = book->triples[REQUEST_TARGETS].all[i];
	struct request_row row = { .source = triple->names[0], .service = triple->names[1], .target = triple->names[2], .active = triple->active };

	memcpy(&row.counts, triple->total, sizeof(row.counts));
	return row;
}

size_t request_book_routes(const struct request_book *book)
{
	return book->triples[REQUEST_ROUTES].count;
}

struct request_route request_book_route(const struct request_book *book, size_t i)
{
	const struct triple *triple = book->triples[REQUEST_ROUTES].all[i];
	struct request_route row = { .source = triple->names[0], .service = triple->names[1], .route = triple->names[2] };

	memcpy(&row.counts, triple->total, sizeof(row.counts));
	return row;
}

size_t request_book_sums(const struct request_book *book)
{
	return book->sum_count;
}

struct request_sum request_book_sum(const struct request_book *book, size_t i)
{
	return (struct request_sum){ book->sums[i].name, book->sums[i].total };
}
