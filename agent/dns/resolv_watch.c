/* SPDX-License-Identifier: Apache-2.0 */
/* The offload thread alone adds and removes inotify watches, in the order of its jobs: workloads that share a file share its watch, which
 * goes when the last of them lets go. An event that comes while a look is under way may be about what that look has just read, or about a
 * watch that it has just made: it looks again then, whatever the event is about. */
#include "agent/dns/resolv_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "agent/dns/resolv_look.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define LOOK_NS (2 * NSEC_PER_SEC)
/* From an event to the look: a file that is rewritten in place is empty for a moment. */
#define SETTLE_NS (20 * NSEC_PER_MSEC)
#define LINGER_NS (10 * NSEC_PER_SEC)

/* How many hints name an inotify watch. */
struct held {
	int wd;
	size_t holders;
};

/* Outlives its owner while jobs are under way. The list of what is held is the offload thread's. */
struct inotify {
	int fd;
	struct held *held;
	size_t held_count;
	size_t references; /* the loop's */
};

struct resolv_watches {
	struct loop *loop;
	struct offload *offload;
	struct inotify *inotify;
	struct loop_io *io;
	struct list watches;
	struct list jobs;
};

struct lingering {
	struct ip resolver;
	uint64_t until_ns;
};

struct resolv_watch {
	struct list node;
	struct resolv_watches *all;
	uint64_t netns_inode;
	resolv_watch_fn *fn;
	void *arg;
	struct loop_timer *timer; /* the next look */
	bool hurried; /* it comes soon */
	bool look_again;
	struct job *job; /* a look under way: it has the hints */
	struct resolv_hints hints;
	bool seen; /* some process was */
	bool told;
	struct resolv_conf last; /* by the last look */
	struct lingering lingering[RESOLVERS_MAX]; /* gone from the file; until_ns 0: free */
	struct resolv_found found; /* as told */
	char cgroup[];
};

struct job {
	struct list node;
	struct resolv_watches *all; /* NULL: gone */
	struct resolv_watch *watch; /* NULL: gone; what is held is to be let go */
	struct inotify *inotify;
	struct resolv_hints held; /* by the look before; afterwards by this one */
	struct resolv_look *look; /* NULL: a job that only lets go */
	int r;
};

/* ---- inotify watches ---- */

static void inotify_unref(struct inotify *inotify)
{
	if (--inotify->references > 0)
		return;
	fd_close(inotify->fd);
	free(inotify->held);
	free(inotify);
}

/* Where there is no memory nothing is held. */
static int hold(struct inotify *inotify, const struct resolv_hints *hints)
{
	struct held *held = reallocarray(inotify->held, inotify->held_count + hints->count, sizeof(*held));

	if (!held && hints->count)
		return -ENOMEM;
	inotify->held = held;
	for (size_t i = 0; i < hints->count; i++) {
		size_t at = 0;

		while (at < inotify->held_count && held[at].wd != hints->list[i].wd)
			at++;
		if (at == inotify->held_count)
			held[inotify->held_count++] = (struct held){ .wd = hints->list[i].wd };
		held[at].holders++;
	}
	return 0;
}

static void let_go(struct inotify *inotify, const struct resolv_hints *hints)
{
	for (size_t i = 0; i < hints->count; i++) {
		size_t at = 0;

		while (inotify->held[at].wd != hints->list[i].wd)
			at++;
		if (--inotify->held[at].holders > 0)
			continue;
		inotify_rm_watch(inotify->fd, hints->list[i].wd); /* may have gone with its file */
		inotify->held[at] = inotify->held[--inotify->held_count];
	}
}

/* ---- jobs ---- */

static void job_free(struct job *job)
{
	list_remove(&job->node);
	inotify_unref(job->inotify);
	resolv_hints_done(&job->held);
	if (job->look)
		resolv_look_done(job->look);
	free(job->look);
	free(job);
}

static void job_work(void *arg)
{
	struct job *job = arg;
	struct resolv_hints before = job->held;

	if (job->look) {
		job->r = resolv_look_run(job->look);
		if (job->r == 0)
			job->r = hold(job->inotify, &job->look->hints);
		if (job->r < 0)
			return;
		job->held = job->look->hints;
		job->look->hints = (struct resolv_hints){};
	} else {
		job->held = (struct resolv_hints){};
	}
	let_go(job->inotify, &before);
	resolv_hints_done(&before);
}

static void job_done(void *arg);

