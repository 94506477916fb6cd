/* SPDX-License-Identifier: Apache-2.0 */
/* A log's thread: it opens the file, writes what workers hand over, and looks whether the file is still the one. It may hang in any call,
 * since file systems of workloads may: nobody waits for it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/access_log/log_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#define STACK_BYTES (256 * 1024)
#define RETRY_NS NSEC_PER_SEC /* until a file that could not be opened is tried again */
#define END_WAIT_NS NSEC_PER_SEC /* as long as an ended log tries to get rid of what it has */
#define TOLD_NS (60 * NSEC_PER_SEC) /* that lines are dropped, or that there is no file, is told once in that time */

struct writer {
	struct access_log *log;
	struct access_log_file file;
	struct piece *first, *last; /* in the order of handing over */
	uint32_t reopen_seen;
	uint64_t retry_ns; /* after a failure: when it is tried again */
	uint64_t look_ns; /* when it may be looked for again whether the path has moved */
	uint64_t ending_ns; /* since when; 0: it is not */
	uint64_t told_ns, told_lines; /* when drops may be told again; those that were */
	uint64_t error_told_ns;
	bool blocked; /* the file takes nothing now */
	bool torn; /* the last line in it is not whole */
};

/* --- pieces ----------------------------------------------------------------------------------------------------------------- */

static void take_queue(struct writer *w)
{
	struct piece *newest = atomic_exchange_explicit(&w->log->queue, NULL, memory_order_acquire), *first = NULL, *last = newest;

	while (newest) {
		struct piece *next = newest->next;

		newest->next = first;
		first = newest;
		newest = next;
	}
	if (!first)
		return;
	if (w->last)
		w->last->next = first;
	else
		w->first = first;
	w->last = last;
}

/* Lines of the first piece that are not written are dropped; it goes back to its worker, or away. */
static void piece_finish(struct writer *w, enum access_log_drop reason)
{
	struct access_log *log = w->log;
	struct piece *piece = w->first, *none = NULL;
	const size_t bytes = piece->bytes.length;

	w->first = piece->next;
	if (!w->first)
		w->last = NULL;
	log_count_drop(log, reason, piece->lines - piece->written_lines);
	atomic_fetch_sub_explicit(&log->queued_bytes, bytes, memory_order_relaxed);
	atomic_fetch_sub_explicit(&log->logs->queued_bytes, bytes, memory_order_relaxed);
	piece->lines = 0;
	/* Who fills one within a flush will need it again; others do not keep as much memory. */
	if (bytes < ACCESS_LOG_PIECE_BYTES || !atomic_compare_exchange_strong_explicit(&log->slots[piece->worker].spare, &none, piece,
											 memory_order_release, memory_order_relaxed))
		piece_free(piece);
}

static void drop_all(struct writer *w, enum access_log_drop reason)
{
	while (w->first)
		piece_finish(w, reason);
}

/* --- the file --------------------------------------------------------------------------------------------------------------- */

static void note_error(struct writer *w, const struct error *error, uint64_t now_ns)
{
	struct access_log *log = w->log;

	pthread_mutex_lock(&log->lock);
	log->error = *error;
	pthread_mutex_unlock(&log->lock);
	if (!error->code || now_ns < w->error_told_ns)
		return;
	w->error_told_ns = now_ns + TOLD_NS;
	log_warn("an access log cannot be written", LOG_F("workload", LOG_U64(log->workload)), LOG_F("path", LOG_STR(log->path)),
		 LOG_F("error", LOG_STR(error->message)));
}

/* What was begun in another file is not continued in this one. */
static void skip_torn(struct writer *w)
{
	struct piece *piece = w->first;

	w->torn = false;
	if (!piece || piece->written_bytes == (piece->written_lines > 0 ? piece->ends[piece->written_lines - 1] : 0))
		return;
	piece->written_bytes = piece->ends[piece->written_lines++];
	log_count_drop(w->log, ACCESS_LOG_WRITE_FAILED, 1);
}

/* With a pidfd of its own, which the caller closes: the log's may be replaced meanwhile. */
static struct access_log_place place_of(struct access_log *log)
{
	struct access_log_place place = { .directory = log->logs->workload_files, .mesh = log->mesh, .node = log->name };

	pthread_mutex_lock(&log->lock);
	place.pidfd = log->pidfd < 0 ? -1 : fcntl(log->pidfd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&log->lock);
	return place;
}

