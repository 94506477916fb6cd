/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/apply_world.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/sorted.h"
#include "maps/proxy.h"

/* Where the entry is, or would be. */
static size_t vip_place(const struct fake *fake, const struct ip *vip)
{
	return SORTED_PLACE(fake->vip_count, i, memcmp(&fake->vips[i].vip, vip, sizeof(*vip)) < 0);
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

/* The entry, or a free place for it. */
static struct fake_name *name_place(struct fake *fake, const struct name_key *key)
{
	struct fake_name *free_place = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(fake->names); i++) {
		struct fake_name *name = &fake->names[(key->hash[0] + i) % ARRAY_SIZE(fake->names)];

		if (name->used && memcmp(&name->key, key, sizeof(*key)) == 0)
			return name;
		if (!name->used && !free_place)
			free_place = name;
		if (!name->used && !name->key.hash[0])
			break; /* never used */
	}
	return free_place;
}

static int fake_name_set(void *arg, const struct name_key *key, const struct name_entry *entry)
{
	struct fake *fake = arg;
	struct fake_name *name = name_place(fake, key);

	fake->name_writes++;
	fake->name_set_in = fake->memory->root->generation;
	if (!name || (!name->used && fake->name_count == fake->name_room))
		return -E2BIG;
	fake->name_count += !name->used;
	*name = (struct fake_name){ *key, *entry, true };
	return 0;
}

static int fake_name_remove(void *arg, const struct name_key *key)
{
	struct fake *fake = arg;
	struct fake_name *name = name_place(fake, key);

	fake->name_writes++;
	fake->name_removed_in = fake->memory->root->generation;
	if (name && name->used) {
		name->used = false;
		fake->name_count--;
	}
	return 0;
}

static int fake_name_each(void *arg, kernel_name_fn *fn, void *fn_arg)
{
	struct fake *fake = arg;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(fake->names); i++)
		if (fake->names[i].used)
			r = fn(&fake->names[i].key, &fake->names[i].entry, fn_arg);
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

void agent_start(struct world *w)
{
	const struct apply_kernel kernel = {
		.memory = &w->memory.arrays,
		.vip_set = fake_vip_set,
		.vip_remove = fake_vip_remove,
		.vip_each = fake_vip_each,
		.name_set = fake_name_set,
		.name_remove = fake_name_remove,
		.name_each = fake_name_each,
		.account_each = fake_account_each,
		.grace_wait = fake_grace_wait,
		.arg = &w->fake,
	};
	struct error err = {};

	EXPECT_OK(offload_new(w->loop, "offload", &w->offload));
	EXPECT_OK(apply_new_with(w->loop, w->offload, &kernel, w->state, on_done, w, &w->apply, &err), &err);
}

void agent_stop(struct world *w)
{
	w->apply = apply_free(w->apply);
	w->offload = offload_free(w->offload);
	if (w->loop)
		loop_turn(w->loop, 0);
}

void agent_restart(struct world *w)
{
	agent_stop(w);
	agent_start(w);
}

void world_init(struct world *w)
{
	*w = (struct world){ .fake = { .vip_room = ARRAY_SIZE(w->fake.vips), .name_room = ARRAY_SIZE(w->fake.names) } };
	sem_init(&w->fake.gate, 0, 0);
	test_memory_init(&w->memory);
	w->fake.memory = &w->memory.arrays;
	EXPECT_OK(state_open_memory(&w->state));
	EXPECT_OK(loop_new(&w->loop));
	agent_start(w);
}

void world_done(struct world *w)
{
	agent_stop(w);
	loop_free(w->loop);
	state_close(w->state);
	test_memory_done(&w->memory);
	sem_destroy(&w->fake.gate);
}

char *text(const char *format, const char *name)
{
	char *string;

	if (asprintf(&string, format, name) < 0)
		fail_msg("no memory");
	return string;
}

