/* SPDX-License-Identifier: Apache-2.0 */
/* Plans on plain memory, with a kernel that is a table of VIPs and a list of accounts. */
#include <arpa/inet.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "agent/compile/apply.h"
#include "agent/compile/totals.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/time.h"
#include "tests/lib/memory.h"
#include "tests/lib/test.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)
#define M "mesh/m/"

struct fake_vip {
	struct ip vip;
	uint32_t service;
};

/* The kernel. The offload thread reads it while the test waits. */
struct fake {
	struct fake_vip vips[20000]; /* in order of address, so that big plans take no time here */
	size_t vip_count;
	size_t vip_room; /* how many it takes */
	struct open_connection open[8];
	size_t open_count;
	void (*during_accounts)(struct kernel_memory *memory); /* something happens while they are read */
	int account_result;
	atomic_bool gated, accounts_gated; /* grace periods, readings of the accounts wait for the gate */
	sem_t gate;
	atomic_uint graces, readings_begun, readings;
	struct kernel_memory *memory;
};

struct world {
	struct test_memory memory;
	struct fake fake;
	struct store *store;
	struct loop *loop;
	struct offload *offload;
	struct apply *apply;
	unsigned done_count;
	uint64_t generation; /* as told last */
	struct error err; /* code 0: none */
};