/* Takes the hints when it succeeds. */
static int job_submit(struct resolv_watches *all, struct resolv_hints *held, struct resolv_look *look, struct job **ret_job)
{
	struct job *job = malloc(sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	*job = (struct job){ .all = all, .inotify = all->inotify, .held = *held, .look = look };
	r = offload_submit(all->offload, job_work, job_done, job);
	if (r < 0) {
		free(job);
		return r;
	}
	all->inotify->references++;
	list_append(&all->jobs, &job->node);
	*held = (struct resolv_hints){};
	*ret_job = job;
	return 0;
}

/* Out of memory: inotify keeps watches that nobody waits for. */
static void release_hints(struct resolv_watches *all, struct resolv_hints *hints)
{
	struct job *job;

	if (hints->count > 0)
		job_submit(all, hints, NULL, &job);
	resolv_hints_done(hints);
}

/* ---- looking ---- */

static void look_at(struct resolv_watch *watch, uint64_t at_ns)
{
	loop_timer_arm(watch->timer, at_ns);
}

static void hurry(struct resolv_watch *watch)
{
	if (watch->job)
		watch->look_again = true;
	else if (!watch->hurried)
		look_at(watch, loop_now_ns(watch->all->loop) + SETTLE_NS);
	watch->hurried = true;
}

static int look_start(struct resolv_watch *watch)
{
	struct resolv_look *look = calloc(1, sizeof(*look));
	int r;

	if (!look)
		return -ENOMEM;
	memcpy(look->cgroup, watch->cgroup, strlen(watch->cgroup) + 1);
	look->netns_inode = watch->netns_inode;
	look->stand_in = !watch->seen;
	look->inotify_fd = watch->all->inotify->fd;
	r = job_submit(watch->all, &watch->hints, look, &watch->job);
	if (r < 0)
		free(look);
	else
		watch->job->watch = watch;
	return r;
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct resolv_watch *watch = arg;

	(void)timer;
	watch->hurried = false;
	if (look_start(watch) < 0)
		look_at(watch, loop_now_ns(watch->all->loop) + LOOK_NS);
}

static bool same(const struct resolv_found *a, const struct resolv_found *b)
{
	return !memcmp(a->conf.resolvers, b->conf.resolvers, sizeof(a->conf.resolvers)) && a->conf.count == b->conf.count &&
	       a->conf.left_out == b->conf.left_out && a->unseen == b->unseen && a->nscd == b->nscd && a->nss_resolve == b->nss_resolve;
}

/* Adds to `found` what has gone from the file not long ago. */
static void add_lingering(struct resolv_watch *watch, struct resolv_found *found)
{
	const uint64_t now_ns = loop_now_ns(watch->all->loop);
	const struct resolv_conf conf = found->conf;

	for (size_t i = 0; i < watch->last.count; i++) {
		if (resolv_conf_has(&conf, &watch->last.resolvers[i]))
			continue;
		for (size_t j = 0; j < RESOLVERS_MAX; j++)
			if (watch->lingering[j].until_ns == 0) {
				watch->lingering[j] = (struct lingering){ watch->last.resolvers[i], now_ns + LINGER_NS };
				break;
			}
	}
	watch->last = conf;
	for (size_t i = 0; i < RESOLVERS_MAX; i++) {
		struct lingering *l = &watch->lingering[i];

		if (l->until_ns <= now_ns || resolv_conf_has(&conf, &l->resolver))
			l->until_ns = 0;
		else if (found->conf.count < RESOLVERS_MAX)
			resolv_conf_add(&found->conf, &l->resolver);
	}
}

static void on_looked(struct resolv_watch *watch, struct job *job)
{
	struct resolv_found found = job->look->found;
	uint64_t wait_ns = LOOK_NS;

	watch->job = NULL;
	watch->hints = job->held;
	job->held = (struct resolv_hints){};
	if (job->r < 0)
		log_limited(LOG_LEVEL_WARN, "cannot look at a workload's resolv.conf", LOG_F("cgroup", LOG_STR(watch->cgroup)),
			    LOG_F("error", LOG_STR(strerror(-job->r))));
	if (job->look->unwatched > 0)
		log_limited(LOG_LEVEL_WARN, "inotify cannot watch a workload's resolv.conf: changes are seen within 2 s",
			    LOG_F("cgroup", LOG_STR(watch->cgroup)), LOG_F("missing", LOG_U64(job->look->unwatched)));
	if (watch->look_again)
		wait_ns = SETTLE_NS;
	watch->look_again = false;
	look_at(watch, loop_now_ns(watch->all->loop) + wait_ns);
	if (job->r < 0 || !job->look->any)
		return;
	watch->seen |= !job->look->stood_in;
	add_lingering(watch, &found);
	if (watch->told && same(&found, &watch->found))
		return;
	watch->told = true;
	watch->found = found;
	watch->fn(&watch->found, watch->arg); /* may free it */
}

static void job_done(void *arg)
{
	struct job *job = arg;

	if (job->watch)
		on_looked(job->watch, job);
	else if (job->all)
		release_hints(job->all, &job->held);
	job_free(job);
}

/* ---- events ---- */

static bool concerns(const struct resolv_watch *watch, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW || watch->job)
		return true;
	for (size_t i = 0; i < watch->hints.count; i++) {
		const struct resolv_hint *hint = &watch->hints.list[i];

		if (hint->wd == event->wd && (!hint->name || (event->len && !strcmp(hint->name, event->name))))
			return true;
	}
	return false;
}

