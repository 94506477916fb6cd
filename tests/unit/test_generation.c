/* SPDX-License-Identifier: Apache-2.0 */
/* Generations over plain memory: each promise of the header by itself. test_generation_model.c has the interleavings. */
#include <errno.h>

#include "base/cleanup.h"
#include "maps/generation.h"
#include "tests/lib/memory.h"
#include "tests/lib/test.h"

struct fixture {
	struct test_memory memory;
	struct generations *g;
	struct row retired[8];
	unsigned retired_count;
	int retired_result;
};

static int on_retired(uint32_t index, const struct row *row, void *arg)
{
	struct fixture *f = arg;

	(void)index;
	if (f->retired_count < ARRAY_SIZE(f->retired))
		f->retired[f->retired_count] = *row;
	f->retired_count++;
	return f->retired_result;
}

static void grace(struct fixture *f)
{
	generations_grace_end(f->g, generations_grace_begin(f->g));
}

static void sweep(struct fixture *f)
{
	grace(f);
	EXPECT_OK(generations_sweep_begin(f->g));
	generations_sweep_end(f->g, on_retired, f);
}

static void restart(struct fixture *f)
{
	generations_free(f->g);
	EXPECT_OK(generations_new(&f->memory.arrays, &f->g, NULL));
}

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){};
	test_memory_init(&f->memory);
	restart(f);
	sweep(f);
}

static void fixture_done(struct fixture *f)
{
	generations_free(f->g);
	test_memory_done(&f->memory);
}
#define FIXTURE(f)                                                                                                            \
	_cleanup_(fixture_done) struct fixture f;                                                                              \
	fixture_init(&f)

static uint64_t commit(struct fixture *f, uint32_t id, uint32_t ref)
{
	uint64_t generation;

	EXPECT_OK(generations_commit(f->g, &(struct change){ id, ref }, 1, &generation));
	return generation;
}

static uint32_t used(struct fixture *f, const char *name)
{
	struct generations_fill fill[16];
	const size_t count = generations_fill(f->g, fill, ARRAY_SIZE(fill));

	for (size_t i = 0; i < count; i++)
		if (!strcmp(fill[i].name, name))
			return fill[i].used;
	fail_msg("no array is called %s", name);
	return 0;
}

/* A node with one backend that owns `rows` rows. */
static uint32_t given_node(struct fixture *f, const char *name, uint32_t rows, int64_t *ret_row)
{
	const uint32_t id = generations_id_make(f->g, OBJECT_NODE, name);
	const uint32_t service = generations_id_make(f->g, OBJECT_SERVICE, "mesh/m/virtualService/s");
	const int64_t node = generations_alloc_node(f->g), backend = generations_alloc_backends(f->g, 1);

	*ret_row = generations_alloc_rows(f->g, rows);
	EXPECT(id && service && node >= 0 && backend >= 0 && *ret_row >= 0);
	f->memory.arrays.backends[backend] =
		(struct backend){ .service = service, .row = (uint32_t)*ret_row, .row_count = (uint16_t)rows };
	f->memory.arrays.nodes[node] = (struct node_record){ .first_backend = (uint32_t)backend, .backend_count = 1 };
	commit(f, id, REF(OBJECT_NODE, node));
	return id;
}

/* A target with one endpoint, in the IPv6 list. */
static uint32_t given_target(struct fixture *f, const char *name, int64_t *ret_slot)
{
	const uint32_t id = generations_id_make(f->g, OBJECT_TARGET, name);
	const int64_t target = generations_alloc_target(f->g), ref = generations_alloc_refs(f->g, 1);

	*ret_slot = generations_alloc_slot(f->g);
	EXPECT(id && target >= 0 && ref >= 0 && *ret_slot >= 0);
	f->memory.arrays.refs[ref] = (struct endpoint_ref){
		.slot = (uint32_t)*ret_slot,
		.incarnation = f->memory.arrays.endpoints[*ret_slot].incarnation,
	};
	f->memory.arrays.targets[target] =
		(struct target_record){ .first[LIST_V6] = (uint32_t)ref, .count[LIST_V6] = 1 };
	commit(f, id, REF(OBJECT_TARGET, target));
	return id;
}

