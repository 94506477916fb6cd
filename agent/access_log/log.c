/* SPDX-License-Identifier: Apache-2.0 */
/* Who has which log, and lines until they are handed over. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/access_log/log_internal.h"
#include "base/cleanup.h"
#include "base/time.h"

#define LOG_BYTES_MAX (4u * 1024 * 1024)
#define TOTAL_BYTES_MAX (64u * 1024 * 1024)
#define FREE_WAIT_NS NSEC_PER_SEC
#define ENDS_FIRST 64
#define FIELD_FORMAT "spec.logging.accessLog.file.format"

const char *access_log_drop_name(enum access_log_drop reason)
{
	static const char *const names[] = {
#define DROP_TEXT(name, text) text,
		ACCESS_LOG_DROPS(DROP_TEXT)
#undef DROP_TEXT
	};

	return names[reason];
}

/* --- pieces ----------------------------------------------------------------------------------------------------------------- */

struct piece *piece_free(struct piece *piece)
{
	if (!piece)
		return NULL;
	buffer_done(&piece->bytes);
	free(piece->ends);
	free(piece);
	return NULL;
}

static void piece_clear(struct piece *piece)
{
	buffer_clear(&piece->bytes);
	piece->lines = piece->written_bytes = piece->written_lines = 0;
}

/* The one that the slot fills. NULL: no memory. */
static struct piece *slot_piece(struct slot *slot, size_t worker)
{
	if (!slot->piece)
		slot->piece = atomic_exchange_explicit(&slot->spare, NULL, memory_order_acquire);
	if (slot->piece && slot->piece->lines == 0)
		piece_clear(slot->piece);
	if (!slot->piece) {
		slot->piece = calloc(1, sizeof(*slot->piece));
		if (slot->piece)
			slot->piece->worker = worker;
	}
	return slot->piece;
}

static bool ends_make_room(struct piece *piece)
{
	const size_t room = piece->ends_room ? 2 * piece->ends_room : ENDS_FIRST;
	uint32_t *ends;

	if (piece->lines < piece->ends_room)
		return true;
	ends = reallocarray(piece->ends, room, sizeof(*ends));
	if (!ends)
		return false;
	piece->ends = ends;
	piece->ends_room = room;
	return true;
}

void log_count_drop(struct access_log *log, enum access_log_drop reason, size_t lines)
{
	if (lines > 0)
		atomic_fetch_add_explicit(&log->counters.dropped[reason], lines, memory_order_relaxed);
}

/* Adds to a count of bytes, unless it would be over its bound then. */
static bool reserve(_Atomic size_t *count, size_t bytes, size_t max)
{
	if (atomic_fetch_add_explicit(count, bytes, memory_order_relaxed) + bytes <= max)
		return true;
	atomic_fetch_sub_explicit(count, bytes, memory_order_relaxed);
	return false;
}

/* Hands over what the slot has, or drops it. */
static void slot_hand_over(struct slot *slot)
{
	struct access_log *log = slot->log;
	struct piece *piece = slot->piece, *head;
	const size_t bytes = piece ? piece->bytes.length : 0;

	if (!piece || piece->lines == 0)
		return;
	if (!reserve(&log->queued_bytes, bytes, log->logs->log_bytes_max)) {
		log_count_drop(log, ACCESS_LOG_QUEUE_FULL, piece->lines);
		piece_clear(piece);
		return;
	}
	if (!reserve(&log->logs->queued_bytes, bytes, log->logs->total_bytes_max)) {
		atomic_fetch_sub_explicit(&log->queued_bytes, bytes, memory_order_relaxed);
		log_count_drop(log, ACCESS_LOG_TOTAL_FULL, piece->lines);
		piece_clear(piece);
		return;
	}
	slot->piece = NULL;
	head = atomic_load_explicit(&log->queue, memory_order_relaxed);
	do {
		piece->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&log->queue, &head, piece, memory_order_release, memory_order_relaxed));
	writer_wake(log);
}

/* --- lines ------------------------------------------------------------------------------------------------------------------ */

static enum access_log_drop line_add(struct access_log *log, struct piece *piece, const struct access_log_entry *entry)
{
	const size_t before = piece->bytes.length;

