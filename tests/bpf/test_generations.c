/* SPDX-License-Identifier: Apache-2.0 */
/* Generations on the real maps: readers in the kernel while user space commits and reuses memory as fast as it can, and agents
 * that are killed at it. What the rules are, and that they hold in every order of events, is for test_generation_model.c. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"
#include "maps/generation.h"
#include "tests/bpf/fixture.h"
#include "tests/bpf/hammer.h"
#include "tests/lib/test.h"
#include "weft.skel.h"

#include "hammer.skel.h" /* needs hammer.h */

enum { ACCOUNTS = 16, ROWS = 3, MOST_REFS = 5, SWEEP_EVERY = 50 };

/* Shared with children. */
struct shared {
	uint64_t random;
	struct account accounts[ACCOUNTS]; /* of connections that stay open */
	unsigned account_count;
};

struct world {
	struct fixture fixture;
	struct kernel_memory *memory;
	struct hammer *hammer;
	struct pair pairs[PAIRS];
	struct shared *shared;
	unsigned commits;
	pthread_t reader;
	bool stop;
	int reader_result;
};

static uint32_t draw(struct world *w, uint32_t below)
{
	w->shared->random ^= w->shared->random << 13;
	w->shared->random ^= w->shared->random >> 7;
	w->shared->random ^= w->shared->random << 17;
	return (uint32_t)(w->shared->random >> 32) % below;
}

/* --- the agent ------------------------------------------------------------------------------------------------------------ */

static int keep_nothing(uint32_t index, const struct row *row, void *arg)
{
	(void)index;
	(void)row;
	(void)arg;
	return 0;
}

static void grace(struct generations *g)
{
	const uint64_t ticket = generations_grace_begin(g);

	EXPECT_OK(grace_wait());
	generations_grace_end(g, ticket);
}

static void sweep(struct world *w, struct generations *g)
{
	grace(g);
	EXPECT_OK(generations_sweep_begin(g));
	for (unsigned i = 0; i < w->shared->account_count; i++)
		generations_sweep_account(g, &w->shared->accounts[i]);
	generations_sweep_end(g, keep_nothing, NULL);
}

static uint32_t write_service(struct world *w, struct generations *g, uint32_t target, uint16_t tag)
{
	const uint32_t count = 1 + draw(w, 3);
	const int64_t index = generations_alloc_service(g), first = generations_alloc_routes(g, count);
	struct service_record service = { .first_route = (uint32_t)first, .port_count = (uint16_t)count };
	struct route_record route = { .target_count = 1, .target = { target } };

	EXPECT(index >= 0 && first >= 0);
	for (unsigned i = 0; i < MAX_SERVICE_PORTS; i++)
		service.ports[i] = tag;
	for (unsigned i = 0; i < MAX_ROUTE_TARGETS; i++)
		route.cumulative[i] = tag;
	for (uint32_t i = 0; i < count; i++)
		w->memory->routes[first + i] = route;
	w->memory->services[index] = service;
	return REF(OBJECT_SERVICE, index);
}

static uint32_t write_target(struct world *w, struct generations *g, uint16_t tag)
{
	const uint32_t count = 1 + draw(w, MOST_REFS);
	const int64_t index = generations_alloc_target(g), first = generations_alloc_refs(g, count);

	EXPECT(index >= 0 && first >= 0);
	for (uint32_t i = 0; i < count; i++) {
		const int64_t slot = generations_alloc_slot(g);

		EXPECT(slot >= 0);
		w->memory->refs[first + i] = (struct endpoint_ref){
			.slot = (uint32_t)slot,
			.incarnation = w->memory->endpoints[slot].incarnation,
			.zone = tag,
		};
	}
	w->memory->targets[index] = (struct target_record){ .first = { (uint32_t)first }, .count = { count }, .panic_pct = tag };
	return REF(OBJECT_TARGET, index);
}

