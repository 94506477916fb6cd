/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/doctor/hook_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "maps/abi/resolver.h"

#define PROBE_TIME_MS 2000
#define ANY_PORT 1

const char *const hook_probe_names[HOOK_PROBE_COUNT] = {
#define X(symbol, hook) [HOOK_PROBE_##symbol] = hook,
	HOOK_PROBES(X)
#undef X
};

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t length;
};

static struct address address_make(int family, const struct ip *ip, uint16_t port)
{
	struct address a = { .length = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6) };

	if (family == AF_INET)
		a.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = ip->words[3] };
	else
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
	if (family == AF_INET6)
		memcpy(&a.v6.sin6_addr, ip, sizeof(*ip));
	return a;
}

/* Each gives the errno of its call, or 0. */
static int try_connect(int fd, const struct address *to)
{
	return connect(fd, &to->any, to->length) < 0 ? errno : 0;
}
static int try_send(int fd, const struct address *to)
{
	return sendto(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, &to->any, to->length) < 0 ? errno : 0;
}
static int try_bind(int fd, const struct address *to)
{
	return bind(fd, &to->any, to->length) < 0 ? errno : 0;
}

static const struct {
	int family, type;
	uint16_t port;
	int (*call)(int fd, const struct address *to);
	int answer;
} tries[HOOK_PROBE_COUNT] = {
	[HOOK_PROBE_CONNECT4] = { AF_INET, SOCK_STREAM, ANY_PORT, try_connect, ECONNREFUSED },
	[HOOK_PROBE_CONNECT6] = { AF_INET6, SOCK_STREAM, ANY_PORT, try_connect, ECONNREFUSED },
	[HOOK_PROBE_SENDMSG4] = { AF_INET, SOCK_DGRAM, ANY_PORT, try_send, ECONNREFUSED },
	[HOOK_PROBE_SENDMSG6] = { AF_INET6, SOCK_DGRAM, ANY_PORT, try_send, ECONNREFUSED },
	[HOOK_PROBE_BIND4] = { AF_INET, SOCK_DGRAM, DNS_PORT, try_bind, EPERM },
	[HOOK_PROBE_BIND6] = { AF_INET6, SOCK_DGRAM, DNS_PORT, try_bind, EPERM },
	/* The others tell by the name of a peer: peer_is_shown(). */
	[HOOK_PROBE_GETPEERNAME4] = { AF_INET, SOCK_DGRAM },
	[HOOK_PROBE_GETPEERNAME6] = { AF_INET6, SOCK_DGRAM },
};

uint64_t hook_probe_answers(const struct hook_probe *probe)
{
	uint64_t answers = 0;

	for (int i = 0; i < HOOK_PROBE_COUNT; i++)
		answers += tries[i].call && probe->hooks[i].state == HOOK_ANSWERED;
	return answers;
}

struct request {
	int netns_fd;
	struct ip vip4, vip6;
};
/* Memory that both processes see. */
struct report {
	bool done;
	int error; /* of what came before the probes */
	struct hook_probe probe;
};

/* A datagram socket's peer, which costs no packet: the hook shows the probe's address where another was connected to. */
static void peer_is_shown(struct hook_probe *probe, int i, int fd, const struct request *request)
{
	const struct ip responder = { .words = { 0, 0, htonl(0xffff), htonl(DNS_PROBE_ADDRESS) } };
	const struct address to = address_make(tries[i].family, &responder, DNS_PORT);
	const struct address expected = address_make(tries[i].family, &request->vip4, DNS_PORT);
	struct address shown = { .length = sizeof(shown.v6) };
	const int error = try_connect(fd, &to);

	if (error) {
		probe->hooks[i].error = error;
		return;
	}
	if (getpeername(fd, &shown.any, &shown.length) < 0)
		probe->hooks[i].error = errno;
	probe->hooks[i].state = shown.length == expected.length && (tries[i].family == AF_INET ?
			shown.v4.sin_addr.s_addr == expected.v4.sin_addr.s_addr :
			!memcmp(&shown.v6.sin6_addr, &expected.v6.sin6_addr, sizeof(shown.v6.sin6_addr))) ? HOOK_ANSWERED : HOOK_SILENT;
}

