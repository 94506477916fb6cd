/* SPDX-License-Identifier: Apache-2.0 */
/* agent/identity against real cgroups, namespaces and maps; root. Every test has a cgroup subtree, maps and processes of
 * its own; whatever becomes of it, world_done() takes them away. */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/workloads.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/time.h"
#include "tests/lib/test.h"

#define NODE_A "mesh/m/virtualNode/a"
#define NODE_B "mesh/m/virtualNode/b"
#define DEADLINE (60 * NSEC_PER_SEC)
#define PROMPTLY (10 * NSEC_PER_SEC) /* the promise is a second; a machine that does other things as well is given more */
#define PROCESSES_MAX 16

struct process { /* a shell that runs what it is told */
	pid_t pid; /* 0: none */
	int in_fd, out_fd;
};

struct world {
	struct loop *loop;
	struct offload *offload;
	struct state *state;
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

struct world *given_world(void);
int world_done(void **state); /* teardown: of the last given_world() */
void start_agent(struct world *w);
void stop_agent(struct world *w); /* as after kill -9: kernel entries and state stay */
void turn(struct world *w);

int hash_map(size_t key, size_t value, __u32 entries);
void cgroup_make(const struct world *w, const char *name, char *buffer, size_t size);
void cgroup_join(const char *cgroup, pid_t pid);
uint64_t id_of(const char *cgroup);

/* A shell in the cgroup (NULL: ours), started by argv; it runs when this returns. */
struct process *given_shell(struct world *w, const char *cgroup, const char *const argv[]);
struct process *given_apart(struct world *w, const char *cgroup); /* in a namespace of its own */
struct process *given_beside(struct world *w, const char *cgroup, const struct process *other); /* in that of another */
void process_end(struct process *p);
int run(struct process *p, const char *command); /* there, waits for its end, returns its status */
void tell(struct process *p, const char *command); /* the same, and it succeeds */
int netns_of(const struct process *p);
uint64_t cookie_of(const struct process *p);
uint64_t own_cookie(void);

struct workload_request request_for(const char *node, const char *cgroup, const struct process *p);
int enrol(struct world *w, const struct workload_request *request);
uint64_t given_enrolled(struct world *w, const char *node, const char *cgroup, const struct process *p, bool own_netns);
void given_pattern(struct world *w, const char *pattern, const char *node);

void on_done(int r, const struct workload *workload, const struct error *err, void *arg);
size_t workload_count(const struct world *w);
bool nothing_is_left(const struct world *w);
bool has_address(const struct world *w, uint64_t cookie, const char *text);
size_t map_count(int fd, size_t key_bytes);
#define NETNS_COUNT(w) map_count((w)->kernel.netns_fd, 8)
#define CGROUP_COUNT(w) map_count((w)->kernel.cgroup_fd, 8)
#define ADDRESS_COUNT(w) map_count((w)->kernel.own_address_fd, sizeof(struct netns_address))
struct owner owner_in(int fd, uint64_t key); /* {0, 0} when there is no entry */
#define EXPECT_OWNER(fd, key, expected_node, expected_flags)                                                                  \
	do {                                                                                                                   \
		const struct owner _owner = owner_in(fd, key);                                                                 \
		EXPECT_EQ(_owner.node, expected_node);                                                                         \
		EXPECT_EQ(_owner.flags, expected_flags);                                                                       \
	} while (0)