void *grown(void *array, size_t count, size_t size)
{
	array = realloc(array, (count + 1) * size);
	if (!array)
		fail_msg("no memory");
	memset((char *)array + count * size, 0, size);
	return array;
}

struct plan *plan_new(void)
{
	return grown(NULL, 0, sizeof(struct plan));
}

uint32_t add_target(struct plan *plan, const char *node, const char *const *endpoints)
{
	struct plan_target *target = ADD(plan, targets, target_count);
	static uint64_t serial;

	target->serial = ++serial;
	target->name = text(M "virtualNode/%s:8080", node);
	target->node = text(M "virtualNode/%s", node);
	target->panic_pct = 50;
	for (; *endpoints; endpoints++) {
		struct plan_endpoint *endpoint;

		target->endpoints = grown(target->endpoints, target->endpoint_count, sizeof(*endpoint));
		endpoint = &target->endpoints[target->endpoint_count++];
		EXPECT_OK(ip_port_parse(*endpoints, &endpoint->address, &endpoint->port));
	}
	return (uint32_t)plan->target_count - 1;
}

struct plan_service *add_service(struct plan *plan, const char *name, const char *vip, const struct plan_weighted *targets,
					size_t count)
{
	struct plan_service *service = ADD(plan, services, service_count);
	struct plan_port *port;

	service->name = text(M "virtualService/%s", name);
	EXPECT_OK(ip_parse(vip, &service->vip4));
	service->ports = port = grown(NULL, 0, sizeof(*port));
	service->port_count = 1;
	port->port = 8080;
	port->target_count = (uint8_t)count;
	memcpy(port->targets, targets, count * sizeof(*targets));
	return service;
}

void add_node(struct plan *plan, const char *name)
{
	struct plan_node *node = ADD(plan, nodes, node_count);

	node->name = text(M "virtualNode/%s", name);
	node->flags = NODE_DROP_ALL;
	for (; node->backend_count < plan->service_count; node->backend_count++) {
		node->backends = grown(node->backends, node->backend_count, sizeof(*node->backends));
		node->backends[node->backend_count].service = (uint32_t)node->backend_count;
	}
}

void add_scope(struct plan *plan, const char *name)
{
	struct plan_scope *scope = ADD(plan, scopes, scope_count);

	scope->name = text("%s", name);
	scope->services = calloc(plan->service_count + 1, sizeof(*scope->services));
	for (; scope->service_count < plan->service_count; scope->service_count++)
		scope->services[scope->service_count] = (uint32_t)scope->service_count;
}

struct plan *canary(uint16_t weight1, uint16_t weight2)
{
	struct plan *plan = plan_new();
	const uint32_t v1 = TARGET(plan, "v1", "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80");
	const uint32_t v2 = TARGET(plan, "v2", "10.0.1.1:80");

	SERVICE(plan, "payment", "240.240.0.1", { v1, weight1 }, { v2, weight2 });
	add_node(plan, "client");
	return plan;
}

struct plan *one_service(const char *targets, unsigned client_count)
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

uint64_t decide(struct world *w, struct plan *plan)
{
	const unsigned before = w->done_count;

	apply_plan(w->apply, plan);
	TURN_UNTIL(w, w->done_count > before);
	return w->generation;
}

uint64_t in_force(struct world *w, struct plan *plan)
{
	const uint64_t generation = decide(w, plan);

	EXPECT_OK(w->err.code, &w->err);
	return generation;
}

uint32_t id_of(struct world *w, enum object_kind kind, const char *name)
{
	const uint32_t id = apply_object_id(w->apply, kind, name);

	EXPECT(id != 0);
	return id;
}

uint32_t ref_of(struct world *w, enum object_kind kind, const char *name)
{
	const uint32_t id = apply_object_id(w->apply, kind, name);
	struct generations *g = apply_generations(w->apply);
	const uint32_t ref = generations_ref(g, generations_current(g), id);

	EXPECT(!ref || ref >> REF_KIND_SHIFT == kind);
	return ref;
}