/* Where the entry is, or would be. */
static size_t vip_place(const struct fake *fake, const struct ip *vip)
{
	size_t low = 0, high = fake->vip_count;

	while (low < high) {
		const size_t middle = (low + high) / 2;

		if (memcmp(&fake->vips[middle].vip, vip, sizeof(*vip)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_vip(const struct fake *fake, const struct ip *vip)
{
	const size_t place = vip_place(fake, vip);

	return place < fake->vip_count && ip_equal(&fake->vips[place].vip, vip);
}

static int fake_vip_set(void *arg, const struct ip *vip, uint32_t service)
{
	struct fake *fake = arg;
	struct fake_vip *entry = &fake->vips[vip_place(fake, vip)];

	if (!has_vip(fake, vip)) {
		if (fake->vip_count == fake->vip_room)
			return -E2BIG;
		memmove(entry + 1, entry, (size_t)(&fake->vips[fake->vip_count++] - entry) * sizeof(*entry));
	}
	*entry = (struct fake_vip){ *vip, service };
	return 0;
}

static int fake_vip_remove(void *arg, const struct ip *vip)
{
	struct fake *fake = arg;
	struct fake_vip *entry = &fake->vips[vip_place(fake, vip)];

	if (has_vip(fake, vip))
		memmove(entry, entry + 1, (size_t)(&fake->vips[fake->vip_count--] - entry - 1) * sizeof(*entry));
	return 0;
}

static int fake_vip_each(void *arg, kernel_vip_fn *fn, void *fn_arg)
{
	struct fake *fake = arg;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < fake->vip_count; i++)
		r = fn(&fake->vips[i].vip, fake->vips[i].service, fn_arg);
	return r;
}

static int fake_account_each(void *arg, kernel_account_fn *fn, void *fn_arg)
{
	struct fake *fake = arg;
	int r = fake->account_result;

	fake->readings_begun++;
	if (fake->accounts_gated)
		sem_wait(&fake->gate);
	for (size_t i = 0; r >= 0 && i < fake->open_count; i++)
		r = fn(&fake->open[i], fn_arg);
	if (fake->during_accounts)
		fake->during_accounts(fake->memory);
	fake->readings++;
	return r;
}

static int fake_grace_wait(void *arg)
{
	struct fake *fake = arg;

	if (fake->gated)
		sem_wait(&fake->gate);
	fake->graces++;
	return 0;
}

static void on_done(uint64_t generation, const struct error *err, void *arg)
{
	struct world *w = arg;

	w->done_count++;
	w->generation = generation;
	w->err = err ? *err : (struct error){};
}

#define TURN_UNTIL(w, condition)                                                                                              \
	for (uint64_t _end_ns = test_now_ns() + DEADLINE_NS; !(condition); loop_turn((w)->loop, NSEC_PER_MSEC))                \
		if (test_now_ns() > _end_ns)                                                                                   \
	fail_msg("waited in vain for: %s", #condition)

static void agent_start(struct world *w)
{
	const struct apply_kernel kernel = {
		.memory = &w->memory.arrays,
		.vip_set = fake_vip_set,
		.vip_remove = fake_vip_remove,
		.vip_each = fake_vip_each,
		.account_each = fake_account_each,
		.grace_wait = fake_grace_wait,
		.arg = &w->fake,
	};
	struct error err = {};

	EXPECT_OK(offload_new(w->loop, "offload", &w->offload));
	EXPECT_OK(apply_new_with(w->loop, w->offload, &kernel, w->store, on_done, w, &w->apply, &err), &err);
}

static void agent_stop(struct world *w)
{
	w->apply = apply_free(w->apply);
	w->offload = offload_free(w->offload);
	if (w->loop)
		loop_turn(w->loop, 0);
}

static void agent_restart(struct world *w)
{
	agent_stop(w);
	agent_start(w);
}

static void world_init(struct world *w)
{
	*w = (struct world){ .fake = { .vip_room = ARRAY_SIZE(w->fake.vips) } };
	sem_init(&w->fake.gate, 0, 0);
	test_memory_init(&w->memory);
	w->fake.memory = &w->memory.arrays;
	EXPECT_OK(store_open_memory(&w->store));
	EXPECT_OK(loop_new(&w->loop));
	agent_start(w);
}

static void world_done(struct world *w)
{
	agent_stop(w);
	loop_free(w->loop);
	store_close(w->store);
	test_memory_done(&w->memory);
	sem_destroy(&w->fake.gate);
}
#define WORLD(w)                                                                                                              \
	_cleanup_(world_done) struct world w;                                                                                  \
	world_init(&w)

/* --- plans ---------------------------------------------------------------------------------------------------------------- */

static char *text(const char *format, const char *name)
{
	char *string;

	if (asprintf(&string, format, name) < 0)
		fail_msg("no memory");
	return string;
}

static void *grown(void *array, size_t count, size_t size)
{
	array = realloc(array, (count + 1) * size);
	if (!array)
		fail_msg("no memory");
	memset((char *)array + count * size, 0, size);
	return array;
}

static struct plan *plan_new(void)
{
	return grown(NULL, 0, sizeof(struct plan));
}

/* A listener on 8080, with endpoints "address:port" up to NULL. */
static uint32_t add_target(struct plan *plan, const char *node, const char *const *endpoints)
{
	struct plan_target *target;

	plan->targets = grown(plan->targets, plan->target_count, sizeof(*plan->targets));
	target = &plan->targets[plan->target_count];
	target->name = text(M "virtualNode/%s:8080", node);
	target->node = text(M "virtualNode/%s", node);
	target->panic_pct = 50;
	for (; *endpoints; endpoints++) {
		struct plan_endpoint *endpoint;

		target->endpoints = grown(target->endpoints, target->endpoint_count, sizeof(*endpoint));
		endpoint = &target->endpoints[target->endpoint_count++];
		EXPECT_OK(ip_port_parse(*endpoints, &endpoint->address, &endpoint->port));
	}
	return (uint32_t)plan->target_count++;
}
#define TARGET(plan, node, ...) add_target(plan, node, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static struct plan_service *add_service(struct plan *plan, const char *name, const char *vip, const struct plan_weighted *targets,
					size_t count)
{
	struct plan_service *service;
	struct plan_port *port;

	plan->services = grown(plan->services, plan->service_count, sizeof(*plan->services));
	service = &plan->services[plan->service_count++];
	service->name = text(M "virtualService/%s", name);
	EXPECT_OK(ip_parse(vip, &service->vip4));
	service->ports = port = grown(NULL, 0, sizeof(*port));
	service->port_count = 1;
	port->port = 8080;
	port->target_count = (uint8_t)count;
	memcpy(port->targets, targets, count * sizeof(*targets));
	return service;
}
#define SERVICE(plan, name, vip, ...)                                                                                         \
	add_service(plan, name, vip, (const struct plan_weighted[]){ __VA_ARGS__ },                                            \
		    sizeof((const struct plan_weighted[]){ __VA_ARGS__ }) / sizeof(struct plan_weighted))

/* All services so far are its backends. */
static void add_node(struct plan *plan, const char *name)
{
	struct plan_node *node;

	plan->nodes = grown(plan->nodes, plan->node_count, sizeof(*plan->nodes));
	node = &plan->nodes[plan->node_count++];
	node->name = text(M "virtualNode/%s", name);
	node->flags = NODE_DROP_ALL;
	for (; node->backend_count < plan->service_count; node->backend_count++) {
		node->backends = grown(node->backends, node->backend_count, sizeof(*node->backends));
		node->backends[node->backend_count].service = (uint32_t)node->backend_count;
	}
}

/* The canary: payment on v1 and v2, called by one client. */
static struct plan *canary(uint16_t weight1, uint16_t weight2)
{
	struct plan *plan = plan_new();
	const uint32_t v1 = TARGET(plan, "v1", "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80");
	const uint32_t v2 = TARGET(plan, "v2", "10.0.1.1:80");

	SERVICE(plan, "payment", "240.240.0.1", { v1, weight1 }, { v2, weight2 });
	add_node(plan, "client");
	return plan;
}

/* One service on some of the targets a, b, c, d, called by `client_count` clients. */
static struct plan *one_service(const char *targets, unsigned client_count)
{
	struct plan *plan = plan_new();
	struct plan_weighted weighted[4] = {};
	size_t count = 0;

	for (; targets[count]; count++) {
		char node[2] = { targets[count] }, address[32];

		snprintf(address, sizeof(address), "10.0.0.%d:80", targets[count]);
		weighted[count] = (struct plan_weighted){ TARGET(plan, node, address), 1 };
	}
	add_service(plan, "s", "240.240.0.1", weighted, count);
	for (unsigned i = 0; i < client_count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "client-%u", i);
		add_node(plan, name);
	}
	return plan;
}

/* Hands the plan in and waits until it was decided: the generation in force then. */
static uint64_t decide(struct world *w, struct plan *plan)
{
	const unsigned before = w->done_count;

	apply_plan(w->apply, plan);
	TURN_UNTIL(w, w->done_count > before);
	return w->generation;
}

static uint64_t in_force(struct world *w, struct plan *plan)
{
	const uint64_t generation = decide(w, plan);

	EXPECT_OK(w->err.code, &w->err);
	return generation;
}

/* --- what is in the maps -------------------------------------------------------------------------------------------------- */

static uint32_t id_of(struct world *w, enum object_kind kind, const char *name)
{
	const uint32_t id = apply_object_id(w->apply, kind, name);

	EXPECT(id != 0);
	return id;
}

static uint32_t ref_of(struct world *w, enum object_kind kind, const char *name)
{
	const uint32_t id = apply_object_id(w->apply, kind, name);
	struct generations *g = apply_generations(w->apply);
	const uint32_t ref = generations_ref(g, generations_current(g), id);

	EXPECT(!ref || ref >> REF_KIND_SHIFT == kind);
	return ref;
}

static const struct service_record *service_of(struct world *w, const char *name)
{
	return &w->memory.arrays.services[ref_of(w, OBJECT_SERVICE, name) & REF_INDEX_MASK];
}

static const struct route_record *route_of(struct world *w, const char *service)
{
	return &w->memory.arrays.routes[service_of(w, service)->first_route];
}

static const struct target_record *target_of(struct world *w, const char *name)
{
	return &w->memory.arrays.targets[ref_of(w, OBJECT_TARGET, name) & REF_INDEX_MASK];
}

static const struct node_record *node_of(struct world *w, const char *name)
{
	return &w->memory.arrays.nodes[ref_of(w, OBJECT_NODE, name) & REF_INDEX_MASK];
}

static const struct backend *backend_of(struct world *w, const char *node, const char *service)
{
	const struct node_record *record = node_of(w, node);
	const uint32_t id = id_of(w, OBJECT_SERVICE, service);

	for (uint32_t i = 0; i < record->backend_count; i++)
		if (w->memory.arrays.backends[record->first_backend + i].service == id)
			return &w->memory.arrays.backends[record->first_backend + i];
	fail_msg("%s has no backend %s", node, service);
	return NULL;
}

/* The counter row of a triple, as a hook finds it; -1: the service has no such target. */
static int row_of(struct world *w, const char *node, const char *target)
{
	const struct route_record *route = route_of(w, M "virtualService/s");
	const struct backend *backend = backend_of(w, node, M "virtualService/s");
	const uint32_t id = apply_object_id(w->apply, OBJECT_TARGET, target);

	for (uint32_t t = 0; t < route->target_count; t++)
		if (route->target[t] == id) {
			const uint32_t row = backend->row + route->row_offset[t];

			EXPECT(route->row_offset[t] < backend->row_count);
			EXPECT_EQ(w->memory.arrays.rows[row].source, id_of(w, OBJECT_NODE, node));
			EXPECT_EQ(w->memory.arrays.rows[row].service, backend->service);
			EXPECT_EQ(w->memory.arrays.rows[row].target, id);
			EXPECT(w->memory.arrays.rows[row].incarnation & 1);
			return (int)row;
		}
	return -1;
}
#define ROW(w, client, target) row_of(w, M "virtualNode/client-" #client, M "virtualNode/" target ":8080")

static int slot_of(struct world *w, const char *target, const char *endpoint)
{
	const struct target_record *record = target_of(w, target);
	struct ip address;
	__be16 port;
	int list;

	EXPECT_OK(ip_port_parse(endpoint, &address, &port));
	list = ip_is_v4(&address) ? LIST_V4 : LIST_V6;
	for (uint32_t i = 0; i < record->count[list]; i++) {
		const struct endpoint_ref *ref = &w->memory.arrays.refs[record->first[list] + i];

		if (!ip_equal(&ref->address, &address) || ref->port != port)
			continue;
		EXPECT_EQ(w->memory.arrays.endpoints[ref->slot].incarnation, ref->incarnation);
		return (int)ref->slot;
	}
	return -1;
}

static uint32_t vip_service(struct world *w, const char *vip)
{
	struct ip ip;

	EXPECT_OK(ip_parse(vip, &ip));
	return has_vip(&w->fake, &ip) ? w->fake.vips[vip_place(&w->fake, &ip)].service : 0;
}

/* How many objects have another record than in the generation before. */
static unsigned changed_since(struct world *w, uint64_t generation)
{
	struct generations *g = apply_generations(w->apply);
	unsigned changed = 0;

	for (uint32_t id = 1; id < MAX_OBJECTS; id++)
		changed += generations_ref(g, generation, id) != generations_ref(g, generations_current(g), id);
	return changed;
}

static uint32_t used(struct world *w, const char *table)
{
	struct generations_fill fill[16];
	const size_t count = generations_fill(apply_generations(w->apply), fill, ARRAY_SIZE(fill));

	for (size_t i = 0; i < count; i++)
		if (!strcmp(fill[i].name, table))
			return fill[i].used;
	fail_msg("no table is called %s", table);
	return 0;
}

/* So many commits that no directory from before is kept. */
static void turn_the_ring(struct world *w, struct plan *(*plan)(unsigned i))
{
	for (unsigned i = 0; i <= RING_DIRECTORIES; i++)
		in_force(w, plan(i));
}

static void nothing(void *arg)
{
	(void)arg;
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* What is under way has ended, and what that led to. Jobs run in order, so an empty one ends after those submitted before. */
static void wait_idle(struct world *w)
{
	unsigned before;

	do {
		before = w->fake.graces + w->fake.readings;
		for (int i = 0; i < 2; i++) {
			bool ended = false;

			EXPECT_OK(offload_submit(w->offload, nothing, set_flag, &ended));
			TURN_UNTIL(w, ended);
		}
	} while (w->fake.graces + w->fake.readings != before);
}

/* --- what a plan becomes -------------------------------------------------------------------------------------------------- */

TEST(a_first_plan_becomes_one_generation_with_all_that_a_hook_looks_up)
{
	WORLD(w);
	const struct backend *backend;
	const struct route_record *route;
	const struct target_record *v1;

	EXPECT_EQ(in_force(&w, canary(90, 10)), 1);
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), id_of(&w, OBJECT_SERVICE, M "virtualService/payment"));
	EXPECT_EQ(service_of(&w, M "virtualService/payment")->port_count, 1);
	EXPECT_EQ(service_of(&w, M "virtualService/payment")->ports[0], htons(8080));
	route = route_of(&w, M "virtualService/payment");
	EXPECT_EQ(route->target_count, 2);
	EXPECT_EQ(route->cumulative[0], 90);
	EXPECT_EQ(route->cumulative[1], 100);
	EXPECT_EQ(route->target[0], id_of(&w, OBJECT_TARGET, M "virtualNode/v1:8080"));
	EXPECT_EQ(route->target[1], id_of(&w, OBJECT_TARGET, M "virtualNode/v2:8080"));
	v1 = target_of(&w, M "virtualNode/v1:8080");
	EXPECT_EQ(v1->count[LIST_V4], 2);
	EXPECT_EQ(v1->count[LIST_V6], 1);
	EXPECT_EQ(v1->panic_pct, 50);
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80") >= 0);
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "[fd00::1]:80") >= 0);
	EXPECT_EQ(node_of(&w, M "virtualNode/client")->flags, NODE_DROP_ALL);
	backend = backend_of(&w, M "virtualNode/client", M "virtualService/payment");
	EXPECT_EQ(backend->row_count, 2);
	EXPECT(route->row_offset[0] != route->row_offset[1]);
	EXPECT_EQ(w.memory.arrays.rows[backend->row + route->row_offset[1]].target, route->target[1]);
	EXPECT_EQ(apply_current(w.apply)->service_count, 1);
}

