/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel part of one instance, opened: every pinned map, the mmapable ones mapped, all of them at first. Checks key, value and size of each
 * against this build before it touches anything. The mapped memory is shared with running BPF programs: single words are
 * stored with atomics (maps/generation.c and the accessors here do), whole records only where no directory names them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/abi/account.h"
#include "maps/abi/config.h"
#include "maps/abi/decision.h"
#include "maps/abi/directory.h"
#include "maps/abi/edge.h"
#include "maps/abi/ending.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/event.h"
#include "maps/abi/exec.h"
#include "maps/abi/identity.h"
#include "maps/abi/inbound.h"
#include "maps/abi/live.h"
#include "maps/abi/name.h"
#include "maps/abi/proxy.h"
#include "maps/abi/reason.h"
#include "maps/abi/record.h"
#include "maps/abi/row.h"
#include "maps/abi/serving.h"
#include "maps/abi/upgrade.h"
#include "maps/front.h"
#include "maps/limits.h"

#define PIN_ROOT "/sys/fs/bpf/weft" /* PIN_ROOT/INSTANCE/abi3/{w_root,…,link_connect4,…,prog_explain,iter_end} */

/* Arrays whose fronts are in memory: by KERNEL_ARRAY(member of struct kernel_limits), and the directories. */
#define KERNEL_ARRAY(member) (offsetof(struct kernel_limits, member) / sizeof(uint32_t))
enum { KERNEL_DIRECTORIES = sizeof(struct kernel_limits) / sizeof(uint32_t), KERNEL_ARRAY_COUNT };

/* Arrays, shared with the kernel; files in tests. */
struct kernel_memory {
	struct root *root;
	struct directory_page *directories; /* by directory_page() */
	struct object_name *objects;
	struct service_record *services;
	struct route_record *routes;
	struct target_record *targets;
	struct endpoint_ref *refs;
	struct node_record *nodes;
	struct backend *backends;
	struct endpoint *endpoints;
	struct row *rows;
	struct config *config;
	struct proxy_state *proxy;
	struct exec_state *exec;
	struct kernel_limits limits; /* how many of each there are */
	struct front fronts[KERNEL_ARRAY_COUNT]; /* of what is objects to rows, and directories, above */
};

/* Entries of an array below `count` are in memory from then on, and of object ids what directories say of them. 0 or -errno. One thread
 * does this; others may read, and what is not in memory reads as zero. */
int kernel_memory_reach(struct kernel_memory *memory, size_t array, uint32_t count);
/* Nobody uses entries from `count` on, nor will before they are reached again: they need not be in memory. No kept directory names ids from
 * there on; what others do, which nobody reads, is cleared. */
void kernel_memory_trim(struct kernel_memory *memory, size_t array, uint32_t count);
/* How many ids directories have in memory. */
uint32_t kernel_memory_ids(const struct kernel_memory *memory);
/* The typed pointers, from the fronts. */
void kernel_memory_point(struct kernel_memory *memory);

/* Where the directory of a generation says what object `id` is, which is below limits.objects. */
static inline uint32_t *kernel_memory_ref(const struct kernel_memory *memory, uint64_t generation, uint32_t id)
{
	return &memory->directories[directory_page(generation, id)].refs[id % DIRECTORY_PAGE_IDS];
}

struct kernel {
	struct kernel_memory memory;
	const struct layout_note *layout;
	int vip_fd, netns_fd, cgroup_fd, own_address_fd, exempt_fd, name_fd;
	int reason_fd, stat_fd, flow_fd, exec_fd, explain_fd, account_fd, account_near_fd;
	int exposed_fd, edge_device_fd, edge_fd; /* see maps/edge.h */
	int serving_fd, served_fd; /* see maps/serving.h */
	int intercept_fd, way_fd; /* see maps/intercept.h */
	struct serving *servings; /* MAX_SERVINGS of them, shared like those of `memory` */
	int explain_prog_fd, standing_prog_fd; /* SEC("syscall") */
	int edge_sweep_prog_fd; /* likewise; -1 where the kernel does not take it */
	int live_iter_fd, end_iter_fd, earlier_iter_fd; /* pinned iterator links, -1 where the kernel has none */
	int exec_link_fd; /* to the tracepoint, likewise -1 */
	int cpu_count; /* possible CPUs: the width of per-CPU values */
};

/* "PIN_ROOT/INSTANCE/abi3". Instance names are [a-z0-9-]{1,32}. -EINVAL. */
int kernel_pin_path(const char *instance, char *buffer, size_t size, struct error *err);

/* -ENOENT when the instance has no kernel part: the message names `weft-loader install`. -EPROTO: maps of another build, or
 * such whose sizes do not go together; -EBUSY: a loader has them in hand. */
