/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/l7/internal.h"
#include "agent/l7/turn.h"
#include "agent/net/tcp.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/time.h"

#define SWEEP_NS NSEC_PER_SEC
#define ACCEPTS_PER_TURN 64
#define CROWD_CONNECTIONS 256 /* of a worker: what they took is worth giving back */
#define SLICE_NS 100000ull /* the shortest that there is */

/* --- small things -------------------------------------------------------------------------------------------------------- */

/* xorshift128+: which endpoint, which target, request ids; nothing that somebody else must not guess. */
uint64_t random_next(uint64_t state[2])
{
	uint64_t a = state[0];
	const uint64_t b = state[1];

	state[0] = b;
	a ^= a << 23;
	state[1] = a ^ b ^ a >> 18 ^ b >> 5;
	return state[1] + b;
}

uint64_t worker_random(struct worker *worker)
{
	return random_next(worker->random);
}

const char *worker_date(struct worker *worker)
{
	const uint64_t now_ns = loop_now_ns(worker->loop);

	if (now_ns >= worker->date_until_ns) {
		const uint64_t wall_ns = time_to_wall_ns(now_ns);

		http_date_format((int64_t)(wall_ns / NSEC_PER_SEC), worker->date);
		worker->date_until_ns = now_ns + NSEC_PER_SEC - wall_ns % NSEC_PER_SEC;
	}
	return worker->date;
}

struct view *view_ref(struct view *view)
{
	view->refs++;
	return view;
}

void view_unref(struct view *view)
{
	if (--view->refs > 0)
		return;
	snapshot_unref(view->snapshot);
	free(view);
}

static int view_new(struct snapshot *snapshot, struct view **ret_view)
{
	struct view *view = malloc(sizeof(*view));

	if (!view)
		return -ENOMEM;
	*view = (struct view){ .snapshot = snapshot, .refs = 1 };
	*ret_view = view;
	return 0;
}

void worker_reap(struct worker *worker)
{
	limits_run(worker);
	list_for_each_safe(it, &worker->dead_upstreams)
		free(container_of(it, struct upstream, node));
	list_init(&worker->dead_upstreams);
	list_for_each_safe(it, &worker->dead_downstreams)
		free(container_of(it, struct downstream, node));
	list_init(&worker->dead_downstreams);
	for (; worker->spare_request_count > L7_SPARE_REQUESTS_MAX; worker->spare_request_count--) {
		struct request *request = container_of(worker->spare_requests.next, struct request, node);

		list_remove(&request->node);
		request_free(request);
	}
}

/* --- what it is told ----------------------------------------------------------------------------------------------------- */

struct told {
	struct worker *worker;
	struct view *view;
	struct l7_place *place;
	uint64_t netns_cookie;
	uint32_t node;
	struct access_log *log;
	struct accepted accepted;
};

/* What waited for the configuration looks again. */
static void run_parked(struct worker *worker)
{
	struct list parked;

	list_init(&parked);
	list_for_each_safe(it, &worker->parked) {
		list_remove(it);
		list_append(&parked, it);
	}
	while (!list_empty(&parked)) {
		struct request *request = container_of(parked.next, struct request, node);
		struct downstream *d = request->downstream;

		list_remove(&request->node);
		request_route(request);
		downstream_run(d);
	}
}

static void hold_to_filters(struct worker *worker)
{
	list_for_each_safe(it, &worker->passing)
		request_hold_to_filter(container_of(it, struct request, node));
}

static void take_view(void *arg)
{
	struct told *told = arg;
	struct worker *worker = told->worker;

	view_unref(worker->view);
	worker->view = told->view;
	free(told);
	run_parked(worker);
	hold_to_filters(worker);
	worker_reap(worker);
}

static void on_listener(struct loop_io *io, uint32_t events, void *arg)
{
	struct worker_place *place = arg;
	struct worker *worker = place->worker;

	(void)io;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage address;
		socklen_t length = sizeof(address);
		int connection = accept4(place->place->listen_fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct accepted accepted = { .fd = connection };

		if (connection < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
				COUNT(worker->stats.accept_failed, 1);
			break;
		}
		tcp_address_read((struct sockaddr *)&address, &accepted.peer, &accepted.peer_port);
		downstream_accept(place, &accepted);
	}
	worker_reap(worker);
}

static void place_close(struct worker_place *place)
{
	count_endpoints(place->worker, place->place->sidecar);
	memset(place->worker->counted, 0, sizeof(place->worker->counted)); /* what it leads to may be freed */
	list_for_each_safe(it, &place->downstreams)
		downstream_close(container_of(it, struct downstream, place_node));
	list_for_each_safe(it, &place->upstreams)
		upstream_close(container_of(it, struct upstream, place_node));
	loop_io_remove(place->io);
	list_remove(&place->node);
	l7_place_unref(place->place);
	free(place);
}

