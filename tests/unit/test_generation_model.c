/* SPDX-License-Identifier: Apache-2.0 */
/* A model checker over ring, allocator and sweep on plain memory. Random interleavings of changes, readers that stay in a
 * generation, connections, grace periods, sweeps and trims; and agents that die at any page they store to, after which the next one
 * takes over. The model knows every record that was ever committed and by which generations it is named, and holds the memory to it:
 *   - whatever a reader may read is as it was committed, for as long as it may read it;
 *   - nothing named, or part of the change at hand, is handed out or cleared;
 *   - after a sweep that nothing interrupted, what is used is exactly what is named;
 *   - names keep their ids; incarnations hold while a connection is open; no count is lost. */
#include <errno.h>

#include "base/cleanup.h"
#include "tests/lib/mortal.h"
#include "tests/unit/generation_model.h"

/* --- the agent ------------------------------------------------------------------------------------------------------------ */

/* Fills `e` with what the element at the same place of the current version has, or with something new. */
static bool element_make(struct world *w, enum object_kind kind, const struct element *old, struct element *e)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const unsigned other = kind == OBJECT_SERVICE ? SERVICES + model_draw(w, TARGETS) : model_draw(w, SERVICES);
	int64_t index = 0;

	if (old && model_chance(w, 70)) {
		*e = *old;
		return true;
	}
	*e = (struct element){};
	if (kind != OBJECT_TARGET) {
		e->id = generations_id_make(w->g, model_kind(other), model_name(other));
		CHECK(w, e->id && (!w->ids[other] || w->ids[other] == e->id));
		w->ids[other] = e->id;
	}
	if (kind == OBJECT_TARGET) {
		e->count = 1;
		index = generations_alloc_slot(w->g);
		CHECK(w, index < 0 || !model_is_named(w, kind, SLOT, (uint32_t)index, 1));
	}
	if (kind == OBJECT_NODE) {
		e->count = 1 + model_draw(w, ROWS);
		index = generations_alloc_rows(w->g, e->count);
		CHECK(w, index < 0 || !model_is_named(w, kind, ROW, (uint32_t)index, e->count));
	}
	if (index < 0)
		return false;
	e->index = (uint32_t)index;
	for (uint32_t i = 0; i < e->count; i++) {
		e->incarnations[i] = kind == OBJECT_TARGET ? m->endpoints[index].incarnation : m->rows[index + i].incarnation;
		CHECK(w, e->incarnations[i] & 1);
		CHECK(w, kind == OBJECT_TARGET ? !m->endpoints[index].open : !m->rows[index + i].closed);
	}
	return true;
}

static const struct {
	int64_t (*record)(struct generations *g);
	int64_t (*range)(struct generations *g, uint32_t count);
} allocators[] = {
	[OBJECT_SERVICE] = { generations_alloc_service, generations_alloc_routes },
	[OBJECT_TARGET] = { generations_alloc_target, generations_alloc_refs },
	[OBJECT_NODE] = { generations_alloc_node, generations_alloc_backends },
};

static bool version_make(struct world *w, unsigned object, struct version *v)
{
	const enum object_kind kind = model_kind(object);
	const struct version *old = model_version(w, object, w->memory.arrays.root->generation);
	int64_t index = allocators[kind].record(w->g);

	if (index < 0)
		return false;
	CHECK(w, !model_is_named(w, kind, RECORD, (uint32_t)index, 1));
	*v = (struct version){ .object = object, .tag = model_draw(w, UINT32_MAX), .ref = REF(kind, index) };
	for (unsigned list = 0; list < model_lists(kind); list++) {
		v->range_count[list] = model_draw(w, PLACES + 1);
		index = allocators[kind].range(w->g, v->range_count[list]);
		if (index < 0)
			return false;
		v->range[list] = (uint32_t)index;
		CHECK(w, !model_is_named(w, kind, RANGE, v->range[list], v->range_count[list]));
		for (uint32_t i = 0; i < v->range_count[list]; i++)
			if (!element_make(w, kind, old && i < old->range_count[list] ? &old->elements[list][i] : NULL,
					  &v->elements[list][i]))
				return false;
	}
	model_write(w, v);
	return true;
}

static int prepare(void *arg)
{
	struct world *w = arg;
	const unsigned count = 1 + model_draw(w, CHANGES);

	for (unsigned i = 0; i < count; i++) {
		const unsigned object = model_draw(w, OBJECTS);
		struct version v;
		bool twice = false;
		uint32_t id;

		for (unsigned k = 0; k < w->pending_count; k++)
			twice |= w->pending[k].object == object;
		if (twice)
			continue;
		id = generations_id_make(w->g, model_kind(object), model_name(object));
		if (!id)
			return -ENOSPC;
		CHECK(w, !w->ids[object] || w->ids[object] == id);
		w->ids[object] = id;
		v = (struct version){ .object = object };
		w->removed[w->pending_count] = model_chance(w, 20);
		if (!w->removed[w->pending_count] && !version_make(w, object, &v))
			return -ENOSPC;
		w->pending[w->pending_count++] = v;
	}
	w->prepared = true;
	return 0;
}

