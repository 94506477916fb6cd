/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/requests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/proxy/control.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define POLL_NS (5 * NSEC_PER_SEC)
#define SAVE_NS (10 * NSEC_PER_SEC)
#define SAVE_SOON_NS (200 * NSEC_PER_MSEC)
#define SAVE_ROWS 256 /* in one go: some ms of the loop */
#define READING_MAX_BYTES (256 * 1024 * 1024)
#define LEFT_MAX 16 /* files that are read at a time */

struct waiter {
	struct list node;
	requests_done_fn *done;
	void *arg;
};

struct left {
	char *path;
	bool last; /* its process is gone */
	struct request_reading reading;
};

struct job { /* on the offload thread */
	int fd;
	int r;
	struct error err;
	struct request_reading reading;
	const char *left_directory;
	size_t left_count;
	struct left left[LEFT_MAX];
};

struct requests {
	struct loop *loop;
	struct offload *offload;
	struct requests_options options;
	struct request_book *book;
	struct loop_timer *ask_timer, *poll_timer, *wait_timer, *save_timer;
	struct list asked, next; /* who waits for the reading under way, and for the one after */
	bool busy; /* one is under way */
	bool late; /* and weft-proxy lets us wait for it */
	bool running; /* its job is */
	bool gone; /* freed, but for that */
	struct job job;
	bool known;
	uint64_t read_ns;
	uint64_t workers;
	struct request_now now;
};

static void tell(struct list *waiters)
{
	struct list told;

	/* Whoever is told may ask again. */
	list_init(&told);
	list_for_each_safe(it, waiters) {
		list_remove(it);
		list_append(&told, it);
	}
	while (!list_empty(&told)) {
		struct waiter *waiter = container_of(told.next, struct waiter, node);

		list_remove(&waiter->node);
		waiter->done(waiter->arg);
		free(waiter);
	}
}

/* --- offload thread: texts ------------------------------------------------------------------------------------------------------------ */

static int read_text(int fd, struct request_reading *reading, struct error *err)
{
	struct stat st;
	void *text;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot look at it: %s", strerror(errno));
	if (st.st_size <= 0 || st.st_size > READING_MAX_BYTES)
		return error_set(err, -EPROTO, "it has %lld bytes", (long long)st.st_size);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return error_set(err, -errno, "cannot map it: %s", strerror(errno));
	r = request_reading_parse(text, (size_t)st.st_size, reading, err);
	munmap(text, (size_t)st.st_size);
	return r;
}

/* A file that is written anew takes the place of the one that was read. */
static void read_left(struct job *job, int dir_fd, const char *name)
{
	struct left *left = &job->left[job->left_count];
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};
	int pid;

	if (fd < 0 || asprintf(&left->path, "%s/%s", job->left_directory, name) < 0)
		return;
	if (read_text(fd, &left->reading, &err) < 0) {
		log_warn("what a weft-proxy left of its counts cannot be read, and goes", LOG_F("file", LOG_STR(left->path)),
			 LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
		unlink(left->path);
		free(left->path);
		return;
	}
	pid = atoi(left->reading.process);
	left->last = kill(pid, 0) < 0 && errno == ESRCH;
	job->left_count++;
}

