/* SPDX-License-Identifier: Apache-2.0 */
/* Plan -> kernel. The only writer of records, directories and VIP entries. Takes the difference between the plan and what the
 * current directory holds, writes new records for what changed, and commits one generation; unchanged objects keep their
 * records, endpoints their slots, triples their counter rows. A plan that does not fit is refused as a whole: the old
 * generation stays in force. Plans that arrive while a grace period is awaited coalesce: the last one wins. */
#pragma once

#include "agent/compile/plan.h"
#include "agent/loop/loop.h"
#include "agent/store/store.h"
#include "maps/generation.h"
#include "maps/kernel.h"

struct apply;

/* `done` runs on the loop after each plan: with the generation now in force (the same as before when nothing changed), or with an
 * error. `totals` of retired rows go to the store under "totals/". Sweeps first, on the offload thread, and only then accepts. */
typedef void apply_done_fn(uint64_t generation, const struct error *err, void *arg);
int apply_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct store *store, apply_done_fn *done,
	      void *arg, struct apply **ret_apply, struct error *err);
struct apply *apply_free(struct apply *apply);

/* Takes the plan. Never blocks. */
void apply_plan(struct apply *apply, struct plan *plan);
/* The plan in force; NULL before the first. Borrowed until the next `done`. */
const struct plan *apply_current(const struct apply *apply);
struct generations *apply_generations(struct apply *apply);

/* What ids stand for. The names of objects that left the plan are kept in the store, so that old flow records and rows can still be
 * told. NULL: never known to this state directory. Borrowed until the next turn of the loop. */
const char *apply_object_name(struct apply *apply, uint32_t object_id);
uint32_t apply_object_id(const struct apply *apply, enum object_kind kind, const char *name); /* 0: none */
/* Address and port of an endpoint slot; false when it is free. */
bool apply_slot_endpoint(const struct apply *apply, uint32_t slot, struct ip *ret_address, __be16 *ret_port);

/* Totals of rows that were retired, by names: added to the live rows by whoever shows counters. */
typedef int apply_total_fn(const char *source, const char *service, const char *target, const struct row *sums, void *arg);
int apply_totals_each(struct apply *apply, apply_total_fn *fn, void *arg);