TEST(it_is_crowded_when_most_of_what_a_sweep_left_is_used)
{
	uint32_t left = MAX_NODES - 1;
	int64_t row;
	FIXTURE(f);

	given_node(&f, "mesh/m/virtualNode/kept", 1, &row);
	sweep(&f);
	EXPECT_EQ(used(&f, "nodes"), 1);
	while (left > MAX_NODES / 4 + 1) {
		EXPECT(!generations_are_crowded(f.g));
		EXPECT(generations_alloc_node(f.g) >= 0);
		left--;
	}
	EXPECT(generations_alloc_node(f.g) >= 0);
	EXPECT(generations_alloc_node(f.g) >= 0);
	EXPECT(generations_are_crowded(f.g));
	generations_abandon(f.g);
	sweep(&f);
	EXPECT_EQ(used(&f, "nodes"), 1);
	EXPECT(!generations_are_crowded(f.g));
}

TEST(before_the_first_sweep_ids_are_made_and_nothing_else_is_allocated)
{
	FIXTURE(f);

	restart(&f);
	EXPECT_EQ(generations_alloc_service(f.g), -ENOSPC);
	EXPECT_EQ(generations_alloc_refs(f.g, 3), -ENOSPC);
	const uint32_t id = generations_id_make(f.g, OBJECT_SERVICE, "s");

	EXPECT(id != 0);
	sweep(&f);
	EXPECT(generations_alloc_service(f.g) >= 0);
	EXPECT_EQ(generations_id_make(f.g, OBJECT_SERVICE, "s"), id);
}

TEST(a_root_that_cannot_be_is_refused_by_name)
{
	static const struct root roots[] = { { 1, 2 }, { 100, 36 }, { UINT64_MAX, UINT64_MAX } };
	FIXTURE(f);
	struct error err = {};
	struct generations *g = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		*f.memory.arrays.root = roots[i];
		EXPECT_EQ(generations_new(&f.memory.arrays, &g, &err), -EPROTO);
		EXPECT_CONTAINS(err.message, "root");
		EXPECT(g == NULL);
	}
}

TEST(a_commit_changes_what_it_names_and_leaves_older_generations_alone)
{
	FIXTURE(f);

	EXPECT_EQ(generations_current(f.g), 0);
	EXPECT_EQ(commit(&f, 5, REF(OBJECT_SERVICE, 7)), 1);
	EXPECT_EQ(commit(&f, 6, REF(OBJECT_TARGET, 8)), 2);
	EXPECT_EQ(commit(&f, 5, 0), 3);
	EXPECT_EQ(f.memory.arrays.root->generation, 3);
	EXPECT_EQ(generations_ref(f.g, 1, 5), REF(OBJECT_SERVICE, 7));
	EXPECT_EQ(generations_ref(f.g, 1, 6), 0);
	EXPECT_EQ(generations_ref(f.g, 2, 5), REF(OBJECT_SERVICE, 7));
	EXPECT_EQ(generations_ref(f.g, 3, 5), 0);
	EXPECT_EQ(generations_ref(f.g, 3, 6), REF(OBJECT_TARGET, 8));
	EXPECT_EQ(generations_ref(f.g, 4, 6), 0);
	EXPECT_EQ(generations_ref(f.g, 3, MAX_OBJECTS), 0);
}

