/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the kernel part of an instance in place, upgrades it, takes it out, and reports on it. Each call is one transaction under
 * one lock (/run/weft/INSTANCE/loader.lock): it holds as a whole or the state before is restored. Features are probed by
 * trying, never by version number. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct loader_options {
	const char *instance;
	const char *cgroup; /* subtree to attach to; NULL: the root of the cgroup2 hierarchy that is found */
	uint32_t services; /* how many the tables are made for, where there are none yet; 0: DEFAULT_SERVICES */
};

/* Loads and attaches where nothing is, completes what is half there. -EEXIST: already whole (says `upgrade`); -EBUSY: locked;
 * -EOPNOTSUPP names the missing kernel feature and what it is for; -EPROTO: the instance has maps of another ABI; -EINVAL:
 * more than MAX_SERVICES. Mounts bpffs on /sys/fs/bpf where there is none. */
int loader_install(const struct loader_options *options, struct error *err);
/* Replaces the programs behind the pinned links: no connection sees a gap. Undone on failure. Maps stay; where those of this build
 * have another layout, which weftd must not run for (-EBUSY), all that is in them is taken over (loader/exchange.h): it is undone until the
 * first program is replaced, and completed after that, by the next call where this one was killed. -ENOENT: not installed; -EPROTO: the
 * maps hold what this build has no place for. */
int loader_upgrade(const struct loader_options *options, struct error *err);
/* Makes the arrays as large as for options->services, with all that is in them, while connections go on: nothing that is open, counted
 * or decided is lost. Where it was killed, the next call for the instance takes it back, or completes it. -ENOENT: not installed;
 * -EALREADY: they are as large; -EBUSY: weftd of the instance runs, and it alone writes to them; -EINVAL: no such number. */
int loader_grow(const struct loader_options *options, struct error *err);
/* Detaches, unpins, removes the directories, and the cgroups that `weft run` and weft-proxy left empty. Nothing there is fine. */
int loader_uninstall(const struct loader_options *options, struct error *err);

/* The cgroup that the instance is attached to. -ENOENT: it is not installed. Cheap. */
int loader_cgroup(const char *instance, char *buffer, size_t size, struct error *err);

/* The end of what libbpf and the kernel's verifier said during the last load that failed; "" when there is nothing. */
const char *loader_log(void);

struct loader_hook_status {
	const char *name; /* "connect4" */
	const char *purpose; /* what is missing without it */
	bool required;
	bool attached;
	uint32_t program_id;
	uint32_t link_id;
	char program_tag[17]; /* of what is attached */
	bool current; /* that is the program of this build */
};
struct loader_map_status {
	char name[16];
	uint32_t entries; /* room for */
	uint64_t bytes; /* memory as the kernel accounts it; 0: unknown */
};
#define LOADER_STATUS_MAX 48
struct loader_status {
	bool installed; /* every required hook is attached */
	char cgroup[256]; /* where */
	size_t hook_count, map_count;
	struct loader_hook_status hooks[LOADER_STATUS_MAX];
	struct loader_map_status maps[LOADER_STATUS_MAX];
};
/* Without the lock, and changing nothing. The first call loads the programs once to learn what `current` ones look like (some
 * 200 ms): not for an event loop, nor for two threads at once. */
int loader_status(const struct loader_options *options, struct loader_status *ret_status, struct error *err);
