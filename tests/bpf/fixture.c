/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/address.h"
#include "tests/lib/test.h"
#include "weft.skel.h"

static void *map_memory(const struct bpf_map *map)
{
	const size_t bytes = ((size_t)bpf_map__value_size(map) + 7) / 8 * 8 * bpf_map__max_entries(map);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static void map_front(const struct weft_bpf *s, const char *name, struct front *front)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(s->obj, name);
	const uint32_t count = bpf_map__max_entries(map);

	assert_int_equal(front_init(front, bpf_map__value_size(map), count), 0);
	assert_int_equal(front_take(front, dup(bpf_map__fd(map)), count), 0);
	assert_int_equal(front_reach(front, count), 0);
}

static void map_fronts(const struct weft_bpf *s, struct kernel_memory *memory)
{
#define X(symbol, member, map, per_service, multiple) map_front(s, map, &memory->fronts[KERNEL_ARRAY(member)]);
	ARRAY_TABLES(X)
#undef X
	map_front(s, "w_directory", &memory->fronts[KERNEL_DIRECTORIES]);
	kernel_memory_point(memory);
}

void fixture_init(struct fixture *f)
{
	struct weft_bpf *s = weft_bpf__open();
	struct kernel_limits limits;
	struct bpf_map *map;

	assert_non_null(s);
	kernel_limits_for(FIXTURE_SERVICES, &limits);
	bpf_object__for_each_map(map, s->obj)
		if (kernel_limits_entries(&limits, bpf_map__name(map)))
			assert_int_equal(bpf_map__set_max_entries(map, kernel_limits_entries(&limits, bpf_map__name(map))), 0);
	assert_int_equal(weft_bpf__load(s), 0);
	*f = (struct fixture){ .skeleton = s, .generation = 1 };
	f->kernel = (struct kernel){
		.memory = {
			.root = map_memory(s->maps.w_root),
			.config = map_memory(s->maps.w_config),
			.limits = limits,
		},
		.servings = map_memory(s->maps.w_serving_place),
		.serving_fd = bpf_map__fd(s->maps.w_serving),
		.served_fd = bpf_map__fd(s->maps.w_served),
		.reason_fd = bpf_map__fd(s->maps.w_reason),
		.vip_fd = bpf_map__fd(s->maps.w_vip),
		.own_address_fd = bpf_map__fd(s->maps.w_own_address),
		.exempt_fd = bpf_map__fd(s->maps.w_exempt),
		.stat_fd = bpf_map__fd(s->maps.w_stat),
		.cpu_count = libbpf_num_possible_cpus(),
		.explain_fd = bpf_map__fd(s->maps.w_explain),
		.explain_prog_fd = bpf_program__fd(s->progs.explain),
	};
	map_fronts(s, &f->kernel.memory);
	f->kernel.memory.root->generation = f->kernel.memory.root->oldest = f->generation;
	assert_int_equal(ip_prefix_parse("240.240.0.0/16", &f->kernel.memory.config->vip4, &f->kernel.memory.config->vip4_mask), 0);
	assert_int_equal(ip_prefix_parse("2001:2::/48", &f->kernel.memory.config->vip6, &f->kernel.memory.config->vip6_mask), 0);
}

void fixture_done(struct fixture *f)
{
	for (size_t i = 0; i < KERNEL_ARRAY_COUNT; i++)
		front_done(&f->kernel.memory.fronts[i]);
	/* other mappings go with the process; the maps with the skeleton */
	weft_bpf__destroy(f->skeleton);
}

static void name(struct fixture *f, enum object_kind kind, uint32_t id)
{
	f->kernel.memory.directories[f->generation % RING_DIRECTORIES].refs[id] = REF(kind, id);
}

void given_node(struct fixture *f, uint32_t flags, const uint32_t services[])
{
	struct node_record *node = &f->kernel.memory.nodes[NODE];

	*node = (struct node_record){ .flags = flags, .first_backend = 100 };
	for (; services && services[node->backend_count]; node->backend_count++)
		f->kernel.memory.backends[100 + node->backend_count] = (struct backend){
			.service = services[node->backend_count],
			.row = 16 * (node->backend_count + 1),
			.row_count = 16,
		};
	name(f, OBJECT_NODE, NODE);
}

static struct ip vip4_of(uint32_t service)
{
	struct ip ip;

