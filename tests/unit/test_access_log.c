/* SPDX-License-Identifier: Apache-2.0 */
/* Lines from workers into files, below a directory for workloads without a process, or of a process of our own: no privilege is needed. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/access_log/access_log.h"
#include "agent/access_log/file.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"

#define WORKERS 2
#define LINE_FORMAT "%REQ(:PATH)%\n"
#define SOON (10 * NSEC_PER_SEC)

/* --- a world ---------------------------------------------------------------------------------------------------------------- */

struct world {
	char directory[64];
	char root[96]; /* of the node's files */
	struct access_logs *logs;
	size_t written, seen; /* by write_lines(), by drain() */
};

static void world_init_sized(struct world *world, size_t log_bytes_max, size_t total_bytes_max)
{
	struct access_logs_options options = { .worker_count = WORKERS, .log_bytes_max = log_bytes_max, .total_bytes_max = total_bytes_max };

	*world = (struct world){ .directory = "/tmp/access-log-XXXXXX" };
	EXPECT(mkdtemp(world->directory));
	snprintf(world->root, sizeof(world->root), "%s/m/n", world->directory);
	options.workload_files = world->directory;
	EXPECT_OK(access_logs_new(&options, &world->logs));
}

static void world_init(struct world *world)
{
	world_init_sized(world, 0, 0);
}

static void world_done(struct world *world)
{
	char command[128];

	access_logs_free(world->logs);
	snprintf(command, sizeof(command), "rm -rf %s", world->directory);
	EXPECT_EQ(system(command), 0);
}

static struct access_log *log_opened(struct world *world, int pidfd, const char *path, const char *format)
{
	_cleanup_json_ json_t *file = json_pack("{s:s, s:{s:s}}", "path", path, "format", "text", format);
	const struct access_log_request request = { .workload = 7, .pidfd = pidfd, .mesh = SPAN("m"), .node = SPAN("n"), .file = file };
	struct access_log *log;
	struct error err = {};

	EXPECT_OK(access_log_open(world->logs, &request, &log, &err), &err);
	return log;
}

static bool write_line(struct access_log *log, size_t worker, const char *text)
{
	const struct access_log_entry entry = { .path = span_of(text) };

	return access_log_write(log, worker, &entry);
}

/* "0\n", "1\n", … with `padding` bytes before the newline. */
static void write_lines(struct world *world, struct access_log *log, size_t count, size_t padding)
{
	char text[8192];

	for (size_t i = 0; i < count; i++, world->written++) {
		const int length = snprintf(text, sizeof(text), "%zu-", world->written);

		memset(text + length, 'x', padding);
		text[(size_t)length + padding] = '\0';
		write_line(log, 0, text);
	}
}

static uint64_t dropped(const struct access_log *log)
{
	const struct access_log_totals totals = access_log_totals(log);
	uint64_t lines = 0;

	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		lines += totals.dropped[i];
	return lines;
}

static const char *file_text(const struct world *world, const char *name)
{
	static char text[1 << 20];
	char path[160];
	_cleanup_close_ int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "%s%s", world->root, name);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[length < 0 ? 0 : length] = '\0';
	return fd < 0 ? "(none)" : text;
}

static void rename_file(const struct world *world, const char *from, const char *to)
{
	char a[160], b[160];

	snprintf(a, sizeof(a), "%s%s", world->root, from);
	snprintf(b, sizeof(b), "%s%s", world->root, to);
	EXPECT_EQ(rename(a, b), 0);
}

static const char *log_error(struct world *world)
{
	static char text[1024];
	_cleanup_json_ json_t *list = access_logs_json(world->logs);
	const char *error = json_path_string(json_array_get(list, 0), "error");

	snprintf(text, sizeof(text), "%s", error ? error : "(none)");
	return text;
}

static int make_fifo(const struct world *world, const char *name)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/m", world->directory);
	mkdir(path, 0700);
	mkdir(world->root, 0700);
	snprintf(path, sizeof(path), "%s%s", world->root, name);
	EXPECT_EQ(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	EXPECT(fd >= 0);
	return fd;
}

