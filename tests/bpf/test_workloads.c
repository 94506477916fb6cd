/* SPDX-License-Identifier: Apache-2.0 */
/* agent/identity against real cgroups, namespaces and maps; root. Every test has a cgroup subtree, maps and processes of
 * its own. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/workloads.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "tests/lib/test.h"

#define NODE_A "mesh/m/virtualNode/a"
#define NODE_B "mesh/m/virtualNode/b"
#define SECOND NSEC_PER_SEC
#define DEADLINE (60 * NSEC_PER_SEC)
#define PROMPTLY (10 * NSEC_PER_SEC) /* the promise is a second; a machine that does other things as well is given more */
#define PROCESSES_MAX 16

extern char **environ;

struct process { /* a shell that runs what it is told */
	pid_t pid; /* 0: none */
	int in_fd, out_fd;
};

struct world {
	struct loop *loop;
	struct offload *offload;
	struct store *store;
	struct kernel kernel;
	struct config config;
	struct workloads *workloads;
	char root[256]; /* of cgroup2 */
	char base[300]; /* our subtree, absolute */
	struct process processes[PROCESSES_MAX];
	uint32_t node_offset; /* added to every node's id */

	int done_calls, r;
	struct error err;
	uint64_t id; /* of what was enrolled last */
	int gone_calls, changed_calls;
	uint64_t gone_id;
};

/* ---- world ---- */

static uint32_t node_id(const char *node, void *arg)
{
	const struct world *w = arg;

	return (!strcmp(node, NODE_A) ? 1 : !strcmp(node, NODE_B) ? 2 : 3) + w->node_offset;
}

static void on_changed(void *arg)
{
	((struct world *)arg)->changed_calls++;
}

static void on_gone(const struct workload *workload, void *arg)
{
	struct world *w = arg;

	w->gone_calls++;
	w->gone_id = workload->id;
}

static int hash_map(size_t key, size_t value, __u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "weft_test", (__u32)key, (__u32)value, entries, &options);

	EXPECT_OK(fd < 0 ? -errno : 0);
	return fd;
}

static void start_agent(struct world *w)
{
	const struct workloads_callbacks callbacks = { .node_id = node_id, .changed = on_changed, .gone = on_gone, .arg = w };
	struct error err = {};

	EXPECT_OK(loop_new(&w->loop));
	EXPECT_OK(offload_new(w->loop, "test-offload", &w->offload));
	EXPECT_OK(workloads_new(w->loop, w->offload, &w->kernel, w->store, &callbacks, &w->workloads, &err), &err);
}

static void turn(struct world *w)
{
	EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
}

/* As after kill -9: kernel entries and store stay. */
static void stop_agent(struct world *w)
{
	w->offload = offload_free(w->offload);
	w->workloads = workloads_free(w->workloads);
	EXPECT_OK(loop_turn(w->loop, 0)); /* what came back from the offload thread */
	w->loop = loop_free(w->loop);
}

static void cgroup_make(const struct world *w, const char *name, char *buffer, size_t size)
{
	EXPECT((size_t)snprintf(buffer, size, "%s/%s", w->base, name) < size);
	EXPECT_OK(mkdir(buffer, 0755) < 0 && errno != EEXIST ? -errno : 0);
}

static struct world *current; /* of the test at hand: a test that fails leaves by longjmp */

static struct world *given_world(void)
{
	static unsigned number;
	struct world *w = calloc(1, sizeof(*w));
	struct error err = {};

	EXPECT(w);
	current = w;
	EXPECT_OK(cgroup_root(w->root, sizeof(w->root), &err), &err);
	snprintf(w->base, sizeof(w->base), "%s/weft-test-%d-%u", w->root, getpid(), number++);
	EXPECT_OK(mkdir(w->base, 0755) < 0 ? -errno : 0);
	w->kernel.memory.config = &w->config;
	w->kernel.netns_fd = hash_map(8, sizeof(struct owner), 64);
	w->kernel.cgroup_fd = hash_map(8, sizeof(struct owner), 512);
	w->kernel.own_address_fd = hash_map(sizeof(struct netns_address), 1, 4096);
	EXPECT_OK(store_open_memory(&w->store));
	start_agent(w);
	return w;
}

static void process_end(struct process *p)
{
	if (!p->pid)
		return;
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->in_fd);
	close(p->out_fd);
	p->pid = 0;
}

static int world_done(void **state)
{
	struct world *w = current;

	(void)state;
	current = NULL;
	if (!w)
		return 0;
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		process_end(&w->processes[i]);
	if (w->loop)
		stop_agent(w);
	store_close(w->store);
	WAIT_FOR(cgroup_remove(w->base) == 0, DEADLINE);
	close(w->kernel.netns_fd);
	close(w->kernel.cgroup_fd);
	close(w->kernel.own_address_fd);
	free(w);
	return 0;
}

/* ---- processes ---- */

static void cgroup_join(const char *cgroup, pid_t pid)
{
	char path[600];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	EXPECT(fd >= 0);
	EXPECT(dprintf(fd, "%d", pid) > 0);
}

/* Runs it there, waits for its end, returns its status. */
static int run(struct process *p, const char *command)
{
	char text[1024], answer[64];
	size_t length = 0;
	int n = snprintf(text, sizeof(text), "{ %s; } >/dev/null 2>&1; echo $?.\n", command);

	EXPECT_EQ(write(p->in_fd, text, (size_t)n), n);
	do {
		ssize_t r = read(p->out_fd, answer + length, sizeof(answer) - 1 - length);

		EXPECT(r > 0);
		length += (size_t)r;
		answer[length] = '\0';
	} while (!strchr(answer, '.'));
	return atoi(answer);
}

