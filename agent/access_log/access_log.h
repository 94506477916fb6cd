/* SPDX-License-Identifier: Apache-2.0 */
/* Access logs, and how lines get from workers into files without anybody waiting for a disk.
 *
 * A worker puts lines together in memory of its own, one piece for each log that it writes to: no lock, no call of the kernel. A piece is
 * handed to the log's thread when it has ACCESS_LOG_PIECE_BYTES, or when the worker flushes, which it does every
 * ACCESS_LOG_FLUSH_NS while it has something: one push on a list, one eventfd. Each log has a thread of its own, so that a workload
 * whose disk, FIFO, terminal or FUSE file system hangs holds up its own log and no other.
 *
 * Everything is bounded: what waits for a log's thread by `log_bytes_max`, for all together by `total_bytes_max`, a line by
 * ACCESS_LOG_LINE_MAX_BYTES. What does not fit is dropped, newest first, and counted by reason, log by log; lines written and
 * lines dropped are together all there were. After a write that was cut short the next one begins on a line of its own.
 *
 * A file is opened by its log's thread (file.h), and again when it was renamed or removed, which is looked for at most every
 * ACCESS_LOG_LOOK_NS and only when there are lines, for it takes thirty calls where a flush takes three; on access_log_reopen(); and a
 * second after it could not be opened or its reader went away: what comes meanwhile is dropped (not-open). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/access_log/entry.h"
#include "base/error.h"
#include "base/json.h"

#define ACCESS_LOG_FLUSH_NS 100000000ull
#define ACCESS_LOG_LOOK_NS 1000000000ull
#define ACCESS_LOG_PIECE_BYTES (60 * 1024) /* with a line beyond it, of the usual length, still in 64 KiB */
#define ACCESS_LOG_LINE_MAX_BYTES (64 * 1024)

#define ACCESS_LOG_DROPS(DROP)                                                                                                \
	DROP(QUEUE_FULL, "queue-full") /* the log's thread does not keep up */                                                 \
	DROP(TOTAL_FULL, "total-full") /* all of them together have too much waiting */                                        \
	DROP(NOT_OPEN, "not-open") /* there is no file to write to */                                                          \
	DROP(WRITE_FAILED, "write-failed") /* a full disk, say */                                                              \
	DROP(LINE_TOO_LONG, "line-too-long")                                                                                   \
	DROP(NO_MEMORY, "no-memory")                                                                                           \
	DROP(ENDED, "ended") /* the log ended, and its file took no more */

enum access_log_drop {
#define ACCESS_LOG_DROP_NAME(name, text) ACCESS_LOG_##name,
	ACCESS_LOG_DROPS(ACCESS_LOG_DROP_NAME)
#undef ACCESS_LOG_DROP_NAME
	ACCESS_LOG_DROP_COUNT,
};
const char *access_log_drop_name(enum access_log_drop reason);

struct access_logs;
struct access_log;

struct access_logs_options {
	size_t worker_count;
	const char *workload_files; /* --workload-files DIR, for workloads without a process; NULL: they have no logs */
	size_t log_bytes_max, total_bytes_max; /* 0: 4 MiB, 64 MiB */
};
/* Copies. 0 or -ENOMEM. */
int access_logs_new(const struct access_logs_options *options, struct access_logs **ret_logs);
/* After the last access_log_unref(), and when no worker runs any more: waits up to a second for what is on its way into files;
 * threads that hang longer are left behind, with what they hold. NULL is fine. Returns NULL. */
struct access_logs *access_logs_free(struct access_logs *logs);

struct access_log_request {
	uint64_t workload; /* whose log it is: as weftd numbers workloads */
	int pidfd; /* the process that carries its identity, dup'ed; -1: none */
	struct span mesh, node; /* the names of its virtual node or gateway */
	const json_t *file; /* spec.logging.accessLog.file, checked by spec */
};
/* The log of (workload, path, format): a new one, or a reference to the one that is there, whose process becomes `pidfd`. The
 * file is opened later, and may fail then. Any thread but a worker in a hurry: it makes a thread, and may enter a UTS namespace
 * for %HOSTNAME%. -EINVAL names the field, -ENOMEM, -EAGAIN: no more threads. */
int access_log_open(struct access_logs *logs, const struct access_log_request *request, struct access_log **ret_log, struct error *err);
struct access_log *access_log_ref(struct access_log *log);
/* Any thread. After the last one what was flushed still gets into the file, for a second; the log goes by itself. NULL is fine. */
struct access_log *access_log_unref(struct access_log *log);

/* Puts down a line. Worker number `worker`, on its own thread; the log is held until the worker has flushed. True: this worker
 * had nothing to flush before, so it arms a timer of ACCESS_LOG_FLUSH_NS for access_logs_flush(). */
bool access_log_write(struct access_log *log, size_t worker, const struct access_log_entry *entry);
/* Hands over all that the worker has put down, in every log. On the worker's thread, or when it is no more. */
void access_logs_flush(struct access_logs *logs, size_t worker);

/* The file is opened anew, as Envoy does on SIGUSR1. Any thread. */
void access_log_reopen(struct access_log *log);

struct access_log_totals {
	uint64_t lines, bytes; /* in the file */
	uint64_t dropped[ACCESS_LOG_DROP_COUNT]; /* lines */
	uint64_t queued_bytes; /* handed over, not written */
	uint64_t opened; /* times */
};
struct access_log_totals access_log_totals(const struct access_log *log);
struct access_log_totals access_logs_totals(struct access_logs *logs); /* of those that are gone as well */
/* [{"workload", "path", "error": null or text, "lines", "bytes", "queuedBytes", "opened", "dropped": {"queue-full": n, …}}]: new
 * reference, NULL: out of memory. */
json_t *access_logs_json(struct access_logs *logs);