/* --- lines ------------------------------------------------------------------------------------------------------------------ */

TEST(lines_of_workers_come_into_the_file_when_they_flush)
{
	struct world world;
	struct access_log *log;

	world_init(&world);
	log = log_opened(&world, -1, "/var/log/app/access.log", LINE_FORMAT);
	EXPECT(write_line(log, 0, "/a"));
	EXPECT(!write_line(log, 0, "/b"));
	EXPECT(write_line(log, 1, "/c"));
	EXPECT_EQ(access_log_totals(log).queued_bytes, 0);
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_log_totals(log).lines == 2, SOON);
	EXPECT_STR(file_text(&world, "/var/log/app/access.log"), "/a\n/b\n");
	access_logs_flush(world.logs, 1);
	access_logs_flush(world.logs, 1);
	WAIT_FOR(access_log_totals(log).lines == 3, SOON);
	EXPECT_STR(file_text(&world, "/var/log/app/access.log"), "/a\n/b\n/c\n");
	EXPECT(write_line(log, 0, "/d"));
	access_logs_flush(world.logs, 0);
	access_log_unref(log);
	WAIT_FOR(access_logs_totals(world.logs).lines == 4, SOON);
	EXPECT_EQ(access_logs_totals(world.logs).bytes, 12);
	world_done(&world);
}

TEST(what_a_worker_has_put_down_outlives_the_last_reference)
{
	struct world world;
	struct access_log *log;

	world_init(&world);
	log = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	write_line(log, 0, "/late");
	access_log_unref(log);
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_logs_totals(world.logs).lines == 1, SOON);
	EXPECT_STR(file_text(&world, "/a.log"), "/late\n");
	world_done(&world);
}

TEST(a_log_is_one_for_each_workload_path_and_format)
{
	struct world world;
	struct access_log *logs[4];

	world_init(&world);
	logs[0] = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	logs[1] = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	logs[2] = log_opened(&world, -1, "/b.log", LINE_FORMAT);
	logs[3] = log_opened(&world, -1, "/a.log", "%PROTOCOL%\n");
	EXPECT(logs[0] == logs[1] && logs[0] != logs[2] && logs[0] != logs[3]);
	for (size_t i = 0; i < ARRAY_SIZE(logs); i++)
		access_log_unref(logs[i]);
	world_done(&world);
}

TEST(many_lines_from_two_threads_are_all_there_in_order)
{
	struct world world;
	struct access_log *log;
	size_t counts[2] = {};
	char *text;

	world_init(&world);
	log = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	for (size_t i = 0; i < 20000; i++) {
		char line[32];

		snprintf(line, sizeof(line), "%zu %zu", i % 2, i / 2);
		write_line(log, i % 2, line);
	}
	access_logs_flush(world.logs, 0);
	access_logs_flush(world.logs, 1);
	WAIT_FOR(access_log_totals(log).lines == 20000, SOON);
	text = strdup(file_text(&world, "/a.log"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		size_t worker, number;

		EXPECT_EQ(sscanf(line, "%zu %zu", &worker, &number), 2);
		EXPECT_EQ(number, counts[worker]++);
	}
	EXPECT_EQ(counts[0] + counts[1], 20000);
	free(text);
	access_log_unref(log);
	world_done(&world);
}

TEST(a_line_that_is_too_long_is_dropped_alone)
{
	char *big = malloc(ACCESS_LOG_LINE_MAX_BYTES + 1);
	struct world world;
	struct access_log *log;

	memset(big, 'x', ACCESS_LOG_LINE_MAX_BYTES);
	big[ACCESS_LOG_LINE_MAX_BYTES] = '\0';
	world_init(&world);
	log = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	write_line(log, 0, "a");
	write_line(log, 0, big);
	write_line(log, 0, "b");
	write_line(log, 0, big + 1);
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_log_totals(log).lines == 3, SOON);
	EXPECT_EQ(access_log_totals(log).dropped[ACCESS_LOG_LINE_TOO_LONG], 1);
	EXPECT_EQ(strncmp(file_text(&world, "/a.log"), "a\nb\nxxx", 7), 0);
	access_log_unref(log);
	world_done(&world);
	free(big);
}