static void tell(struct process *p, const char *command)
{
	if (run(p, command) != 0)
		fail_msg("failed there: %s", command);
}

/* A shell in the cgroup (NULL: ours), started by argv; it runs when this returns. */
static struct process *given_shell(struct world *w, const char *cgroup, const char *const argv[])
{
	struct process *p = w->processes;
	posix_spawn_file_actions_t actions;
	int in[2], out[2];

	while (p < w->processes + PROCESSES_MAX && p->pid)
		p++;
	EXPECT(p < w->processes + PROCESSES_MAX);
	EXPECT_OK(pipe2(in, O_CLOEXEC));
	EXPECT_OK(pipe2(out, O_CLOEXEC));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	EXPECT_EQ(posix_spawnp(&p->pid, argv[0], &actions, NULL, (char *const *)argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	p->in_fd = in[1];
	p->out_fd = out[0];
	if (cgroup)
		cgroup_join(cgroup, p->pid);
	tell(p, "true");
	return p;
}

/* In a namespace of its own. */
static struct process *given_apart(struct world *w, const char *cgroup)
{
	struct process *p = given_shell(w, cgroup, (const char *const[]){ "unshare", "-n", "sh", NULL });

	tell(p, "ip link set lo up");
	return p;
}

/* In the namespace of another one. */
static struct process *given_beside(struct world *w, const char *cgroup, const struct process *other)
{
	char net[64];

	snprintf(net, sizeof(net), "--net=/proc/%d/ns/net", other->pid);
	return given_shell(w, cgroup, (const char *const[]){ "nsenter", net, "sh", NULL });
}

static int netns_of(const struct process *p)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT(fd >= 0);
	return fd;
}

static uint64_t cookie_of(const struct process *p)
{
	_cleanup_close_ int fd = netns_of(p);
	uint64_t cookie = 0;

	EXPECT_OK(netns_cookie(fd, &cookie));
	return cookie;
}

/* ---- enrolment and what it leaves ---- */

static void on_done(int r, const struct workload *workload, const struct error *err, void *arg)
{
	struct world *w = arg;

	w->done_calls++;
	w->r = r;
	w->id = workload ? workload->id : 0;
	w->err = err ? *err : (struct error){};
}

static int enrol(struct world *w, const struct workload_request *request)
{
	const int before = w->done_calls;

	workloads_enrol(w->workloads, request, on_done, w);
	WAIT_FOR((turn(w), w->done_calls > before), DEADLINE);
	EXPECT_EQ(w->done_calls, before + 1);
	return w->r;
}

static struct workload_request request_for(const char *node, const char *cgroup, const struct process *p)
{
	return (struct workload_request){ .node = node, .cgroup = cgroup, .pid = p->pid, .origin = "run" };
}

static uint64_t given_enrolled(struct world *w, const char *node, const char *cgroup, const struct process *p, bool own_netns)
{
	struct workload_request request = request_for(node, cgroup, p);

	request.own_netns = own_netns;
	EXPECT_OK(enrol(w, &request), &w->err);
	return w->id;
}

static size_t map_count(int fd, size_t key_bytes)
{
	char key[64], next[64];
	size_t count = 0;

	EXPECT(key_bytes <= sizeof(key));
	for (const void *at = NULL; bpf_map_get_next_key(fd, at, next) == 0; at = key, count++)
		memcpy(key, next, key_bytes);
	return count;
}
#define NETNS_COUNT(w) map_count((w)->kernel.netns_fd, 8)
#define CGROUP_COUNT(w) map_count((w)->kernel.cgroup_fd, 8)
#define ADDRESS_COUNT(w) map_count((w)->kernel.own_address_fd, sizeof(struct netns_address))

static int workload_counter(const struct workload *workload, void *arg)
{
	(void)workload;
	++*(size_t *)arg;
	return 0;
}

static size_t workload_count(const struct world *w)
{
	size_t count = 0;

	workloads_each(w->workloads, workload_counter, &count);
	return count;
}

static bool nothing_is_left(const struct world *w)
{
	return NETNS_COUNT(w) == 0 && CGROUP_COUNT(w) == 0 && ADDRESS_COUNT(w) == 0 && w->config.cgroup_depths == 0 &&
	       workload_count(w) == 0;
}

/* {0, 0} when there is no entry. */
static struct owner owner_in(int fd, uint64_t key)
{
	struct owner owner = {};

	bpf_map_lookup_elem(fd, &key, &owner);
	return owner;
}

#define EXPECT_OWNER(fd, key, expected_node, expected_flags)                                                                  \
	do {                                                                                                                   \
		const struct owner _owner = owner_in(fd, key);                                                                 \
		EXPECT_EQ(_owner.node, expected_node);                                                                         \
		EXPECT_EQ(_owner.flags, expected_flags);                                                                       \
	} while (0)

static uint64_t id_of(const char *cgroup)
{
	uint64_t id = 0;

	EXPECT_OK(cgroup_id(cgroup, &id));
	return id;
}

static bool has_address(const struct world *w, uint64_t cookie, const char *text)
{
	struct netns_address key = { .netns_cookie = cookie };
	uint8_t value;

	EXPECT_OK(ip_parse(text, &key.address));
	return bpf_map_lookup_elem(w->kernel.own_address_fd, &key, &value) == 0;
}

/* ---- what an enrolled workload is ---- */

TEST(a_cgroup_in_a_shared_namespace_acts_once_it_is_enrolled)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	const struct workload *workload;

