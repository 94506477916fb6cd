/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at real processes, each with a directory of ours as its root; a cgroup is a directory with the files that the kernel would put
 * there. Needs root or user namespaces. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/dns/resolv_look.h"
#include "agent/dns/resolv_watch.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"
#include "tests/unit/clock.h"

#define PATIENCE (60 * NSEC_PER_SEC)
#define PROCESSES_MAX 12

struct world {
	char dir[64];
	char cgroup[80]; /* dir/cgroup */
	pid_t processes[PROCESSES_MAX];
	int command_fds[PROCESSES_MAX];
	size_t process_count;
	struct loop *loop;
	struct offload *offload;
	struct resolv_watches *watches;
};

struct told {
	int calls;
	struct resolv_found found;
	struct resolv_watch *watch;
};

/* ---- files ---- */

static struct world *current; /* of the test at hand: one that fails leaves by longjmp */

static const char *at(const struct world *w, const char *path)
{
	static char paths[4][256];
	static unsigned next;
	char *buffer = paths[next++ % ARRAY_SIZE(paths)];

	EXPECT((size_t)snprintf(buffer, sizeof(paths[0]), "%s/%s", w->dir, path) < sizeof(paths[0]));
	return buffer;
}

static void write_at(const struct world *w, const char *path, const char *text)
{
	_cleanup_close_ int fd = open(at(w, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
}

static void make_dir(const struct world *w, const char *path)
{
	if (mkdir(at(w, path), 0755) < 0)
		fail_msg("cannot make %s: %m", path);
}

/* A root directory with etc/resolv.conf (NULL: none). */
static void given_root(const struct world *w, const char *name, const char *resolv_conf)
{
	char path[128];

	make_dir(w, name);
	snprintf(path, sizeof(path), "%s/etc", name);
	make_dir(w, path);
	snprintf(path, sizeof(path), "%s/etc/resolv.conf", name);
	if (resolv_conf)
		write_at(w, path, resolv_conf);
}

static void given_socket(const struct world *w, const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(name.sun_path, sizeof(name.sun_path), "%s", at(w, path));
	EXPECT_OK(bind(fd, (struct sockaddr *)&name, sizeof(name)));
}

/* ---- world ---- */

static struct world *given_world(void)
{
	struct world *w = calloc(1, sizeof(*w));

	EXPECT(w);
	current = w;
	memcpy(w->dir, "/tmp/weft-resolv-XXXXXX", sizeof("/tmp/weft-resolv-XXXXXX"));
	EXPECT(mkdtemp(w->dir));
	EXPECT_OK(chmod(w->dir, 0755));
	snprintf(w->cgroup, sizeof(w->cgroup), "%s/cgroup", w->dir);
	make_dir(w, "cgroup");
	write_at(w, "cgroup/cgroup.procs", "");
	write_at(w, "cgroup/cgroup.events", "populated 0\n");
	EXPECT_OK(loop_new(&w->loop));
	EXPECT_OK(offload_new(w->loop, "test-offload", &w->offload));
	EXPECT_OK(resolv_watches_new(w->loop, w->offload, &w->watches));
	return w;
}

static void process_end(struct world *w, size_t number)
{
	if (!w->processes[number])
		return;
	close(w->command_fds[number]);
	kill(w->processes[number], SIGKILL);
	waitpid(w->processes[number], NULL, 0);
	w->processes[number] = 0;
}

static int world_done(void **state)
{
	struct world *w = current;
	char command[128];

	(void)state;
	current = NULL;
	clock_stopped = (struct timespec){};
	if (!w)
		return 0;
	resolv_watches_free(w->watches);
	offload_free(w->offload);
	EXPECT_OK(loop_turn(w->loop, 0));
	loop_free(w->loop);
	for (size_t i = 0; i < w->process_count; i++)
		process_end(w, i);
	snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
	EXPECT_EQ(system(command), 0);
	free(w);
	return 0;
}

static void list_processes(const struct world *w)
{
	char text[256] = "";

	for (size_t i = 0; i < w->process_count; i++)
		if (w->processes[i])
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d\n", w->processes[i]);
	write_at(w, "cgroup/cgroup.procs", text);
}

/* What it is told: "FROM TO": bind-mounts. */
static void process_main(int command_fd, int ready_fd, int namespaces, const char *root)
{
	char command[256], *to;
	ssize_t length;
	char answer = 'y';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		answer = 'n';
	if (namespaces && unshare(namespaces) < 0)
		answer = 'n';
	if (namespaces & CLONE_NEWNS && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		answer = 'n';
	if (chroot(root) < 0 || chdir("/") < 0)
		answer = 'n';
	while (write(ready_fd, &answer, 1) == 1 && (length = read(command_fd, command, sizeof(command) - 1)) > 0) {
		command[length] = '\0';
		to = strchr(command, ' ');
		*to++ = '\0';
		answer = mount(command, to, NULL, MS_BIND, NULL) == 0 ? 'y' : 'n';
	}
	_exit(0);
}

static int ready_fds[PROCESSES_MAX];

static void await(size_t number)
{
	char answer = 0;

	EXPECT_EQ(read(ready_fds[number], &answer, 1), 1);
	if (answer != 'y') {
		print_message("[  SKIPPED ] needs root or user namespaces\n");
		skip();
	}
}

/* A process of the cgroup; its number. */
static size_t given_process(struct world *w, const char *root, int namespaces)
{
	const size_t number = w->process_count++;
	int command[2], ready[2];

	EXPECT(number < PROCESSES_MAX);
	EXPECT_OK(pipe2(command, O_CLOEXEC));
	EXPECT_OK(pipe2(ready, O_CLOEXEC));
	w->processes[number] = fork();
	EXPECT(w->processes[number] >= 0);
	if (w->processes[number] == 0) {
		close(command[1]);
		process_main(command[0], ready[1], namespaces, at(w, root));
	}
	close(command[0]);
	close(ready[1]);
	w->command_fds[number] = command[1];
	ready_fds[number] = ready[0];
	await(number);
	list_processes(w);
	return number;
}

static void given_bind_mount(struct world *w, size_t number, const char *from, const char *to)
{
	char command[256];
	const int length = snprintf(command, sizeof(command), "%s %s", from, to);

	EXPECT_EQ(write(w->command_fds[number], command, (size_t)length), length);
	await(number);
}

/* ---- one look ---- */

static uint64_t netns_inode(const char *who)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/ns/net", who);
	EXPECT_OK(stat(path, &st));
	return st.st_ino;
}

static const char *text_of(const struct resolv_conf *conf)
{
	static char out[1024];
	char ip[IP_TEXT_BYTES];

	out[0] = '\0';
	for (size_t i = 0; i < conf->count; i++)
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i ? " " : "", ip_format(&conf->resolvers[i], ip));
	return out;
}

static struct resolv_look look(const struct world *w, uint64_t inode)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
	struct resolv_look look = { .netns_inode = inode, .inotify_fd = fd };

	snprintf(look.cgroup, sizeof(look.cgroup), "%s", w->cgroup);
	EXPECT_OK(resolv_look_run(&look));
	resolv_look_done(&look);
	return look;
}

