/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/workloads_world.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

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

int hash_map(size_t key, size_t value, __u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "weft_test", (__u32)key, (__u32)value, entries, &options);

	EXPECT_OK(fd < 0 ? -errno : 0);
	return fd;
}

void start_agent(struct world *w)
{
	const struct workloads_callbacks callbacks = { .node_id = node_id, .changed = on_changed, .gone = on_gone, .arg = w };
	struct error err = {};

	EXPECT_OK(loop_new(&w->loop));
	EXPECT_OK(offload_new(w->loop, "test-offload", &w->offload));
	EXPECT_OK(workloads_new(w->loop, w->offload, &w->kernel, w->state, &callbacks, &w->workloads, &err), &err);
}

void turn(struct world *w)
{
	EXPECT_OK(loop_turn(w->loop, NSEC_PER_MSEC));
}

void stop_agent(struct world *w)
{
	w->offload = offload_free(w->offload);
	w->workloads = workloads_free(w->workloads);
	EXPECT_OK(loop_turn(w->loop, 0)); /* what came back from the offload thread */
	w->loop = loop_free(w->loop);
}

void cgroup_make(const struct world *w, const char *name, char *buffer, size_t size)
{
	EXPECT((size_t)snprintf(buffer, size, "%s/%s", w->base, name) < size);
	EXPECT_OK(mkdir(buffer, 0755) < 0 && errno != EEXIST ? -errno : 0);
}

static struct world *current; /* of the test at hand: a test that fails leaves by longjmp */

struct world *given_world(void)
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
	EXPECT_OK(state_open_memory(&w->state));
	start_agent(w);
	return w;
}

void process_end(struct process *p)
{
	if (!p->pid)
		return;
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->in_fd);
	close(p->out_fd);
	p->pid = 0;
}

int world_done(void **state)
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
	state_close(w->state);
	WAIT_FOR(cgroup_remove(w->base) == 0, DEADLINE);
	close(w->kernel.netns_fd);
	close(w->kernel.cgroup_fd);
	close(w->kernel.own_address_fd);
	free(w);
	return 0;
}

/* ---- processes ---- */

void cgroup_join(const char *cgroup, pid_t pid)
{
	char path[600];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	EXPECT(fd >= 0);
	EXPECT(dprintf(fd, "%d", pid) > 0);
}

int run(struct process *p, const char *command)
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

void tell(struct process *p, const char *command)
{
	if (run(p, command) != 0)
		fail_msg("failed there: %s", command);
}

struct process *given_shell(struct world *w, const char *cgroup, const char *const argv[])
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

struct process *given_apart(struct world *w, const char *cgroup)
{
	struct process *p = given_shell(w, cgroup, (const char *const[]){ "unshare", "-n", "sh", NULL });

	tell(p, "ip link set lo up");
	return p;
}

struct process *given_beside(struct world *w, const char *cgroup, const struct process *other)
{
	char net[64];

	snprintf(net, sizeof(net), "--net=/proc/%d/ns/net", other->pid);
	return given_shell(w, cgroup, (const char *const[]){ "nsenter", net, "sh", NULL });
}

int netns_of(const struct process *p)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT(fd >= 0);
	return fd;
}

uint64_t cookie_of(const struct process *p)
{
	_cleanup_close_ int fd = netns_of(p);
	uint64_t cookie = 0;

	EXPECT_OK(netns_cookie(fd, &cookie));
	return cookie;
}

/* ---- enrolment and what it leaves ---- */

void on_done(int r, const struct workload *workload, const struct error *err, void *arg)
{
	struct world *w = arg;

	w->done_calls++;
	w->r = r;
	w->id = workload ? workload->id : 0;
	w->err = err ? *err : (struct error){};
}

int enrol(struct world *w, const struct workload_request *request)
{
	const int before = w->done_calls;

	workloads_enrol(w->workloads, request, on_done, w);
	WAIT_FOR((turn(w), w->done_calls > before), DEADLINE);
	EXPECT_EQ(w->done_calls, before + 1);
	return w->r;
}

struct workload_request request_for(const char *node, const char *cgroup, const struct process *p)
{
	return (struct workload_request){ .node = node, .cgroup = cgroup, .pid = p->pid, .origin = "run" };
}

uint64_t given_enrolled(struct world *w, const char *node, const char *cgroup, const struct process *p, bool own_netns)
{
	struct workload_request request = request_for(node, cgroup, p);

	request.own_netns = own_netns;
	EXPECT_OK(enrol(w, &request), &w->err);
	return w->id;
}

size_t map_count(int fd, size_t key_bytes)
{
	char key[64], next[64];
	size_t count = 0;

	EXPECT(key_bytes <= sizeof(key));
	for (const void *at = NULL; bpf_map_get_next_key(fd, at, next) == 0; at = key, count++)
		memcpy(key, next, key_bytes);
	return count;
}

static int workload_counter(const struct workload *workload, void *arg)
{
	(void)workload;
	++*(size_t *)arg;
	return 0;
}

size_t workload_count(const struct world *w)
{
	size_t count = 0;

	workloads_each(w->workloads, workload_counter, &count);
	return count;
}

bool nothing_is_left(const struct world *w)
{
	return NETNS_COUNT(w) == 0 && CGROUP_COUNT(w) == 0 && ADDRESS_COUNT(w) == 0 && w->config.cgroup_depths == 0 &&
	       workload_count(w) == 0;
}

struct owner owner_in(int fd, uint64_t key)
{
	struct owner owner = {};

	bpf_map_lookup_elem(fd, &key, &owner);
	return owner;
}

uint64_t id_of(const char *cgroup)
{
	uint64_t id = 0;

	EXPECT_OK(cgroup_id(cgroup, &id));
	return id;
}

bool has_address(const struct world *w, uint64_t cookie, const char *text)
{
	struct netns_address key = { .netns_cookie = cookie };
	uint8_t value;

	EXPECT_OK(ip_parse(text, &key.address));
	return bpf_map_lookup_elem(w->kernel.own_address_fd, &key, &value) == 0;
}

void given_pattern(struct world *w, const char *pattern, const char *node)
{
	char text[512];
	struct error err = {};

	snprintf(text, sizeof(text), "%s/%s", w->base + strlen(w->root) + 1, pattern);
	EXPECT_OK(workloads_add_pattern(w->workloads, text, node, "zone-p", &err), &err);
}

uint64_t own_cookie(void)
{
	_cleanup_close_ int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t cookie = 0;

	EXPECT_OK(netns_cookie(fd, &cookie));
	return cookie;
}