static void try_one(struct hook_probe *probe, int i, const struct request *request)
{
	const struct address to = address_make(tries[i].family, tries[i].family == AF_INET ? &request->vip4 : &request->vip6, tries[i].port);
	_cleanup_close_ int fd = socket(tries[i].family, tries[i].type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) < 0) {
		probe->hooks[i].error = errno;
		return;
	}
	if (!tries[i].call) {
		peer_is_shown(probe, i, fd, request);
		return;
	}
	probe->hooks[i].error = tries[i].call(fd, &to);
	probe->hooks[i].state = probe->hooks[i].error == tries[i].answer ? HOOK_ANSWERED : HOOK_SILENT;
}

/* The process in the workload's place. Of its parent's state it uses nothing but the stack. */
static void __attribute__((noreturn)) probe_process(const struct request *request, pid_t parent, struct report *report)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* A parent that ended before the prctl() is noticed by its number. */
	if (fd >= 0 && write(fd, "1000", 4) == 4 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
	    setns(request->netns_fd, CLONE_NEWNET) == 0) {
		for (int i = 0; i < HOOK_PROBE_COUNT; i++)
			try_one(&report->probe, i, request);
		report->done = true;
	} else {
		report->error = errno;
	}
	_exit(0);
}

static int await_end(int pid_fd, pid_t pid)
{
	struct pollfd poll_fd = { .fd = pid_fd, .events = POLLIN };
	const bool ended = poll(&poll_fd, 1, PROBE_TIME_MS) == 1;

	if (!ended)
		kill(pid, SIGKILL); /* our child, not waited for yet: the number is its own */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ended ? 0 : -ETIMEDOUT;
}

static int process_run(int cgroup_fd, const struct request *request, struct report *report)
{
	int pid_fd = -1, r;
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pid_fd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup_fd,
	};
	const pid_t parent = getpid(), pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return -errno;
	if (pid == 0)
		probe_process(request, parent, report);
	r = await_end(pid_fd, pid);
	fd_close(pid_fd);
	return r < 0 ? r : report->done ? 0 : report->error ? -report->error : -ECANCELED;
}

static int in_cgroup(const char *path, const struct request *request, struct hook_probe *ret_probe, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct report *report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int r;

	if (report == MAP_FAILED)
		return error_set(err, -errno, "cannot share memory with a probe: %m");
	r = fd < 0 ? -errno : process_run(fd, request, report);
	if (r == 0)
		*ret_probe = report->probe;
	munmap(report, sizeof(*report));
	if (r == -ETIMEDOUT)
		return error_set(err, r, "a probe in the cgroup '%s' did not end within %d ms: it gets no CPU", path, PROBE_TIME_MS);
	return r < 0 ? error_set(err, r, "cannot start a probe in the cgroup '%s': %s", path, strerror(-r)) : 0;
}

int hook_probe_run(const char *cgroup_root, const char *cgroup, int netns_fd, const struct ip *vip4, const struct ip *vip6,
		   struct hook_probe *ret_probe, struct error *err)
{
	const struct request request = { .netns_fd = netns_fd, .vip4 = *vip4, .vip6 = *vip6 };
	char path[PATH_MAX];
	int r = cgroup_headroom(cgroup_root, cgroup, HOOK_PROBE_MEMORY_BYTES, HOOK_PROBE_PROCESSES, err);

	if (r < 0)
		return r;
	if ((size_t)snprintf(path, sizeof(path), "%s%s", cgroup_root, cgroup) >= sizeof(path))
		return error_set(err, -ENAMETOOLONG, "the path of the cgroup '%s' is too long", cgroup);
	return in_cgroup(path, &request, ret_probe, err);
}