TEST(the_same_plan_again_commits_and_allocates_nothing)
{
	WORLD(w);
	uint32_t refs, rows;

	in_force(&w, canary(90, 10));
	refs = used(&w, "endpoint-refs");
	rows = used(&w, "rows");
	EXPECT_EQ(in_force(&w, canary(90, 10)), 1);
	EXPECT_EQ(used(&w, "endpoint-refs"), refs);
	EXPECT_EQ(used(&w, "rows"), rows);
}

TEST(a_shift_of_weights_writes_one_record)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	EXPECT_EQ(in_force(&w, canary(50, 50)), before + 1);
	EXPECT_EQ(changed_since(&w, before), 1);
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[0], 50);
}

TEST(backends_are_in_order_of_service_id_whatever_the_names)
{
	WORLD(w);
	struct plan *plan = plan_new();
	const struct node_record *node;

	/* "z" has the lowest id, "a" the highest. */
	SERVICE(plan, "z", "240.240.0.26", { PLAN_NONE, 1 });
	in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "a", "240.240.0.1", { PLAN_NONE, 1 });
	SERVICE(plan, "z", "240.240.0.26", { PLAN_NONE, 1 });
	add_node(plan, "client");
	plan->nodes[0].backends[0].tls_ports = 1;
	in_force(&w, plan);
	node = node_of(&w, M "virtualNode/client");
	EXPECT_EQ(node->backend_count, 2);
	EXPECT(w.memory.arrays.backends[node->first_backend].service < w.memory.arrays.backends[node->first_backend + 1].service);
	EXPECT_EQ(backend_of(&w, M "virtualNode/client", M "virtualService/a")->tls_ports, 1);
	EXPECT_EQ(backend_of(&w, M "virtualNode/client", M "virtualService/z")->tls_ports, 0);
	EXPECT_EQ(route_of(&w, M "virtualService/a")->target[0], 0);
}