static const char *resolvers(const struct world *w)
{
	const struct resolv_look found = look(w, 0);

	return found.any ? text_of(&found.found.conf) : NULL;
}

TEST(a_file_is_that_of_the_process_and_not_ours)
{
	struct world *w = given_world();

	given_root(w, "root", "nameserver 10.9.8.7\n");
	given_process(w, "root", 0);
	EXPECT_STR(resolvers(w), "10.9.8.7");
}

TEST(different_roots_of_a_workload_are_all_read_and_each_once)
{
	struct world *w = given_world();
	char procs[64];

	given_root(w, "one", "nameserver 10.0.0.1\nnameserver 10.0.0.2\n");
	given_root(w, "two", "nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver junk\n");
	given_process(w, "one", 0);
	given_process(w, "two", 0);
	given_process(w, "two", 0);
	make_dir(w, "cgroup/below");
	snprintf(procs, sizeof(procs), "%d\n", w->processes[2]);
	write_at(w, "cgroup/below/cgroup.procs", procs);
	EXPECT_STR(resolvers(w), "10.0.0.1 10.0.0.2 10.0.0.3");
	EXPECT_EQ(look(w, 0).found.conf.left_out, 1);
}

TEST(a_process_below_the_cgroup_counts)
{
	struct world *w = given_world();
	char procs[64];

	given_root(w, "root", "nameserver 10.0.0.1\n");
	given_process(w, "root", 0);
	write_at(w, "cgroup/cgroup.procs", "0\n"); /* one outside of our pid namespace does not */
	EXPECT_STR(resolvers(w), NULL);
	make_dir(w, "cgroup/below");
	snprintf(procs, sizeof(procs), "%d\n", w->processes[0]);
	write_at(w, "cgroup/below/cgroup.procs", procs);
	EXPECT_STR(resolvers(w), "10.0.0.1");
}

