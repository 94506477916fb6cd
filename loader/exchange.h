/* SPDX-License-Identifier: Apache-2.0 */
/* Other maps under running programs: larger arrays for more services, and maps of another layout for another build. Nothing that is there
 * changes its place in an array, so indexes in records, in accounts of open sockets and in tables that stay keep their meaning.
 *
 * A second directory of pins is made, with programs over the maps that are new and everything else linked from the first; what is in
 * maps is copied, the links take the new programs, the directories change places by one renameat2(2), and what was written to the
 * former maps since the copy is carried over (loader/takeover.h). From the first link on it only goes forward: a loader which finds the
 * work of one that was killed drops what changed nothing yet, and completes the rest. Meanwhile every program finds what it needs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/limits.h"

/* `directory` holds the pins of a whole instance, whose agent does not run. Arrays become at least as large as `limits` says. */
int exchange(const char *directory, const struct kernel_limits *limits, struct error *err);
/* Completes or drops what a loader that was killed has begun. To be called under the lock, before anything looks at the pins. -EPROTO: one
 * of another build has to complete it; -EBUSY: weftd runs. */
int exchange_recover(const char *directory, const char *instance, struct error *err);
/* Whether there is something to recover. */
bool exchange_is_half_done(const char *directory);

/* Where the second set of pins is, beside `directory`. */
#define EXCHANGE_PREFIX "next_"