	cgroup_make(w, "shared", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);

	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 2);
	EXPECT(has_address(w, cookie_of(p), "127.0.0.1"));
	EXPECT(has_address(w, cookie_of(p), "::1"));
	EXPECT_EQ(ADDRESS_COUNT(w), 2);
	EXPECT_EQ(w->changed_calls, 1);
	workload = workloads_get(w->workloads, w->id);
	EXPECT(workload);
	EXPECT_STR(workload->node, NODE_A);
	EXPECT_STR(workload->cgroup, cgroup + strlen(w->root));
	EXPECT_EQ(workload->cgroup_id, id_of(cgroup));
	EXPECT_EQ(workload->netns_cookie, cookie_of(p));
	EXPECT_EQ(workload->pid, p->pid);
	EXPECT_EQ(workload->earlier_sockets, 0);
	EXPECT(workloads_by_netns(w->workloads, cookie_of(p)) == workload);
}

TEST(a_namespace_of_its_own_acts_as_the_node_without_cgroup_entries)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;

	cgroup_make(w, "own", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_B, cgroup, p, true);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 2, 0);
	EXPECT_EQ(CGROUP_COUNT(w), 0);
	EXPECT_EQ(w->config.cgroup_depths, 0);
}

TEST(a_process_in_a_cgroup_below_the_asked_one_is_in_it)
{
	struct world *w = given_world();
	char cgroup[512], below[512];
	struct process *p;

	cgroup_make(w, "pod", cgroup, sizeof(cgroup));
	cgroup_make(w, "pod/container", below, sizeof(below));
	p = given_apart(w, below);
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(nodes_that_got_new_ids_are_written_again)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, two);
	given_enrolled(w, NODE_A, one, p, false);
	given_enrolled(w, NODE_B, two, q, true);
	w->node_offset = 100;
	EXPECT_OK(workloads_refresh(w->workloads));
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 101, 0);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), 102, 0);
}

/* ---- refusals ---- */

TEST(a_second_node_in_a_namespace_is_refused_by_name_and_changes_nothing)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	given_enrolled(w, NODE_A, one, p, true);

	request = request_for(NODE_B, one, p);
	request.own_netns = true;
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	request.own_netns = false; /* nor may cgroups share it */
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 1, 0);
	EXPECT_EQ(NETNS_COUNT(w), 1);
	EXPECT_EQ(CGROUP_COUNT(w), 0);
	EXPECT_EQ(workload_count(w), 1);
}

TEST(a_shared_namespace_cannot_become_one_nodes_own)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	request = request_for(NODE_B, cgroup, p);
	request.own_netns = true;
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
}

TEST(a_cgroup_acts_as_one_node_only)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	request = request_for(NODE_B, cgroup, p);
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	EXPECT_CONTAINS(w->err.message, NODE_A);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
}

TEST(what_is_not_there_cannot_be_enrolled)
{
	struct world *w = given_world();
	char cgroup[512], other[512], missing[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	cgroup_make(w, "other", other, sizeof(other));
	snprintf(missing, sizeof(missing), "%s/missing", w->base);
	p = given_apart(w, cgroup);

	request = request_for(NODE_A, missing, p);
	EXPECT_EQ(enrol(w, &request), -ENOENT);
	EXPECT_CONTAINS(w->err.message, "missing");
	request = request_for(NODE_A, other, p); /* the process is elsewhere */
	EXPECT_EQ(enrol(w, &request), -ENOENT);
	EXPECT_CONTAINS(w->err.message, "not in the cgroup");
	request = request_for(NODE_A, "/proc", p);
	EXPECT_EQ(enrol(w, &request), -EINVAL);
	request = request_for(NODE_A, w->root, p); /* everything */
	EXPECT_EQ(enrol(w, &request), -EINVAL);
	request = request_for(NODE_A, cgroup, p);
	request.pid = 0x7fffffff;
	EXPECT_EQ(enrol(w, &request), -ENOENT);
	request.pid = 0;
	EXPECT_EQ(enrol(w, &request), -EINVAL);
	EXPECT(nothing_is_left(w));
}

TEST(an_enrolment_that_does_not_fit_into_a_table_leaves_nothing)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;
	int *const fds[] = { &w->kernel.cgroup_fd, &w->kernel.netns_fd, &w->kernel.own_address_fd };

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	request = request_for(NODE_A, cgroup, p);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		const struct netns_address key = {};
		const struct owner value = {};
		int whole = *fds[i];

		*fds[i] = hash_map(i == 2 ? sizeof(key) : 8, i == 2 ? 1 : sizeof(value), 1);
		EXPECT_OK(bpf_map_update_elem(*fds[i], &key, &value, BPF_ANY));
		EXPECT_EQ(enrol(w, &request), -E2BIG);
		EXPECT_CONTAINS(w->err.message, "full");
		close(*fds[i]);
		*fds[i] = whole;
		EXPECT(nothing_is_left(w));
	}
	EXPECT_OK(enrol(w, &request), &w->err);
}

/* ---- the end ---- */

TEST(within_a_second_of_the_last_process_nothing_is_left_of_a_namespace)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p;
	char cgroup[512], command[128];

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", p->pid);
	tell(outside, command);
	given_enrolled(w, NODE_A, cgroup, p, true);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 1);
	EXPECT_EQ(w->gone_id, w->id);
	/* A veth goes with its peer's namespace: so nobody holds that any more. */
	WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
}