TEST(a_ring_that_would_catch_up_with_readers_waits_for_a_grace_period)
{
	FIXTURE(f);
	uint64_t generation, ticket;

	for (unsigned i = 1; i < RING_DIRECTORIES; i++) {
		EXPECT_EQ(generations_needs_grace(f.g), i > RING_DIRECTORIES / 2);
		commit(&f, 5, REF(OBJECT_SERVICE, i));
	}
	/* The next one overwrites generation 0; the one after it generation 1. */
	EXPECT_EQ(generations_alloc_service(f.g), 0);
	EXPECT_EQ(generations_commit(f.g, NULL, 0, &generation), -EAGAIN);
	EXPECT_EQ(generations_oldest(f.g), 0);
	EXPECT_OK(generations_sweep_begin(f.g));
	generations_sweep_end(f.g, on_retired, &f);
	EXPECT_EQ(used(&f, "services"), RING_DIRECTORIES); /* the one that still waits to be committed, too */
	ticket = generations_grace_begin(f.g);
	EXPECT(!generations_needs_grace(f.g));
	EXPECT_EQ(generations_commit(f.g, NULL, 0, &generation), -EAGAIN);
	generations_grace_end(f.g, ticket);
	for (unsigned i = 1; i < RING_DIRECTORIES; i++) {
		EXPECT_OK(generations_commit(f.g, NULL, 0, &generation));
		EXPECT_EQ(generations_oldest(f.g), i);
		EXPECT_EQ(generations_ref(f.g, i, 5), REF(OBJECT_SERVICE, i));
	}
	/* Who took the root while it was the ticket's may still be there. */
	EXPECT_EQ(generations_commit(f.g, NULL, 0, &generation), -EAGAIN);
}

TEST(a_new_agent_finds_generations_and_ids_and_waits_for_readers_of_the_one_before)
{
	FIXTURE(f);
	const uint32_t service = generations_id_make(f.g, OBJECT_SERVICE, "mesh/m/virtualService/s");
	const uint32_t target = generations_id_make(f.g, OBJECT_TARGET, "mesh/m/virtualService/s");
	uint64_t generation;

	EXPECT(service && target && service != target);
	for (unsigned i = 0; i < 2 * RING_DIRECTORIES; i++) {
		grace(&f);
		commit(&f, service, REF(OBJECT_SERVICE, 1 + i));
	}
	restart(&f);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_SERVICE, "mesh/m/virtualService/s"), service);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_TARGET, "mesh/m/virtualService/s"), target);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, "mesh/m/virtualService/s"), 0);
	EXPECT_EQ(generations_current(f.g), 2 * RING_DIRECTORIES);
	EXPECT_EQ(generations_oldest(f.g), RING_DIRECTORIES + 1);
	EXPECT_EQ(generations_ref(f.g, 2 * RING_DIRECTORIES, service), REF(OBJECT_SERVICE, 2 * RING_DIRECTORIES));
	EXPECT_EQ(generations_sweep_begin(f.g), -EAGAIN);
	EXPECT_EQ(generations_commit(f.g, NULL, 0, &generation), -EAGAIN);
	sweep(&f);
	EXPECT_EQ(generations_commit(f.g, NULL, 0, &generation), 0);
}

TEST(a_name_too_long_has_no_id)
{
	FIXTURE(f);
	char name[GENERATIONS_NAME_BYTES + 1];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	EXPECT_EQ(generations_id_make(f.g, OBJECT_SERVICE, name), 0);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_SERVICE, name), 0);
	name[sizeof(name) - 2] = '\0';
	EXPECT(generations_id_make(f.g, OBJECT_SERVICE, name) != 0);
}

static const char *numbered(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "mesh/m/virtualNode/%u", i);
	return name;
}

TEST(unused_names_keep_their_ids_until_ids_run_short)
{
	const unsigned many = MAX_OBJECTS * 3 / 4 - 1; /* a quarter is free then: id 0 never is */
	FIXTURE(f);
	uint32_t in_directory, held, in_account, unused;

	for (unsigned i = 0; i < many; i++)
		EXPECT(generations_id_make(f.g, OBJECT_NODE, numbered(i)) != 0);
	in_directory = generations_id_get(f.g, OBJECT_NODE, numbered(10));
	held = generations_id_get(f.g, OBJECT_NODE, numbered(11));
	in_account = generations_id_get(f.g, OBJECT_NODE, numbered(12));
	unused = generations_id_get(f.g, OBJECT_NODE, numbered(13));
	generations_id_hold(f.g, held);
	generations_id_hold(f.g, held);
	generations_id_release(f.g, held);
	commit(&f, in_directory, REF(OBJECT_NODE, 1));
	sweep(&f);
	EXPECT_EQ(used(&f, "objects"), many + 1);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, numbered(13)), unused);

	/* One more, and only what is named stays, and what is part of the change at hand. */
	EXPECT(generations_id_make(f.g, OBJECT_NODE, "fresh") != 0);
	EXPECT_EQ(generations_id_make(f.g, OBJECT_NODE, numbered(14)), unused + 1);
	grace(&f);
	EXPECT_OK(generations_sweep_begin(f.g));
	generations_sweep_account(f.g, &(struct account){ .source = in_account });
	generations_sweep_end(f.g, on_retired, &f);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, numbered(13)), 0);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, numbered(10)), in_directory);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, numbered(11)), held);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, numbered(12)), in_account);
	EXPECT_EQ(generations_id_get(f.g, OBJECT_NODE, numbered(14)), unused + 1);
	EXPECT(generations_id_get(f.g, OBJECT_NODE, "fresh") != 0);
	EXPECT_EQ(used(&f, "objects"), 6);
}

