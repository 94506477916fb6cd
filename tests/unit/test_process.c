/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/proxy/build.h"
#include "agent/proxy/process.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"

struct fixture {
	struct loop *loop;
	struct process *process;
	char how[64];
};

static void on_ended(struct process *process, const char *how, void *arg)
{
	struct fixture *f = arg;

	EXPECT(process == f->process);
	snprintf(f->how, sizeof(f->how), "%s", how);
	f->process = process_free(process);
}

static void given(struct fixture *f)
{
	*f = (struct fixture){};
	EXPECT_OK(loop_new(&f->loop));
}

static void done(struct fixture *f)
{
	process_free(f->process);
	loop_free(f->loop);
}

static void spawn(struct fixture *f, const char *script)
{
	struct error err = {};

	EXPECT_OK(process_spawn(f->loop, (const char *const[]){ "/bin/sh", "-c", script, NULL }, -1, on_ended, f, &f->process, &err), &err);
}

static const char *end_of(struct fixture *f)
{
	WAIT_FOR((loop_turn(f->loop, NSEC_PER_MSEC), f->how[0]), 10 * NSEC_PER_SEC);
	return f->how;
}

TEST(a_childs_end_is_told_with_its_status_or_signal)
{
	struct fixture f;

	given(&f);
	spawn(&f, "exit 3");
	EXPECT(f.process->child);
	EXPECT_STR(end_of(&f), "exited with status 3");
	f.how[0] = '\0';
	spawn(&f, "exec sleep 100");
	EXPECT_OK(process_signal(f.process, SIGKILL));
	EXPECT_STR(end_of(&f), "killed by signal 9");
	EXPECT_EQ(waitpid(-1, NULL, WNOHANG), -1); /* it was waited for */
	done(&f);
}

TEST(a_child_has_a_session_of_its_own_no_input_and_signals_as_a_new_program_expects)
{
	struct fixture f;
	sigset_t blocked, before;

	given(&f);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGPIPE);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	spawn(&f, "kill -PIPE $$; exit 1");
	EXPECT_STR(end_of(&f), "killed by signal 13");
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, SIG_DFL);
	f.how[0] = '\0';
	spawn(&f, "read line && exit 1; test $(cut -d' ' -f6 /proc/$$/stat) = $$ || exit 2; exit 0");
	EXPECT_STR(end_of(&f), "exited with status 0");
	done(&f);
}

TEST(a_program_that_is_not_there_is_named)
{
	struct fixture f;
	struct error err = {};

	given(&f);
	EXPECT_EQ(process_spawn(f.loop, (const char *const[]){ "/nowhere/weft-proxy", NULL }, -1, on_ended, &f, &f.process, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "/nowhere/weft-proxy");
	done(&f);
}

TEST(where_the_kernel_starts_nothing_in_a_directory_it_is_started_here)
{
	_cleanup_close_ int no_cgroup = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct error err = {};
	struct fixture f;

	given(&f);
	EXPECT_OK(process_spawn(f.loop, (const char *const[]){ "/bin/sh", "-c", "exit 4", NULL }, no_cgroup, on_ended, &f, &f.process, &err),
		  &err);
	EXPECT_STR(end_of(&f), "exited with status 4");
	done(&f);
}

TEST(somebody_elses_process_is_watched_to_its_end)
{
	struct fixture f;
	struct error err = {};
	const pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	given(&f);
	EXPECT_OK(process_adopt(f.loop, pid, on_ended, &f, &f.process, &err), &err);
	EXPECT(!f.process->child);
	EXPECT_OK(loop_turn(f.loop, 0));
	EXPECT_STR(f.how, "");
	kill(pid, SIGKILL);
	EXPECT_STR(end_of(&f), "ended");
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
	EXPECT_EQ(process_adopt(f.loop, pid, on_ended, &f, &f.process, &err), -ESRCH);
	done(&f);
}

TEST(a_process_goes_on_when_its_watch_is_freed)
{
	struct fixture f;
	pid_t pid;

	given(&f);
	spawn(&f, "exec sleep 100");
	pid = f.process->pid;
	f.process = process_free(f.process);
	EXPECT_OK(kill(pid, 0));
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
	done(&f);
}

TEST(a_build_is_told_by_the_content_of_its_file)
{
	char path[] = "/tmp/weft-build-XXXXXX", own[BUILD_TEXT_BYTES], first[BUILD_TEXT_BYTES], second[BUILD_TEXT_BYTES];
	_cleanup_close_ int fd = mkstemp(path);
	struct error err = {};

	EXPECT_OK(build_of(BUILD_OWN, own, &err), &err);
	EXPECT_EQ(strlen(own), BUILD_TEXT_BYTES - 1);
	assert_int_equal(write(fd, "a", 1), 1);
	EXPECT_OK(build_of(path, first, &err), &err);
	EXPECT_OK(build_of(path, second, &err), &err);
	EXPECT_STR(first, second);
	assert_int_equal(write(fd, "b", 1), 1);
	EXPECT_OK(build_of(path, second, &err), &err);
	EXPECT(strcmp(first, second) && strcmp(first, own));
	unlink(path);
	EXPECT_EQ(build_of(path, first, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_childs_end_is_told_with_its_status_or_signal),
		cmocka_unit_test(a_child_has_a_session_of_its_own_no_input_and_signals_as_a_new_program_expects),
		cmocka_unit_test(a_program_that_is_not_there_is_named),
		cmocka_unit_test(where_the_kernel_starts_nothing_in_a_directory_it_is_started_here),
		cmocka_unit_test(somebody_elses_process_is_watched_to_its_end),
		cmocka_unit_test(a_process_goes_on_when_its_watch_is_freed),
		cmocka_unit_test(a_build_is_told_by_the_content_of_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