TEST(a_namespace_that_two_workloads_act_as_goes_with_the_last_of_them)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;
	uint64_t cookie;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_beside(w, two, p);
	cookie = cookie_of(p);
	EXPECT_EQ(cookie_of(q), cookie);
	given_enrolled(w, NODE_A, one, p, true);
	given_enrolled(w, NODE_A, two, q, true);
	EXPECT_EQ(NETNS_COUNT(w), 1);

	process_end(p);
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT_OWNER(w->kernel.netns_fd, cookie, 1, 0);
	EXPECT(has_address(w, cookie, "127.0.0.1"));
	process_end(q);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(a_shared_namespace_stays_shared_until_its_last_cgroup_ends)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_beside(w, two, p);
	given_enrolled(w, NODE_A, one, p, false);
	given_enrolled(w, NODE_B, two, q, false);
	EXPECT_EQ(CGROUP_COUNT(w), 2);
	process_end(p);
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT_EQ(CGROUP_COUNT(w), 1);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), 0, OWNER_SHARED);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 2); /* of the other one */
	process_end(q);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(a_cgroup_that_was_made_for_the_workload_is_removed_with_it)
{
	struct world *w = given_world();
	char cgroup[512], below[512];
	struct workload_request request;
	struct process *p;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cgroup_make(w, "one/delegated", below, sizeof(below));
	request = request_for(NODE_A, cgroup, p);
	request.remove_cgroup = true;
	EXPECT_OK(enrol(w, &request), &w->err);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	WAIT_FOR((turn(w), access(cgroup, F_OK) < 0), PROMPTLY);
}

TEST(a_cgroup_whose_enrolment_fails_is_removed_when_its_process_leaves)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct workload_request request;
	struct process *p, *q;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_beside(w, two, p);
	given_enrolled(w, NODE_A, one, p, true);
	request = request_for(NODE_B, two, q);
	request.own_netns = request.remove_cgroup = true;
	EXPECT_EQ(enrol(w, &request), -EBUSY);
	turn(w);
	EXPECT_EQ(access(two, F_OK), 0);
	process_end(q);
	WAIT_FOR((turn(w), access(two, F_OK) < 0), PROMPTLY);
}

TEST(a_workload_ends_also_when_its_cgroup_goes_right_after_its_process)
{
	struct world *w = given_world();
	char cgroup[512];

	/* The kernel tells of "populated 0" at most every 10 ms, and not at all once the directory has gone. */
	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int i = 1; i <= 20; i++) {
		struct process *p = given_apart(w, cgroup);

		given_enrolled(w, NODE_A, cgroup, p, i % 2);
		process_end(p);
		WAIT_FOR(rmdir(cgroup) == 0, DEADLINE);
		cgroup_make(w, "one", cgroup, sizeof(cgroup)); /* the name means another one now */
		WAIT_FOR((turn(w), w->gone_calls == i && nothing_is_left(w)), PROMPTLY);
	}
}

TEST(a_process_that_ends_while_it_is_enrolled_leaves_nothing)
{
	struct world *w = given_world();
	char cgroup[512];
	int early = 0;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int i = 0; i < 40; i++) {
		struct process *p = given_apart(w, cgroup);
		struct workload_request request = request_for(NODE_A, cgroup, p);
		const int done = w->done_calls, gone = w->gone_calls;

		request.own_netns = i % 2;
		workloads_enrol(w->workloads, &request, on_done, w);
		for (int turns = i / 8; turns > 0; turns--)
			turn(w);
		process_end(p);
		WAIT_FOR((turn(w), w->done_calls > done), DEADLINE);
		if (w->r < 0) {
			EXPECT_EQ(w->r, -ENOENT);
			EXPECT_EQ(w->gone_calls, gone);
			early++;
		} else {
			WAIT_FOR((turn(w), w->gone_calls > gone), PROMPTLY);
		}
		WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	}
	print_message("  %d of 40 had ended before they were looked at\n", early);
}

TEST(a_namespace_goes_when_its_last_process_does_though_the_workload_lives_on_elsewhere)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p, *q;
	char cgroup[512], command[128];
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	q = given_apart(w, cgroup);
	snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", q->pid);
	tell(outside, command);
	cookie = cookie_of(q);
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_EQ(NETNS_COUNT(w), 2);
	EXPECT(has_address(w, cookie, "127.0.0.1"));

	process_end(q);
	WAIT_FOR((turn(w), NETNS_COUNT(w) == 1), PROMPTLY);
	EXPECT(!has_address(w, cookie, "127.0.0.1"));
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 0, OWNER_SHARED);
	EXPECT_EQ(w->gone_calls, 0);
	WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
}

TEST(another_process_in_the_namespace_keeps_it_when_the_first_one_ends)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p, *q;
	uint64_t until_ns;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int own = 0; own < 2; own++) {
		p = given_apart(w, cgroup);
		q = given_beside(w, cgroup, p);
		given_enrolled(w, NODE_A, cgroup, p, own);
		process_end(p);
		for (until_ns = time_now_ns() + SECOND / 2; time_now_ns() < until_ns; turn(w))
			EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), own, own ? 0 : OWNER_SHARED);
		process_end(q);
		WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	}
}

/* ---- own addresses ---- */

TEST(own_addresses_follow_the_namespace)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip link add d0 type veth peer name d1; ip link set d0 up; ip addr add 10.1.2.3/24 dev d0; "
		"ip addr add fd00::1/64 dev d0 nodad; ip addr add 10.9.0.1 peer 10.9.0.2 dev d0");
	given_enrolled(w, NODE_A, cgroup, p, true);
	EXPECT(has_address(w, cookie, "10.1.2.3"));
	EXPECT(has_address(w, cookie, "fd00::1"));
	EXPECT(has_address(w, cookie, "10.9.0.1"));
	EXPECT(!has_address(w, cookie, "10.9.0.2")); /* that is the other end */

	tell(p, "ip addr add 10.1.2.4/32 dev lo; ip addr add fd00::2/128 dev lo; ip addr del 10.1.2.3/24 dev d0");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.1.2.4") && has_address(w, cookie, "fd00::2")), PROMPTLY);
	WAIT_FOR((turn(w), !has_address(w, cookie, "10.1.2.3")), PROMPTLY);
	tell(p, "ip link del d0");
	WAIT_FOR((turn(w), ADDRESS_COUNT(w) == 4), PROMPTLY);
	EXPECT(has_address(w, cookie, "10.1.2.4"));
}