TEST(ids_named_inside_records_are_not_given_to_other_names)
{
	FIXTURE(f);
	const uint32_t service = generations_id_make(f.g, OBJECT_SERVICE, "s");
	const uint32_t target = generations_id_make(f.g, OBJECT_TARGET, "t");
	const int64_t record = generations_alloc_service(f.g), routes = generations_alloc_routes(f.g, 2);

	f.memory.arrays.services[record] = (struct service_record){ .first_route = (uint32_t)routes, .port_count = 2 };
	f.memory.arrays.routes[routes + 1] = (struct route_record){ .target_count = 1, .target = { target } };
	commit(&f, service, REF(OBJECT_SERVICE, record));
	for (unsigned i = 0; i < MAX_OBJECTS; i++)
		generations_id_make(f.g, OBJECT_NODE, numbered(i));
	EXPECT_EQ(generations_id_make(f.g, OBJECT_NODE, "one more"), 0);
	generations_abandon(f.g);
	sweep(&f);
	EXPECT_EQ(used(&f, "objects"), 3); /* 0, the service, the target that is in no directory */
	EXPECT_EQ(generations_id_get(f.g, OBJECT_TARGET, "t"), target);
	EXPECT_EQ(used(&f, "routes"), 2);
}

TEST(what_a_change_allocates_survives_sweeps_until_it_is_given_up)
{
	FIXTURE(f);
	int64_t service, slot;
	uint32_t incarnation;

	service = generations_alloc_service(f.g);
	slot = generations_alloc_slot(f.g);
	EXPECT(generations_alloc_refs(f.g, 100) >= 0);
	incarnation = f.memory.arrays.endpoints[slot].incarnation;
	EXPECT_EQ(incarnation & 1, 1);
	sweep(&f);
	sweep(&f);
	EXPECT(generations_alloc_service(f.g) != service);
	EXPECT_EQ(f.memory.arrays.endpoints[slot].incarnation, incarnation);
	EXPECT_EQ(used(&f, "endpoint-refs"), 100);
	generations_abandon(f.g);
	EXPECT_EQ(used(&f, "endpoint-refs"), 100);
	sweep(&f);
	EXPECT_EQ(used(&f, "endpoint-refs"), 0);
	EXPECT_EQ(used(&f, "services"), 0);
	test_memory_reach(&f.memory);
	EXPECT_EQ(f.memory.arrays.endpoints[slot].incarnation, incarnation + 1);
}

