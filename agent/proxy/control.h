/* SPDX-License-Identifier: Apache-2.0 */
/* What weftd, a successor and `weft` by way of weftd say to weft-proxy: JSON messages over a Unix socket of type SOCK_SEQPACKET at
 * /run/weft/INSTANCE/proxy.sock (mode 0600, root), a message a packet, descriptors beside it (SCM_RIGHTS). A request is
 * {"op": …}; each gets one answer, in order: {…} or {"error": "text", "field"?}. Messages over CONTROL_MESSAGE_MAX_BYTES are refused.
 *
 * | op | more | descriptors | answer |
 * |---|---|---|---|
 * | hello | | | {"pid", "version", "startedAt", "build"} |
 * | attach | "workload": id, "netnsCookie", "node", "nodeId", "cgroup": path below the cgroup2 mount, "cgroupId" | the namespace | {} |
 * | detach | "workload", "netnsCookie" | | {} |
 * | synced | | | {"detached": n}: what was not attached on this connection is detached |
 * | status | | | {"pid", "version", "startedAt", "beatAgeNs", "outcomes": {"answered": n, …}, "places": […], "workloads": [{"workload", "netnsCookie",
 *     "resolvers", "leftOut", "nscd", "nssResolve"}]} |
 * | queries | "node" or null, "limit" | | {"queries": […]} |
 * | takeover | | | {"places": n}, then n messages {place, sockets} with its namespace and sockets, then {"done": true}; the
 *     predecessor ends when its queries are answered |
 */
#pragma once

#include <stddef.h>

#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/json.h"

#define CONTROL_MESSAGE_MAX_BYTES (256 * 1024)
#define CONTROL_FDS_MAX 64

/* Sends one message; the descriptors stay the caller's. 0, -EAGAIN (the peer does not read), -EPIPE, -E2BIG, or another -errno. */
int control_send(int fd, const json_t *message, const int *fds, size_t fd_count);
/* Receives one: a new reference, and descriptors that the caller owns (close-on-exec), at most `fds_max`; more are closed and it
 * is refused. 0; -EAGAIN: nothing there; -EPIPE: the peer is gone; -EBADMSG with `err`: no JSON object, too long, too many descriptors. */
int control_receive(int fd, json_t **ret_message, int *ret_fds, size_t fds_max, size_t *ret_fd_count, struct error *err);
/* "/run/weft/INSTANCE/proxy.sock" */
int control_path(const char *instance, char *buffer, size_t size);
/* Connects, non-blocking from then on. -ENOENT, -ECONNREFUSED: nobody is there. */
int control_connect(const char *instance, int *ret_fd, struct error *err);
