/* SPDX-License-Identifier: Apache-2.0 */
/* One job at a time: a look finds out what is leaving and when it is due; where something is due now, the namespaces of its
 * connections are opened on the loop, and an end follows, for one of them after the other. */
#include "agent/drain/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/drain/change.h"
#include "agent/drain/destroy.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"
#include "maps/abi/passed.h"
#include "maps/generation.h"

#define LOOK_GAP_NS (100 * NSEC_PER_MSEC) /* each look waits for a grace period, some 10 ms of the offload thread */
#define RETRY_NS NSEC_PER_SEC /* for what could not be closed, or was passed over as others came and went */

/* What the egress filter has let out of a mesh has no account that could be asked about, so it is looked for in all namespaces. Twice: what
 * was let out just before may be on its way into the kernel's table of sockets, and is there a second later. */
#define PASSED_WALKS 2

/* A namespace whose connections are looked at, one by one. */
struct place {
	uint64_t netns_cookie;
	size_t due; /* of those with accounts, for the log */
	int fd;
};

/* Outlives its drain while it is under way. */
struct job {
	struct drain *drain; /* the loop's; NULL: freed */
	struct kernel *kernel;
	struct change_watch *watch;
	bool busy;
	bool ask; /* also where nothing changed */
	unsigned walks; /* of all namespaces, since a filter closed: so many are to come */
	uint64_t walk_ns; /* the next one, a second after another at the earliest */
	bool walking; /* this is one, */
	bool all; /* and got everywhere */
	int r;
	uint64_t next_ns; /* when the next connection is due; 0: none */
	struct place *places;
	size_t place_count, place_capacity, place_next;
	struct destroyed destroyed;
	uint64_t took_ns;
};

struct drain {
	struct offload *offload;
	const struct workloads *workloads;
	struct loop_timer *timer;
	struct job *job;
	bool changed; /* since the last look began */
	uint64_t looked_ns;
	uint64_t due_ns; /* the next look, whether or not anything changed; 0: none */
};

static void drop_places(struct job *job)
{
	for (size_t i = 0; i < job->place_count; i++)
		fd_close(job->places[i].fd);
	job->place_count = 0;
}

static struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;
	drop_places(job);
	free(job->places);
	change_watch_free(job->watch);
	free(job);
	return NULL;
}

static void job_submit(struct drain *d, offload_fn *work, loop_post_fn *done)
{
	d->job->busy = true;
	if (offload_submit(d->offload, work, done, d->job) == 0)
		return;
	d->job->r = -ENOMEM;
	done(d->job);
}

/* --- on the offload thread -------------------------------------------------------------------------------------------------- */