TEST(a_slot_is_freed_when_neither_a_kept_directory_nor_an_account_names_it)
{
	FIXTURE(f);
	int64_t slot;
	const uint32_t id = given_target(&f, "t", &slot);
	struct endpoint *endpoint = &f.memory.arrays.endpoints[slot];
	const struct account account = { .slot = (uint32_t)slot, .slot_incarnation = endpoint->incarnation, .target = id };

	endpoint->open = 1;
	commit(&f, id, 0);
	sweep(&f);
	EXPECT_EQ(used(&f, "endpoints"), 1); /* by generation 1, which is kept */
	generations_trim(f.g, 1);
	EXPECT_EQ(generations_oldest(f.g), 2);
	grace(&f);
	EXPECT_OK(generations_sweep_begin(f.g));
	generations_sweep_account(f.g, &account);
	generations_sweep_end(f.g, on_retired, &f);
	EXPECT_EQ(used(&f, "endpoint-refs"), 0);
	EXPECT_EQ(used(&f, "endpoints"), 1);
	EXPECT_EQ(endpoint->incarnation, account.slot_incarnation);
	EXPECT_EQ(endpoint->open, 1);
	sweep(&f);
	EXPECT_EQ(used(&f, "endpoints"), 0);
	test_memory_reach(&f.memory);
	EXPECT_EQ(endpoint->incarnation, account.slot_incarnation + 1);
	EXPECT_EQ(endpoint->open, 0);

	/* The account of another owner names nothing. */
	EXPECT_EQ(generations_alloc_slot(f.g), slot);
	EXPECT_EQ(endpoint->incarnation, account.slot_incarnation + 2);
	generations_abandon(f.g);
	grace(&f);
	EXPECT_OK(generations_sweep_begin(f.g));
	generations_sweep_account(f.g, &account);
	generations_sweep_end(f.g, on_retired, &f);
	EXPECT_EQ(used(&f, "endpoints"), 0);
}

TEST(letting_go_of_generations_takes_a_grace_period_before_the_sweep)
{
	FIXTURE(f);
	int64_t slot;

	commit(&f, given_target(&f, "t", &slot), 0);
	generations_trim(f.g, RING_DIRECTORIES);
	EXPECT_EQ(generations_oldest(f.g), 0);
	generations_trim(f.g, 1);
	EXPECT_EQ(generations_ref(f.g, 1, 1), 0);
	EXPECT_EQ(generations_sweep_begin(f.g), -EAGAIN);
	grace(&f);
	EXPECT_OK(generations_sweep_begin(f.g));
}

TEST(a_row_is_told_with_its_counts_before_it_is_cleared)
{
	FIXTURE(f);
	int64_t row;
	const uint32_t id = given_node(&f, "n", 3, &row);
	struct row *rows = &f.memory.arrays.rows[row];

	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(rows[i].incarnation & 1, 1);
		rows[i].closed = 10 + i;
		rows[i].source = id;
	}
	sweep(&f);
	EXPECT_EQ(f.retired_count, 0);
	commit(&f, id, 0);
	generations_trim(f.g, 1);
	f.retired_result = -EIO;
	sweep(&f);
	EXPECT_EQ(f.retired_count, 3);
	EXPECT_EQ(used(&f, "rows"), 3);
	EXPECT_EQ(rows[2].closed, 12);

	f.retired_count = 0;
	f.retired_result = 0;
	sweep(&f);
	EXPECT_EQ(f.retired_count, 3);
	EXPECT_EQ(f.retired[1].closed, 11);
	EXPECT_EQ(f.retired[1].source, id);
	EXPECT_EQ(used(&f, "rows"), 0);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(rows[i].incarnation & 1, 0);
		EXPECT_EQ(rows[i].closed, 0);
		EXPECT_EQ(rows[i].source, 0);
	}
	sweep(&f);
	EXPECT_EQ(f.retired_count, 3);
}

TEST(rows_of_an_agent_that_died_before_its_commit_are_free_for_the_next)
{
	FIXTURE(f);
	const int64_t row = generations_alloc_rows(f.g, 2);

	f.memory.arrays.rows[row].closed = 7; /* left over from an interrupted clearing */
	restart(&f);
	sweep(&f);
	EXPECT_EQ(used(&f, "rows"), 0);
	test_memory_reach(&f.memory);
	EXPECT_EQ(f.memory.arrays.rows[row].incarnation, 2);
	f.memory.arrays.rows[row].closed = 7;
	EXPECT_EQ(generations_alloc_rows(f.g, 2), row);
	EXPECT_EQ(f.memory.arrays.rows[row].incarnation, 3);
	EXPECT_EQ(f.memory.arrays.rows[row].closed, 0);
}

