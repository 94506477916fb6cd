/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/seat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/l7/ledger.h"
#include "base/cleanup.h"

#define RUN_ROOT "/run/weft"
#define PATH_BYTES 96 /* fits the directory, and a socket's address */
#define LOCK_TRIES 100

static const char *path_of(const struct seat *seat, const char *file, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/%s", seat->directory, file);
	return path;
}

static int make_directory(const char *directory, struct error *err)
{
	if ((mkdir(RUN_ROOT, 0755) < 0 && errno != EEXIST) || (mkdir(directory, 0755) < 0 && errno != EEXIST))
		return error_set(err, -errno, "cannot make the directory '%s': %m", directory);
	return 0;
}

int seat_init(const char *instance, struct seat *ret_seat, struct error *err)
{
	struct seat seat = { .lock_fd = -1, .listen_fd = -1 };
	int r;

	if (snprintf(seat.directory, sizeof(seat.directory), RUN_ROOT "/%s", instance) >= (int)sizeof(seat.directory))
		return error_set_field(err, -ENAMETOOLONG, "instance", "'%s' is too long", instance);
	r = make_directory(seat.directory, err);
	if (r == 0)
		*ret_seat = seat;
	return r;
}

/* Who leaves after an uninstall removes the file it holds the lock of: whoever opened it before has the lock of nothing. */
static bool is_at(int fd, const char *path)
{
	struct stat held, there;

	return fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

static int holder_of(int lock_fd)
{
	char text[16] = "";

	return pread(lock_fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

static void sign(int lock_fd)
{
	/* For people and error messages alone. */
	if (ftruncate(lock_fd, 0) == 0)
		dprintf(lock_fd, "%d\n", getpid());
}

int seat_lock(struct seat *seat, struct error *err)
{
	char path[PATH_BYTES];

	path_of(seat, "proxy.lock", path);
	for (int i = 0; i < LOCK_TRIES; i++) {
		_cleanup_close_ int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

		if (fd < 0 && errno == ENOENT) { /* an uninstall removed the directory just now */
			int r = make_directory(seat->directory, err);

			if (r < 0)
				return r;
			continue;
		}
		if (fd < 0)
			return error_set(err, -errno, "cannot open '%s': %m", path);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
					 "weft-proxy with pid %d has this instance, and does not answer ('%s' is locked)", holder_of(fd),
					 path);
		if (!is_at(fd, path))
			continue;
		sign(fd);
		seat->lock_fd = TAKE_FD(fd);
		return 0;
	}
	return error_set(err, -EBUSY, "'%s' is removed again and again", path);
}

bool seat_is_vacant(const char *instance)
{
	char path[PATH_BYTES];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), RUN_ROOT "/%s/proxy.lock", instance);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? errno == ENOENT : flock(fd, LOCK_EX | LOCK_NB) == 0;
}

int seat_inherit(struct seat *seat, int lock_fd, struct error *err)
{
	char path[PATH_BYTES];

	if (!is_at(lock_fd, path_of(seat, "proxy.lock", path))) { /* somebody removed the file: then nobody has it */
		fd_close(lock_fd);
		return seat_lock(seat, err);
	}
	seat->lock_fd = lock_fd;
	return 0;
}

int seat_listen(struct seat *seat, struct error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[PATH_BYTES];

	if (fd < 0)
		return error_set(err, -errno, "cannot make a socket: %m");
	path_of(seat, "proxy.sock.new", address.sun_path);
	path_of(seat, "proxy.sock", path);
	unlink(address.sun_path); /* of one that was killed right here */
	/* bind() makes the file with the mode of the socket, so there is no moment in which it is wider. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0)
		return error_set(err, -errno, "cannot listen on '%s': %m", address.sun_path);
	if (rename(address.sun_path, path) < 0)
		return error_set(err, -errno, "cannot put a socket at '%s': %m", path);
	sign(seat->lock_fd); /* an inherited one bears the predecessor's name until here, where there is no way back */
	seat->listen_fd = TAKE_FD(fd);
	return 0;
}

void seat_hand_over(struct seat *seat)
{
	seat->listen_fd = fd_close(seat->listen_fd);
	seat->lock_fd = fd_close(seat->lock_fd);
}

void seat_leave(struct seat *seat, bool uninstalled)
{
	char path[PATH_BYTES];

	if (seat->lock_fd < 0)
		return;
	unlink(path_of(seat, "proxy.sock", path));
	if (uninstalled) {
		unlink(path_of(seat, "proxy.lock", path));
		unlink(path_of(seat, LEDGER_FILE, path));
		rmdir(seat->directory);
		rmdir(RUN_ROOT);
	}
	seat_hand_over(seat);
}
