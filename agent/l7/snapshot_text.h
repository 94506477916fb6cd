/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a configuration, {KIND: {ID: object or null, …}, …}, object by object: of 10,000 services one is parsed at a time, and what is
 * kept of each is a copy of its own bytes. Pure. */
#pragma once

#include "agent/l7/snapshot.h"
#include "base/span.h"

/* One object, parsed, and the bytes that it is of; both NULL: `null`. Borrowed. A negative return ends the walk. */
typedef int snapshot_text_fn(enum snapshot_kind kind, uint32_t id, const json_t *json, struct span text, void *arg, struct error *err);

/* Calls `fn` for each, in the order of the text. Members of the outer object that are no kind are passed over where they are objects or lists. What `fn`
 * returned, or -EBADMSG, which names the kind: it is no such JSON, an id is none, or is there twice; -ENOMEM. */
int snapshot_text_each(struct span text, snapshot_text_fn *fn, void *arg, struct error *err);
