/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/access_log/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"

/* Those that let a file be used by who may not (capabilities(7), "CAP_FS_SET" of the kernel). */
#define BIT(capability) (1ull << (capability))
#define FILE_CAPABILITIES                                                                                                     \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) |               \
	 BIT(CAP_LINUX_IMMUTABLE) | BIT(CAP_MKNOD) | BIT(CAP_MAC_OVERRIDE))

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

bool process_lives(int pidfd)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 0;
}

static int read_whole(int directory_fd, const char *name, struct buffer *text)
{
	_cleanup_close_ int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -errno;
	do {
		char *to = buffer_reserve(text, 4096);

		if (!to)
			return -ENOMEM;
		length = read(fd, to, 4096);
		if (length > 0)
			text->length += (size_t)length;
	} while (length > 0);
	return length < 0 ? -errno : 0;
}

/* What stands behind "\nName:\t". NULL: there is no such line. */
static const char *line_find(const struct buffer *text, const char *name)
{
	const char *at = strstr(buffer_string(text), name);

	return at ? at + strlen(name) : NULL;
}

static int pid_of(int pidfd, pid_t *ret_pid)
{
	_cleanup_(buffer_done) struct buffer text = {};
	char path[64];
	const char *line;
	int r;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	r = read_whole(AT_FDCWD, path, &text);
	if (r < 0)
		return r;
	line = line_find(&text, "\nPid:\t");
	*ret_pid = line ? (pid_t)strtol(line, NULL, 10) : 0;
	if (!line)
		return -EBADF;
	return *ret_pid > 0 ? 0 : -ESRCH;
}

/* Real, effective, saved, of the file system: the fourth. */
static int fourth_id(const struct buffer *status, const char *name, uint32_t *ret_id)
{
	const char *line = line_find(status, name);

	return line && sscanf(line, "%*u %*u %*u %u", ret_id) == 1 ? 0 : -EPROTO;
}

static int read_groups(const struct buffer *status, struct process *process)
{
	const char *line = line_find(status, "\nGroups:\t");
	char *end;

	if (!line)
		return -EPROTO;
	for (;;) {
		const unsigned long group = strtoul(line, &end, 10);
		gid_t *groups;

		/* strtoul() skips newlines as well. */
		if (end == line || memchr(line, '\n', (size_t)(end - line)))
			return 0;
		groups = reallocarray(process->groups, process->group_count + 1, sizeof(*groups));
		if (!groups)
			return -ENOMEM;
		process->groups = groups;
		groups[process->group_count++] = (gid_t)group;
		line = end;
	}
}

/* Those of another user namespace are over ids that are mapped there, which the kernel cannot be asked to mind for another. */
static int read_capabilities(const struct buffer *status, struct process *process)
{
	const char *line = line_find(status, "\nCapEff:\t");
	struct stat ours, its;

	if (!line)
		return -EPROTO;
	if (stat("/proc/self/ns/user", &ours) < 0 || fstatat(process->proc_fd, "ns/user", &its, 0) < 0)
		return -errno;
	process->capabilities = ours.st_ino == its.st_ino ? strtoull(line, NULL, 16) : 0;
	return 0;
}

static int read_status(struct process *process)
{
	_cleanup_(buffer_done) struct buffer status = {};
	int r = read_whole(process->proc_fd, "status", &status);

	if (r == 0)
		r = fourth_id(&status, "\nUid:\t", &process->uid);
	if (r == 0)
		r = fourth_id(&status, "\nGid:\t", &process->gid);
	if (r == 0)
		r = read_groups(&status, process);
	return r < 0 ? r : read_capabilities(&status, process);
}

static int process_fill(int pidfd, struct process *process)
{
	char path[32];
	pid_t pid;
	int r = pid_of(pidfd, &pid);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	process->proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process->proc_fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = read_status(process);
	/* Only now is it known that the id was still its own. */
	return process_lives(pidfd) ? r : -ESRCH;
}