TEST(a_service_that_comes_between_others_changes_nothing_of_theirs)
{
	WORLD(w);
	struct plan *plan = plan_new();
	uint64_t before;

	SERVICE(plan, "a", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	SERVICE(plan, "c", "240.240.0.3", { 0, 1 });
	add_node(plan, "client");
	before = in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "a", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	SERVICE(plan, "b", "240.240.0.2", { 0, 1 });
	SERVICE(plan, "c", "240.240.0.3", { 0, 1 });
	add_node(plan, "client");
	in_force(&w, plan);
	EXPECT_EQ(changed_since(&w, before), 2); /* b, and the client's list */
}

TEST(a_service_in_the_place_of_another_one_is_the_backend_from_then_on)
{
	WORLD(w);
	struct plan *plan = plan_new();

	SERVICE(plan, "a", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_node(plan, "client");
	in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "b", "240.240.0.2", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_node(plan, "client");
	in_force(&w, plan);
	EXPECT_EQ(node_of(&w, M "virtualNode/client")->backend_count, 1);
	EXPECT(backend_of(&w, M "virtualNode/client", M "virtualService/b"));
}

/* --- endpoints ------------------------------------------------------------------------------------------------------------ */

static struct plan *endpoints_of_v1(const char *const *endpoints)
{
	struct plan *plan = plan_new();

	add_target(plan, "v1", endpoints);
	return plan;
}
#define ENDPOINTS(...) endpoints_of_v1((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

TEST(endpoints_that_stay_keep_their_slots_when_others_come_and_go)
{
	WORLD(w);
	int slot;

	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80");
	in_force(&w, ENDPOINTS("10.0.0.2:80", "10.0.0.3:80", "[fd00::1]:80"));
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80"), slot);
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), -1);
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.3:80") != slot);
}

TEST(an_endpoint_that_flaps_takes_one_slot)
{
	WORLD(w);
	uint32_t slots;
	int slot;

	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80");
	slots = used(&w, "endpoints");
	for (int i = 0; i < 10; i++) {
		in_force(&w, ENDPOINTS("10.0.0.2:80"));
		in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	}
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), slot);
	EXPECT_EQ(used(&w, "endpoints"), slots);
}

/* A target with `count` endpoints 10.x.y.z; `zone` makes each list another one. */
static struct plan *long_list(const char *node, uint32_t count, uint16_t zone)
{
	struct plan *plan = plan_new();

	TARGET(plan, node);
	plan->targets[0].endpoints = calloc(count, sizeof(struct plan_endpoint));
	plan->targets[0].endpoint_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct plan_endpoint *endpoint = &plan->targets[0].endpoints[i];

		endpoint->address.words[2] = htonl(0xffff);
		endpoint->address.words[3] = htonl(0x0a000000 + i);
		endpoint->port = htons(80);
		endpoint->zone = zone;
	}
	return plan;
}

TEST(an_endpoint_that_comes_back_during_a_sweep_has_a_slot_that_survives_it)
{
	WORLD(w);
	struct plan *plan;
	unsigned begun;
	uint32_t slot;

	/* given an endpoint whose slot no directory names any more, and that was not freed yet */
	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	slot = (uint32_t)slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80");
	for (uint16_t i = 0; i <= RING_DIRECTORIES; i++) {
		plan = ENDPOINTS("10.0.0.2:80");
		plan->targets[0].panic_pct = i;
		in_force(&w, plan);
	}
	wait_idle(&w);
	EXPECT(w.memory.arrays.endpoints[slot].incarnation & 1);
	begun = w.fake.readings_begun;

	/* when it comes back while a sweep is under way, since the slots were running short */
	w.fake.accounts_gated = true;
	plan = long_list("crowd", MAX_ENDPOINTS / 5 * 4, 0);
	TARGET(plan, "v1", "10.0.0.2:80");
	in_force(&w, plan);
	TURN_UNTIL(&w, w.fake.readings_begun > begun);
	in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	w.fake.accounts_gated = false;
	sem_post(&w.fake.gate);
	wait_idle(&w);

	/* then its slot is in use afterwards, which slot_of() looks at */
	EXPECT(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80") >= 0);
	EXPECT(!(w.memory.arrays.endpoints[slot].incarnation & 1));
}

TEST(the_same_address_of_another_node_or_in_another_namespace_is_another_endpoint)
{
	WORLD(w);
	struct plan *plan = plan_new();

	TARGET(plan, "v1", "127.0.0.1:80", "127.0.0.1:80");
	plan->targets[0].endpoints[0].netns_cookie = 7;
	plan->targets[0].endpoints[1].netns_cookie = 8;
	TARGET(plan, "v2", "127.0.0.1:80");
	in_force(&w, plan);
	EXPECT_EQ(used(&w, "endpoints"), 3);
}

TEST(health_alone_changes_a_slot_and_no_generation)
{
	WORLD(w);
	const uint64_t before = in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80"));
	const int slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.2:80");
	struct plan *plan = ENDPOINTS("10.0.0.1:80", "10.0.0.2:80");

	plan->targets[0].endpoints[1].health = HEALTH_DOWN;
	EXPECT_EQ(in_force(&w, plan), before);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].health, HEALTH_DOWN);
	EXPECT_EQ(in_force(&w, ENDPOINTS("10.0.0.1:80", "10.0.0.2:80")), before);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].health, HEALTH_UNCHECKED);
}

TEST(a_slot_tells_its_endpoint)
{
	WORLD(w);
	char buffer[ENDPOINT_TEXT_BYTES];
	struct ip address;
	__be16 port;

	in_force(&w, ENDPOINTS("10.0.0.1:80"));
	EXPECT(apply_slot_endpoint(w.apply, (uint32_t)slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), &address, &port));
	EXPECT_STR(ip_port_format(&address, port, buffer), "10.0.0.1:80");
	EXPECT(!apply_slot_endpoint(w.apply, 77, &address, &port));
	EXPECT(!apply_slot_endpoint(w.apply, MAX_ENDPOINTS, &address, &port));
}

/* --- rows ----------------------------------------------------------------------------------------------------------------- */

TEST(a_target_that_fits_into_the_block_leaves_all_rows_where_they_are)
{
	WORLD(w);
	const uint64_t before = in_force(&w, one_service("abc", 2));
	const int a = ROW(&w, 1, "a"), c = ROW(&w, 1, "c");

	in_force(&w, one_service("abcd", 2));
	EXPECT_EQ(ROW(&w, 1, "a"), a);
	EXPECT_EQ(ROW(&w, 1, "c"), c);
	EXPECT(ROW(&w, 0, "d") >= 0 && ROW(&w, 1, "d") >= 0);
	EXPECT_EQ(changed_since(&w, before), 2); /* the service, and target d; no node */
}

TEST(a_service_that_outgrows_its_blocks_gets_new_ones_and_the_old_rows_stay)
{
	WORLD(w);
	uint64_t before;
	int a[2];

	before = in_force(&w, one_service("ab", 2));
	a[0] = ROW(&w, 0, "a");
	a[1] = ROW(&w, 1, "a");
	in_force(&w, one_service("abc", 2));
	for (unsigned client = 0; client < 2; client++)
		EXPECT(w.memory.arrays.rows[a[client]].incarnation & 1);
	EXPECT(ROW(&w, 0, "a") != a[0] && ROW(&w, 1, "a") != a[1]);
	EXPECT(ROW(&w, 0, "c") >= 0 && ROW(&w, 1, "c") >= 0);
	EXPECT_EQ(changed_since(&w, before), 4); /* the service, target c, two nodes */
}