static void take_place(void *arg)
{
	struct told *told = arg;
	struct worker *worker = told->worker;
	struct worker_place *place = calloc(1, sizeof(*place));

	if (place) {
		*place = (struct worker_place){ .worker = worker, .place = told->place };
		list_init(&place->downstreams);
		list_init(&place->upstreams);
		list_append(&worker->places, &place->node);
	} else {
		log_error("a worker cannot listen in a namespace: out of memory", LOG_F("worker", LOG_INT(worker->index)));
		l7_place_unref(told->place);
	}
	free(told);
}

static struct worker_place *place_find(const struct worker *worker, const struct l7_place *place)
{
	list_for_each(it, &worker->places)
		if (container_of(it, struct worker_place, node)->place == place)
			return container_of(it, struct worker_place, node);
	return NULL;
}

static void accept_at(void *arg)
{
	struct told *told = arg;
	struct worker *worker = told->worker;
	struct worker_place *place = place_find(worker, told->place);
	int r = place && !worker->draining ? loop_io_add(worker->loop, told->place->listen_fd, EPOLLIN | EPOLLEXCLUSIVE, on_listener, place,
							 &place->io) : 0;

	if (r < 0) /* the other workers accept */
		log_error("a worker cannot listen in a namespace", LOG_F("worker", LOG_INT(worker->index)),
			  LOG_F("error", LOG_STR(strerror(-r))));
	l7_place_unref(told->place);
	free(told);
}

static void drop_place(void *arg)
{
	struct told *told = arg;
	struct worker *worker = told->worker;

	list_for_each_safe(it, &worker->places) {
		struct worker_place *place = container_of(it, struct worker_place, node);

		if (place->place->netns_cookie == told->netns_cookie)
			place_close(place);
	}
	free(told);
	worker_reap(worker);
}

static struct worker_log *log_find(const struct worker *worker, uint64_t netns_cookie, uint32_t id)
{
	list_for_each(it, &worker->logs) {
		struct worker_log *log = container_of(it, struct worker_log, node);

		if (log->netns_cookie == netns_cookie && log->id == id)
			return log;
	}
	return NULL;
}

struct worker_log *worker_log_get(struct worker *worker, uint64_t netns_cookie, uint32_t id)
{
	struct worker_log *log = log_find(worker, netns_cookie, id);

	if (log)
		log->refs++;
	return log;
}

void worker_log_unref(struct worker_log *log)
{
	if (!log || --log->refs > 0)
		return;
	list_remove(&log->node);
	access_log_unref(log->log);
	free(log);
}

static struct worker_log *log_make(struct worker *worker, uint64_t netns_cookie, uint32_t id)
{
	struct worker_log *log = calloc(1, sizeof(*log));

	if (!log)
		return NULL;
	log->netns_cookie = netns_cookie;
	log->id = id;
	list_append(&worker->logs, &log->node);
	/* Connections that are there already have none, and get it with their next request. */
	return log;
}

static void take_log(void *arg)
{
	struct told *told = arg;
	struct worker_log *log = log_find(told->worker, told->netns_cookie, told->node);

	if (told->log && !log)
		log = log_make(told->worker, told->netns_cookie, told->node);
	if (log) {
		log->refs += !log->log && told->log; /* the worker's own */
		access_log_unref(log->log);
		if (log->log && !told->log) {
			log->log = NULL;
			worker_log_unref(log);
		} else {
			log->log = TAKE_PTR(told->log);
		}
	}
	access_log_unref(told->log);
	free(told);
}

static void on_log_timer(struct loop_timer *timer, void *arg)
{
	struct worker *worker = arg;

	(void)timer;
	access_logs_flush(worker->l7->logs, worker->index);
}

static void drop_one_place(void *arg)
{
	struct told *told = arg;
	struct worker *worker = told->worker;
	struct worker_place *place = place_find(worker, told->place);

	if (place)
		place_close(place);
	l7_place_unref(told->place);
	free(told);
	worker_reap(worker);
}

static void take_connection(void *arg)
{
	struct told *told = arg;
	struct worker *worker = told->worker;
	struct worker_place *place = place_find(worker, told->place);

	if (place) {
		downstream_take(place, &told->accepted);
	} else { /* it was closed meanwhile */
		COUNT(worker->stats.accept_failed, 1);
		fd_close(told->accepted.fd);
	}
	l7_place_unref(told->place);
	free(told);
	worker_reap(worker);
}

