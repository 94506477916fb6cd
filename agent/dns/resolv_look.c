/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dns/resolv_look.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"

#define LINKS_MAX 8
#define OPEN_ATTEMPTS 4

#define DIRECTORY_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF)

/* What a process sees below "/": a mount namespace may have several roots (chroot). */
struct file_system {
	ino_t mount_namespace;
	dev_t root_device;
	ino_t root_inode;
};

struct scan {
	struct resolv_look *look;
	struct file_system seen[LOOK_FILE_SYSTEMS_MAX];
	size_t seen_count;
	size_t processes;
};

/* ---- files below a root ---- */

static int open_below(int root_fd, const char *path, uint64_t flags)
{
	const struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	long fd;
	int attempts = 0;

	do /* EAGAIN: something was renamed while ".." was resolved */
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && ++attempts < OPEN_ATTEMPTS);
	return fd < 0 ? -errno : (int)fd;
}

/* Whether an error is the file's: it is not there, for programs neither. */
static bool is_absence(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EACCES || r == -ENAMETOOLONG;
}

static bool is_socket(int root_fd, const char *path)
{
	_cleanup_close_ int fd = open_below(root_fd, path, O_PATH);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static char *fd_link(int fd, char buffer[32])
{
	snprintf(buffer, 32, "/proc/self/fd/%d", fd);
	return buffer;
}

/* ---- hints ---- */

void resolv_hints_done(struct resolv_hints *hints)
{
	for (size_t i = 0; i < hints->count; i++)
		free(hints->list[i].name);
	free(hints->list);
	*hints = (struct resolv_hints){};
}

static int add_hint(struct resolv_look *look, const char *path, uint32_t events, const char *name)
{
	struct resolv_hints *hints = &look->hints;
	const int wd = inotify_add_watch(look->inotify_fd, path, events);
	struct resolv_hint *list;

	if (wd < 0) { /* the next look sees it all the same */
		look->unwatched++;
		return 0;
	}
	list = reallocarray(hints->list, hints->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	hints->list = list;
	list[hints->count].wd = wd;
	list[hints->count].name = name ? strdup(name) : NULL;
	return list[hints->count++].name || !name ? 0 : -ENOMEM;
}

/* Each directory on the way to the file by way of symbolic links. Where a directory is itself reached by links that change, the next look
 * sees it. */
static int watch_way(struct resolv_look *look, int root_fd, const char *path)
{
	char at[PATH_MAX], target[PATH_MAX], link[32];

	snprintf(at, sizeof(at), "%s", path);
	for (int i = 0; i < LINKS_MAX; i++) {
		char *name = strrchr(at, '/');
		_cleanup_close_ int dir_fd = -1;
		ssize_t length;
		int r;

		if (name)
			*name++ = '\0';
		else
			name = at;
		dir_fd = open_below(root_fd, name == at ? "." : at[0] ? at : "/", O_PATH | O_DIRECTORY);
		if (dir_fd < 0)
			return is_absence(dir_fd) ? 0 : dir_fd;
		r = add_hint(look, fd_link(dir_fd, link), DIRECTORY_EVENTS, name);
		if (r < 0)
			return r;
		length = readlinkat(dir_fd, name, target, sizeof(target));
		if (length <= 0 || (size_t)length == sizeof(target))
			return 0;
		target[length] = '\0';
		if (target[0] == '/' || name == at) {
			memcpy(at, target, (size_t)length + 1);
		} else {
			const size_t directory = strlen(at);

			if (directory + 1 + (size_t)length >= sizeof(at))
				return 0;
			at[directory] = '/';
			memcpy(at + directory + 1, target, (size_t)length + 1);
		}
	}
	return 0;
}

/* ---- one file system ---- */

/* Of what is no regular file nothing is read, nor is it opened: a device or a fifo may do anything then. */
static int read_file(struct resolv_look *look, int root_fd, const char *path, bool watch, char *buffer, size_t size, size_t *ret_length)
{
	_cleanup_close_ int place_fd = open_below(root_fd, path, O_PATH), fd = -1;
	size_t length = 0;
	char link[32];
	struct stat st;
	ssize_t n;
	int r;

	*ret_length = 0;
	if (place_fd < 0)
		return is_absence(place_fd) ? 0 : place_fd;
	if (fstat(place_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	fd_link(place_fd, link);
	r = watch ? add_hint(look, link, FILE_EVENTS, NULL) : 0; /* before it is read */
	if (r < 0)
		return r;
	fd = open(link, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return is_absence(-errno) ? 0 : -errno;
	while (length < size && (n = read(fd, buffer + length, size - length)) != 0) {
		if (n < 0)
			return -errno;
		length += (size_t)n;
	}
	*ret_length = length;
	return 0;
}

/* A line that is cut would be another address: it goes. */
static size_t whole_lines(const char *text, size_t length)
{
	const char *end = memrchr(text, '\n', length);

	return end ? (size_t)(end - text) + 1 : 0;
}

static int look_below(struct resolv_look *look, int root_fd)
{
	char text[RESOLV_CONF_MAX_BYTES + 1];
	struct resolv_conf conf;
	size_t length;
	bool cut;
	int r = watch_way(look, root_fd, "etc/resolv.conf");

	if (r == 0)
		r = read_file(look, root_fd, "etc/resolv.conf", true, text, sizeof(text), &length);
	if (r < 0)
		return r;
	cut = length > RESOLV_CONF_MAX_BYTES;
	resolv_conf_parse(text, cut ? whole_lines(text, RESOLV_CONF_MAX_BYTES) : length, &conf);
	for (size_t i = 0; i < conf.count; i++)
		resolv_conf_add(&look->found.conf, &conf.resolvers[i]);
	look->found.conf.left_out += conf.left_out + cut;

	look->found.nscd |= is_socket(root_fd, "run/nscd/socket") || is_socket(root_fd, "var/run/nscd/socket");
	if (look->found.nss_resolve || !is_socket(root_fd, "run/systemd/resolve/io.systemd.Resolve"))
		return 0;
	r = read_file(look, root_fd, "etc/nsswitch.conf", false, text, RESOLV_CONF_MAX_BYTES, &length);
	look->found.nss_resolve = r == 0 && nsswitch_has_resolve(text, length);
	return r;
}

/* ---- processes ---- */

static int stat_of(int pid, const char *what, struct stat *ret_st)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	return stat(path, ret_st);
}

static bool is_seen(const struct scan *scan, const struct file_system *fs)
{
	for (size_t i = 0; i < scan->seen_count; i++) {
		const struct file_system *s = &scan->seen[i];

		if (s->mount_namespace == fs->mount_namespace && s->root_device == fs->root_device && s->root_inode == fs->root_inode)
			return true;
	}
	return false;
}

/* One that ends meanwhile does not count. */
static int look_at_process(struct scan *scan, int pid)
{
	struct resolv_look *look = scan->look;
	_cleanup_close_ int root_fd = -1;
	struct file_system fs;
	struct stat net, mnt, root;
	char path[32];
	int r;

	if (stat_of(pid, "ns/mnt", &mnt) < 0 || stat_of(pid, "root", &root) < 0)
		return 0;
	fs = (struct file_system){ mnt.st_ino, root.st_dev, root.st_ino };
	if (is_seen(scan, &fs))
		return 0;
	if (stat_of(pid, "ns/net", &net) < 0 || (look->netns_inode && net.st_ino != look->netns_inode))
		return 0;
	if (scan->seen_count == LOOK_FILE_SYSTEMS_MAX) {
		look->found.unseen++;
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return errno == ENOENT || errno == EACCES || errno == ESRCH ? 0 : -errno;
	r = look_below(look, root_fd);
	if (r < 0)
		return r;
	scan->seen[scan->seen_count++] = fs;
	look->any = true;
	return 0;
}

static int on_process(int pid, void *arg)
{
	struct scan *scan = arg;

	if (pid == 0) /* outside of our pid namespace */
		return 0;
	if (scan->processes == LOOK_PROCESSES_MAX) {
		scan->look->found.unseen++;
		return 0;
	}
	scan->processes++;
	return look_at_process(scan, pid);
}

int resolv_look_run(struct resolv_look *look)
{
	struct scan scan = { .look = look };
	const struct cgroup_visitor visitor = { .process = on_process, .arg = &scan };
	const pid_t stand_ins[] = { 1, getpid() };
	char events[PATH_MAX + 16];
	int r;

	/* Tells when its first process comes, and when all of them were replaced. */
	snprintf(events, sizeof(events), "%s/cgroup.events", look->cgroup);
	r = add_hint(look, events, IN_MODIFY, NULL);
	if (r == 0)
		r = cgroup_visit(look->cgroup, &visitor);
	for (size_t i = 0; i < ARRAY_SIZE(stand_ins) && r == 0 && !look->any && look->stand_in; i++) {
		r = look_at_process(&scan, stand_ins[i]);
		look->stood_in = look->any;
	}
	return r;
}

void resolv_look_done(struct resolv_look *look)
{
	resolv_hints_done(&look->hints);
}
