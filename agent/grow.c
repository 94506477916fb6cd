/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/grow.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LOADER_MAX_MS 60000 /* one that hangs is killed; `weft-loader upgrade` takes up what it left */
#define OWN "/proc/self/exe"

extern char **environ;

static int loader_path(char path[PATH_MAX], struct error *err)
{
	char own[PATH_MAX];
	const ssize_t length = readlink(OWN, own, sizeof(own) - 1);

	if (length < 0)
		return error_set(err, -errno, "cannot tell where this program is: %m");
	own[length] = '\0';
	*strrchr(own, '/') = '\0';
	if (snprintf(path, PATH_MAX, "%s/weft-loader", own) >= PATH_MAX)
		return error_set(err, -ENAMETOOLONG, "the path of this program is too long");
	return 0;
}

static int loader_wait(pid_t pid, struct error *err)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	const bool in_time = fd >= 0 && poll(&ended, 1, LOADER_MAX_MS) > 0;
	int status;

	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, -errno, "cannot wait for weft-loader: %m");
	if (!in_time)
		return error_set(err, -ETIMEDOUT, "weft-loader did not end");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, -EIO, "weft-loader failed");
	return 0;
}

int grow_tables(const char *instance, uint32_t services, struct error *err)
{
	char path[PATH_MAX], count[16];
	char *const argv[] = { path, "grow", "--instance", (char *)instance, "--services", count, NULL };
	posix_spawn_file_actions_t files;
	pid_t pid;
	int r = loader_path(path, err);

	if (r < 0)
		return r;
	snprintf(count, sizeof(count), "%u", services);
	if (posix_spawn_file_actions_init(&files))
		return error_set(err, -ENOMEM, "no memory to start weft-loader");
	r = -posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	if (r == 0)
		r = -posix_spawn(&pid, path, &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (r < 0)
		return error_set(err, r, "cannot start '%s': %s", path, strerror(-r));
	return loader_wait(pid, err);
}

int grow_restart(int argc, char *const argv[], char *more)
{
	_cleanup_free_ char **arguments = calloc((size_t)argc + 2, sizeof(*arguments));

	if (!arguments)
		return -ENOMEM;
	memcpy(arguments, argv, (size_t)argc * sizeof(*arguments));
	arguments[argc] = more;
	execv(OWN, arguments);
	return -errno;
}
