/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"

struct life {
	struct list node;
	struct liveness *liveness;
	int events_fd; /* "cgroup.events" of this very cgroup, whatever comes by its name later */
	int events_watch;
	int parent_watch; /* one for all cgroups in that directory; -1: none */
	char *path;
	const char *name; /* its last component */
	bool due; /* an event came */
	life_fn *fn;
	void *arg;
};

struct liveness {
	int fd;
	struct loop_io *io;
	struct list lives;
};

static struct life *next_due(struct liveness *liveness)
{
	list_for_each(it, &liveness->lives) {
		struct life *life = container_of(it, struct life, node);

		if (life->due)
			return life;
	}
	return NULL;
}

static void mark_due(struct liveness *liveness, const struct inotify_event *event)
{
	list_for_each(it, &liveness->lives) {
		struct life *life = container_of(it, struct life, node);

		if (event->mask & IN_Q_OVERFLOW || event->wd == life->events_watch ||
		    (event->wd == life->parent_watch && event->len && !strcmp(event->name, life->name)))
			life->due = true;
	}
}

static void on_readable(struct loop_io *io, uint32_t events, void *arg)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct liveness *liveness = arg;
	ssize_t length = read(liveness->fd, buffer, sizeof(buffer));
	struct life *life;

	(void)io;
	(void)events;
	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		mark_due(liveness, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	while ((life = next_due(liveness))) { /* from the start each time: a callback may free any of them */
		life->due = false;
		life->fn(life_check(life), life->arg);
	}
}

int liveness_new(struct loop *loop, struct liveness **ret_liveness)
{
	struct liveness *liveness = calloc(1, sizeof(*liveness));
	int r;

	if (!liveness)
		return -ENOMEM;
	list_init(&liveness->lives);
	liveness->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	r = liveness->fd < 0 ? -errno : loop_io_add(loop, liveness->fd, EPOLLIN, on_readable, liveness, &liveness->io);
	if (r < 0) {
		liveness_free(liveness);
		return r;
	}
	*ret_liveness = liveness;
	return 0;
}

struct liveness *liveness_free(struct liveness *liveness)
{
	if (!liveness)
		return NULL;
	list_for_each_safe(it, &liveness->lives)
		life_free(container_of(it, struct life, node));
	loop_io_remove(liveness->io);
	fd_close(liveness->fd);
	free(liveness);
	return NULL;
}

static int watch(struct life *life)
{
	char link[64];
	int inotify_fd = life->liveness->fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", life->events_fd);
	life->events_watch = inotify_add_watch(inotify_fd, link, IN_MODIFY);
	if (life->events_watch < 0)
		return -errno;
	*strrchr(life->path, '/') = '\0';
	life->parent_watch = inotify_add_watch(inotify_fd, life->path, IN_DELETE | IN_ONLYDIR);
	return life->parent_watch < 0 ? -errno : 0;
}

int life_new(struct liveness *liveness, const char *path, uint64_t id, life_fn *fn, void *arg, struct life **ret_life)
{
	_cleanup_close_ int dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct life *life;
	struct stat st;
	int r;

	if (dir_fd < 0 || fstat(dir_fd, &st) < 0)
		return -errno;
	if (st.st_ino != id)
		return -ENOENT;
	life = malloc(sizeof(*life));
	if (!life)
		return -ENOMEM;
	*life = (struct life){ .liveness = liveness, .events_watch = -1, .parent_watch = -1, .fn = fn, .arg = arg };
	list_append(&liveness->lives, &life->node);
	life->path = strdup(path);
	life->name = life->path ? strrchr(life->path, '/') + 1 : NULL;
	life->events_fd = openat(dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = life->events_fd < 0 ? -errno : !life->path ? -ENOMEM : watch(life);
	if (r < 0) {
		life_free(life);
		return r;
	}
	*ret_life = life;
	return 0;
}

struct life *life_free(struct life *life)
{
	struct liveness *liveness;

	if (!life)
		return NULL;
	liveness = life->liveness;
	list_remove(&life->node);
	list_for_each(it, &liveness->lives) {
		const struct life *other = container_of(it, struct life, node);

		if (other->parent_watch == life->parent_watch)
			life->parent_watch = -1;
		if (other->events_watch == life->events_watch)
			life->events_watch = -1;
	}
	if (life->events_watch >= 0)
		inotify_rm_watch(liveness->fd, life->events_watch);
	if (life->parent_watch >= 0)
		inotify_rm_watch(liveness->fd, life->parent_watch);
	fd_close(life->events_fd);
	free(life->path);
	free(life);
	return NULL;
}

int life_check(const struct life *life)
{
	return cgroup_populated(life->events_fd);
}
