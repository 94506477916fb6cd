/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define RUN_ROOT "/run/weft"
#define LOCK_TRIES 100

struct lock_paths {
	char directory[128];
	char file[160];
};

static struct lock_paths lock_paths(const char *instance)
{
	struct lock_paths p;

	snprintf(p.directory, sizeof(p.directory), RUN_ROOT "/%s", instance);
	snprintf(p.file, sizeof(p.file), "%s/loader.lock", p.directory);
	return p;
}

/* An uninstall removes the file it holds the lock of: who waited for it at the door has the lock of nothing. */
static bool lock_is_at(int fd, const char *path)
{
	struct stat held, there;

	return fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

int lock_take(const char *instance, int *ret_fd, struct error *err)
{
	const struct lock_paths p = lock_paths(instance);

	if (geteuid() != 0)
		return error_set(err, -EPERM, "the kernel part needs root");
	for (int i = 0; i < LOCK_TRIES; i++) {
		_cleanup_close_ int fd = -1;

		if ((mkdir(RUN_ROOT, 0755) < 0 && errno != EEXIST) || (mkdir(p.directory, 0755) < 0 && errno != EEXIST))
			return error_set(err, -errno, "cannot make the directory '%s': %m", p.directory);
		fd = open(p.file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 && errno == ENOENT)
			continue; /* an uninstall removed the directory just now */
		if (fd < 0)
			return error_set(err, -errno, "cannot open '%s': %m", p.file);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
					 "another weft-loader is at work on instance '%s' ('%s' is locked)", instance, p.file);
		if (!lock_is_at(fd, p.file))
			continue;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	return error_set(err, -EBUSY, "'%s' is removed again and again", p.file);
}

int lock_take_agent(const char *instance, int *ret_fd, struct error *err)
{
	const struct lock_paths p = lock_paths(instance);
	_cleanup_close_ int fd = -1;
	char path[160];

	snprintf(path, sizeof(path), "%s/weftd.lock", p.directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, -errno, "cannot open '%s': %m", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
				 "weftd of instance '%s' runs, and writes to these maps: it has to be stopped first", instance);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* What a program that runs no more left, "PROGRAM.something": nobody holds its lock. */
static void program_files_remove(const char *directory, const char *program)
{
	const size_t length = strlen(program);
	_cleanup_close_ int fd = -1;
	DIR *dir;
	const struct dirent *entry;
	char path[160];

	snprintf(path, sizeof(path), "%s/%s.lock", directory, program);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	dir = opendir(directory);
	while (dir && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, program, length) && entry->d_name[length] == '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

void lock_remove(const char *instance)
{
	const struct lock_paths p = lock_paths(instance);

	program_files_remove(p.directory, "weftd");
	program_files_remove(p.directory, "proxy"); /* one that runs looks each half second, ends, and takes its own away */
	unlink(p.file);
	rmdir(p.directory);
	rmdir(RUN_ROOT);
}