static void on_readable(struct loop_io *io, uint32_t events, void *arg)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct resolv_watches *all = arg;
	const ssize_t length = read(all->inotify->fd, buffer, sizeof(buffer));

	(void)io;
	(void)events;
	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		at += (ssize_t)(sizeof(*event) + event->len);
		if (event->mask & IN_IGNORED) /* our own doing, or the end of a file that was told of */
			continue;
		list_for_each(it, &all->watches) {
			struct resolv_watch *watch = container_of(it, struct resolv_watch, node);

			if (concerns(watch, event))
				hurry(watch);
		}
	}
}

/* ---- life ---- */

int resolv_watches_new(struct loop *loop, struct offload *offload, struct resolv_watches **ret_watches)
{
	struct resolv_watches *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	*all = (struct resolv_watches){ .loop = loop, .offload = offload, .inotify = calloc(1, sizeof(*all->inotify)) };
	list_init(&all->watches);
	list_init(&all->jobs);
	if (!all->inotify) {
		free(all);
		return -ENOMEM;
	}
	all->inotify->references = 1;
	all->inotify->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	r = all->inotify->fd < 0 ? -errno : loop_io_add(loop, all->inotify->fd, EPOLLIN, on_readable, all, &all->io);
	if (r < 0) {
		resolv_watches_free(all);
		return r;
	}
	*ret_watches = all;
	return 0;
}

static void watch_free(struct resolv_watch *watch)
{
	list_remove(&watch->node);
	if (watch->job)
		watch->job->watch = NULL;
	resolv_hints_done(&watch->hints);
	loop_timer_free(watch->timer);
	free(watch);
}

struct resolv_watches *resolv_watches_free(struct resolv_watches *all)
{
	if (!all)
		return NULL;
	list_for_each_safe(it, &all->watches)
		watch_free(container_of(it, struct resolv_watch, node));
	list_for_each_safe(it, &all->jobs) {
		struct job *job = container_of(it, struct job, node);

		job->all = NULL;
		list_remove(&job->node);
	}
	loop_io_remove(all->io);
	inotify_unref(all->inotify);
	free(all);
	return NULL;
}

int resolv_watch_new(struct resolv_watches *all, const char *cgroup, uint64_t netns_inode, resolv_watch_fn *fn, void *arg,
		     struct resolv_watch **ret_watch)
{
	const size_t size = strlen(cgroup) + 1;
	struct resolv_watch *watch;
	int r;

	if (size > PATH_MAX)
		return -ENAMETOOLONG;
	watch = calloc(1, sizeof(*watch) + size);
	if (!watch)
		return -ENOMEM;
	watch->all = all;
	watch->netns_inode = netns_inode;
	watch->fn = fn;
	watch->arg = arg;
	memcpy(watch->cgroup, cgroup, size);
	r = loop_timer_new(all->loop, on_timer, watch, &watch->timer);
	if (r < 0) {
		free(watch);
		return r;
	}
	list_append(&all->watches, &watch->node);
	look_at(watch, loop_now_ns(all->loop));
	*ret_watch = watch;
	return 0;
}

struct resolv_watch *resolv_watch_free(struct resolv_watch *watch)
{
	if (!watch)
		return NULL;
	release_hints(watch->all, &watch->hints);
	watch_free(watch);
	return NULL;
}