TEST(a_process_in_another_network_namespace_does_not_count)
{
	struct world *w = given_world();
	struct resolv_look found;
	char pid[16];
	size_t apart;

	given_root(w, "here", "nameserver 10.0.0.1\n");
	given_root(w, "there", "nameserver 10.0.0.2\n");
	given_process(w, "here", 0);
	apart = given_process(w, "there", CLONE_NEWNET);
	found = look(w, netns_inode("self"));
	EXPECT_STR(text_of(&found.found.conf), "10.0.0.1");
	snprintf(pid, sizeof(pid), "%d", w->processes[apart]);
	found = look(w, netns_inode(pid));
	EXPECT_STR(text_of(&found.found.conf), "10.0.0.2");
	EXPECT_STR(resolvers(w), "10.0.0.1 10.0.0.2");
}

TEST(links_are_followed_within_the_root)
{
	struct world *w = given_world();

	given_root(w, "root", NULL);
	make_dir(w, "root/run");
	write_at(w, "root/run/stub.conf", "nameserver 10.0.0.1\n");
	write_at(w, "stub.conf", "nameserver 10.0.0.2\n"); /* outside */
	given_process(w, "root", 0);
	EXPECT_OK(symlink("/run/stub.conf", at(w, "root/etc/resolv.conf")));
	EXPECT_STR(resolvers(w), "10.0.0.1");
	EXPECT_OK(unlink(at(w, "root/etc/resolv.conf")));
	EXPECT_OK(symlink("../../../../run/../run/stub.conf", at(w, "root/etc/resolv.conf")));
	EXPECT_STR(resolvers(w), "10.0.0.1");
	EXPECT_OK(unlink(at(w, "root/etc/resolv.conf")));
	EXPECT_OK(symlink("../../stub.conf", at(w, "root/etc/resolv.conf")));
	EXPECT_STR(resolvers(w), "127.0.0.1"); /* there is none in here */
	EXPECT_OK(unlink(at(w, "root/etc/resolv.conf")));
	EXPECT_OK(symlink("resolv.conf", at(w, "root/etc/resolv.conf"))); /* to itself */
	EXPECT_STR(resolvers(w), "127.0.0.1");
}

TEST(what_is_no_file_is_an_empty_one)
{
	struct world *w = given_world();

	given_root(w, "root", NULL);
	given_process(w, "root", 0);
	EXPECT_STR(resolvers(w), "127.0.0.1"); /* missing */
	EXPECT_OK(mkfifo(at(w, "root/etc/resolv.conf"), 0644));
	EXPECT_STR(resolvers(w), "127.0.0.1"); /* and nobody waits for a writer */
	EXPECT_OK(unlink(at(w, "root/etc/resolv.conf")));
	make_dir(w, "root/etc/resolv.conf");
	EXPECT_STR(resolvers(w), "127.0.0.1");
}

