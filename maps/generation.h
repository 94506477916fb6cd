/* SPDX-License-Identifier: Apache-2.0 */
/* Generations and the memory behind them: the ring of directories, the allocator of records, ranges, slots, rows and ids.
 *
 * The allocator has no file and no free lists that could be wrong: what the kept directories and the accounts of open sockets
 * name is in use, all else is free. A sweep finds that out, at the start of an agent and whenever an array runs short. What an
 * aborted or half-done commit wrote is therefore simply free again. Before the first
 * sweep ids can be made and nothing else can be allocated. Until then all of the arrays is in memory, afterwards what is used, and
 * what lies before that.
 *
 * A commit must not overwrite a directory that a reader may still be in, so it needs a grace period (membarrier) since the
 * root left that directory: generations_needs_grace() says when to start one, generations_grace_begin/_end frame it. One
 * grace period serves every commit before it. Thread: the loop's; only the waiting itself happens on the offload thread.
 *
 * The memory may have been written by another build, or by nobody in his right mind: indexes and ranges found there are checked,
 * and what is out of range names nothing (generations_ignored() counts it). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/kernel.h"

struct generations;

/* Takes up what the memory holds: `oldest..generation` are whole, the rest is not read. Calls nothing of the kernel; a first
 * grace period, which also ends what readers of the agent before may still see, and the first sweep are the caller's. Borrows
 * `memory`. -EPROTO: the root makes no sense; -ENOMEM. */
int generations_new(struct kernel_memory *memory, struct generations **ret_generations, struct error *err);
struct generations *generations_free(struct generations *g);
uint64_t generations_current(const struct generations *g);
uint64_t generations_oldest(const struct generations *g);
/* Object `id` in a kept generation: its reference (REF), or 0. */
uint32_t generations_ref(const struct generations *g, uint64_t generation, uint32_t id);

/* Object ids by name (hash_name() of kind and full name, which is shorter than GENERATIONS_NAME_BYTES). 0 when there is none, and
 * none can be made. A name keeps its id, in or out of the directory, until fewer than a quarter of all ids are free: then the
 * sweep takes those that no directory, record, account, hold or change at hand names. To make an id, new or not, is part of the
 * change at hand. */
#define GENERATIONS_NAME_BYTES 1024
uint32_t generations_id_get(const struct generations *g, enum object_kind kind, const char *name);
uint32_t generations_id_make(struct generations *g, enum object_kind kind, const char *name);
/* At a start, before anything else is asked for: these names, one for each id and all zero where it has none, in place of those in the memory. */
void generations_put_names(struct generations *g, const struct object_name *names);
/* For ids that a key map (w_vip, w_netns, w_cgroup) names while no directory may: counted. A new agent holds what it finds in
 * those maps before its first sweep. */
void generations_id_hold(struct generations *g, uint32_t id);
void generations_id_release(struct generations *g, uint32_t id);

/* Allocation, for the change at hand. Index, or -ENOSPC: sweep, or refuse the change with the name of the array. What is
 * allocated here survives sweeps until the change is committed or abandoned, and cannot be handed out again before a sweep has
 * found it unnamed. A change may also name what the current directory names, directly or through a record; while a sweep is
 * under way, nothing else. A count of 0 needs no place: index 0. */
int64_t generations_alloc_service(struct generations *g);
int64_t generations_alloc_routes(struct generations *g, uint32_t count);
int64_t generations_alloc_target(struct generations *g);
int64_t generations_alloc_refs(struct generations *g, uint32_t count);
int64_t generations_alloc_node(struct generations *g);
int64_t generations_alloc_backends(struct generations *g, uint32_t count);
int64_t generations_alloc_rows(struct generations *g, uint32_t count); /* neighbours, zeroed; incarnations are raised to odd */
int64_t generations_alloc_slot(struct generations *g); /* endpoint slot, zeroed; incarnation odd */

/* A change: sets of (object id -> REF or 0), published as one generation. */
struct change {
	uint32_t id;
	uint32_t ref;
};
/* 0 with the new generation; -EAGAIN: the ring would catch up with readers, start (or await) a grace period and commit then. */
int generations_commit(struct generations *g, const struct change *changes, size_t count, uint64_t *ret_generation);
/* Gives up everything allocated since the last commit: the next sweep frees it. Made ids stay with their names. */
void generations_abandon(struct generations *g);

bool generations_needs_grace(const struct generations *g); /* half the ring was used since the last one: start one now */
uint64_t generations_grace_begin(struct generations *g); /* a ticket; then grace_wait() on the offload thread */
void generations_grace_end(struct generations *g, uint64_t ticket);

/* Lets go of all generations but the last `keep` (1..RING_DIRECTORIES), when arrays run short. Takes effect in the next sweep
 * after a grace period. */
void generations_trim(struct generations *g, unsigned keep);

/* The sweep. Between begin and end the caller reports what open sockets name (the accounts of kernel_account_each; a copy is
 * fine as long as it was taken after begin); it may allocate and commit meanwhile. `retired` is told every row that is let go,
 * before it is cleared, so that its counts can be folded into totals; a negative return keeps the row for the next sweep.
 * -EAGAIN from begin: a grace period must pass first. */
int generations_sweep_begin(struct generations *g);
void generations_sweep_account(struct generations *g, const struct account *account);
typedef int generations_retired_fn(uint32_t row_index, const struct row *row, void *arg);
void generations_sweep_end(struct generations *g, generations_retired_fn *retired, void *arg);
/* Names out of range that the last sweep met and ignored: 0 unless someone else wrote the maps. */
uint64_t generations_ignored(const struct generations *g);

/* How full each array is, for status. Returns how many of `ret_fill` were written. */
struct generations_fill {
	const char *name;
	uint32_t used;
	uint32_t size;
};
size_t generations_fill(const struct generations *g, struct generations_fill *ret_fill, size_t max);

/* Whether some array has little left of what the last sweep found free: time for the next one. */
bool generations_are_crowded(const struct generations *g);

/* Waits until every BPF program that runs now has ended: membarrier(MEMBARRIER_CMD_GLOBAL), and a map-in-map update (which
 * waits for RCU) where membarrier cannot. Blocks some 10 ms: for the offload thread. 0 or -errno. */
int grace_wait(void);