const struct service_record *service_of(struct world *w, const char *name)
{
	return &w->memory.arrays.services[ref_of(w, OBJECT_SERVICE, name) & REF_INDEX_MASK];
}

const struct route_record *route_of(struct world *w, const char *service)
{
	return &w->memory.arrays.routes[service_of(w, service)->first_route];
}

const struct target_record *target_of(struct world *w, const char *name)
{
	return &w->memory.arrays.targets[ref_of(w, OBJECT_TARGET, name) & REF_INDEX_MASK];
}

const struct node_record *node_of(struct world *w, const char *name)
{
	return &w->memory.arrays.nodes[ref_of(w, OBJECT_NODE, name) & REF_INDEX_MASK];
}

const struct backend *backend_of(struct world *w, const char *node, const char *service)
{
	const struct node_record *record = node_of(w, node);
	const uint32_t id = id_of(w, OBJECT_SERVICE, service);

	for (uint32_t i = 0; i < record->backend_count; i++)
		if (w->memory.arrays.backends[record->first_backend + i].service == id)
			return &w->memory.arrays.backends[record->first_backend + i];
	fail_msg("%s has no backend %s", node, service);
	return NULL;
}

int row_of(struct world *w, const char *node, const char *target)
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

int slot_of(struct world *w, const char *target, const char *endpoint)
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

uint32_t vip_service(struct world *w, const char *vip)
{
	struct ip ip;

	EXPECT_OK(ip_parse(vip, &ip));
	return has_vip(&w->fake, &ip) ? w->fake.vips[vip_place(&w->fake, &ip)].service : 0;
}

const struct name_entry *name_of(struct world *w, const char *scope, const char *name)
{
	const struct fake_name *place;
	struct name_key key;

	EXPECT_OK(name_key_make(scope, name, &key));
	place = name_place(&w->fake, &key);
	return place && place->used ? &place->entry : NULL;
}

unsigned changed_since(struct world *w, uint64_t generation)
{
	struct generations *g = apply_generations(w->apply);
	unsigned changed = 0;

	for (uint32_t id = 1; id < MAX_OBJECTS; id++)
		changed += generations_ref(g, generation, id) != generations_ref(g, generations_current(g), id);
	return changed;
}

uint32_t used(struct world *w, const char *table)
{
	struct generations_fill fill[16];
	const size_t count = generations_fill(apply_generations(w->apply), fill, ARRAY_SIZE(fill));

	for (size_t i = 0; i < count; i++)
		if (!strcmp(fill[i].name, table))
			return fill[i].used;
	fail_msg("no table is called %s", table);
	return 0;
}

void turn_the_ring(struct world *w, struct plan *(*plan)(unsigned i))
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

/* Jobs run in order, so an empty one ends after those that were submitted before it. */
void wait_idle(struct world *w)
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

struct plan *endpoints_of_v1(const char *const *endpoints)
{
	struct plan *plan = plan_new();

	add_target(plan, "v1", endpoints);
	return plan;
}

struct plan *other_service(unsigned i)
{
	struct plan *plan = plan_new();

	SERVICE(plan, "t", "240.240.0.9", { TARGET(plan, "z", "10.0.0.9:80"), (uint16_t)(i % 2 + 1) });
	return plan;
}

struct plan *long_list(const char *node, uint32_t count, uint16_t zone)
{
	struct plan *plan = plan_new();

	TARGET(plan, node);
	plan->targets[0]->endpoints = calloc(count, sizeof(struct plan_endpoint));
	plan->targets[0]->endpoint_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct plan_endpoint *endpoint = &plan->targets[0]->endpoints[i];

		endpoint->address.words[2] = htonl(0xffff);
		endpoint->address.words[3] = htonl(0x0a000000 + i);
		endpoint->port = htons(80);
		endpoint->zone = zone;
	}
	return plan;
}
