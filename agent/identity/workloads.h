/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads: local process groups that act as one virtual node, and the kernel entries that say so (w_netns, w_cgroup,
 * w_own_address, config.cgroup_depths). The only writer of those. Thread: the loop's; what may block goes to the offload
 * thread.
 *
 * A workload is a namespace (all processes in it) or a cgroup (and what is below it, in shared namespaces). Each has a
 * liveness handle: the cgroup's `cgroup.events`, watched by inotify. When its last process is gone, everything that weft
 * holds of it goes at once: kernel entries, the netlink socket in its namespace, its registrations (by the `gone`
 * callback), and the cgroup if `weft run` made it. One that a pattern found lives as long as its cgroup; without
 * processes it holds no namespace but the agent's.
 *
 * A cgroup acts in the namespaces that its processes are in, and a pattern's also in the agent's, before its first
 * process. Which these are is found at enrolment, when the cgroup fills, and when a process ends that weft watches for it
 * (one for each namespace). Limit: a process that enters a further namespace at another time acts for nobody there until
 * the next look; and a namespace that its watched process left without ending stays held until that process ends. `weft
 * run` in the namespace has neither problem.
 *
 * Workloads are kept in the state and taken up again by the next agent of the same boot, where their cgroup still is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "agent/state/state.h"
#include "base/error.h"
#include "maps/kernel.h"

struct workload { /* as others see it */
	uint64_t id; /* never used again within a state directory */
	const char *node; /* "mesh/M/virtualNode/N", or of a virtual gateway */
	const char *cgroup; /* path below the cgroup2 mount, "/weft/default/run-12" */
	uint64_t cgroup_id;
	uint64_t netns_cookie; /* of the namespace it was enrolled in */
	bool own_netns; /* acts as a whole namespace */
	const char *netns; /* what the user named, or NULL */
	const char *zone; /* NULL: the node's */
	const char *origin; /* "run", or the pattern that matched */
	uint64_t since_wall_ns;
	uint32_t earlier_sockets; /* TCP connections from before enrolment: left alone, counted; UINT32_MAX: unknown */
	int pid; /* first process, 0 unknown */
};

struct workloads;

/* `node_id` gives the object id for a node's name, making it if need be (it may be called for names not in any mesh);
 * `changed` tells that the set of nodes, or of the namespaces they act in, may have changed; `gone` tells that a workload ended. */
struct workloads_callbacks {
	uint32_t (*node_id)(const char *node, void *arg);
	void (*changed)(void *arg);
	void (*gone)(const struct workload *workload, void *arg);
	void *arg;
};
/* Takes up what the state has, and removes kernel entries that nothing explains. The loop's first turn calls `gone` for
 * those that ended meanwhile, and ends those whose pattern was not added until then. -EINVAL where cgroup2 is that of a
 * cgroup namespace. */
int workloads_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct state *state,
		  const struct workloads_callbacks *callbacks, struct workloads **ret_workloads, struct error *err);
/* Kernel entries stay: the next agent adopts them. Enrolments under way get -ECANCELED. */
struct workloads *workloads_free(struct workloads *workloads);

/* What `weft run` asks: the process `pid` sits in `cgroup` (absolute path in the cgroup2 file system) already, and in the
 * namespace it will run in. With `own_netns` the namespace acts as the node, otherwise the cgroup in a shared one. `done`
 * comes once: 0, or -EBUSY (the namespace or cgroup acts for another node already; named), -ENOENT (no such process or
 * cgroup), -E2BIG (a table is full). After 0, connections are decided and every address of the namespace is known as its
 * own. Several workloads may act as one node in one namespace; it does so until the last one ends. */
struct workload_request {
	const char *node;
	const char *cgroup;
	int pid;
	bool own_netns;
	const char *netns;
	const char *zone;
	const char *origin;
	bool remove_cgroup; /* rmdir when it empties, or when this fails */
};
typedef void workload_done_fn(int r, const struct workload *workload, const struct error *err, void *arg);
void workloads_enrol(struct workloads *workloads, const struct workload_request *request, workload_done_fn *done, void *arg);

/* Config: cgroups whose path below the mount matches the pattern (fnmatch per path component;
 * "system.slice/payment-*.service") act for `node`, from their mkdir on. The pattern added first wins; what `weft run`
 * enrolled stays. Add them before the loop runs. -EINVAL for a pattern with "..", an empty component, or more than 16
 * components. */
int workloads_add_pattern(struct workloads *workloads, const char *pattern, const char *node, const char *zone,
			  struct error *err);

typedef int workloads_fn(const struct workload *workload, void *arg);
int workloads_each(const struct workloads *workloads, workloads_fn *fn, void *arg);
/* One that acts in the namespace: as a whole, or the oldest of the cgroups that share it. */
const struct workload *workloads_by_netns(const struct workloads *workloads, uint64_t netns_cookie); /* NULL: none */
/* Whom the hooks take a process in this cgroup (path below the mount) and namespace for. NULL: for nobody. */
const struct workload *workloads_acting(const struct workloads *workloads, const char *cgroup, uint64_t netns_cookie);
const struct workload *workloads_get(const struct workloads *workloads, uint64_t id);
/* Every (workload, namespace it acts in), those of a workload one after the other, the one it was enrolled in first. It may be without a
 * process there: a pattern's acts in the agent's namespace from the start. */
typedef int workloads_place_fn(const struct workload *workload, uint64_t netns_cookie, void *arg);
int workloads_each_place(const struct workloads *workloads, workloads_place_fn *fn, void *arg);
/* A new descriptor of a namespace that some workload acts in, the caller's to close (SIOCGSKNS of our netlink socket there). -ENOENT: none
 * does; -EAGAIN: we are not in there yet, `changed` follows. */
int workloads_netns_fd(const struct workloads *workloads, uint64_t netns_cookie);
/* The rules of another proxy that redirect connections of the namespace (redirects.h), in words; while there are any, the hooks refuse what is
 * for weft-proxy there (foreign-redirect). NULL: there are none. They are looked for at enrolment, and every five seconds. */
const char *workloads_foreign(const struct workloads *workloads, uint64_t netns_cookie);
/* The nodes' ids changed (an id was made anew): write all kernel entries again. */
int workloads_refresh(struct workloads *workloads);
