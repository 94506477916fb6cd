/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"

static void on_ended(struct loop_io *io, uint32_t events, void *arg)
{
	struct process *process = arg;
	siginfo_t info = {};
	char how[64] = "ended";

	(void)io;
	(void)events;
	process->io = loop_io_remove(process->io);
	if (process->child && waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED) == 0)
		snprintf(how, sizeof(how), info.si_code == CLD_EXITED ? "exited with status %d" : "killed by signal %d", info.si_status);
	process->ended(process, how, process->arg);
}

int process_adopt(struct loop *loop, pid_t pid, process_ended_fn *ended, void *arg, struct process **ret_process, struct error *err)
{
	struct process *process = calloc(1, sizeof(*process));
	int r;

	if (!process)
		return error_set(err, -ENOMEM, "out of memory");
	*process = (struct process){ .pid = pid, .ended = ended, .arg = arg, .since_ns = time_now_ns() };
	process->pidfd = pidfd_open(pid, 0); /* close-on-exec, as the kernel makes it */
	r = process->pidfd < 0 ? -errno : loop_io_add(loop, process->pidfd, EPOLLIN, on_ended, process, &process->io);
	if (r < 0) {
		process_free(process);
		return error_set(err, r, "cannot watch process %d: %s", pid, strerror(-r));
	}
	*ret_process = process;
	return 0;
}

/* 0 or an errno, as these functions return it. */
static int spawn(const char *const argv[], pid_t *ret_pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int e = posix_spawn_file_actions_init(&files);

	if (e)
		return e;
	e = posix_spawnattr_init(&attributes);
	if (e) {
		posix_spawn_file_actions_destroy(&files);
		return e;
	}
	sigemptyset(&none);
	sigfillset(&all);
	/* A signal to our terminal or service is not meant for it; what we block and ignore is our business. */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	e = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!e)
		e = posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	if (!e)
		e = posix_spawn(ret_pid, argv[0], &files, &attributes, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return e;
}

int process_spawn(struct loop *loop, const char *const argv[], process_ended_fn *ended, void *arg, struct process **ret_process,
		  struct error *err)
{
	pid_t pid;
	int r = -spawn(argv, &pid);

	if (r < 0)
		return error_set(err, r, "cannot start '%s': %s", argv[0], strerror(-r));
	r = process_adopt(loop, pid, ended, arg, ret_process, err); /* a child keeps its pid until we have waited for it */
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	(*ret_process)->child = true;
	return 0;
}

int process_signal(const struct process *process, int signal)
{
	return pidfd_send_signal(process->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

struct process *process_free(struct process *process)
{
	if (!process)
		return NULL;
	loop_io_remove(process->io);
	fd_close(process->pidfd);
	free(process);
	return NULL;
}
