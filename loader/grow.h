/* SPDX-License-Identifier: Apache-2.0 */
/* Larger arrays under running programs. Nothing that is there changes its place: an array for more services begins as the smaller one
 * did, so indexes in records, in accounts of open sockets and in tables that stay keep their meaning.
 *
 * A second directory of pins is made, with programs over the larger arrays and everything else linked from the first; the arrays are
 * copied, the links take the new programs, what the kernel wrote to the small arrays since the copy is carried over, and the
 * directories change places by one renameat2(2). What was copied stays beside them until then, so that a loader which finds the
 * work of one that was killed either takes it back or completes it, whichever loses no count. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* `directory` holds the pins of a whole instance, whose agent does not run. Undone on failure. -EALREADY: it is as large. */
int grow(const char *directory, uint32_t services, struct error *err);
/* Completes or takes back what a loader that was killed has begun. To be called under the lock, before anything looks at the pins. */
int grow_recover(const char *directory, struct error *err);
/* Whether there is something to recover. */
bool grow_is_half_done(const char *directory);

/* Where a growing instance has its second set of pins, beside `directory`. */
#define GROW_PREFIX "next_"
