/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel part of weft, loaded for one test and attached to nothing: a small mesh written straight into the maps, and the
 * kernel's own decision asked about it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "maps/kernel.h"

struct weft_bpf;

struct fixture {
	struct weft_bpf *skeleton;
	struct kernel kernel;
	uint64_t generation;
};

/* How many entries its arrays have: as for so many services. */
#define FIXTURE_SERVICES 4096
enum fixture_entries {
#define X(symbol, member, map, per_service, multiple) FIXTURE_##symbol = ARRAY_ENTRIES(per_service, multiple, FIXTURE_SERVICES),
	ARRAY_TABLES(X)
#undef X
};

/* Fails the test where the programs do not load. */
void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);

/* Object ids that tests use: all below 64, each free until it is given. */
enum { NODE = 1, SERVICE = 2, OTHER_SERVICE = 3, TARGET = 10 };
enum { NETNS_COOKIE = 77 };

/* A caller with so many flags, and these services as backends (0-terminated, ascending). */
void given_node(struct fixture *f, uint32_t flags, const uint32_t services[]);
/* A service at VIP 240.240.0.`id` and 2001:2::`id`, with one port whose route has these weights to targets TARGET, TARGET + 1 … */
void given_service(struct fixture *f, uint32_t id, uint16_t port, unsigned target_count, const unsigned weights[]);
/* A target with so many endpoints of each family: 10.0.`id`.n:8080 and fd00::`id`:n. */
void given_target(struct fixture *f, uint32_t id, unsigned v4_count, unsigned v6_count);
struct route_record *route_of(struct fixture *f, uint32_t service);
struct backend *backend_of(struct fixture *f, unsigned index);
struct target_record *target_of(struct fixture *f, uint32_t target);
struct endpoint *endpoint_of(struct fixture *f, uint32_t target, unsigned index); /* of its IPv4 list */
struct endpoint_ref *ref_of(struct fixture *f, uint32_t target, unsigned index);

struct flow flow_to(const char *address, uint16_t port);
struct flow flow_to_service(uint32_t service, uint16_t port);
struct decision decide_in_kernel(struct fixture *f, struct flow flow);
/* How many of `count` decisions had the target (0: any) and the reason. */
struct tally {
	uint64_t by_target[64];
	uint64_t by_reason[REASON_COUNT];
	uint64_t by_slot[1024];
};
struct tally decide_many(struct fixture *f, struct flow flow, uint32_t count);
