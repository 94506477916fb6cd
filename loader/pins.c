/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int pin_path(char path[PIN_PATH_BYTES], const char *directory, const char *prefix, const char *name)
{
	return (size_t)snprintf(path, PIN_PATH_BYTES, "%s/%s%s", directory, prefix, name) < PIN_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

int pin_open(const char *directory, const char *prefix, const char *name)
{
	char path[PIN_PATH_BYTES];
	int fd;

	if (pin_path(path, directory, prefix, name) < 0)
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

bool pin_exists(const char *directory, const char *prefix, const char *name)
{
	char path[PIN_PATH_BYTES];

	return pin_path(path, directory, prefix, name) == 0 && access(path, F_OK) == 0;
}

bool pin_is_link(const char *directory, const char *name)
{
	_cleanup_close_ int fd = pin_open(directory, "", name);
	char path[64], target[64];
	ssize_t length;

	if (fd < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	return length > 0 && (target[length] = '\0', strstr(target, "bpf_link") || strstr(target, "bpf-link"));
}

uint32_t map_id(int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

int pin_make(int fd, const char *directory, const char *prefix, const char *name, struct error *err)
{
	char path[PIN_PATH_BYTES];

	if (pin_path(path, directory, prefix, name) < 0 || bpf_obj_pin(fd, path) < 0)
		return error_set(err, -errno, "cannot pin '%s/%s%s': %m", directory, prefix, name);
	return 0;
}

int pin_each(const char *directory, pin_fn *fn, void *arg)
{
	struct dirent **entries = NULL;
	const int count = scandir(directory, &entries, NULL, alphasort);
	int r = count < 0 ? -errno : 0;

	for (int i = 0; i < count; i++) {
		if (r >= 0 && entries[i]->d_name[0] != '.')
			r = fn(directory, entries[i]->d_name, arg);
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? r : 0;
}

static int pin_drop(const char *directory, const char *name, void *arg)
{
	const char *prefix = arg;
	char path[PIN_PATH_BYTES];

	if (strncmp(name, prefix, strlen(prefix)) || pin_path(path, directory, "", name) < 0)
		return 0;
	return unlink(path) < 0 ? -errno : 0;
}

int pin_drop_all(const char *directory, const char *prefix)
{
	return pin_each(directory, pin_drop, (void *)prefix);
}
