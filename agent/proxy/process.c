/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
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

/* --- in a cgroup ---------------------------------------------------------------------------------------------------------------- */

/* In the child, which has a copy of this process's memory, and perhaps of locks that nobody will release: system calls alone. */
static _Noreturn void become(const char *const argv[], int failure_fd)
{
	sigset_t none;
	int null, e;

	for (int signal_number = 1; signal_number < _NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	null = open("/dev/null", O_RDONLY);
	if (null >= 0 && (null == STDIN_FILENO || dup2(null, STDIN_FILENO) >= 0) && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
		execve(argv[0], (char *const *)argv, environ);
	e = errno;
	if (write(failure_fd, &e, sizeof(e)) < 0)
		_exit(126); /* nobody hears why */
	_exit(127);
}

/* Started there, a program has not to move there: the kernel lets a process change its cgroup when all CPUs have gone by, which takes 10 to
 * 30 ms on a machine that has little to do (cgroup_threadgroup_rwsem). 0 or -errno: of execve(), or of clone3(), which is that no process
 * was made. */
static int spawn_into(int cgroup_fd, const char *const argv[], bool *ret_made, pid_t *ret_pid)
{
	struct clone_args how = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup_fd };
	_cleanup_close_ int heard = -1, told = -1;
	sigset_t all, before;
	int pipe_fds[2], e = 0;
	pid_t pid;

	*ret_made = false;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	heard = pipe_fds[0];
	told = pipe_fds[1];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* none is handled in the child */
	pid = (pid_t)syscall(SYS_clone3, &how, sizeof(how));
	if (pid == 0)
		become(argv, told);
	e = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return -e;
	*ret_made = true;
	told = fd_close(told);
	if (read(heard, &e, sizeof(e)) != sizeof(e)) { /* closed by execve() */
		*ret_pid = pid;
		return 0;
	}
	waitpid(pid, NULL, 0);
	return -e;
}

/* --- start ---------------------------------------------------------------------------------------------------------------------- */

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

int process_spawn(struct loop *loop, const char *const argv[], int cgroup_fd, process_ended_fn *ended, void *arg,
		  struct process **ret_process, struct error *err)
{
	bool made = false;
	pid_t pid;
	int r = cgroup_fd >= 0 ? spawn_into(cgroup_fd, argv, &made, &pid) : 0;

	if (!made)
		r = -spawn(argv, &pid);
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