static int commit(void *arg)
{
	struct world *w = arg;
	struct change changes[CHANGES];
	uint64_t generation;
	int r;

	for (unsigned i = 0; i < w->pending_count; i++)
		changes[i] = (struct change){ w->ids[w->pending[i].object], w->removed[i] ? 0 : w->pending[i].ref };
	r = generations_commit(w->g, changes, w->pending_count, &generation);
	CHECK(w, r < 0 || generation == w->memory.arrays.root->generation);
	return r;
}

static void drop_pending(struct world *w)
{
	w->pending_count = 0;
	w->prepared = false;
}

/* The pending versions are what `generation` names from now on. */
static void model_commit(struct world *w, uint64_t generation)
{
	for (unsigned i = 0; i < w->pending_count; i++) {
		struct version *old = (struct version *)model_version(w, w->pending[i].object, generation - 1);

		if (old)
			old->last = generation - 1;
		if (w->removed[i])
			continue;
		if (w->version_count == VERSIONS)
			model_forget_unreadable(w);
		CHECK(w, w->version_count < VERSIONS);
		w->versions[w->version_count] = w->pending[i];
		w->versions[w->version_count].first = generation;
		w->versions[w->version_count++].last = UINT64_MAX;
	}
	drop_pending(w);
	w->commits++;
}

static int on_retired(uint32_t index, const struct row *row, void *arg)
{
	struct world *w = arg;

	CHECK(w, row == &w->memory.arrays.rows[index] && row->incarnation & 1);
	CHECK(w, !model_is_named(w, OBJECT_NODE, ROW, index, 1));
	if (!w->exact && model_chance(w, 5))
		return -EIO;
	w->folding = index;
	w->folding_count = row->closed;
	w->folded += row->closed;
	w->retired++;
	return 0;
}

static int sweep_end(void *arg)
{
	struct world *w = arg;

	generations_sweep_end(w->g, on_retired, w);
	return 0;
}

static void see_connections(struct world *w)
{
	for (unsigned i = 0; i < w->connection_count; i++)
		generations_sweep_account(w->g, &w->connections[i]);
	w->seen = true;
}

/* A new agent: what the one before had in mind is gone; programs in the kernel and connections are not. */
static void restart(struct world *w)
{
	w->g = generations_free(w->g);
	drop_pending(w);
	w->in_grace = w->sweeping = w->swept = false;
	w->passed = 0;
	EXPECT_OK(generations_new(&w->memory.arrays, &w->g, NULL));
	for (unsigned object = 0; object < OBJECTS; object++)
		if (w->ids[object])
			CHECK(w, generations_id_get(w->g, model_kind(object), model_name(object)) == w->ids[object]);
	model_check_all(w);
}

/* Died while it wrote the slice after the current one: any word of it may be anything. Not while that slice is still kept. */
static void scribble(struct world *w)
{
	const struct root *root = w->memory.arrays.root;
	const uint64_t next = root->generation + 1;

	if (next >= RING_DIRECTORIES && next - RING_DIRECTORIES >= root->oldest)
		return;
	for (unsigned i = 0; i < 100; i++)
		*kernel_memory_ref(&w->memory.arrays, next, model_draw(w, MAX_OBJECTS)) = model_draw(w, UINT32_MAX);
}

static void died(struct world *w)
{
	w->crashes++;
	if (w->sweeping && w->folding_count && w->memory.arrays.rows[w->folding].incarnation & 1)
		w->folded -= w->folding_count; /* told, and will be told again */
	scribble(w);
	restart(w);
}

/* --- what happens --------------------------------------------------------------------------------------------------------- */

static unsigned lifespan(struct world *w, unsigned usual)
{
	return model_chance(w, 5) ? model_draw(w, usual) : IMMORTAL;
}

static void do_change(struct world *w)
{
	const uint64_t next = w->memory.arrays.root->generation + 1;
	int r;

	if (!w->prepared) {
		r = run_mortal(w->memory.parts, ARRAY_SIZE(w->memory.parts), lifespan(w, 12), prepare, w);
		if (r == -EINTR)
			died(w);
		else if (r < 0) { /* only before the first sweep: there is room for everything */
			CHECK(w, !w->swept);
			generations_abandon(w->g);
			drop_pending(w);
		}
	} else if (model_chance(w, 10)) {
		generations_abandon(w->g);
		drop_pending(w);
	} else {
		r = run_mortal(w->memory.parts, ARRAY_SIZE(w->memory.parts), lifespan(w, 22), commit, w);
		CHECK(w, (r == -EAGAIN) == (next >= RING_DIRECTORIES && next - RING_DIRECTORIES >= w->passed) || r == -EINTR);
		if (w->memory.arrays.root->generation == next)
			model_commit(w, next);
		else
			CHECK(w, r < 0);
		w->refused += r == -EAGAIN;
		if (r == -EINTR)
			died(w);
	}
}

