// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A reader that takes one generation and reads it over and over while user space commits: two services, a target and a node at a
 * time, changed together, each of whose words says which change it belongs to. A program for packets, since these run under RCU as
 * the hooks do, which SEC("syscall") programs do not. */
#include "bpf/lib/bpf.h"
#include "bpf/lib/directory.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/row.h"
#include "tests/bpf/hammer.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct pair pairs[PAIRS];
__u32 most_rounds; /* in one generation */

__u64 clean, torn, mixed, missing;
__u64 entered, left; /* runs */

struct reading {
	__u64 generation;
	__u32 pair;
};

/* The tag of a service: in its ports and its first route. -1: absent; -2: they differ. */
static __always_inline int service_tag(__u64 generation, __u32 id)
{
	const struct service_record *service = directory_service(generation, id);
	const struct route_record *route;
	__u32 key;
	__be16 tag;

	if (!service)
		return -1;
	tag = READ_ONCE(service->ports[0]);
	for (int i = 1; i < MAX_SERVICE_PORTS; i++)
		if (READ_ONCE(service->ports[i]) != tag)
			return -2;
	key = READ_ONCE(service->first_route);
	route = bpf_map_lookup_elem(&w_route, &key);
	if (!route)
		return -2;
	for (int i = 0; i < MAX_ROUTE_TARGETS; i++)
		if (READ_ONCE(route->cumulative[i]) != tag)
			return -2;
	return tag;
}

static __always_inline int target_tag(__u64 generation, __u32 id)
{
	const struct target_record *target = directory_target(generation, id);
	const struct endpoint_ref *ref;
	const struct endpoint *slot;
	__u32 key;
	__u16 tag;

	if (!target)
		return -1;
	tag = READ_ONCE(target->panic_pct);
	key = READ_ONCE(target->first[LIST_V4]);
	ref = bpf_map_lookup_elem(&w_ref, &key);
	if (!ref || READ_ONCE(ref->zone) != tag)
		return -2;
	key = READ_ONCE(ref->slot);
	slot = bpf_map_lookup_elem(&w_endpoint, &key);
	if (!slot || READ_ONCE(slot->incarnation) != READ_ONCE(ref->incarnation))
		return -2;
	return tag;
}

static __always_inline int node_tag(__u64 generation, __u32 id)
{
	const struct node_record *node = directory_node(generation, id);
	const struct backend *backend;
	const struct row *row;
	__u32 key;
	__u16 tag;

	if (!node)
		return -1;
	tag = READ_ONCE(node->l7_ports[0]);
	key = READ_ONCE(node->first_backend);
	backend = bpf_map_lookup_elem(&w_backend, &key);
	if (!backend || READ_ONCE(backend->flags) != tag)
		return -2;
	key = READ_ONCE(backend->row);
	row = bpf_map_lookup_elem(&w_row, &key);
	if (!row || READ_ONCE(row->incarnation) != READ_ONCE(backend->tls_ports))
		return -2;
	return tag;
}

static long look(__u32 round, void *arg)
{
	const struct reading *reading = arg;
	const struct pair *pair = &pairs[(reading->pair + round) % PAIRS];
	const int a = service_tag(reading->generation, pair->services[0]);
	const int b = service_tag(reading->generation, pair->services[1]);
	const int t = target_tag(reading->generation, pair->target);
	const int n = node_tag(reading->generation, pair->node);

	if (a == -1 || b == -1 || t == -1 || n == -1)
		ADD(missing, 1);
	else if (a < 0 || b < 0 || t < 0 || n < 0)
		ADD(torn, 1);
	else if (a != b || a != t || a != n)
		ADD(mixed, 1);
	else
		ADD(clean, 1);
	return 0;
}

SEC("tc")
int hammer(struct __sk_buff *skb)
{
	const __u32 random = bpf_get_prandom_u32();
	struct reading reading = { .pair = random };

	ADD(entered, 1);
	reading.generation = generation_current();
	bpf_loop(1 + scale(random, most_rounds), look, &reading, 0);
	ADD(left, 1);
	return 0;
}
