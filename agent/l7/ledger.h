/* SPDX-License-Identifier: Apache-2.0 */
/* What the weft-proxies of an instance have of the pools of listeners (limit.c), in a file that they share: a limit holds for all of them
 * together, for who has the seat and for those before it that still serve what they had (agent/proxy/retire.h).
 *
 * A row is one pool. Each process has a column, in which it alone writes what it has; a place is taken by one compare-and-exchange of the
 * word that all columns are in, so that the limit is exact without a lock. That a process is gone, however it went, is told by a lock of its column,
 * which the kernel lets go with it: those who look for room take back what it had.
 *
 * Thread: any; but one pool is one thread's in each process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"

#define LEDGER_FILE "proxy.pools-1" /* in the directory of the seat; another layout has another name */
#define LEDGER_COLUMNS 4 /* who has the seat, two that had it, and the eldest of three, which ends just now */
#define LEDGER_ROWS 8192 /* pools; of more than these, each process counts alone */
#define LEDGER_KEY_BYTES 80
/* The lock of a process that is killed goes before some of its connections do: until so long after that its places are taken. */
#define LEDGER_DEAD_NS (20 * NSEC_PER_MSEC)
#define LEDGER_WAITS_NS (100 * NSEC_PER_MSEC) /* one that waits, and does not say so again for that long, hangs */

enum ledger_kind { LEDGER_CONNECTIONS, LEDGER_PENDING, LEDGER_KINDS };

struct ledger;
struct ledger_row;

/* Makes the file where there is none; it takes memory as rows come. NULL: memory of this process alone. -EBUSY: more processes live than there
 * are columns, for LEDGER_BUSY_NS; -EPROTO: it is no such file; -errno. */
#define LEDGER_BUSY_NS (5 * NSEC_PER_SEC)
int ledger_open(const char *path, struct ledger **ret_ledger, struct error *err);
struct ledger *ledger_close(struct ledger *ledger); /* nobody has a row of it any more. NULL is fine */

/* The pool of that key, shorter than LEDGER_KEY_BYTES, and none that this process has already. NULL: no memory. */
struct ledger_row *ledger_get(struct ledger *ledger, const char *key);
void ledger_put(struct ledger *ledger, struct ledger_row *row); /* it has nothing of it any more */
/* How often a pool was got that this process counts alone: there is no file, or no room in it. */
uint64_t ledger_alone(const struct ledger *ledger);

/* One more of a kind, where all together have fewer than `max`. `own`: how many this process has without it. */
bool ledger_enter(struct ledger *ledger, struct ledger_row *row, enum ledger_kind kind, uint32_t own, uint32_t max);
void ledger_leave(struct ledger *ledger, struct ledger_row *row, enum ledger_kind kind, uint32_t own); /* so many are left */
uint32_t ledger_others(const struct ledger *ledger, const struct ledger_row *row, enum ledger_kind kind); /* what other processes have */
bool ledger_is_shared(const struct ledger *ledger, const struct ledger_row *row); /* others have the row, or may have had it when they went */

/* What who has the seat goes by holds for all. 0: nobody has said it. */
void ledger_say(struct ledger_row *row, enum ledger_kind kind, uint32_t max);
uint32_t ledger_said(const struct ledger_row *row, enum ledger_kind kind);
/* This process waits for a place of the pool, now. */
void ledger_wait(struct ledger *ledger, struct ledger_row *row, uint64_t now_ns);
/* How many requests wait in other processes, which do not hang. */
uint32_t ledger_others_wait(const struct ledger *ledger, const struct ledger_row *row, uint64_t now_ns);

/* Takes back what processes had that are gone. A few system calls. */
void ledger_sweep(struct ledger *ledger, uint64_t now_ns);
