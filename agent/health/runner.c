/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health/runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "agent/identity/cgroup.h"
#include "agent/net/tcp.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/time.h"
#include "maps/intercept.h"

struct runner {
	struct loop *loop;
	struct offload *offload;
	struct workloads *workloads;
	struct runner_inbound inbound;
	struct list waiting; /* for a place */
	unsigned under_way;
	struct loop_timer *fill; /* gives free places to those that wait, in the next turn */
};

/* A socket that the offload thread makes; it outlives a run that is ended meanwhile. */
struct socket_job {
	struct run *run; /* the loop's; NULL: nobody wants it any more */
	int netns_fd, family;
	int fd; /* or -errno */
};

struct run {
	struct runner *runner;
	struct run_settings settings;
	run_result_fn *fn;
	void *arg;
	struct list node; /* of runner->waiting */
	struct loop_timer *timer; /* the next check, or the end of the time for this one */
	bool under_way;
	bool past_proxy; /* this one goes past weft-proxy */
	uint64_t from; /* where it is made, or the last one was */
	struct proxy_way_key way; /* by which it does; port 0: not yet */
	uint64_t began_ns;
	struct socket_job *job; /* first it has this, */
	struct probe *probe; /* then that */
};

static uint32_t random_word(void)
{
	uint32_t word = 0; /* without randomness checks fall into step: no more than that */

	if (getrandom(&word, sizeof(word), GRND_NONBLOCK) < 0)
		return 0;
	return word;
}

static void run_stop(struct run *run)
{
	struct runner *runner = run->runner;

	list_remove(&run->node);
	if (run->job)
		run->job->run = NULL;
	run->job = NULL;
	if (run->way.port) /* before the port is another's */
		intercept_way_remove(runner->inbound.kernel, &run->way);
	run->way.port = 0;
	run->probe = probe_free(run->probe);
	runner->under_way -= run->under_way;
	run->under_way = false;
	if (!list_empty(&runner->waiting))
		loop_timer_arm(runner->fill, 0);
}

static void run_end(struct run *run, enum check_outcome outcome, const char *text)
{
	const uint64_t now_ns = time_now_ns(), interval_ns = run->settings.interval_ns;
	struct check_result result = { .outcome = outcome, .at_ns = now_ns, .took_ns = now_ns - run->began_ns };

	snprintf(result.text, sizeof(result.text), "%s%s", outcome == CHECK_NOT_RUN ? "not run: " : "", text);
	run_stop(run);
	loop_timer_arm(run->timer, now_ns + check_delay_ns(outcome == CHECK_NOT_RUN ? interval_ns / 10 : interval_ns, random_word()));
	run->fn(&result, run->arg); /* may free the run */
}

static void run_fail(struct run *run, int error)
{
	char text[CHECK_TEXT_BYTES];
	const enum check_outcome outcome = probe_outcome(error, text);

	run_end(run, outcome, text);
}

static void on_probe_done(enum check_outcome outcome, const char *text, void *arg)
{
	run_end(arg, outcome, text);
}

static void run_probe(struct run *run, int fd)
{
	const struct probe_request *request = &run->settings.request;
	int r;

	r = request->path ? probe_http_start(run->runner->loop, request, &fd, on_probe_done, run, &run->probe) :
			    probe_tcp_start(run->runner->loop, request, &fd, on_probe_done, run, &run->probe);
	if (r < 0)
		run_fail(run, -r);
}

/* --- a socket of another namespace -------------------------------------------------------------------------------------- */

#define SOCKET_TYPE (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

/* Its own end is told to the kernel before it connects: that alone gets past weft-proxy. */
static int prepare_way(struct run *run, int fd)
{
	struct proxy_way_key way = { .netns_cookie = run->from };
	struct sockaddr_storage own;
	socklen_t length = ip_to_sockaddr(&run->settings.request.address, 0, &own);
	int r;

	if (bind(fd, (struct sockaddr *)&own, length) < 0 || getsockname(fd, (struct sockaddr *)&own, &length) < 0)
		return -errno;
	tcp_address_read((struct sockaddr *)&own, &way.address, &way.port);
	r = intercept_way_set(run->runner->inbound.kernel, &way);
	if (r == 0)
		run->way = way;
	return r;
}

/* On the offload thread. */
static void socket_make(void *arg)
{
	struct socket_job *job = arg;

	job->fd = netns_socket(job->netns_fd, job->family, SOCKET_TYPE, IPPROTO_TCP);
}

static void socket_made(void *arg)
{
	struct socket_job *job = arg;
	_cleanup_close_ int fd = job->fd;
	struct run *run = job->run;

	fd_close(job->netns_fd);
	free(job);
	if (!run)
		return;
	run->job = NULL;
	if (fd < 0 || (run->past_proxy && prepare_way(run, fd) < 0))
		run_end(run, CHECK_NOT_RUN, "no socket could be made in the workload's namespace");
	else
		run_probe(run, TAKE_FD(fd));
}

