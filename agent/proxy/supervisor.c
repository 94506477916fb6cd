/* SPDX-License-Identifier: Apache-2.0 */
/* The process: its start, its end, and the connection to it. What it is told is in told.c and told_configuration.c. */
#include "agent/proxy/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "agent/net/unix.h"
#include "agent/proxy/build.h"
#include "agent/proxy/control.h"
#include "agent/proxy/own_cgroup.h"
#include "agent/proxy/seat.h"
#include "agent/proxy/supervisor_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define TICK_NS (500 * NSEC_PER_MSEC)
#define LOOK_MIN_NS NSEC_PER_MSEC /* whether one that is starting listens already */
#define LOOK_MAX_NS (10 * NSEC_PER_MSEC)
#define HUNG_NS (5 * NSEC_PER_SEC)
#define ANSWER_NS (2 * NSEC_PER_SEC)
#define LIVED_NS (10 * NSEC_PER_SEC) /* one that ends earlier is started again later each time */
#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (5 * NSEC_PER_SEC)
#define MESSAGES_A_TURN 64

struct ask { /* its message is gone */
	struct list node;
	struct ask_request request; /* `done` is NULL when it was told that no answer came; the answer may still come */
};

int supervision_by_name(const char *name, enum supervision *ret_supervision)
{
	static const char *const names[] = {
		[SUPERVISION_START] = "start",
		[SUPERVISION_EXTERNAL] = "external",
		[SUPERVISION_OFF] = "off",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i])) {
			*ret_supervision = (enum supervision)i;
			return 0;
		}
	return -EINVAL;
}

static void connect_at(struct supervisor *s, uint64_t delay_ns)
{
	loop_timer_arm(s->connect_timer, loop_now_ns(s->loop) + delay_ns);
}

/* --- questions and answers ------------------------------------------------------------------------------------------------------ */

static void ask_finish(struct supervisor *s, struct ask *ask, const json_t *answer, const struct error *err)
{
	ask_done_fn *done = ask->request.done;

	ask->request.done = NULL;
	if (done)
		done(s, &ask->request, answer, err);
}

static void asks_fail(struct supervisor *s, int code, const char *why)
{
	struct error err = {};

	error_set(&err, code, "%s", why);
	while (!list_empty(&s->asks)) {
		struct ask *ask = container_of(s->asks.next, struct ask, node);

		list_remove(&ask->node);
		ask_finish(s, ask, NULL, &err);
		free(ask);
	}
}

int supervisor_send(struct supervisor *s, const struct ask_request *q)
{
	const json_t *request = q->message;
	struct ask *ask = request ? malloc(sizeof(*ask)) : NULL;
	int r;

	if (!ask)
		return -ENOMEM;
	r = s->fd < 0 ? -ENOTCONN : control_send(s->fd, q->message, &q->fd, q->fd > 0);
	if (r < 0) {
		free(ask);
		return r;
	}
	*ask = (struct ask){ .request = *q };
	list_append(&s->asks, &ask->node);
	return 0;
}

static void asks_expire(struct supervisor *s)
{
	struct error err = {};

	error_set(&err, -ETIMEDOUT, "weft-proxy does not answer");
	list_for_each_safe(it, &s->asks) {
		struct ask *ask = container_of(it, struct ask, node);

		if (ask->request.deadline_ns && ask->request.deadline_ns <= loop_now_ns(s->loop))
			ask_finish(s, ask, NULL, &err);
	}
}

/* --- the connection --------------------------------------------------------------------------------------------------------------- */

static void disconnect(struct supervisor *s)
{
	if (s->fd < 0)
		return;
	s->io = loop_io_remove(s->io);
	s->fd = fd_close(s->fd);
	s->greeted = false;
	told_forget(s);
	configuration_forget(s);
	asks_fail(s, -ENOTCONN, "weft-proxy is not there");
	if (s->connect_timer)
		connect_at(s, 0);
}