TEST(a_place_in_a_block_is_not_given_to_another_target)
{
	WORLD(w);
	int b;

	in_force(&w, one_service("ab", 1));
	b = ROW(&w, 0, "b");
	w.memory.arrays.rows[b].attempts = 3;
	in_force(&w, one_service("ac", 1));
	EXPECT(ROW(&w, 0, "c") != b);
	EXPECT_EQ(w.memory.arrays.rows[b].attempts, 3);
	EXPECT_EQ(w.memory.arrays.rows[b].target, id_of(&w, OBJECT_TARGET, M "virtualNode/b:8080"));
}

TEST(a_target_that_comes_back_counts_where_it_did)
{
	WORLD(w);
	int b;

	in_force(&w, one_service("ab", 1));
	b = ROW(&w, 0, "b");
	in_force(&w, one_service("a", 1));
	EXPECT_EQ(ROW(&w, 0, "b"), -1);
	in_force(&w, one_service("ab", 1));
	EXPECT_EQ(ROW(&w, 0, "b"), b);
}

/* The service on target a, and 7,000 targets more. */
static struct plan *with_targets(char prefix)
{
	struct plan *plan = one_service("a", 1);

	plan->targets = realloc(plan->targets, 7001 * sizeof(*plan->targets));
	while (plan->target_count < 7001) {
		char node[16];

		snprintf(node, sizeof(node), "%c-%05zu", prefix, plan->target_count);
		plan->targets[plan->target_count] = (struct plan_target){ .name = text(M "virtualNode/%s:8080", node),
									  .node = text(M "virtualNode/%s", node) };
		plan->target_count++;
	}
	return plan;
}

TEST(a_target_that_left_keeps_its_id_while_a_row_counts_for_it)
{
	WORLD(w);
	char name[] = M "virtualNode/w-00001:8080";
	uint32_t id;

	in_force(&w, one_service("ab", 1));
	id = id_of(&w, OBJECT_TARGET, M "virtualNode/b:8080");
	for (char prefix = 'w'; prefix <= 'z'; prefix++) /* until ids run short */
		in_force(&w, with_targets(prefix));
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_TARGET, name), 0);
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_TARGET, M "virtualNode/b:8080"), id);
}

TEST(a_source_that_comes_later_has_the_offsets_of_the_others)
{
	WORLD(w);

	in_force(&w, one_service("ab", 1));
	in_force(&w, one_service("b", 2));
	EXPECT(ROW(&w, 1, "b") >= 0);
	in_force(&w, one_service("bc", 2)); /* offset 0 is free in the newer block, not in the older one */
	EXPECT(ROW(&w, 0, "c") >= 0 && ROW(&w, 1, "c") >= 0);
	EXPECT(ROW(&w, 0, "c") != ROW(&w, 1, "c"));
}

static struct plan *other_service(unsigned i)
{
	struct plan *plan = plan_new();

	SERVICE(plan, "t", "240.240.0.9", { TARGET(plan, "z", "10.0.0.9:80"), (uint16_t)(i % 2 + 1) });
	return plan;
}

static int sum_totals(const char *source, const char *service, const char *target, const struct row *sums, void *arg)
{
	EXPECT_STR(source, M "virtualNode/client-0");
	EXPECT_STR(service, M "virtualService/s");
	EXPECT_STR(target, M "virtualNode/b:8080");
	*(struct row *)arg = *sums;
	return 0;
}

TEST(a_row_that_nothing_names_any_more_is_added_to_the_totals_once)
{
	WORLD(w);
	struct row sums = {}, row;
	int b;

	/* given a counted row that left the ring */
	in_force(&w, one_service("ab", 1));
	b = ROW(&w, 0, "b");
	w.memory.arrays.rows[b].attempts = 5;
	w.memory.arrays.rows[b].connect_ns[HISTOGRAM_BUCKETS - 1] = 4;
	row = w.memory.arrays.rows[b];
	turn_the_ring(&w, other_service);
	EXPECT(w.memory.arrays.rows[b].incarnation & 1);

	/* when an agent sweeps, and is killed between the store's commit and the clearing of the row */
	agent_restart(&w);
	in_force(&w, other_service(0));
	EXPECT(!(w.memory.arrays.rows[b].incarnation & 1));
	w.memory.arrays.rows[b] = row;
	agent_restart(&w);
	in_force(&w, other_service(1));

	/* then the next one does not count it again */
	EXPECT(!(w.memory.arrays.rows[b].incarnation & 1));
	EXPECT_OK(apply_totals_each(w.apply, sum_totals, &sums));
	EXPECT_EQ(sums.attempts, 5);
	EXPECT_EQ(sums.connect_ns[HISTOGRAM_BUCKETS - 1], 4);
	EXPECT_EQ(sums.target, 0);

	/* and what the row counts in a later life is added */
	row.incarnation += 2;
	row.attempts = 2;
	w.memory.arrays.rows[b] = row;
	agent_restart(&w);
	in_force(&w, other_service(2));
	EXPECT_OK(apply_totals_each(w.apply, sum_totals, &sums));
	EXPECT_EQ(sums.attempts, 7);
}

TEST(what_open_connections_name_is_not_reused)
{
	WORLD(w);
	int row, slot;

	in_force(&w, one_service("ab", 1));
	row = ROW(&w, 0, "a");
	slot = slot_of(&w, M "virtualNode/a:8080", "10.0.0.97:80");
	turn_the_ring(&w, other_service);
	w.fake.open[0].account = (struct account){
		.held = 1,
		.row = (uint32_t)row,
		.row_incarnation = w.memory.arrays.rows[row].incarnation,
		.slot = (uint32_t)slot,
		.slot_incarnation = w.memory.arrays.endpoints[slot].incarnation,
	};
	w.fake.open_count = 1;
	agent_restart(&w);
	in_force(&w, other_service(0));
	EXPECT_EQ(w.memory.arrays.rows[row].incarnation, w.fake.open[0].account.row_incarnation);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].incarnation, w.fake.open[0].account.slot_incarnation);
	wait_idle(&w);
	w.fake.open_count = 0;
	agent_restart(&w);
	in_force(&w, other_service(1));
	EXPECT(!(w.memory.arrays.rows[row].incarnation & 1));
	EXPECT(!(w.memory.arrays.endpoints[slot].incarnation & 1));
}

/* --- VIPs ----------------------------------------------------------------------------------------------------------------- */

TEST(a_vip_stays_until_the_last_directory_with_its_service_has_left_the_ring)
{
	WORLD(w);
	uint32_t service;

	in_force(&w, one_service("a", 1));
	service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
	in_force(&w, other_service(0));
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), service);
	agent_restart(&w);
	in_force(&w, other_service(1));
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), service);
	turn_the_ring(&w, other_service);
	agent_restart(&w);
	in_force(&w, other_service(0));
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), 0);
	EXPECT(vip_service(&w, "240.240.0.9") != 0);
}