static void do_enter(struct world *w)
{
	if (w->reader_count < READERS)
		w->readers[w->reader_count++] = (struct reader){ w->memory.arrays.root->generation, w->step };
}

/* A connection by what the reader's generation names: some row of some node, some slot of some target. */
static void connect_somewhere(struct world *w, uint64_t generation)
{
	const struct version *node = model_version(w, SERVICES + TARGETS + model_draw(w, NODES), generation);
	const struct version *target = model_version(w, SERVICES + model_draw(w, TARGETS), generation);
	const unsigned list = model_draw(w, LIST_COUNT);
	const struct element *backend, *ref;
	uint32_t row;

	if (!node || !target || !node->range_count[0] || !target->range_count[list] || w->connection_count == CONNECTIONS)
		return;
	backend = &node->elements[0][model_draw(w, node->range_count[0])];
	ref = &target->elements[list][model_draw(w, target->range_count[list])];
	row = model_draw(w, backend->count);
	w->connections[w->connection_count++] = (struct account){
		.source = w->ids[node->object],
		.service = backend->id,
		.target = w->ids[target->object],
		.row = backend->index + row,
		.row_incarnation = backend->incarnations[row],
		.slot = ref->index,
		.slot_incarnation = ref->incarnations[0],
	};
	w->memory.arrays.endpoints[ref->index].open++;
}

static void leave(struct world *w, unsigned i)
{
	const uint64_t generation = w->readers[i].generation;

	for (unsigned object = 0; object < OBJECTS; object++)
		model_check(w, generation, object);
	connect_somewhere(w, generation);
	w->readers[i] = w->readers[--w->reader_count];
}

static void do_read(struct world *w)
{
	const struct root *root = w->memory.arrays.root;

	if (w->reader_count)
		model_check(w, w->readers[model_draw(w, w->reader_count)].generation, model_draw(w, OBJECTS));
	model_check(w, root->oldest + model_draw(w, (uint32_t)(root->generation - root->oldest + 1)), model_draw(w, OBJECTS));
}

static void do_leave(struct world *w)
{
	if (w->reader_count)
		leave(w, model_draw(w, w->reader_count));
}

static void do_close(struct world *w)
{
	const struct kernel_memory *m = &w->memory.arrays;
	const unsigned i = w->connection_count ? model_draw(w, w->connection_count) : 0;
	const struct account *a = &w->connections[i];

	if (!w->connection_count)
		return;
	CHECK(w, m->rows[a->row].incarnation == a->row_incarnation);
	CHECK(w, m->endpoints[a->slot].incarnation == a->slot_incarnation);
	CHECK(w, m->endpoints[a->slot].open > 0);
	m->endpoints[a->slot].open--;
	m->rows[a->row].closed++;
	w->closes++;
	w->connections[i] = w->connections[--w->connection_count];
}

static void do_grace(struct world *w)
{
	if (!w->in_grace) {
		w->ticket = generations_grace_begin(w->g);
		w->grace_born = w->step;
		w->in_grace = true;
		return;
	}
	for (unsigned i = w->reader_count; i-- > 0;)
		if (w->readers[i].born <= w->grace_born)
			leave(w, i);
	generations_grace_end(w->g, w->ticket);
	w->passed = MAX(w->passed, w->ticket);
	w->in_grace = false;
}

static bool do_sweep_begin(struct world *w)
{
	const int r = generations_sweep_begin(w->g);

	CHECK(w, r == (w->passed < w->memory.arrays.root->oldest ? -EAGAIN : 0));
	w->sweeping = r == 0;
	w->seen = false;
	return w->sweeping;
}

static void do_sweep_end(struct world *w, unsigned pages)
{
	w->folding_count = 0;
	if (run_mortal(w->memory.parts, ARRAY_SIZE(w->memory.parts), pages, sweep_end, w) == -EINTR) {
		died(w);
		return;
	}
	w->sweeping = false;
	w->folding_count = 0;
	w->swept = true;
	w->sweeps++;
	model_check_all(w);
}

static void do_sweep(struct world *w)
{
	if (!w->sweeping)
		do_sweep_begin(w);
	else if (!w->seen)
		see_connections(w);
	else
		do_sweep_end(w, lifespan(w, 6));
}