static void take_answer(struct supervisor *s, const json_t *message, int fd)
{
	struct ask *ask;
	struct error err = {};

	if (list_empty(&s->asks)) {
		log_warn("weft-proxy answers what nobody asked");
		return;
	}
	ask = container_of(s->asks.next, struct ask, node);
	list_remove(&ask->node);
	s->answer_fd = fd;
	if (control_error_read(message, &err) < 0)
		ask_finish(s, ask, NULL, &err);
	else
		ask_finish(s, ask, message, NULL);
	s->answer_fd = -1;
	free(ask);
}

static void on_connection(struct loop_io *io, uint32_t events, void *arg)
{
	struct supervisor *s = arg;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	(void)io;
	if (events & EPOLLOUT) {
		loop_io_events(s->io, EPOLLIN);
		configuration_sync(s);
		told_sync(s);
	}
	for (int i = 0; i < MESSAGES_A_TURN && s->fd >= 0; i++) {
		_cleanup_json_ json_t *message = NULL;
		_cleanup_close_ int fd = -1;
		struct error err = {};
		size_t fd_count;
		int r = control_receive(s->fd, &message, &fd, 1, &fd_count, &err);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			if (r != -EPIPE)
				log_warn("disconnecting from weft-proxy", LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
			disconnect(s);
		} else if (json_object_get(message, "event")) {
			told_event(s, message);
		} else {
			take_answer(s, message, fd);
		}
	}
}

/* --- processes -------------------------------------------------------------------------------------------------------------------- */

static void on_ended(struct process *process, const char *how, void *arg)
{
	struct supervisor *s = arg;
	const uint64_t lived_ns = time_now_ns() - process->since_ns;
	const bool ours = process == s->process, successor = process == s->successor;
	uint64_t delay_ns = 0;

	log_write(ours || successor ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
		  ours ? "weft-proxy ended" : successor ? "weft-proxy stays: its successor ended" : "the predecessor of weft-proxy ended",
		  LOG_FIELDS(LOG_F("pid", LOG_INT(process->pid)), LOG_F("how", LOG_STR(how))));
	for (size_t i = 0; i < ARRAY_SIZE(s->former); i++)
		if (s->former[i] == process)
			s->former[i] = NULL;
	if (successor)
		s->successor = NULL;
	if (process->pid == s->left)
		snprintf(s->last_end, sizeof(s->last_end), "%s", how);
	if (!ours) {
		process_free(process);
		return;
	}
	/* Else it would seem to be there as long as its last beat is young, and the host alone would refuse what is handed over. */
	if (seat_is_vacant(s->options.instance))
		__atomic_store_n(&s->kernel->memory.proxy->beat_ns, 0, __ATOMIC_RELEASE);
	s->process = NULL;
	s->ended = true;
	snprintf(s->last_end, sizeof(s->last_end), "%s", how);
	if (process->child && lived_ns < LIVED_NS)
		delay_ns = s->backoff_ns = MIN(MAX(2 * s->backoff_ns, BACKOFF_MIN_NS), BACKOFF_MAX_NS);
	else
		s->backoff_ns = 0;
	process_free(process);
	disconnect(s);
	connect_at(s, delay_ns);
}

/* Watched until it ends: a predecessor that answers its last queries, or a child to wait for. */
static void make_former(struct supervisor *s, struct process *process)
{
	for (size_t i = 0; process && i < ARRAY_SIZE(s->former); i++)
		if (!s->former[i]) {
			s->former[i] = TAKE_PTR(process);
			return;
		}
	process_free(process);
}