TEST(an_address_is_its_own_until_the_last_interface_gives_it_up)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip link add d0 type veth peer name d1; ip addr add 10.1.2.3/32 dev d0; ip addr add 10.1.2.3/24 dev d0");
	given_enrolled(w, NODE_A, cgroup, p, true);
	tell(p, "ip addr add 10.1.2.3/32 dev lo; ip addr add 10.0.0.1/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.1")), PROMPTLY); /* so what came before has been seen as well */

	tell(p, "ip addr del 10.1.2.3/32 dev d0; ip addr add 10.0.0.2/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.2")), PROMPTLY);
	EXPECT(has_address(w, cookie, "10.1.2.3"));
	tell(p, "ip link del d0; ip addr add 10.0.0.3/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.3")), PROMPTLY);
	EXPECT(has_address(w, cookie, "10.1.2.3"));
	tell(p, "ip addr del 10.1.2.3/32 dev lo");
	WAIT_FOR((turn(w), !has_address(w, cookie, "10.1.2.3")), PROMPTLY);
}

TEST(an_address_that_stays_is_never_missing_while_others_come_and_go)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p, *churn;
	uint64_t cookie, until_ns;
	int seen = 0, changes = 0;
	bool was = false;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip addr add 10.0.0.1/32 dev lo; ip addr add fd00::1/128 dev lo");
	churn = given_beside(w, NULL, p);
	tell(churn, "(while :; do ip addr add 10.7.7.7/32 dev lo; ip addr add fd00::7/128 dev lo; ip addr del 10.7.7.7/32 dev lo; "
		    "ip addr del fd00::7/128 dev lo; done) & echo");
	given_enrolled(w, NODE_A, cgroup, p, true);
	for (until_ns = time_now_ns() + SECOND; time_now_ns() < until_ns; seen++) {
		EXPECT(has_address(w, cookie, "10.0.0.1"));
		EXPECT(has_address(w, cookie, "fd00::1"));
		changes += was != has_address(w, cookie, "10.7.7.7");
		was ^= was != has_address(w, cookie, "10.7.7.7");
		turn(w);
	}
	print_message("  looked %d times, %d changes\n", seen, changes);
	EXPECT(changes > 10);
	tell(churn, "kill $!; wait $! || true; ip addr del 10.7.7.7/32 dev lo || true; ip addr del fd00::7/128 dev lo || true");
	WAIT_FOR((turn(w), ADDRESS_COUNT(w) == 4), PROMPTLY);
}

TEST(changes_that_the_socket_could_not_hold_are_made_up_for)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	uint64_t cookie;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	cookie = cookie_of(p);
	tell(p, "ip addr add 10.0.0.1/32 dev lo");
	given_enrolled(w, NODE_A, cgroup, p, true);
	/* Nobody reads meanwhile: 212,992 bytes hold some 250 messages. The last ones tell of a removal and an addition. */
	tell(p, "for i in $(seq 4); do seq 250 | sed 's|.*|addr add 10.5.0.&/32 dev lo|' | ip -batch -; "
		"seq 250 | sed 's|.*|addr del 10.5.0.&/32 dev lo|' | ip -batch -; done; "
		"ip addr del 10.0.0.1/32 dev lo; ip addr add 10.0.0.2/32 dev lo");
	WAIT_FOR((turn(w), has_address(w, cookie, "10.0.0.2") && ADDRESS_COUNT(w) == 3), DEADLINE);
	EXPECT(!has_address(w, cookie, "10.0.0.1"));
}

TEST(a_thousand_addresses_are_known_before_enrolment_is_done)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	tell(p, "for a in 1 2 3 4; do seq 250 | sed \"s|.*|addr add 10.5.$a.&/32 dev lo|\" | ip -batch -; done");
	given_enrolled(w, NODE_A, cgroup, p, true);
	EXPECT_EQ(ADDRESS_COUNT(w), 1002);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

/* ---- sockets from before ---- */

static int connected_pair(int netns_fd, int ret_fds[3])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);

	ret_fds[0] = netns_socket(netns_fd, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret_fds[1] = netns_socket(netns_fd, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EXPECT_OK(bind(ret_fds[0], (struct sockaddr *)&address, sizeof(address)));
	EXPECT_OK(listen(ret_fds[0], 1));
	EXPECT_OK(getsockname(ret_fds[0], (struct sockaddr *)&address, &length));
	EXPECT_OK(connect(ret_fds[1], (struct sockaddr *)&address, sizeof(address)));
	ret_fds[2] = accept(ret_fds[0], NULL, NULL);
	EXPECT(ret_fds[2] >= 0);
	return 0;
}

TEST(sockets_from_before_are_counted_by_namespace_or_by_cgroup)
{
	struct world *w = given_world();
	char cgroup[512], below[512], ours[256], path[512];
	struct process *p;
	int elsewhere[3], inside[3];

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	cgroup_make(w, "one/below", below, sizeof(below));
	p = given_apart(w, cgroup);
	EXPECT_OK(cgroup_of_pid(getpid(), ours, sizeof(ours)));
	snprintf(path, sizeof(path), "%s%s", w->root, ours);
	{
		_cleanup_close_ int netns_fd = netns_of(p);

		connected_pair(netns_fd, elsewhere); /* two ends that are established, and a listener, by a process outside */
		cgroup_join(below, getpid());
		connected_pair(netns_fd, inside);
		cgroup_join(path, getpid());
	}
	given_enrolled(w, NODE_A, cgroup, p, false);
	EXPECT_EQ(workloads_get(w->workloads, w->id)->earlier_sockets, 2);
	for (size_t i = 0; i < 3; i++)
		close(inside[i]);
	process_end(p);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);

	p = given_apart(w, cgroup);
	{
		_cleanup_close_ int netns_fd = netns_of(p);

		connected_pair(netns_fd, inside);
	}
	given_enrolled(w, NODE_A, cgroup, p, true);
	EXPECT_EQ(workloads_get(w->workloads, w->id)->earlier_sockets, 2);
	for (size_t i = 0; i < 3; i++) {
		close(inside[i]);
		close(elsewhere[i]);
	}
}

