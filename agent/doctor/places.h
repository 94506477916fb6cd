/* SPDX-License-Identifier: Apache-2.0 */
/* The places where the kernel part must be in force: each (network namespace, cgroup) in which a process runs that the maps say acts for a
 * virtual node. Found by a walk over /proc, so it needs no weftd; whoever starts meanwhile may be missed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/doctor/hook_probe.h"
#include "agent/identity/redirects.h"
#include "base/error.h"
#include "loader/hooks.h"
#include "loader/loader.h"
#include "maps/kernel.h"

#define PLACES_MAX 1024 /* more are counted and left alone */
#define FOREIGN_MAX 4
#define ROUTE_TEXT_BYTES ERROR_MESSAGE_BYTES

struct foreign_program {
	uint32_t id;
	char name[16];
	bool after; /* runs after ours, and so has the last word */
};
/* One hook at one cgroup. */
struct hook_effect {
	bool asked; /* it is one of a cgroup, and attached */
	int error; /* -errno of the question; -ENOSYS: nobody told this file how to ask */
	bool in_force; /* our program is among those that run for this cgroup */
	size_t foreign_count; /* of programs that may change an address; at most FOREIGN_MAX are kept */
	struct foreign_program foreign[FOREIGN_MAX];
};

struct place {
	uint64_t netns_cookie;
	int netns_fd; /* borrowed of `namespaces` */
	uint32_t node; /* object id */
	char *cgroup; /* below the mount: "/system.slice/a.service" */
	int pid; /* one of its processes */
	size_t processes;
	struct hook_effect effects[HOOK_COUNT];
	struct error probe_error; /* code 0: `probe` is known */
	struct hook_probe probe;
	char routes[ROUTE_TEXT_BYTES]; /* a route there that overlaps the VIP networks; "": none */
	struct redirects redirects; /* of another proxy there; of the first place of each namespace */
};

struct places_namespace {
	uint64_t inode, cookie;
	int fd; /* -1: nobody's */
	uint32_t node; /* 0: several act there, by their cgroups */
};

struct places {
	size_t count, left_out;
	struct place *list;
	size_t namespace_count;
	struct places_namespace *namespaces;
};

/* Fills `ret_places`, which is zero; the caller calls places_done() in any case. 0 or -errno. */
int places_find(struct kernel *kernel, const char *cgroup_root, struct places *ret_places, struct error *err);
/* Which programs run there, by the kernel's own account (BPF_F_QUERY_EFFECTIVE). */
void place_ask_effects(struct place *place, const char *cgroup_root, const struct loader_status *loader);
void places_done(struct places *places);
