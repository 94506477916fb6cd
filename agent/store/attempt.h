/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that depend on what is there: read a mirror, decide, write under compares; and once more where another was faster.
 *
 * A guard is a key that every write to the same whole (a mesh, say) compares and writes, so that whoever decided by an older state
 * of that whole loses. Attempts of this process on one guard run one after the other, in the order of their calls, so only other
 * writers of the store make one lose. Thread: the loop's. */
#pragma once

#include "agent/store/mirror.h"

struct attempts;
struct txn;

#define ATTEMPT_TRIES 8 /* lost compares after which an attempt gives up */
#define ATTEMPT_WAITING_LIMIT 1024 /* attempts that are not done */

/* Borrows both, which outlive it. Guards must have the mirror's prefix. 0 or -ENOMEM. */
int attempts_new(struct store *store, const struct mirror *mirror, struct attempts **ret_attempts);
/* What waits gets -ESHUTDOWN before this returns, and so does what is under way, of which nobody learns whether it was written.
 * NULL is fine. Returns NULL. */
struct attempts *attempts_free(struct attempts *attempts);

/* Reads the mirror, and adds to the transaction; on the loop, never from inside attempt_run(). A negative return ends the attempt,
 * with that and with what `err` says: nothing is written. It may be called again, after a lost compare: by then the mirror has what
 * the other one wrote. Adding no operation is fine, and writes nothing. May not call attempts_free(). */
typedef int attempt_build_fn(struct txn *txn, void *arg, struct error *err);
/* Copies. When memory or a limit of the store is in the way the attempt ends with that error. */
void txn_compare(struct txn *txn, const char *key, uint64_t revision);
void txn_put(struct txn *txn, const char *key, const void *value, size_t value_bytes);
void txn_delete(struct txn *txn, const char *key);

/* Calls `done` once, as store_txn() would; -EAGAIN: another was faster ATTEMPT_TRIES times. `guard` may be NULL. 0; -EAGAIN when
 * too many attempts wait; -EINVAL, -ENOMEM. An API answers -EAGAIN by TooManyRequestsException, wherever it comes from. */
int attempt_run(struct attempts *attempts, const char *guard, attempt_build_fn *build, store_done_fn *done, void *arg,
		struct error *err);

enum attempt_count {
	ATTEMPT_COUNT_DONE, /* written, or nothing to write */
	ATTEMPT_COUNT_REFUSED, /* by `build` */
	ATTEMPT_COUNT_RETRIES, /* compares lost, and tried again */
	ATTEMPT_COUNT_GAVE_UP,
	ATTEMPT_COUNT_FAILED, /* by the store */
	ATTEMPT_COUNT_BUSY, /* calls refused since too many wait */
	ATTEMPT_COUNTS
};
uint64_t attempt_count(const struct attempts *attempts, enum attempt_count which);
const char *attempt_count_name(enum attempt_count which);