TEST(a_vip_that_another_service_gets_is_overwritten)
{
	WORLD(w);
	struct plan *plan = plan_new();

	in_force(&w, one_service("a", 1));
	SERVICE(plan, "t", "240.240.0.1", { TARGET(plan, "z", "10.0.0.9:80"), 1 });
	in_force(&w, plan);
	EXPECT_EQ(w.fake.vip_count, 1);
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), id_of(&w, OBJECT_SERVICE, M "virtualService/t"));
}

TEST(a_full_vip_table_refuses_the_plan_and_puts_back_what_was_there)
{
	WORLD(w);
	struct plan *plan;
	uint64_t before;

	before = in_force(&w, one_service("a", 1));
	w.fake.vip_room = 1;
	plan = plan_new();
	SERVICE(plan, "t", "240.240.0.1", { PLAN_NONE, 1 });
	SERVICE(plan, "u", "240.240.0.2", { PLAN_NONE, 1 });
	EXPECT_EQ(decide(&w, plan), before);
	EXPECT_EQ(w.err.code, -ENOSPC);
	EXPECT_CONTAINS(w.err.message, "240.240.0.2");
	EXPECT_EQ(vip_service(&w, "240.240.0.1"), id_of(&w, OBJECT_SERVICE, M "virtualService/s"));
	EXPECT_STR(apply_current(w.apply)->services[0].name, M "virtualService/s");
}

/* --- the ring, and tables that fill up -------------------------------------------------------------------------------------- */

TEST(plans_of_one_turn_count_as_the_last_one)
{
	WORLD(w);

	in_force(&w, canary(90, 10));
	apply_plan(w.apply, canary(1, 2));
	apply_plan(w.apply, canary(3, 4));
	EXPECT_EQ(in_force(&w, canary(5, 6)), 2);
	EXPECT_EQ(w.done_count, 2);
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[0], 5);
}

TEST(when_the_ring_would_catch_up_with_readers_the_last_plan_waits_for_a_grace_period)
{
	WORLD(w);
	uint64_t last = 0;
	unsigned done;

	/* given a grace period that does not end */
	in_force(&w, canary(1, 0));
	wait_idle(&w);
	w.fake.gated = true;
	for (uint16_t i = 2; last + 1 < RING_DIRECTORIES; i++)
		last = in_force(&w, canary(i, 0));

	/* when the ring is used up */
	done = w.done_count;
	apply_plan(w.apply, canary(100, 1));
	for (int i = 0; i < 20; i++)
		loop_turn(w.loop, NSEC_PER_MSEC);
	apply_plan(w.apply, canary(100, 2));
	for (int i = 0; i < 20; i++)
		loop_turn(w.loop, NSEC_PER_MSEC);
	EXPECT_EQ(w.done_count, done);

	/* then the last plan is in force once it has ended */
	w.fake.gated = false;
	sem_post(&w.fake.gate);
	TURN_UNTIL(&w, w.done_count > done);
	EXPECT_OK(w.err.code, &w.err);
	EXPECT_EQ(w.done_count, done + 1);
	EXPECT_EQ(w.generation, last + 1);
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[1], 102);
}

TEST(a_plan_that_does_not_fit_is_refused_with_the_tables_name_and_the_old_one_stays)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	EXPECT_EQ(decide(&w, long_list("v1", MAX_ENDPOINTS + 1, 1)), before);
	EXPECT_EQ(w.err.code, -ENOSPC);
	EXPECT_CONTAINS(w.err.message, "table of endpoints is full: 131072 of 131072 are used");
	EXPECT_STR(apply_current(w.apply)->services[0].name, M "virtualService/payment");
	EXPECT_EQ(route_of(&w, M "virtualService/payment")->cumulative[0], 90);
	EXPECT_EQ(in_force(&w, canary(80, 20)), before + 1);
}

TEST(changes_go_on_while_old_generations_can_be_let_go)
{
	WORLD(w);

	for (uint16_t i = 1; i <= 12; i++) /* each takes a fourth of the table */
		EXPECT_EQ(in_force(&w, long_list("v1", MAX_ENDPOINT_REFS / 4, i)), i);
	EXPECT_EQ(w.memory.arrays.refs[target_of(&w, M "virtualNode/v1:8080")->first[LIST_V4]].zone, 12);
}

TEST(a_plan_that_needs_a_sweep_is_refused_while_accounts_cannot_be_read)
{
	WORLD(w);

	w.fake.account_result = -EOPNOTSUPP;
	decide(&w, canary(90, 10));
	EXPECT_EQ(w.err.code, -EOPNOTSUPP);
	EXPECT_CONTAINS(w.err.message, "cannot read which connections are open");
	EXPECT(!apply_current(w.apply));
	w.fake.account_result = 0;
	EXPECT_EQ(in_force(&w, canary(90, 10)), 1);
}

/* --- the next agent --------------------------------------------------------------------------------------------------------- */

TEST(the_next_agent_finds_the_same_plan_in_force)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	agent_restart(&w);
	EXPECT(!apply_current(w.apply));
	EXPECT_EQ(in_force(&w, canary(90, 10)), before);
	EXPECT_EQ(used(&w, "services"), 1);
	EXPECT_EQ(used(&w, "endpoint-refs"), 4);
}

TEST(the_next_agent_keeps_slots_and_rows_and_removes_what_the_plan_has_not)
{
	WORLD(w);
	struct plan *plan = plan_new();
	int slot, b;

	in_force(&w, one_service("ab", 1));
	slot = slot_of(&w, M "virtualNode/b:8080", "10.0.0.98:80");
	b = ROW(&w, 0, "b");
	agent_restart(&w);
	TARGET(plan, "b", "10.0.0.1:80", "10.0.0.98:80");
	TARGET(plan, "c", "10.0.0.2:80");
	SERVICE(plan, "s", "240.240.0.1", { 0, 1 });
	add_node(plan, "client-0");
	in_force(&w, plan);
	EXPECT_EQ(slot_of(&w, M "virtualNode/b:8080", "10.0.0.98:80"), slot);
	EXPECT_EQ(ROW(&w, 0, "b"), b);
	EXPECT_EQ(ref_of(&w, OBJECT_TARGET, M "virtualNode/a:8080"), 0);
	EXPECT(ref_of(&w, OBJECT_TARGET, M "virtualNode/c:8080") != 0);
}

TEST(the_next_agent_keeps_slots_without_any_names)
{
	WORLD(w);
	int slot;

	in_force(&w, ENDPOINTS("10.0.0.1:80"));
	slot = slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80");
	store_close(w.store);
	EXPECT_OK(store_open_memory(&w.store));
	agent_restart(&w);
	in_force(&w, ENDPOINTS("10.0.0.0:80", "10.0.0.1:80"));
	EXPECT_EQ(slot_of(&w, M "virtualNode/v1:8080", "10.0.0.1:80"), slot);
}

TEST(the_next_agent_knows_names_that_left_the_plan)
{
	WORLD(w);
	uint32_t service;

	in_force(&w, one_service("a", 1));
	service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
	in_force(&w, other_service(0));
	agent_restart(&w);
	EXPECT_STR(apply_object_name(w.apply, service), M "virtualService/s");
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_SERVICE, M "virtualService/s"), service);
	EXPECT_EQ(apply_object_id(w.apply, OBJECT_TARGET, M "virtualService/s"), 0);
	EXPECT_STR(apply_object_name(w.apply, MAX_OBJECTS), NULL);
}