/* The file that is open stays where another one cannot be. */
static void file_open(struct writer *w, uint64_t now_ns)
{
	const struct access_log_place place = place_of(w->log);
	_cleanup_close_ int pidfd = place.pidfd;
	struct access_log_file file;
	struct error error = {};

	if (pidfd < 0 && !place.directory)
		error_set(&error, -EMFILE, "no descriptor is left for the workload's process");
	else
		access_log_file_open(&place, w->log->path, &file, &error);
	note_error(w, &error, now_ns);
	w->retry_ns = error.code ? now_ns + RETRY_NS : 0;
	w->look_ns = now_ns + ACCESS_LOG_LOOK_NS;
	if (error.code)
		return;
	access_log_file_close(&w->file);
	w->file = file;
	w->blocked = false;
	skip_torn(w);
	atomic_fetch_add_explicit(&w->log->counters.opened, 1, memory_order_relaxed);
}

static bool file_moved(struct writer *w)
{
	const struct access_log_place place = place_of(w->log);
	_cleanup_close_ int pidfd = place.pidfd;

	return access_log_file_moved(&place, w->log->path, &w->file);
}

/* Before lines are written. */
static void file_check(struct writer *w, uint64_t now_ns)
{
	const uint32_t reopen = atomic_load_explicit(&w->log->reopen, memory_order_acquire);

	if (reopen != w->reopen_seen || (w->file.fd < 0 && now_ns >= w->retry_ns)) {
		w->reopen_seen = reopen;
		file_open(w, now_ns);
	} else if (w->file.fd >= 0 && now_ns >= w->look_ns && now_ns >= w->retry_ns) {
		w->look_ns = now_ns + ACCESS_LOG_LOOK_NS;
		if (file_moved(w))
			file_open(w, now_ns);
	}
}

/* --- writing ---------------------------------------------------------------------------------------------------------------- */

/* How much of a piece is written at once: all, or as many whole lines as go in one, or of a longer line what goes. */
static size_t portion(const struct writer *w, const struct piece *piece)
{
	const size_t left = piece->bytes.length - piece->written_bytes;
	size_t line = piece->written_lines, end = 0;

	if (w->file.kind == ACCESS_LOG_REGULAR || left <= ACCESS_LOG_ATOMIC_BYTES)
		return left;
	while (line < piece->lines && piece->ends[line] - piece->written_bytes <= ACCESS_LOG_ATOMIC_BYTES)
		end = piece->ends[line++];
	return end > 0 ? end - piece->written_bytes : ACCESS_LOG_ATOMIC_BYTES;
}

static void note_written(struct writer *w, struct piece *piece, size_t bytes)
{
	const size_t before = piece->written_lines;

	piece->written_bytes += bytes;
	while (piece->written_lines < piece->lines && piece->ends[piece->written_lines] <= piece->written_bytes)
		piece->written_lines++;
	w->torn = piece->written_bytes != (piece->written_lines > 0 ? piece->ends[piece->written_lines - 1] : 0);
	atomic_fetch_add_explicit(&w->log->counters.lines, piece->written_lines - before, memory_order_relaxed);
	atomic_fetch_add_explicit(&w->log->counters.bytes, bytes, memory_order_relaxed);
}

/* The rest of a line that could not be written is missing: what follows begins a new one. */
static ssize_t mend(struct writer *w, const struct piece *piece)
{
	ssize_t r;

	if (!w->torn || piece->written_bytes > 0)
		return 0;
	r = access_log_file_write(&w->file, "\n", 1);
	if (r == 1)
		w->torn = false;
	return r < 0 ? r : 0;
}

static void write_failed(struct writer *w, int error_code, uint64_t now_ns)
{
	struct error error = {};

	error_set(&error, error_code, "cannot write to '%s': %s", w->log->path, strerror(-error_code));
	note_error(w, &error, now_ns);
	piece_finish(w, ACCESS_LOG_WRITE_FAILED);
	/* A disk may have room again, where a reader that is gone is gone. */
	if (w->file.kind == ACCESS_LOG_REGULAR)
		return;
	access_log_file_close(&w->file);
	w->retry_ns = now_ns + RETRY_NS;
}

