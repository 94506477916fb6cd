/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of workloads. What is found is first only pointed at (O_PATH), which does nothing to it, and looked at; then that very file is
 * opened, so that whoever swaps paths meanwhile gains nothing. */
#include "agent/access_log/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/access_log/process.h"
#include "base/cleanup.h"
#include "base/log.h"

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif
#define CONFIGFS_MAGIC 0x62656570 /* is in no header */

#define FILE_MODE 0644
#define DIRECTORY_MODE 0755
#define TRIES 3 /* a rename under way, or a file that comes and goes */

/* --- a root, and paths below it --------------------------------------------------------------------------------------------- */

struct root {
	int fd;
	struct process process; /* proc_fd -1: there is none */
	struct process_rights before;
};

#define ROOT_CLOSED { .fd = -1, .process = { .proc_fd = -1 } }

static int open_below(int directory_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	const struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
	long fd = -1;

	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, directory_fd, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

static int open_in_root(int root_fd, const char *path, uint64_t flags, uint64_t mode)
{
	return open_below(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* A directory of a name that is one name, made where it is not there. */
static int open_own_directory(int parent_fd, const char *name)
{
	int fd;

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	if (mkdirat(parent_fd, name, DIRECTORY_MODE) < 0 && errno != EEXIST)
		return -errno;
	fd = open_below(parent_fd, name, O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	return fd;
}

/* DIRECTORY/MESH/NODE */
static int root_of_directory(const struct access_log_place *place, int *ret_fd, struct error *err)
{
	_cleanup_close_ int directory_fd = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC), mesh_fd = -1;
	int fd;

	if (directory_fd < 0)
		return error_set(err, -errno, "cannot open '%s': %m", place->directory);
	mesh_fd = open_own_directory(directory_fd, place->mesh);
	fd = mesh_fd < 0 ? mesh_fd : open_own_directory(mesh_fd, place->node);
	if (fd < 0)
		return error_set(err, fd, "cannot open '%s/%s/%s': %s", place->directory, place->mesh, place->node, strerror(-fd));
	*ret_fd = fd;
	return 0;
}

/* Its root is opened with our own rights, which it takes, and used with the process's. */
static int root_of_process(const struct access_log_place *place, struct root *root, struct error *err)
{
	int r = process_read(place->pidfd, &root->process, err);

	if (r < 0)
		return r;
	root->fd = openat(root->process.proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0)
		return error_set(err, -errno, "cannot open the root of the workload's process: %m");
	if (!process_lives(place->pidfd))
		return error_set(err, -ESRCH, "the process of the workload has ended");
	r = process_become(&root->process, &root->before);
	return r < 0 ? error_set(err, r, "cannot take on the rights of the workload's process: %s", strerror(-r)) : 0;
}

static void root_done(struct root *root)
{
	process_leave(&root->before);
	process_done(&root->process);
	root->fd = fd_close(root->fd);
}

static int root_open(const struct access_log_place *place, struct root *root, struct error *err)
{
	return place->pidfd >= 0 ? root_of_process(place, root, err) : root_of_directory(place, &root->fd, err);
}

/* --- what no log belongs in ------------------------------------------------------------------------------------------------- */

static const struct {
	long magic;
	const char *name;
} kernel_interfaces[] = {
	{ PROC_SUPER_MAGIC, "proc" }, { SYSFS_MAGIC, "sysfs" }, { CGROUP_SUPER_MAGIC, "cgroup" }, { CGROUP2_SUPER_MAGIC, "cgroup2" },
	{ DEBUGFS_MAGIC, "debugfs" }, { TRACEFS_MAGIC, "tracefs" }, { SECURITYFS_MAGIC, "securityfs" }, { SELINUX_MAGIC, "selinuxfs" },
	{ SMACK_MAGIC, "smackfs" }, { BPF_FS_MAGIC, "bpf" }, { EFIVARFS_MAGIC, "efivarfs" }, { PSTOREFS_MAGIC, "pstore" },
	{ CONFIGFS_MAGIC, "configfs" }, { BINFMTFS_MAGIC, "binfmt_misc" }, { NSFS_MAGIC, "nsfs" }, { DEVPTS_SUPER_MAGIC, "devpts" },
};

static const struct {
	mode_t type;
	const char *name;
} types[] = {
	{ S_IFCHR, "a character device" }, { S_IFBLK, "a block device" }, { S_IFDIR, "a directory" }, { S_IFSOCK, "a socket" },
};

static const char *type_name(mode_t mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((mode & S_IFMT) == types[i].type)
			return types[i].name;
	return "no file";
}

/* `path_fd` points at it. */
static int check_type(int path_fd, const char *path, struct stat *ret_stat, struct error *err)
{
	struct statfs fs;

	if (fstat(path_fd, ret_stat) < 0 || fstatfs(path_fd, &fs) < 0)
		return error_set(err, -errno, "cannot inspect '%s': %m", path);
	if (!S_ISREG(ret_stat->st_mode) && !S_ISFIFO(ret_stat->st_mode))
		return error_set(err, -ENOTSUP, "'%s' is %s: a log is a file or a FIFO", path, type_name(ret_stat->st_mode));
	for (size_t i = 0; i < ARRAY_SIZE(kernel_interfaces); i++)
		if (fs.f_type == kernel_interfaces[i].magic)
			return error_set(err, -ENOTSUP, "'%s' is in %s, an interface of the kernel", path, kernel_interfaces[i].name);
	return 0;
}

/* --- files by path ---------------------------------------------------------------------------------------------------------- */

static int fill(int fd, enum access_log_file_kind kind, const struct stat *st, struct access_log_file *ret_file)
{
	*ret_file = (struct access_log_file){
		.fd = fd, .kind = kind, .is_socket = S_ISSOCK(st->st_mode), .device = st->st_dev, .inode = st->st_ino,
	};
	return 0;
}

/* Opens what `path_fd` points at. */
static int open_found(int path_fd, const char *path, struct access_log_file *ret_file, struct error *err)
{
	char link[64];
	struct stat st;
	int fd, r = check_type(path_fd, path, &st, err);

	if (r < 0)
		return r;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	fd = open(link, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno == ENXIO)
		return error_set(err, -ENXIO, "nobody reads the FIFO '%s'", path);
	if (fd < 0)
		return error_set(err, -errno, "cannot open '%s': %m", path);
	return fill(fd, S_ISFIFO(st.st_mode) ? ACCESS_LOG_STREAM : ACCESS_LOG_REGULAR, &st, ret_file);
}

/* A new one: O_EXCL follows no link that somebody puts there meanwhile, and gives a regular file. */
static int create(int root_fd, const char *path, struct access_log_file *ret_file)
{
	struct stat st;
	int fd = open_in_root(root_fd, path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CREAT | O_EXCL, FILE_MODE);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fill(fd, ACCESS_LOG_REGULAR, &st, ret_file);
}

/* -EEXIST: it came and went, or is a link to nowhere. */
static int open_path(int root_fd, const char *path, struct access_log_file *ret_file, struct error *err)
{
	int r = -EEXIST;

	for (int i = 0; i < TRIES && r == -EEXIST; i++) {
		_cleanup_close_ int path_fd = open_in_root(root_fd, path, O_PATH, 0);

		if (path_fd >= 0)
			return open_found(path_fd, path, ret_file, err);
		r = path_fd == -ENOENT ? create(root_fd, path, ret_file) : path_fd;
	}
	if (r == -EEXIST)
		return error_set(err, r, "'%s' is a link to what is not there", path);
	return r < 0 ? error_set(err, r, "cannot open '%s': %s", path, strerror(-r)) : 0;
}

/* Directories of the path, below a root that is ours. */
static int make_parents(int root_fd, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	int r = 0;

	if (!copy)
		return -ENOMEM;
	for (char *slash = strchr(copy + 1, '/'); slash && r == 0; slash = strchr(slash + 1, '/')) {
		_cleanup_close_ int parent_fd = -1;
		char *name;

		*slash = '\0';
		name = strrchr(copy, '/');
		/* "/a/b": the parent is "/a", the name "b"; of "/a" and "a" it is the root. */
		if (name)
			*name = '\0';
		parent_fd = open_in_root(root_fd, name && *copy ? copy : ".", O_PATH | O_DIRECTORY, 0);
		if (name)
			*name = '/';
		if (parent_fd < 0)
			r = parent_fd;
		else if (mkdirat(parent_fd, name ? name + 1 : copy, DIRECTORY_MODE) < 0 && errno != EEXIST && errno != ENOENT)
			r = -errno; /* ENOENT: of "//" the name is empty */
		*slash = '/';
	}
	return r;
}

/* --- the process's own output ----------------------------------------------------------------------------------------------- */

static const struct {
	const char *path;
	int fd;
} outputs[] = {
	{ "/dev/stdout", STDOUT_FILENO }, { "/dev/stderr", STDERR_FILENO }, { "/proc/self/fd/1", STDOUT_FILENO },
	{ "/proc/self/fd/2", STDERR_FILENO }, { "/dev/fd/1", STDOUT_FILENO }, { "/dev/fd/2", STDERR_FILENO },
};

/* -1: it is none. */
static int output_of(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(outputs); i++)
		if (!strcmp(outputs[i].path, path))
			return outputs[i].fd;
	return -1;
}

/* The path, or the link that it is, as images have: /var/log/access.log -> /dev/stdout. */
static int output_at(int root_fd, const char *path)
{
	_cleanup_close_ int link_fd = -1;
	char text[64];
	ssize_t length;

	if (output_of(path) >= 0)
		return output_of(path);
	link_fd = open_in_root(root_fd, path, O_PATH | O_NOFOLLOW, 0);
	length = link_fd < 0 ? -1 : readlinkat(link_fd, "", text, sizeof(text));
	if (length < 0 || (size_t)length >= sizeof(text))
		return -1;
	text[length] = '\0';
	return output_of(text);
}

static bool may_be_output(const struct stat *st, int fd)
{
	return S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode) ||
	       (S_ISCHR(st->st_mode) && (isatty(fd) || st->st_rdev == makedev(1, 3))); /* /dev/null */
}

/* The very description, with the position and the flags that the process uses. What it may do is in it: rights of files do not matter. */
static int open_output(int pidfd, int number, struct access_log_file *ret_file, struct error *err)
{
	_cleanup_close_ int fd = pidfd_getfd(pidfd, number, 0);
	struct stat st;
	int flags;

	if (fd < 0)
		return error_set(err, -errno, "cannot take descriptor %d of the workload's process: %m", number);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot inspect descriptor %d of the workload's process: %m", number);
	if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) || !may_be_output(&st, fd))
		return error_set(err, -ENOTSUP,
				 "descriptor %d of the workload's process is no output: no file, pipe, socket or terminal that can be written",
				 number);
	return fill(TAKE_FD(fd), ACCESS_LOG_OUTPUT, &st, ret_file);
}