	if (!ends_make_room(piece))
		return ACCESS_LOG_NO_MEMORY;
	if (log->hostname) {
		struct access_log_entry with_host = *entry;

		with_host.hostname = span_of(log->hostname);
		access_log_format(log->format, &with_host, &piece->bytes);
	} else {
		access_log_format(log->format, entry, &piece->bytes);
	}
	if (!buffer_failed(&piece->bytes) && piece->bytes.length - before <= ACCESS_LOG_LINE_MAX_BYTES) {
		piece->ends[piece->lines++] = (uint32_t)piece->bytes.length;
		return ACCESS_LOG_DROP_COUNT;
	}
	piece->bytes.length = before;
	if (!buffer_failed(&piece->bytes))
		return ACCESS_LOG_LINE_TOO_LONG;
	piece->bytes.failed = false;
	return ACCESS_LOG_NO_MEMORY;
}

bool access_log_write(struct access_log *log, size_t worker, const struct access_log_entry *entry)
{
	struct slot *slot = &log->slots[worker];
	struct list *dirty = &log->logs->workers[worker].dirty;
	struct piece *piece = slot_piece(slot, worker);
	const enum access_log_drop drop = piece ? line_add(log, piece, entry) : ACCESS_LOG_NO_MEMORY;
	const bool first = list_empty(dirty);

	if (drop != ACCESS_LOG_DROP_COUNT) {
		log_count_drop(log, drop, 1);
		return false;
	}
	if (piece->bytes.length >= ACCESS_LOG_PIECE_BYTES)
		slot_hand_over(slot);
	if (!list_empty(&slot->dirty))
		return false;
	access_log_ref(log);
	list_append(dirty, &slot->dirty);
	return first;
}

void access_logs_flush(struct access_logs *logs, size_t worker)
{
	list_for_each_safe(it, &logs->workers[worker].dirty) {
		struct slot *slot = container_of(it, struct slot, dirty);

		list_remove(it);
		slot_hand_over(slot);
		access_log_unref(slot->log);
	}
}

/* --- a log's life ----------------------------------------------------------------------------------------------------------- */

void log_free(struct access_log *log)
{
	for (size_t i = 0; i < log->logs->worker_count; i++) {
		piece_free(log->slots[i].piece);
		piece_free(atomic_load_explicit(&log->slots[i].spare, memory_order_relaxed));
	}
	fd_close(log->wake_fd);
	fd_close(log->pidfd);
	access_log_format_free(log->format);
	pthread_mutex_destroy(&log->lock);
	free(log->key);
	free(log->path);
	free(log->mesh);
	free(log->name);
	free(log->hostname);
	free(log);
}

static char *key_of(const struct access_log_request *request)
{
	_cleanup_free_ char *file = json_dumps(request->file, JSON_COMPACT | JSON_SORT_KEYS);
	char *key;

	return file && asprintf(&key, "%llu %s", (unsigned long long)request->workload, file) >= 0 ? key : NULL;
}

static int set_process(struct access_log *log, int pidfd, struct error *err)
{
	int copy = pidfd < 0 ? -1 : fcntl(pidfd, F_DUPFD_CLOEXEC, 0), former;

	if (pidfd >= 0 && copy < 0)
		return error_set(err, -errno, "cannot keep the process of a workload: %m");
	pthread_mutex_lock(&log->lock);
	former = log->pidfd;
	log->pidfd = copy;
	pthread_mutex_unlock(&log->lock);
	fd_close(former);
	return 0;
}

