/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec/directory.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define QUIET_NS (2 * NSEC_PER_MSEC) /* between the files of one copy; every further ms delays each change by as much */
#define LATEST_NS (100 * NSEC_PER_MSEC)

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int join(char path[PATH_MAX], const char *directory, const char *name, struct error *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX)
		return 0;
	return error_set(err, -ENAMETOOLONG, "the path of '%s' is too long", name);
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

struct names {
	char **list;
	int count;
};

static void cleanup_names(struct names *names)
{
	for (int i = 0; i < names->count; i++)
		free(names->list[i]);
	free(names->list);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* By bytes: which file of two that define one resource is called the second must not depend on the locale. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_names(const char *path, struct names *ret_names, struct error *err)
{
	struct dirent **entries = NULL;
	struct names names = {};
	const int count = scandir(path, &entries, is_visible, compare_entries);
	bool whole = true;

	if (count < 0)
		return error_set(err, -errno, "cannot read directory '%s': %m", path);
	names.list = calloc((size_t)count + 1, sizeof(*names.list));
	for (int i = 0; i < count; i++) {
		if (names.list)
			names.list[names.count++] = strdup(entries[i]->d_name);
		whole &= names.list && names.list[i];
		free(entries[i]);
	}
	free(entries);
	if (!whole || !names.list) {
		cleanup_names(&names);
		return error_set(err, -ENOMEM, "no memory for the names in '%s'", path);
	}
	*ret_names = names;
	return 0;
}

bool directory_is_json(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && strcmp(dot, ".json") == 0;
}

static int each_below(const char *directory, size_t depth, directory_file_fn *fn, void *arg, struct error *err)
{
	_cleanup_(cleanup_names) struct names names = {};
	char path[PATH_MAX];
	struct stat st;
	int r;

	if (depth > DIRECTORY_DEPTH)
		return error_set(err, -ELOOP, "'%s' is more than %d directories deep", directory, DIRECTORY_DEPTH);
	r = list_names(directory, &names, err);
	for (int i = 0; i < names.count && r >= 0; i++) {
		r = join(path, directory, names.list[i], err);
		if (r < 0)
			return r;
		/* What cannot be looked at and is not meant for us does not stop the rest. */
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			r = each_below(path, depth + 1, fn, arg, err);
		else
			r = fn(path, arg, err);
	}
	return r;
}

int directory_each(const char *path, directory_file_fn *fn, void *arg, struct error *err)
{
	return each_below(path, 0, fn, arg, err);
}

static int read_file(const char *path, void *arg, struct error *err)
{
	struct resources *set = arg;
	_cleanup_json_ json_t *document = NULL;
	int r;

	if (!directory_is_json(path))
		return 0;
	r = json_parse_file(path, &document, err);
	if (r < 0)
		return r;
	r = resources_add_json(set, document, path, err);
	if (r < 0)
		error_prefix(err, "'%s'", path);
	return r;
}

int directory_read(const char *path, struct resources *ret_set, struct error *err)
{
	_cleanup_(resources_done) struct resources set;
	int r;

	resources_init(&set);
	r = directory_each(path, read_file, &set, err);
	if (r < 0)
		return r;
	r = resources_check(&set, err);
	if (r < 0)
		return r;
	resources_move(ret_set, &set);
	return 0;
}

/* --- watching ---------------------------------------------------------------------------------------------------------- */

/* A directory whose events are asked for: one of the tree, where all count, or one on the way to it, where only those of the
 * next step do. */
struct watched {
	int wd;
	char *step; /* NULL: all */
	bool seen; /* by the scan at hand */
};

struct directory_watch {
	struct loop *loop;
	char *path; /* absolute */
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
	*entry = w->watched[--w->count];
}

/* Asks for the events of one directory, `step` NULL for all of them. Returns 1, or 0 where that was done by this scan already or
 * the directory is gone: then whoever watches its parent is told. */
static int watch_one(struct directory_watch *w, const char *path, const char *step, struct error *err)
{
	/* No IN_MODIFY: half-written files are for their writers. IN_ATTRIB: a file may become readable. */
	const uint32_t events = IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF;
	const int wd = inotify_add_watch(w->fd, path, events | IN_ONLYDIR);
	struct watched *entry;
	bool all;

	if (wd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP))
		return 0;
	if (wd < 0)
		return error_set(err, -errno, "cannot watch '%s': %s", path,
				 errno == ENOSPC ? "too many watches, see /proc/sys/fs/inotify/max_user_watches" : strerror(errno));
	entry = watched_find(w, wd);
	if (!entry && watched_append(w, wd, &entry) < 0)
		return error_set(err, -ENOMEM, "no memory to watch '%s'", path);
	if (entry->seen && !entry->step)
		return 0;
	/* By way of links one directory may be two steps, or a step and in the tree: then everything in it counts. */
	all = !step || (entry->seen && strcmp(entry->step, step) != 0);
	free(entry->step);
	entry->step = all ? NULL : strdup(step);
	entry->seen = true;
	return 1;
}

