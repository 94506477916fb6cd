/* SPDX-License-Identifier: Apache-2.0 */
/* The watch of a directory: by inotify, on each directory of the tree, and on those on the way to it. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "agent/spec/directory_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define QUIET_NS (250 * NSEC_PER_USEC) /* between the files of one copy; delays each change by as much */
#define LATEST_NS (10 * NSEC_PER_MSEC)

/* A directory whose events are asked for: one of the tree, where all count, or one on the way to it, where only those of the
 * next step do. */
struct watched {
	int wd;
	char *step; /* NULL: all */
	char *path; /* of one in the tree, as files in it are named; NULL: several, or a step as well */
	bool links; /* something visible in it is a symbolic link, whose target hidden names may be the way to */
	bool seen; /* by the scan at hand */
};

struct directory_watch {
	struct directory *directory;
	struct loop *loop;
	char *path; /* the directory's, absolute */
	directory_changed_fn *fn;
	void *arg;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	uint64_t latest_ns; /* of the change that waits; 0: none does */
	struct watched *watched;
	size_t count, capacity;
};

static struct watched *watched_find(struct directory_watch *w, int wd)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->watched[i].wd == wd)
			return &w->watched[i];
	return NULL;
}

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int watched_append(struct directory_watch *w, int wd, struct watched **ret_entry)
{
	if (w->count == w->capacity) {
		const size_t capacity = MAX(2 * w->capacity, 16u);
		struct watched *grown = reallocarray(w->watched, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->watched = grown;
		w->capacity = capacity;
	}
	*ret_entry = &w->watched[w->count++];
	**ret_entry = (struct watched){ .wd = wd };
	return 0;
}

static void watched_drop(struct directory_watch *w, struct watched *entry)
{
	free(entry->step);
	free(entry->path);
	*entry = w->watched[--w->count];
}

/* Asks for the events of one directory: of the tree, where `step` is NULL, else for this step. Returns 1, or 0 where that was done
 * by this scan already or the directory is gone: then whoever watches its parent is told. */
static int watch_one(struct directory_watch *w, const char *path, const char *step, struct watched **ret_entry, struct error *err)
{
	/* No IN_MODIFY: half-written files are for their writers. IN_ATTRIB: a file may become readable. */
	const uint32_t events = IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF;
	const int wd = inotify_add_watch(w->fd, path, events | IN_ONLYDIR);
	struct watched *entry;
	bool all, again;

	if (wd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP))
		return 0;
	if (wd < 0)
		return error_set(err, -errno, "cannot watch '%s': %s", path,
				 errno == ENOSPC ? "too many watches, see /proc/sys/fs/inotify/max_user_watches" : strerror(errno));
	entry = watched_find(w, wd);
	if (!entry && watched_append(w, wd, &entry) < 0)
		return error_set(err, -ENOMEM, "no memory to watch '%s'", path);
	again = entry->seen;
	free(entry->path);
	entry->path = NULL;
	if (again && !entry->step)
		return 0;
	/* By way of links one directory may be two steps, or a step and in the tree: then everything in it counts. */
	all = !step || (again && strcmp(entry->step, step) != 0);
	free(entry->step);
	entry->step = all ? NULL : strdup(step);
	if (!step && !again && asprintf(&entry->path, "%s%s", w->directory->path, path + strlen(w->path)) < 0)
		entry->path = NULL;
	entry->links = false;
	entry->seen = true;
	*ret_entry = entry;
	return 1;
}

/* The tree below; its faults are directory_read()'s to report. Each directory is watched before it is listed, so that what
 * appears meanwhile is either listed or told. */
static int watch_below(struct directory_watch *w, const char *directory, size_t depth, struct error *err)
{
	_cleanup_(cleanup_closedir) DIR *dir = NULL;
	const struct dirent *entry;
	struct watched *watched;
	char path[PATH_MAX];
	struct stat st;
	int r, wd;

	if (depth > DIRECTORY_DEPTH)
		return 0;
	r = watch_one(w, directory, NULL, &watched, err);
	if (r <= 0)
		return r;
	wd = watched->wd;
	dir = opendir(directory);
	while (dir && r >= 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || entry->d_type == DT_REG || directory_join(path, directory, entry->d_name, NULL) < 0)
			continue;
		watched = watched_find(w, wd); /* they move as there are more */
		watched->links |= lstat(path, &st) < 0 || S_ISLNK(st.st_mode);
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			r = watch_below(w, path, depth + 1, err);
	}
	return MIN(r, 0);
}