/* The file beside our own, which may be of another version by now. */
static int program_path(char *path, size_t size, struct error *err)
{
	char own[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (length < 0)
		return error_set(err, -errno, "cannot tell where this program is: %m");
	own[length] = '\0';
	*strrchr(own, '/') = '\0';
	if (snprintf(path, size, "%s/weft-proxy", own) >= (int)size)
		return error_set(err, -ENAMETOOLONG, "the path of this program is too long");
	return 0;
}

static int start(struct supervisor *s, struct process **ret_process, struct error *err)
{
	char path[PATH_MAX], drain_max[32];
	const char *const argv[] = { path, "--instance", s->options.instance, "--log-level", s->options.log_level, "--log-format",
				     s->options.log_format, "--drain-max", drain_max, NULL };
	_cleanup_close_ int cgroup_fd = -1;
	int r = program_path(path, sizeof(path), err);

	if (r < 0)
		return r;
	snprintf(drain_max, sizeof(drain_max), "%llums", (unsigned long long)(s->options.drain_max_ns / NSEC_PER_MSEC));
	own_cgroup_for("weft-proxy", s->options.instance, &cgroup_fd, NULL); /* else it goes there by itself, and says why it cannot */
	return process_spawn(s->loop, argv, cgroup_fd, on_ended, s, ret_process, err);
}

static void start_first(struct supervisor *s)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};

	if (start(s, &s->process, &err) < 0) {
		log_limited(LOG_LEVEL_ERROR, "weft-proxy does not start: names go to the resolvers themselves",
			    LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
		connect_at(s, BACKOFF_MAX_NS);
		return;
	}
	s->restarts += s->ended;
	s->ended = false;
	log_info("weft-proxy started", LOG_F("pid", LOG_INT(s->process->pid)));
	connect_at(s, LOOK_MIN_NS);
}

/* The one that runs is of another build: a successor takes over from it, and we hear of that by the end of the connection. */
static void start_successor(struct supervisor *s, const char *build)
{
	char path[PATH_MAX], wanted[BUILD_TEXT_BYTES], text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};
	int r = program_path(path, sizeof(path), &err);

	if (r == 0)
		r = build_of(path, wanted, &err);
	if (r == 0 && (s->successor || !strcmp(build, wanted)))
		return;
	if (r == 0)
		r = start(s, &s->successor, &err);
	if (r < 0)
		log_warn("weft-proxy is of another build and stays", LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
	else
		log_info("weft-proxy is of another build: started its successor", LOG_F("pid", LOG_INT(s->successor->pid)));
}

/* One that we have started ourselves is of the build beside us. Both files would be read to know that once more. */
static bool wants_build(const struct supervisor *s)
{
	return s->options.supervision == SUPERVISION_START && !(s->process && s->process->child);
}

static void on_hello(struct supervisor *s, const struct ask_request *request, const json_t *answer, const struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	(void)request;
	if (err) {
		if (s->fd < 0)
			return; /* it hung up, or we do */
		log_warn("weft-proxy does not say who it is", LOG_F("error", LOG_STR(error_text(err, text, sizeof(text)))));
		return;
	}
	s->greeted = true;
	s->met = s->pid;
	snprintf(s->version, sizeof(s->version), "%s", json_path_string(answer, "version") ?: "");
	snprintf(s->started_at, sizeof(s->started_at), "%s", json_path_string(answer, "startedAt") ?: "");
	log_info(s->process && s->process->child ? "weft-proxy answers" : "weft-proxy is adopted", LOG_F("pid", LOG_INT(s->pid)),
		 LOG_F("version", LOG_STR(s->version)));
	if (wants_build(s))
		start_successor(s, json_path_string(answer, "build") ?: "");
	configuration_sync(s); /* first: connections are handed over in the namespaces that it is told of */
	told_sync(s);
}

/* Whom we are connected to becomes the process that counts; -ESRCH: it is gone already. */
static int know_process(struct supervisor *s, pid_t pid, struct error *err)
{
	struct process *process = NULL;
	int r;

	if (s->process && s->process->pid == pid)
		return 0;
	if (s->successor && s->successor->pid == pid)
		process = TAKE_PTR(s->successor);
	if (!process && pid > 0) {
		r = process_adopt(s->loop, pid, on_ended, s, &process, err);
		if (r < 0)
			return r;
	}
	make_former(s, s->process);
	s->process = process; /* NULL: in a PID namespace that we do not see; its connection is all we have */
	return 0;
}

