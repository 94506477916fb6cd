/* SPDX-License-Identifier: Apache-2.0 */
/* Unix stream sockets. Any thread. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* A listening socket at `path`, non-blocking, whose file never had more than `mode`. A dead socket's file is replaced;
 * -EADDRINUSE while somebody listens there, -EEXIST where the file is none of a socket. */
int unix_listen(const char *path, mode_t mode, int *ret_fd, struct error *err);
/* Process at the other end when it connected, and its user; pid 0 when it lives in a PID namespace we do not see. 0 or -errno. */
int unix_peer(int fd, pid_t *ret_pid, uid_t *ret_uid);
int unix_peer_pid(int fd); /* the same; or -errno */