static bool is_left(const char *name)
{
	const size_t length = strlen(name), end = strlen(CONTROL_LEFT_UNFINISHED);

	return !strncmp(name, CONTROL_LEFT_PREFIX, strlen(CONTROL_LEFT_PREFIX)) && strcmp(name + length - end, CONTROL_LEFT_UNFINISHED);
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void run(void *arg)
{
	struct job *job = &((struct requests *)arg)->job;
	_cleanup_(cleanup_dir) DIR *dir = opendir(job->left_directory);

	if (job->fd >= 0)
		job->r = read_text(job->fd, &job->reading, &job->err);
	for (const struct dirent *entry; dir && job->left_count < LEFT_MAX && (entry = readdir(dir));)
		if (is_left(entry->d_name))
			read_left(job, dirfd(dir), entry->d_name);
}

/* --- loop: one reading after the other ------------------------------------------------------------------------------------------------ */

static void job_done(struct job *job)
{
	for (size_t i = 0; i < job->left_count; i++) {
		free(job->left[i].path);
		request_reading_done(&job->left[i].reading);
	}
	request_reading_done(&job->reading);
	fd_close(job->fd);
	*job = (struct job){ .fd = -1 };
}

static void begin(struct requests *requests)
{
	if (requests->busy)
		return;
	requests->busy = true;
	loop_timer_arm(requests->ask_timer, 0);
}

static void finish(struct requests *requests)
{
	requests->busy = requests->late = false;
	job_done(&requests->job);
	loop_timer_disarm(requests->wait_timer);
	tell(&requests->asked);
	if (!list_empty(&requests->next))
		begin(requests);
}

/* What is gone from a file is in the state before. */
static int take_left(struct requests *requests, const struct job *job)
{
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < job->left_count && r == 0; i++) {
		r = request_book_take(requests->book, &job->left[i].reading, requests->options.name, requests->options.arg);
		any |= job->left[i].last;
	}
	if (r == 0 && any)
		r = request_book_save(requests->book, SIZE_MAX);
	for (size_t i = 0; i < job->left_count && r >= 0; i++)
		if (job->left[i].last)
			unlink(job->left[i].path);
	return r;
}

static void ran(void *arg)
{
	struct requests *requests = arg;
	struct job *job = &requests->job;
	const bool read = job->fd >= 0;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	int r = job->r;

	requests->running = false;
	if (requests->gone) {
		job_done(job);
		free(requests);
		return;
	}
	request_book_begin(requests->book);
	if (r == 0 && read)
		r = request_book_take(requests->book, &job->reading, requests->options.name, requests->options.arg);
	if (r == 0)
		r = take_left(requests, job);
	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "cannot take what weft-proxy counted of requests",
			    LOG_F("error", LOG_STR(job->err.code ? error_text(&job->err, text, sizeof(text)) : strerror(-r))));
	if (read && job->r == 0) {
		requests->known = true;
		requests->read_ns = loop_now_ns(requests->loop);
		requests->workers = job->reading.workers;
		requests->now = job->reading.now;
	}
	finish(requests);
}

static void on_ask(struct loop_timer *timer, void *arg)
{
	struct requests *requests = arg;

	(void)timer;
	list_for_each_safe(it, &requests->next) {
		list_remove(it);
		list_append(&requests->asked, it);
	}
	loop_timer_arm(requests->wait_timer, loop_now_ns(requests->loop) + REQUESTS_WAIT_NS);
	requests->options.ask(requests, requests->options.arg);
}

static void forget_now(struct requests *requests)
{
	requests->known = false;
	requests->now = (struct request_now){};
}

void requests_answered(struct requests *requests, int fd, const struct error *err)
{
	struct job *job = &requests->job;

	job->fd = fd >= 0 && !err ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	job->left_directory = requests->options.left_directory;
	if (job->fd < 0)
		forget_now(requests);
	requests->running = offload_submit(requests->offload, run, ran, requests) == 0;
	if (!requests->running)
		finish(requests);
}

static void on_wait(struct loop_timer *timer, void *arg)
{
	struct requests *requests = arg;

	(void)timer;
	requests->late = true;
	forget_now(requests);
	tell(&requests->asked);
	tell(&requests->next);
}

static void on_poll(struct loop_timer *timer, void *arg)
{
	struct requests *requests = arg;

	loop_timer_arm(timer, loop_now_ns(requests->loop) + POLL_NS);
	begin(requests);
}

static void on_save(struct loop_timer *timer, void *arg)
{
	struct requests *requests = arg;
	const int left = request_book_save(requests->book, SAVE_ROWS);

	if (left < 0)
		log_limited(LOG_LEVEL_WARN, "counts of requests are not kept", LOG_F("error", LOG_STR(strerror(-left))));
	loop_timer_arm(timer, loop_now_ns(requests->loop) + (left > 0 ? SAVE_SOON_NS : SAVE_NS));
}

