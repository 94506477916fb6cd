/* SPDX-License-Identifier: Apache-2.0 */
/* Between log.c (workers' side, and who has which log) and writer.c (a log's thread). Internal to agent/access_log. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/access_log/access_log.h"
#include "agent/access_log/file.h"
#include "agent/access_log/format.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"

struct piece { /* lines on their way */
	struct piece *next;
	size_t worker;
	struct buffer bytes;
	uint32_t *ends; /* where each line ends */
	size_t lines, ends_room;
	size_t written_bytes, written_lines; /* the thread's */
};
struct piece *piece_free(struct piece *piece);

/* A worker's side of a log; on a cache line of its own. */
struct slot {
	struct piece *piece; /* being filled; the worker's alone */
	struct list dirty; /* of the worker, while it may have something to flush; alone otherwise */
	struct access_log *log;
	_Atomic(struct piece *) spare; /* the thread gives back what was full */
} __attribute__((aligned(64)));

struct counters { /* of access_log_totals */
	_Atomic uint64_t lines, bytes, opened;
	_Atomic uint64_t dropped[ACCESS_LOG_DROP_COUNT];
};

struct worker_logs {
	struct list dirty; /* slots */
} __attribute__((aligned(64)));

struct access_logs {
	_Atomic size_t refs; /* who freed it, and each thread */
	size_t worker_count;
	char *workload_files;
	size_t log_bytes_max, total_bytes_max;
	_Atomic size_t queued_bytes;
	struct counters gone; /* of logs that are */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended; /* a thread has */
	struct table table;
	size_t threads;
	struct worker_logs workers[];
};
void access_logs_unref(struct access_logs *logs);

struct access_log {
	struct table_node node; /* by key; in the table while refs is not 0 */
	_Atomic uint32_t refs;
	struct access_logs *logs;
	uint64_t workload;
	char *key, *path, *mesh, *name;
	char *hostname; /* NULL: the format does not say it */
	struct access_log_format *format;
	int wake_fd; /* an eventfd */
	_Atomic bool ending; /* nobody has it any more */
	_Atomic uint32_t reopen; /* counts requests */
	_Atomic(struct piece *) queue; /* newest first */
	_Atomic size_t queued_bytes;
	struct counters counters;
	pthread_mutex_t lock; /* guards what follows; nobody holds it for long */
	int pidfd; /* -1: none */
	struct error error; /* why it is not open; code 0: it is, or was not tried */
	struct slot slots[];
};
void log_count_drop(struct access_log *log, enum access_log_drop reason, size_t lines);
void log_free(struct access_log *log);

/* Starts the thread, which frees the log when nobody has it any more. 0 or -errno. */
int writer_start(struct access_log *log);
void writer_wake(struct access_log *log);