TEST(lines_may_be_empty)
{
	struct world world;
	struct access_log *log;

	world_init(&world);
	log = log_opened(&world, -1, "/a.log", "%LOCAL_REPLY_BODY%");
	write_line(log, 0, "a");
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_log_totals(log).lines == 1, SOON);
	EXPECT_STR(file_text(&world, "/a.log"), "");
	access_log_unref(log);
	world_done(&world);
}

/* --- rotation --------------------------------------------------------------------------------------------------------------- */

static void write_and_wait(struct world *world, struct access_log *log, const char *text)
{
	const uint64_t before = access_log_totals(log).lines;

	write_line(log, 0, text);
	access_logs_flush(world->logs, 0);
	WAIT_FOR(access_log_totals(log).lines == before + 1, SOON);
}

/* Until a line is the first of a new file; those before it may still be in the old one. */
static void write_until_opened(struct world *world, struct access_log *log, uint64_t opened)
{
	while (access_log_totals(log).opened < opened) {
		write_and_wait(world, log, "more");
		poll(NULL, 0, 10);
	}
}

TEST(a_file_that_is_renamed_or_removed_is_opened_anew)
{
	struct world world;
	struct access_log *log;
	char path[160];

	world_init(&world);
	log = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	write_and_wait(&world, log, "1");
	rename_file(&world, "/a.log", "/a.log.1");
	write_until_opened(&world, log, 2);
	EXPECT_EQ(strncmp(file_text(&world, "/a.log.1"), "1\n", 2), 0);
	EXPECT_CONTAINS(file_text(&world, "/a.log"), "more\n");
	snprintf(path, sizeof(path), "%s/a.log", world.root);
	EXPECT_EQ(unlink(path), 0);
	write_until_opened(&world, log, 3);
	EXPECT_CONTAINS(file_text(&world, "/a.log"), "more\n");
	EXPECT_EQ(dropped(log), 0);
	access_log_unref(log);
	world_done(&world);
}

TEST(reopening_opens_the_file_of_this_log_anew_without_a_line)
{
	struct access_log *log, *other;
	struct world world;

	world_init(&world);
	log = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	other = log_opened(&world, -1, "/b.log", LINE_FORMAT);
	write_and_wait(&world, other, "other");
	write_and_wait(&world, log, "1");
	rename_file(&world, "/a.log", "/a.log.1");
	access_log_reopen(log);
	WAIT_FOR(access_log_totals(log).opened == 2, SOON);
	write_and_wait(&world, log, "2");
	EXPECT_STR(file_text(&world, "/a.log.1"), "1\n");
	EXPECT_STR(file_text(&world, "/a.log"), "2\n");
	EXPECT_EQ(access_log_totals(other).opened, 1);
	access_log_unref(other);
	access_log_unref(log);
	world_done(&world);
}

/* --- what takes nothing ----------------------------------------------------------------------------------------------------- */

/* Reads until all lines that are not dropped were seen; each has to be whole. */
static void drain(struct world *world, struct access_log *log, int fd)
{
	struct buffer text = {};
	size_t number, last = SIZE_MAX;

	while (world->seen + dropped(log) < world->written) {
		char *to = buffer_reserve(&text, 65536), *newline;
		ssize_t length = read(fd, to, 65536);

		if (length <= 0) {
			struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

			EXPECT(poll(&poll_fd, 1, 10000) > 0);
			continue;
		}
		text.length += (size_t)length;
		while ((newline = memchr(text.data, '\n', text.length))) {
			EXPECT_EQ(sscanf(text.data, "%zu-x", &number), 1);
			EXPECT(last == SIZE_MAX || number > last);
			last = number;
			world->seen++;
			buffer_consume(&text, (size_t)(newline + 1 - text.data));
		}
	}
	EXPECT_EQ(text.length, 0);
	buffer_done(&text);
}

