/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"

int cgroup_id(const char *path, uint64_t *ret_id)
{
	struct statfs fs;
	struct stat st;

	if (stat(path, &st) < 0 || statfs(path, &fs) < 0)
		return -errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return -EINVAL;
	*ret_id = st.st_ino;
	return 0;
}

int cgroup_depth(const char *root, const char *path)
{
	size_t prefix = strlen(root);
	int depth = 0;

	while (prefix > 0 && root[prefix - 1] == '/')
		prefix--;
	if (strncmp(path, root, prefix) || (path[prefix] && path[prefix] != '/'))
		return -EINVAL;
	for (const char *c = path + prefix; *c; c++)
		if (c[0] == '/' && c[1] && c[1] != '/')
			depth++;
	return depth;
}

int cgroup_parse(const char *text, char *buffer, size_t size)
{
	/* "0::/a/b": hierarchy 0 without controllers is cgroup2 (cgroup-v2.rst, Processes); the v1 lines have other
	 * numbers. */
	for (const char *line = text; *line;) {
		size_t length = strcspn(line, "\n");

		if (!strncmp(line, "0::/", 4)) {
			const size_t path_length = length - 3;

			if (path_length >= size)
				return -ENAMETOOLONG;
			memcpy(buffer, line + 3, path_length);
			buffer[path_length] = '\0';
			return 0;
		}
		line += length + (line[length] == '\n');
	}
	return -ENOENT;
}

int cgroup_of_pid(int pid, char *buffer, size_t size)
{
	char path[32], text[8192]; /* a line for each hierarchy; a path has at most 4096 bytes */
	_cleanup_close_ int fd = -1;
	size_t length = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)n;
	if (n < 0)
		return errno == ESRCH ? -ENOENT : -errno;
	if (length == sizeof(text) - 1)
		return -ENAMETOOLONG;
	text[length] = '\0';
	return cgroup_parse(text, buffer, size);
}

int cgroup_populated(int events_fd)
{
	char text[256];
	ssize_t length = pread(events_fd, text, sizeof(text) - 1, 0);
	const char *line;

	if (length < 0)
		return -errno;
	text[length] = '\0';
	line = strstr(text, "populated ");
	return line ? line[strlen("populated ")] == '1' : -EPROTO;
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int visit_processes(int dir_fd, const struct cgroup_visitor *visitor)
{
	_cleanup_close_ int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	int pid, r = 0;

	if (!file)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	fd = -1;
	while (r >= 0 && fscanf(file, "%d", &pid) == 1)
		r = visitor->process(pid, visitor->arg);
	return r;
}

/* Takes `dir_fd`. */
static int visit(int dir_fd, const struct cgroup_visitor *visitor)
{
	_cleanup_close_ int fd = dir_fd;
	_cleanup_(cleanup_dir) DIR *dir = fdopendir(fd);
	const struct dirent *entry;
	struct stat st;
	int r = 0;

	if (!dir)
		return -errno;
	fd = -1;
	if (fstat(dirfd(dir), &st) < 0)
		return -errno;
	if (visitor->cgroup)
		r = visitor->cgroup(st.st_ino, visitor->arg);
	if (r >= 0)
		r = visit_processes(dirfd(dir), visitor);
	while (r >= 0 && (entry = readdir(dir))) {
		int child_fd;

		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		child_fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (child_fd >= 0)
			r = visit(child_fd, visitor);
	}
	return r < 0 ? r : 0;
}

int cgroup_visit(const char *path, const struct cgroup_visitor *visitor)
{
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : visit(fd, visitor);
}

int cgroup_remove(const char *path)
{
	_cleanup_(cleanup_dir) DIR *dir = opendir(path);
	const struct dirent *entry;
	int r;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *child = NULL;

		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (asprintf(&child, "%s/%s", path, entry->d_name) < 0) {
			child = NULL;
			return -ENOMEM;
		}
		r = cgroup_remove(child);
		if (r < 0)
			return r;
	}
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}
