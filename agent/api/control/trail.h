/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the audit records of a store within bounds while it exists: the oldest go first. It counts them once, by their keys, then watches,
 * and looks at their age every hour. Where the store fails it tries again, a minute later. One loop, its thread. */
#pragma once

#include "agent/store/store.h"

struct loop;
struct trail;

struct trail_bounds {
	size_t records; /* there may be TRAIL_SLACK more for a while */
	uint64_t age_ns;
};
#define TRAIL_SLACK STORE_TXN_LIMIT

int trail_new(struct loop *loop, struct store *store, const struct trail_bounds *bounds, struct trail **ret_trail); /* 0 or -ENOMEM */
struct trail *trail_free(struct trail *trail); /* before store_close(); NULL is fine */
size_t trail_records(const struct trail *trail); /* that there are; 0 until they are counted */
uint64_t trail_removed(const struct trail *trail); /* since it exists */
uint64_t trail_failures(const struct trail *trail); /* of the store, when it was asked */