TEST(a_fifo_that_is_not_read_drops_lines_and_holds_up_nobody)
{
	_cleanup_close_ int fd = -1;
	struct world world;
	struct access_log *log, *other;
	uint64_t begin_ns;

	world_init_sized(&world, 256 * 1024, 0);
	fd = make_fifo(&world, "/fifo");
	log = log_opened(&world, -1, "/fifo", LINE_FORMAT);
	other = log_opened(&world, -1, "/other.log", LINE_FORMAT);
	WAIT_FOR(access_log_totals(log).opened == 1, SOON);
	begin_ns = time_now_ns();
	write_lines(&world, log, 20000, 100);
	access_logs_flush(world.logs, 0);
	EXPECT(time_now_ns() - begin_ns < 5 * NSEC_PER_SEC * test_slowness());
	EXPECT(access_log_totals(log).dropped[ACCESS_LOG_QUEUE_FULL] > 10000);
	EXPECT(access_log_totals(log).queued_bytes <= 256 * 1024);
	write_and_wait(&world, other, "goes on");
	drain(&world, log, fd);
	WAIT_FOR(access_log_totals(log).lines + dropped(log) == 20000, SOON);
	/* It goes on where it is read again. */
	write_lines(&world, log, 10, 100);
	access_logs_flush(world.logs, 0);
	drain(&world, log, fd);
	access_log_unref(log);
	access_log_unref(other);
	world_done(&world);
}

TEST(lines_longer_than_a_pipe_takes_at_once_are_whole_for_a_slow_reader)
{
	_cleanup_close_ int fd = -1;
	struct world world;
	struct access_log *log;

	world_init(&world);
	fd = make_fifo(&world, "/fifo");
	log = log_opened(&world, -1, "/fifo", LINE_FORMAT);
	WAIT_FOR(access_log_totals(log).opened == 1, SOON);
	write_lines(&world, log, 100, 6000);
	access_logs_flush(world.logs, 0);
	drain(&world, log, fd);
	EXPECT_EQ(dropped(log), 0);
	access_log_unref(log);
	world_done(&world);
}

TEST(all_logs_together_have_a_bound)
{
	int fds[2];
	struct world world;
	struct access_log *logs[2];

	world_init_sized(&world, 1024 * 1024, 300 * 1024);
	fds[0] = make_fifo(&world, "/fifo0");
	fds[1] = make_fifo(&world, "/fifo1");
	logs[0] = log_opened(&world, -1, "/fifo0", LINE_FORMAT);
	logs[1] = log_opened(&world, -1, "/fifo1", LINE_FORMAT);
	for (size_t i = 0; i < 2; i++) {
		WAIT_FOR(access_log_totals(logs[i]).opened == 1, SOON);
		write_lines(&world, logs[i], 6000, 100);
	}
	access_logs_flush(world.logs, 0);
	EXPECT(access_logs_totals(world.logs).queued_bytes <= 300 * 1024);
	EXPECT(access_log_totals(logs[1]).dropped[ACCESS_LOG_TOTAL_FULL] > 0);
	close(fds[0]);
	close(fds[1]);
	for (size_t i = 0; i < 2; i++) {
		WAIT_FOR(access_log_totals(logs[i]).lines + dropped(logs[i]) == 6000, SOON);
		access_log_unref(logs[i]);
	}
	WAIT_FOR(access_logs_totals(world.logs).queued_bytes == 0, SOON);
	world_done(&world);
}

TEST(a_fifo_without_reader_drops_until_somebody_reads)
{
	_cleanup_close_ int fd = -1;
	struct world world;
	struct access_log *log;
	char path[160];

	world_init(&world);
	close(make_fifo(&world, "/fifo"));
	log = log_opened(&world, -1, "/fifo", LINE_FORMAT);
	write_line(log, 0, "a");
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_log_totals(log).dropped[ACCESS_LOG_NOT_OPEN] == 1, SOON);
	EXPECT_STR(log_error(&world), "nobody reads the FIFO '/fifo'");
	snprintf(path, sizeof(path), "%s/fifo", world.root);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	while (access_log_totals(log).lines == 0) { /* it is tried again after a second */
		write_line(log, 0, "b");
		access_logs_flush(world.logs, 0);
		poll(NULL, 0, 20);
	}
	EXPECT_STR(log_error(&world), "(none)");
	access_log_unref(log);
	world_done(&world);
}