static int set_hostname(struct access_log *log, int pidfd, struct error *err)
{
	char name[HOST_NAME_MAX + 1] = "";
	int r;

	if (!access_log_format_needs_hostname(log->format))
		return 0;
	r = pidfd >= 0 ? access_log_hostname(pidfd, name, sizeof(name)) : gethostname(name, sizeof(name)) < 0 ? -errno : 0;
	if (r < 0)
		return error_set(err, r, "cannot tell the host name of the workload: %s", strerror(-r));
	name[sizeof(name) - 1] = '\0';
	log->hostname = strdup(name);
	return log->hostname ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int fill(struct access_log *log, const struct access_log_request *request, struct error *err)
{
	int r = access_log_format_new(json_object_get(request->file, "format"), FIELD_FORMAT, &log->format, err);

	if (r < 0)
		return r;
	log->key = key_of(request);
	log->path = strdup(json_path_string(request->file, "path"));
	log->mesh = strndup(request->mesh.data, request->mesh.length);
	log->name = strndup(request->node.data, request->node.length);
	if (!log->key || !log->path || !log->mesh || !log->name)
		return error_set(err, -ENOMEM, "out of memory");
	log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (log->wake_fd < 0)
		return error_set(err, -errno, "cannot make an eventfd: %m");
	r = set_process(log, request->pidfd, err);
	return r < 0 ? r : set_hostname(log, request->pidfd, err);
}

static int log_new(struct access_logs *logs, const struct access_log_request *request, struct access_log **ret_log, struct error *err)
{
	const size_t size = sizeof(struct access_log) + logs->worker_count * sizeof(struct slot);
	struct access_log *log = aligned_alloc(_Alignof(struct access_log), size);
	int r;

	if (!log)
		return error_set(err, -ENOMEM, "out of memory");
	memset(log, 0, size);
	log->logs = logs;
	log->workload = request->workload;
	log->refs = 1;
	log->wake_fd = log->pidfd = -1;
	pthread_mutex_init(&log->lock, NULL);
	for (size_t i = 0; i < logs->worker_count; i++) {
		list_init(&log->slots[i].dirty);
		log->slots[i].log = log;
	}
	r = fill(log, request, err);
	if (r < 0) {
		log_free(log);
		return r;
	}
	*ret_log = log;
	return 0;
}

/* With the lock. */
static int log_start(struct access_logs *logs, struct access_log *log)
{
	int r = table_add(&logs->table, &log->node, log->key);

	if (r < 0)
		return r;
	logs->threads++;
	atomic_fetch_add(&logs->refs, 1);
	r = writer_start(log);
	if (r == 0)
		return 0;
	atomic_fetch_sub(&logs->refs, 1);
	logs->threads--;
	table_remove(&logs->table, &log->node);
	return r;
}

static int open_new(struct access_logs *logs, const struct access_log_request *request, struct access_log **ret_log, struct error *err)
{
	struct access_log *log = NULL;
	int r = log_new(logs, request, &log, err);

	if (r < 0)
		return r;
	r = log_start(logs, log);
	if (r < 0) {
		log_free(log);
		return error_set(err, r, "cannot start a thread for an access log: %s", strerror(-r));
	}
	*ret_log = log;
	return 0;
}

int access_log_open(struct access_logs *logs, const struct access_log_request *request, struct access_log **ret_log, struct error *err)
{
	_cleanup_free_ char *key = key_of(request);
	struct table_node *node;
	int r = 0;

	if (!key)
		return error_set(err, -ENOMEM, "out of memory");
	if (request->pidfd < 0 && !logs->workload_files)
		return error_set(err, -EINVAL, "an access log of a workload without a process needs --workload-files");
	pthread_mutex_lock(&logs->lock);
	node = table_get(&logs->table, key);
	if (node) {
		struct access_log *log = container_of(node, struct access_log, node);

		r = set_process(log, request->pidfd, err);
		if (r == 0)
			*ret_log = access_log_ref(log);
	} else {
		r = open_new(logs, request, ret_log, err);
	}
	pthread_mutex_unlock(&logs->lock);
	return r;
}

struct access_log *access_log_ref(struct access_log *log)
{
	atomic_fetch_add_explicit(&log->refs, 1, memory_order_relaxed);
	return log;
}

struct access_log *access_log_unref(struct access_log *log)
{
	struct access_logs *logs = log ? log->logs : NULL;
	uint32_t refs;

	if (!log)
		return NULL;
	/* Whoever finds it in the table has the lock: only with it may the last reference go. */
	refs = atomic_load_explicit(&log->refs, memory_order_relaxed);
	while (refs > 1)
		if (atomic_compare_exchange_weak_explicit(&log->refs, &refs, refs - 1, memory_order_release, memory_order_relaxed))
			return NULL;
	pthread_mutex_lock(&logs->lock);
	if (atomic_fetch_sub_explicit(&log->refs, 1, memory_order_acq_rel) == 1) {
		table_remove(&logs->table, &log->node);
		atomic_store_explicit(&log->ending, true, memory_order_release);
		writer_wake(log); /* the thread wants this lock before it frees the log */
	}
	pthread_mutex_unlock(&logs->lock);
	return NULL;
}

/* --- all of them ------------------------------------------------------------------------------------------------------------ */

int access_logs_new(const struct access_logs_options *options, struct access_logs **ret_logs)
{
	const size_t size = sizeof(struct access_logs) + options->worker_count * sizeof(struct worker_logs);
	struct access_logs *logs = aligned_alloc(_Alignof(struct access_logs), size);
	pthread_condattr_t monotonic;

	if (!logs)
		return -ENOMEM;
	memset(logs, 0, size);
	logs->refs = 1;
	logs->worker_count = options->worker_count;
	logs->log_bytes_max = options->log_bytes_max ?: LOG_BYTES_MAX;
	logs->total_bytes_max = options->total_bytes_max ?: TOTAL_BYTES_MAX;
	pthread_mutex_init(&logs->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&logs->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (size_t i = 0; i < logs->worker_count; i++)
		list_init(&logs->workers[i].dirty);
	if (options->workload_files) {
		logs->workload_files = strdup(options->workload_files);
		if (!logs->workload_files) {
			access_logs_unref(logs);
			return -ENOMEM;
		}
	}
	*ret_logs = logs;
	return 0;
}

void access_logs_unref(struct access_logs *logs)
{
	if (atomic_fetch_sub_explicit(&logs->refs, 1, memory_order_acq_rel) > 1)
		return;
	table_done(&logs->table);
	pthread_cond_destroy(&logs->ended);
	pthread_mutex_destroy(&logs->lock);
	free(logs->workload_files);
	free(logs);
}

struct access_logs *access_logs_free(struct access_logs *logs)
{
	uint64_t until_ns = time_now_ns() + FREE_WAIT_NS + FREE_WAIT_NS / 4; /* their own second, and some */
	const struct timespec until = { .tv_sec = (time_t)(until_ns / NSEC_PER_SEC), .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };

	if (!logs)
		return NULL;
	for (size_t i = 0; i < logs->worker_count; i++)
		access_logs_flush(logs, i);
	pthread_mutex_lock(&logs->lock);
	while (logs->threads > 0 && pthread_cond_timedwait(&logs->ended, &logs->lock, &until) == 0)
		;
	pthread_mutex_unlock(&logs->lock);
	access_logs_unref(logs);
	return NULL;
}

void access_log_reopen(struct access_log *log)
{
	atomic_fetch_add_explicit(&log->reopen, 1, memory_order_release);
	writer_wake(log);
}

/* --- shown ------------------------------------------------------------------------------------------------------------------ */

static void totals_add(struct access_log_totals *totals, const struct counters *counters)
{
	totals->lines += atomic_load_explicit(&counters->lines, memory_order_relaxed);
	totals->bytes += atomic_load_explicit(&counters->bytes, memory_order_relaxed);
	totals->opened += atomic_load_explicit(&counters->opened, memory_order_relaxed);
	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		totals->dropped[i] += atomic_load_explicit(&counters->dropped[i], memory_order_relaxed);
}

struct access_log_totals access_log_totals(const struct access_log *log)
{
	struct access_log_totals totals = { .queued_bytes = atomic_load_explicit(&log->queued_bytes, memory_order_relaxed) };

	totals_add(&totals, &log->counters);
	return totals;
}

struct access_log_totals access_logs_totals(struct access_logs *logs)
{
	struct access_log_totals totals = { .queued_bytes = atomic_load_explicit(&logs->queued_bytes, memory_order_relaxed) };

	pthread_mutex_lock(&logs->lock);
	totals_add(&totals, &logs->gone);
	for (struct table_node *node = table_first(&logs->table); node; node = table_next(&logs->table, node))
		totals_add(&totals, &container_of(node, struct access_log, node)->counters);
	pthread_mutex_unlock(&logs->lock);
	return totals;
}

static json_t *log_json(struct access_log *log)
{
	const struct access_log_totals totals = access_log_totals(log);
	json_t *dropped = json_object();
	struct error error;

	pthread_mutex_lock(&log->lock);
	error = log->error;
	pthread_mutex_unlock(&log->lock);
	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		json_object_set_new(dropped, access_log_drop_name(i), json_integer((json_int_t)totals.dropped[i]));
	return json_pack("{s:I, s:s, s:s?, s:I, s:I, s:I, s:I, s:o}", "workload", (json_int_t)log->workload, "path", log->path,
			 "error", error.code ? error.message : NULL, "lines", (json_int_t)totals.lines, "bytes",
			 (json_int_t)totals.bytes, "queuedBytes", (json_int_t)totals.queued_bytes, "opened",
			 (json_int_t)totals.opened, "dropped", dropped);
}

json_t *access_logs_json(struct access_logs *logs)
{
	json_t *list = json_array();

	pthread_mutex_lock(&logs->lock);
	for (struct table_node *node = table_first(&logs->table); node; node = table_next(&logs->table, node))
		if (json_array_append_new(list, log_json(container_of(node, struct access_log, node))) < 0)
			break;
	pthread_mutex_unlock(&logs->lock);
	return list;
}
