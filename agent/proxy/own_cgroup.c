/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/own_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"
#include "base/log.h"

#define ENTER_TRIES 10

static int procs_open(const char *cgroup, int flags)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/cgroup.procs", cgroup) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_alone_in(const char *cgroup)
{
	_cleanup_close_ int fd = procs_open(cgroup, O_RDONLY);
	char text[64], own[32];
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text));

	snprintf(own, sizeof(own), "%d\n", getpid());
	return length == (ssize_t)strlen(own) && !memcmp(text, own, (size_t)length);
}

static int move_to(const char *cgroup)
{
	_cleanup_close_ int fd = procs_open(cgroup, O_WRONLY);

	if (fd < 0)
		return fd;
	return write(fd, "0", 1) < 0 ? -errno : 0; /* the process that writes, with all its threads */
}

/* The cgroup that this process is in, as a directory. */
static int path_now(char *buffer, size_t size, struct error *err)
{
	char root[PATH_MAX], below[PATH_MAX];
	int r = cgroup_root(root, sizeof(root), err);

	if (r < 0)
		return r;
	r = cgroup_of_pid(getpid(), below, sizeof(below));
	if (r < 0)
		return error_set(err, r, "cannot tell the cgroup of this process: %s", strerror(-r));
	if (snprintf(buffer, size, "%s%s", root, strcmp(below, "/") ? below : "") >= (int)size)
		return error_set(err, -ENAMETOOLONG, "the path of the cgroup '%s' is too long", below);
	return 0;
}

/* Whether the cgroup is one that a weftd, or another one of us, made; then the path becomes that of the one it is in. */
static bool strip_made(char *cgroup, const char *program, const char *instance)
{
	const char *const programs[] = { "weftd", program };
	char *last = strrchr(cgroup, '/');

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		char name[64];

		snprintf(name, sizeof(name), "/%s-%s", programs[i], instance);
		if (strcmp(last, name))
			continue;
		*last = '\0';
		return true;
	}
	return false;
}

static int path_below(const char *parent, const char *program, const char *instance, char *path, size_t size, struct error *err)
{
	if (snprintf(path, size, "%s/%s-%s", parent, program, instance) >= (int)size)
		return error_set(err, -ENAMETOOLONG, "the path of a cgroup below '%s' is too long", parent);
	return 0;
}

static int make(const char *path, struct error *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_set(err, -errno, "cannot make the cgroup '%s': %m", path);
	return 0;
}

static int enter(const char *path, struct error *err)
{
	int r = -ENOENT;

	for (int i = 0; i < ENTER_TRIES && (r == -ENOENT || r == -ENODEV); i++) { /* one that ends just now removes it */
		r = make(path, err);
		if (r < 0)
			return r;
		r = move_to(path);
	}
	return r < 0 ? error_set(err, r, "cannot enter the cgroup '%s': %s", path, strerror(-r)) : 0;
}

int own_cgroup_for(const char *program, const char *instance, int *ret_fd, struct error *err)
{
	char parent[PATH_MAX], path[PATH_MAX];
	int fd, r = path_now(parent, sizeof(parent), err);

	if (r == 0) {
		strip_made(parent, program, instance);
		r = path_below(parent, program, instance, path, sizeof(path), err);
	}
	if (r == 0)
		r = make(path, err);
	if (r < 0)
		return r;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "cannot open the cgroup '%s': %m", path);
	*ret_fd = fd;
	return 0;
}

int own_cgroup_enter(const char *program, const char *instance, struct own_cgroup *ret_cgroup, struct error *err)
{
	struct own_cgroup cgroup = {};
	char now[PATH_MAX], parent[PATH_MAX];
	int r = path_now(now, sizeof(now), err);

	if (r < 0)
		return r;
	memcpy(parent, now, sizeof(parent));
	memcpy(cgroup.path, now, sizeof(cgroup.path));
	if (strip_made(parent, program, instance) || !is_alone_in(now)) {
		memcpy(cgroup.parent, parent, sizeof(cgroup.parent));
		r = path_below(parent, program, instance, cgroup.path, sizeof(cgroup.path), err);
		if (r == 0 && strcmp(cgroup.path, now)) /* else it began there */
			r = enter(cgroup.path, err);
	}
	if (r < 0)
		return r;
	r = cgroup_id(cgroup.path, &cgroup.id);
	if (r < 0) {
		own_cgroup_leave(&cgroup);
		return error_set(err, r, "cannot inspect the cgroup '%s': %s", cgroup.path, strerror(-r));
	}
	*ret_cgroup = cgroup;
	return 0;
}

void own_cgroup_leave(const struct own_cgroup *cgroup)
{
	int r;

	if (!cgroup->parent[0])
		return;
	r = move_to(cgroup->parent);
	if (r == 0 && rmdir(cgroup->path) < 0 && errno != ENOENT && errno != EBUSY)
		r = -errno;
	if (r < 0)
		log_warn("the cgroup of this process stays", LOG_F("cgroup", LOG_STR(cgroup->path)), LOG_F("error", LOG_STR(strerror(-r))));
}