int process_read(int pidfd, struct process *ret_process, struct error *err)
{
	struct process process = { .proc_fd = -1 };
	int r = process_fill(pidfd, &process);

	if (r < 0) {
		process_done(&process);
		if (r == -ESRCH)
			return error_set(err, r, "the process of the workload has ended");
		return error_set(err, r, "cannot inspect the process of the workload: %s", strerror(-r));
	}
	*ret_process = process;
	return 0;
}

void process_done(struct process *process)
{
	process->proc_fd = fd_close(process->proc_fd);
	free(process->groups);
	process->groups = NULL;
	process->group_count = 0;
}

/* --- rights ----------------------------------------------------------------------------------------------------------------- */

/* System calls as they are: glibc would change credentials of all threads. */

static int capabilities_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int capabilities_set_effective(uint64_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int r = capabilities_get(data);

	if (r < 0)
		return r;
	data[0].effective = (uint32_t)effective;
	data[1].effective = (uint32_t)(effective >> 32);
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int capabilities_effective(uint64_t *ret_effective)
{
	struct __user_cap_data_struct data[2];
	int r = capabilities_get(data);

	if (r == 0)
		*ret_effective = data[0].effective | (uint64_t)data[1].effective << 32;
	return r;
}

/* setfsuid() tells what was, never whether it worked. */
static int set_uid(uid_t uid)
{
	setfsuid(uid);
	return (uid_t)setfsuid((uid_t)-1) == uid ? 0 : -EPERM;
}

static int set_gid(gid_t gid)
{
	setfsgid(gid);
	return (gid_t)setfsgid((gid_t)-1) == gid ? 0 : -EPERM;
}

static int set_groups(const gid_t *groups, size_t count)
{
	return syscall(SYS_setgroups, count, groups) < 0 ? -errno : 0;
}

static int rights_read(struct process_rights *rights)
{
	int count = getgroups(0, NULL), r;

	if (count < 0)
		return -errno;
	rights->uid = (uid_t)setfsuid((uid_t)-1);
	rights->gid = (gid_t)setfsgid((gid_t)-1);
	rights->groups = calloc((size_t)count + 1, sizeof(*rights->groups));
	if (!rights->groups)
		return -ENOMEM;
	count = getgroups(count, rights->groups);
	if (count < 0)
		return -errno;
	rights->group_count = (size_t)count;
	r = capabilities_effective(&rights->capabilities);
	return r;
}

static bool same_groups(const struct process *process, const struct process_rights *rights)
{
	return process->group_count == rights->group_count &&
	       (process->group_count == 0 || memcmp(process->groups, rights->groups, process->group_count * sizeof(gid_t)) == 0);
}

int process_become(const struct process *process, struct process_rights *before)
{
	uint64_t effective;
	int r;

	*before = (struct process_rights){};
	r = rights_read(before);
	if (r < 0)
		return r;
	before->changed = true;
	/* What is ours already is not asked for, so that a process without privileges can act for its own like. */
	if (!same_groups(process, before))
		r = set_groups(process->groups, process->group_count);
	if (r == 0 && process->gid != before->gid)
		r = set_gid(process->gid);
	if (r == 0 && process->uid != before->uid)
		r = set_uid(process->uid);
	/* A user other than root has lost them by now; root's are not more than those of this root. */
	if (r == 0)
		r = capabilities_effective(&effective);
	if (r == 0 && (effective & FILE_CAPABILITIES & ~process->capabilities))
		r = capabilities_set_effective(effective & ~(FILE_CAPABILITIES & ~process->capabilities));
	return r;
}

void process_leave(struct process_rights *before)
{
	gid_t *groups = before->groups;

	if (before->changed) {
		uint64_t effective;

		/* Root's capabilities come back with the user, and those that setgroups() needs were never gone. */
		if (set_uid(before->uid) < 0 || set_gid(before->gid) < 0 || capabilities_effective(&effective) < 0 ||
		    (effective != before->capabilities && capabilities_set_effective(before->capabilities) < 0)) {
			log_error("cannot return to the rights of this process");
			abort();
		}
		if (groups && syscall(SYS_setgroups, before->group_count, groups) < 0 && errno != EPERM) {
			log_error("cannot return to the groups of this process");
			abort();
		}
	}
	free(groups);
	*before = (struct process_rights){};
}