static void write_all(struct writer *w, uint64_t now_ns)
{
	w->blocked = false;
	while (w->first && w->file.fd >= 0) {
		struct piece *piece = w->first;
		ssize_t r;

		if (piece->written_bytes == piece->bytes.length) {
			note_written(w, piece, 0); /* lines may be empty */
			piece_finish(w, ACCESS_LOG_WRITE_FAILED);
			if (w->log->error.code) /* nobody else writes it */
				note_error(w, &(struct error){}, now_ns);
			continue;
		}
		r = mend(w, piece);
		if (r == 0)
			r = access_log_file_write(&w->file, piece->bytes.data + piece->written_bytes, portion(w, piece));
		if (r == -EAGAIN) {
			w->blocked = true;
			return;
		}
		if (r < 0)
			write_failed(w, (int)r, now_ns);
		else
			note_written(w, piece, (size_t)r);
	}
}

/* --- the thread ------------------------------------------------------------------------------------------------------------- */

static void tell_drops(struct writer *w, uint64_t now_ns)
{
	struct access_log *log = w->log;
	uint64_t lines = 0;

	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		lines += atomic_load_explicit(&log->counters.dropped[i], memory_order_relaxed);
	if (lines == w->told_lines || now_ns < w->told_ns)
		return;
	log_warn("lines of an access log were dropped", LOG_F("workload", LOG_U64(log->workload)), LOG_F("path", LOG_STR(log->path)),
		 LOG_F("lines", LOG_U64(lines - w->told_lines)));
	w->told_lines = lines;
	w->told_ns = now_ns + TOLD_NS;
}

static void wait_for_work(const struct writer *w)
{
	struct pollfd fds[2] = { { .fd = w->log->wake_fd, .events = POLLIN }, { .fd = w->file.fd, .events = POLLOUT } };
	int wait_ms = -1;
	uint64_t count;

	if (w->ending_ns)
		wait_ms = 10;
	else if (w->blocked)
		wait_ms = 1000; /* to look whether the path has moved */
	poll(fds, w->blocked ? 2 : 1, wait_ms);
	if (read(w->log->wake_fd, &count, sizeof(count)) < 0)
		return; /* nothing new, but the file, or the time */
}

/* False: nobody has the log any more, and nothing is left of it. */
static bool turn(struct writer *w)
{
	const bool ending = atomic_load_explicit(&w->log->ending, memory_order_acquire);
	const uint64_t now_ns = time_now_ns();

	take_queue(w);
	if (w->first || w->file.fd < 0 || w->reopen_seen != atomic_load_explicit(&w->log->reopen, memory_order_acquire))
		file_check(w, now_ns);
	write_all(w, now_ns);
	if (w->file.fd < 0)
		drop_all(w, ACCESS_LOG_NOT_OPEN);
	tell_drops(w, now_ns);
	if (!ending)
		return true;
	w->ending_ns = w->ending_ns ?: now_ns;
	return w->first && now_ns < w->ending_ns + END_WAIT_NS;
}

/* With it goes the log. */
static void end(struct access_log *log)
{
	struct access_logs *logs = log->logs;

	pthread_mutex_lock(&logs->lock);
	atomic_fetch_add_explicit(&logs->gone.lines, log->counters.lines, memory_order_relaxed);
	atomic_fetch_add_explicit(&logs->gone.bytes, log->counters.bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&logs->gone.opened, log->counters.opened, memory_order_relaxed);
	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		atomic_fetch_add_explicit(&logs->gone.dropped[i], log->counters.dropped[i], memory_order_relaxed);
	logs->threads--;
	pthread_cond_signal(&logs->ended);
	pthread_mutex_unlock(&logs->lock);
	log_free(log);
	access_logs_unref(logs);
}

static void *run(void *arg)
{
	struct writer w = { .log = arg, .file = { .fd = -1 } };

	while (turn(&w))
		wait_for_work(&w);
	drop_all(&w, ACCESS_LOG_ENDED);
	access_log_file_close(&w.file);
	end(w.log);
	return NULL;
}

int writer_start(struct access_log *log)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = thread_start(&thread, &attributes, "weft-log", run, log);
	pthread_attr_destroy(&attributes);
	return r;
}

void writer_wake(struct access_log *log)
{
	const uint64_t one = 1;

	/* It fails only where it is woken already. */
	if (write(log->wake_fd, &one, sizeof(one)) < 0)
		return;
}