int requests_refresh(struct requests *requests, requests_done_fn *done, void *arg)
{
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter)
		return -ENOMEM;
	*waiter = (struct waiter){ .done = done, .arg = arg };
	list_append(&requests->next, &waiter->node);
	if (requests->late)
		loop_timer_arm(requests->wait_timer, 0);
	begin(requests);
	return 0;
}

/* --- what is known -------------------------------------------------------------------------------------------------------------------- */

int requests_report(const struct requests *requests, struct requests_report *ret_report)
{
	const struct request_book *book = requests->book;
	struct requests_report report = {
		.known = requests->known,
		.read_ns = requests->read_ns,
		.workers = requests->workers,
		.now = requests->now,
		.row_count = request_book_rows(book),
		.route_count = request_book_routes(book),
		.sum_count = request_book_sums(book),
	};

	report.rows = calloc(report.row_count + 1, sizeof(*report.rows));
	report.routes = calloc(report.route_count + 1, sizeof(*report.routes));
	report.sums = calloc(report.sum_count + 1, sizeof(*report.sums));
	if (!report.rows || !report.routes || !report.sums) {
		requests_report_done(&report);
		return -ENOMEM;
	}
	for (size_t i = 0; i < report.row_count; i++)
		report.rows[i] = request_book_row(book, i);
	for (size_t i = 0; i < report.route_count; i++)
		report.routes[i] = request_book_route(book, i);
	for (size_t i = 0; i < report.sum_count; i++)
		report.sums[i] = request_book_sum(book, i);
	*ret_report = report;
	return 0;
}

void requests_report_done(struct requests_report *report)
{
	free(report->rows);
	free(report->routes);
	free(report->sums);
	*report = (struct requests_report){};
}

uint64_t requests_report_sum(const struct requests_report *report, const char *name)
{
	for (size_t i = 0; i < report->sum_count; i++)
		if (!strcmp(report->sums[i].name, name))
			return report->sums[i].count;
	return 0;
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

int requests_new(struct loop *loop, struct offload *offload, struct state *state, const struct requests_options *options,
		 struct requests **ret_requests)
{
	struct requests *requests = calloc(1, sizeof(*requests));
	int r;

	if (!requests)
		return -ENOMEM;
	requests->loop = loop;
	requests->offload = offload;
	requests->options = *options;
	requests->job.fd = -1;
	list_init(&requests->asked);
	list_init(&requests->next);
	r = request_book_new(state, &requests->book);
	if (r == 0)
		r = loop_timer_new(loop, on_ask, requests, &requests->ask_timer);
	if (r == 0)
		r = loop_timer_new(loop, on_poll, requests, &requests->poll_timer);
	if (r == 0)
		r = loop_timer_new(loop, on_wait, requests, &requests->wait_timer);
	if (r == 0)
		r = loop_timer_new(loop, on_save, requests, &requests->save_timer);
	if (r < 0) {
		requests_free(requests);
		return r;
	}
	loop_timer_arm(requests->poll_timer, loop_now_ns(loop) + POLL_NS);
	loop_timer_arm(requests->save_timer, loop_now_ns(loop) + SAVE_NS);
	*ret_requests = requests;
	return 0;
}

struct requests *requests_free(struct requests *requests)
{
	if (!requests)
		return NULL;
	requests->ask_timer = loop_timer_free(requests->ask_timer);
	requests->poll_timer = loop_timer_free(requests->poll_timer);
	requests->wait_timer = loop_timer_free(requests->wait_timer);
	requests->save_timer = loop_timer_free(requests->save_timer);
	tell(&requests->asked);
	tell(&requests->next);
	if (requests->book && request_book_save(requests->book, SIZE_MAX) < 0)
		log_warn("the last counts of requests are not kept");
	requests->book = request_book_free(requests->book);
	requests->gone = true;
	if (!requests->running)
		free(requests);
	return NULL;
}