TEST(what_is_committed_while_a_sweep_is_under_way_is_marked)
{
	FIXTURE(f);
	int64_t slot, row;
	uint64_t generation;

	EXPECT_OK(generations_sweep_begin(f.g));
	given_target(&f, "t", &slot);
	given_node(&f, "n", 2, &row);
	for (unsigned i = 0; i < 2 * RING_DIRECTORIES; i++) {
		grace(&f);
		EXPECT_OK(generations_commit(f.g, NULL, 0, &generation));
	}
	generations_sweep_end(f.g, on_retired, &f);
	EXPECT_EQ(used(&f, "endpoints"), 1);
	EXPECT_EQ(used(&f, "rows"), 2);
	EXPECT_EQ(f.retired_count, 0);
}

TEST(names_out_of_range_name_nothing_and_are_counted)
{
	FIXTURE(f);
	struct kernel_memory *m = &f.memory.arrays;
	struct directory_page *directory = &m->directories[1];

	test_memory_reach(&f.memory);
	m->root->generation = 1;
	directory->refs[0] = REF(OBJECT_SERVICE, 1); /* 1: id 0 */
	directory->refs[1] = REF(OBJECT_NODE, MAX_NODES); /* 2 */
	directory->refs[2] = REF(9, 1); /* 3 */
	directory->refs[3] = REF(OBJECT_NODE, MAX_NODES - 1);
	m->nodes[MAX_NODES - 1] = (struct node_record){ .first_backend = 4, .backend_count = 2 };
	m->backends[4] = (struct backend){ .service = MAX_OBJECTS, .row = UINT32_MAX, .row_count = 2 }; /* 4, 5 */
	m->backends[5] = (struct backend){ .service = 77, .row = MAX_ROWS - 1, .row_count = 2 }; /* 6 */
	directory->refs[4] = REF(OBJECT_TARGET, 0);
	m->targets[0] = (struct target_record){ .first = { 10, UINT32_MAX }, .count = { 2, UINT32_MAX } }; /* 7 */
	m->refs[10].slot = MAX_ENDPOINTS; /* 8 */
	m->refs[11].slot = MAX_ENDPOINTS - 1;
	directory->refs[5] = REF(OBJECT_SERVICE, MAX_SERVICE_RECORDS - 1);
	m->services[MAX_SERVICE_RECORDS - 1] = (struct service_record){ .first_route = MAX_ROUTES - 1, .port_count = 1 };
	m->routes[MAX_ROUTES - 1].target_count = 255; /* 9 */
	directory->refs[6] = REF(OBJECT_SERVICE, 0);
	m->services[0] = (struct service_record){ .first_route = MAX_ROUTES - 1, .port_count = 2 }; /* 10 */
	restart(&f);
	grace(&f);
	EXPECT_OK(generations_sweep_begin(f.g));
	generations_sweep_account(f.g, &(struct account){ .row = MAX_ROWS, .slot = MAX_ENDPOINTS, .source = MAX_OBJECTS });
	generations_sweep_end(f.g, on_retired, &f);
	EXPECT_EQ(generations_ignored(f.g), 10 + 3);
	EXPECT_EQ(used(&f, "nodes"), 1);
	EXPECT_EQ(used(&f, "backends"), 2);
	EXPECT_EQ(used(&f, "rows"), 0);
	EXPECT_EQ(used(&f, "endpoint-refs"), 2);
	EXPECT_EQ(used(&f, "endpoints"), 1);
	EXPECT_EQ(used(&f, "routes"), 1);
	EXPECT_EQ(used(&f, "objects"), 1 + 4 + 1); /* id 0; 3, 4, 5, 6; 77 */
}