static uint32_t write_node(struct world *w, struct generations *g, uint32_t service, uint16_t tag)
{
	const int64_t index = generations_alloc_node(g), first = generations_alloc_backends(g, 1);
	const int64_t row = generations_alloc_rows(g, ROWS);

	EXPECT(index >= 0 && first >= 0 && row >= 0);
	w->memory->backends[first] = (struct backend){
		.service = service,
		.row = (uint32_t)row,
		.row_count = ROWS,
		.flags = tag,
		.tls_ports = w->memory->rows[row].incarnation,
	};
	w->memory->nodes[index] =
		(struct node_record){ .first_backend = (uint32_t)first, .backend_count = 1, .l7_ports = { tag } };
	return REF(OBJECT_NODE, index);
}

/* One change: everything that belongs to a pair. */
static void change_pair(struct world *w, struct generations *g, const struct pair *pair)
{
	const uint16_t tag = (uint16_t)draw(w, UINT16_MAX);
	const struct change changes[] = {
		{ pair->services[0], write_service(w, g, pair->target, tag) },
		{ pair->services[1], write_service(w, g, pair->target, tag) },
		{ pair->target, write_target(w, g, tag) },
		{ pair->node, write_node(w, g, pair->services[0], tag) },
	};
	uint64_t generation;
	int r;

	while ((r = generations_commit(g, changes, ARRAY_SIZE(changes), &generation)) == -EAGAIN)
		grace(g);
	EXPECT_OK(r);
}

static void make_ids(struct generations *g, struct pair pairs[PAIRS])
{
	for (unsigned i = 0; i < PAIRS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%u", i);
		pairs[i].target = generations_id_make(g, OBJECT_TARGET, name);
		pairs[i].node = generations_id_make(g, OBJECT_NODE, name);
		for (unsigned k = 0; k < 2; k++) {
			snprintf(name, sizeof(name), "%u of %u", k, i);
			pairs[i].services[k] = generations_id_make(g, OBJECT_SERVICE, name);
			EXPECT(pairs[i].services[k] && pairs[i].target && pairs[i].node);
		}
	}
}

/* Commits for as long as `go_on` says so. The ring runs full now and then, and is emptied now and then. */
static void work(struct world *w, struct generations *g, bool (*go_on)(struct world *w))
{
	while (go_on(w)) {
		change_pair(w, g, &w->pairs[draw(w, PAIRS)]);
		w->commits++;
		if (draw(w, SWEEP_EVERY))
			continue;
		if (draw(w, 2))
			generations_trim(g, 1 + draw(w, 4));
		sweep(w, g);
	}
}

/* --- the reader in the kernel --------------------------------------------------------------------------------------------- */

static void *hammer_on(void *arg)
{
	struct world *w = arg;
	char packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet));

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED) && !w->reader_result)
		w->reader_result = bpf_prog_test_run_opts(bpf_program__fd(w->hammer->progs.hammer), &options);
	return NULL;
}

static void hammer_start(struct world *w)
{
	struct bpf_map *map;

	w->hammer = hammer__open();
	EXPECT(w->hammer);
	bpf_object__for_each_map(map, w->hammer->obj) {
		const int fd = bpf_object__find_map_fd_by_name(w->fixture.skeleton->obj, bpf_map__name(map));

		if (fd >= 0)
			EXPECT_OK(bpf_map__reuse_fd(map, fd));
	}
	EXPECT_OK(hammer__load(w->hammer));
	memcpy(w->hammer->bss->pairs, w->pairs, sizeof(w->pairs));
	w->hammer->bss->most_rounds = 10000;
	EXPECT_EQ(pthread_create(&w->reader, NULL, hammer_on, w), 0);
}

static void hammer_stop(struct world *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pthread_join(w->reader, NULL);
	print_message("%llu readings: %llu torn, %llu mixed, %llu missing; %llu generations\n",
		      (unsigned long long)w->hammer->bss->clean, (unsigned long long)w->hammer->bss->torn,
		      (unsigned long long)w->hammer->bss->mixed, (unsigned long long)w->hammer->bss->missing,
		      (unsigned long long)w->memory->root->generation);
	EXPECT_EQ(w->reader_result, 0);
	EXPECT_EQ(w->hammer->bss->torn, 0);
	EXPECT_EQ(w->hammer->bss->mixed, 0);
	EXPECT_EQ(w->hammer->bss->missing, 0);
	EXPECT(w->hammer->bss->clean > 0);
}