static void socket_ask(struct run *run, int family)
{
	struct runner *runner = run->runner;
	struct socket_job *job = malloc(sizeof(*job));
	int r = -ENOMEM;

	if (job) {
		*job = (struct socket_job){ run, workloads_netns_fd(runner->workloads, run->from), family, -1 };
		r = job->netns_fd < 0 ? job->netns_fd : offload_submit(runner->offload, socket_make, socket_made, job);
	}
	if (r == 0) {
		run->job = job;
		return;
	}
	if (job)
		fd_close(job->netns_fd);
	free(job);
	run_end(run, CHECK_NOT_RUN, r == -ENOMEM ? "out of memory" : "no workload is in the namespace to check from");
}

/* --- places -------------------------------------------------------------------------------------------------------------- */

/* 0: nowhere, or it does not matter. */
static uint64_t behind_proxy_in(const struct run *run)
{
	const struct runner_inbound *inbound = &run->runner->inbound;
	const struct probe_request *request = &run->settings.request;

	if (request->path || !inbound->given_in)
		return 0;
	return inbound->given_in(&request->address, request->port, run->settings.netns_cookie, inbound->arg);
}

static void run_begin(struct run *run)
{
	const int family = ip_is_v4(&run->settings.request.address) ? AF_INET : AF_INET6;
	const uint64_t behind = behind_proxy_in(run);
	int fd;

	list_remove(&run->node);
	run->runner->under_way++;
	run->under_way = true;
	run->began_ns = time_now_ns();
	run->past_proxy = behind != 0;
	run->from = behind ?: run->settings.netns_cookie;
	loop_timer_arm(run->timer, run->began_ns + run->settings.timeout_ns);
	if (run->from) {
		socket_ask(run, family);
		return;
	}
	fd = socket(family, SOCKET_TYPE, IPPROTO_TCP);
	if (fd < 0)
		run_fail(run, errno);
	else
		run_probe(run, fd);
}

static void fill_places(struct loop_timer *timer, void *arg)
{
	struct runner *runner = arg;

	(void)timer;
	while (runner->under_way < RUNNER_PLACES && !list_empty(&runner->waiting))
		run_begin(container_of(runner->waiting.next, struct run, node));
}

static void on_time(struct loop_timer *timer, void *arg)
{
	struct run *run = arg;

	(void)timer;
	if (run->job) {
		run_end(run, CHECK_NOT_RUN, "no socket was made in time");
	} else if (run->probe) {
		run_end(run, CHECK_FAILED, "timeout");
	} else {
		list_append(&run->runner->waiting, &run->node);
		loop_timer_arm(run->runner->fill, 0);
	}
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

int run_new(struct runner *runner, const struct run_settings *settings, run_result_fn *fn, void *arg, struct run **ret_run)
{
	struct run *run = malloc(sizeof(*run));

	if (!run)
		return -ENOMEM;
	*run = (struct run){ .runner = runner, .settings = *settings, .from = settings->netns_cookie, .fn = fn, .arg = arg };
	list_init(&run->node);
	if (loop_timer_new(runner->loop, on_time, run, &run->timer) < 0) {
		free(run);
		return -ENOMEM;
	}
	loop_timer_arm(run->timer, time_now_ns() + check_first_delay_ns(settings->interval_ns, random_word()));
	*ret_run = run;
	return 0;
}

struct run *run_free(struct run *run)
{
	if (!run)
		return NULL;
	run_stop(run);
	loop_timer_free(run->timer);
	free(run);
	return NULL;
}

void run_move(struct run *run, uint64_t netns_cookie)
{
	run->settings.netns_cookie = netns_cookie;
	if (!run->under_way)
		run->from = netns_cookie;
}

uint64_t run_from(const struct run *run)
{
	return run->from;
}

int runner_new(struct loop *loop, struct offload *offload, struct workloads *workloads, const struct runner_inbound *inbound,
	       struct runner **ret_runner)
{
	struct runner *runner = malloc(sizeof(*runner));
	int r;

	if (!runner)
		return -ENOMEM;
	*runner = (struct runner){ .loop = loop, .offload = offload, .workloads = workloads, .inbound = *inbound };
	list_init(&runner->waiting);
	r = loop_timer_new(loop, fill_places, runner, &runner->fill);
	if (r < 0) {
		runner_free(runner);
		return r;
	}
	*ret_runner = runner;
	return 0;
}

struct runner *runner_free(struct runner *runner)
{
	if (!runner)
		return NULL;
	loop_timer_free(runner->fill);
	free(runner);
	return NULL;
}