static void check_fill(struct world *w)
{
	static const struct {
		const char *name;
		enum object_kind kind;
		enum array array;
	} arrays[] = {
		{ "services", OBJECT_SERVICE, RECORD }, { "routes", OBJECT_SERVICE, RANGE },
		{ "targets", OBJECT_TARGET, RECORD },	{ "endpoint-refs", OBJECT_TARGET, RANGE },
		{ "nodes", OBJECT_NODE, RECORD },	{ "backends", OBJECT_NODE, RANGE },
		{ "endpoints", OBJECT_TARGET, SLOT },	{ "rows", OBJECT_NODE, ROW },
	};
	static uint8_t named[MAX_ENDPOINT_REFS];
	struct generations_fill fill[ARRAY_SIZE(arrays) + 1];
	uint32_t ids = 1;

	CHECK(w, generations_fill(w->g, fill, ARRAY_SIZE(fill)) == ARRAY_SIZE(fill));
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		const uint32_t count = model_named(w, arrays[i].kind, arrays[i].array, named);

		CHECK(w, !strcmp(fill[i].name, arrays[i].name));
		if (fill[i].used != count)
			fail_msg("seed %u, step %llu: %u %s are used, %u named", w->seed, (unsigned long long)w->step, fill[i].used,
				 fill[i].name, count);
	}
	for (unsigned object = 0; object < OBJECTS; object++)
		ids += w->ids[object] != 0;
	CHECK(w, fill[ARRAY_SIZE(arrays)].used == ids);
}

/* Nobody reads, and every row may go: then what is used and what is named are the same. */
static void do_exact_sweep(struct world *w)
{
	if (w->sweeping)
		return;
	do_grace(w);
	if (w->in_grace)
		do_grace(w);
	while (w->reader_count)
		leave(w, 0);
	if (!do_sweep_begin(w))
		return;
	see_connections(w);
	w->exact = true;
	do_sweep_end(w, IMMORTAL);
	w->exact = false;
	check_fill(w);
}

static void do_trim(struct world *w)
{
	generations_trim(w->g, 1 + model_draw(w, RING_DIRECTORIES));
}

static void (*const deeds[])(struct world *w) = {
	do_change, do_enter, do_read, do_leave, do_close, do_grace, do_sweep, do_trim, do_exact_sweep, restart,
};
/* How often each: on the whole, with hardly a grace period, with hardly a connection closed, busy, dying all the time. */
static const unsigned moods[][ARRAY_SIZE(deeds)] = {
	{ 40, 16, 12, 8, 12, 10, 9, 1, 1, 1 }, { 80, 10, 8, 4, 6, 1, 6, 0, 0, 0 }, { 40, 16, 6, 8, 1, 10, 15, 2, 1, 0 },
	{ 80, 8, 8, 8, 8, 20, 0, 0, 0, 0 },    { 40, 8, 8, 8, 8, 20, 20, 2, 1, 4 },
};

static void check_counts(struct world *w)
{
	uint64_t counted = w->folded;

	for (uint32_t i = 0; i < MAX_ROWS; i++)
		if (w->memory.arrays.rows[i].incarnation & 1)
			counted += w->memory.arrays.rows[i].closed;
	CHECK(w, counted == w->closes);
}

static void live(unsigned seed, unsigned steps)
{
	_cleanup_free_ struct world *w = calloc(1, sizeof(*w));
	const unsigned *shares = moods[0];

	w->seed = seed;
	w->random = 0x9e3779b97f4a7c15ull * (seed + 1);
	test_memory_init(&w->memory);
	restart(w);
	for (w->step = 1; w->step <= steps; w->step++) {
		uint32_t choice, total = 0;
		size_t deed = 0;

		if (w->step % 500 == 0)
			shares = moods[model_draw(w, ARRAY_SIZE(moods))];
		for (size_t i = 0; i < ARRAY_SIZE(deeds); i++)
			total += shares[i];
		choice = model_draw(w, total);
		while (choice >= shares[deed])
			choice -= shares[deed++];
		deeds[deed](w);
	}
	model_check_all(w);
	check_counts(w);
	print_message("seed %u: %u commits, %u refused, %u deaths, %u sweeps, %u rows retired, %llu connections\n", seed, w->commits,
		      w->refused, w->crashes, w->sweeps, w->retired, (unsigned long long)w->closes);
	/* A run in which nothing happened proves nothing. */
	CHECK(w, w->commits > 2 * RING_DIRECTORIES && w->refused && w->crashes && w->sweeps && w->retired && w->closes);
	generations_free(w->g);
	test_memory_done(&w->memory);
}

TEST(whatever_happens_readers_see_what_was_committed_and_nothing_named_is_reused)
{
	for (unsigned seed = 1; seed <= 12; seed++)
		live(seed, 8000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_happens_readers_see_what_was_committed_and_nothing_named_is_reused),
	};

	if (argc == 3) { /* SEED STEPS, to look for longer */
		live((unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]));
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
