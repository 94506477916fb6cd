/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of rows that were retired, summed in the state by the names they counted for. Each row is added once: its sums
 * go into the state in one transaction with a marker that holds a hash of the whole row, incarnation included, and an
 * agent that was killed before the row was cleared finds the marker. Nobody counts in a retired row, so it reads the same
 * the second time. Thread: the loop's. */
#pragma once

#include "agent/compile/names.h"
#include "agent/state/state.h"
#include "maps/abi/row.h"

#define TOTALS_PREFIX "totals/" /* of their keys in the state */

/* 1; 0 when there was nothing to write (the row counted nothing, is no triple's, or was added before); or -errno, and the
 * row has to be kept. */
int totals_fold(struct state *state, const struct names *names, uint32_t row_index, const struct row *row);

/* `sums` has no ids and nothing open. A negative return of `fn` ends the walk and is returned. */
typedef int totals_fn(const char *source, const char *service, const char *target, const struct row *sums, void *arg);
int totals_each(struct state *state, totals_fn *fn, void *arg);
