/* SPDX-License-Identifier: Apache-2.0 */
/* apply on plain memory, with a kernel that is tables of VIPs and names and a list of accounts; plans in few words; and what hooks
 * would find in the maps. */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>

#include "agent/compile/apply.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/memory.h"
#include "tests/lib/test.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)

struct fake_vip {
	struct ip vip;
	uint32_t service;
};

struct fake_name {
	struct name_key key;
	struct name_entry entry;
	bool used;
};

/* The kernel. The offload thread reads it while the test waits. */
struct fake {
	struct fake_vip vips[20000]; /* in order of address, so that big plans take no time here */
	size_t vip_count;
	size_t vip_room; /* how many it takes */
	struct fake_name names[20000];
	size_t name_count;
	size_t name_room; /* how many it takes */
	unsigned name_writes;
	uint64_t name_set_in, name_removed_in; /* the generation that was current then */
	struct account open[8];
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
	struct state *state;
	struct loop *loop;
	struct offload *offload;
	struct apply *apply;
	unsigned done_count;
	uint64_t generation; /* as told last */
	struct error err; /* code 0: none */
};

void world_init(struct world *w); /* with an agent that has just started */
void world_done(struct world *w);
#define WORLD(w)                                                                                                              \
	_cleanup_(world_done) struct world w;                                                                                  \
	world_init(&w)

void agent_start(struct world *w);
void agent_stop(struct world *w);
void agent_restart(struct world *w);

#define TURN_UNTIL(w, condition)                                                                                              \
	for (uint64_t _end_ns = test_now_ns() + DEADLINE_NS; !(condition); loop_turn((w)->loop, NSEC_PER_MSEC))                \
		if (test_now_ns() > _end_ns)                                                                                   \
	fail_msg("waited in vain for: %s", #condition)

/* Hands the plan in and waits until it was decided: the generation in force then. in_force() expects success. */
uint64_t decide(struct world *w, struct plan *plan);
uint64_t in_force(struct world *w, struct plan *plan);
/* So many commits that no directory from before is kept. */
void turn_the_ring(struct world *w, struct plan *(*plan)(unsigned i));
/* What is under way has ended, and what that led to. */
void wait_idle(struct world *w);

/* --- plans ------------------------------------------------------------------------------------------------------------- */

#define M "mesh/m/"

struct plan *plan_new(void);
/* `array` with one more element behind `count`, all zero. */
void *grown(void *array, size_t count, size_t size);
/* The object gets the next place of its kind. */
#define ADD(plan, list, count)                                                                                                \
	({                                                                                                                     \
		(plan)->list = grown((plan)->list, (plan)->count, sizeof(*(plan)->list));                                      \
		(plan)->list[(plan)->count] = grown(NULL, 0, sizeof(**(plan)->list));                                          \
		(plan)->list[(plan)->count++];                                                                                 \
	})
char *text(const char *format, const char *name);
/* A listener on 8080, with endpoints "address:port" up to NULL. Returns its index. */
uint32_t add_target(struct plan *plan, const char *node, const char *const *endpoints);
#define TARGET(plan, node, ...) add_target(plan, node, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })
/* A service on port 8080; the list is of struct plan_weighted. */
struct plan_service *add_service(struct plan *plan, const char *name, const char *vip, const struct plan_weighted *targets,
				 size_t count);
#define SERVICE(plan, name, vip, ...)                                                                                         \
	add_service(plan, name, vip, (const struct plan_weighted[]){ __VA_ARGS__ },                                            \
		    sizeof((const struct plan_weighted[]){ __VA_ARGS__ }) / sizeof(struct plan_weighted))
/* All services so far are its backends. */
void add_node(struct plan *plan, const char *name);

/* All services so far have names in the scope; call for scopes in order. */
void add_scope(struct plan *plan, const char *scope);

/* payment on v1 and v2, called by one client. */
struct plan *canary(uint16_t weight1, uint16_t weight2);
/* s on some of the targets a, b, c, d, called by client-0 and so on. */
struct plan *one_service(const char *targets, unsigned client_count);
/* t on z; every second one is another plan. */
struct plan *other_service(unsigned i);
/* v1 alone. */
struct plan *endpoints_of_v1(const char *const *endpoints);
#define ENDPOINTS(...) endpoints_of_v1((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })
/* A target with `count` endpoints from 10.0.0.0 on; `zone` makes each list another one. */
struct plan *long_list(const char *node, uint32_t count, uint16_t zone);

/* --- what is in the maps ----------------------------------------------------------------------------------------------- */

uint32_t id_of(struct world *w, enum object_kind kind, const char *name); /* there is one */
uint32_t ref_of(struct world *w, enum object_kind kind, const char *name); /* 0: not in the current directory */
const struct service_record *service_of(struct world *w, const char *name);
const struct route_record *route_of(struct world *w, const char *service); /* of its first port */
const struct target_record *target_of(struct world *w, const char *name);
const struct node_record *node_of(struct world *w, const char *name);
const struct backend *backend_of(struct world *w, const char *node, const char *service);
/* The counter row of (client, s, target), as a hook finds it; -1: the service has no such target. */
int row_of(struct world *w, const char *node, const char *target);
#define ROW(w, client, target) row_of(w, M "virtualNode/client-" #client, M "virtualNode/" target ":8080")
/* The endpoint's slot, which is in use; -1: the target has no such endpoint. */
int slot_of(struct world *w, const char *target, const char *endpoint);
uint32_t vip_service(struct world *w, const char *vip); /* 0: no entry */
/* What the responder finds; NULL: no such name. */
const struct name_entry *name_of(struct world *w, const char *scope, const char *name);
/* How many objects have another record than in that generation. */
unsigned changed_since(struct world *w, uint64_t generation);
uint32_t used(struct world *w, const char *table); /* entries of a table, by its name in generations_fill() */
