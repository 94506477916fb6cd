/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of w_name, and a copy of them to compare with: the only writer. Names that two plans have in common cost no system
 * call, and no hash; where they share scopes and services, not even a look. Holds the ids that entries name. Thread: the loop's. */
#pragma once

#include "agent/compile/apply_kernel.h"
#include "agent/compile/encode.h"
#include "base/error.h"
#include "maps/generation.h"

struct name_entries;

/* Takes up what the map has; it stays until a plan that has not got it is in force. To be called before the first sweep. */
int name_entries_new(const struct apply_kernel *kernel, struct generations *generations, struct name_entries **ret_entries,
		     struct error *err);
struct name_entries *name_entries_free(struct name_entries *entries);

/* Before the commit: enters the names of `now` that `before` (without a plan: nothing) has not, or has otherwise. What is no DNS
 * name gets no entry. -ENOSPC: the table is full; -errno of the kernel. */
int name_entries_enter(struct name_entries *entries, const struct planned *now, const struct planned *before, struct error *err);
/* After the commit: removes what is not among the names of `now`. What the kernel keeps stays for the next time. */
void name_entries_leave(struct name_entries *entries, const struct planned *before, const struct planned *now);
/* Instead of it, after a failure: undoes what name_entries_enter() has done. */
void name_entries_restore(struct name_entries *entries, const struct planned *now, const struct planned *before);
