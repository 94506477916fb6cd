/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/patterns.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "base/cleanup.h"
#include "base/log.h"

/* A directory on the way to matches. */
struct watch {
	struct list node;
	int wd;
	char *path; /* below the mount, "" for the root of the hierarchy */
};

struct patterns {
	char *root;
	int fd;
	struct loop_io *io;
	struct list patterns, watches;
	pattern_match_fn *fn;
	void *arg;
};

/* ---- one pattern ---- */

int pattern_init(struct pattern *pattern, const char *text, struct error *err)
{
	char *at;

	*pattern = (struct pattern){ .text = strdup(text), .components_text = strdup(text) };
	list_init(&pattern->node);
	if (!pattern->text || !pattern->components_text)
		return error_set(err, -ENOMEM, "out of memory");
	at = pattern->components_text;
	for (char *component; (component = strsep(&at, "/"));) {
		if (!*component)
			return error_set(err, -EINVAL, "cgroup pattern '%s' has an empty component: it begins below the mount, "
					 "without '/'", text);
		if (!strcmp(component, ".") || !strcmp(component, ".."))
			return error_set(err, -EINVAL, "cgroup pattern '%s' must not contain '%s'", text, component);
		if (pattern->count == PATTERN_COMPONENTS_MAX)
			return error_set(err, -EINVAL, "cgroup pattern '%s' has more than %d components", text,
					 PATTERN_COMPONENTS_MAX);
		pattern->components[pattern->count++] = component;
	}
	return 0;
}

void pattern_done(struct pattern *pattern)
{
	free(pattern->text);
	free(pattern->node_name);
	free(pattern->zone);
	free(pattern->components_text);
}

enum pattern_match pattern_match(const struct pattern *pattern, const char *path)
{
	size_t depth = 0;

	while (*path) {
		const size_t length = strcspn(path, "/");
		char component[NAME_MAX + 1];

		if (depth == pattern->count || length > NAME_MAX)
			return PATTERN_NO;
		memcpy(component, path, length);
		component[length] = '\0';
		if (fnmatch(pattern->components[depth++], component, 0))
			return PATTERN_NO;
		path += length + (path[length] == '/');
	}
	return depth == pattern->count ? PATTERN_YES : PATTERN_ABOVE;
}

/* ---- directories ---- */

static void watch_free(struct patterns *all, struct watch *watch)
{
	list_remove(&watch->node);
	inotify_rm_watch(all->fd, watch->wd); /* the kernel keeps the watch of a removed cgroup otherwise */
	free(watch->path);
	free(watch);
}

static struct watch *watch_of(const struct patterns *all, int wd)
{
	list_for_each(it, &all->watches) {
		struct watch *watch = container_of(it, struct watch, node);

		if (watch->wd == wd)
			return watch;
	}
	return NULL;
}

static int watch_add(struct patterns *all, const char *directory, const char *path)
{
	int wd = inotify_add_watch(all->fd, directory, IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_DONT_FOLLOW);
	struct watch *watch;

	if (wd < 0)
		return -errno;
	if (watch_of(all, wd))
		return 0;
	watch = malloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	*watch = (struct watch){ .wd = wd, .path = strdup(path) };
	list_append(&all->watches, &watch->node);
	if (!watch->path) {
		watch_free(all, watch);
		return -ENOMEM;
	}
	return 0;
}