TEST(a_name_that_the_maps_do_not_confirm_is_ignored)
{
	WORLD(w);
	uint32_t service;

	in_force(&w, one_service("a", 1));
	service = id_of(&w, OBJECT_SERVICE, M "virtualService/s");
	agent_stop(&w);
	hash_name("other", 5, (uint64_t *)w.memory.arrays.objects[service].hash);
	agent_start(&w);
	EXPECT_STR(apply_object_name(w.apply, service), NULL);
}

TEST(a_record_out_of_range_is_written_anew)
{
	WORLD(w);
	const uint64_t before = in_force(&w, canary(90, 10));

	((struct node_record *)node_of(&w, M "virtualNode/client"))->backend_count = MAX_BACKENDS + 1;
	((struct target_record *)target_of(&w, M "virtualNode/v1:8080"))->first[LIST_V6] = UINT32_MAX;
	((struct route_record *)route_of(&w, M "virtualService/payment"))->row_offset[0] = MAX_SERVICE_ROWS;
	agent_restart(&w);
	EXPECT_EQ(in_force(&w, canary(90, 10)), before + 1);
	EXPECT_EQ(node_of(&w, M "virtualNode/client")->backend_count, 1);
	EXPECT_EQ(target_of(&w, M "virtualNode/v1:8080")->count[LIST_V6], 1);
	EXPECT(route_of(&w, M "virtualService/payment")->row_offset[0] < 2);
}

TEST(a_workloads_node_has_an_id_and_a_name_without_being_in_a_plan)
{
	WORLD(w);
	uint32_t id;

	in_force(&w, canary(90, 10));
	id = apply_node_id(w.apply, M "virtualNode/unknown");
	EXPECT(id != 0);
	EXPECT_EQ(apply_node_id(w.apply, M "virtualNode/unknown"), id);
	EXPECT_EQ(apply_node_id(w.apply, M "virtualNode/client"), id_of(&w, OBJECT_NODE, M "virtualNode/client"));
	agent_restart(&w);
	EXPECT_STR(apply_object_name(w.apply, id), M "virtualNode/unknown");
}

TEST(an_agent_may_go_while_a_job_is_under_way)
{
	WORLD(w);
	const unsigned graces = w.fake.graces;

	in_force(&w, canary(90, 10));
	wait_idle(&w);
	w.fake.gated = true;
	agent_stop(&w);
	agent_start(&w);
	loop_turn(w.loop, NSEC_PER_MSEC); /* begins with a grace period */
	apply_plan(w.apply, canary(80, 20));
	w.apply = apply_free(w.apply);
	sem_post(&w.fake.gate);
	TURN_UNTIL(&w, w.fake.graces > graces + 1);
	EXPECT_EQ(w.done_count, 1);
	EXPECT_EQ(w.memory.arrays.root->generation, 1);
}

/* --- open counts ------------------------------------------------------------------------------------------------------------ */

/* The canary's service by another name, with `count` accounts of client-0 that go to target a. */
static int open_connections(struct world *w, size_t count)
{
	int row, slot;

	in_force(w, one_service("a", 1));
	wait_idle(w);
	row = ROW(w, 0, "a");
	slot = slot_of(w, M "virtualNode/a:8080", "10.0.0.97:80");
	for (size_t i = 0; i < count; i++)
		w->fake.open[i].account = (struct account){
			.held = 1,
			.row = (uint32_t)row,
			.row_incarnation = w->memory.arrays.rows[row].incarnation,
			.slot = (uint32_t)slot,
			.slot_incarnation = w->memory.arrays.endpoints[slot].incarnation,
		};
	w->fake.open_count = count;
	w->memory.arrays.rows[row].open = count;
	w->memory.arrays.rows[row].attempts = 100;
	w->memory.arrays.endpoints[slot].open = count;
	return row;
}

TEST(a_wrong_open_count_is_corrected_after_three_readings_that_agree)
{
	WORLD(w);
	const int row = open_connections(&w, 2);
	const int slot = slot_of(&w, M "virtualNode/a:8080", "10.0.0.97:80");
	unsigned readings = w.fake.readings;

	w.memory.arrays.rows[row].open = 5;
	w.memory.arrays.endpoints[slot].open = 1;
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(w.memory.arrays.rows[row].open, 2);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].open, 2);
	EXPECT_EQ(w.fake.readings - readings, 1 + 3); /* the sweep's, and three */
}

TEST(right_open_counts_take_one_reading_and_stay)
{
	WORLD(w);
	const int row = open_connections(&w, 2);
	unsigned readings = w.fake.readings;

	w.fake.open[1].account.held = 0;
	w.memory.arrays.rows[row].open = 1;
	w.memory.arrays.endpoints[w.fake.open[0].account.slot].open = 1;
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(w.memory.arrays.rows[row].open, 1);
	EXPECT_EQ(w.fake.readings - readings, 2);
}

/* One connection ends and another one begins: the count is what it was, and neither account was seen. */
static void one_comes_one_goes(struct kernel_memory *memory)
{
	for (uint32_t i = 0; i < MAX_ROWS; i++)
		if (memory->rows[i].target && memory->rows[i].attempts)
			memory->rows[i].attempts++;
}

TEST(a_count_that_moves_while_accounts_are_read_is_left_alone)
{
	WORLD(w);
	const int row = open_connections(&w, 2);
	const uint32_t slot = w.fake.open[0].account.slot;

	w.fake.open_count = 1;
	w.fake.during_accounts = one_comes_one_goes;
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(w.memory.arrays.rows[row].open, 2);
	EXPECT_EQ(w.memory.arrays.endpoints[slot].open, 2);
}

/* --- size ------------------------------------------------------------------------------------------------------------------- */

#define MANY 10000

/* Services of a target each, with ten endpoints each, all called by one node. */
static struct plan *many(uint32_t count, uint16_t weight)
{
	struct plan *plan = plan_new();