/* The tree below; its faults are directory_read()'s to report. Each directory is watched before it is listed, so that what
 * appears meanwhile is either listed or told. */
static int watch_below(struct directory_watch *w, const char *directory, size_t depth, struct error *err)
{
	_cleanup_(cleanup_closedir) DIR *dir = NULL;
	const struct dirent *entry;
	char path[PATH_MAX];
	struct stat st;
	int r;

	if (depth > DIRECTORY_DEPTH)
		return 0;
	r = watch_one(w, directory, NULL, err);
	if (r <= 0)
		return r;
	dir = opendir(directory);
	while (dir && r >= 0 && (entry = readdir(dir))) {
		if (!is_visible(entry) || entry->d_type == DT_REG || join(path, directory, entry->d_name, NULL) < 0)
			continue;
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
		_cleanup_free_ char *path = strndup(w->path, MAX(slash - w->path, 1));
		_cleanup_free_ char *step = strndup(slash + 1, step_length);
		int r;

		if (!path || !step)
			return error_set(err, -ENOMEM, "no memory to watch '%s'", w->path);
		r = step_length > 0 ? watch_one(w, path, step, err) : 0;
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

static bool event_counts(struct directory_watch *w, const struct inotify_event *event)
{
	struct watched *entry;

	if (event->mask & IN_Q_OVERFLOW)
		return true;
	entry = watched_find(w, event->wd);
	if (!entry)
		return false; /* told before its watch was removed */
	if (event->mask & IN_IGNORED) {
		watched_drop(w, entry);
		return true;
	}
	return !entry->step || event->len == 0 || strcmp(entry->step, event->name) == 0;
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

			changed |= event_counts(w, event);
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
	if (watch_scan(w, &err) < 0)
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

int directory_watch_new(struct loop *loop, const char *path, directory_changed_fn *fn, void *arg,
			struct directory_watch **ret_watch, struct error *err)
{
	_cleanup_(cleanup_watch) struct directory_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return error_set(err, -ENOMEM, "no memory to watch '%s'", path);
	*w = (struct directory_watch){ .loop = loop, .fn = fn, .arg = arg, .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC) };
	if (w->fd < 0)
		return error_set(err, -errno, "cannot watch '%s': inotify: %m", path);
	r = absolute(path, &w->path);
	if (r >= 0)
		r = loop_io_add(loop, w->fd, EPOLLIN, on_events, w, &w->io);
	if (r >= 0)
		r = loop_timer_new(loop, on_quiet, w, &w->timer);
	if (r < 0)
		return error_set(err, r, "cannot watch '%s': %s", path, strerror(-r));
	r = watch_scan(w, err);
	if (r < 0)
		return r;
	*ret_watch = TAKE_PTR(w);
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