TEST(after_a_full_disk_the_next_line_is_whole)
{
	struct rlimit before, limit;
	struct world world;
	struct access_log *log;

	world_init(&world);
	log = log_opened(&world, -1, "/a.log", LINE_FORMAT);
	write_and_wait(&world, log, "first");
	EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 1000, before.rlim_max };
	EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	write_lines(&world, log, 20, 97); /* "0-" and a newline: 100 bytes; 10 more digits from 10 on */
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_log_totals(log).lines + dropped(log) == 21, SOON);
	EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
	EXPECT_EQ(access_log_totals(log).lines, 10); /* "first", and nine of 100 bytes: 906 */
	EXPECT_EQ(access_log_totals(log).dropped[ACCESS_LOG_WRITE_FAILED], 11);
	EXPECT_CONTAINS(log_error(&world), "cannot write to '/a.log': File too large");
	write_and_wait(&world, log, "after");
	EXPECT_STR(file_text(&world, "/a.log") + 1000, "\nafter\n");
	WAIT_FOR(strcmp(log_error(&world), "(none)") == 0, SOON);
	access_log_unref(log);
	world_done(&world);
}

/* --- paths ------------------------------------------------------------------------------------------------------------------ */

static void expect_refused(const struct access_log_place *place, const char *path, int code, const char *words)
{
	struct access_log_file file;
	struct error err = {};

	EXPECT_EQ(access_log_file_open(place, path, &file, &err), code);
	EXPECT_CONTAINS(err.message, words);
}

static void expect_opened(const struct access_log_place *place, const char *path)
{
	struct access_log_file file;
	struct error err = {};

	EXPECT_OK(access_log_file_open(place, path, &file, &err), &err);
	access_log_file_close(&file);
}

TEST(paths_stay_below_the_root)
{
	struct world world;
	struct access_log_place place = { .pidfd = -1, .mesh = "m", .node = "n" };
	char path[160];

	world_init(&world);
	place.directory = world.directory;
	expect_opened(&place, "/../../../../escape.log");
	EXPECT_STR(file_text(&world, "/escape.log"), "");
	expect_opened(&place, "relative/../../a.log");
	EXPECT_STR(file_text(&world, "/a.log"), "");
	snprintf(path, sizeof(path), "%s/link", world.root);
	EXPECT_EQ(symlink("/etc/passwd", path), 0);
	expect_refused(&place, "/link", -EEXIST, "a link to what is not there");
	snprintf(path, sizeof(path), "%s/up", world.root);
	EXPECT_EQ(symlink("../../..", path), 0);
	expect_opened(&place, "/up/b.log");
	EXPECT_STR(file_text(&world, "/b.log"), "");
	expect_refused(&place, "/", -ENOTSUP, "is a directory");
	expect_refused(&place, "/dev/stdout", -ENOTSUP, "this workload has none");
	place.node = "..";
	expect_refused(&place, "/a.log", -EINVAL, "Invalid argument");
	place.node = "a/b";
	expect_refused(&place, "/a.log", -EINVAL, "Invalid argument");
	place.node = "planted";
	snprintf(path, sizeof(path), "%s/m/planted", world.directory);
	EXPECT_EQ(symlink("/tmp", path), 0);
	expect_refused(&place, "/a.log", -ELOOP, "Too many levels");
	world_done(&world);
}

TEST(devices_and_interfaces_of_the_kernel_are_refused)
{
	_cleanup_close_ int pidfd = pidfd_open(getpid(), 0);
	const struct access_log_place place = { .pidfd = pidfd };

	expect_refused(&place, "/dev/null", -ENOTSUP, "is a character device");
	expect_refused(&place, "/dev/full", -ENOTSUP, "is a character device");
	expect_refused(&place, "/proc/sys/kernel/core_pattern", -ENOTSUP, "is in proc");
	expect_refused(&place, "/proc/self/exe", -ELOOP, "Too many levels");
	expect_refused(&place, "/proc/self/root/tmp/a.log", -ELOOP, "Too many levels");
	expect_refused(&place, "/nowhere/at/all.log", -ENOENT, "No such file or directory");
}