int kernel_open(const char *instance, struct kernel *ret_kernel, struct error *err);
void kernel_close(struct kernel *kernel); /* all zero, or half open, is fine */

/* Key maps. 0 or -errno; -ENOENT on removal is no error; -E2BIG when the table is full. */
int kernel_vip_set(struct kernel *kernel, const struct ip *vip, uint32_t service);
int kernel_vip_remove(struct kernel *kernel, const struct ip *vip);
int kernel_netns_set(struct kernel *kernel, uint64_t cookie, const struct owner *owner);
int kernel_netns_get(struct kernel *kernel, uint64_t cookie, struct owner *ret_owner); /* -ENOENT: nobody's */
int kernel_netns_remove(struct kernel *kernel, uint64_t cookie);
int kernel_cgroup_set(struct kernel *kernel, uint64_t id, const struct owner *owner);
int kernel_cgroup_remove(struct kernel *kernel, uint64_t id);
int kernel_own_address_set(struct kernel *kernel, uint64_t cookie, const struct ip *address);
int kernel_own_address_remove(struct kernel *kernel, uint64_t cookie, const struct ip *address);
bool kernel_own_address_has(const struct kernel *kernel, uint64_t cookie, const struct ip *address);
/* For all namespaces: cookie 0. Those of one namespace are weft-proxy's. */
int kernel_exempt_set(struct kernel *kernel, const struct ip *address, const struct exemption *exemption);
int kernel_exempt_remove(struct kernel *kernel, const struct ip *address);
int kernel_name_set(struct kernel *kernel, const struct name_key *key, const struct name_entry *entry);
int kernel_name_remove(struct kernel *kernel, const struct name_key *key);
int kernel_name_get(const struct kernel *kernel, const struct name_key *key, struct name_entry *ret_entry); /* -ENOENT: no such name */

/* Walks. `fn` returns negative to stop, which is then returned. The table may change meanwhile: an entry that is there all the
 * time is seen once. */
typedef int kernel_vip_fn(const struct ip *vip, uint32_t service, void *arg);
int kernel_vip_each(struct kernel *kernel, kernel_vip_fn *fn, void *arg);
typedef int kernel_netns_fn(uint64_t cookie, const struct owner *owner, void *arg);
int kernel_netns_each(struct kernel *kernel, kernel_netns_fn *fn, void *arg);
typedef int kernel_cgroup_fn(uint64_t id, const struct owner *owner, void *arg);
int kernel_cgroup_each(struct kernel *kernel, kernel_cgroup_fn *fn, void *arg);
typedef int kernel_own_address_fn(const struct netns_address *key, void *arg);
int kernel_own_address_each(struct kernel *kernel, kernel_own_address_fn *fn, void *arg);
typedef int kernel_exempt_fn(const struct netns_address *key, const struct exemption *exemption, void *arg);
int kernel_exempt_each(struct kernel *kernel, kernel_exempt_fn *fn, void *arg);
typedef int kernel_name_fn(const struct name_key *key, const struct name_entry *entry, void *arg);
int kernel_name_each(struct kernel *kernel, kernel_name_fn *fn, void *arg);
typedef int kernel_reason_fn(const struct reason_key *key, uint64_t count, void *arg); /* summed over CPUs */
int kernel_reason_each(struct kernel *kernel, kernel_reason_fn *fn, void *arg);
int kernel_stats(struct kernel *kernel, uint64_t ret_stats[STAT_COUNT]); /* summed over CPUs */

/* Every connection that has places in the open counts, once: those of sockets, then those without a local one. */
typedef int kernel_account_fn(const struct account *account, void *arg);
int kernel_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg);
int kernel_socket_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg);

/* Asks about every connection of a socket whether a connect() of now would still lead there, and notes it in its account: begins, keeps
 * or ends the time that it has for draining. Sleepable: for the offload thread. */
int kernel_standing_look(struct kernel *kernel, uint64_t now_ns, struct standing_look *ret_look);
/* Asks again, about those of the namespace that this thread is in, and about what the egress filter has let out of a mesh there, and ends what
 * is due: the kernel destroys it, or it is left to `fn` where the kernel cannot. What audit mode lets go on is counted. Blocks; -EOPNOTSUPP. */
typedef int kernel_ended_fn(const struct ended_connection *ended, void *arg);
int kernel_ended_each(struct kernel *kernel, kernel_ended_fn *fn, void *arg);

/* Runs the kernel's own decision, the same code as the hooks'. Sleepable, so only on the thread that frees memory: the
 * offload thread. With request->count the distribution comes by `fn`. */
typedef int kernel_explain_fn(const struct explain_key *key, uint64_t count, void *arg);
int kernel_explain(struct kernel *kernel, struct explain *request, kernel_explain_fn *fn, void *arg);
