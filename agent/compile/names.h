/* SPDX-License-Identifier: Apache-2.0 */
/* What object ids stand for. The maps hold hashes of names only; the names themselves are kept in the state, under
 * "objects/ID", so that an agent can tell ids that are no longer in any configuration. Thread: the loop's. */
#pragma once

#include "agent/state/state.h"
#include "base/error.h"
#include "maps/generation.h"

struct names;

/* Reads what the state knows. A name is in the state before a directory names its id, so where w_object says otherwise of such an id somebody else
 * wrote it: then ids get the names of the state again, and those that the state knows nothing of are free. Otherwise entries that w_object does
 * not confirm are of ids that were given up, and ignored. Borrows all. -ENOMEM, -EIO. */
int names_new(struct generations *generations, const struct kernel_memory *memory, struct state *state,
	      struct names **ret_names, struct error *err);
struct names *names_free(struct names *names);

/* How many ids of objects in force had another name, or none, in w_object, until names_new() put theirs back. */
size_t names_misnamed(const struct names *names);

/* The id of a name; 0: none. */
uint32_t names_id(struct names *names, enum object_kind kind, const char *name);
/* The same, made where there is none: 0 or -ENOSPC (no id is free), -ENOMEM, -ENAMETOOLONG. */
int names_make(struct names *names, enum object_kind kind, const char *name, uint32_t *ret_id);
/* The last name that had the id; NULL: not known. Borrowed until the id is given to another name. */
const char *names_get(const struct names *names, uint32_t id);

/* Writes the names that were learnt since the last time, in one transaction: to be called before a commit publishes their
 * ids. */
int names_save(struct names *names, struct error *err);