TEST(ranges_are_found_between_what_is_used_and_do_not_overlap)
{
	FIXTURE(f);
	int64_t slot;

	/* Fifty targets keep every tenth place, the change at hand keeps all places from 500 on. */
	for (unsigned i = 0; i < 50; i++) {
		given_target(&f, numbered(i), &slot);
		EXPECT_EQ(generations_alloc_refs(f.g, 9), 10 * i + 1);
	}
	generations_abandon(f.g);
	EXPECT_EQ(generations_alloc_refs(f.g, MAX_ENDPOINT_REFS - 499), -ENOSPC);
	EXPECT_EQ(generations_alloc_refs(f.g, MAX_ENDPOINT_REFS - 500), 500);
	EXPECT_EQ(generations_alloc_refs(f.g, 1), -ENOSPC);
	sweep(&f);
	EXPECT_EQ(generations_alloc_refs(f.g, 10), -ENOSPC);
	EXPECT_EQ(generations_alloc_refs(f.g, 0), 0);
	EXPECT_EQ(generations_alloc_refs(f.g, 9), 1);
	EXPECT_EQ(generations_alloc_refs(f.g, 9), 11);
	EXPECT_EQ(generations_alloc_refs(f.g, 5), 21);
	EXPECT_EQ(generations_alloc_refs(f.g, 5), 31);
	EXPECT_EQ(generations_alloc_refs(f.g, 4), 36);
	for (unsigned i = 4; i < 50; i++)
		EXPECT_EQ(generations_alloc_refs(f.g, 9), 10 * i + 1);
	EXPECT_EQ(generations_alloc_refs(f.g, 4), 26); /* around the end */
	EXPECT_EQ(generations_alloc_refs(f.g, 1), -ENOSPC);
}

TEST(places_that_a_sweep_frees_in_between_are_used_again)
{
	FIXTURE(f);
	uint32_t ids[4];
	int64_t slots[4];

	for (unsigned i = 0; i < 4; i++)
		ids[i] = given_target(&f, numbered(i), &slots[i]);
	commit(&f, ids[1], 0);
	commit(&f, ids[2], 0);
	generations_trim(f.g, 1);
	sweep(&f);
	EXPECT_EQ(generations_alloc_refs(f.g, 3), 4);
	EXPECT_EQ(generations_alloc_refs(f.g, 1), 7);
	generations_abandon(f.g);
	sweep(&f);
	EXPECT_EQ(generations_alloc_refs(f.g, 2), 1);
	EXPECT_EQ(generations_alloc_slot(f.g), slots[1]);
	EXPECT_EQ(generations_alloc_slot(f.g), slots[2]);
	EXPECT_EQ(generations_alloc_slot(f.g), 4);
}

static uint32_t in_memory(const struct fixture *f, size_t array)
{
	return f->memory.arrays.fronts[array].count;
}

TEST(what_is_used_is_in_memory_and_all_of_it_while_nobody_knows)
{
	FIXTURE(f);
	const uint32_t far = MAX_ROWS / 2;
	int64_t row, slot;

	given_target(&f, "t", &slot);
	EXPECT_EQ(generations_alloc_rows(f.g, far), 0);
	given_node(&f, "n", 1, &row); /* behind those, which nothing names */
	EXPECT_EQ(row, far);
	f.memory.arrays.rows[row].closed = 7;
	EXPECT(in_memory(&f, KERNEL_ARRAY(rows)) > far);
	restart(&f);
	for (size_t i = 0; i < KERNEL_ARRAY_COUNT; i++)
		EXPECT_EQ(in_memory(&f, i), f.memory.arrays.fronts[i].size);
	sweep(&f);
	EXPECT(in_memory(&f, KERNEL_ARRAY(rows)) > far && in_memory(&f, KERNEL_ARRAY(rows)) < MAX_ROWS);
	EXPECT(in_memory(&f, KERNEL_ARRAY(endpoints)) < MAX_ENDPOINTS);
	EXPECT(in_memory(&f, KERNEL_ARRAY(objects)) < MAX_OBJECTS);
	EXPECT_EQ(in_memory(&f, KERNEL_DIRECTORIES), RING_DIRECTORIES);
	EXPECT_EQ(f.memory.arrays.rows[row].closed, 7);
}