TEST(of_a_file_that_is_too_long_whole_lines_are_taken_and_it_is_counted)
{
	struct world *w = given_world();
	_cleanup_fclose_ FILE *file = NULL;
	struct resolv_look found;

	given_root(w, "root", "");
	file = fopen(at(w, "root/etc/resolv.conf"), "w");
	for (int i = 0; i < RESOLV_CONF_MAX_BYTES - 32; i += 16)
		fputs("# fifteen bytes\n", file);
	fputs("# fourteen by.\nnameserver 10.0.0.123\n", file); /* the limit is in its last number */
	fflush(file);
	given_process(w, "root", 0);
	found = look(w, 0);
	EXPECT_STR(text_of(&found.found.conf), "127.0.0.1");
	EXPECT_EQ(found.found.conf.left_out, 1);
}

TEST(file_systems_beyond_the_limit_are_counted)
{
	struct world *w = given_world();
	struct resolv_look found;

	for (int i = 0; i < LOOK_FILE_SYSTEMS_MAX + 2; i++) {
		char root[16];

		snprintf(root, sizeof(root), "root%d", i);
		given_root(w, root, "nameserver 10.0.0.1\n");
		given_process(w, root, 0);
	}
	found = look(w, 0);
	EXPECT_STR(text_of(&found.found.conf), "10.0.0.1");
	EXPECT_EQ(found.found.unseen, 2);
}

TEST(ways_around_port_53_are_noticed)
{
	struct world *w = given_world();

	given_root(w, "root", "");
	given_process(w, "root", 0);
	make_dir(w, "root/run");
	make_dir(w, "root/run/nscd");
	make_dir(w, "root/run/systemd");
	make_dir(w, "root/run/systemd/resolve");
	write_at(w, "root/etc/nsswitch.conf", "hosts: resolve files dns\n");
	EXPECT(!look(w, 0).found.nscd);
	EXPECT(!look(w, 0).found.nss_resolve);
	given_socket(w, "root/run/nscd/socket");
	EXPECT(look(w, 0).found.nscd);
	given_socket(w, "root/run/systemd/resolve/io.systemd.Resolve");
	EXPECT(look(w, 0).found.nss_resolve);
	write_at(w, "root/etc/nsswitch.conf", "hosts: files dns\n");
	EXPECT(!look(w, 0).found.nss_resolve);
}

/* ---- watching ---- */

static void on_told(const struct resolv_found *found, void *arg)
{
	struct told *told = arg;

	told->calls++;
	told->found = *found;
}

static void given_watch(struct world *w, struct told *told)
{
	EXPECT_OK(resolv_watch_new(w->watches, w->cgroup, 0, on_told, told, &told->watch));
}

static bool has(const struct told *told, const char *text)
{
	struct ip ip;

	EXPECT_OK(ip_parse(text, &ip));
	return resolv_conf_has(&told->found.conf, &ip);
}

/* Turns until `calls` were made: within `limit_ns` of the watches' time, however long the machine takes. */
static void until_told(struct world *w, const struct told *told, int calls, uint64_t limit_ns)
{
	uint64_t passed_ns = 0;

	for (int i = 0; told->calls < calls && i < 60000; i++) {
		EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
		if (passed_ns < limit_ns) {
			clock_skip(limit_ns / 500);
			passed_ns += limit_ns / 500;
		}
	}
	EXPECT_EQ(told->calls, calls);
}
#define AT_ONCE (500 * NSEC_PER_MSEC) /* a fourth of the time to the next look */
#define SOON (2500 * NSEC_PER_MSEC)

static struct world *given_watched(struct told *told, const char *resolv_conf)
{
	struct world *w = given_world();

	given_root(w, "root", resolv_conf);
	given_process(w, "root", CLONE_NEWNS);
	given_watch(w, told);
	clock_stop();
	EXPECT_EQ(told->calls, 0);
	until_told(w, told, 1, AT_ONCE);
	return w;
}