/* ---- patterns ---- */

static void given_pattern(struct world *w, const char *pattern, const char *node)
{
	char text[512];
	struct error err = {};

	snprintf(text, sizeof(text), "%s/%s", w->base + strlen(w->root) + 1, pattern);
	EXPECT_OK(workloads_add_pattern(w->workloads, text, node, "zone-p", &err), &err);
}

static uint64_t own_cookie(void)
{
	_cleanup_close_ int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t cookie = 0;

	EXPECT_OK(netns_cookie(fd, &cookie));
	return cookie;
}

TEST(cgroups_that_match_a_pattern_act_from_their_mkdir_on)
{
	struct world *w = given_world();
	char there[512], later[512], other[512];
	const struct workload *workload;

	cgroup_make(w, "pay-1.service", there, sizeof(there));
	cgroup_make(w, "other.service", other, sizeof(other));
	given_pattern(w, "pay-*.service", NODE_A);
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 1), DEADLINE);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(there), 1, 0);
	EXPECT_OWNER(w->kernel.netns_fd, own_cookie(), 0, OWNER_SHARED);

	cgroup_make(w, "pay-2.service", later, sizeof(later));
	cgroup_make(w, "pay-3.scope", other, sizeof(other));
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 2), PROMPTLY);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(later), 1, 0);
	workload = workloads_by_netns(w->workloads, own_cookie());
	EXPECT(workload);
	EXPECT_CONTAINS(workload->origin, "pay-*.service");
	EXPECT_STR(workload->zone, "zone-p");

	rmdir(there);
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 1), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 1);
	rmdir(later);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
}

TEST(none_of_many_cgroups_made_on_several_levels_at_once_is_missed)
{
	struct world *w = given_world();
	char path[512];

	given_pattern(w, "slice-*/deep/pod-*", NODE_B);
	for (int slice = 0; slice < 20; slice++) {
		snprintf(path, sizeof(path), "%s/slice-%d", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
		snprintf(path, sizeof(path), "%s/slice-%d/deep", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
		for (int pod = 0; pod < 10; pod++) {
			snprintf(path, sizeof(path), "%s/slice-%d/deep/pod-%d", w->base, slice, pod);
			EXPECT_OK(mkdir(path, 0755));
			if (pod % 3 == 0)
				turn(w);
		}
	}
	WAIT_FOR((turn(w), workload_count(w) == 200), DEADLINE);
	EXPECT_EQ(CGROUP_COUNT(w), 200);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 4);

	/* Away and back under the same names. */
	for (int slice = 0; slice < 20; slice++) {
		snprintf(path, sizeof(path), "%s/slice-%d", w->base, slice);
		EXPECT_OK(cgroup_remove(path));
		EXPECT_OK(mkdir(path, 0755));
		snprintf(path, sizeof(path), "%s/slice-%d/deep", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
		snprintf(path, sizeof(path), "%s/slice-%d/deep/pod-1", w->base, slice);
		EXPECT_OK(mkdir(path, 0755));
	}
	WAIT_FOR((turn(w), workload_count(w) == 20 && w->gone_calls == 200), DEADLINE);
	EXPECT_EQ(CGROUP_COUNT(w), 20);
}

TEST(a_patterns_cgroup_acts_where_its_processes_are_and_holds_no_namespace_without_them)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p;
	char cgroup[512], command[128];
	uint64_t cookie;

	cgroup_make(w, "pay", cgroup, sizeof(cgroup));
	given_pattern(w, "pay", NODE_A);
	WAIT_FOR((turn(w), NETNS_COUNT(w) == 1), DEADLINE);
	for (int round = 0; round < 2; round++) {
		p = given_apart(w, NULL);
		cookie = cookie_of(p);
		snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", p->pid);
		tell(outside, command);
		cgroup_join(cgroup, p->pid);
		WAIT_FOR((turn(w), NETNS_COUNT(w) == 2), PROMPTLY);
		EXPECT_OWNER(w->kernel.netns_fd, cookie, 0, OWNER_SHARED);
		EXPECT(has_address(w, cookie, "127.0.0.1"));
		process_end(p);
		WAIT_FOR((turn(w), NETNS_COUNT(w) == 1), PROMPTLY);
		EXPECT_OWNER(w->kernel.netns_fd, own_cookie(), 0, OWNER_SHARED);
		WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
	}
	EXPECT_EQ(CGROUP_COUNT(w), 1);
	EXPECT_EQ(w->gone_calls, 0);
}

TEST(a_pattern_leaves_alone_what_was_enrolled_by_hand)
{
	struct world *w = given_world();
	char cgroup[512], other[512];
	struct process *p;

	cgroup_make(w, "run-1", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	given_enrolled(w, NODE_A, cgroup, p, false);
	given_pattern(w, "run-*", NODE_B);
	cgroup_make(w, "run-2", other, sizeof(other));
	WAIT_FOR((turn(w), CGROUP_COUNT(w) == 2), PROMPTLY);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(cgroup), 1, 0);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(other), 2, 0);
	EXPECT_EQ(workload_count(w), 2);
}

/* ---- the next agent ---- */