static int begin(struct supervisor *s, int fd, struct error *err)
{
	_cleanup_json_ json_t *hello = NULL;
	const int pid = unix_peer_pid(fd);
	int r = know_process(s, pid, err);

	hello = json_pack("{s:s, s:b}", "op", "hello", "build", wants_build(s));
	if (r == 0)
		r = loop_io_add(s->loop, fd, EPOLLIN, on_connection, s, &s->io);
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	s->fd = fd;
	s->pid = pid;
	r = supervisor_send(s, &(struct ask_request){ .message = hello, .done = on_hello });
	if (r < 0)
		disconnect(s);
	return r;
}

/* The longer it takes, the later the next look: names and requests wait for at most an eighth more than they have to. */
static uint64_t look_ns(const struct process *process)
{
	return MIN(MAX((time_now_ns() - process->since_ns) / 8, LOOK_MIN_NS), LOOK_MAX_NS);
}

/* Supervision is off: what an earlier weftd started has no business any more. */
static void end_unwanted(int fd)
{
	const int pid = unix_peer_pid(fd);
	_cleanup_close_ int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

	if (pidfd >= 0 && pidfd_send_signal(pidfd, SIGTERM, NULL, 0) == 0)
		log_info("weft-proxy is ended: --proxy off", LOG_F("pid", LOG_INT(pid)));
}

/* It was told to end, and still serves what it has, without its seat: no reason to wait for its end. */
static void let_go(struct supervisor *s)
{
	log_info("weft-proxy has left its seat", LOG_F("pid", LOG_INT(s->process->pid)));
	s->left = s->process->pid;
	s->ended = true;
	make_former(s, TAKE_PTR(s->process));
}

static void on_connect(struct loop_timer *timer, void *arg)
{
	struct supervisor *s = arg;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};
	int fd = -1, r;

	(void)timer;
	if (s->fd >= 0)
		return;
	r = control_connect(s->options.instance, &fd, &err);
	if (s->options.supervision == SUPERVISION_OFF) {
		if (r == 0)
			end_unwanted(fd);
		fd_close(fd);
		return;
	}
	if (r == 0)
		r = begin(s, fd, &err);
	if (r == 0)
		return;
	if (r == -ENOENT && s->process && s->process->pid == s->met)
		let_go(s);
	if (r != -ENOENT && r != -ECONNREFUSED && r != -ESRCH)
		log_limited(LOG_LEVEL_WARN, "cannot speak to weft-proxy", LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
	else if (s->options.supervision == SUPERVISION_START && !s->process)
		return start_first(s);
	connect_at(s, s->process ? look_ns(s->process) : TICK_NS);
}

static uint64_t beat_age_ns(const struct supervisor *s)
{
	const uint64_t beat_ns = __atomic_load_n(&s->kernel->memory.proxy->beat_ns, __ATOMIC_ACQUIRE), now_ns = time_now_ns();

	return now_ns > beat_ns ? now_ns - beat_ns : 0;
}

static void on_tick(struct loop_timer *timer, void *arg)
{
	struct supervisor *s = arg;

	loop_timer_arm(timer, loop_now_ns(s->loop) + TICK_NS);
	asks_expire(s);
	configuration_sync(s);
	told_tick(s);
	if (s->options.supervision != SUPERVISION_START || !s->process || s->killed == s->process->pid ||
	    MIN(beat_age_ns(s), time_now_ns() - s->process->since_ns) < HUNG_NS)
		return;
	log_error("weft-proxy lives and does nothing: it is killed", LOG_F("pid", LOG_INT(s->process->pid)),
		  LOG_F("beat_age_ns", LOG_U64(beat_age_ns(s))));
	s->hung++;
	s->killed = s->process->pid;
	process_signal(s->process, SIGKILL);
}

/* --- calls ---------------------------------------------------------------------------------------------------------------------- */