TEST(changes_of_the_file_are_told_at_once)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\n");

	EXPECT_STR(text_of(&told.found.conf), "10.0.0.1");
	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.2\n"); /* in place */
	until_told(w, &told, 2, AT_ONCE);
	EXPECT(has(&told, "10.0.0.2"));
	write_at(w, "root/etc/new", "nameserver 10.0.0.3\n");
	EXPECT_OK(rename(at(w, "root/etc/new"), at(w, "root/etc/resolv.conf")));
	until_told(w, &told, 3, AT_ONCE);
	EXPECT(has(&told, "10.0.0.3"));
	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.4\n"); /* the new one in place */
	until_told(w, &told, 4, AT_ONCE);
	EXPECT(has(&told, "10.0.0.4"));
	EXPECT_OK(unlink(at(w, "root/etc/resolv.conf")));
	until_told(w, &told, 5, AT_ONCE);
	EXPECT(has(&told, "127.0.0.1"));
	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.5\n");
	until_told(w, &told, 6, AT_ONCE);
	EXPECT(has(&told, "10.0.0.5"));
}

TEST(changes_behind_links_are_told_at_once)
{
	struct told told = {};
	struct world *w = given_watched(&told, NULL);

	make_dir(w, "root/run");
	make_dir(w, "root/run/one");
	make_dir(w, "root/run/two");
	write_at(w, "root/run/one/stub", "nameserver 10.0.0.1\n");
	write_at(w, "root/run/two/stub", "nameserver 10.0.0.2\n");
	EXPECT_OK(symlink("one/stub", at(w, "root/run/current")));
	EXPECT_OK(symlink("../run/current", at(w, "root/etc/resolv.conf")));
	until_told(w, &told, 2, AT_ONCE);
	EXPECT(has(&told, "10.0.0.1"));
	write_at(w, "root/run/one/new", "nameserver 10.0.0.3\n");
	EXPECT_OK(rename(at(w, "root/run/one/new"), at(w, "root/run/one/stub"))); /* the target is replaced */
	until_told(w, &told, 3, AT_ONCE);
	EXPECT(has(&told, "10.0.0.3"));
	EXPECT_OK(symlink("/run/two/stub", at(w, "root/run/new")));
	EXPECT_OK(rename(at(w, "root/run/new"), at(w, "root/run/current"))); /* the link in between points elsewhere */
	until_told(w, &told, 4, AT_ONCE);
	EXPECT(has(&told, "10.0.0.2"));
}

TEST(a_bind_mount_over_the_file_is_told_by_the_next_look)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\n");

	write_at(w, "root/other", "nameserver 10.0.0.2\n");
	given_bind_mount(w, 0, "/other", "/etc/resolv.conf");
	until_told(w, &told, 2, SOON);
	EXPECT(has(&told, "10.0.0.2"));
	write_at(w, "root/other", "nameserver 10.0.0.3\n");
	until_told(w, &told, 3, AT_ONCE);
	EXPECT(has(&told, "10.0.0.3"));
}

TEST(a_process_with_another_root_is_told_by_the_next_look_and_its_end_as_well)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\n");
	size_t other;

	given_root(w, "other", "nameserver 10.0.0.2\n");
	other = given_process(w, "other", 0);
	until_told(w, &told, 2, SOON);
	EXPECT_STR(text_of(&told.found.conf), "10.0.0.1 10.0.0.2");
	process_end(w, other);
	list_processes(w);
	until_told(w, &told, 3, SOON + 10 * NSEC_PER_SEC);
	EXPECT_STR(text_of(&told.found.conf), "10.0.0.1");
}