/* Maps in which every pair was committed, and a reader at work on them. */
static void world_init(struct world *w)
{
	struct generations *g;

	*w = (struct world){};
	fixture_init(&w->fixture);
	w->memory = &w->fixture.kernel.memory;
	*w->memory->root = (struct root){};
	w->shared = mmap(NULL, sizeof(*w->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(w->shared != MAP_FAILED);
	w->shared->random = 0x9e3779b97f4a7c15ull;
	EXPECT_OK(generations_new(w->memory, &g, NULL));
	sweep(w, g);
	make_ids(g, w->pairs);
	for (unsigned i = 0; i < PAIRS; i++)
		change_pair(w, g, &w->pairs[i]);
	generations_free(g);
	hammer_start(w);
}

static void world_done(struct world *w)
{
	hammer__destroy(w->hammer);
	fixture_done(&w->fixture);
}

/* --- what is in the maps -------------------------------------------------------------------------------------------------- */

struct named {
	uint8_t services[FIXTURE_SERVICE_RECORDS], routes[FIXTURE_ROUTES], targets[FIXTURE_TARGETS], refs[FIXTURE_REFS];
	uint8_t nodes[FIXTURE_NODES], backends[FIXTURE_BACKENDS], endpoints[FIXTURE_ENDPOINTS], rows[FIXTURE_ROWS];
};

/* Everything that this generation names, and that it is one piece. */
static void name_generation(struct world *w, uint64_t generation, struct named *named)
{
	const struct kernel_memory *m = w->memory;
	const uint32_t *refs = m->directories[generation % RING_DIRECTORIES].refs;

	for (unsigned i = 0; i < PAIRS; i++) {
		const struct pair *pair = &w->pairs[i];
		const uint32_t target = refs[pair->target] & REF_INDEX_MASK, node = refs[pair->node] & REF_INDEX_MASK;
		const struct target_record *t = &m->targets[target];
		const struct backend *b = &m->backends[m->nodes[node].first_backend];
		const uint16_t tag = t->panic_pct;

		EXPECT(refs[pair->target] && refs[pair->node] && refs[pair->services[0]] && refs[pair->services[1]]);
		for (unsigned k = 0; k < 2; k++) {
			const uint32_t service = refs[pair->services[k]] & REF_INDEX_MASK;
			const struct service_record *s = &m->services[service];

			EXPECT_EQ(s->ports[0], tag);
			EXPECT_EQ(m->routes[s->first_route].cumulative[0], tag);
			named->services[service] = 1;
			memset(named->routes + s->first_route, 1, s->port_count);
		}
		named->targets[target] = 1;
		memset(named->refs + t->first[0], 1, t->count[0]);
		for (uint32_t k = 0; k < t->count[0]; k++) {
			const struct endpoint_ref *ref = &m->refs[t->first[0] + k];

			EXPECT_EQ(ref->zone, tag);
			EXPECT_EQ(m->endpoints[ref->slot].incarnation, ref->incarnation);
			named->endpoints[ref->slot] = 1;
		}
		EXPECT_EQ(m->nodes[node].l7_ports[0], tag);
		EXPECT_EQ(b->flags, tag);
		EXPECT_EQ(m->rows[b->row].incarnation, b->tls_ports);
		named->nodes[node] = 1;
		named->backends[m->nodes[node].first_backend] = 1;
		memset(named->rows + b->row, 1, b->row_count);
	}
}

static int64_t alloc_route(struct generations *g)
{
	return generations_alloc_routes(g, 1);
}
static int64_t alloc_ref(struct generations *g)
{
	return generations_alloc_refs(g, 1);
}
static int64_t alloc_backend(struct generations *g)
{
	return generations_alloc_backends(g, 1);
}
static int64_t alloc_row(struct generations *g)
{
	return generations_alloc_rows(g, 1);
}

/* Takes everything that can be had from each array: all that nothing names, and nothing else. */
static void check_reusable(struct world *w, struct generations *g, struct named *named)
{
	const struct {
		uint8_t *named;
		uint32_t size;
		int64_t (*alloc)(struct generations *g);
	} arrays[] = {
		{ named->services, FIXTURE_SERVICE_RECORDS, generations_alloc_service },
		{ named->routes, FIXTURE_ROUTES, alloc_route },
		{ named->targets, FIXTURE_TARGETS, generations_alloc_target },
		{ named->refs, FIXTURE_REFS, alloc_ref },
		{ named->nodes, FIXTURE_NODES, generations_alloc_node },
		{ named->backends, FIXTURE_BACKENDS, alloc_backend },
		{ named->endpoints, FIXTURE_ENDPOINTS, generations_alloc_slot },
		{ named->rows, FIXTURE_ROWS, alloc_row },
	};

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		uint32_t free_count = 0, had = 0;
		int64_t index;

		for (uint32_t k = 0; k < arrays[i].size; k++)
			free_count += !arrays[i].named[k];
		while ((index = arrays[i].alloc(g)) >= 0) {
			EXPECT(!arrays[i].named[index]);
			had++;
		}
		EXPECT_EQ(had, free_count);
	}
	generations_abandon(g);
	sweep(w, g);
}

/* Connections that stay open from now on: to what the current generation names, which another process has written. */
static void open_connections(struct world *w)
{
	const uint32_t *refs = w->memory->directories[w->memory->root->generation % RING_DIRECTORIES].refs;

	for (size_t i = 0; i < KERNEL_ARRAY_COUNT; i++)
		EXPECT_OK(front_reach(&w->memory->fronts[i], UINT32_MAX));
	for (unsigned i = 0; i < PAIRS && w->shared->account_count < ACCOUNTS; i++) {
		const struct node_record *node = &w->memory->nodes[refs[w->pairs[i].node] & REF_INDEX_MASK];
		const struct target_record *target = &w->memory->targets[refs[w->pairs[i].target] & REF_INDEX_MASK];
		const struct backend *backend = &w->memory->backends[node->first_backend];
		const struct endpoint_ref *ref = &w->memory->refs[target->first[0]];

		w->shared->accounts[w->shared->account_count++] = (struct account){
			.source = w->pairs[i].node,
			.service = backend->service,
			.target = w->pairs[i].target,
			.row = backend->row + 1,
			.row_incarnation = w->memory->rows[backend->row + 1].incarnation,
			.slot = ref->slot,
			.slot_incarnation = ref->incarnation,
		};
	}
}

/* The next agent: finds what is whole, and may reuse all else. */
static void take_over(struct world *w)
{
	_cleanup_free_ struct named *named = calloc(1, sizeof(*named));
	struct pair pairs[PAIRS];
	struct generations *g;

	EXPECT(named);
	EXPECT_OK(generations_new(w->memory, &g, NULL));
	for (uint64_t generation = generations_oldest(g); generation <= generations_current(g); generation++)
		if (generation >= PAIRS) /* the first ones made the pairs */
			name_generation(w, generation, named);
	for (unsigned i = 0; i < w->shared->account_count; i++) {
		const struct account *account = &w->shared->accounts[i];

		EXPECT_EQ(w->memory->rows[account->row].incarnation, account->row_incarnation);
		EXPECT_EQ(w->memory->endpoints[account->slot].incarnation, account->slot_incarnation);
		named->rows[account->row] = 1;
		named->endpoints[account->slot] = 1;
	}
	generations_trim(g, (unsigned)MIN(RING_DIRECTORIES, generations_current(g) - PAIRS + 1));
	sweep(w, g);
	make_ids(g, pairs);
	EXPECT(!memcmp(pairs, w->pairs, sizeof(pairs)));
	check_reusable(w, g, named);
	generations_free(g);
}

/* --- the tests ------------------------------------------------------------------------------------------------------------ */

enum { COMMITS = 3000, READINGS = 20000000, DEATHS = 50 };

static bool not_enough(struct world *w)
{
	return w->commits < COMMITS || __atomic_load_n(&w->hammer->bss->clean, __ATOMIC_RELAXED) < READINGS;
}

TEST(two_services_that_change_together_are_never_seen_mixed_or_torn)
{
	_cleanup_(world_done) struct world w;
	struct generations *g;

	world_init(&w);
	EXPECT_OK(generations_new(w.memory, &g, NULL));
	sweep(&w, g);
	work(&w, g, not_enough);
	generations_free(g);
	hammer_stop(&w);
}

/* Whatever runs when a grace period begins has ended when it is over. */
static bool readers_end(struct world *w)
{
	const uint64_t deadline = test_now_ns() + 60 * NSEC_PER_SEC;
	unsigned times = 0;

	while (times < 30 && test_now_ns() < deadline) {
		const uint64_t left = __atomic_load_n(&w->hammer->bss->left, __ATOMIC_SEQ_CST);
		const uint64_t entered = __atomic_load_n(&w->hammer->bss->entered, __ATOMIC_SEQ_CST);

		if (entered == left) /* nobody there: it proves nothing */
			continue;
		if (grace_wait() < 0 || __atomic_load_n(&w->hammer->bss->left, __ATOMIC_SEQ_CST) < entered)
			return false;
		times++;
	}
	return times == 30;
}

TEST(a_grace_period_outlasts_the_programs_that_run)
{
	_cleanup_(world_done) struct world w;
	bool ended;

	world_init(&w);
	ended = readers_end(&w);
	hammer_stop(&w);
	EXPECT(ended);
}

/* As the kernel does with CPUs that run without ticks. */
static void refuse_membarrier(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(2);
}

TEST(a_grace_period_outlasts_them_where_membarrier_is_refused)
{
	_cleanup_(world_done) struct world w;
	int status;
	pid_t pid;

	world_init(&w);
	pid = fork();
	EXPECT(pid >= 0);
	if (!pid) {
		refuse_membarrier();
		_exit(readers_end(&w) ? 0 : 1);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	hammer_stop(&w);
	EXPECT_EQ(status, 0);
}

static bool for_ever(struct world *w)
{
	(void)w;
	return true;
}

static pid_t start_agent(struct world *w)
{
	const pid_t pid = fork();
	struct generations *g;

	EXPECT(pid >= 0);
	if (pid)
		return pid;
	if (generations_new(w->memory, &g, NULL) < 0)
		_exit(1);
	sweep(w, g);
	work(w, g, for_ever);
	_exit(1);
}

TEST(an_agent_killed_among_its_commits_leaves_all_that_is_named_whole_and_all_else_free)
{
	_cleanup_(world_done) struct world w;

	world_init(&w);
	for (unsigned i = 0; i < DEATHS; i++) {
		const pid_t pid = start_agent(&w);
		const uint64_t goal = w.memory->root->generation + 1 + draw(&w, 60), deadline = test_now_ns() + 10 * NSEC_PER_SEC;
		int status;

		/* Without a pause, so that it dies at work. */
		while (__atomic_load_n(&w.memory->root->generation, __ATOMIC_RELAXED) < goal)
			EXPECT(test_now_ns() < deadline);
		for (volatile uint32_t pause = (uint32_t)(test_now_ns() >> 4) % 20000; pause; pause--)
			;
		EXPECT_EQ(kill(pid, SIGKILL), 0);
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (i % 10 == 0)
			open_connections(&w);
		take_over(&w);
	}
	hammer_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_services_that_change_together_are_never_seen_mixed_or_torn),
		cmocka_unit_test(a_grace_period_outlasts_the_programs_that_run),
		cmocka_unit_test(a_grace_period_outlasts_them_where_membarrier_is_refused),
		cmocka_unit_test(an_agent_killed_among_its_commits_leaves_all_that_is_named_whole_and_all_else_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
