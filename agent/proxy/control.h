/* SPDX-License-Identifier: Apache-2.0 */
/* What weftd, a successor and `weft` by way of weftd say to weft-proxy: JSON messages over a Unix socket of type SOCK_SEQPACKET at
 * /run/weft/INSTANCE/proxy.sock (mode 0600, root), a message a packet, descriptors beside it (SCM_RIGHTS). A request is
 * {"op": …}; each gets one answer, in the order of the requests, though one to "configuration" takes its time: {…} or {"error": "text", "field"?, "code": negative errno}. Messages over
 * CONTROL_MESSAGE_MAX_BYTES are refused; lists in answers are cut to fit, and "leftOut" says of which how many: {"places": 12}.
 *
 * | op | more | descriptors | answer |
 * |---|---|---|---|
 * | hello | "build"?: false where nobody asks for it | | {"pid", "version", "startedAt", "build"} |
 * | attach | "workload": id, "netnsCookie", "node", "nodeId", "cgroup": path below the cgroup2 mount, "cgroupId",
 *     "waits"? | the namespace | {} |
 * | detach | "workload", "netnsCookie" | | {} |
 * | synced | | | {"detached": n}: what was not attached on this connection is detached |
 * | status | | | {"pid", "version", "startedAt", "beatAgeNs", "outcomes": {"answered": n, …}, "places": […], "workloads": [{"workload",
 *     "netnsCookie", "node", "resolvers", "leftOut", "unseen", "nscd", "nssResolve"}], "adminPorts":
 *     admin_ports_json(), "accessLogs": access_logs_json(), "former": formers_json()} |
 * | queries | "node" or null, "limit" | | {"queries": […]} |
 * | configuration | "base", "generation" | memory file of JSON (agent/l7/snapshot.h) | {"generation"}; -ESTALE: "base" is not what it has |
 * | requests | | | {} with a memory file: {"pid", "startedAt", … l7_write()}, what the HTTP proxy has counted since then |
 * | explain | "source", "service" (0: none), "netnsCookie", "destination": "ADDRESS", "port": as the kernel hands over, "method", "target":
 *     "/path?query", "host", "headers": [[NAME, VALUE]…], "count": draws | | {} with a memory file: l7_explain() |
 * | takeover | | | {"places": n, "synced", "generation"}, unless that is 0 with its configuration as a memory file; nothing changes from
 *     here on until "taken", or the end of the connection: then it was no takeover |
 * | place | after takeover | namespace and sockets | the next place: {"netnsCookie", "node", "nodeId", "sockets": [{"resolver",
 *     "address", "port"}], "listens": [l7_listens()], "attachments": [{"workload", "cgroup", "cgroupId", "waits"}]}; the last answer is
 *     {"done": true} with the lock |
 * | taken | after takeover | | {}; the predecessor accepts and reads nothing any more, and ends when what it has under way is done |
 * | retiring | "since": CLOCK_MONOTONIC ns, "requests", "connections" | | {}; a predecessor tells who has the seat that it still serves |
 * | retired | after retiring; "reason": RETIRE_REASONS, "cut": requests | | {}; it ends now |
 * | connections | "connections": [l7_give()] | as many connections | {"taken": n}: programs' connections go over |
 * | snapshot | "after": generation | | {"generation"}, with the configuration, as with takeover, where that is a later one |
 *
 * Besides, whoever attached a workload hears {"event": "resolvers", "workload", "netnsCookie", "leftOut", "unseen", "nscd",
 * "nssResolve"} when it is known whom it asks, and when that changed: from the first one on its names are the mesh's; and {"event":
 * "ended", "workload", "netnsCookie"} when its last process is gone and with it everything that was open for it. Who is retiring may hear
 * {"event": "end"}. Who does not read is disconnected. "waits": in weft-proxy's own namespace it ends with its cgroup, not with its last process.
 */
#pragma once

#include <stddef.h>

#include "agent/loop/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/span.h"

#define CONTROL_MESSAGE_MAX_BYTES (256 * 1024)
#define CONTROL_FDS_MAX 64
#define CONTROL_CONFIGURATION_MAX_BYTES (1 << 30)
#define EXPLAIN_DRAWS_MAX 100000

/* Sends one message; the descriptors stay the caller's. 0, -EAGAIN (the peer does not read), -EPIPE, -E2BIG, or another -errno. */
int control_send(int fd, const json_t *message, const int *fds, size_t fd_count);
/* Receives one: a new reference, and descriptors that the caller owns (close-on-exec), at most `fds_max`; more are closed and it
 * is refused. 0; -EAGAIN: nothing there; -EPIPE: the peer is gone; -EBADMSG with `err`: no JSON object, too long, too many descriptors. */
int control_receive(int fd, json_t **ret_message, int *ret_fds, size_t fds_max, size_t *ret_fd_count, struct error *err);
/* "/run/weft/INSTANCE/proxy.sock" */
int control_path(const char *instance, char *buffer, size_t size);
/* Connects, non-blocking from then on. -ENOENT, -ECONNREFUSED: nobody is there. -EAGAIN: somebody is, and accepts nobody. */
int control_connect(const char *instance, int *ret_fd, struct error *err);

/* A weft-proxy that ends, or serves its last connections beside its successor, leaves what "requests" tells in a file of that name and its pid,
 * in /run/weft/INSTANCE. weftd takes it away. One that is being written has this at the end. */
#define CONTROL_LEFT_PREFIX "requests-"
#define CONTROL_LEFT_UNFINISHED ".new"

/* What is too long for a message goes along as a memory file, sealed: who maps it reads what is there now. The caller owns it. -errno. */
int control_file_make(const char *name, const struct buffer *text, int *ret_fd);
/* The text of such a file, until it is unmapped. -EBADMSG: it is none, or too long. */
int control_file_map(int fd, struct span *ret_text, struct error *err);
void control_file_unmap(struct span text);
/* The JSON of such a file, a new reference, and the length of its text. -EBADMSG: it is none, or too long; -EINVAL: it is no JSON. */
int control_file_read(int fd, json_t **ret_value, size_t *ret_length, struct error *err);

/* The answer that says what went wrong: new reference. And back: 0, or what it says into `err`. */
json_t *control_error_json(const struct error *err);
int control_error_read(const json_t *answer, struct error *err);

/* Members of a request, by a table that ends with a row without name. */
struct control_member {
	const char *name;
	enum { CONTROL_ID, CONTROL_U32, CONTROL_TEXT } type; /* uint64_t from 1 on; uint32_t from 1 on; const char *, borrowed, not empty */
	size_t offset;
};
/* -EINVAL names the first that is missing or of another kind. */
int control_members(const json_t *message, const struct control_member *members, void *target, struct error *err);