TEST(the_next_agent_takes_workloads_up_again_without_a_gap)
{
	struct world *w = given_world();
	struct process *outside = given_apart(w, NULL), *p, *q;
	char one[512], two[512], command[128];
	uint64_t first, second;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, two);
	snprintf(command, sizeof(command), "ip link add outer type veth peer name inner netns %d", p->pid);
	tell(outside, command);
	tell(p, "ip addr add 10.0.0.1/32 dev lo");
	first = given_enrolled(w, NODE_A, one, p, true);
	second = given_enrolled(w, NODE_B, two, q, false);

	stop_agent(w);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 1, 0);
	EXPECT_EQ(CGROUP_COUNT(w), 1);
	EXPECT(has_address(w, cookie_of(p), "10.0.0.1"));
	tell(p, "ip addr del 10.0.0.1/32 dev lo; ip addr add 10.0.0.2/32 dev lo");
	start_agent(w);
	EXPECT_EQ(workload_count(w), 2); /* at once */
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(p), 1, 0);
	EXPECT_OWNER(w->kernel.netns_fd, cookie_of(q), 0, OWNER_SHARED);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(two), 2, 0);
	EXPECT_EQ(w->config.cgroup_depths, 1 << 2);
	EXPECT_STR(workloads_get(w->workloads, first)->node, NODE_A);
	EXPECT_STR(workloads_get(w->workloads, second)->node, NODE_B);
	WAIT_FOR((turn(w), has_address(w, cookie_of(p), "10.0.0.2") && !has_address(w, cookie_of(p), "10.0.0.1")), PROMPTLY);
	EXPECT(has_address(w, cookie_of(p), "127.0.0.1"));

	process_end(p);
	process_end(q);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 2);
	WAIT_FOR(run(outside, "ip link show outer") != 0, DEADLINE);
}

TEST(the_next_agent_says_who_ended_meanwhile_and_removes_what_nothing_explains)
{
	struct world *w = given_world();
	char one[512], two[512];
	struct process *p, *q;
	struct workload_request request;
	struct netns_address address = { .netns_cookie = 1ull << 40 };
	const struct owner owner = { .node = 9 };
	uint64_t first, stray = 1ull << 40;
	uint8_t byte = 1;

	cgroup_make(w, "one", one, sizeof(one));
	cgroup_make(w, "two", two, sizeof(two));
	p = given_apart(w, one);
	q = given_apart(w, two);
	request = request_for(NODE_A, one, p);
	request.remove_cgroup = true;
	EXPECT_OK(enrol(w, &request), &w->err);
	first = w->id;
	given_enrolled(w, NODE_A, two, q, true);
	stop_agent(w);
	process_end(p);
	EXPECT_OK(bpf_map_update_elem(w->kernel.netns_fd, &stray, &owner, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(w->kernel.cgroup_fd, &stray, &owner, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(w->kernel.own_address_fd, &address, &byte, BPF_ANY));
	w->config.cgroup_depths |= 1 << 9;

	start_agent(w);
	EXPECT_EQ(workload_count(w), 1);
	EXPECT_EQ(CGROUP_COUNT(w), 0);
	EXPECT_EQ(NETNS_COUNT(w), 1);
	EXPECT_EQ(ADDRESS_COUNT(w), 2);
	EXPECT_EQ(w->config.cgroup_depths, 0);
	EXPECT_EQ(w->gone_calls, 0);
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT_EQ(w->gone_id, first);
	WAIT_FOR((turn(w), access(one, F_OK) < 0), PROMPTLY);
	stop_agent(w);
	start_agent(w); /* told once */
	turn(w);
	EXPECT_EQ(w->gone_calls, 1);
}

static int forget_boot(const struct store_entry *entry, void *arg)
{
	_cleanup_json_ json_t *record = NULL;

	if (!strcmp(entry->key, "workloads/next"))
		return 0;
	EXPECT_OK(json_parse(entry->value, entry->value_bytes, &record, NULL));
	json_object_set_new(record, "boot", json_string("another"));
	*(char **)arg = json_dumps(record, 0);
	return 0;
}

TEST(workloads_of_another_boot_are_forgotten_and_their_ids_not_given_again)
{
	struct world *w = given_world();
	char cgroup[512], key[64];
	_cleanup_free_ char *record = NULL;
	struct process *p;
	uint64_t first;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	first = given_enrolled(w, NODE_A, cgroup, p, false);
	stop_agent(w);
	EXPECT_OK(store_list(w->store, "workloads/", NULL, 0, forget_boot, &record, NULL));
	snprintf(key, sizeof(key), "workloads/%" PRIu64, first);
	EXPECT_OK(store_put(w->store, key, record, strlen(record), NULL));

	start_agent(w);
	EXPECT(nothing_is_left(w));
	WAIT_FOR((turn(w), w->gone_calls == 1), PROMPTLY);
	EXPECT(given_enrolled(w, NODE_A, cgroup, p, false) > first);
}

TEST(an_id_is_not_given_again_after_its_workload_ended)
{
	struct world *w = given_world();
	char cgroup[512];
	uint64_t last = 0;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	for (int i = 0; i < 3; i++) {
		struct process *p = given_apart(w, cgroup);
		const uint64_t id = given_enrolled(w, NODE_A, cgroup, p, false);

		EXPECT(id > last);
		last = id;
		process_end(p);
		WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
		stop_agent(w);
		start_agent(w);
	}
}

TEST(pattern_workloads_are_taken_up_again_while_their_pattern_is_configured)
{
	struct world *w = given_world();
	char one[512];
	struct process *p;
	uint64_t id, cookie;

	cgroup_make(w, "pay", one, sizeof(one));
	p = given_apart(w, one);
	cookie = cookie_of(p);
	given_pattern(w, "pay*", NODE_A);
	WAIT_FOR((turn(w), NETNS_COUNT(w) == 2), PROMPTLY);
	id = workloads_by_netns(w->workloads, cookie)->id;

	stop_agent(w);
	start_agent(w);
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 1, 0);
	given_pattern(w, "pay*", NODE_B); /* the same pattern, for another node by now */
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 2, 0);
	for (int i = 0; i < 20; i++)
		turn(w);
	EXPECT_EQ(workload_count(w), 1);
	EXPECT_STR(workloads_get(w->workloads, id)->node, NODE_B);
	EXPECT_OWNER(w->kernel.netns_fd, cookie, 0, OWNER_SHARED);
	EXPECT(has_address(w, cookie, "127.0.0.1"));

	stop_agent(w);
	start_agent(w); /* and not at all */
	EXPECT_OWNER(w->kernel.cgroup_fd, id_of(one), 2, 0);
	WAIT_FOR((turn(w), nothing_is_left(w)), PROMPTLY);
	EXPECT_EQ(w->gone_calls, 1);
}