static int tell(struct worker *worker, loop_post_fn *fn, struct told what)
{
	struct told *told = malloc(sizeof(*told));
	int r;

	if (!told)
		return -ENOMEM;
	*told = what;
	told->worker = worker;
	r = loop_post(worker->loop, fn, told);
	if (r < 0)
		free(told);
	return r;
}

struct errand {
	struct worker *worker;
	worker_fn *fn;
	void *arg;
	sem_t done;
};

static void run_errand(void *arg)
{
	struct errand *errand = arg;

	errand->fn(errand->worker, errand->arg);
	worker_reap(errand->worker);
	sem_post(&errand->done);
}

int worker_run(struct worker *worker, worker_fn *fn, void *arg)
{
	struct errand errand = { .worker = worker, .fn = fn, .arg = arg };
	int r;

	sem_init(&errand.done, 0, 0);
	r = loop_post(worker->loop, run_errand, &errand);
	while (r == 0 && sem_wait(&errand.done) < 0) /* EINTR */
		;
	sem_destroy(&errand.done);
	return r;
}

int worker_tell_snapshot(struct worker *worker, struct snapshot *snapshot)
{
	struct view *view;
	int r = view_new(snapshot_ref(snapshot), &view);

	if (r == 0) {
		r = tell(worker, take_view, (struct told){ .view = view });
		if (r < 0)
			free(view);
	}
	if (r < 0)
		snapshot_unref(snapshot);
	return r;
}

int worker_tell_place(struct worker *worker, struct l7_place *place)
{
	int r;

	__atomic_add_fetch(&place->refs, 1, __ATOMIC_RELAXED);
	r = tell(worker, take_place, (struct told){ .place = place });
	if (r < 0)
		l7_place_unref(place);
	return r;
}

int worker_tell_accept(struct worker *worker, struct l7_place *place)
{
	int r;

	__atomic_add_fetch(&place->refs, 1, __ATOMIC_RELAXED);
	r = tell(worker, accept_at, (struct told){ .place = place });
	if (r < 0)
		l7_place_unref(place);
	return r;
}

int worker_tell_connection(struct worker *worker, struct l7_place *place, const struct accepted *accepted)
{
	int r;

	__atomic_add_fetch(&place->refs, 1, __ATOMIC_RELAXED);
	r = tell(worker, take_connection, (struct told){ .place = place, .accepted = *accepted });
	if (r < 0)
		l7_place_unref(place);
	return r;
}

int worker_tell_place_gone(struct worker *worker, struct l7_place *place)
{
	int r;

	__atomic_add_fetch(&place->refs, 1, __ATOMIC_RELAXED);
	r = tell(worker, drop_one_place, (struct told){ .place = place });
	if (r < 0)
		l7_place_unref(place);
	return r;
}

int worker_tell_log(struct worker *worker, uint64_t netns_cookie, uint32_t node, struct access_log *log)
{
	struct access_log *ref = log ? access_log_ref(log) : NULL;
	int r = tell(worker, take_log, (struct told){ .netns_cookie = netns_cookie, .node = node, .log = ref });

	if (r < 0)
		access_log_unref(ref);
	return r;
}

int worker_tell_no_place(struct worker *worker, uint64_t netns_cookie)
{
	return tell(worker, drop_place, (struct told){ .netns_cookie = netns_cookie });
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

/* After 10,000 connections 20 MB stay with the process, since something lies above them. What is free is given back when most of a
 * crowd has gone, once. */
static void give_back_memory(struct worker *worker)
{
	if (worker->open_peak < CROWD_CONNECTIONS || worker->stats.open > worker->open_peak / 4)
		return;
	worker->open_peak = worker->stats.open;
	memory_give_back();
}

static void on_sweep(struct loop_timer *timer, void *arg)
{
	static const enum wait limited[] = { WAIT_REQUEST, WAIT_HEAD, WAIT_LINGER };
	struct worker *worker = arg;
	const uint64_t now_ns = loop_now_ns(worker->loop);
	const struct sidecar *told = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(limited); i++) {
		struct list *list = &worker->waits[limited[i]];

		while (!list_empty(list)) {
			struct downstream *d = container_of(list->next, struct downstream, node);

			if (d->deadline_ns > now_ns)
				break;
			downstream_late(d);
		}
	}
	upstreams_expire(worker, now_ns);
	limits_look(worker);
	give_back_memory(worker);
	list_for_each(it, &worker->places) {
		const struct sidecar *sidecar = container_of(it, struct worker_place, node)->place->sidecar;

		if (sidecar != told) /* those of a namespace follow each other */
			count_endpoints(worker, told = sidecar);
	}
	worker->wall_ns = time_to_wall_ns(now_ns) - now_ns;
	loop_timer_arm(timer, now_ns + SWEEP_NS);
	worker_reap(worker);
}

