/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/sockets.h"
#include "base/cleanup.h"

/* A process may fork and end between the listing of its cgroup and our look at its namespace; its child is in neither.
 * Listing again finds it, unless the processes keep doing just that. */
#define SCAN_ATTEMPTS 10

struct scan {
	struct probe *probe;
	uint64_t *cgroup_ids; /* the cgroup and those below it */
	size_t cgroup_count;
	int *diag_fds; /* one for each namespace, when sockets are counted */
	bool populated; /* a process was listed */
	bool vanished; /* one that was listed had ended */
};

static void scan_done(struct scan *scan)
{
	for (size_t i = 0; scan->diag_fds && i < scan->probe->count; i++)
		fd_close(scan->diag_fds[i]);
	free(scan->diag_fds);
	free(scan->cgroup_ids);
}

static int open_route_socket(int netns_fd)
{
	const struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	_cleanup_close_ int fd = netns_socket(netns_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return fd;
	if (bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static bool known_netns(const struct probe *probe, uint64_t inode)
{
	for (size_t i = 0; i < probe->count; i++)
		if (probe->namespaces[i].inode == inode)
			return true;
	return false;
}

static int append_netns(struct scan *scan, const struct probe_netns *found, int diag_fd)
{
	struct probe *probe = scan->probe;
	struct probe_netns *namespaces = reallocarray(probe->namespaces, probe->count + 1, sizeof(*namespaces));
	int *diag_fds;

	if (!namespaces)
		return -ENOMEM;
	probe->namespaces = namespaces;
	diag_fds = reallocarray(scan->diag_fds, probe->count + 1, sizeof(*diag_fds));
	if (!diag_fds)
		return -ENOMEM;
	scan->diag_fds = diag_fds;
	namespaces[probe->count] = *found;
	diag_fds[probe->count++] = diag_fd;
	return 0;
}

/* The namespace of a process, unless it is known. -ENOENT when the process has ended. */
static int add_netns(struct scan *scan, int pid, bool witness)
{
	_cleanup_close_ int pidfd = -1, netns_fd = -1, route_fd = -1, diag_fd = -1;
	struct probe_netns found = { .pid = witness ? pid : 0 };
	char path[32];
	struct stat st;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	if (stat(path, &st) == 0 && known_netns(scan->probe, st.st_ino))
		return 0;
	/* First the handle, then the namespace: should the number go to another process in between, that one is in the
	 * namespace. */
	if (witness && (pidfd = pidfd_open(pid, 0)) < 0)
		return errno == ESRCH ? -ENOENT : -errno;
	netns_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (netns_fd < 0)
		return errno == ESRCH || errno == EACCES ? -ENOENT : -errno; /* EACCES: a zombie has no namespaces */
	if (fstat(netns_fd, &st) < 0)
		return -errno;
	if (known_netns(scan->probe, st.st_ino))
		return 0;
	route_fd = open_route_socket(netns_fd);
	if (route_fd < 0)
		return route_fd;
	r = netns_cookie_of_socket(route_fd, &found.cookie);
	if (r < 0)
		return r;
	if (scan->probe->count_sockets) /* a failure is what "unknown" means */
		diag_fd = netns_socket(netns_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	found.redirects_known = redirects_look(netns_fd, &found.redirects) == 0;
	found.inode = st.st_ino;
	found.pidfd = pidfd;
	found.route_fd = route_fd;
	r = append_netns(scan, &found, diag_fd);
	if (r < 0)
		return r;
	pidfd = route_fd = diag_fd = -1;
	return 0;
}

static int on_cgroup(uint64_t id, void *arg)
{
	struct scan *scan = arg;
	uint64_t *ids;

	for (size_t i = 0; i < scan->cgroup_count; i++)
		if (scan->cgroup_ids[i] == id)
			return 0;
	ids = reallocarray(scan->cgroup_ids, scan->cgroup_count + 1, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	scan->cgroup_ids = ids;
	ids[scan->cgroup_count++] = id;
	return 0;
}

static int on_process(int pid, void *arg)
{
	struct scan *scan = arg;
	int r;

	scan->populated = true;
	if (pid == 0) /* outside of our pid namespace */
		return 0;
	r = add_netns(scan, pid, true);
	if (r != -ENOENT)
		return r;
	scan->vanished = true;
	return 0;
}

static int scan_all(struct scan *scan)
{
	const struct cgroup_visitor visitor = { .cgroup = on_cgroup, .process = on_process, .arg = scan };

	for (int i = 0; i < SCAN_ATTEMPTS; i++) {
		int r;

		scan->vanished = false;
		r = cgroup_visit(scan->probe->cgroup, &visitor);
		if (r < 0 || !scan->vanished)
			return r;
	}
	return 0;
}

static int find_cgroup(struct probe *probe, struct error *err)
{
	char resolved[PATH_MAX];
	uint64_t id;
	int r;

	if (!realpath(probe->cgroup, resolved))
		return error_set(err, -errno, "cannot find the cgroup '%s': %m", probe->cgroup);
	memcpy(probe->cgroup, resolved, sizeof(resolved));
	probe->depth = cgroup_depth(probe->root, probe->cgroup);
	if (probe->depth <= 0)
		return error_set(err, -EINVAL, "'%s' is not a cgroup below '%s'", probe->cgroup, probe->root);
	r = cgroup_id(probe->cgroup, &id);
	if (r < 0)
		return error_set(err, r, "'%s' is not a cgroup: %s", probe->cgroup, strerror(-r));
	if (probe->expected_id && id != probe->expected_id)
		return error_set(err, -ENOENT, "the cgroup '%s' was removed", probe->cgroup);
	probe->cgroup_id = id;
	return 0;
}

static int check_pid(const struct probe *probe, struct error *err)
{
	const char *cgroup = probe->cgroup + strlen(probe->root);
	char found[PATH_MAX];
	int r = cgroup_of_pid(probe->pid, found, sizeof(found));

	if (r < 0)
		return error_set(err, r, "cannot find the cgroup of process %d: %s", probe->pid, strerror(-r));
	if (cgroup_depth(cgroup, found) < 0)
		return error_set(err, -ENOENT, "process %d is not in the cgroup '%s' but in '%s'", probe->pid, cgroup, found);
	return 0;
}

static uint32_t count_sockets(const struct scan *scan)
{
	const struct probe *probe = scan->probe;
	uint32_t sum = 0;

	/* A dump walks past the sockets of every namespace, 20 ms beside a busy benchmark: not for a cgroup that was just made. */
	if (!probe->only_pid && !scan->populated)
		return 0;
	for (size_t i = 0; i < probe->count; i++) {
		uint32_t count = SOCKETS_UNKNOWN;

		if (scan->diag_fds[i] >= 0)
			count = sockets_count(scan->diag_fds[i], scan->cgroup_ids, probe->only_pid ? 0 : scan->cgroup_count);
		if (count == SOCKETS_UNKNOWN)
			return SOCKETS_UNKNOWN;
		sum += count;
	}
	return sum;
}

int probe_run(struct probe *probe, struct error *err)
{
	_cleanup_(scan_done) struct scan scan = { .probe = probe };
	int r = find_cgroup(probe, err);

	if (r < 0)
		return r;
	if (probe->with_own) {
		r = add_netns(&scan, getpid(), false);
		if (r < 0)
			return error_set(err, r, "cannot open the agent's own network namespace: %s", strerror(-r));
	}
	if (probe->pid) {
		r = check_pid(probe, err);
		if (r < 0)
			return r;
		r = add_netns(&scan, probe->pid, true);
		if (r < 0)
			return error_set(err, r, "cannot open the network namespace of process %d: %s", probe->pid,
					 strerror(-r));
	}
	if (!probe->only_pid) {
		r = scan_all(&scan);
		if (r < 0)
			return error_set(err, r, "cannot list the processes of the cgroup '%s': %s", probe->cgroup,
					 strerror(-r));
	}
	probe->sockets = probe->count_sockets ? count_sockets(&scan) : SOCKETS_UNKNOWN;
	return 0;
}

void probe_done(struct probe *probe)
{
	for (size_t i = 0; i < probe->count; i++) {
		fd_close(probe->namespaces[i].pidfd);
		fd_close(probe->namespaces[i].route_fd);
	}
	free(probe->namespaces);
	probe->namespaces = NULL;
	probe->count = 0;
}