static int add_place(struct job *job, uint64_t netns_cookie, size_t due)
{
	for (size_t i = job->place_count; i-- > 0;) /* connections of a place come in any order, but places are few */
		if (job->places[i].netns_cookie == netns_cookie) {
			job->places[i].due += due;
			return 0;
		}
	if (job->place_count == job->place_capacity) {
		const size_t capacity = job->place_capacity ? 2 * job->place_capacity : 16;
		struct place *grown = realloc(job->places, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		job->places = grown;
		job->place_capacity = capacity;
	}
	job->places[job->place_count++] = (struct place){ .netns_cookie = netns_cookie, .due = due, .fd = -1 };
	return 0;
}

static int take_leaving(const struct account *account, void *arg)
{
	struct job *job = arg;

	if (account->standing == STANDING_GOOD)
		return 0;
	if (account->leave_ns <= time_now_ns())
		return add_place(job, account->netns_cookie, 1);
	if (!job->next_ns || account->leave_ns < job->next_ns)
		job->next_ns = account->leave_ns;
	return 0;
}

static int look_at_accounts(struct job *job)
{
	struct standing_look found;
	int r = kernel_standing_look(job->kernel, time_now_ns(), &found);

	return r == 0 && (found.left || found.denied) ? kernel_socket_account_each(job->kernel, take_leaving, job) : r;
}

static int note_passed(const struct reason_key *key, uint64_t count, void *arg)
{
	*(bool *)arg |= count && passed_by_filter(key->reason);
	return 0;
}

/* Whether an egress filter has let out anything since the kernel part was installed: mostly none has, and nothing is looked for. True where
 * that is not known. */
static bool any_passed(struct kernel *kernel)
{
	uint64_t stats[STAT_COUNT];
	bool passed = false;

	return kernel_reason_each(kernel, note_passed, &passed) < 0 || passed || kernel_stats(kernel, stats) < 0 || stats[STAT_REASON_TABLE_FULL];
}

static void look(void *arg)
{
	struct job *job = arg;
	bool accounts;

	job->r = grace_wait();
	if (job->r < 0)
		return;
	accounts = change_watch_look(job->watch, &job->kernel->memory) || job->ask;
	if (change_watch_filters(job->watch))
		job->walks = any_passed(job->kernel) ? PASSED_WALKS : 0;
	job->walking = job->walks && job->walk_ns <= time_now_ns();
	if (accounts)
		job->r = look_at_accounts(job);
}

/* Of one place, which takes milliseconds: others wait for this thread. */
static void end(void *arg)
{
	struct job *job = arg;
	const uint64_t began_ns = time_now_ns();
	const int r = destroy_in_netns(job->kernel, job->places[job->place_next].fd, &job->destroyed);

	if (r < 0)
		job->r = r;
	job->took_ns += time_now_ns() - began_ns;
}

/* --- on the loop -------------------------------------------------------------------------------------------------------------- */

static void arm(struct drain *d)
{
	const uint64_t soon_ns = d->looked_ns ? d->looked_ns + LOOK_GAP_NS : 0;

	if (d->job->busy)
		return;
	if (d->changed)
		loop_timer_arm(d->timer, d->due_ns && d->due_ns < soon_ns ? d->due_ns : soon_ns);
	else if (d->due_ns)
		loop_timer_arm(d->timer, d->due_ns);
	else
		loop_timer_disarm(d->timer);
}

static void note_due(struct drain *d, uint64_t at_ns)
{
	if (at_ns && (!d->due_ns || at_ns < d->due_ns))
		d->due_ns = at_ns;
}

static void fail(struct drain *d, const char *what, int r)
{
	log_limited(LOG_LEVEL_WARN, what, LOG_F("error", LOG_STR(strerror(-r))));
	if (r != -EOPNOTSUPP)
		note_due(d, time_now_ns() + RETRY_NS);
}

static void ended(struct drain *d)
{
	struct job *job = d->job;
	const size_t closed = job->destroyed.drained + job->destroyed.policy_changed;

	if (job->walking) {
		job->walks -= job->all && job->r == 0;
		job->walk_ns = time_now_ns() + RETRY_NS;
	}
	if (job->r < 0)
		fail(d, "connections that may not go on cannot be closed", job->r);
	else
		note_due(d, time_now_ns() + RETRY_NS);
	if (closed)
		log_info("connections closed", LOG_F("drained", LOG_U64(job->destroyed.drained)),
			 LOG_F("policy_changed", LOG_U64(job->destroyed.policy_changed)),
			 LOG_F("took_us", LOG_U64(job->took_ns / NSEC_PER_USEC)));
	drop_places(job);
	arm(d);
}

/* Opens the next namespace that there is, or NULL: there is none left. */
static struct place *next_place(struct drain *d)
{
	struct job *job = d->job;

	for (; job->place_next < job->place_count; job->place_next++) {
		struct place *place = &job->places[job->place_next];

		place->fd = workloads_netns_fd(d->workloads, place->netns_cookie);
		if (place->fd >= 0)
			return place;
		job->all = false;
		log_limited(LOG_LEVEL_WARN, "connections that may not go on may be in a namespace that is not open",
			    LOG_F("netns_cookie", LOG_U64(place->netns_cookie)), LOG_F("known", LOG_U64(place->due)),
			    LOG_F("error", LOG_STR(strerror(-place->fd))));
	}
	return NULL;
}

static void end_done(void *arg);

static void end_next(struct drain *d)
{
	if (next_place(d))
		job_submit(d, end, end_done);
	else
		ended(d);
}

static void end_done(void *arg)
{
	struct job *job = arg;

	if (!job->drain) {
		job_free(job);
		return;
	}
	job->busy = false;
	job->places[job->place_next].fd = fd_close(job->places[job->place_next].fd);
	job->place_next++;
	end_next(job->drain);
}

static int add_workloads_place(const struct workload *workload, uint64_t netns_cookie, void *arg)
{
	(void)workload;
	return add_place(arg, netns_cookie, 0);
}

static void look_done(void *arg)
{
	struct job *job = arg;
	struct drain *d = job->drain;

	if (!d) {
		job_free(job);
		return;
	}
	job->busy = false;
	if (job->r < 0)
		fail(d, "cannot tell which open connections may go on", job->r);
	note_due(d, job->next_ns);
	if (job->walks && !job->walking)
		note_due(d, job->walk_ns);
	job->r = job->walking ? workloads_each_place(d->workloads, add_workloads_place, job) : 0;
	job->all = job->r == 0;
	if (job->r < 0)
		fail(d, "cannot look for connections that left a mesh", job->r);
	if (!job->place_count) {
		arm(d);
		return;
	}
	job->place_next = 0;
	job->took_ns = 0;
	job->destroyed = (struct destroyed){};
	end_next(d);
}

static void look_soon(struct loop_timer *timer, void *arg)
{
	struct drain *d = arg;
	const uint64_t now_ns = time_now_ns();

	(void)timer;
	if (d->job->busy)
		return;
	d->looked_ns = now_ns;
	d->changed = false;
	d->job->ask = d->due_ns != 0; /* what is pending is found again, or has ended */
	d->due_ns = 0;
	d->job->r = 0;
	d->job->next_ns = 0;
	job_submit(d, look, look_done);
}

void drain_changed(struct drain *d)
{
	d->changed = true;
	arm(d);
}

int drain_new(struct loop *loop, struct offload *offload, struct kernel *kernel, const struct workloads *workloads,
	      struct drain **ret_drain)
{
	struct drain *d = calloc(1, sizeof(*d));
	int r = d ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	*d = (struct drain){ .offload = offload, .workloads = workloads, .job = calloc(1, sizeof(*d->job)) };
	if (!d->job || change_watch_new(&kernel->memory.limits, &d->job->watch) < 0)
		r = -ENOMEM;
	if (r == 0) {
		d->job->drain = d;
		d->job->kernel = kernel;
		r = loop_timer_new(loop, look_soon, d, &d->timer);
	}
	if (r < 0) {
		drain_free(d);
		return r;
	}
	*ret_drain = d;
	return 0;
}

struct drain *drain_free(struct drain *d)
{
	if (!d)
		return NULL;
	loop_timer_free(d->timer);
	if (d->job && d->job->busy)
		d->job->drain = NULL;
	else
		job_free(d->job);
	free(d);
	return NULL;
}