static void forget(struct patterns *all, const char *path)
{
	const size_t length = strlen(path);

	list_for_each_safe(it, &all->watches) {
		struct watch *watch = container_of(it, struct watch, node);

		if (!strncmp(watch->path, path, length) && (!watch->path[length] || watch->path[length] == '/'))
			watch_free(all, watch);
	}
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int visit(struct patterns *all, const char *path);

static int visit_child(struct patterns *all, const char *path, const char *name)
{
	_cleanup_free_ char *child = NULL;

	if (asprintf(&child, "%s%s%s", path, *path ? "/" : "", name) < 0) {
		child = NULL;
		return -ENOMEM;
	}
	return visit(all, child);
}

static int list_directory(struct patterns *all, const char *directory, const char *path)
{
	_cleanup_(cleanup_dir) DIR *dir = opendir(directory);
	const struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = visit_child(all, path, entry->d_name);
	return r;
}

/* Reports the cgroup if it matches, and looks below it if something there may. One that is gone already is no error. */
static int visit(struct patterns *all, const char *path)
{
	_cleanup_free_ char *directory = NULL;
	const struct pattern *found = NULL;
	bool above = false;
	int r;

	list_for_each(it, &all->patterns) {
		const struct pattern *pattern = container_of(it, struct pattern, node);
		enum pattern_match match = pattern_match(pattern, path);

		above |= match == PATTERN_ABOVE;
		if (match == PATTERN_YES && !found)
			found = pattern;
	}
	if (!found && !above)
		return 0;
	if (asprintf(&directory, "%s%s%s", all->root, *path ? "/" : "", path) < 0) {
		directory = NULL;
		return -ENOMEM;
	}
	if (found)
		all->fn(found, directory, all->arg);
	if (!above)
		return 0;
	r = watch_add(all, directory, path);
	if (r == 0)
		r = list_directory(all, directory, path);
	return r == -ENOENT || r == -ENODEV ? 0 : r;
}

static void report(const char *path, int r)
{
	if (r < 0)
		log_limited(LOG_LEVEL_ERROR, "cannot watch for cgroups that match a pattern", LOG_F("cgroup", LOG_STR(path)),
			    LOG_F("error", LOG_STR(strerror(-r))));
}

static void on_event(struct patterns *all, const struct inotify_event *event)
{
	_cleanup_free_ char *path = NULL;
	const struct watch *watch;

	if (event->mask & IN_Q_OVERFLOW) {
		list_for_each_safe(it, &all->watches)
			watch_free(all, container_of(it, struct watch, node));
		report("", visit(all, ""));
		return;
	}
	watch = watch_of(all, event->wd);
	if (!watch || !(event->mask & IN_ISDIR) || !event->len)
		return;
	if (asprintf(&path, "%s%s%s", watch->path, *watch->path ? "/" : "", event->name) < 0) {
		path = NULL;
		report(event->name, -ENOMEM);
		return;
	}
	if (event->mask & IN_DELETE)
		forget(all, path);
	else
		report(path, visit(all, path));
}

static void on_readable(struct loop_io *io, uint32_t events, void *arg)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct patterns *all = arg;
	ssize_t length = read(all->fd, buffer, sizeof(buffer));

	(void)io;
	(void)events;
	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		on_event(all, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

/* ---- all patterns ---- */

int patterns_new(struct loop *loop, const char *root, pattern_match_fn *fn, void *arg, struct patterns **ret_patterns)
{
	struct patterns *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	list_init(&all->patterns);
	list_init(&all->watches);
	all->fn = fn;
	all->arg = arg;
	all->root = strdup(root);
	all->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	r = all->fd < 0 ? -errno : !all->root ? -ENOMEM : loop_io_add(loop, all->fd, EPOLLIN, on_readable, all, &all->io);
	if (r < 0) {
		patterns_free(all);
		return r;
	}
	*ret_patterns = all;
	return 0;
}

static void pattern_free(struct pattern *pattern)
{
	list_remove(&pattern->node);
	pattern_done(pattern);
	free(pattern);
}

struct patterns *patterns_free(struct patterns *all)
{
	if (!all)
		return NULL;
	list_for_each_safe(it, &all->watches)
		watch_free(all, container_of(it, struct watch, node));
	list_for_each_safe(it, &all->patterns)
		pattern_free(container_of(it, struct pattern, node));
	loop_io_remove(all->io);
	fd_close(all->fd);
	free(all->root);
	free(all);
	return NULL;
}

int patterns_add(struct patterns *all, const char *text, const char *node_name, const char *zone, struct error *err)
{
	struct pattern *pattern = malloc(sizeof(*pattern));
	int r;

	if (!pattern)
		return error_set(err, -ENOMEM, "out of memory");
	r = pattern_init(pattern, text, err);
	if (r == 0) {
		pattern->node_name = strdup(node_name);
		pattern->zone = zone ? strdup(zone) : NULL;
		if (!pattern->node_name || (zone && !pattern->zone))
			r = error_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0) {
		pattern_free(pattern);
		return r;
	}
	list_append(&all->patterns, &pattern->node);
	r = visit(all, "");
	if (r < 0) {
		pattern_free(pattern);
		return error_set(err, r, "cannot watch for cgroups that match '%s': %s", text, strerror(-r));
	}
	return 0;
}

const struct pattern *patterns_find(const struct patterns *all, const char *text)
{
	list_for_each(it, &all->patterns) {
		const struct pattern *pattern = container_of(it, struct pattern, node);

		if (!strcmp(pattern->text, text))
			return pattern;
	}
	return NULL;
}