TEST(places_that_are_found_behind_what_is_in_memory_are_in_memory_then)
{
	FIXTURE(f);
	uint64_t generation;
	uint32_t id = 0;
	int64_t place = 0;

	EXPECT_EQ(in_memory(&f, KERNEL_ARRAY(services)), 0);
	for (uint32_t i = 0; i < 3 * DIRECTORY_PAGE_IDS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "service %u", i);
		id = generations_id_make(f.g, OBJECT_SERVICE, name);
		place = generations_alloc_service(f.g);
		EXPECT(id && place >= 0);
		f.memory.arrays.services[place].port_count = 1;
		EXPECT_OK(generations_commit(f.g, &(struct change){ id, REF(OBJECT_SERVICE, place) }, 1, &generation));
		grace(&f);
	}
	EXPECT_EQ(in_memory(&f, KERNEL_DIRECTORIES), 4 * RING_DIRECTORIES);
	restart(&f);
	EXPECT_EQ(generations_ref(f.g, generation, id), REF(OBJECT_SERVICE, place));
	EXPECT_EQ(f.memory.arrays.services[place].port_count, 1);
	sweep(&f);
	EXPECT_EQ(used(&f, "services"), 3 * DIRECTORY_PAGE_IDS);
}

/* Commits write what is in memory of a directory: the rest must be zero, in those that are not kept as well. */
TEST(what_is_let_go_of_directories_is_zero)
{
	FIXTURE(f);
	const uint32_t far = MAX_OBJECTS - 1;

	test_memory_reach(&f.memory);
	commit(&f, far, REF(OBJECT_SERVICE, 1)); /* in directory 1, which stays behind */
	commit(&f, far, 0);
	generations_trim(f.g, 1);
	sweep(&f);
	EXPECT_EQ(in_memory(&f, KERNEL_DIRECTORIES), RING_DIRECTORIES);
	for (unsigned i = 0; i < RING_DIRECTORIES; i++) { /* until it is written again */
		commit(&f, 5, REF(OBJECT_SERVICE, i));
		grace(&f);
	}
	EXPECT_EQ((f.memory.arrays.root->generation - 1) % RING_DIRECTORIES, 1);
	restart(&f);
	for (unsigned i = 0; i < RING_DIRECTORIES; i++)
		EXPECT_EQ(*kernel_memory_ref(&f.memory.arrays, i, far), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_crowded_when_most_of_what_a_sweep_left_is_used),
		cmocka_unit_test(before_the_first_sweep_ids_are_made_and_nothing_else_is_allocated),
		cmocka_unit_test(a_root_that_cannot_be_is_refused_by_name),
		cmocka_unit_test(a_commit_changes_what_it_names_and_leaves_older_generations_alone),
		cmocka_unit_test(a_ring_that_would_catch_up_with_readers_waits_for_a_grace_period),
		cmocka_unit_test(a_new_agent_finds_generations_and_ids_and_waits_for_readers_of_the_one_before),
		cmocka_unit_test(a_name_too_long_has_no_id),
		cmocka_unit_test(unused_names_keep_their_ids_until_ids_run_short),
		cmocka_unit_test(ids_named_inside_records_are_not_given_to_other_names),
		cmocka_unit_test(what_a_change_allocates_survives_sweeps_until_it_is_given_up),
		cmocka_unit_test(a_slot_is_freed_when_neither_a_kept_directory_nor_an_account_names_it),
		cmocka_unit_test(letting_go_of_generations_takes_a_grace_period_before_the_sweep),
		cmocka_unit_test(a_row_is_told_with_its_counts_before_it_is_cleared),
		cmocka_unit_test(rows_of_an_agent_that_died_before_its_commit_are_free_for_the_next),
		cmocka_unit_test(what_is_committed_while_a_sweep_is_under_way_is_marked),
		cmocka_unit_test(names_out_of_range_name_nothing_and_are_counted),
		cmocka_unit_test(ranges_are_found_between_what_is_used_and_do_not_overlap),
		cmocka_unit_test(places_that_a_sweep_frees_in_between_are_used_again),
		cmocka_unit_test(what_is_used_is_in_memory_and_all_of_it_while_nobody_knows),
		cmocka_unit_test(places_that_are_found_behind_what_is_in_memory_are_in_memory_then),
		cmocka_unit_test(what_is_let_go_of_directories_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