TEST(what_has_gone_from_the_file_stays_for_ten_seconds)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\nnameserver 10.0.0.2\n");

	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.3\n");
	until_told(w, &told, 2, AT_ONCE);
	EXPECT_STR(text_of(&told.found.conf), "10.0.0.3 10.0.0.1 10.0.0.2");
	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.3\nnameserver 10.0.0.2\n"); /* one is back */
	until_told(w, &told, 3, AT_ONCE);
	EXPECT_STR(text_of(&told.found.conf), "10.0.0.3 10.0.0.2 10.0.0.1");
	until_told(w, &told, 4, 12 * NSEC_PER_SEC);
	EXPECT_STR(text_of(&told.found.conf), "10.0.0.3 10.0.0.2");
}

TEST(a_look_that_finds_the_same_is_not_told)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\n");

	write_at(w, "root/etc/resolv.conf", "# the same in other words\nnameserver 10.0.0.1\n");
	for (int i = 0; i < 100; i++) {
		EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
		clock_skip(100 * NSEC_PER_MSEC);
	}
	EXPECT_EQ(told.calls, 1);
}

TEST(while_there_is_no_process_the_last_state_stays)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\n");

	process_end(w, 0);
	list_processes(w);
	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.2\n");
	for (int i = 0; i < 100; i++) {
		EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
		clock_skip(100 * NSEC_PER_MSEC);
	}
	EXPECT_EQ(told.calls, 1);
	given_process(w, "root", 0);
	write_at(w, "cgroup/cgroup.events", "populated 1\n"); /* as the kernel would */
	until_told(w, &told, 2, AT_ONCE);
	EXPECT(has(&told, "10.0.0.2"));
}

TEST(before_the_first_process_another_network_namespace_has_no_stand_in)
{
	struct world *w = given_world();
	struct told told = {};

	clock_stop();
	EXPECT_OK(resolv_watch_new(w->watches, w->cgroup, 1, on_told, &told, &told.watch));
	for (int i = 0; i < 50; i++) {
		EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
		clock_skip(100 * NSEC_PER_MSEC);
	}
	EXPECT_EQ(told.calls, 0);
}

TEST(before_the_first_process_a_manager_stands_in)
{
	struct world *w = given_world();
	struct told told = {};

	clock_stop();
	given_watch(w, &told);
	until_told(w, &told, 1, AT_ONCE);
	given_root(w, "root", "nameserver 10.9.8.7\n");
	given_process(w, "root", 0);
	until_told(w, &told, 2, SOON);
	EXPECT(has(&told, "10.9.8.7"));
	EXPECT(!strncmp(text_of(&told.found.conf), "10.9.8.7", 8)); /* first; what stood in lingers */
}

static void on_told_once(const struct resolv_found *found, void *arg)
{
	struct told *told = arg;

	on_told(found, arg);
	told->watch = resolv_watch_free(told->watch);
}

TEST(a_watch_may_be_freed_by_its_callback_and_during_a_look)
{
	struct world *w = given_world();
	struct told told = {}, during[2] = {};
	int calls[2];

	given_root(w, "root", "nameserver 10.0.0.1\n");
	given_process(w, "root", 0);
	EXPECT_OK(resolv_watch_new(w->watches, w->cgroup, 0, on_told_once, &told, &told.watch));
	WAIT_FOR((loop_turn(w->loop, 0), told.calls == 1), PATIENCE);
	for (int i = 0; i < 2; i++) {
		given_watch(w, &during[i]);
		EXPECT_OK(loop_turn(w->loop, 0)); /* its look begins */
		calls[i] = during[i].calls;
		if (i == 0)
			during[i].watch = resolv_watch_free(during[i].watch);
		else
			w->watches = resolv_watches_free(w->watches); /* all of them */
	}
	w->offload = offload_free(w->offload);
	EXPECT_OK(loop_turn(w->loop, 0));
	EXPECT_EQ(told.calls, 1);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(during[i].calls, calls[i]);
}