	plan->targets = calloc(count, sizeof(*plan->targets));
	plan->services = calloc(count, sizeof(*plan->services));
	for (uint32_t i = 0; i < count; i++) {
		struct plan_target *target = &plan->targets[plan->target_count++];
		struct plan_service *service = &plan->services[plan->service_count++];

		if (asprintf(&target->name, M "virtualNode/service-%05u:8080", i) < 0 ||
		    asprintf(&target->node, M "virtualNode/service-%05u", i) < 0 ||
		    asprintf(&service->name, M "virtualService/service-%05u.production.local", i) < 0)
			fail_msg("no memory");
		target->endpoint_count = 10;
		target->endpoints = calloc(target->endpoint_count, sizeof(*target->endpoints));
		for (uint32_t e = 0; e < target->endpoint_count; e++) {
			target->endpoints[e].address.words[2] = htonl(0xffff);
			target->endpoints[e].address.words[3] = htonl(0x0a000000 + i * 16 + e);
			target->endpoints[e].port = htons(8080);
		}
		service->vip4.words[2] = htonl(0xffff);
		service->vip4.words[3] = htonl(0xf0000000 + i);
		service->ports = calloc(1, sizeof(*service->ports));
		service->port_count = 1;
		service->ports[0] = (struct plan_port){ .port = 8080, .target_count = 1, .targets = { { i, 1 } } };
	}
	plan->services[count / 2].ports[0].targets[0].weight = weight;
	plan->nodes = calloc(1, sizeof(*plan->nodes));
	plan->node_count = 1;
	plan->nodes[0].name = text(M "virtualNode/%s", "zz-client");
	plan->nodes[0].backend_count = count;
	plan->nodes[0].backends = calloc(count, sizeof(*plan->nodes[0].backends));
	for (uint32_t i = 0; i < count; i++)
		plan->nodes[0].backends[i].service = i;
	return plan;
}

static uint64_t decide_timed(struct world *w, struct plan *plan)
{
	const uint64_t start_ns = test_now_ns();

	in_force(w, plan);
	return test_now_ns() - start_ns;
}

static int count_total(const char *source, const char *service, const char *target, const struct row *sums, void *arg)
{
	(void)source;
	(void)service;
	(void)target;
	*(uint64_t *)arg += sums->attempts;
	return 0;
}

TEST(many_retired_rows_are_added_to_the_totals_over_several_sweeps)
{
	WORLD(w);
	const unsigned count = 1200;
	uint64_t attempts = 0;

	in_force(&w, many(count, 1));
	for (uint32_t i = 0; i < MAX_ROWS; i++)
		if (w.memory.arrays.rows[i].target)
			w.memory.arrays.rows[i].attempts = 1;
	turn_the_ring(&w, other_service);
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(used(&w, "rows"), 0);
	EXPECT_OK(apply_totals_each(w.apply, count_total, &attempts));
	EXPECT_EQ(attempts, count);
}

TEST(ten_thousand_services_are_loaded_and_one_of_them_changes_alone)
{
	WORLD(w);
	char load[TIME_TEXT_BYTES], change[TIME_TEXT_BYTES];
	uint64_t load_ns, best_ns = UINT64_MAX;

	wait_idle(&w);
	load_ns = decide_timed(&w, many(MANY, 1));
	for (uint16_t weight = 2; weight < 12; weight++) {
		struct plan *plan = many(MANY, weight);
		uint64_t ns = decide_timed(&w, plan);

		best_ns = MIN(best_ns, ns);
		EXPECT_EQ(changed_since(&w, w.generation - 1), 1);
	}
	EXPECT_EQ(used(&w, "endpoints"), MANY * 10);
	EXPECT_EQ(used(&w, "rows"), MANY * 2);
	print_message("%d services loaded in %s, the weights of one changed in %s\n", MANY, time_format_span(load_ns, load),
		      time_format_span(best_ns, change));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_plan_becomes_one_generation_with_all_that_a_hook_looks_up),
		cmocka_unit_test(the_same_plan_again_commits_and_allocates_nothing),
		cmocka_unit_test(a_shift_of_weights_writes_one_record),
		cmocka_unit_test(backends_are_in_order_of_service_id_whatever_the_names),
		cmocka_unit_test(a_service_that_comes_between_others_changes_nothing_of_theirs),
		cmocka_unit_test(a_service_in_the_place_of_another_one_is_the_backend_from_then_on),
		cmocka_unit_test(endpoints_that_stay_keep_their_slots_when_others_come_and_go),
		cmocka_unit_test(an_endpoint_that_flaps_takes_one_slot),
		cmocka_unit_test(an_endpoint_that_comes_back_during_a_sweep_has_a_slot_that_survives_it),
		cmocka_unit_test(the_same_address_of_another_node_or_in_another_namespace_is_another_endpoint),
		cmocka_unit_test(health_alone_changes_a_slot_and_no_generation),
		cmocka_unit_test(a_slot_tells_its_endpoint),
		cmocka_unit_test(a_target_that_fits_into_the_block_leaves_all_rows_where_they_are),
		cmocka_unit_test(a_service_that_outgrows_its_blocks_gets_new_ones_and_the_old_rows_stay),
		cmocka_unit_test(a_place_in_a_block_is_not_given_to_another_target),
		cmocka_unit_test(a_target_that_comes_back_counts_where_it_did),
		cmocka_unit_test(a_target_that_left_keeps_its_id_while_a_row_counts_for_it),
		cmocka_unit_test(a_source_that_comes_later_has_the_offsets_of_the_others),
		cmocka_unit_test(a_row_that_nothing_names_any_more_is_added_to_the_totals_once),
		cmocka_unit_test(what_open_connections_name_is_not_reused),
		cmocka_unit_test(a_vip_stays_until_the_last_directory_with_its_service_has_left_the_ring),
		cmocka_unit_test(a_vip_that_another_service_gets_is_overwritten),
		cmocka_unit_test(a_full_vip_table_refuses_the_plan_and_puts_back_what_was_there),
		cmocka_unit_test(plans_of_one_turn_count_as_the_last_one),
		cmocka_unit_test(when_the_ring_would_catch_up_with_readers_the_last_plan_waits_for_a_grace_period),
		cmocka_unit_test(a_plan_that_does_not_fit_is_refused_with_the_tables_name_and_the_old_one_stays),
		cmocka_unit_test(changes_go_on_while_old_generations_can_be_let_go),
		cmocka_unit_test(a_plan_that_needs_a_sweep_is_refused_while_accounts_cannot_be_read),
		cmocka_unit_test(the_next_agent_finds_the_same_plan_in_force),
		cmocka_unit_test(the_next_agent_keeps_slots_and_rows_and_removes_what_the_plan_has_not),
		cmocka_unit_test(the_next_agent_keeps_slots_without_any_names),
		cmocka_unit_test(the_next_agent_knows_names_that_left_the_plan),
		cmocka_unit_test(a_name_that_the_maps_do_not_confirm_is_ignored),
		cmocka_unit_test(a_record_out_of_range_is_written_anew),
		cmocka_unit_test(a_workloads_node_has_an_id_and_a_name_without_being_in_a_plan),
		cmocka_unit_test(an_agent_may_go_while_a_job_is_under_way),
		cmocka_unit_test(a_wrong_open_count_is_corrected_after_three_readings_that_agree),
		cmocka_unit_test(right_open_counts_take_one_reading_and_stay),
		cmocka_unit_test(a_count_that_moves_while_accounts_are_read_is_left_alone),
		cmocka_unit_test(many_retired_rows_are_added_to_the_totals_over_several_sweeps),
		cmocka_unit_test(ten_thousand_services_are_loaded_and_one_of_them_changes_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
