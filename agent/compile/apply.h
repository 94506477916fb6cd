/* SPDX-License-Identifier: Apache-2.0 */
/* Plan -> kernel. The only writer of records, directories, VIP entries and names. Takes the difference between the plan and what
 * the current directory holds, writes new records for what changed, and commits one generation; unchanged objects keep
 * their records, endpoints their slots, triples their counter rows. A plan that does not fit is refused as a whole: the
 * old generation stays in force. Plans that arrive while another one waits (for the next turn of the loop, a grace
 * period, a sweep) coalesce: the last one wins, and only it is reported. */
#pragma once

#include "agent/compile/apply_kernel.h"
#include "agent/compile/plan.h"
#include "agent/loop/loop.h"
#include "agent/state/state.h"
#include "base/bytes.h"
#include "maps/generation.h"
#include "maps/kernel.h"

struct apply;

/* `done` runs on the loop, never from inside apply_plan(), after each plan that was decided: with the generation now in
 * force (the same as before when nothing changed), or with an error. It may hand in the next plan, but not free `apply`.
 * `totals` of retired rows go to the state under "totals/". Waits, then sweeps, with the help of the offload thread, and
 * only then accepts; afterwards it corrects the open counts that a kernel part may have been left with (reconcile.h).
 * Everything is borrowed. */
typedef void apply_done_fn(uint64_t generation, const struct error *err, void *arg);
int apply_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct state *state, apply_done_fn *done,
	      void *arg, struct apply **ret_apply, struct error *err);
/* The same with another kernel, for tests. Copies `kernel`. */
int apply_new_with(struct loop *loop, struct offload *offload, const struct apply_kernel *kernel, struct state *state,
		   apply_done_fn *done, void *arg, struct apply **ret_apply, struct error *err);
/* Before the offload thread ends: a job under way goes on without `apply`, but with the kernel part, which is closed
 * after the thread has ended. A plan that still waits is dropped. NULL is fine. */
struct apply *apply_free(struct apply *apply);

/* Takes the plan. Never blocks. */
void apply_plan(struct apply *apply, struct plan *plan);
/* From within `done`, after a refusal: for how many services the arrays should be made so that the plan fits; 0: it was not for want of
 * their room. */
uint32_t apply_services_wanted(const struct apply *apply);
/* No plan waits: all that were handed in are decided. */
bool apply_is_settled(const struct apply *apply);
/* The plan in force; NULL before the first. Borrowed until the next `done`. */
const struct plan *apply_current(const struct apply *apply);
struct generations *apply_generations(struct apply *apply);

/* What is in force, to be compared with what is later: a new reference, given back before the plan's compiler is freed. NULL before the first
 * plan. */
struct in_force;
struct in_force *apply_in_force(const struct apply *apply);
struct in_force *in_force_unref(struct in_force *held); /* NULL is fine. Returns NULL */
uint64_t in_force_generation(const struct in_force *held);
/* Appends what weft-proxy is to be told of what is in force now, where it knows what was in force `before`; NULL: nothing. After the first
 * plan. As snapshot_write(). */
int apply_snapshot(const struct apply *apply, const struct in_force *before, struct buffer *text);

/* What ids stand for. The names of objects that left the plan are kept in the state, so that old flow records and rows
 * can still be told. NULL: never known to this state directory. Borrowed until the next turn of the loop. */
const char *apply_object_name(struct apply *apply, uint32_t object_id);
size_t apply_misnamed(const struct apply *apply); /* names_misnamed() */
uint32_t apply_object_id(const struct apply *apply, enum object_kind kind, const char *name); /* 0: none */
/* The id of a virtual node that workloads act for, whether or not a plan has it: made where there is none, its name
 * remembered, and held while this agent runs, since w_netns and w_cgroup name it. 0: no id is free, or the state failed;
 * logged. */
uint32_t apply_node_id(struct apply *apply, const char *node);
/* Address and port of an endpoint slot; false when it is free. */
bool apply_slot_endpoint(const struct apply *apply, uint32_t slot, struct ip *ret_address, __be16 *ret_port);

/* The slot of an endpoint of a target of the plan in force; -ENOENT. */
int64_t apply_endpoint_slot(const struct apply *apply, const struct plan_target *target, const struct plan_endpoint *endpoint);

/* Totals of rows that were retired, by names: added to the live rows by whoever shows counters. */
typedef int apply_total_fn(const char *source, const char *service, const char *target, const struct row *sums, void *arg);
int apply_totals_each(struct apply *apply, apply_total_fn *fn, void *arg);
