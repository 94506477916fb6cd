/* SPDX-License-Identifier: Apache-2.0 */
/* Generations and the memory behind them: the ring of directories, the allocator of records, ranges, slots, rows and ids.
 *
 * The allocator has no file and no free lists that could be wrong: what the kept directories and the accounts of open sockets
 * name is in use, all else is free. A sweep finds that out, at the start of an agent and whenever an array runs short. What an
 * aborted or half-done commit wrote is therefore simply free again.
 *
 * A commit must not overwrite a directory that a reader may still be in, so it needs a grace period (membarrier) since the
 * root left that directory: generations_needs_grace() says when to start one, generations_grace_begin/_end frame it. One
 * grace period serves every commit before it. Thread: the loop's; only the waiting itself happens on the offload thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/kernel.h"

struct generations;

/* Takes up what the memory holds: `oldest..generation` are whole, the rest is not read. Calls nothing of the kernel; a first
 * sweep is the caller's (a full grace period must have passed since the process started). Borrows `memory`. */
int generations_new(struct kernel_memory *memory, struct generations **ret_generations, struct error *err);
struct generations *generations_free(struct generations *g);
uint64_t generations_current(const struct generations *g);
uint64_t generations_oldest(const struct generations *g);
/* Object `id` in a kept generation: its reference (REF), or 0. */
uint32_t generations_ref(const struct generations *g, uint64_t generation, uint32_t id);

/* Object ids by name (hash_name() of kind and full name). 0 when there is none, and none can be made. */
uint32_t generations_id_get(const struct generations *g, enum object_kind kind, const char *name);
uint32_t generations_id_make(struct generations *g, enum object_kind kind, const char *name);

/* Allocation, for the change at hand. Index, or -ENOSPC: sweep, or refuse the change with the name of the array. Nothing that is
 * allocated here can be handed out again before a sweep has found it unnamed. */
int64_t generations_alloc_service(struct generations *g);
int64_t generations_alloc_routes(struct generations *g, uint32_t count);
int64_t generations_alloc_target(struct generations *g);
int64_t generations_alloc_refs(struct generations *g, uint32_t count);
int64_t generations_alloc_node(struct generations *g);
int64_t generations_alloc_backends(struct generations *g, uint32_t count);
int64_t generations_alloc_rows(struct generations *g, uint32_t count); /* in a row; incarnations are raised to odd */
int64_t generations_alloc_slot(struct generations *g); /* endpoint slot, zeroed; incarnation odd */

/* A change: sets of (object id -> REF or 0), published as one generation. */
struct change {
	uint32_t id;
	uint32_t ref;
};
/* 0 with the new generation; -EAGAIN: the ring would catch up with readers, start (or await) a grace period and commit then. */
int generations_commit(struct generations *g, const struct change *changes, size_t count, uint64_t *ret_generation);

bool generations_needs_grace(const struct generations *g); /* half the ring was used since the last one: start one now */
uint64_t generations_grace_begin(struct generations *g); /* a ticket; then membarrier on the offload thread */
void generations_grace_end(struct generations *g, uint64_t ticket);

/* Lets go of all generations but the last `keep` (1..RING_DIRECTORIES), when arrays run short. Takes effect in the next sweep
 * after a grace period. */
void generations_trim(struct generations *g, unsigned keep);

/* The sweep. Between begin and end the caller reports what open sockets name (the accounts of kernel_account_each; a copy is fine as
 * long as it was taken after begin). `retired` is told every row that is let go, before it is cleared, so that its counts can be
 * folded into totals; a negative return keeps the row for the next sweep. -EAGAIN from begin: a grace period must pass first. */
int generations_sweep_begin(struct generations *g);
void generations_sweep_account(struct generations *g, const struct account *account);
typedef int generations_retired_fn(uint32_t row_index, const struct row *row, void *arg);
void generations_sweep_end(struct generations *g, generations_retired_fn *retired, void *arg);

/* Free entries of each array, for status: name, used, size. */
struct generations_fill {
	const char *name;
	uint32_t used;
	uint32_t size;
};
size_t generations_fill(const struct generations *g, struct generations_fill *ret_fill, size_t max);

/* Waits until every BPF program that runs now has ended: membarrier(MEMBARRIER_CMD_GLOBAL), and a map-in-map update (which
 * waits for RCU) where membarrier cannot. Blocks some 10 ms: for the offload thread. 0 or -errno. */
int grace_wait(void);
