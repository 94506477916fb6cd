/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

int ctl_netns_path(const char *name, char *buffer, size_t size, struct error *err)
{
	if (!*name || (size_t)snprintf(buffer, size, "%s%s", strchr(name, '/') ? "" : "/run/netns/", name) >= size)
		return error_set_field(err, -EINVAL, "--netns", "'%s' is no name or path of a namespace", name);
	return 0;
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
	return 0;
}
