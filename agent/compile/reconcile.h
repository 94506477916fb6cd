/* SPDX-License-Identifier: Apache-2.0 */
/* The open counts of rows and slots, compared with the accounts that hold them, and corrected where they are wrong.
 *
 * Connections come and go meanwhile, so a reading says something of a count only if nothing happened to it: the counts
 * are taken, then a grace period lets every program end that had begun, then the accounts are read, then a second grace
 * period ends what began meanwhile, and the counts are taken again. `attempts` only grows, and grows with every place
 * taken: where it and `open` are the same before and after, no place was taken and so none was given back, and the
 * accounts read in between are exactly those that hold one. The same for a slot, whose places are taken by the
 * connections of its target: the attempts counted for that target must have stayed.
 *
 * Guaranteed: a count that is right is never changed, since a difference is believed only when three such readings, each
 * after the other, agree on it; and the correction is an atomic addition of the difference, so what happens at that
 * moment is kept. Not guaranteed: that a wrong count of a target that is never quiet for the 30 ms of a reading is
 * corrected. */
#pragma once

#include "agent/compile/apply_kernel.h"
#include "agent/compile/slots.h"

struct reading;

/* One reading. Blocks, for the offload thread. 0 or -errno. */
int reading_take(const struct apply_kernel *kernel, struct reading **ret_reading);
struct reading *reading_free(struct reading *reading);

struct reconcile;

int reconcile_new(const struct kernel_memory *memory, const struct slots *slots, struct reconcile **ret_reconcile);
struct reconcile *reconcile_free(struct reconcile *reconcile);

/* Takes up the next reading and corrects what three have agreed on. Rows and slots must not change hands between
 * readings; one that did is left alone. Returns how many differences another reading could settle: at 0 there is no need
 * for one. */
size_t reconcile_add(struct reconcile *reconcile, const struct reading *reading);
size_t reconcile_corrected(const struct reconcile *reconcile);