TEST(an_enrolment_under_way_is_cancelled_when_the_agent_stops)
{
	struct world *w = given_world();
	char cgroup[512];
	struct process *p;
	struct workload_request request;

	cgroup_make(w, "one", cgroup, sizeof(cgroup));
	p = given_apart(w, cgroup);
	request = request_for(NODE_A, cgroup, p);
	workloads_enrol(w->workloads, &request, on_done, w);
	stop_agent(w);
	EXPECT_EQ(w->done_calls, 1);
	EXPECT_EQ(w->r, -ECANCELED);
	start_agent(w);
	EXPECT(nothing_is_left(w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_cgroup_in_a_shared_namespace_acts_once_it_is_enrolled, world_done),
		cmocka_unit_test_teardown(a_namespace_of_its_own_acts_as_the_node_without_cgroup_entries, world_done),
		cmocka_unit_test_teardown(a_process_in_a_cgroup_below_the_asked_one_is_in_it, world_done),
		cmocka_unit_test_teardown(nodes_that_got_new_ids_are_written_again, world_done),
		cmocka_unit_test_teardown(a_second_node_in_a_namespace_is_refused_by_name_and_changes_nothing, world_done),
		cmocka_unit_test_teardown(a_shared_namespace_cannot_become_one_nodes_own, world_done),
		cmocka_unit_test_teardown(a_cgroup_acts_as_one_node_only, world_done),
		cmocka_unit_test_teardown(what_is_not_there_cannot_be_enrolled, world_done),
		cmocka_unit_test_teardown(an_enrolment_that_does_not_fit_into_a_table_leaves_nothing, world_done),
		cmocka_unit_test_teardown(within_a_second_of_the_last_process_nothing_is_left_of_a_namespace, world_done),
		cmocka_unit_test_teardown(a_namespace_that_two_workloads_act_as_goes_with_the_last_of_them, world_done),
		cmocka_unit_test_teardown(a_shared_namespace_stays_shared_until_its_last_cgroup_ends, world_done),
		cmocka_unit_test_teardown(a_cgroup_that_was_made_for_the_workload_is_removed_with_it, world_done),
		cmocka_unit_test_teardown(a_cgroup_whose_enrolment_fails_is_removed_when_its_process_leaves, world_done),
		cmocka_unit_test_teardown(a_workload_ends_also_when_its_cgroup_goes_right_after_its_process, world_done),
		cmocka_unit_test_teardown(a_process_that_ends_while_it_is_enrolled_leaves_nothing, world_done),
		cmocka_unit_test_teardown(a_namespace_goes_when_its_last_process_does_though_the_workload_lives_on_elsewhere, world_done),
		cmocka_unit_test_teardown(another_process_in_the_namespace_keeps_it_when_the_first_one_ends, world_done),
		cmocka_unit_test_teardown(own_addresses_follow_the_namespace, world_done),
		cmocka_unit_test_teardown(an_address_is_its_own_until_the_last_interface_gives_it_up, world_done),
		cmocka_unit_test_teardown(an_address_that_stays_is_never_missing_while_others_come_and_go, world_done),
		cmocka_unit_test_teardown(changes_that_the_socket_could_not_hold_are_made_up_for, world_done),
		cmocka_unit_test_teardown(a_thousand_addresses_are_known_before_enrolment_is_done, world_done),
		cmocka_unit_test_teardown(sockets_from_before_are_counted_by_namespace_or_by_cgroup, world_done),
		cmocka_unit_test_teardown(cgroups_that_match_a_pattern_act_from_their_mkdir_on, world_done),
		cmocka_unit_test_teardown(none_of_many_cgroups_made_on_several_levels_at_once_is_missed, world_done),
		cmocka_unit_test_teardown(a_patterns_cgroup_acts_where_its_processes_are_and_holds_no_namespace_without_them, world_done),
		cmocka_unit_test_teardown(a_pattern_leaves_alone_what_was_enrolled_by_hand, world_done),
		cmocka_unit_test_teardown(the_next_agent_takes_workloads_up_again_without_a_gap, world_done),
		cmocka_unit_test_teardown(the_next_agent_says_who_ended_meanwhile_and_removes_what_nothing_explains, world_done),
		cmocka_unit_test_teardown(workloads_of_another_boot_are_forgotten_and_their_ids_not_given_again, world_done),
		cmocka_unit_test_teardown(an_id_is_not_given_again_after_its_workload_ended, world_done),
		cmocka_unit_test_teardown(pattern_workloads_are_taken_up_again_while_their_pattern_is_configured, world_done),
		cmocka_unit_test_teardown(an_enrolment_under_way_is_cancelled_when_the_agent_stops, world_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