static void on_limit_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	limits_look(arg);
	worker_reap(arg);
}

static void stop(void *arg)
{
	struct worker *worker = arg;

	list_for_each_safe(it, &worker->places)
		place_close(container_of(it, struct worker_place, node));
	worker_reap(worker);
	limits_look(worker); /* nobody uses them any more */
	loop_stop(worker->loop, 0);
}

/* A worker that is woken is to run before others on its CPU end their turn, the workload among them: what it has to do for a request takes
 * less than SLICE_NS. It asks for turns as short as that, which come sooner (EEVDF, since Linux 6.12), and gets no more of the CPU for
 * it. Earlier kernels take no notice. */
static void ask_for_short_turns(void)
{
	struct turn_attributes attributes = { .size = sizeof(attributes) };
	long r = syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0);

	if (r == 0 && attributes.policy != SCHED_OTHER)
		return; /* somebody has seen to it */
	attributes.runtime_ns = SLICE_NS;
	if (r == 0)
		r = syscall(SYS_sched_setattr, 0, &attributes, 0);
	if (r < 0)
		log_limited(LOG_LEVEL_INFO, "workers may not ask for short turns of the CPU: they wait as others do",
			    LOG_F("error", LOG_STR(strerror(errno))));
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	int r;

	ask_for_short_turns();
	r = loop_run(worker->loop);

	if (r < 0) {
		/* Half of the connections would hang: better to be started again. */
		log_error("a worker's event loop failed", LOG_F("error", LOG_STR(strerror(-r))));
		abort();
	}
	return NULL;
}

void worker_stop(struct worker *worker)
{
	if (!worker->started)
		return;
	loop_post(worker->loop, stop, worker);
	pthread_join(worker->thread, NULL);
	worker->started = false;
}

struct worker *worker_free(struct worker *worker)
{
	if (!worker)
		return NULL;
	worker_stop(worker);
	list_for_each_safe(it, &worker->spare_requests)
		request_free(container_of(it, struct request, node));
	if (worker->view)
		view_unref(worker->view);
	while (!list_empty(&worker->logs)) {
		struct worker_log *log = container_of(worker->logs.next, struct worker_log, node);

		log->refs = 1; /* no connection is left */
		worker_log_unref(log);
	}
	access_logs_flush(worker->l7->logs, worker->index);
	loop_timer_free(worker->sweep);
	loop_timer_free(worker->log_timer);
	loop_timer_free(worker->limit_timer);
	loop_free(worker->loop);
	table_done(&worker->pools);
	table_done(&worker->limits);
	stats_done(&worker->stats);
	fd_close(worker->own_netns_fd);
	free(worker);
	return NULL;
}

static int start_thread(struct worker *worker)
{
	char name[16];
	int r;

	snprintf(name, sizeof(name), "weft-l7-%u", worker->index % 100000);
	r = thread_start(&worker->thread, NULL, name, run, worker);
	worker->started = r == 0;
	return r;
}

int worker_new(struct l7 *l7, unsigned int index, struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int r = -ENOMEM;

	if (!worker)
		return r;
	worker->l7 = l7;
	worker->index = index;
	worker->end = L7_ENDED;
	worker->own_netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	list_init(&worker->places);
	list_init(&worker->spares);
	list_init(&worker->limits_due);
	list_init(&worker->spare_requests);
	list_init(&worker->logs);
	worker->wall_ns = time_to_wall_ns(time_now_ns()) - time_now_ns();
	list_init(&worker->parked);
	list_init(&worker->passing);
	list_init(&worker->dead_downstreams);
	list_init(&worker->dead_upstreams);
	for (size_t i = 0; i < WAITS; i++)
		list_init(&worker->waits[i]);
	if (worker->own_netns_fd < 0 || getrandom(worker->random, sizeof(worker->random), 0) < 0)
		r = -errno;
	else
		r = loop_new(&worker->loop);
	if (r == 0)
		r = view_new(snapshot_ref(l7->snapshot), &worker->view);
	if (r == 0)
		r = loop_timer_new(worker->loop, on_sweep, worker, &worker->sweep);
	if (r == 0)
		r = loop_timer_new(worker->loop, on_log_timer, worker, &worker->log_timer);
	if (r == 0)
		r = loop_timer_new(worker->loop, on_limit_timer, worker, &worker->limit_timer);
	if (r == 0) {
		loop_timer_arm(worker->sweep, loop_now_ns(worker->loop) + SWEEP_NS);
		r = start_thread(worker);
	}
	if (r < 0) {
		worker_free(worker);
		return r;
	}
	*ret_worker = worker;
	return 0;
}