/* --- output of a process ---------------------------------------------------------------------------------------------------- */

/* A child that does nothing, with a pipe as its standard output. */
static pid_t child_with_pipe(int *ret_read_fd, int *ret_pidfd)
{
	char ready;
	int fds[2];
	pid_t pid;

	EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (dup2(fds[1], STDOUT_FILENO) < 0 || write(STDOUT_FILENO, "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	EXPECT_EQ(read(fds[0], &ready, 1), 1);
	*ret_read_fd = fds[0];
	*ret_pidfd = pidfd_open(pid, 0);
	EXPECT(*ret_pidfd >= 0);
	return pid;
}

static void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(stdout_is_that_of_the_process)
{
	_cleanup_close_ int read_fd = -1, pidfd = -1;
	pid_t pid = child_with_pipe(&read_fd, &pidfd);
	struct world world;
	struct access_log *log;
	char text[64] = "";

	world_init(&world);
	log = log_opened(&world, pidfd, "/dev/stdout", LINE_FORMAT);
	write_line(log, 0, "hello");
	access_logs_flush(world.logs, 0);
	EXPECT_EQ(read(read_fd, text, sizeof(text)), 6);
	EXPECT_STR(text, "hello\n");
	/* Its flags are the process's own. */
	EXPECT_EQ(fcntl(read_fd, F_GETFL) & O_NONBLOCK, 0);
	access_log_unref(log);
	WAIT_FOR(access_logs_totals(world.logs).lines == 1, SOON);
	child_end(pid);
	world_done(&world);
}

TEST(a_process_that_has_ended_has_no_files)
{
	_cleanup_close_ int read_fd = -1, pidfd = -1;
	pid_t pid = child_with_pipe(&read_fd, &pidfd);
	struct access_log_place place = { .pidfd = pidfd };
	struct world world;
	struct access_log *log;

	child_end(pid);
	expect_refused(&place, "/dev/stdout", -ESRCH, "the process of the workload has ended");
	expect_refused(&place, "/tmp/a.log", -ESRCH, "the process of the workload has ended");
	world_init(&world);
	log = log_opened(&world, pidfd, "/tmp/a.log", LINE_FORMAT);
	write_line(log, 0, "a");
	access_logs_flush(world.logs, 0);
	WAIT_FOR(access_log_totals(log).dropped[ACCESS_LOG_NOT_OPEN] == 1, SOON);
	EXPECT_STR(log_error(&world), "the process of the workload has ended");
	access_log_unref(log);
	world_done(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_workers_come_into_the_file_when_they_flush),
		cmocka_unit_test(what_a_worker_has_put_down_outlives_the_last_reference),
		cmocka_unit_test(a_log_is_one_for_each_workload_path_and_format),
		cmocka_unit_test(many_lines_from_two_threads_are_all_there_in_order),
		cmocka_unit_test(a_line_that_is_too_long_is_dropped_alone),
		cmocka_unit_test(lines_may_be_empty),
		cmocka_unit_test(a_file_that_is_renamed_or_removed_is_opened_anew),
		cmocka_unit_test(reopening_opens_the_file_of_this_log_anew_without_a_line),
		cmocka_unit_test(a_fifo_that_is_not_read_drops_lines_and_holds_up_nobody),
		cmocka_unit_test(lines_longer_than_a_pipe_takes_at_once_are_whole_for_a_slow_reader),
		cmocka_unit_test(all_logs_together_have_a_bound),
		cmocka_unit_test(a_fifo_without_reader_drops_until_somebody_reads),
		cmocka_unit_test(after_a_full_disk_the_next_line_is_whole),
		cmocka_unit_test(paths_stay_below_the_root),
		cmocka_unit_test(devices_and_interfaces_of_the_kernel_are_refused),
		cmocka_unit_test(stdout_is_that_of_the_process),
		cmocka_unit_test(a_process_that_has_ended_has_no_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
