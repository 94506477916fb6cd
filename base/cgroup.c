/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define KERNFS_HANDLE 0xfe /* FILEID_KERNFS of <linux/exportfs.h>: the handle is the 64-bit id */

static void cleanup_mounts(FILE **mounts)
{
	if (*mounts)
		endmntent(*mounts);
}

int cgroup_root(char *buffer, size_t size, struct error *err)
{
	_cleanup_(cleanup_mounts) FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char text[8192];

	if (!mounts)
		return error_set(err, -errno, "cannot read /proc/self/mounts: %m");
	while (getmntent_r(mounts, &entry, text, sizeof(text))) {
		if (strcmp(entry.mnt_type, "cgroup2"))
			continue;
		if ((size_t)snprintf(buffer, size, "%s", entry.mnt_dir) >= size)
			return error_set(err, -ENAMETOOLONG, "the mount point of cgroup2 is too long: '%s'", entry.mnt_dir);
		return 0;
	}
	return error_set(err, -ENOENT, "no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified");
}

int cgroup_path_of_id(const char *root, uint64_t id, char *buffer, size_t size)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + sizeof(id)];
	} u = { .handle = { .handle_bytes = sizeof(id), .handle_type = KERNFS_HANDLE } };
	_cleanup_close_ int mount_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	char link[32];
	ssize_t length;
	size_t prefix = strlen(root);

	if (mount_fd < 0)
		return -errno;
	memcpy(u.handle.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(mount_fd, &u.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ESTALE ? -ENOENT : -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, buffer, size);
	if (length < 0)
		return -errno;
	if ((size_t)length >= size)
		return -ENAMETOOLONG;
	buffer[length] = '\0';
	/* A directory that was removed, but is still held, comes back as "… (deleted)" or without its ancestors. */
	if (strncmp(buffer, root, prefix) || (buffer[prefix] && buffer[prefix] != '/') || access(buffer, F_OK) < 0)
		return -ENOENT;
	return 0;
}