/* "/", "/etc", "/etc/weft": each for the name that follows. */
static int watch_steps(struct directory_watch *w, struct error *err)
{
	for (const char *slash = w->path; *slash; slash = strchrnul(slash + 1, '/')) {
		const size_t step_length = strcspn(slash + 1, "/");
		struct watched *watched;
		_cleanup_free_ char *path = strndup(w->path, MAX(slash - w->path, 1));
		_cleanup_free_ char *step = strndup(slash + 1, step_length);
		int r;

		if (!path || !step)
			return error_set(err, -ENOMEM, "no memory to watch '%s'", w->path);
		r = step_length > 0 ? watch_one(w, path, step, &watched, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* Brings the watches in line with what is there. */
static int watch_scan(struct directory_watch *w, struct error *err)
{
	int r;

	for (size_t i = 0; i < w->count; i++)
		w->watched[i].seen = false;
	r = watch_steps(w, err);
	if (r >= 0)
		r = watch_below(w, w->path, 0, err);
	if (r < 0)
		return r;
	for (size_t i = w->count; i-- > 0;) {
		if (w->watched[i].seen)
			continue;
		inotify_rm_watch(w->fd, w->watched[i].wd); /* -EINVAL where the directory is gone: so is the watch */
		watched_drop(w, &w->watched[i]);
	}
	return 0;
}

static bool walk(struct directory_watch *w)
{
	w->directory->walk_needed = true;
	return true;
}

static bool file(struct directory_watch *w, const char *path)
{
	return directory_file_changed(w->directory, path) < 0 ? walk(w) : true;
}

/* Something by this name in a directory of the tree. Whether it is a change. */
static bool take_name(struct directory_watch *w, const struct watched *entry, uint32_t mask, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (mask & IN_ISDIR || directory_join(path, entry->path, name, NULL) < 0)
		return walk(w);
	if (lstat(path, &st) < 0 ? entry->links : S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode))
		return walk(w);
	if (name[0] == '.' && entry->links)
		return walk(w);
	if (name[0] == '.' || !directory_is_json(name))
		return false;
	/* One that was just made is told again when its writer closes it. */
	if (mask & IN_CREATE && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_size == 0)
		return false;
	return file(w, path);
}

/* Whether it is a change; notes what of. */
static bool take_event(struct directory_watch *w, const struct inotify_event *event)
{
	struct watched *entry;

	if (event->mask & IN_Q_OVERFLOW)
		return walk(w);
	entry = watched_find(w, event->wd);
	if (!entry)
		return false; /* told before its watch was removed */
	if (event->mask & IN_IGNORED) {
		watched_drop(w, entry);
		return walk(w);
	}
	if (entry->step && event->len && strcmp(entry->step, event->name) != 0)
		return false;
	return entry->path && event->len ? take_name(w, entry, event->mask, event->name) : walk(w);
}

static void on_events(struct loop_io *io, uint32_t events, void *arg)
{
	struct directory_watch *w = arg;
	char buffer[64 * 1024] __attribute__((aligned(__alignof__(struct inotify_event))));
	const uint64_t now_ns = time_now_ns();
	bool changed = false;
	ssize_t n;

	(void)io;
	(void)events;
	while ((n = read(w->fd, buffer, sizeof(buffer))) > 0) {
		for (const char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event = (const void *)at;

			changed |= take_event(w, event);
			at += sizeof(*event) + event->len;
		}
	}
	if (!changed)
		return;
	if (w->latest_ns == 0)
		w->latest_ns = now_ns + LATEST_NS;
	loop_timer_arm(w->timer, MIN(now_ns + QUIET_NS, w->latest_ns));
}

static void on_quiet(struct loop_timer *timer, void *arg)
{
	struct directory_watch *w = arg;
	struct error err = {};

	(void)timer;
	w->latest_ns = 0;
	if (w->directory->walk_needed && watch_scan(w, &err) < 0)
		log_warn("changes of the configuration may be missed", LOG_F("directory", LOG_STR(w->path)),
			 LOG_F("error", LOG_STR(err.message)));
	w->fn(w->arg); /* may free `w` */
}

static void cleanup_watch(struct directory_watch **watch)
{
	directory_watch_free(*watch);
}

/* Without links resolved: they are steps as well. */
static int absolute(const char *path, char **ret_path)
{
	_cleanup_free_ char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

	if (path[0] != '/' && !cwd)
		return -errno;
	return asprintf(ret_path, "%s%s%s", cwd ?: "", cwd ? "/" : "", path) < 0 ? -ENOMEM : 0;
}

int directory_watch(struct directory *d, struct loop *loop, directory_changed_fn *fn, void *arg, struct error *err)
{
	_cleanup_(cleanup_watch) struct directory_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return error_set(err, -ENOMEM, "no memory to watch '%s'", d->path);
	*w = (struct directory_watch){
		.directory = d, .loop = loop, .fn = fn, .arg = arg, .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
	};
	if (w->fd < 0)
		return error_set(err, -errno, "cannot watch '%s': inotify: %m", d->path);
	r = absolute(d->path, &w->path);
	if (r >= 0)
		r = loop_io_add(loop, w->fd, EPOLLIN, on_events, w, &w->io);
	if (r >= 0)
		r = loop_timer_new(loop, on_quiet, w, &w->timer);
	if (r < 0)
		return error_set(err, r, "cannot watch '%s': %s", d->path, strerror(-r));
	r = watch_scan(w, err);
	if (r < 0)
		return r;
	d->watch = TAKE_PTR(w);
	return 0;
}

struct directory_watch *directory_watch_free(struct directory_watch *w)
{
	if (!w)
		return NULL;
	loop_io_remove(w->io);
	loop_timer_free(w->timer);
	fd_close(w->fd);
	while (w->count > 0)
		watched_drop(w, &w->watched[w->count - 1]);
	free(w->watched);
	free(w->path);
	free(w);
	return NULL;
}
