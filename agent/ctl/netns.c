/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "agent/ctl/command.h"
#include "base/cleanup.h"

int ctl_netns_path(const char *name, char *buffer, size_t size, struct error *err)
{
	if (!*name || (size_t)snprintf(buffer, size, "%s%s", strchr(name, '/') ? "" : "/run/netns/", name) >= size)
		return error_set_field(err, -EINVAL, "--netns", "'%s' is no name or path of a namespace", name);
	return 0;
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* "blue", "/run/netns/blue" -> "blue"; NULL: a namespace without a name. */
static const char *name_of(const char *path)
{
	static const char *const directories[] = { "/run/netns/", "/var/run/netns/" };

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (!strncmp(path, directories[i], strlen(directories[i])))
			path += strlen(directories[i]);
	return strchr(path, '/') ? NULL : path;
}

static int mount_over_etc(const char *directory, const char *name, struct error *err)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct error missing = {};

	if (snprintf(from, sizeof(from), "%s/%s", directory, name) >= (int)sizeof(from))
		return error_set_field(err, -ENAMETOOLONG, "--netns", "the path '%s/%s' is too long", directory, name);
	snprintf(to, sizeof(to), "/etc/%s", name);
	if (mount(from, to, NULL, MS_BIND, NULL) == 0)
		return 0;
	if (errno != ENOENT)
		return error_set_field(err, -errno, "--netns", "cannot mount '%s' over '%s': %m", from, to);
	error_set(&missing, -ENOENT, "'%s' is left out: there is no '%s' that it could lie over", from, to);
	ctl_fail(&missing);
	return 0;
}

static int take_etc(const char *name, struct error *err)
{
	char path[PATH_MAX];
	_cleanup_(cleanup_dir) DIR *dir = NULL;
	const struct dirent *entry;
	int r = 0;

	if (snprintf(path, sizeof(path), "/etc/netns/%s", name) >= (int)sizeof(path))
		return 0;
	dir = opendir(path);
	if (!dir && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!dir)
		return error_set_field(err, -errno, "--netns", "cannot read '%s': %m", path);
	/* What is mounted outside later appears inside as well, but not the other way round. */
	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return error_set_field(err, -errno, "--netns", "cannot make a mount namespace for '%s': %m", path);
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = mount_over_etc(path, entry->d_name, err);
	return r;
}

int ctl_netns_enter(const char *name, struct error *err)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r = ctl_netns_path(name, path, sizeof(path), err);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_field(err, -errno, "--netns", "cannot open '%s': %m", path);
	if (setns(fd, CLONE_NEWNET) < 0)
		return error_set_field(err, -errno, "--netns", "cannot enter '%s': %m", path);
	name = name_of(name);
	return name ? take_etc(name, err) : 0;
}