json_t *supervisor_json(const struct supervisor *s)
{
	static const char *const absent[] = {
		[SUPERVISION_START] = "starting",
		[SUPERVISION_EXTERNAL] = "external, not there",
		[SUPERVISION_OFF] = "off",
	};
	const bool there = s->greeted;
	json_t *object = json_pack("{s:s, s:I, s:I, s:s?}", "state", there ? "running" : absent[s->options.supervision], "restarts",
				   (json_int_t)s->restarts, "hung", (json_int_t)s->hung, "lastEnd", s->last_end[0] ? s->last_end : NULL);

	if (!object || !there)
		return object;
	json_object_set_new(object, "pid", json_integer(s->pid));
	json_object_set_new(object, "version", json_string(s->version));
	json_object_set_new(object, "startedAt", json_string(s->started_at));
	json_object_set_new(object, "adopted", json_boolean(!s->process || !s->process->child));
	json_object_set_new(object, "beatAgeNs", json_integer((json_int_t)beat_age_ns(s)));
	json_object_set_new(object, "configuration", configuration_json(s));
	return object;
}

struct question {
	struct list node; /* of those that wait for the next turn */
	json_t *request;
	supervisor_done_fn *done;
	void *arg;
};

static void on_answer(struct supervisor *s, const struct ask_request *request, const json_t *answer, const struct error *err)
{
	struct question *q = request->arg;

	q->done(answer, s->answer_fd, err, q->arg);
	free(q);
}

/* In a turn of its own, so that `done` never comes from inside supervisor_ask(). */
static void on_questions(struct loop_timer *timer, void *arg)
{
	struct supervisor *s = arg;

	(void)timer;
	while (!list_empty(&s->questions)) {
		struct question *q = container_of(s->questions.next, struct question, node);
		const struct ask_request request = { .message = q->request, .done = on_answer, .arg = q,
						     .deadline_ns = loop_now_ns(s->loop) + ANSWER_NS };
		int r = s->greeted ? supervisor_send(s, &request) : -ENOTCONN;
		struct error err = {};

		list_remove(&q->node);
		json_decref(q->request);
		if (r == 0)
			continue;
		if (r == -ENOTCONN)
			error_set(&err, r, "weft-proxy is not there");
		else
			error_set(&err, r, "weft-proxy cannot be asked: %s", strerror(-r));
		on_answer(s, &request, NULL, &err);
	}
}

void supervisor_ask(struct supervisor *s, json_t *request, supervisor_done_fn *done, void *arg)
{
	struct question *q = malloc(sizeof(*q));
	struct error err = {};

	if (!q) {
		json_decref(request);
		error_set(&err, -ENOMEM, "out of memory");
		return done(NULL, -1, &err, arg);
	}
	*q = (struct question){ .request = request, .done = done, .arg = arg };
	list_append(&s->questions, &q->node);
	loop_timer_arm(s->question_timer, 0);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */

int supervisor_new(struct loop *loop, struct kernel *kernel, struct workloads *workloads, const struct supervisor_options *options,
		   struct supervisor **ret_supervisor, struct error *err)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "out of memory");
	s->loop = loop;
	s->kernel = kernel;
	s->workloads = workloads;
	s->options = *options;
	s->fd = s->answer_fd = -1;
	list_init(&s->asks);
	list_init(&s->questions);
	r = told_init(s);
	if (r == 0)
		r = loop_timer_new(loop, on_connect, s, &s->connect_timer);
	if (r == 0)
		r = loop_timer_new(loop, on_tick, s, &s->tick_timer);
	if (r == 0)
		r = loop_timer_new(loop, on_questions, s, &s->question_timer);
	if (r < 0) {
		supervisor_free(s);
		return error_set(err, r, "cannot supervise weft-proxy: %s", strerror(-r));
	}
	connect_at(s, 0);
	loop_timer_arm(s->tick_timer, 0);
	*ret_supervisor = s;
	return 0;
}

struct supervisor *supervisor_free(struct supervisor *s)
{
	if (!s)
		return NULL;
	s->connect_timer = loop_timer_free(s->connect_timer);
	s->tick_timer = loop_timer_free(s->tick_timer);
	disconnect(s);
	on_questions(s->question_timer, s);
	s->question_timer = loop_timer_free(s->question_timer);
	told_done(s);
	process_free(s->process);
	process_free(s->successor);
	for (size_t i = 0; i < ARRAY_SIZE(s->former); i++)
		process_free(s->former[i]);
	free(s);
	return NULL;
}
