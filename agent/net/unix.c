/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/unix.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

/* What a process left behind that did not end in order. */
static int remove_dead(const char *path, const struct sockaddr_un *address, struct error *err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : error_set(err, -errno, "cannot inspect '%s': %m", path);
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, -EEXIST, "'%s' is there and is no socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, -errno, "cannot make a socket: %m");
	/* EAGAIN is a full backlog: alive as well. */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return error_set(err, -EADDRINUSE, "another process listens on '%s'", path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return error_set(err, -errno, "cannot tell whether '%s' is in use: %m", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "cannot remove the dead socket '%s': %m", path);
	return 0;
}

int unix_listen(const char *path, mode_t mode, int *ret_fd, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG, "socket path '%s' has more than %zu bytes", path,
				 sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	r = remove_dead(path, &address, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, -errno, "cannot make a socket: %m");
	/* bind() makes the file with the mode of the socket, so there is no moment in which it is wider. */
	if (fchmod(fd, mode) < 0)
		return error_set(err, -errno, "cannot set the mode of a socket: %m");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(err, -errno, "cannot bind '%s': %m", path);
	if (listen(fd, SOMAXCONN) < 0)
		return error_set(err, -errno, "cannot listen on '%s': %m", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int unix_peer(int fd, pid_t *ret_pid, uid_t *ret_uid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	*ret_pid = peer.pid;
	*ret_uid = peer.uid;
	return 0;
}

int unix_peer_pid(int fd)
{
	pid_t pid = 0;
	uid_t uid;
	int r = unix_peer(fd, &pid, &uid);

	return r < 0 ? r : pid;
}