TEST(a_workload_that_goes_takes_no_watch_of_another_along)
{
	struct told told = {}, other = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.1\n");

	given_watch(w, &other);
	until_told(w, &other, 1, AT_ONCE);
	other.watch = resolv_watch_free(other.watch);
	for (int i = 0; i < 10; i++) /* what it held is let go */
		EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
	write_at(w, "root/etc/resolv.conf", "nameserver 10.0.0.2\n");
	until_told(w, &told, 2, AT_ONCE);
	EXPECT_EQ(other.calls, 1);
}

static size_t inotify_watches(void)
{
	size_t count = 0;

	for (int fd = 3; fd < 64; fd++) {
		_cleanup_fclose_ FILE *file = NULL;
		char path[48], line[256];

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file))
			count += !strncmp(line, "inotify wd:", strlen("inotify wd:"));
	}
	return count;
}

TEST(watches_of_files_that_are_looked_at_no_longer_go)
{
	struct told told = {};
	struct world *w = given_watched(&told, "nameserver 10.0.0.0\n");
	const size_t before = inotify_watches();

	EXPECT(before > 0);
	for (int i = 1; i <= 20; i++) {
		char text[64];

		snprintf(text, sizeof(text), "nameserver 10.0.1.%d\n", i);
		write_at(w, "root/etc/new", text);
		EXPECT_OK(link(at(w, "root/etc/resolv.conf"), at(w, "root/kept"))); /* so that its watch does not go with it */
		EXPECT_OK(rename(at(w, "root/etc/new"), at(w, "root/etc/resolv.conf")));
		until_told(w, &told, 1 + i, AT_ONCE);
		EXPECT_OK(unlink(at(w, "root/kept")));
		clock_skip(11 * NSEC_PER_SEC); /* what lingers goes with this very look */
	}
	EXPECT_EQ(inotify_watches(), before);
	told.watch = resolv_watch_free(told.watch);
	WAIT_FOR((loop_turn(w->loop, 0), clock_skip(NSEC_PER_MSEC), inotify_watches() == 0), PATIENCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_file_is_that_of_the_process_and_not_ours, world_done),
		cmocka_unit_test_teardown(different_roots_of_a_workload_are_all_read_and_each_once, world_done),
		cmocka_unit_test_teardown(a_process_below_the_cgroup_counts, world_done),
		cmocka_unit_test_teardown(a_process_in_another_network_namespace_does_not_count, world_done),
		cmocka_unit_test_teardown(links_are_followed_within_the_root, world_done),
		cmocka_unit_test_teardown(what_is_no_file_is_an_empty_one, world_done),
		cmocka_unit_test_teardown(of_a_file_that_is_too_long_whole_lines_are_taken_and_it_is_counted, world_done),
		cmocka_unit_test_teardown(file_systems_beyond_the_limit_are_counted, world_done),
		cmocka_unit_test_teardown(ways_around_port_53_are_noticed, world_done),
		cmocka_unit_test_teardown(changes_of_the_file_are_told_at_once, world_done),
		cmocka_unit_test_teardown(changes_behind_links_are_told_at_once, world_done),
		cmocka_unit_test_teardown(a_bind_mount_over_the_file_is_told_by_the_next_look, world_done),
		cmocka_unit_test_teardown(a_process_with_another_root_is_told_by_the_next_look_and_its_end_as_well, world_done),
		cmocka_unit_test_teardown(what_has_gone_from_the_file_stays_for_ten_seconds, world_done),
		cmocka_unit_test_teardown(a_look_that_finds_the_same_is_not_told, world_done),
		cmocka_unit_test_teardown(while_there_is_no_process_the_last_state_stays, world_done),
		cmocka_unit_test_teardown(before_the_first_process_another_network_namespace_has_no_stand_in, world_done),
		cmocka_unit_test_teardown(before_the_first_process_a_manager_stands_in, world_done),
		cmocka_unit_test_teardown(a_watch_may_be_freed_by_its_callback_and_during_a_look, world_done),
		cmocka_unit_test_teardown(a_workload_that_goes_takes_no_watch_of_another_along, world_done),
		cmocka_unit_test_teardown(watches_of_files_that_are_looked_at_no_longer_go, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
