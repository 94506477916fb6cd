/* SPDX-License-Identifier: Apache-2.0 */
/* Where the lines of an access log go: a path that belongs to a workload's file system, however the workload lays it out.
 *
 * With a process: below that process's root, where no "..", no absolute and no symbolic link leads out of it, with its user, groups and
 * no more rights over files than it has. Only regular files (made where there is none, mode 0644), and FIFOs that somebody
 * reads; nothing of file systems that are the kernel's own interfaces (proc, sysfs, cgroup), no devices. "/dev/stdout", "/dev/stderr",
 * "/proc/self/fd/1" and the like, also as what a link says, are the process's own descriptors: a file, a pipe, a socket, a
 * terminal. Whose process it is, is asked of the pidfd, before and after, so an id that changes hands is noticed.
 *
 * Without one: below DIRECTORY/MESH/NODE, with this process's own rights; directories are made. There is no output there.
 *
 * Any thread: credentials change for the calling thread alone, and are what they were on return; where they cannot be, it aborts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"

struct access_log_place { /* borrowed */
	int pidfd; /* -1: none */
	const char *directory, *mesh, *node; /* where there is none */
};

enum access_log_file_kind {
	ACCESS_LOG_REGULAR, /* takes everything at once */
	ACCESS_LOG_STREAM, /* a FIFO of its own description: non-blocking */
	ACCESS_LOG_OUTPUT, /* the process's own description, whose flags are the process's */
};

struct access_log_file {
	int fd; /* -1: not open */
	enum access_log_file_kind kind;
	bool is_socket;
	dev_t device;
	ino_t inode;
};

/* -errno with words: -ESRCH no such process any more, -ENXIO nobody reads the FIFO, -ENOTSUP a device, a directory or a file system that
 * no log belongs in, -ELOOP a link that leads to where no path does, and what the workload itself would be told. */
int access_log_file_open(const struct access_log_place *place, const char *path, struct access_log_file *ret_file, struct error *err);
void access_log_file_close(struct access_log_file *file);
/* Whether the path has become another file's, or nobody's: it was rotated. False also where that cannot be told (the process is gone). */
bool access_log_file_moved(const struct access_log_place *place, const char *path, const struct access_log_file *file);

/* How many bytes were taken, or -EAGAIN: poll for POLLOUT; else -errno. A regular file may block, as disks do, and so may an output that is
 * shared with others who write. What is no regular file takes at most ACCESS_LOG_ATOMIC_BYTES at once, whole and in one piece. */
#define ACCESS_LOG_ATOMIC_BYTES 4096 /* PIPE_BUF */
ssize_t access_log_file_write(const struct access_log_file *file, const char *data, size_t length);

/* The host name that the process sees. */
int access_log_hostname(int pidfd, char *buffer, size_t size);