	assert_int_equal(ip_parse("240.240.0.0", &ip), 0);
	ip.bytes[15] = service;
	return ip;
}

void given_service(struct fixture *f, uint32_t id, uint16_t port, unsigned target_count, const unsigned weights[])
{
	struct service_record *service = &f->kernel.memory.services[id];
	struct route_record *route = route_of(f, id);
	struct ip vip = vip4_of(id);
	unsigned sum = 0;

	*service = (struct service_record){ .first_route = id * 8, .port_count = 1, .ports = { htons(port) } };
	*route = (struct route_record){ .target_count = target_count };
	for (unsigned i = 0; i < target_count; i++) {
		route->cumulative[i] = sum += weights[i];
		route->target[i] = TARGET + i;
		route->row_offset[i] = i;
	}
	name(f, OBJECT_SERVICE, id);
	assert_int_equal(bpf_map_update_elem(f->kernel.vip_fd, &vip, &id, 0), 0);
	assert_int_equal(ip_parse("2001:2::", &vip), 0);
	vip.bytes[15] = id;
	assert_int_equal(bpf_map_update_elem(f->kernel.vip_fd, &vip, &id, 0), 0);
}

void given_target(struct fixture *f, uint32_t id, unsigned v4_count, unsigned v6_count)
{
	struct target_record *target = target_of(f, id);

	*target = (struct target_record){
		.first = { id * 1024, id * 1024 + 512 },
		.count = { v4_count, v6_count },
		.panic_pct = 50,
	};
	for (unsigned i = 0; i < v4_count + v6_count; i++) {
		const bool v4 = i < v4_count;
		struct endpoint_ref *ref = &f->kernel.memory.refs[v4 ? id * 1024 + i : id * 1024 + 512 + i - v4_count];

		*ref = (struct endpoint_ref){ .port = htons(8080), .slot = id * 64 + i % 64, .incarnation = 1 };
		assert_int_equal(ip_parse(v4 ? "10.0.0.0" : "fd00::", &ref->address), 0);
		ref->address.bytes[v4 ? 14 : 13] = id;
		ref->address.bytes[15] = i;
		f->kernel.memory.endpoints[ref->slot].incarnation = 1;
	}
	name(f, OBJECT_TARGET, id);
}

struct route_record *route_of(struct fixture *f, uint32_t service)
{
	return &f->kernel.memory.routes[service * 8];
}

struct backend *backend_of(struct fixture *f, unsigned index)
{
	return &f->kernel.memory.backends[100 + index];
}

struct target_record *target_of(struct fixture *f, uint32_t target)
{
	return &f->kernel.memory.targets[target];
}

struct endpoint_ref *ref_of(struct fixture *f, uint32_t target, unsigned index)
{
	return &f->kernel.memory.refs[target * 1024 + index];
}

struct endpoint *endpoint_of(struct fixture *f, uint32_t target, unsigned index)
{
	return &f->kernel.memory.endpoints[ref_of(f, target, index)->slot];
}

struct flow flow_to(const char *address, uint16_t port)
{
	struct flow flow = { .node = NODE, .netns_cookie = NETNS_COOKIE, .is_tcp = 1, .port = htons(port) };

	assert_int_equal(ip_parse(address, &flow.destination), 0);
	return flow;
}

struct flow flow_to_service(uint32_t service, uint16_t port)
{
	struct flow flow = flow_to("240.240.0.0", port);

	flow.destination = vip4_of(service);
	return flow;
}

struct decision decide_in_kernel(struct fixture *f, struct flow flow)
{
	struct explain request = { .flow = flow };

	assert_int_equal(getrandom(&request.draw, sizeof(request.draw), 0), sizeof(request.draw));
	assert_int_equal(kernel_explain(&f->kernel, &request, NULL, NULL), 0);
	return request.decision;
}

static int add(const struct explain_key *key, uint64_t count, void *arg)
{
	struct tally *tally = arg;

	tally->by_target[key->target % 64] += count;
	tally->by_reason[key->reason] += count;
	tally->by_slot[key->slot % 1024] += count;
	return 0;
}

struct tally decide_many(struct fixture *f, struct flow flow, uint32_t count)
{
	struct explain request = { .flow = flow, .count = count };
	struct tally tally = {};

	assert_int_equal(kernel_explain(&f->kernel, &request, add, &tally), 0);
	return tally;
}