/* --- calls ------------------------------------------------------------------------------------------------------------------ */

int access_log_file_open(const struct access_log_place *place, const char *path, struct access_log_file *ret_file, struct error *err)
{
	_cleanup_(root_done) struct root root = ROOT_CLOSED;
	int r = root_open(place, &root, err), output;

	if (r < 0)
		return r;
	output = output_at(root.fd, path);
	if (output >= 0 && place->pidfd < 0)
		return error_set(err, -ENOTSUP, "'%s' is the output of a process, and this workload has none", path);
	if (output >= 0) {
		process_leave(&root.before);
		return open_output(place->pidfd, output, ret_file, err);
	}
	r = place->pidfd < 0 ? make_parents(root.fd, path) : 0;
	if (r < 0)
		return error_set(err, r, "cannot make the directories of '%s': %s", path, strerror(-r));
	return open_path(root.fd, path, ret_file, err);
}

void access_log_file_close(struct access_log_file *file)
{
	file->fd = fd_close(file->fd);
}

bool access_log_file_moved(const struct access_log_place *place, const char *path, const struct access_log_file *file)
{
	_cleanup_(root_done) struct root root = ROOT_CLOSED;
	_cleanup_close_ int path_fd = -1;
	struct stat st;

	if (file->kind == ACCESS_LOG_OUTPUT || root_open(place, &root, NULL) < 0)
		return false;
	path_fd = open_in_root(root.fd, path, O_PATH, 0);
	if (path_fd < 0)
		return path_fd == -ENOENT;
	return fstat(path_fd, &st) == 0 && (st.st_dev != file->device || st.st_ino != file->inode);
}

ssize_t access_log_file_write(const struct access_log_file *file, const char *data, size_t length)
{
	struct pollfd poll_fd = { .fd = file->fd, .events = POLLOUT };
	ssize_t written;

	if (file->kind != ACCESS_LOG_REGULAR)
		length = MIN(length, ACCESS_LOG_ATOMIC_BYTES);
	if (file->kind == ACCESS_LOG_OUTPUT && poll(&poll_fd, 1, 0) == 0)
		return -EAGAIN;
	written = file->is_socket ? send(file->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL) : write(file->fd, data, length);
	return written < 0 ? -errno : written;
}

int access_log_hostname(int pidfd, char *buffer, size_t size)
{
	_cleanup_close_ int own_fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	int r;

	if (own_fd < 0 || setns(pidfd, CLONE_NEWUTS) < 0)
		return -errno;
	r = gethostname(buffer, size) < 0 ? -errno : 0;
	if (setns(own_fd, CLONE_NEWUTS) < 0) {
		log_error("cannot return to the UTS namespace of this process");
		abort();
	}
	return r;
}
